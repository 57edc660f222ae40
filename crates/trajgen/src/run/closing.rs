//! What a run says when it is over: its figures, and where everything is.

use super::monitor::JobFigures;
use super::setup::Work;
use crate::terminal;
use trajgen_contract::archive::ArchiveDir;
use trajgen_contract::layout::Block;
use trajgen_rollout::job::Plan;

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
    let sft = Some(work.sft.path()).filter(|path| path.exists());
    if json {
        terminal::out_json(&serde_json::json!({
            "run": archive.id(),
            "exit_code": exit_code,
            "error": problem,
            "job": work.dir.name(),
            "results": results,
            "job_dir": work.dir.path(),
            "sft_dir": sft,
            "archive": archive.path(),
        }));
        return;
    }
    let mean = results.mean_reward.map_or_else(|| "-".into(), |m| format!("{m:.3}"));
    let cost = results.cost_usd.map_or_else(|| "unknown".into(), |c| format!("{c:.4} USD"));
    let shown = |path: &std::path::Path| block.relative(path).display().to_string();
    let mut rows = vec![
        ("trials", format!("{} of {} over, {} errored", results.n_trials, figures.n_total, results.n_errors)),
        ("mean reward", format!("{mean} ({} resolved)", results.resolved)),
        ("tokens", format!("{} (cost {cost})", results.tokens)),
        ("trajectories", shown(work.dir.path())),
        ("figures", shown(&work.dir.result())),
    ];
    if let Some(sft) = sft {
        rows.push(("training data", shown(sft)));
    }
    rows.push(("report", shown(&archive.monitor())));
    rows.push(("ledger", shown(&block.ledger())));
    let is_open = matches!(exit_code, 130 | 143) || results.n_trials < figures.n_total;
    if is_open && Plan::read(&work.dir).is_ok() {
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
