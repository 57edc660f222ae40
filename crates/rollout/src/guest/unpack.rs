//! Unpacking what a helper sent. Everything in the stream may be an agent's work: nothing is trusted.

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use trajgen_guest::files::{FILE, FOLDER, MAX_DEPTH};

/// The longest path an entry may have, in bytes (Linux's own limit).
const MAX_PATH: u64 = 4096;

/// Unpacks regular files and folders into `target`, or a single file to `target` itself.
///
/// Links, devices and names that leave `target` are left out. No link on the way is followed and no file that
/// exists is touched, whatever is done to `target` meanwhile. Folders get mode 755, files 644 or 755.
///
/// # Errors
/// Reading or writing failed, or the stream is no tar stream or longer than `max_bytes` of content.
pub(super) fn unpack(reader: impl Read, target: &Path, max_bytes: u64) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    let mut left = max_bytes;
    let mut long_name: Option<PathBuf> = None;
    let mut root: Option<OwnedFd> = None;
    // Raw entries: the library would read a long name of any length into memory.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            long_name = Some(read_name(&mut entry)?);
            continue;
        }
        let path = match long_name.take() {
            Some(path) => path,
            None => entry.path()?.into_owned(),
        };
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        left = left.checked_sub(entry.size()).ok_or_else(|| {
            let problem = format!("more than {max_bytes} bytes came from inside the environment");
            io::Error::new(io::ErrorKind::FileTooLarge, problem)
        })?;
        match &root {
            None if kind.is_dir() && path == Path::new(FOLDER) => {
                std::fs::create_dir_all(target)?;
                root = Some(rustix::fs::open(target, FOLDER_FLAGS, Mode::empty())?);
            }
            None if kind.is_file() && path == Path::new(FILE) => {
                let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
                    return Err(invalid("the place of a file on the host has no name"));
                };
                std::fs::create_dir_all(parent)?;
                let parent = rustix::fs::open(parent, FOLDER_FLAGS, Mode::empty())?;
                return write_file(&parent, Path::new(name), &mut entry, executable);
            }
            None => {
                return Err(invalid("what came from inside the environment starts with no folder or file"));
            }
            Some(root) => {
                let Some(parts) = plain(&path) else { continue };
                if kind.is_dir() {
                    // What is no folder on the host stays as it is, and what is below it is left out.
                    folder(root, &parts)?;
                } else if kind.is_file()
                    && let Some((name, folders)) = parts.split_last()
                    && let Some(parent) = folder(root, folders)?
                {
                    write_file(&parent, name, &mut entry, executable)?;
                }
            }
        }
    }
    Ok(())
}

const FOLDER_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn read_name(entry: &mut impl Read) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut name = Vec::new();
    entry.take(MAX_PATH + 1).read_to_end(&mut name)?;
    if name.len() as u64 > MAX_PATH {
        return Err(invalid("a path from inside the environment is longer than 4096 bytes"));
    }
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(std::ffi::OsString::from_vec(name).into())
}

/// The parts of a path that only goes down, and not too deep; nothing when it does anything else.
fn plain(path: &Path) -> Option<Vec<&Path>> {
    let parts: Option<Vec<&Path>> = path
        .components()
        .filter(|component| !matches!(component, Component::CurDir))
        .map(|component| match component {
            Component::Normal(name) => Some(Path::new(name)),
            _ => None,
        })
        .collect();
    parts.filter(|parts| parts.len() <= MAX_DEPTH + 1)
}

/// Opens a folder below `root`, making what is missing; nothing when something else is in the way.
fn folder(root: &OwnedFd, parts: &[&Path]) -> io::Result<Option<OwnedFd>> {
    let mut current = root.try_clone()?;
    for part in parts {
        match mkdirat(&current, *part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        current = match openat(&current, *part, FOLDER_FLAGS | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
    }
    Ok(Some(current))
}

/// Writes a new file; leaves alone whatever has the name already.
fn write_file(parent: &OwnedFd, name: &Path, content: &mut impl Read, executable: bool) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
    let mut file = match openat(parent, name, flags, mode) {
        Ok(fd) => File::from(fd),
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    io::copy(content, &mut file)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header
    }

    /// A stream whose names no well-meant packer would write.
    fn stream(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header(tar::EntryType::Directory, 0), FOLDER, io::empty()).unwrap();
        for (name, kind, content) in entries {
            let mut header = header(*kind, content.len() as u64);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn nothing_leaves_the_target() {
        let host = tempfile::tempdir().unwrap();
        let target = host.path().join("target");
        let file = tar::EntryType::Regular;
        let bytes = stream(&[
            ("../up", file, b"x"),
            ("a/../../up", file, b"x"),
            ("/abs", file, b"x"),
            ("link", tar::EntryType::Symlink, b""),
            ("hard", tar::EntryType::Link, b""),
            ("dev", tar::EntryType::Char, b""),
            ("pipe", tar::EntryType::Fifo, b""),
            ("deep/er/good", file, b"good"),
        ]);
        unpack(bytes.as_slice(), &target, 1 << 20).unwrap();
        assert_eq!(std::fs::read(target.join("deep/er/good")).unwrap(), b"good");
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 1);
    }

    #[test]
    fn existing_files_and_links_stay_untouched() {
        let host = tempfile::tempdir().unwrap();
        let target = host.path().join("target");
        let outside = host.path().join("outside");
        std::fs::create_dir(&target).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(target.join("ours"), "ours").unwrap();
        symlink(&outside, target.join("way")).unwrap();
        symlink(outside.join("planted"), target.join("file")).unwrap();
        let file = tar::EntryType::Regular;
        let bytes = stream(&[
            ("ours", file, b"theirs"),
            ("ours/below", file, b"theirs"),
            ("way/x", file, b"theirs"),
            ("file", file, b"theirs"),
            ("fine", file, b"fine"),
        ]);
        unpack(bytes.as_slice(), &target, 1 << 20).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("ours")).unwrap(), "ours");
        assert_eq!(std::fs::read_to_string(target.join("fine")).unwrap(), "fine");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn limits_hold() {
        let host = tempfile::tempdir().unwrap();
        let bytes = stream(&[("big", tar::EntryType::Regular, &[0; 5000])]);
        let error = unpack(bytes.as_slice(), &host.path().join("t"), 4999).unwrap_err();
        assert!(error.to_string().contains("4999"), "{error}");
        let long = vec![b'a'; 6000];
        let bytes = stream(&[("././@LongLink", tar::EntryType::GNULongName, &long)]);
        assert!(unpack(bytes.as_slice(), &host.path().join("u"), 1 << 20).is_err());
        assert!(unpack(&[7u8; 1024][..], &host.path().join("v"), 1 << 20).is_err());
    }
}
