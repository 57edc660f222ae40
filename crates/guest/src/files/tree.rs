//! Trees that somebody hostile has made: of any depth, with any names, closed to their owner.
//!
//! Nothing here follows a link, and neither stack nor open descriptors grow with the depth.

use rustix::fd::{AsFd, AsRawFd as _, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;

/// No folder that is packed or unpacked lies deeper than this: what walks over copies may then recurse.
pub const MAX_DEPTH: usize = 200;

/// How long a path below an open folder may get before a folder nearer by is opened, and how many of these may be
/// open at once.
const LONG: usize = 2000;
const MOST_OPEN: usize = 64;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes a tree; what is not there is removed already. Folders that deny themselves to their owner are opened.
///
/// A folder's subfolders are moved to the top before it is removed, so no path is ever longer than one name.
///
/// # Errors
/// The first thing that could not be removed, after everything else has been.
pub fn remove_tree(tree: &Path) -> io::Result<()> {
    let top = match enter(CWD, &name_of(tree)?) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(tree),
        Err(error) => return Err(error.into()),
    };
    let mut removal = Removal { top, moved: 0, progress: true, problem: None };
    // What is moved to the top while it is being listed shows now or in the next round.
    while std::mem::take(&mut removal.progress) {
        removal.problem = None;
        removal.round()?;
    }
    match removal.problem {
        Some(error) => Err(error.into()),
        None => std::fs::remove_dir(tree),
    }
}

struct Removal {
    top: OwnedFd,
    /// How many folders were moved to the top.
    moved: u64,
    progress: bool,
    problem: Option<Errno>,
}

impl Removal {
    /// Empties the top of what is there now, and moves there what is one step deeper.
    fn round(&mut self) -> io::Result<()> {
        for name in names(&self.top)? {
            let name = name?;
            if !self.unlink_unless_folder(None, &name) {
                continue;
            }
            match enter(&self.top, &name) {
                Ok(folder) => {
                    for below in names(&folder)? {
                        let below = below?;
                        if self.unlink_unless_folder(Some(&folder), &below) {
                            self.lift(&folder, &below);
                        }
                    }
                }
                Err(error) => self.note(Err(error)),
            }
            let gone = unlinkat(&self.top, &name, AtFlags::REMOVEDIR);
            self.note(gone);
        }
        Ok(())
    }

    /// Removes what is no folder; says whether it is a folder.
    fn unlink_unless_folder(&mut self, folder: Option<&OwnedFd>, name: &CStr) -> bool {
        let folder = folder.unwrap_or(&self.top);
        match unlinkat(folder, name, AtFlags::empty()) {
            // POSIX says the second, Linux the first.
            Err(Errno::ISDIR | Errno::PERM) if is_folder(folder, name) => true,
            result => {
                self.note(result);
                false
            }
        }
    }

    /// Removes an empty folder; moves another to the top.
    fn lift(&mut self, folder: &OwnedFd, name: &CStr) {
        let mut result = unlinkat(folder, name, AtFlags::REMOVEDIR);
        let mut opened = false;
        while let Err(error) = result {
            match error {
                // Who is not root may move a folder only when it may write to it.
                Errno::ACCESS | Errno::PERM if !opened && enter(folder, name).is_ok() => opened = true,
                Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR => self.moved += 1,
                _ => break,
            }
            let Ok(place) = CString::new(format!(".removed-{}", self.moved)) else { break };
            result = renameat(folder, name, &self.top, &place);
        }
        self.note(result);
    }

    fn note(&mut self, result: Result<(), Errno>) {
        match result {
            Ok(()) => self.progress = true,
            Err(Errno::NOENT) => {}
            Err(error) => self.problem = self.problem.or(Some(error)),
        }
    }
}

