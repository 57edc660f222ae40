//! Logs: appended before the agent has its answer, synced soon after.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use trajgen_contract::files::{FileError, LineLog};

/// How long appended lines may wait to be synced, together with those that come meanwhile.
const SYNC_AFTER: Duration = Duration::from_millis(400);
/// How many logs of calls without a trial are kept open.
const MOST_OPEN: usize = 256;

/// One trajectory log.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    state: Mutex<State>,
    /// Held while syncing.
    syncing: Mutex<()>,
    is_dirty: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    log: Option<LineLog>,
    is_folder_synced: bool,
    /// The first sync that failed.
    fault: Option<Fault>,
}

impl LogFile {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            state: Mutex::default(),
            syncing: Mutex::default(),
            is_dirty: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line; the file is made when it is the first one. Blocks.
    fn append(&self, line: &[u8]) -> Result<(), FileError> {
        let mut state = self.state();
        match &mut state.log {
            Some(log) => {
                log.check()?;
                log.append(line)
            }
            none => none.insert(LineLog::open(&self.path)?).append(line),
        }
    }

    /// Syncs what was appended. Blocks; appending goes on meanwhile.
    fn sync(&self) {
        // Whoever comes while another one syncs waits for it: afterwards all is safe.
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_dirty.swap(false, Ordering::AcqRel) {
            return;
        }
        let (handle, is_folder_synced) = {
            let state = self.state();
            let Some(log) = &state.log else { return };
            (log.handle(), state.is_folder_synced)
        };
        let mut outcome = handle.and_then(|file| file.sync_data().map_err(FileError::at("sync", &self.path)));
        if outcome.is_ok() && !is_folder_synced {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            outcome = std::fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(FileError::at("sync the folder", folder));
        }
        let mut state = self.state();
        match outcome {
            Ok(()) => state.is_folder_synced = true,
            Err(error) => {
                state.fault.get_or_insert_with(|| error.into());
            }
        }
    }

    /// Why what was appended is not safe, if it is not.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.state().fault.clone()
    }
}

/// Why a record was not written, or is not safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// The disk is full: nothing is wrong with the trial.
    pub(crate) is_disk_full: bool,
}

impl Fault {
    fn other(what: &str, error: &dyn std::error::Error) -> Self {
        Self { message: format!("{what}: {error}"), is_disk_full: false }
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self { message: error.to_string(), is_disk_full: error.is_disk_full() }
    }
}

/// Writes all logs of a proxy.
#[derive(Default)]
pub(crate) struct Capture {
    /// Logs with lines that are not synced yet.
    dirty: Mutex<Vec<Arc<LogFile>>>,
    has_dirty: Notify,
    /// Logs of calls under the master key, by path.
    other: Mutex<HashMap<PathBuf, Arc<LogFile>>>,
}

impl Capture {
    /// Appends what `line` makes to `log`, off the runtime's threads.
    pub(crate) async fn append<F>(&self, log: &Arc<LogFile>, line: F) -> Result<(), Fault>
    where
        F: FnOnce() -> Result<Vec<u8>, serde_json::Error> + Send + 'static,
    {
        let file = Arc::clone(log);
        let written = tokio::task::spawn_blocking(move || {
            let line = line().map_err(|error| Fault::other("cannot write the record as JSON", &error))?;
            file.append(&line).map_err(Fault::from)
        });
        written.await.map_err(|error| Fault::other("the writer broke down", &error))??;
        if !log.is_dirty.swap(true, Ordering::AcqRel) {
            self.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(log));
            self.has_dirty.notify_one();
        }
        Ok(())
    }

    /// The log at `path` for calls that belong to no open trial.
    pub(crate) fn other(&self, path: PathBuf) -> Arc<LogFile> {
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        if other.len() >= MOST_OPEN {
            other.retain(|_, log| Arc::strong_count(log) > 1);
        }
        Arc::clone(other.entry(path).or_insert_with_key(|path| Arc::new(LogFile::new(path))))
    }

    /// Syncs one log now.
    pub(crate) async fn sync(&self, log: &Arc<LogFile>) {
        let log = Arc::clone(log);
        let _ = tokio::task::spawn_blocking(move || log.sync()).await;
    }

    /// Syncs all logs now.
    pub(crate) async fn sync_all(&self) {
        let dirty = std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = tokio::task::spawn_blocking(move || dirty.iter().for_each(|log| log.sync())).await;
    }

    /// Syncs in groups, for ever.
    pub(crate) async fn keep_syncing(self: Arc<Self>) {
        loop {
            self.has_dirty.notified().await;
            tokio::time::sleep(SYNC_AFTER).await;
            self.sync_all().await;
        }
    }
}
