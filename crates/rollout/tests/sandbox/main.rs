//! The sandbox from outside: what is seen, what can be done, what is left. Most of it as root.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails fails the test")]

mod dockerfile;
mod dockerfile_copy;
mod files;
mod hostile;
mod limits;
mod network;
mod ordinary_user;
mod processes;
mod roles;
mod support;
mod sweep;
mod users;
mod view;
