//! Archived runs: `archives/run_NNN/` and the index over them.

use crate::files::{self, FileError};
use crate::layout::Block;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The version this module writes.
pub const VERSION: u32 = 1;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Still going on (never in the index).
    Running,
    /// Exit code 0.
    Completed,
    /// Exit code 130 or 143, or found dead.
    Interrupted,
    /// Any other exit code.
    Failed,
}

impl RunStatus {
    /// What an exit code means.
    #[must_use]
    pub fn of_exit_code(code: i32) -> Self {
        match code {
            0 => Self::Completed,
            130 | 143 => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl std::fmt::Display for RunStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        })
    }
}

/// One entry of `index.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// `run_NNN`.
    pub id: String,
    /// ISO 8601, UTC.
    pub started_at: String,
    /// ISO 8601, UTC.
    pub completed_at: String,
    /// How it ended.
    pub status: RunStatus,
    /// The archive's folder, relative to the block.
    pub archive: String,
    /// One line: job, trials, mean reward, errors.
    pub notes: String,
}

/// Figures of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// Trials that ended.
    pub n_trials: u64,
    /// Trials whose last try ended in an error.
    pub n_errors: u64,
    /// Mean over ended trials, no reward counting 0.
    pub mean_reward: Option<f64>,
    /// Trials with reward 1.
    pub resolved: u64,
    /// Input and output tokens of all tries.
    pub tokens: u64,
    /// USD of all tries; null when unknown.
    pub cost_usd: Option<f64>,
    /// Trajectory logs written.
    pub trajectories: u64,
    /// Records in `im.jsonl`.
    pub sft_records: u64,
}

/// `metadata.yaml` of one archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Format version.
    pub version: u32,
    /// `run_NNN`.
    pub id: String,
    /// The block's name.
    pub block: String,
    /// ISO 8601, UTC.
    pub started_at: String,
    /// ISO 8601, UTC; null while it runs.
    pub completed_at: Option<String>,
    /// How it ended.
    pub status: RunStatus,
    /// Its exit code; null while it runs and for a run found dead.
    pub exit_code: Option<i32>,
    /// The pipeline's stage it got to: prepare, check, run, convert, archive.
    pub stage: String,
    /// The job, once there is one.
    pub job: Option<String>,
    /// Its figures.
    pub results: RunResults,
    /// Versions and commits of what took part.
    pub repos: BTreeMap<String, String>,
    /// `runtime_info.input` as resolved, secrets redacted.
    pub inputs: serde_json::Value,
    /// The entry's one line.
    pub notes: String,
}

/// What can be wrong with an index or an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found and expected.
        problem: String,
    },
}

/// One archive's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveDir {
    id: String,
    path: PathBuf,
}

impl ArchiveDir {
    /// The archive `id` of `block`; it need not exist.
    #[must_use]
    pub fn of(block: &Block, id: &str) -> Self {
        Self { id: id.to_owned(), path: block.archives().join(id) }
    }
    /// `run_NNN`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// What ran and how it ended.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.path.join("metadata.yaml")
    }
    /// The config at run time, redacted.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join("config.yaml")
    }
    /// Copies of the scripts that ran.
    #[must_use]
    pub fn scripts(&self) -> PathBuf {
        self.path.join("scripts")
    }
    /// The run's own log.
    #[must_use]
    pub fn session_log(&self) -> PathBuf {
        self.path.join("session.log")
    }
    /// The report for people.
    #[must_use]
    pub fn monitor(&self) -> PathBuf {
        self.path.join("monitor.md")
    }
}

/// Reserves the next free `run_NNN` by making its folder; two callers never get the same.
///
/// # Errors
/// When the archives folder cannot be read or written.
pub fn reserve(block: &Block) -> Result<ArchiveDir, ArchiveError> {
    let folder = block.archives();
    std::fs::create_dir_all(&folder).map_err(FileError::at("create the folder", &folder))?;
    let indexed = read_index(block)?.iter().filter_map(|e| number(&e.id)).max().unwrap_or(0);
    let mut next = run_ids(block)?.iter().filter_map(|id| number(id)).max().unwrap_or(0).max(indexed) + 1;
    loop {
        let archive = ArchiveDir::of(block, &format!("run_{next:03}"));
        match std::fs::create_dir(&archive.path) {
            Ok(()) => return Ok(archive),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => next += 1,
            Err(e) => return Err(FileError::at("create the folder", &archive.path)(e).into()),
        }
    }
}

/// The names of all archive folders, indexed or not, in order.
///
/// # Errors
/// When the archives folder cannot be read.
pub fn run_ids(block: &Block) -> Result<Vec<String>, ArchiveError> {
    let folder = block.archives();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::at("read the folder", &folder)(e).into()),
    };
    let mut ids: Vec<String> = entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| number(name).is_some())
        .collect();
    ids.sort_by_key(|id| number(id));
    Ok(ids)
}

