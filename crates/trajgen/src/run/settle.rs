//! Tasks that a dead run left `running` in the ledger.

use crate::exit::Failure;
use std::path::Path;
use trajgen_contract::layout::{Block, JobDir};
use trajgen_contract::ledger::{Entry, Ledger};
use trajgen_contract::outcome::{LedgerStatus, ledger_status};
use trajgen_contract::result::{self, TrialResult};
use trajgen_rollout::job::Plan;

/// Sets each of them to how its trials ended, or back to `pending` when they did not.
pub fn settle(block: &Block, jobs_dir: &Path, ledger: &mut Ledger) -> Result<(), Failure> {
    let running: Vec<Entry> =
        ledger.entries().iter().filter(|e| e.status == LedgerStatus::Running).cloned().collect();
    for mut entry in running {
        let results = entry.job.as_ref().and_then(|job| results(&JobDir::new(jobs_dir.join(job)), &entry));
        entry.status = LedgerStatus::Pending;
        if let Some(results) = results {
            let error = |r: &TrialResult| r.exception_info.as_ref().and_then(|e| e.error_type());
            let status = |r: &TrialResult| ledger_status(error(r), r.reward().is_some());
            if let Some(last) = results.iter().max_by(|a, b| a.finished_at.cmp(&b.finished_at)) {
                entry.status = status(last);
                let exception = last.exception_info.as_ref();
                let note = exception.map(|e| format!("{}: {}", e.exception_type, e.exception_message));
                entry.note = note.unwrap_or_default();
                if entry.status != LedgerStatus::Pending {
                    entry.completed_at.clone_from(&last.finished_at);
                }
            }
            if results.iter().any(|r| status(r) == LedgerStatus::Done) {
                entry.status = LedgerStatus::Done;
            }
            let best =
                results.iter().filter_map(|r| Some((r.reward()?, r))).max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((reward, best)) = best {
                entry.reward = Some(reward);
                entry.note.clear();
                let job = entry.job.clone().unwrap_or_default();
                let log = JobDir::new(jobs_dir.join(job)).trial(&best.trial_name).trajectory_log();
                entry.trajectory_path = log.exists().then(|| block.relative(&log).display().to_string());
            }
        }
        ledger.set(entry)?;
    }
    Ok(())
}

/// The results of all trials of an entry's task, when all of them are over.
fn results(dir: &JobDir, entry: &Entry) -> Option<Vec<TrialResult>> {
    let plan = Plan::read(dir).ok()?;
    let mut results = Vec::new();
    for trial in plan.trials.iter().filter(|t| t.task_id == entry.task_id) {
        let result = result::read_trial(&dir.trial(&trial.trial).result()).ok();
        let same_agent = result
            .as_ref()
            .is_none_or(|r| entry.agent.as_deref().is_none_or(|agent| r.agent_info.name == agent));
        if !same_agent {
            continue;
        }
        results.push(result.filter(TrialResult::is_finished)?);
    }
    Some(results).filter(|r| !r.is_empty())
}
