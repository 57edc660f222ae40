//! Asking a job to stop.

use tokio::sync::watch;

/// How far a job has been asked to stop. Only ever goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopLevel {
    /// Go on.
    Run,
    /// Start nothing new; what runs may finish.
    Drain,
    /// Start nothing new and end what runs, recorded as cancelled.
    Cancel,
    /// Drop what runs, recorded or not.
    Abort,
}

/// One end to ask with, any number of ends to listen with.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<(StopLevel, String)>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new((StopLevel::Run, String::new())))
    }
}

impl Stop {
    /// Asks for `level`, saying why; a lower level than the present one changes nothing.
    pub fn ask(&self, level: StopLevel, reason: impl Into<String>) {
        self.0.send_if_modified(|(now, why)| {
            let higher = level > *now;
            if higher {
                *now = level;
                *why = reason.into();
            }
            higher
        });
    }
    /// The present level.
    #[must_use]
    pub fn level(&self) -> StopLevel {
        self.0.borrow().0
    }
    /// Why it was asked for.
    #[must_use]
    pub fn reason(&self) -> String {
        self.0.borrow().1.clone()
    }
    /// Hears of changes.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<(StopLevel, String)> {
        self.0.subscribe()
    }
}
