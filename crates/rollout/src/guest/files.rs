//! Files in and out.

use super::connection::{Arrival, Channel};
use super::unpack::unpack;
use super::{Guest, unexpected};
use crate::environment::{EnvironmentError, Fetched};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use tokio::sync::mpsc;
use trajgen_contract::outcome::ErrorType;
use trajgen_guest::files::{Selection, pack};
use trajgen_guest::protocol::{CHUNK, EntryFilter, Get, Put, Reply, Request};

/// How much content one download brings at most, in bytes. Files beyond it are left out.
pub const DOWNLOAD_LIMIT: u64 = 2 * 1024 * 1024 * 1024;

/// Chunks between the task that talks and the thread that reads or writes files.
const QUEUE: usize = 4;

impl Guest {
    /// Copies a host folder's contents to the folder `target` inside, or a host file to `target` itself (below it
    /// when that is a folder). What is missing on the way is made. Files belong to root, keep their modes and
    /// replace what has their name; links stay links.
    ///
    /// # Errors
    /// `EnvironmentBuildError` when the source cannot be read, `StorageLimitError` when there is no room inside,
    /// `EnvironmentLostError` when the connection is lost or writing fails.
    pub async fn upload(&self, source: &Path, target: &str) -> Result<(), EnvironmentError> {
        let doing = format!("cannot upload {} to {target}", source.display());
        let mut target = target.to_owned();
        if source.is_file()
            && let Some(name) = source.file_name()
            && self.is_folder(&target).await?
        {
            target = format!("{}/{}", target.trim_end_matches('/'), name.to_string_lossy());
        }
        let mut channel = self.connection.open(&Request::Put(Put { target }))?;
        let (chunks, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let from = source.to_owned();
        let packing = tokio::task::spawn_blocking(move || {
            let selection = Selection { exclude: Vec::new(), links: true, max_bytes: u64::MAX };
            pack(&from, &selection, BufWriter::with_capacity(CHUNK, ChunkWriter(chunks)))
        });
        let sender = channel.sender();
        let sending = async {
            while let Some(chunk) = queue.recv().await {
                if !sender.send(&chunk).await? {
                    break;
                }
            }
            // Without its receiver the packing thread ends.
            drop(queue);
            sender.end()
        };
        let ((), reply) = tokio::try_join!(sending, finish(&mut channel))?;
        let failed = |problem: String| {
            EnvironmentError::new(ErrorType::EnvironmentBuildError, format!("{doing}: {problem}"))
        };
        let Reply::Put { .. } = reply else { return Err(unexpected(&doing, reply)) };
        let packed = packing.await.map_err(|error| failed(error.to_string()))?;
        let packed = packed.map_err(|error| failed(error.to_string()))?;
        if !packed.found {
            return Err(failed("there is nothing on the host".to_owned()));
        }
        if let Some(skipped) = packed.skipped.first() {
            return Err(failed(format!("not everything can be read: {skipped}")));
        }
        Ok(())
    }

    /// Copies a folder's regular files into the host folder `target`, or a file to `target` itself, made when
    /// missing; never through a link on either side, never over an existing file. `Ok(false)` when there is
    /// nothing at `source`. `exclude` holds globs on paths relative to `source` (`*` stays within a folder, `**`
    /// does not); a folder that matches is left out with all below it.
    ///
    /// # Errors
    /// `DiskFullError` when the host's disk is full, `EnvironmentLostError` when the connection is lost, or
    /// reading inside or writing on the host fails.
    pub async fn download(
        &self,
        source: &str,
        target: &Path,
        exclude: &[String],
    ) -> Result<bool, EnvironmentError> {
        self.download_at_most(source, target, exclude, DOWNLOAD_LIMIT).await.map(|fetched| fetched.found)
    }

    /// [`Self::download`] of so many bytes of content; files that do not fit are left out, and it is said.
    ///
    /// # Errors
    /// As [`Self::download`].
    pub async fn download_at_most(
        &self,
        source: &str,
        target: &Path,
        exclude: &[String],
        max_bytes: u64,
    ) -> Result<Fetched, EnvironmentError> {
        let filter = EntryFilter { exclude: exclude.to_vec() };
        self.get(Get { source: source.to_owned(), filter, max_bytes, private: false }, target).await
    }

    /// Downloads what private commands (see [`crate::environment::Exec::private`]) left in `/logs/verifier`.
    ///
    /// # Errors
    /// As [`Self::download`].
    pub async fn download_private(
        &self,
        target: &Path,
        exclude: &[String],
    ) -> Result<bool, EnvironmentError> {
        let (source, filter) = ("/logs/verifier".to_owned(), EntryFilter { exclude: exclude.to_vec() });
        let get = Get { source, filter, max_bytes: DOWNLOAD_LIMIT, private: true };
        self.get(get, target).await.map(|fetched| fetched.found)
    }

    async fn get(&self, get: Get, target: &Path) -> Result<Fetched, EnvironmentError> {
        let (source, max_bytes) = (get.source.clone(), get.max_bytes);
        let doing = format!("cannot download {source} to {}", target.display());
        let mut channel = self.connection.open(&Request::Get(get))?;
        let (chunks, queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let to = target.to_owned();
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut reader = ChunkReader { queue, chunk: Vec::new(), taken: 0 };
            let result = unpack(&mut reader, &to, max_bytes);
            if result.is_ok() {
                // The padding at the stream's end.
                let _ = io::copy(&mut reader, &mut io::sink());
            }
            result
        });
        let mut any = false;
        let reply = loop {
            match channel.next().await? {
                Arrival::Done(reply) => break reply,
                Arrival::Data(bytes) => {
                    any = true;
                    if chunks.send(bytes).await.is_err() {
                        // The unpacking thread has given up, and says why.
                        break Reply::Get { found: true, skipped: Vec::new(), cut: true };
                    }
                }
            }
        };
        drop(chunks);
        let unpacked = unpacking.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let Reply::Get { found, skipped, cut } = reply else { return Err(unexpected(&doing, reply)) };
        for skipped in skipped {
            tracing::debug!(source, skipped, "left out of a download");
        }
        if any {
            unpacked.map_err(|error| {
                let kind = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorType::DiskFullError,
                    _ => ErrorType::EnvironmentLostError,
                };
                EnvironmentError::new(kind, format!("{doing}: {error}"))
            })?;
        }
        Ok(Fetched { found, cut })
    }

    /// True when `path` is a folder inside, or ends like one.
    async fn is_folder(&self, path: &str) -> Result<bool, EnvironmentError> {
        if path.ends_with('/') {
            return Ok(true);
        }
        let request = Request::IsFolder { path: path.to_owned() };
        match self.connection.request(&request).await? {
            Reply::IsFolder { folder } => Ok(folder),
            other => Err(unexpected(&format!("cannot look at {path}"), other)),
        }
    }
}

/// The reply of a channel that brings no data.
async fn finish(channel: &mut Channel) -> Result<Reply, EnvironmentError> {
    loop {
        if let Arrival::Done(reply) = channel.next().await? {
            return Ok(reply);
        }
    }
}

struct ChunkWriter(mpsc::Sender<Vec<u8>>);

impl Write for ChunkWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(buffer.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct ChunkReader {
    queue: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    taken: usize,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() {
            match self.queue.blocking_recv() {
                Some(chunk) => (self.chunk, self.taken) = (chunk, 0),
                None => return Ok(0),
            }
        }
        let count = (&self.chunk[self.taken..]).read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}
