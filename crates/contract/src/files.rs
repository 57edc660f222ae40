//! Writing files so that a crash at any moment leaves them readable.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file operation that failed, with the path it was about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried, as a verb phrase: `read`, `write`, `create the folder`.
    pub action: &'static str,
    /// The path it was tried on.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: `fs::read(p).map_err(FileError::at("read", p))`.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }

    /// True when the cause is a full disk or a used-up quota.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Replaces `path` by `bytes`: a sibling is written, synced and renamed over it.
///
/// # Errors
/// When any of these steps fails; the old file is then still there, whole.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sibling = folder.join(format!(".{name}.{}.tmp", unique()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&sibling)?;
        if let Ok(old) = std::fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&sibling, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&sibling);
    }
    written.map_err(FileError::at("write", path))
}

/// Replaces `path` by `value` as JSON, indented by two, with a final newline.
///
/// # Errors
/// As [`replace`]; a value that cannot be serialised is reported as invalid data.
pub fn replace_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| FileError::at("serialise", path)(io::Error::new(io::ErrorKind::InvalidData, e)))?;
    bytes.push(b'\n');
    replace(path, &bytes)
}

/// A file that only grows: one line, one `write`.
#[derive(Debug)]
pub struct LineLog {
    path: PathBuf,
    file: File,
}

impl LineLog {
    /// Opens `path` for appending, making its folder when missing. A torn last line (one without a
    /// newline, left by a crash) is cut away first.
    ///
    /// # Errors
    /// When the folder or file cannot be made, read or cut.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .map_err(FileError::at("open", path))?;
        cut_torn_line(&file).map_err(FileError::at("mend", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends `line` (without newline) with one `write`.
    ///
    /// # Errors
    /// When the write fails or is short; a partial line is cut away again where that is possible.
    pub fn append(&mut self, line: &[u8]) -> Result<(), FileError> {
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        let outcome = self.file.write(&whole).and_then(|n| {
            if n == whole.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::StorageFull)) }
        });
        if outcome.is_err() {
            let _ = cut_torn_line(&self.file);
        }
        outcome.map_err(FileError::at("append to", &self.path))
    }

    /// Syncs what was appended to the disk.
    ///
    /// # Errors
    /// When the sync fails.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync_data().map_err(FileError::at("sync", &self.path))
    }
}

/// Cuts a file back to its last newline.
fn cut_torn_line(file: &File) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata()?.len();
    let mut end = length;
    let mut block = [0u8; 8192];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = block.get_mut(..(end - start) as usize).unwrap_or_default();
        file.read_exact_at(part, start)?;
        if let Some(at) = part.iter().rposition(|&b| b == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < length { file.set_len(end) } else { Ok(()) }
}

/// A name part that no other process or thread uses at this moment.
fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_before_the_next_append() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        std::fs::write(&path, b"{\"a\":1}\n{\"b\":").unwrap();
        let mut log = LineLog::open(&path).unwrap();
        log.append(b"{\"c\":3}").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"c\":3}\n");
    }

    #[test]
    fn replacing_leaves_no_sibling_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/result.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
