//! `trajgen status`: how the block stands, any time, from any terminal.

use crate::block::{self, BlockArgs};
use crate::exit::Failure;
use crate::run::{JobFigures, config_at_hand};
use crate::terminal;
use serde::Serialize;
use std::collections::BTreeMap;
use trajgen_contract::archive::{self, IndexEntry};
use trajgen_contract::config::State;
use trajgen_contract::layout::{Block, JobDir};
use trajgen_contract::ledger::Ledger;
use trajgen_contract::result::{self, JobResult};
use trajgen_rollout::job::Plan;

/// Show how the block stands: the run in progress, the last job, the ledger
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    block: BlockArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    running: bool,
    state: State,
    /// Runs whose process is gone and that no start has archived yet.
    dead_runs: Vec<String>,
    job: Option<Job>,
    ledger: BTreeMap<String, usize>,
    last_run: Option<IndexEntry>,
}

#[derive(Debug, Serialize)]
struct Job {
    name: String,
    result: JobResult,
    mean_reward: Option<f64>,
    resolved: u64,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let block = args.block.open()?;
    let config = config_at_hand(&args.block.config_path(&block));
    let jobs_dir = block.root().join(&config.runtime_info.input.harbor_job.jobs_dir);
    let mut ledger: BTreeMap<String, usize> = BTreeMap::new();
    for entry in Ledger::load(&block)?.entries() {
        let status = serde_json::to_value(entry.status).unwrap_or_default();
        *ledger.entry(status.as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let before = block::is_in_use(&block);
    let ids = archive::run_ids(&block)?;
    let mut index = archive::read_index(&block)?;
    let is_indexed = |id: &String| index.iter().any(|entry| entry.id == *id);
    let open: Vec<String> = ids.into_iter().filter(|id| !is_indexed(id)).collect();
    // One that began or ended meanwhile is not dead.
    let running = before || block::is_in_use(&block);
    let dead_runs = if running { Vec::new() } else { open };
    let report = Report {
        running,
        state: state(config.status.state, running, !dead_runs.is_empty()),
        dead_runs,
        job: latest_job(&jobs_dir),
        ledger,
        last_run: index.pop(),
    };
    if args.json {
        terminal::out_json(&report);
    } else {
        print(&block, &report);
    }
    Ok(())
}

/// How the block stands: what is recorded, unless that was the word of a run that is gone.
fn state(recorded: State, running: bool, has_died: bool) -> State {
    match recorded {
        _ if has_died => State::Interrupted,
        State::Preparing | State::Running | State::Converting if !running => State::Interrupted,
        recorded => recorded,
    }
}

fn latest_job(jobs_dir: &std::path::Path) -> Option<Job> {
    let entries = std::fs::read_dir(jobs_dir).ok()?;
    let dir = entries
        .flatten()
        .map(|e| JobDir::new(e.path()))
        .filter_map(|dir| Plan::read(&dir).ok().map(|plan| (plan.started_at, dir)))
        .max_by(|a, b| a.0.cmp(&b.0))?
        .1;
    let result = result::read_job(&dir.result()).ok()?;
    let figures = JobFigures::read(&dir).results();
    Some(Job { name: dir.name(), result, mean_reward: figures.mean_reward, resolved: figures.resolved })
}

fn print(block: &Block, report: &Report) {
    let state = report.state.to_string();
    terminal::out(format_args!(
        "block {}: {}",
        block.root().display(),
        if report.running { "a run is in progress" } else { &state }
    ));
    for id in &report.dead_runs {
        let goes_on = if report.job.is_some() { "; `trajgen run --resume` goes on with its job" } else { "" };
        terminal::out(format_args!("{id} has died: the next start archives it{goes_on}"));
    }
    // What a dead run left in the figures does not run any more.
    let running = if report.running { "running" } else { "left running" };
    if let Some(job) = &report.job {
        let stats = &job.result.stats;
        terminal::out(format_args!("job {}", job.name));
        terminal::out(format_args!(
            "  {} of {} trials over, {} {}, {} pending, {} errored, {} cancelled",
            stats.n_completed_trials,
            job.result.n_total_trials,
            stats.n_running_trials,
            if stats.n_running_trials == 0 { "running" } else { running },
            stats.n_pending_trials,
            stats.n_errored_trials,
            stats.n_cancelled_trials
        ));
        let mean = job.mean_reward.map_or_else(|| "-".into(), |m| format!("{m:.3}"));
        let tokens = stats.n_input_tokens.unwrap_or(0) + stats.n_output_tokens.unwrap_or(0);
        let cost = stats.cost_usd.map_or_else(|| "cost unknown".into(), |c| format!("{c:.4} USD"));
        terminal::out(format_args!(
            "  mean reward {mean}, {} resolved, {tokens} tokens, {cost}",
            job.resolved
        ));
    }
    if !report.ledger.is_empty() {
        let counts: Vec<String> = report.ledger.iter().map(|(status, n)| format!("{n} {status}")).collect();
        terminal::out(format_args!("ledger: {}", counts.join(", ")));
    }
    if let Some(run) = &report.last_run {
        terminal::out(format_args!("last run: {} {} ({})", run.id, run.status, run.notes));
    }
}
