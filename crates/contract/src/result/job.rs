//! `result.json` of a job.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Harbor's `JobResult`, as it lies on disk (without the trials' own results).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// A UUID.
    pub id: String,
    /// ISO 8601, UTC.
    pub started_at: String,
    /// When this file was last refreshed.
    #[serde(default)]
    pub updated_at: Option<String>,
    /// Null while the job runs.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// Trials of the job, run or not.
    pub n_total_trials: u64,
    /// The figures.
    #[serde(default)]
    pub stats: JobStats,
}

/// A job's figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, from = "JobStatsOnDisk")]
pub struct JobStats {
    /// Trials that ended, however.
    pub n_completed_trials: u64,
    /// Trials whose last try ended in an error.
    pub n_errored_trials: u64,
    /// Trials that run now.
    pub n_running_trials: u64,
    /// Trials still to start.
    pub n_pending_trials: u64,
    /// Trials that were cancelled; they also count as completed and errored.
    pub n_cancelled_trials: u64,
    /// Tries beyond the first ones.
    pub n_retries: u64,
    /// Figures by `<agent>__<model>__<dataset>`.
    pub evals: IndexMap<String, AgentDatasetStats>,
    /// Input tokens of all tries; null when none is known.
    pub n_input_tokens: Option<u64>,
    /// Cached input tokens of all tries.
    pub n_cache_tokens: Option<u64>,
    /// Output tokens of all tries.
    pub n_output_tokens: Option<u64>,
    /// USD of all tries.
    pub cost_usd: Option<f64>,
    /// `n_completed_trials` for older readers.
    pub n_trials: u64,
    /// `n_errored_trials` for older readers.
    pub n_errors: u64,
}

/// What older writers left: the two old counts alone.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct JobStatsOnDisk {
    n_completed_trials: Option<u64>,
    n_errored_trials: Option<u64>,
    n_running_trials: u64,
    n_pending_trials: u64,
    n_cancelled_trials: u64,
    n_retries: u64,
    evals: IndexMap<String, AgentDatasetStats>,
    n_input_tokens: Option<u64>,
    n_cache_tokens: Option<u64>,
    n_output_tokens: Option<u64>,
    cost_usd: Option<f64>,
    n_trials: Option<u64>,
    n_errors: Option<u64>,
}

impl From<JobStatsOnDisk> for JobStats {
    fn from(disk: JobStatsOnDisk) -> Self {
        let completed = disk.n_completed_trials.or(disk.n_trials).unwrap_or(0);
        let errored = disk.n_errored_trials.or(disk.n_errors).unwrap_or(0);
        Self {
            n_completed_trials: completed,
            n_errored_trials: errored,
            n_running_trials: disk.n_running_trials,
            n_pending_trials: disk.n_pending_trials,
            n_cancelled_trials: disk.n_cancelled_trials,
            n_retries: disk.n_retries,
            evals: disk.evals,
            n_input_tokens: disk.n_input_tokens,
            n_cache_tokens: disk.n_cache_tokens,
            n_output_tokens: disk.n_output_tokens,
            cost_usd: disk.cost_usd,
            n_trials: disk.n_trials.unwrap_or(completed),
            n_errors: disk.n_errors.unwrap_or(errored),
        }
    }
}

/// Figures of one agent with one model on one data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentDatasetStats {
    /// Trials with a reward.
    pub n_trials: u64,
    /// Trials with an error.
    pub n_errors: u64,
    /// `[{"mean": x}]`; with several rewards their means by name.
    pub metrics: Vec<IndexMap<String, f64>>,
    /// By k.
    pub pass_at_k: BTreeMap<u32, f64>,
    /// Reward name → value as Python prints it → trials.
    pub reward_stats: IndexMap<String, IndexMap<String, Vec<String>>>,
    /// Error type → trials.
    pub exception_stats: IndexMap<String, Vec<String>>,
}

impl AgentDatasetStats {
    /// The trials with each value of the reward called `name`. Spellings of one number (`1`, `1.0`)
    /// stay apart as they were written; what is no number is left out.
    pub fn rewards<'a>(&'a self, name: &str) -> impl Iterator<Item = (f64, &'a [String])> {
        self.reward_stats
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|(value, trials)| Some((value.parse().ok()?, trials.as_slice())))
    }
}
