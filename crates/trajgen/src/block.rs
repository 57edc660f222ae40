//! The block a command works on, and the lock that keeps two runs apart.

use crate::exit::{Code, Failure};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use trajgen_contract::files::FileError;
use trajgen_contract::layout::Block;

/// Which block
#[derive(Debug, Clone, clap::Args)]
pub struct BlockArgs {
    /// The block's directory
    #[arg(long = "block", value_name = "DIR", default_value = ".", overrides_with = "dir")]
    pub dir: PathBuf,
    /// Its config file [default: config.yaml in the block]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What environments may be
#[derive(Debug, Clone, clap::Args)]
pub struct EnvironmentArgs {
    /// Let the sandbox take the host's userland for tasks that name a prebuilt image
    #[arg(long)]
    pub any_image: bool,
}

impl BlockArgs {
    /// The block, by its absolute path.
    pub fn open(&self) -> Result<Block, Failure> {
        let root = std::fs::canonicalize(&self.dir).map_err(|e| {
            Failure::bad_input(format!("--block {}: {e}; expected an existing directory", self.dir.display()))
        })?;
        if root.is_dir() {
            Ok(Block::new(root))
        } else {
            Err(Failure::bad_input(format!("--block {}: is no directory", self.dir.display())))
        }
    }

    /// The config file.
    pub fn config_path(&self, block: &Block) -> PathBuf {
        self.config.clone().unwrap_or_else(|| block.config())
    }
}

/// Held while a run is in progress; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

/// Takes the block's lock.
pub fn lock(block: &Block) -> Result<Lock, Failure> {
    let path = block.lock();
    std::fs::create_dir_all(block.artifacts())
        .map_err(FileError::at("create the folder", &block.artifacts()))?;
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(FileError::at("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(Failure {
                code: Code::InUse,
                message: format!(
                    "this block is in use by another run ({}); wait for it, or see `trajgen status`",
                    holder.trim()
                ),
            });
        }
        Err(TryLockError::Error(e)) => return Err(FileError::at("lock", &path)(e).into()),
    }
    let holder = format!("process {}\n", std::process::id());
    let written =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    written.map_err(FileError::at("write", &path))?;
    Ok(Lock(file))
}

/// Whether a run holds the block now.
pub fn is_in_use(block: &Block) -> bool {
    File::open(block.lock()).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
