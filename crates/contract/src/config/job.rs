//! `runtime_info.input.harbor_job`: what to run, how often, how many at a time, and until when.

use super::choices::{Integrity, OnLimit};
use crate::outcome::ErrorType;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// The job.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct HarborJob {
    /// Where jobs are written: one folder per job in it.
    pub jobs_dir: PathBuf,
    /// First part of the job's name. Null: data set, agent, version and model.
    pub job_name_prefix: Option<String>,
    /// How many tasks to run in this job. Null: all.
    pub n_tasks: Option<u64>,
    /// Globs on task ids that may run. Empty: all.
    pub include_tasks: Vec<String>,
    /// Globs on task ids that must not run.
    pub exclude_tasks: Vec<String>,
    /// Trials per task.
    pub n_attempts: u32,
    /// Trials at a time.
    pub n_concurrent: u32,
    /// Environment builds at a time.
    pub n_concurrent_builds: u32,
    /// Verifiers at a time. Null: as `n_concurrent`.
    pub n_concurrent_verifiers: Option<u32>,
    /// Further tries of a trial that ended in a retryable error.
    pub max_retries: u32,
    /// When and how soon a trial is tried again.
    pub retry: Retry,
    /// Factor on every time limit that has none of its own below.
    pub timeout_multiplier: f64,
    /// Factor on the agent's time limit.
    pub agent_timeout_multiplier: Option<f64>,
    /// Factor on the verifier's time limit.
    pub verifier_timeout_multiplier: Option<f64>,
    /// Factor on the time limit of the agent's set-up.
    pub agent_setup_timeout_multiplier: Option<f64>,
    /// Factor on the time limit of building the environment.
    pub environment_build_timeout_multiplier: Option<f64>,
    /// The agent's time limit, seconds; overrides the task's.
    pub agent_timeout_sec: Option<f64>,
    /// The verifier's time limit, seconds; overrides the task's.
    pub verifier_timeout_sec: Option<f64>,
    /// Caps the agent's time limit, seconds, before the factor.
    pub max_agent_timeout_sec: Option<f64>,
    /// Limits of the whole job.
    pub limits: JobLimits,
    /// Limits of one trial, all its calls together.
    pub trial_limits: TrialLimits,
    /// End what the agent left running before verification. A task's own `[verifier] stop_leftovers` wins.
    pub stop_leftovers: bool,
    /// What a finding of the integrity checks does.
    pub integrity: Integrity,
    /// For debugging: leave failed environments, and say how to enter and remove them.
    pub keep_environments: bool,
}

impl Default for HarborJob {
    fn default() -> Self {
        Self {
            jobs_dir: "artifacts/jobs".into(),
            job_name_prefix: None,
            n_tasks: None,
            include_tasks: Vec::new(),
            exclude_tasks: Vec::new(),
            n_attempts: 1,
            n_concurrent: 8,
            n_concurrent_builds: 2,
            n_concurrent_verifiers: None,
            max_retries: 2,
            retry: Retry::default(),
            timeout_multiplier: 1.0,
            agent_timeout_multiplier: None,
            verifier_timeout_multiplier: None,
            agent_setup_timeout_multiplier: None,
            environment_build_timeout_multiplier: None,
            agent_timeout_sec: None,
            verifier_timeout_sec: None,
            max_agent_timeout_sec: None,
            limits: JobLimits::default(),
            trial_limits: TrialLimits::default(),
            stop_leftovers: false,
            integrity: Integrity::Report,
            keep_environments: false,
        }
    }
}

/// When and how soon a trial is tried again: the wait is
/// `min(min_wait_sec × wait_multiplier^try, max_wait_sec)`, jittered.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Retry {
    /// The first wait, seconds.
    pub min_wait_sec: f64,
    /// Factor from one wait to the next.
    pub wait_multiplier: f64,
    /// The longest wait, seconds.
    pub max_wait_sec: f64,
    /// Error types to try again although they are not by themselves.
    #[schemars(with = "Vec<String>")]
    pub include: Vec<ErrorType>,
    /// Error types never to try again.
    #[schemars(with = "Vec<String>")]
    pub exclude: Vec<ErrorType>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            min_wait_sec: 1.0,
            wait_multiplier: 2.0,
            max_wait_sec: 60.0,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

/// Limits of a whole job.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct JobLimits {
    /// Money, USD.
    pub max_usd: Option<f64>,
    /// Input and output tokens.
    pub max_tokens: Option<u64>,
    /// Model calls.
    pub max_calls: Option<u64>,
    /// What happens then.
    pub on_limit: OnLimit,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self { max_usd: None, max_tokens: None, max_calls: None, on_limit: OnLimit::Drain }
    }
}

/// Limits of one trial, all its calls together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct TrialLimits {
    /// Money, USD.
    pub max_usd: Option<f64>,
    /// Input and output tokens.
    pub max_tokens: Option<u64>,
    /// Model calls.
    pub max_calls: Option<u64>,
}
