//! Processes inside: who they run as, how they start, how their end is noticed, how they are ended.

mod launch;
mod reaper;
pub mod signals;
mod table;
mod tree;
mod user;
mod warden;

pub(crate) use launch::{Launch, prepare};
pub(crate) use reaper::{Ending, Reaper};

pub(crate) use tree::{kill_all, kill_tree, processes, signal_all, with_room};
