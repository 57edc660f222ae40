//! `trajgen init`: starts a block, with a commented config or with the whole example.

use crate::block::BlockArgs;
use crate::exit::Failure;
use crate::run;
use crate::terminal;
use std::io;
use std::path::{Path, PathBuf};
use trajgen_contract::config::default_config;
use trajgen_contract::files::{self, FileError};
use trajgen_contract::layout::Block;

/// The shipped block as a tar, packed by the build script.
static EXAMPLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/example.tar"));

/// Start a block: write a commented config.yaml, or unpack the example and run it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The block's directory; it is made when missing
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Unpack the example instead (tasks, a scripted model, a config that runs them offline), and run it there
    #[arg(long)]
    example: bool,
    /// Unpack the example only
    #[arg(long, requires = "example")]
    no_run: bool,
    /// Write over existing files
    #[arg(long)]
    force: bool,
}

/// Runs the command; the exit code is that of the example's run, when there is one.
///
/// # Errors
/// When something is there already and `--force` is not given, a file cannot be written, or the run cannot start.
pub async fn run(args: &Args) -> Result<i32, Failure> {
    std::fs::create_dir_all(&args.dir).map_err(FileError::at("create the folder", &args.dir))?;
    if !args.example {
        config(&args.dir, args.force)?;
        return Ok(0);
    }
    example(&args.dir, args.force)?;
    if args.no_run {
        terminal::note("next: `trajgen run` in it; it needs no network and no key");
        return Ok(0);
    }
    run::run(&run::Args::of(BlockArgs { dir: args.dir.clone(), config: None })).await
}

fn config(dir: &Path, force: bool) -> Result<(), Failure> {
    let path = Block::new(dir).config();
    if !force && path.symlink_metadata().is_ok() {
        return Err(Failure::bad_input(format!(
            "{} is there already; expected none: use another folder, or --force to write over it",
            path.display()
        )));
    }
    files::replace(&path, default_config().as_bytes())?;
    terminal::out(format_args!("wrote {}", path.display()));
    terminal::note("next: set the keys marked (!) in it, then `trajgen check`, then `trajgen run`");
    Ok(())
}

fn example(dir: &Path, force: bool) -> Result<(), Failure> {
    let mut entries = std::fs::read_dir(dir).map_err(FileError::at("read the folder", dir))?;
    if !force && entries.next().is_some() {
        return Err(Failure::bad_input(format!(
            "{} is not empty; expected an empty folder for the example: name another one, or use --force to write over what has the same name",
            dir.display()
        )));
    }
    unpack(dir, force).map_err(FileError::at("unpack the example into", dir))?;
    terminal::out(format_args!("unpacked the example into {}", dir.display()));
    Ok(())
}

fn unpack(dir: &Path, force: bool) -> io::Result<()> {
    let mut archive = tar::Archive::new(EXAMPLE);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(false);
    archive.set_overwrite(force);
    archive.unpack(dir)
}
