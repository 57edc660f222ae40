//! `config.json` of a job.

use super::trial::{AgentConfig, EnvironmentConfig, TaskConfig, VerifierConfig};
use crate::outcome::ErrorType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Harbor's `JobConfig`: a job as it was asked for, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobConfig {
    /// The job's name: that of its folder.
    pub job_name: String,
    /// Where jobs lie.
    pub jobs_dir: String,
    /// Trials per task.
    pub n_attempts: u64,
    /// Harbor's set-up-only mode; always false here.
    pub install_only: bool,
    /// Factor on all limits of time.
    pub timeout_multiplier: f64,
    /// Factor on the agent's limit, instead of the general one.
    pub agent_timeout_multiplier: Option<f64>,
    /// Factor on the verifier's limit, instead of the general one.
    pub verifier_timeout_multiplier: Option<f64>,
    /// Factor on the limit of agent set-up, instead of the general one.
    pub agent_setup_timeout_multiplier: Option<f64>,
    /// Factor on the limit of building, instead of the general one.
    pub environment_build_timeout_multiplier: Option<f64>,
    /// Harbor: more logging.
    pub debug: bool,
    /// Trials at a time.
    pub n_concurrent_trials: u64,
    /// Harbor: no progress display.
    pub quiet: bool,
    /// When a try is followed by another.
    pub retry: RetryConfig,
    /// Where trials run.
    pub environment: EnvironmentConfig,
    /// How trials are graded.
    pub verifier: VerifierConfig,
    /// Harbor: metrics beside the mean.
    pub metrics: Vec<Value>,
    /// Who works on the tasks.
    pub agents: Vec<AgentConfig>,
    /// Harbor's simulated user; kept as read.
    pub user_agent: Option<Value>,
    /// Where the tasks come from.
    pub datasets: Vec<DatasetConfig>,
    /// Single tasks beside the data sets.
    pub tasks: Vec<TaskConfig>,
    /// Paths to collect beside the tasks' own.
    pub artifacts: Vec<Value>,
    /// Files appended to instructions.
    pub extra_instruction_paths: Vec<String>,
    /// Texts appended to instructions.
    pub extra_instructions: Vec<String>,
    /// Harbor's regrading; kept as read.
    pub source_jobs: Vec<Value>,
}

impl Default for JobConfig {
    fn default() -> Self {
        Self {
            job_name: String::new(),
            jobs_dir: "jobs".into(),
            n_attempts: 1,
            install_only: false,
            timeout_multiplier: 1.0,
            agent_timeout_multiplier: None,
            verifier_timeout_multiplier: None,
            agent_setup_timeout_multiplier: None,
            environment_build_timeout_multiplier: None,
            debug: false,
            n_concurrent_trials: 4,
            quiet: false,
            retry: RetryConfig::default(),
            environment: EnvironmentConfig::default(),
            verifier: VerifierConfig::default(),
            metrics: Vec::new(),
            agents: Vec::new(),
            user_agent: None,
            datasets: Vec::new(),
            tasks: Vec::new(),
            artifacts: Vec::new(),
            extra_instruction_paths: Vec::new(),
            extra_instructions: Vec::new(),
            source_jobs: Vec::new(),
        }
    }
}

/// When a try that ended in an error is followed by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryConfig {
    /// Further tries of a trial.
    pub max_retries: u64,
    /// Error types that are retried; null means all but the excluded.
    pub include_exceptions: Option<Vec<String>>,
    /// Error types that are not.
    pub exclude_exceptions: Option<Vec<String>>,
    /// Factor on the wait from try to try.
    pub wait_multiplier: f64,
    /// The first wait, seconds.
    pub min_wait_sec: f64,
    /// The longest wait, seconds.
    pub max_wait_sec: f64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        use ErrorType as E;
        // Harbor's own list.
        let never = [
            E::AgentTimeoutError,
            E::VerifierTimeoutError,
            E::RewardFileNotFoundError,
            E::RewardFileEmptyError,
            E::VerifierOutputParseError,
            E::ApiUsageLimitError,
            E::AgentSafetyRefusalError,
            E::AgentAuthenticationError,
            E::ModelNotFoundError,
        ];
        Self {
            max_retries: 0,
            include_exceptions: None,
            exclude_exceptions: Some(never.iter().map(ToString::to_string).collect()),
            wait_multiplier: 1.0,
            min_wait_sec: 1.0,
            max_wait_sec: 60.0,
        }
    }
}

/// A data set of a job: for us always a `path`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatasetConfig {
    /// The folder of prepared tasks.
    pub path: Option<String>,
    /// Harbor: a registered data set; excludes `path`.
    pub name: Option<String>,
    /// Harbor: its version.
    pub version: Option<String>,
    /// Harbor: its tag or digest.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Harbor: the registry.
    pub registry_url: Option<String>,
    /// Harbor: the registry as a file.
    pub registry_path: Option<String>,
    /// Harbor: a repository of data sets.
    pub repo: Option<String>,
    /// Harbor: fetch again.
    pub overwrite: bool,
    /// Harbor: where fetched tasks lie.
    pub download_dir: Option<String>,
    /// Globs on the tasks to take; null means all.
    pub task_names: Option<Vec<String>>,
    /// Globs on the tasks to leave.
    pub exclude_task_names: Option<Vec<String>>,
    /// How many to take; null means all.
    pub n_tasks: Option<u64>,
}
