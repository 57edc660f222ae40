//! `trial.log`: the story of one trial, for people.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// Appends timestamped lines; a log that cannot be written never ends a trial.
#[derive(Debug)]
pub struct TrialLog(Mutex<Option<File>>);

impl TrialLog {
    /// Opens (or goes on with) the log at `path`.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self(Mutex::new(File::options().create(true).append(true).open(path).ok()))
    }

    /// Writes one entry, marked with the time.
    pub fn say(&self, text: impl std::fmt::Display) {
        if let Ok(mut file) = self.0.lock()
            && let Some(file) = file.as_mut()
        {
            let _ = file.write_all(format!("{} {text}\n", crate::clock::now()).as_bytes());
        }
    }
}
