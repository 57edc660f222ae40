//! Frames: a fixed header (body length, kind, channel; big endian) and a body.

use std::io::{self, Read, Write};

/// Length of a frame's header: `u32` body length, `u8` kind, `u32` channel.
pub const HEADER_LEN: usize = 9;

/// The largest body a frame may have, in bytes. Room for the longest argument list Linux takes.
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First frame of both sides, on channel 0: a [`super::Hello`] as JSON.
    Hello = 1,
    /// Client to helper: opens the channel with a [`super::Request`] as JSON.
    Open = 2,
    /// Raw bytes.
    Data = 3,
    /// The sender has no more data for this channel.
    End = 4,
    /// The receiver of data took some: a `u32` number of bytes that may be sent on top.
    Credit = 5,
    /// Client to helper: nobody waits for this channel any more.
    Cancel = 6,
    /// Helper to client: closes the channel with a [`super::Reply`] as JSON.
    Done = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Open,
            3 => Self::Data,
            4 => Self::End,
            5 => Self::Credit,
            6 => Self::Cancel,
            7 => Self::Done,
            _ => return None,
        })
    }
}

/// What is wrong with bytes that should be a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The kind is none of [`Kind`].
    #[error("frame of unknown kind {0}: the peer is no trajgen guest or of another version")]
    UnknownKind(u8),
    /// The body is longer than [`MAX_BODY`].
    #[error("frame of {0} bytes, at most {MAX_BODY} are allowed")]
    TooLong(usize),
    /// A body that is not what its kind asks for.
    #[error("{kind:?} frame with a malformed body: {problem}")]
    Body {
        /// The frame's kind.
        kind: Kind,
        /// What the parser said.
        problem: String,
    },
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// The channel it belongs to.
    pub channel: u32,
    /// How many bytes of body follow.
    pub length: usize,
}

impl Header {
    /// The header as it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        // Bodies are made by us and never reach 4 GiB; a longer one would be refused by the peer.
        bytes[..4].copy_from_slice(&u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes());
        bytes[4] = self.kind as u8;
        bytes[5..].copy_from_slice(&self.channel.to_be_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// An unknown kind, or a body longer than [`MAX_BODY`].
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, kind, c0, c1, c2, c3] = *bytes;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        if length > MAX_BODY {
            return Err(FrameError::TooLong(length));
        }
        Ok(Self { kind, channel: u32::from_be_bytes([c0, c1, c2, c3]), length })
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is for.
    pub kind: Kind,
    /// The channel it belongs to.
    pub channel: u32,
    /// Its content.
    pub body: Vec<u8>,
}

impl Frame {
    /// A frame of raw content.
    #[must_use]
    pub fn new(kind: Kind, channel: u32, body: Vec<u8>) -> Self {
        Self { kind, channel, body }
    }

    /// A frame with `message` as JSON.
    ///
    /// # Errors
    /// The message does not fit into a frame.
    pub fn json<T: serde::Serialize>(kind: Kind, channel: u32, message: &T) -> Result<Self, FrameError> {
        let body = serde_json::to_vec(message)
            .map_err(|error| FrameError::Body { kind, problem: error.to_string() })?;
        if body.len() > MAX_BODY {
            return Err(FrameError::TooLong(body.len()));
        }
        Ok(Self { kind, channel, body })
    }

    /// A frame that lets the peer send `bytes` more.
    #[must_use]
    pub fn credit(channel: u32, bytes: u32) -> Self {
        Self::new(Kind::Credit, channel, bytes.to_be_bytes().to_vec())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not the JSON of a `T`.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, FrameError> {
        serde_json::from_slice(&self.body).map_err(|error| self.malformed(&error.to_string()))
    }

    /// The number of bytes a credit frame grants.
    ///
    /// # Errors
    /// The body is not four bytes long.
    pub fn parse_credit(&self) -> Result<u32, FrameError> {
        <[u8; 4]>::try_from(self.body.as_slice())
            .map(u32::from_be_bytes)
            .map_err(|_| self.malformed("a credit is four bytes"))
    }

    fn malformed(&self, problem: &str) -> FrameError {
        FrameError::Body { kind: self.kind, problem: problem.to_owned() }
    }

    /// The header that goes before the body.
    #[must_use]
    pub fn header(&self) -> Header {
        Header { kind: self.kind, channel: self.channel, length: self.body.len() }
    }

    /// Writes the frame with one call where the system allows it.
    ///
    /// # Errors
    /// Writing failed.
    pub fn write_to(&self, mut writer: impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.body.len());
        bytes.extend_from_slice(&self.header().encode());
        bytes.extend_from_slice(&self.body);
        writer.write_all(&bytes)
    }

    /// Reads the next frame; `None` when the stream ends before one begins.
    ///
    /// # Errors
    /// Reading failed, the stream ends inside a frame, or what came is no frame.
    pub fn read_from(mut reader: impl Read) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER_LEN];
        let mut filled = 0;
        while filled < HEADER_LEN {
            match reader.read(&mut header[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let header = Header::decode(&header)?;
        let mut body = vec![0; header.length];
        reader.read_exact(&mut body)?;
        Ok(Some(Self { kind: header.kind, channel: header.channel, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        (1u8..=7).prop_map(|byte| Kind::from_byte(byte).unwrap())
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire(
            frames in prop::collection::vec((kinds(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)), 0..8)
        ) {
            let frames: Vec<_> = frames.into_iter().map(|(k, c, b)| Frame::new(k, c, b)).collect();
            let mut wire = Vec::new();
            for frame in &frames {
                frame.write_to(&mut wire).unwrap();
            }
            let mut reader = wire.as_slice();
            let mut back = Vec::new();
            while let Some(frame) = Frame::read_from(&mut reader).unwrap() {
                back.push(frame);
            }
            prop_assert_eq!(back, frames);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = bytes.as_slice();
            while let Ok(Some(frame)) = Frame::read_from(&mut reader) {
                let _ = frame.parse::<crate::protocol::Request>();
                let _ = frame.parse_credit();
            }
        }

        #[test]
        fn a_cut_frame_is_an_error_not_an_end(body in prop::collection::vec(any::<u8>(), 1..64), cut in 1usize..8) {
            let mut wire = Vec::new();
            Frame::new(Kind::Data, 7, body).write_to(&mut wire).unwrap();
            wire.truncate(wire.len() - cut.min(wire.len() - 1));
            prop_assert!(Frame::read_from(wire.as_slice()).is_err());
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_it_is_read() {
        let header = Header { kind: Kind::Data, channel: 1, length: MAX_BODY + 1 }.encode();
        let error = Frame::read_from(header.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
