//! Copying tasks so that a crash leaves whole ones only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use trajgen_contract::files::FileError;
use trajgen_contract::task::tree::{TreeEntry, TreeKind, leaves, walk};

/// A folder inside the target in which copies are made; removed when dropped, and by the next
/// preparation when this one dies.
pub(super) struct Staging {
    target: PathBuf,
    path: PathBuf,
}

impl Staging {
    pub(super) fn begin(target: &Path) -> Result<Self, FileError> {
        let path = target.join(".staging");
        remove(&path)?;
        std::fs::create_dir_all(&path).map_err(FileError::at("create the folder", &path))?;
        Ok(Self { target: target.to_owned(), path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the task in `folder`; gives back its id. It is in its place after [`Self::commit`].
    pub(super) fn copy(&self, id: &str, folder: &Path) -> Result<String, FileError> {
        copy_tree(folder, &self.path.join("new").join(id))?;
        Ok(id.to_owned())
    }

    /// Puts copies in their places, synced to the disk before that.
    pub(super) fn commit(&self, ids: &[String]) -> Result<(), FileError> {
        if ids.is_empty() {
            return Ok(());
        }
        let sync = |file: File| rustix::fs::syncfs(&file).map_err(io::Error::from);
        File::open(&self.path).and_then(sync).map_err(FileError::at("sync", &self.path))?;
        let old = self.path.join("old");
        std::fs::create_dir_all(&old).map_err(FileError::at("create the folder", &old))?;
        for id in ids {
            let place = self.target.join(id);
            if std::fs::symlink_metadata(&place).is_ok() {
                std::fs::rename(&place, old.join(id)).map_err(FileError::at("replace", &place))?;
            }
            std::fs::rename(self.path.join("new").join(id), &place)
                .map_err(FileError::at("write", &place))?;
        }
        File::open(&self.target).and_then(|dir| dir.sync_all()).map_err(FileError::at("sync", &self.target))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
        // Nothing was prepared: leave no empty folder that looks like a data set.
        let _ = std::fs::remove_dir(&self.target);
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::at("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Copies files, folders and links. Of modes only whether a file is executable is kept.
fn copy_tree(from: &Path, to: &Path) -> Result<(), FileError> {
    std::fs::create_dir_all(to).map_err(FileError::at("create the folder", to))?;
    for TreeEntry { path, kind } in walk(from)? {
        let (source, place) = (from.join(&path), to.join(&path));
        match kind {
            TreeKind::Folder => {
                std::fs::create_dir(&place).map_err(FileError::at("create the folder", &place))?;
            }
            TreeKind::File { executable, .. } => {
                copy_file(&source, &place, executable).map_err(FileError::at("copy", &source))?;
            }
            // Checked when the task was loaded; the source may have changed since.
            TreeKind::Link(target) if !leaves(&path, &target) => {
                std::os::unix::fs::symlink(&target, &place).map_err(FileError::at("link", &place))?;
            }
            TreeKind::Link(_) | TreeKind::Special => {
                let why = io::Error::other("it is no file, folder or link inside the task");
                return Err(FileError::at("copy", &source)(why));
            }
        }
    }
    Ok(())
}

fn copy_file(source: &Path, place: &Path, executable: bool) -> io::Result<()> {
    let mut from = open(source)?;
    let mut to = OpenOptions::new().write(true).create_new(true).open(place)?;
    io::copy(&mut from, &mut to)?;
    set_mode(&to, executable)
}

/// Gives a file the mode that says only whether it is executable.
pub(super) fn set_mode(file: &File, executable: bool) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
}

/// Opens a regular file, not through a link.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Whether two folders hold the same, as far as a copy keeps it.
pub(super) fn same(a: &Path, b: &Path) -> Result<bool, FileError> {
    if !std::fs::symlink_metadata(b).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(false);
    }
    let entries = walk(a)?;
    if entries != walk(b)? {
        return Ok(false);
    }
    for entry in entries {
        if let TreeKind::File { .. } = entry.kind {
            let (a, b) = (a.join(&entry.path), b.join(&entry.path));
            if !same_file(&a, &b).map_err(FileError::at("compare", &a))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn same_file(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (io::BufReader::new(open(a)?), io::BufReader::new(open(b)?));
    let (mut part_a, mut part_b) = (vec![0u8; 32 * 1024], vec![0u8; 32 * 1024]);
    loop {
        let n = read_full(&mut a, &mut part_a)?;
        if n != read_full(&mut b, &mut part_b)? || part_a.get(..n) != part_b.get(..n) {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

/// Fills `part` as far as there is something to read.
fn read_full(from: &mut impl Read, part: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = part.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
