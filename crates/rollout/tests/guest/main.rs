//! The guest helper through its client, as a real process: what environments build on.

mod exec;
mod helper;
mod processes;
