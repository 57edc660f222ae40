//! The guest helper through its client, as a real process: what environments build on.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod exec;
mod files;
mod forward;
mod helper;
mod processes;
mod terminal;
