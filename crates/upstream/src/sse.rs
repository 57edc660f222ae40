//! Reading server-sent events from bytes that may be cut anywhere.

use bytes::{Bytes, BytesMut};

/// The longest event that is taken, bytes.
pub const MAX_EVENT: usize = 64 << 20;

/// One event: its bytes as they came, and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// Everything up to and with the blank line that ended it.
    pub raw: Bytes,
    /// Its `data` lines, joined by newlines; none when it had none.
    pub data: Option<Bytes>,
}

/// An event that does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {MAX_EVENT} bytes")]
pub struct EventTooLong;

/// Cuts a byte stream into events. Lines may end in LF, CRLF or CR.
#[derive(Debug, Default)]
pub struct SseReader {
    buffer: BytesMut,
    /// How much of `buffer` has been looked through.
    scanned: usize,
    /// Where the line that is being read began.
    line_start: usize,
    /// A CR ended the last line: an LF that follows belongs to it.
    after_cr: bool,
    started: bool,
}

impl SseReader {
    /// Adds bytes as they came.
    ///
    /// # Errors
    /// When the event they belong to grows beyond [`MAX_EVENT`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), EventTooLong> {
        self.buffer.extend_from_slice(bytes);
        if !self.started && self.buffer.len() >= 3 {
            self.started = true;
            if self.buffer.starts_with(b"\xef\xbb\xbf") {
                let _ = self.buffer.split_to(3);
            }
        }
        if self.buffer.len() > MAX_EVENT { Err(EventTooLong) } else { Ok(()) }
    }

    /// The next whole event, if there is one.
    pub fn next_event(&mut self) -> Option<RawEvent> {
        while let Some(&byte) = self.buffer.get(self.scanned) {
            let at = self.scanned;
            self.scanned += 1;
            let continues_cr = std::mem::take(&mut self.after_cr) && byte == b'\n';
            if continues_cr {
                self.line_start = self.scanned;
                continue;
            }
            if byte != b'\n' && byte != b'\r' {
                continue;
            }
            self.after_cr = byte == b'\r';
            let is_blank = at == self.line_start;
            self.line_start = self.scanned;
            if is_blank {
                if self.after_cr && self.buffer.get(self.scanned) == Some(&b'\n') {
                    self.scanned += 1;
                    self.after_cr = false;
                }
                return Some(self.take());
            }
        }
        None
    }

    /// What is left when the stream has ended: an event whose blank line is missing, if it has data.
    pub fn finish(&mut self) -> Option<RawEvent> {
        if self.buffer.is_empty() {
            return None;
        }
        self.scanned = self.buffer.len();
        let mut event = self.take();
        event.data.as_ref()?;
        let mut raw = BytesMut::from(event.raw.as_ref());
        raw.extend_from_slice(b"\n\n");
        event.raw = raw.freeze();
        Some(event)
    }

    fn take(&mut self) -> RawEvent {
        let raw = self.buffer.split_to(self.scanned).freeze();
        self.scanned = 0;
        self.line_start = 0;
        let data = data_of(&raw);
        RawEvent { raw, data }
    }
}

/// The `data` lines of an event. A single one, the usual case, is not copied.
fn data_of(raw: &Bytes) -> Option<Bytes> {
    let mut found: Option<Bytes> = None;
    for line in raw.split(|&byte| byte == b'\n' || byte == b'\r') {
        let value = match line.strip_prefix(b"data") {
            Some([]) => &line[line.len()..],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            _ => continue,
        };
        found = Some(match found {
            None => raw.slice_ref(value),
            Some(before) => {
                let mut joined = BytesMut::from(before.as_ref());
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(value);
                joined.freeze()
            }
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<Option<String>> {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            reader.push(piece).unwrap();
            while let Some(event) = reader.next_event() {
                events.push(event);
            }
        }
        events.extend(reader.finish());
        events.into_iter().map(|e| e.data.map(|d| String::from_utf8(d.to_vec()).unwrap())).collect()
    }

    fn data(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn all_line_ends_comments_and_several_data_lines() {
        assert_eq!(read(&[b"data: a\n\ndata:b\r\n\r\ndata: c\r\r"]), [data("a"), data("b"), data("c")]);
        assert_eq!(read(&[b": ping\n\nevent: x\ndata: 1\ndata: 2\nid: 7\n\n"]), [None, data("1\n2")]);
        assert_eq!(read(&[b"\xef\xbb\xbfdata: bom\n\n"]), [data("bom")]);
    }

    #[test]
    fn a_crlf_cut_in_two_ends_one_line_only() {
        assert_eq!(
            read(&[b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n", b"data: c\n\n"]),
            [data("a\nb"), data("c")]
        );
    }

    #[test]
    fn an_event_without_its_blank_line_counts_at_the_end() {
        assert_eq!(read(&[b"data: a\n\ndata: b"]), [data("a"), data("b")]);
        assert_eq!(read(&[b"data: a\n\n: bye"]), [data("a")]);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(texts in prop::collection::vec("[^\r\n]{0,12}", 1..6), crlf: bool, cuts in prop::collection::vec(0usize..200, 0..12)) {
            let end = if crlf { "\r\n" } else { "\n" };
            let stream: String = texts.iter().map(|t| format!("data: {t}{end}{end}")).collect();
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(read(&pieces), texts.iter().map(|t| data(t)).collect::<Vec<_>>());
        }
    }
}
