//! The helper's end of the connection: one writer for all, and channels with their windows.

use crate::protocol::{CHUNK, Frame, Kind, Reply, WINDOW};
use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The client is gone or no longer wants this channel; whoever sees this stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// A lock whose content stays usable when another thread panicked: the data are plain counters and queues.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where frames to the client are written, one at a time.
pub(crate) struct Outlet {
    file: Mutex<Option<File>>,
}

impl Outlet {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Mutex::new(Some(file)) }
    }

    /// Writes one frame; after a failure nothing is written any more.
    pub(crate) fn write(&self, frame: &Frame) -> Result<(), Gone> {
        let mut file = lock(&self.file);
        let Some(open) = file.as_ref() else { return Err(Gone) };
        if frame.write_to(open).is_err() {
            *file = None;
            return Err(Gone);
        }
        Ok(())
    }
}

struct State {
    /// Bytes that may still be sent.
    credit: u32,
    inbox: VecDeque<Vec<u8>>,
    inbox_bytes: usize,
    /// The client sends no more data.
    ended: bool,
    cancelled: bool,
    on_cancel: Option<Box<dyn FnOnce() + Send>>,
}

/// One request's channel, as its handler sees it.
pub(crate) struct Channel {
    id: u32,
    outlet: Arc<Outlet>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Channel {
    pub(crate) fn new(id: u32, outlet: Arc<Outlet>) -> Self {
        let state = State {
            credit: WINDOW,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            ended: false,
            cancelled: false,
            on_cancel: None,
        };
        Self { id, outlet, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Sends data, waiting for room in the window.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), Gone> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let allowed = {
                let mut state = lock(&self.state);
                while state.credit == 0 && !state.cancelled {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.cancelled {
                    return Err(Gone);
                }
                let count = rest.len().min(state.credit as usize).min(CHUNK);
                // `count` is at most `credit`, so it fits.
                state.credit -= u32::try_from(count).unwrap_or(state.credit);
                count
            };
            let (now, later) = rest.split_at(allowed);
            self.outlet.write(&Frame::new(Kind::Data, self.id, now.to_vec()))?;
            rest = later;
        }
        Ok(())
    }

    /// The next data from the client, in order; `None` when there is no more.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        loop {
            if state.cancelled {
                return None;
            }
            if let Some(bytes) = state.inbox.pop_front() {
                state.inbox_bytes -= bytes.len();
                drop(state);
                let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                // A lost client shows at the next write or at the reader; the data are still good.
                let _ = self.outlet.write(&Frame::credit(self.id, count));
                return Some(bytes);
            }
            if state.ended {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Closes the channel.
    pub(crate) fn done(&self, reply: &Reply) {
        let frame = Frame::json(Kind::Done, self.id, reply).or_else(|error| {
            let failure = crate::protocol::Failure::new(
                crate::protocol::FailureKind::System,
                format!("the reply cannot be sent: {error}"),
            );
            Frame::json(Kind::Done, self.id, &Reply::Failed(failure))
        });
        if let Ok(frame) = frame {
            // Without a client there is nobody to tell.
            let _ = self.outlet.write(&frame);
        }
    }

    /// What to do when the client cancels; at once when it already has.
    pub(crate) fn on_cancel(&self, action: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.state);
        if state.cancelled {
            drop(state);
            action();
        } else {
            state.on_cancel = Some(Box::new(action));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Takes data that arrived; `false` when the client sent more than the window allows.
    pub(crate) fn arrived(&self, bytes: Vec<u8>) -> bool {
        let mut state = lock(&self.state);
        state.inbox_bytes += bytes.len();
        if state.inbox_bytes > WINDOW as usize {
            return false;
        }
        state.inbox.push_back(bytes);
        self.changed.notify_all();
        true
    }

    /// The client has sent all its data.
    pub(crate) fn ended(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }

    /// The client took `bytes` of our data.
    pub(crate) fn credited(&self, bytes: u32) {
        let mut state = lock(&self.state);
        state.credit = state.credit.saturating_add(bytes).min(WINDOW);
        self.changed.notify_all();
    }

    /// The client does not want this channel any more.
    pub(crate) fn cancel(&self) {
        let action = {
            let mut state = lock(&self.state);
            state.cancelled = true;
            state.inbox.clear();
            state.on_cancel.take()
        };
        self.changed.notify_all();
        if let Some(action) = action {
            action();
        }
    }
}