/// What a tree takes on the disk, in bytes; what cannot be read is not counted. One too deep to be measured takes
/// all there is.
#[must_use]
pub fn tree_size(tree: &Path) -> u64 {
    let Some(top) = name_of(tree).ok().and_then(|name| openat(CWD, &name, FOLDER, Mode::empty()).ok()) else {
        return 0;
    };
    let mut sum = 0u64;
    // Folders to look at: one that is open, and the way from there.
    let mut open = vec![(Rc::new(top), 0, c".".to_owned())];
    while let Some((mut from, mut level, mut way)) = open.pop() {
        let Ok(folder) = openat(&*from, &way, FOLDER, Mode::empty()) else { continue };
        let Ok(listed) = names(&folder) else { continue };
        if way.as_bytes().len() > LONG {
            if level >= MOST_OPEN {
                return u64::MAX;
            }
            let Ok(nearer) = openat(&*from, &way, FOLDER, Mode::empty()) else { continue };
            (from, level, way) = (Rc::new(nearer), level + 1, c".".to_owned());
        }
        for name in listed.flatten() {
            let Ok(found) = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            sum = sum.saturating_add(u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512));
            if FileType::from_raw_mode(found.st_mode).is_dir() {
                let below = [way.as_bytes(), b"/", name.as_bytes()].concat();
                // Neither part has a zero in it.
                open.extend(CString::new(below).ok().map(|below| (Rc::clone(&from), level, below)));
            }
        }
    }
    sum
}

fn name_of(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn is_folder(folder: &OwnedFd, name: &CStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode).is_dir())
}

/// Opens a folder, after giving its owner all rights to it where they are missing.
fn enter(folder: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let found = openat(folder, name, FOLDER | OFlags::PATH, Mode::empty())?;
    let mode = rustix::fs::fstat(&found)?.st_mode;
    if mode & 0o700 != 0o700 {
        // The descriptor of a path cannot be changed itself. Who may not change it may still be able to read it.
        let _ = rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::RWXU);
    }
    openat(&found, c".", FOLDER, Mode::empty())
}

/// What is in a folder, itself and its parent left out.
fn names(folder: &OwnedFd) -> io::Result<impl Iterator<Item = io::Result<CString>> + use<>> {
    let listed = Dir::read_from(folder)?;
    Ok(listed.filter_map(|entry| match entry {
        Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => None,
        Ok(entry) => Some(Ok(entry.file_name().to_owned())),
        Err(error) => Some(Err(error.into())),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// A chain of folders called `name`, with a file at its end.
    fn chain(top: &Path, name: &str, depth: usize) {
        let name = CString::new(name).unwrap();
        let mut folder = openat(CWD, name_of(top).unwrap(), FOLDER, Mode::empty()).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
            folder = openat(&folder, &name, FOLDER, Mode::empty()).unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::io::write(openat(&folder, c"end", flags, Mode::RUSR).unwrap(), &[1; 100_000]).unwrap();
    }

    /// On the small stack of the helper's threads.
    fn small<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::Builder::new().stack_size(128 * 1024).spawn(run).unwrap().join().unwrap()
    }

    #[test]
    fn any_depth_is_removed_and_measured() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        chain(&tree, "d", 15_000);
        chain(&tree, ".removed-1", 300);
        chain(&tree, &"long".repeat(60), 100);
        let top = tree.clone();
        let size = small(move || tree_size(&top));
        assert!((300_000..1 << 30).contains(&size), "{size}");
        let top = tree.clone();
        small(move || remove_tree(&top)).unwrap();
        assert!(!tree.exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn what_is_too_deep_to_measure_takes_all() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        chain(&tree, &"long".repeat(60), 1000);
        assert_eq!(tree_size(&tree), u64::MAX);
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn links_are_not_followed_and_closed_folders_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        symlink(&outside, tree.join("a/b/link")).unwrap();
        for closed in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o0)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
        let link = dir.path().join("link");
        symlink(&outside, &link).unwrap();
        remove_tree(&link).unwrap();
        assert!(link.symlink_metadata().is_err() && outside.join("kept").exists());
    }
}
