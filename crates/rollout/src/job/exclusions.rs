//! The hand-kept list of excluded tasks beside the ledger.

use super::plan::{PlanError, globs};
use std::collections::BTreeSet;
use trajgen_contract::config::Config;
use trajgen_contract::ledger::{Entry, Ledger};

/// How a hand-kept list of excluded tasks and the ledger differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExclusionDifferences {
    /// Of the list, what names no task that the ledger leaves out.
    pub only_listed: Vec<String>,
    /// Tasks that the ledger leaves out and the list does not name.
    pub only_consumed: Vec<String>,
}

/// Compares `HARBOR_EXCLUDE_TASKS` with what the ledger leaves out of `dataset`.
///
/// # Errors
/// When a pattern is none.
pub fn exclusion_differences(
    config: &Config,
    ledger: &Ledger,
    dataset: &str,
) -> Result<ExclusionDifferences, PlanError> {
    let listed = config.excluded_by_environment();
    let whence = "HARBOR_EXCLUDE_TASKS";
    let all = globs(&listed, whence)?;
    let of_dataset =
        |e: &&Entry| e.status.is_final() && e.dataset.as_deref().is_none_or(|name| name == dataset);
    let consumed: BTreeSet<&str> =
        ledger.entries().iter().filter(of_dataset).map(|e| e.task_id.as_str()).collect();
    let mut differences = ExclusionDifferences::default();
    for pattern in listed {
        let one = globs(std::slice::from_ref(&pattern), whence)?;
        if !consumed.iter().any(|id| one.is_match(id)) {
            differences.only_listed.push(pattern);
        }
    }
    differences.only_consumed =
        consumed.into_iter().filter(|id| !all.is_match(id)).map(str::to_owned).collect();
    Ok(differences)
}
