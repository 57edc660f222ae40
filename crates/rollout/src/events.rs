//! Where events go: one channel, any number of senders, one listener thread that tells everybody.

use std::sync::mpsc;
use trajgen_contract::event::Event;

/// Sends events; cheap to clone.
#[derive(Debug, Clone)]
pub struct EventSink(mpsc::Sender<(String, Event)>);

/// Receives them in order, each with its time.
pub type EventStream = mpsc::Receiver<(String, Event)>;

impl EventSink {
    /// A sink and its stream; the stream ends when the last sink is gone.
    #[must_use]
    pub fn new() -> (Self, EventStream) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), receiver)
    }

    /// Sends an event, stamped with the time; when nobody listens any more it is dropped.
    pub fn send(&self, event: Event) {
        let _ = self.0.send((crate::clock::now(), event));
    }
}
