//! What lies in a task's folder, and that none of it leads out of it.

use super::section::Problem;
use crate::files::FileError;
use std::path::{Component, Path, PathBuf};

/// Something in a folder, by its path relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Relative to the folder.
    pub path: PathBuf,
    /// What it is.
    pub kind: TreeKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeKind {
    /// A folder.
    Folder,
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Whether its owner may run it.
        executable: bool,
    },
    /// A link, with its target as written.
    Link(PathBuf),
    /// A device, pipe or socket.
    Special,
}

/// Everything below `dir`, links not followed, folders before what is in them, by name.
///
/// # Errors
/// When a folder or an entry cannot be read.
pub fn walk(dir: &Path) -> Result<Vec<TreeEntry>, FileError> {
    let mut entries = Vec::new();
    walk_below(dir, Path::new(""), &mut entries)?;
    Ok(entries)
}

fn walk_below(root: &Path, below: &Path, entries: &mut Vec<TreeEntry>) -> Result<(), FileError> {
    let dir = root.join(below);
    let listed = std::fs::read_dir(&dir).map_err(FileError::at("read the folder", &dir))?;
    let mut names = Vec::new();
    for entry in listed {
        names.push(entry.map_err(FileError::at("read the folder", &dir))?.file_name());
    }
    names.sort();
    for name in names {
        let path = below.join(name);
        let full = root.join(&path);
        let metadata = std::fs::symlink_metadata(&full).map_err(FileError::at("look at", &full))?;
        let kind = if metadata.is_dir() {
            TreeKind::Folder
        } else if metadata.is_file() {
            TreeKind::File { size: metadata.len(), executable: is_executable(&metadata) }
        } else if metadata.is_symlink() {
            TreeKind::Link(std::fs::read_link(&full).map_err(FileError::at("read the link", &full))?)
        } else {
            TreeKind::Special
        };
        let is_folder = kind == TreeKind::Folder;
        entries.push(TreeEntry { path: path.clone(), kind });
        if is_folder {
            walk_below(root, &path, entries)?;
        }
    }
    Ok(())
}

fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

/// What in the task at `root` leads out of it or cannot be carried elsewhere.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<Problem>, FileError> {
    let mut problems = Vec::new();
    let real_root = root.canonicalize().map_err(FileError::at("resolve", root))?;
    for entry in walk(root)? {
        let mut say = |message: String| {
            let file = entry.path.to_string_lossy().into_owned();
            problems.push(Problem { file, line: None, key: String::new(), message });
        };
        if entry.path.to_str().is_none() {
            say("its name is not UTF-8; rename it".into());
        }
        match &entry.kind {
            TreeKind::Special => {
                say("is a device, pipe or socket; a task holds files, folders and links only".into());
            }
            TreeKind::Link(target) => {
                let shown = target.display();
                if leaves(&entry.path, target) {
                    say(format!("links to '{shown}', which leaves the task; put a copy in its place"));
                } else if let Ok(real) = root.join(&entry.path).canonicalize() {
                    let parent = real_root.join(&entry.path);
                    if !real.starts_with(&real_root) {
                        say(format!("links to '{shown}', which leaves the task; put a copy in its place"));
                    } else if parent.parent().is_some_and(|parent| parent.starts_with(&real)) {
                        say(format!("links to '{shown}', a folder it lies in"));
                    }
                }
            }
            TreeKind::Folder | TreeKind::File { .. } => {}
        }
    }
    Ok(problems)
}

/// Whether a link at `at` (relative to a root) to `target` is absolute or climbs above the root on its
/// way, even if it would come back.
#[must_use]
pub fn leaves(at: &Path, target: &Path) -> bool {
    let mut depth = at.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Prefix(_) | Component::RootDir => return true,
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
        }
    }
    false
}
