//! What goes wrong around a run, with the real binary: interruptions, failing models and verifiers, bad input, full disks.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod bad_host;
mod bad_input;
mod endings;
mod interrupted;
mod killed;
mod resumed;
mod support;
