//! Unpacking an archive that nobody vouches for.
//!
//! Only folders and regular files come out, only below the given folder, within limits that are
//! checked before a byte too many is written.

mod names;

use super::PrepareError;
use super::copy::set_mode;
use flate2::read::MultiGzDecoder;
use names::Names;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use trajgen_contract::files::FileError;

/// Why an archive is not unpacked.
#[derive(Debug, thiserror::Error)]
#[error("archive {}: {problem}", path.display())]
pub struct ArchiveError {
    /// The archive.
    pub path: PathBuf,
    /// What was found in it, and what to do.
    pub problem: String,
}

/// How much may come out of an archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Files and folders.
    pub(super) members: u64,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// Bytes out for each byte of the archive: what is beyond is no data set but a bomb.
    pub(super) ratio: u64,
    /// Bytes that are fine whatever the ratio.
    pub(super) small: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { members: 1_000_000, bytes: 64 << 30, ratio: 100, small: 1 << 30 }
    }
}

/// The most a tar header's extension (a long name, pax records) may hold, in bytes.
const LARGEST_EXTENSION: u64 = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar,
    TarGz,
    Zip,
}

const FORMATS: [(&str, Format); 4] =
    [(".tar.gz", Format::TarGz), (".tgz", Format::TarGz), (".tar", Format::Tar), (".zip", Format::Zip)];

/// The archive's name without what tells its format: the id of a task that lies at its top.
pub(super) fn stem(name: &str) -> &str {
    let suffix = FORMATS.iter().find(|(suffix, _)| name.to_ascii_lowercase().ends_with(suffix));
    let stem = suffix.and_then(|(suffix, _)| name.get(..name.len() - suffix.len()));
    stem.filter(|stem| !stem.is_empty()).unwrap_or(name)
}

/// Unpacks `archive` into the new folder `into`; gives back where its tasks lie: there, or in the one
/// folder that everything in it lies in.
pub(super) fn unpack(archive: &Path, into: &Path, limits: &Limits) -> Result<PathBuf, PrepareError> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let refuse = |problem: String| ArchiveError { path: archive.to_owned(), problem };
    let Some((_, format)) = FORMATS.iter().find(|(suffix, _)| name.ends_with(suffix)) else {
        return Err(refuse("is neither a folder nor a .tar.gz, .tgz, .tar or .zip archive".into()).into());
    };
    let open = || File::open(archive).map_err(FileError::at("read", archive));
    let size = open()?.metadata().map_err(FileError::at("look at", archive))?.len();
    let bytes = limits.bytes.min(limits.small.max(size.saturating_mul(limits.ratio)));
    std::fs::create_dir_all(into).map_err(FileError::at("create the folder", into))?;
    let mut unpacker = Unpacker {
        archive,
        into,
        members: limits.members,
        bytes,
        names: Names::default(),
        part: vec![0; 64 * 1024],
    };
    match format {
        Format::Zip => unpacker.zip(open()?)?,
        Format::Tar => {
            unpacker.check_tar(BufReader::new(open()?))?;
            unpacker.tar(BufReader::new(open()?))?;
        }
        Format::TarGz => {
            unpacker.check_tar(MultiGzDecoder::new(BufReader::new(open()?)))?;
            unpacker.tar(MultiGzDecoder::new(BufReader::new(open()?)))?;
        }
    }
    Ok(unwrap_folder(into)?)
}

/// A single folder without a `task.toml` that everything lies in is a wrapping; junk of other systems
/// beside it does not count.
fn unwrap_folder(into: &Path) -> Result<PathBuf, FileError> {
    if into.join("task.toml").exists() {
        return Ok(into.to_owned());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(into).map_err(FileError::at("read the folder", into))? {
        let path = entry.map_err(FileError::at("read the folder", into))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "__MACOSX" {
            entries.push(path);
        }
    }
    match entries.as_slice() {
        [only] if only.is_dir() && !only.join("task.toml").exists() => Ok(only.clone()),
        _ => Ok(into.to_owned()),
    }
}

struct Unpacker<'a> {
    archive: &'a Path,
    into: &'a Path,
    /// How many more may come.
    members: u64,
    /// How many more may be written.
    bytes: u64,
    names: Names,
    part: Vec<u8>,
}

