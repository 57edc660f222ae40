//! Runs that died: found at the next start, archived as interrupted, and cleaned up after.

use super::session;
use crate::exit::Failure;
use crate::terminal;
use std::collections::BTreeMap;
use std::path::Path;
use trajgen_contract::archive::{self, ArchiveDir, Metadata, RunResults, RunStatus};
use trajgen_contract::config::{self, Config, Status};
use trajgen_contract::files;
use trajgen_contract::layout::{Block, JobDir};
use trajgen_rollout::clock;
use trajgen_rollout::job::Board;

/// Archives every run whose folder is there but not in the index; gives their ids and how they ended. Called with the block's lock
/// held, so none of them can still be going on.
pub fn archive_dead_runs(
    block: &Block,
    config_path: &Path,
    config: &Config,
    jobs_dir: &Path,
) -> Result<Vec<(String, RunStatus)>, Failure> {
    let indexed: Vec<String> = archive::read_index(block)?.into_iter().map(|e| e.id).collect();
    let mut dead = Vec::new();
    for id in archive::run_ids(block)?.into_iter().filter(|id| !indexed.contains(id)) {
        let dir = ArchiveDir::of(block, &id);
        let mut metadata = archive::read_metadata(&dir).unwrap_or_else(|_| unknown(&id));
        let problem = (metadata.status == RunStatus::Running)
            .then_some("the process was gone; found at the next start");
        if problem.is_some() {
            metadata.status = RunStatus::Interrupted;
        }
        let ended = metadata.status;
        let status = bury(block, dir, metadata, problem, jobs_dir)?;
        // The status in the config is this run's own only when it says so.
        if config.status.run_id.as_ref() == Some(&id)
            && let Err(e) = config::rewrite_status(config_path, &status)
        {
            terminal::warning(format_args!("the status in {} was not written: {e}", config_path.display()));
        }
        dead.push((id, ended));
    }
    if !dead.is_empty() {
        remove_temporary_files(block, config_path);
    }
    Ok(dead)
}

/// Archives one of them; gives what the block's status is after it.
fn bury(
    block: &Block,
    dir: ArchiveDir,
    metadata: Metadata,
    problem: Option<&str>,
    jobs_dir: &Path,
) -> Result<Status, Failure> {
    let job = metadata.job.as_ref().map(|job| JobDir::new(jobs_dir.join(job)));
    if let Some(job) = &job {
        files::remove_temporary(job.path(), true);
        // A job that died before it had a plan has no figures either.
        if let Ok(board) = Board::at_rest(job.clone()) {
            board.settle()?;
        }
    }
    let mut status = Status {
        state: session::state_after(metadata.status),
        last_error: problem.map(str::to_owned),
        run_id: Some(metadata.id.clone()),
        job: metadata.job.clone(),
        started_at: Some(metadata.started_at.clone()),
        updated_at: Some(clock::now()),
        ..Status::default()
    };
    if problem.is_some() {
        session::close(block, dir, metadata, jobs_dir, problem, &mut status)?;
    } else {
        // It got as far as its last words, but not into the index.
        status.n_done = Some(metadata.results.n_trials);
        status.n_errored = Some(metadata.results.n_errors);
        status.mean_reward = metadata.results.mean_reward;
        session::enter(block, &dir, metadata)?;
    }
    Ok(status)
}

/// What is known of a run that died before it could say anything of itself.
fn unknown(id: &str) -> Metadata {
    Metadata {
        version: archive::VERSION,
        id: id.to_owned(),
        block: String::new(),
        started_at: clock::now(),
        completed_at: None,
        status: RunStatus::Running,
        exit_code: None,
        stage: "prepare".into(),
        job: None,
        results: RunResults::default(),
        repos: BTreeMap::new(),
        inputs: serde_json::Value::Null,
        notes: String::new(),
    }
}

/// Half-written files, and what only a live run has a use for.
fn remove_temporary_files(block: &Block, config_path: &Path) {
    files::remove_temporary(config_path.parent().unwrap_or(block.root()), false);
    files::remove_temporary(&block.artifacts(), false);
    files::remove_temporary(&block.archives(), true);
    for folder in ["sft_data", "litellm"] {
        files::remove_temporary(&block.artifacts().join(folder), true);
    }
    // What cannot be removed is in nobody's way.
    let _ = std::fs::remove_dir_all(block.comparisons());
    for entry in std::fs::read_dir(block.sockets()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_suffix(".sock"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
