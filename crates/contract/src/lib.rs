//! What is on disk: types, readers and atomic writers for every file of a block.
//!
//! No async, no network, no clock of its own. Every path of a block is made by [`layout`]; every
//! file that is rewritten goes through [`files::replace`]; every format carries a version that its
//! reader checks.

pub mod archive;
pub mod atif;
pub mod config;
pub mod event;
pub mod files;
pub mod harbor;
pub mod layout;
pub mod ledger;
pub mod outcome;
pub mod record;
pub mod redact;
pub mod result;
pub mod secret;
pub mod task;
