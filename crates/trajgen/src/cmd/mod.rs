//! One module per subcommand; `run` has a house of its own.

pub mod archive;
pub mod check;
pub mod clean;
pub mod config;
pub mod convert;
pub mod init;
pub mod prepare;
pub mod status;
pub mod validate;
