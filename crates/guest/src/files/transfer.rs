//! The helper's side of uploads and downloads.

use super::{FILE, Selection, pack};
use crate::connection::Channel;
use crate::protocol::{CHUNK, Failure, FailureKind, Get, Put, Reply};
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Unpacks what the client sends.
pub(crate) fn put(channel: &Channel, request: &Put) {
    let reply = match unpack(channel, Path::new(&request.target)) {
        Ok(files) => Reply::Put { files },
        Err(error) => Reply::Failed(Failure::system(&format!("cannot write to {}", request.target), &error)),
    };
    // The client may still be sending: what is not taken would hold up nobody, but must not count as unread.
    while channel.receive().is_some() {}
    channel.done(&reply);
}

fn unpack(channel: &Channel, target: &Path) -> io::Result<u64> {
    let mut archive = tar::Archive::new(Incoming { channel, chunk: Vec::new(), taken: 0 });
    let mut files = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if files == 0 && path == Path::new(FILE) && entry.header().entry_type().is_file() {
            single(&mut entry, target)?;
            return Ok(1);
        }
        fs::create_dir_all(target)?;
        // A folder that is there stays as it is, also behind a link.
        if entry.header().entry_type().is_dir() && target.join(&path).is_dir() {
            continue;
        }
        // Stays below `target`, also where links were planted, and replaces files instead of writing into them.
        if !entry.unpack_in(target)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} would be written outside", path.display()),
            ));
        }
        files += u64::from(!entry.header().entry_type().is_dir());
    }
    Ok(files)
}

/// Writes a single file to `target`.
fn single(entry: &mut tar::Entry<'_, Incoming<'_>>, target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    // A link that was planted there is replaced, not followed.
    if target.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
        fs::remove_file(target)?;
    }
    entry.unpack(target).map(drop)
}

/// Sends what the client asked for.
pub(crate) fn get(channel: &Channel, request: &Get) {
    let selection =
        Selection { exclude: request.filter.exclude.clone(), links: false, max_bytes: request.max_bytes };
    let source = PathBuf::from(&request.source);
    let reply = if source.is_absolute() {
        match pack(&source, &selection, BufWriter::with_capacity(CHUNK, Outgoing(channel))) {
            Ok(packed) => Reply::Get { found: packed.found, skipped: packed.skipped, cut: packed.cut },
            Err(error) => Reply::Failed(Failure::system(&format!("cannot read {}", request.source), &error)),
        }
    } else {
        Reply::Failed(Failure::new(
            FailureKind::Refused,
            format!("{} is not an absolute path", request.source),
        ))
    };
    channel.done(&reply);
}

/// A channel's data as a reader.
struct Incoming<'a> {
    channel: &'a Channel,
    chunk: Vec<u8>,
    taken: usize,
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() {
            match self.channel.receive() {
                Some(chunk) => (self.chunk, self.taken) = (chunk, 0),
                None => return Ok(0),
            }
        }
        let rest = self.chunk.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// A channel as a writer.
struct Outgoing<'a>(&'a Channel);

impl Write for Outgoing<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.0.send(buffer) {
            Ok(()) => Ok(buffer.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