impl Unpacker<'_> {
    fn refuse(&self, problem: impl std::fmt::Display) -> PrepareError {
        ArchiveError { path: self.archive.to_owned(), problem: problem.to_string() }.into()
    }

    fn torn(&self, error: impl std::fmt::Display) -> PrepareError {
        self.refuse(format_args!("cannot be read to its end ({error}); make or fetch it again"))
    }

    fn too_large(&self) -> PrepareError {
        self.refuse(
            "holds more than may be unpacked (a decompression bomb?); unpack it yourself and name the folder",
        )
    }

    /// Reads the headers alone, to find what is too much before the library reads long names into
    /// memory.
    fn check_tar(&self, reader: impl Read) -> Result<(), PrepareError> {
        let mut archive = tar::Archive::new(reader);
        let (mut members, mut bytes) = (0u64, 0u64);
        for entry in archive.entries().map_err(|e| self.torn(e))?.raw(true) {
            let entry = entry.map_err(|e| self.torn(e))?;
            let kind = entry.header().entry_type();
            let is_extension = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_global_extensions()
                || kind.is_pax_local_extensions();
            if is_extension && entry.size() > LARGEST_EXTENSION {
                return Err(self.refuse("has a member whose name or attributes are larger than 1 MiB"));
            }
            members += 1;
            bytes = bytes.saturating_add(entry.size());
            // Up to three extensions may stand before each member.
            if members > self.members.saturating_mul(4) || bytes > self.bytes.saturating_mul(2) {
                return Err(self.too_large());
            }
        }
        Ok(())
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), PrepareError> {
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(|e| self.torn(e))? {
            let mut entry = entry.map_err(|e| self.torn(e))?;
            let name = entry.path_bytes().into_owned();
            let kind = entry.header().entry_type();
            let mode = entry.header().mode().unwrap_or(0);
            if kind.is_pax_global_extensions() {
                continue;
            } else if kind.is_dir() {
                self.folder(&name)?;
            } else if kind.is_file() || kind.is_contiguous() {
                self.file(&name, mode & 0o100 != 0, &mut entry)?;
            } else {
                return Err(self.no_file(&name));
            }
        }
        Ok(())
    }

    fn zip(&mut self, file: File) -> Result<(), PrepareError> {
        const KIND: u32 = 0o170_000;
        const FILE: u32 = 0o100_000;
        const FOLDER: u32 = 0o040_000;
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| self.torn(e))?;
        if archive.has_duplicate_names() {
            return Err(self.refuse("has two members of one name"));
        }
        if archive.has_overlapping_entries().map_err(|e| self.torn(e))? {
            return Err(self.refuse("has members that share their bytes (a decompression bomb?)"));
        }
        for index in 0..archive.len() {
            let mut member = archive.by_index(index).map_err(|e| self.torn(e))?;
            let name = member.name_raw().to_owned();
            let mode = member.unix_mode();
            let kind = mode.map_or(0, |mode| mode & KIND);
            if ![0, FILE, FOLDER].contains(&kind) || member.is_symlink() {
                return Err(self.no_file(&name));
            } else if member.is_dir() {
                self.folder(&name)?;
            } else {
                self.file(&name, mode.is_some_and(|mode| mode & 0o100 != 0), &mut member)?;
            }
        }
        Ok(())
    }

    fn no_file(&self, name: &[u8]) -> PrepareError {
        let name = String::from_utf8_lossy(name);
        self.refuse(format_args!(
            "'{name}' is a link, device or the like; only files and folders are unpacked"
        ))
    }

    /// The member's place, when its name is fit and new.
    fn place(&mut self, name: &[u8], is_folder: bool) -> Result<PathBuf, PrepareError> {
        let Some(left) = self.members.checked_sub(1) else { return Err(self.too_large()) };
        self.members = left;
        let path = self.names.add(name, is_folder).map_err(|problem| self.refuse(problem))?;
        Ok(self.into.join(path))
    }

    fn folder(&mut self, name: &[u8]) -> Result<(), PrepareError> {
        let place = self.place(name, true)?;
        Ok(std::fs::create_dir_all(&place).map_err(FileError::at("create the folder", &place))?)
    }

    fn file(&mut self, name: &[u8], executable: bool, content: &mut impl Read) -> Result<(), PrepareError> {
        let place = self.place(name, false)?;
        let folder = place.parent().unwrap_or(self.into);
        std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&place)
            .map_err(FileError::at("create", &place))?;
        loop {
            let n = content.read(&mut self.part).map_err(|e| self.torn(e))?;
            if n == 0 {
                break;
            }
            let Some(left) = self.bytes.checked_sub(n as u64) else { return Err(self.too_large()) };
            self.bytes = left;
            let part = self.part.get(..n).unwrap_or_default();
            file.write_all(part).map_err(FileError::at("write", &place))?;
        }
        Ok(set_mode(&file, executable).map_err(FileError::at("write", &place))?)
    }
}

#[cfg(test)]
mod tests;
