//! The ending of a try that never came to one, because trajgen itself failed.

use super::folder;
use super::{TrialSpec, TryEnd, TryError};
use crate::clock;
use std::time::Duration;
use trajgen_contract::files;
use trajgen_contract::layout::TrialDir;
use trajgen_contract::outcome::{ErrorType, outcome_of};
use trajgen_contract::result::{AgentResult, ExceptionInfo, TrialMetadata, read_trial};

/// Records that a try was lost with what ran it; its environment goes with it.
#[must_use]
pub fn record_lost(spec: &TrialSpec, what: &str, ran: Duration) -> TryEnd {
    let dir = TrialDir::new(&spec.trial_dir);
    let mut error = TryError::new(
        ErrorType::EnvironmentLostError,
        format!("trajgen itself failed while it ran this trial, which is a bug of it: {what}"),
    );
    let spent = folder::logged(&dir);
    let (tries_before, before) = folder::spent_before(&dir);
    let all = before.plus(&spent);
    let metadata = TrialMetadata {
        outcome: Some(outcome_of(Some(error.kind))),
        n_tries: Some(tries_before + 1),
        n_calls: Some(spent.n_calls),
        all_tries: Some(all.usage()),
        ..TrialMetadata::default()
    };
    let mut result = read_trial(&dir.result())
        .unwrap_or_else(|_| folder::fresh_result(spec, &spec.task_id, "", "unknown"));
    let chain = format!("{}: {}\n", error.kind, error.message);
    result.agent_result = Some(AgentResult::new(spent.usage(), metadata));
    result.verifier_result = None;
    result.exception_info = Some(ExceptionInfo {
        exception_type: error.kind.to_string(),
        exception_message: error.message.clone(),
        exception_traceback: chain.clone(),
        occurred_at: clock::now(),
    });
    result.started_at.get_or_insert_with(clock::now);
    result.finished_at = Some(clock::now());
    let written = files::replace(&dir.exception(), chain.as_bytes())
        .and_then(|()| files::replace_json(&dir.result(), &result));
    if let Err(e) = written
        && e.is_disk_full()
    {
        error = TryError::new(ErrorType::DiskFullError, e.to_string());
    }
    TryEnd {
        error: Some(error),
        rewards: None,
        usage: all,
        duration_ms: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
        result,
    }
}
