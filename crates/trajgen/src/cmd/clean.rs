//! `trajgen clean`: removes what can be made again.

use crate::block::{self, BlockArgs};
use crate::exit::Failure;
use crate::run;
use crate::terminal;
use std::ffi::OsStr;
use std::io::{BufRead, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use trajgen_contract::files::FileError;
use trajgen_contract::layout::Block;

/// Remove generated outputs; archived runs, index, ledger, jobs and tasks stay
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    block: BlockArgs,
    /// Wipe artifacts/ whole, except what git tracks
    #[arg(long)]
    purge: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let block = args.block.open()?;
    let artifacts = block.artifacts();
    let is_plain_folder = std::fs::symlink_metadata(&artifacts).map(|m| m.is_dir());
    match is_plain_folder {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::bad_input(format!(
                "{} is not a directory of this block (a link or a file); nothing was removed",
                artifacts.display()
            )));
        }
        Err(_) => {}
    }
    let lock = if args.dry_run || is_plain_folder.is_err() { None } else { Some(block::lock(&block)?) };
    let mut targets = if args.purge { purge_targets(&block)? } else { generated(&block) };
    if lock.is_some() && !args.purge {
        keep_logs_of_the_dead(args, &block, &mut targets);
    }
    if args.purge && !args.yes && !args.dry_run && !targets.is_empty() {
        confirm(&format!("Remove all {} entries below {}?", targets.len(), artifacts.display()))?;
        confirm("Archived runs, the ledger and all trajectories go with it. Really?")?;
    }
    for target in &targets {
        if !args.dry_run {
            remove(target)?;
        }
        if !args.json {
            let verb = if args.dry_run { "would remove" } else { "removed" };
            terminal::out(format_args!("{verb} {}", block.relative(target).display()));
        }
    }
    if args.json {
        terminal::out_json(&serde_json::json!({"dry_run": args.dry_run, "removed": targets}));
    } else if targets.is_empty() {
        terminal::out("nothing to remove");
    }
    Ok(())
}

fn generated(block: &Block) -> Vec<PathBuf> {
    let artifacts = block.artifacts();
    ["sft_data", "litellm", "logs", "cache"]
        .iter()
        .map(|name| artifacts.join(name))
        .chain([block.dashboard_site(), block.dashboard_cache()])
        .filter(|path| std::fs::symlink_metadata(path).is_ok())
        .collect()
}

/// A run that died has its log nowhere but in `logs/` until it is archived, which is done here as at the next start.
fn keep_logs_of_the_dead(args: &Args, block: &Block, targets: &mut Vec<PathBuf>) {
    let path = args.block.config_path(block);
    let config = run::config_at_hand(&path);
    let jobs_dir = block.root().join(&config.runtime_info.input.harbor_job.jobs_dir);
    match run::archive_dead_runs(block, &path, &config, &jobs_dir) {
        Ok(dead) => {
            for (id, status) in dead {
                terminal::note(format_args!("{id} had died; it is archived as {status}"));
            }
        }
        Err(problem) => {
            terminal::warning(format_args!(
                "logs are kept: a run that died could not be archived: {problem}"
            ));
            targets.retain(|target| target != &block.logs());
        }
    }
}

/// Everything below `artifacts/` that is not tracked by git and holds nothing tracked.
fn purge_targets(block: &Block) -> Result<Vec<PathBuf>, Failure> {
    let tracked = tracked_by_git(block)?;
    let mut targets = Vec::new();
    collect(&block.artifacts(), &tracked, &mut targets)?;
    targets.retain(|path| path != &block.lock());
    Ok(targets)
}

fn collect(folder: &Path, tracked: &[PathBuf], targets: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(FileError::at("read the folder", folder)(e).into()),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if tracked.contains(&path) {
            continue;
        }
        if tracked.iter().any(|t| t.starts_with(&path)) {
            collect(&path, tracked, targets)?;
        } else {
            targets.push(path);
        }
    }
    Ok(())
}

/// What git tracks below `artifacts/`. A checkout whose list git does not give is an error: nothing would be safe there.
fn tracked_by_git(block: &Block) -> Result<Vec<PathBuf>, Failure> {
    let listed = std::process::Command::new("git")
        .arg("-C")
        .arg(block.root())
        .args(["ls-files", "-z", "artifacts"])
        .output();
    let problem = match listed {
        Ok(listed) if listed.status.success() => {
            let paths = listed.stdout.split(|&b| b == 0).filter(|path| !path.is_empty());
            return Ok(paths.map(|path| block.root().join(OsStr::from_bytes(path))).collect());
        }
        Ok(listed) => String::from_utf8_lossy(&listed.stderr).trim().to_owned(),
        Err(e) => format!("git cannot be run: {e}"),
    };
    let checkout = block.root().ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok());
    match checkout {
        None => Ok(Vec::new()),
        Some(checkout) => Err(Failure::missing(format!(
            "{} is a git checkout, and git does not say what it tracks there; nothing was removed: {problem}",
            checkout.display()
        ))),
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::symlink_metadata(path).map_err(FileError::at("look at", path))?;
    let removed = if metadata.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(FileError::at("remove", path)).map_err(Failure::from)
}

fn confirm(question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::bad_input("--purge asks twice on a terminal; without one, give --yes"));
    }
    terminal::note(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::bad_input("not confirmed; nothing was removed"))
    }
}
