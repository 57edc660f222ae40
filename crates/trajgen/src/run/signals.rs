//! Ctrl-C and SIGTERM: the first asks the job to stop, the second to drop everything, the third ends the process.

use crate::exit::Code;
use crate::terminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use trajgen_rollout::job::{Stop, StopLevel};

/// How long archiving may take after the second signal, before the process ends without it.
const AT_ONCE: std::time::Duration = std::time::Duration::from_secs(5);

/// What signals have asked for.
#[derive(Debug, Clone)]
pub struct Signals {
    /// What the job listens to.
    pub stop: Stop,
    code: Arc<AtomicI32>,
}

impl Signals {
    /// Starts listening.
    pub fn listen() -> Self {
        let signals = Self { stop: Stop::default(), code: Arc::default() };
        for (kind, code, name) in [
            (SignalKind::interrupt(), Code::Interrupted as i32, "Ctrl-C"),
            (SignalKind::terminate(), Code::Terminated as i32, "SIGTERM"),
        ] {
            let Ok(mut stream) = signal(kind) else { continue };
            let signals = signals.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    signals.take(code, name);
                }
            });
        }
        signals
    }

    fn take(&self, code: i32, name: &str) {
        if self.code.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            terminal::note(format_args!(
                "{name}: no further trials start, running ones are cancelled and recorded; once more to end now"
            ));
            self.stop.ask(StopLevel::Cancel, format!("interrupted by {name}"));
            return;
        }
        let code = self.code.load(Ordering::SeqCst);
        if self.stop.level() == StopLevel::Abort {
            // The third one. What is left over is found by the next start.
            std::process::exit(code);
        }
        terminal::note(format_args!("{name}: running trials are dropped"));
        self.stop.ask(StopLevel::Abort, format!("interrupted again by {name}"));
        std::thread::spawn(move || {
            std::thread::sleep(AT_ONCE);
            std::process::exit(code);
        });
    }

    /// Comes back when a signal has come.
    pub async fn heard(&self) {
        let mut stop = self.stop.listen();
        // The sender is here, so that the wait ends only with a signal.
        let _ = stop.wait_for(|(level, _)| *level >= StopLevel::Cancel).await;
    }

    /// The exit code a signal asked for.
    pub fn code(&self) -> Option<i32> {
        Some(self.code.load(Ordering::SeqCst)).filter(|c| *c != 0)
    }
}
