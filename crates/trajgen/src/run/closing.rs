//! What a run says when it is over: its figures, and where everything is.

use super::monitor::JobFigures;
use super::setup::Work;
use crate::terminal;
use trajgen_contract::archive::ArchiveDir;
use trajgen_contract::layout::Block;

/// Prints it.
pub fn print(
    block: &Block,
    work: &Work,
    archive: &ArchiveDir,
    exit_code: i32,
    problem: Option<&str>,
    json: bool,
) {
    let figures = JobFigures::read(&work.dir);
    let results = figures.results();
    let n_total = figures.n_total.max(work.plan.trials.len() as u64);
    // A run may end before there is a job, and what is not there is not pointed at.
    let job = Some(work.dir.path()).filter(|path| path.exists());
    let sft = Some(work.sft.path()).filter(|path| path.exists());
    if json {
        terminal::out_json(&serde_json::json!({
            "run": archive.id(),
            "exit_code": exit_code,
            "error": problem,
            "job": work.dir.name(),
            "results": results,
            "job_dir": job,
            "sft_dir": sft,
            "archive": archive.path(),
        }));
        return;
    }
    let mean = results.mean_reward.map_or_else(|| "-".into(), |m| format!("{m:.3}"));
    let cost = results.cost_usd.map_or_else(|| "unknown".into(), |c| format!("{c:.4} USD"));
    let shown = |path: &std::path::Path| block.relative(path).display().to_string();
    let mut rows = vec![
        ("trials", format!("{} of {n_total} over, {} errored", results.n_trials, results.n_errors)),
        ("mean reward", format!("{mean} ({} resolved)", results.resolved)),
        ("tokens", format!("{} (cost {cost})", results.tokens)),
    ];
    let figures_file = work.dir.result();
    let (monitor, ledger) = (archive.monitor(), block.ledger());
    for (name, path) in [
        ("trajectories", job),
        ("figures", Some(figures_file.as_path())),
        ("training data", sft),
        ("report", Some(monitor.as_path())),
        ("ledger", Some(ledger.as_path())),
    ] {
        rows.extend(path.filter(|path| path.exists()).map(|path| (name, shown(path))));
    }
    let is_open = matches!(exit_code, 130 | 143) || results.n_trials < n_total;
    if is_open && figures.has_plan {
        rows.push(("go on with", format!("trajgen run --resume {}", work.dir.name())));
    }
    terminal::out("");
    for (name, value) in rows {
        terminal::out(format_args!("{name:>14}  {value}"));
    }
    if let Some(problem) = problem {
        terminal::out("");
        terminal::error(problem);
    }
}
