//! The binary from outside: what it prints, what it exits with, what it leaves behind.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod block;
mod data;
mod dry;
mod elsewhere;
mod example;
mod harbor;
mod hostile;
mod prepare;
mod reports;
mod selection;
mod start;
mod support;
mod terminal;
mod tidy;
mod trial;
mod validate;