fn number(id: &str) -> Option<u32> {
    let digits = id.strip_prefix("run_")?;
    if digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Reads `index.yaml`; no file means no runs.
///
/// # Errors
/// When it cannot be read, is no index, or is of a newer version.
pub fn read_index(block: &Block) -> Result<Vec<IndexEntry>, ArchiveError> {
    #[derive(Deserialize)]
    struct Index {
        version: u32,
        #[serde(default)]
        runs: Option<Vec<IndexEntry>>,
    }
    let path = block.index();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::at("read", &path)(e).into()),
    };
    let index: Index = files::from_yaml(&text).map_err(|e| ArchiveError::Malformed {
        path: path.clone(),
        problem: format!("{e}; mend the file, or restore it from a copy"),
    })?;
    if index.version > VERSION {
        return Err(ArchiveError::Malformed {
            path,
            problem: format!("version {} is newer than the {VERSION} this trajgen reads", index.version),
        });
    }
    Ok(index.runs.unwrap_or_default())
}

/// Appends one entry; what is there stays as it is, byte for byte.
///
/// # Errors
/// When the index cannot be read or written.
pub fn append_to_index(block: &Block, entry: &IndexEntry) -> Result<(), ArchiveError> {
    read_index(block)?;
    let path = block.index();
    let mut text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => format!("version: {VERSION}\nruns:\n"),
        Err(e) => return Err(FileError::at("read", &path)(e).into()),
    };
    if text.trim_end().ends_with("runs: []") {
        text.truncate(text.trim_end().len() - " []".len());
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    // A JSON string is a YAML double-quoted one.
    let quoted = |s: &str| serde_json::Value::String(s.replace(['\n', '\r'], " ")).to_string();
    text.push_str(&format!(
        "  - id: {}\n    started_at: {}\n    completed_at: {}\n    status: {}\n    archive: {}\n    notes: {}\n",
        entry.id,
        quoted(&entry.started_at),
        quoted(&entry.completed_at),
        entry.status,
        entry.archive,
        quoted(&entry.notes),
    ));
    files::replace(&path, text.as_bytes())?;
    Ok(())
}

/// Reads an archive's metadata.
///
/// # Errors
/// When it cannot be read, is no metadata, or is of a newer version.
pub fn read_metadata(archive: &ArchiveDir) -> Result<Metadata, ArchiveError> {
    let path = archive.metadata();
    let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
    let metadata: Metadata = files::from_yaml(&text).map_err(|e| ArchiveError::Malformed {
        path: path.clone(),
        problem: format!("no metadata of a run: {e}"),
    })?;
    if metadata.version > VERSION {
        return Err(ArchiveError::Malformed {
            path,
            problem: format!("version {} is newer than the {VERSION} this trajgen reads", metadata.version),
        });
    }
    Ok(metadata)
}

/// Writes an archive's metadata.
///
/// # Errors
/// When the file cannot be written.
pub fn write_metadata(archive: &ArchiveDir, metadata: &Metadata) -> Result<(), ArchiveError> {
    let path = archive.metadata();
    let text = serde_saphyr::to_string(metadata).map_err(|e| ArchiveError::Malformed {
        path: path.clone(),
        problem: format!("cannot be written: {e}"),
    })?;
    files::replace(&path, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> IndexEntry {
        IndexEntry {
            id: id.into(),
            started_at: "2026-05-04T08:00:00Z".into(),
            completed_at: "2026-05-04T10:11:35Z".into(),
            status: RunStatus::Completed,
            archive: format!("artifacts/archives/{id}/"),
            notes: "job: \"x\", 3 trials\nsecond line".into(),
        }
    }

    #[test]
    fn the_index_only_grows() {
        let dir = tempfile::tempdir().unwrap();
        let block = Block::new(dir.path());
        append_to_index(&block, &entry("run_001")).unwrap();
        let before = std::fs::read_to_string(block.index()).unwrap();
        append_to_index(&block, &entry("run_002")).unwrap();
        let after = std::fs::read_to_string(block.index()).unwrap();
        assert!(after.starts_with(&before));
        let runs = read_index(&block).unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0].notes, "job: \"x\", 3 trials second line");
    }

    #[test]
    fn runs_started_together_never_share_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let block = Block::new(dir.path());
        let mut ids: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| reserve(&block).unwrap().id)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 8);
        assert_eq!(ids[0], "run_001");
    }

    #[test]
    fn metadata_comes_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let block = Block::new(dir.path());
        let archive = reserve(&block).unwrap();
        let metadata = Metadata {
            version: VERSION,
            id: archive.id().into(),
            block: "trajgen".into(),
            started_at: "2026-05-04T08:00:00Z".into(),
            completed_at: None,
            status: RunStatus::Running,
            exit_code: None,
            stage: "run".into(),
            job: Some("j".into()),
            results: RunResults { mean_reward: Some(0.5), ..RunResults::default() },
            repos: BTreeMap::from([("trajgen".into(), "0.1.0".into())]),
            inputs: serde_json::json!({"a": [1, null, "yes", "0x1", {"b": true}]}),
            notes: String::new(),
        };
        write_metadata(&archive, &metadata).unwrap();
        assert_eq!(read_metadata(&archive).unwrap(), metadata);
    }
}
