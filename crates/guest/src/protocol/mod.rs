//! What the helper and its client say to each other.
//!
//! A connection is two byte streams that carry [`Frame`]s. Both sides send a [`Hello`] first. The
//! client then opens channels, one for each [`Request`]; data flows on a channel in both directions
//! under a window ([`WINDOW`]) that the receiver refills, so that one busy channel neither fills
//! memory nor holds up another; the helper closes each channel with one [`Reply`].

mod frame;
mod message;

pub use frame::{Frame, FrameError, HEADER_LEN, Header, Kind, MAX_BODY};
pub use message::{
    EntryFilter, ExecDone, ExecEnd, ExecStart, Failure, FailureKind, Forward, Get, Hello, Process, Put,
    Reply, Request, TerminalOpen,
};

/// The version of this protocol; both sides must have the same, as they are built together.
pub const VERSION: u32 = 1;

/// How many bytes of data may be on their way on one channel, in one direction.
pub const WINDOW: u32 = 256 * 1024;

/// The largest data frame either side sends, in bytes.
pub const CHUNK: usize = 32 * 1024;
