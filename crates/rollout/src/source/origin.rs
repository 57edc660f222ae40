//! What a folder of prepared tasks was prepared from, so that two sources never mix in it.

use super::PrepareError;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use trajgen_contract::files::{self, FileError};

/// In the folder of prepared tasks; hidden, so it is taken for no task.
const NAME: &str = ".source.json";
/// The version this module writes.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Origin {
    version: u32,
    source: PathBuf,
}

/// Refuses a target that was prepared from another source that is still there. (A source that is gone
/// was moved, with the block or alone.)
pub(super) fn check(source: &Path, dataset: &str, target: &Path) -> Result<(), PrepareError> {
    let path = target.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(FileError::at("read", &path)(e).into()),
    };
    let origin: Origin = serde_json::from_slice(&bytes)
        .map_err(|e| FileError::at("understand", &path)(io::Error::new(io::ErrorKind::InvalidData, e)))?;
    let other = origin.source;
    if other != absolute(source)? && other.exists() {
        return Err(PrepareError::SharedName {
            dataset: dataset.to_owned(),
            target: target.to_owned(),
            other,
            source_path: source.to_owned(),
        });
    }
    Ok(())
}

/// Records the source.
pub(super) fn record(source: &Path, target: &Path) -> Result<(), FileError> {
    let origin = Origin { version: VERSION, source: absolute(source)? };
    let path = target.join(NAME);
    let recorded = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Origin>(&bytes).ok());
    if recorded.is_some_and(|recorded| recorded.source == origin.source) {
        return Ok(());
    }
    files::replace_json(&path, &origin)
}

/// The source's real path, or what was asked for when it is not there.
fn absolute(source: &Path) -> Result<PathBuf, FileError> {
    match source.canonicalize() {
        Ok(real) => Ok(real),
        Err(_) => std::path::absolute(source).map_err(FileError::at("resolve", source)),
    }
}
