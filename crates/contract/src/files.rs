//! Writing files so that a crash at any moment leaves them readable.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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

/// Removes what [`replace`] and [`Replacement`] of dead processes left half-written in `folder`, and below it when
/// `deep`. What cannot be removed stays: it is in nobody's way.
pub fn remove_temporary(folder: &Path, deep: bool) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let writer = name.to_str().and_then(|name| {
            let (name, number) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('-')?;
            number.parse::<u64>().ok()?;
            name.rsplit_once('.')?.1.parse::<u32>().ok()
        });
        match (entry.file_type(), writer) {
            (Ok(kind), _) if kind.is_dir() && deep => remove_temporary(&entry.path(), true),
            (Ok(kind), Some(pid)) if kind.is_file() && !Path::new(&format!("/proc/{pid}")).exists() => {
                let _ = std::fs::remove_file(entry.path());
            }
            _ => {}
        }
    }
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

/// A file being written anew beside the one it will replace, for what is too large to hold in memory.
///
/// Dropped without [`Replacement::commit`] it leaves the old file as it was.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    sibling: PathBuf,
    file: Option<io::BufWriter<File>>,
}

impl Replacement {
    /// Begins to write what will become `path`, making its folder when missing.
    ///
    /// # Errors
    /// When the folder or the sibling cannot be made.
    pub fn begin(path: &Path) -> Result<Self, FileError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let sibling = folder.join(format!(".{name}.{}.tmp", unique()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&sibling)
            .map_err(FileError::at("create", &sibling))?;
        Ok(Self { path: path.to_owned(), sibling, file: Some(io::BufWriter::with_capacity(1 << 16, file)) })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe));
        file.and_then(|f| f.write_all(bytes)).map_err(FileError::at("write", &self.path))
    }

    /// Syncs what was written and puts it in the old file's place.
    ///
    /// # Errors
    /// When a step fails; the old file is then still there, whole.
    pub fn commit(mut self) -> Result<(), FileError> {
        let committed = (|| {
            let Some(writer) = self.file.take() else { return Ok(()) };
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            if let Ok(old) = std::fs::metadata(&self.path) {
                file.set_permissions(old.permissions())?;
            }
            file.sync_data()?;
            std::fs::rename(&self.sibling, &self.path)
        })();
        committed.map_err(FileError::at("write", &self.path))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After a commit the sibling is gone, and this does nothing.
        let _ = std::fs::remove_file(&self.sibling);
    }
}

/// Reads YAML; a problem is one line that says where.
pub(crate) fn from_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        let told = error.without_snippet().to_string();
        let told = told.strip_prefix("error: ").unwrap_or(&told);
        told.lines().next().unwrap_or_default().to_owned()
    })
}

/// A symbolic link in the place of a log is not followed: it could lead anywhere.
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// A file that only grows: one line, one `write`.
#[derive(Debug)]
pub struct LineLog {
    path: PathBuf,
    file: File,
    /// How long the file is by what was appended.
    length: u64,
}

impl LineLog {
    /// Opens `path` for appending, making its folder when missing. A torn last line (one without a
    /// newline, left by a crash) is cut away first. A symbolic link in the file's place is not followed.
    ///
    /// # Errors
    /// When the folder or file cannot be made, read or cut, or the path is a symbolic link.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .custom_flags(NOFOLLOW)
            .open(path)
            .map_err(FileError::at("open", path))?;
        cut_torn_line(&file).map_err(FileError::at("mend", path))?;
        let length = file.metadata().map_err(FileError::at("read", path))?.len();
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Checks that the path still names this file and that nobody else changed it.
    ///
    /// # Errors
    /// When it was removed, replaced, cut or added to.
    pub fn check(&self) -> Result<(), FileError> {
        let fault = || -> io::Result<()> {
            let there = std::fs::symlink_metadata(&self.path)?;
            let ours = self.file.metadata()?;
            if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) {
                return Err(io::Error::other("the file was replaced by somebody else"));
            }
            if ours.len() != self.length {
                return Err(io::Error::other("the file was changed by somebody else"));
            }
            Ok(())
        };
        fault().map_err(FileError::at("append to", &self.path))
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
        match outcome {
            Ok(()) => self.length += whole.len() as u64,
            Err(_) => {
                let _ = cut_torn_line(&self.file);
            }
        }
        outcome.map_err(FileError::at("append to", &self.path))
    }

    /// Another handle of the file, to sync it while appending goes on.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn handle(&self) -> Result<File, FileError> {
        self.file.try_clone().map_err(FileError::at("sync", &self.path))
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
    fn a_log_notices_when_it_is_replaced_cut_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let open = || {
            let mut log = LineLog::open(&path).unwrap();
            log.append(b"{}").unwrap();
            log.check().unwrap();
            log
        };
        let removed = open();
        std::fs::remove_file(&path).unwrap();
        removed.check().unwrap_err();
        let cut = open();
        std::fs::write(&path, b"").unwrap();
        assert!(cut.check().unwrap_err().to_string().contains("changed by somebody else"));
        let replaced = open();
        std::fs::rename(&path, dir.path().join("other")).unwrap();
        std::os::unix::fs::symlink("other", &path).unwrap();
        assert!(replaced.check().unwrap_err().to_string().contains("replaced by somebody else"));
        LineLog::open(&path).unwrap_err();
    }

    #[test]
    fn a_replacement_counts_only_when_committed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/im.jsonl");
        let mut first = Replacement::begin(&path).unwrap();
        first.write(b"one").unwrap();
        assert!(!path.exists());
        first.commit().unwrap();
        let mut second = Replacement::begin(&path).unwrap();
        second.write(b"two").unwrap();
        drop(second);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn half_written_files_of_dead_processes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (own, dead) = (std::process::id(), child.id());
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        let names = [
            format!(".result.json.{dead}-3.tmp"),
            format!("deep/.im.jsonl.{dead}-0.tmp"),
            format!(".result.json.{own}-3.tmp"),
            ".of.somebody-else.tmp".to_owned(),
            "result.json".to_owned(),
        ];
        for name in &names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let left = || names.iter().filter(|name| dir.path().join(name).exists()).count();
        remove_temporary(dir.path(), false);
        assert_eq!(left(), 4);
        remove_temporary(dir.path(), true);
        assert_eq!(left(), 3);
        assert!(names.iter().skip(2).all(|name| dir.path().join(name).exists()));
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
