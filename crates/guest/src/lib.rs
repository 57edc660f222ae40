//! The static helper inside environments: processes, terminal, forwarder.
//!
//! [`serve`] is the helper; [`protocol`] is what it and its client say to each other.

mod connection;
mod exec;
pub mod files;
mod forward;
mod process;
pub mod protocol;
pub mod sandbox;
mod serve;
mod terminal;

pub use process::signals::use_defaults as use_default_signals;
pub use serve::serve;

/// Starts a named thread with a small stack: the helper has many threads and none goes deep.
fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(256 * 1024).spawn(run).map(drop)
}
