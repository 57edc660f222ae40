//! Keeping a command's output: bounded in memory, whole in a file up to a limit.

use crate::environment::EnvironmentError;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use trajgen_contract::outcome::ErrorType;

/// How much of an output is kept in memory when the caller does not say, in bytes.
pub(super) const DEFAULT_KEEP: usize = 64 * 1024;

/// How much of an output goes to a log file, in bytes.
pub(super) const LOG_LIMIT: u64 = 64 * 1024 * 1024;

/// The first and the last half of what came.
pub(super) struct Kept {
    limit: usize,
    first: Vec<u8>,
    last: VecDeque<u8>,
    total: u64,
}

impl Kept {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, first: Vec::new(), last: VecDeque::new(), total: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (self.limit - self.limit / 2) - self.first.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.first.extend_from_slice(head);
        let keep = self.limit / 2;
        let rest = &rest[rest.len().saturating_sub(keep)..];
        let surplus = (self.last.len() + rest.len()).saturating_sub(keep);
        self.last.drain(..surplus);
        self.last.extend(rest);
    }

    /// How many bytes came in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What was kept, with a line that says how many bytes are missing, if any are. A character that the
    /// cut went through is left out whole.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let (mut output, last) = (self.first, Vec::from(self.last));
        if output.len() as u64 + last.len() as u64 == self.total {
            output.extend(last);
            return output;
        }
        let head = output.len() - cut_at_end(&output);
        let tail = last.iter().take(3).take_while(|byte| is_continuation(**byte)).count();
        let missing = self.total - head as u64 - (last.len() - tail) as u64;
        output.truncate(head);
        output.extend(format!("\n[... {missing} bytes of output left out ...]\n").bytes());
        output.extend(&last[tail..]);
        output
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// How many bytes at the end begin a UTF-8 character without completing it.
fn cut_at_end(bytes: &[u8]) -> usize {
    let back = bytes.iter().rev().take(3).take_while(|byte| is_continuation(**byte)).count();
    let Some(lead) = bytes.len().checked_sub(back + 1).and_then(|index| bytes.get(index)) else { return 0 };
    let length = match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF7 => 4,
        _ => 1,
    };
    if length > back + 1 { back + 1 } else { 0 }
}

/// A log file that ends in a marker when more came than it may hold.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    written: u64,
    missing: u64,
}

impl Log {
    pub(super) async fn create(path: &Path) -> Result<Self, EnvironmentError> {
        let file = File::options().create(true).append(true).open(path).await;
        let file = file.map_err(|error| log_error(path, &error))?;
        Ok(Self { path: path.to_owned(), file, written: 0, missing: 0 })
    }

    pub(super) async fn push(&mut self, bytes: &[u8]) -> Result<(), EnvironmentError> {
        let room = usize::try_from(LOG_LIMIT - self.written).unwrap_or(usize::MAX);
        let taken = &bytes[..room.min(bytes.len())];
        self.missing += (bytes.len() - taken.len()) as u64;
        self.written += taken.len() as u64;
        self.file.write_all(taken).await.map_err(|error| log_error(&self.path, &error))
    }

    pub(super) async fn finish(mut self) -> Result<(), EnvironmentError> {
        if self.missing > 0 {
            let marker = format!("\n[... {} bytes of output left out ...]\n", self.missing);
            self.file.write_all(marker.as_bytes()).await.map_err(|error| log_error(&self.path, &error))?;
        }
        self.file.flush().await.map_err(|error| log_error(&self.path, &error))
    }
}

fn log_error(path: &Path, error: &std::io::Error) -> EnvironmentError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorType::DiskFullError,
        _ => ErrorType::EnvironmentLostError,
    };
    EnvironmentError::new(kind, format!("cannot write a command's output to {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(limit: usize, pieces: &[&[u8]]) -> Vec<u8> {
        let mut kept = Kept::new(limit);
        pieces.iter().for_each(|piece| kept.push(piece));
        kept.into_bytes()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(kept(8, &[b"abcd", b"efgh"]), b"abcdefgh");
        assert_eq!(kept(9, &[b"abcdefghi"]), b"abcdefghi");
        assert_eq!(kept(8, &[]), b"");
    }

    #[test]
    fn the_middle_is_left_out_and_counted() {
        let output = kept(8, &[b"abcdef", b"ghij", b"klmnop"]);
        assert_eq!(output, b"abcd\n[... 8 bytes of output left out ...]\nmnop");
        assert_eq!(kept(0, &[b"abc"]), b"\n[... 3 bytes of output left out ...]\n");
    }

    #[test]
    fn cut_characters_go_whole() {
        let output = String::from_utf8(kept(8, &["abcé€€é€".as_bytes()])).unwrap();
        assert_eq!(output, "abc\n[... 10 bytes of output left out ...]\n€");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10), limit in 0usize..64) {
            let whole: Vec<u8> = pieces.concat();
            let parts: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(kept(limit, &parts), kept(limit, &[&whole]));
        }

        #[test]
        fn text_stays_text(text in "\\PC{0,60}", limit in 8usize..64) {
            prop_assert!(String::from_utf8(kept(limit, &[text.as_bytes()])).is_ok());
        }
    }
}
