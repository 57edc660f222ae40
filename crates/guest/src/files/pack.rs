//! Packing a file or a folder, used by both sides.

use super::{FILE, FOLDER, MAX_DEPTH};
use rustix::fs::OFlags;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// How many entries one stream holds at most.
const MAX_ENTRIES: u64 = 500_000;

/// How many skipped entries are named; the rest is only counted.
const MAX_NAMED: usize = 100;

/// What of a folder is packed.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Globs on paths relative to the source; what matches is left out, a folder with all below it.
    pub exclude: Vec<String>,
    /// Symbolic links are packed as links (else left out).
    pub links: bool,
    /// Content beyond this many bytes is left out, file by file.
    pub max_bytes: u64,
}

/// What was packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// False when there was nothing at the source.
    pub found: bool,
    /// What was left out for another reason than the selection's globs, and why.
    pub skipped: Vec<String>,
    /// Files were left out because they did not fit.
    pub cut: bool,
}

/// Writes `source`, a file or a folder's contents, to `writer` as a tar stream, owned by root, links never followed.
///
/// # Errors
/// `writer` failed, or the source itself cannot be read. What cannot be read below it is skipped and named.
pub fn pack(source: &Path, selection: &Selection, writer: impl Write) -> io::Result<Packed> {
    let metadata = match source.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Packed::default());
        }
        Err(error) => return Err(error),
    };
    let mut packer = Packer {
        tar: tar::Builder::new(writer),
        selection,
        left: selection.max_bytes,
        entries: 0,
        unnamed: 0,
        packed: Packed { found: true, ..Packed::default() },
    };
    if metadata.is_dir() {
        packer.append(&header(&metadata, tar::EntryType::Directory, 0), FOLDER, io::empty())?;
        packer.walk(source)?;
    } else {
        packer.item(source, FILE)?;
    }
    packer.tar.into_inner()?.flush()?;
    if packer.unnamed > 0 {
        packer.packed.skipped.push(format!("and {} more", packer.unnamed));
    }
    Ok(packer.packed)
}

struct Packer<'a, W: Write> {
    tar: tar::Builder<W>,
    selection: &'a Selection,
    left: u64,
    entries: u64,
    unnamed: u64,
    packed: Packed,
}

impl<W: Write> Packer<'_, W> {
    fn skip(&mut self, name: &str, why: impl std::fmt::Display) {
        if self.packed.skipped.len() < MAX_NAMED {
            self.packed.skipped.push(format!("{name}: {why}"));
        } else {
            self.unnamed += 1;
        }
    }

    fn append(&mut self, header: &tar::Header, name: &str, content: impl Read) -> io::Result<()> {
        self.entries += 1;
        self.tar.append_data(&mut header.clone(), name, content)
    }

    /// Packs what is in `folder` and below. Its own stack: whoever made the tree chose how deep it is.
    fn walk(&mut self, folder: &Path) -> io::Result<()> {
        let mut open = vec![(String::new(), self.list(folder, "").into_iter())];
        while let Some((prefix, items)) = open.last_mut() {
            let Some(item) = items.next() else {
                open.pop();
                continue;
            };
            let Ok(name) = item.file_name().into_string() else {
                let prefix = prefix.clone();
                self.skip(&prefix, format!("a name that is not UTF-8: {}", item.file_name().display()));
                continue;
            };
            let name = format!("{prefix}{name}");
            if self.selection.exclude.iter().any(|glob| fast_glob::glob_match(glob, &name)) {
                continue;
            }
            if self.entries >= MAX_ENTRIES {
                self.skip(&name, format!("more than {MAX_ENTRIES} entries"));
                continue;
            }
            let path = item.path();
            if !self.item(&path, &name)? {
                continue;
            }
            let below = format!("{name}/");
            if open.len() > MAX_DEPTH {
                self.skip(&below, format!("what is in it: it lies deeper than {MAX_DEPTH} folders"));
                continue;
            }
            let items = self.list(&path, &below).into_iter();
            open.push((below, items));
        }
        Ok(())
    }

    fn list(&mut self, folder: &Path, prefix: &str) -> Vec<std::fs::DirEntry> {
        let listed = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        match listed {
            Ok(mut items) => {
                items.sort_by_key(std::fs::DirEntry::file_name);
                items
            }
            Err(error) => {
                self.skip(prefix, error);
                Vec::new()
            }
        }
    }

    /// Packs one entry; says whether it is a folder, whose content is still to be packed.
    fn item(&mut self, path: &Path, name: &str) -> io::Result<bool> {
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) => {
                self.skip(name, error);
                return Ok(false);
            }
        };
        if metadata.is_dir() {
            let folder = format!("{name}/");
            self.append(&header(&metadata, tar::EntryType::Directory, 0), &folder, io::empty())?;
            return Ok(true);
        }
        if metadata.is_symlink() && self.selection.links {
            let mut header = header(&metadata, tar::EntryType::Symlink, 0);
            match std::fs::read_link(path) {
                Ok(target) => {
                    self.entries += 1;
                    self.tar.append_link(&mut header, name, target)?;
                }
                Err(error) => self.skip(name, error),
            }
        } else if metadata.is_file() {
            self.file(path, name)?;
        } else {
            self.skip(name, "no regular file");
        }
        Ok(false)
    }

    fn file(&mut self, path: &Path, name: &str) -> io::Result<()> {
        // The path may have become something else since it was looked at: what counts is what is opened.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let opened = File::options().read(true).custom_flags(flags).open(path);
        let (file, metadata) = match opened.and_then(|file| file.metadata().map(|metadata| (file, metadata)))
        {
            Ok(opened) => opened,
            Err(error) => {
                self.skip(name, error);
                return Ok(());
            }
        };
        if !metadata.is_file() {
            self.skip(name, "no regular file");
            return Ok(());
        }
        if metadata.len() > self.left {
            self.packed.cut = true;
            self.skip(name, format!("{} bytes, beyond the limit", metadata.len()));
            return Ok(());
        }
        self.left -= metadata.len();
        let header = header(&metadata, tar::EntryType::Regular, metadata.len());
        self.append(&header, name, Exactly { inner: file, left: metadata.len() })
    }
}

fn header(metadata: &Metadata, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header
}

/// A file of just the length its header says, though others write to it meanwhile: cut, or filled with zeros.
struct Exactly {
    inner: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(part) = buffer.get_mut(..want).filter(|part| !part.is_empty()) else { return Ok(0) };
        let count = match self.inner.read(part) {
            Ok(0) => {
                part.fill(0);
                want
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            // An unreadable block is no reason to lose the rest of the stream.
            Err(_) => {
                part.fill(0);
                want
            }
        };
        self.left -= count as u64;
        Ok(count)
    }
}
