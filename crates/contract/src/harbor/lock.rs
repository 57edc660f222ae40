//! `lock.json` of a trial (schema 2) and of a job (schema 3): what a run was made from, by digest.

use super::job::RetryConfig;
use super::trial::{AgentConfig, EnvironmentConfig, TrialConfig, VerifierConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `lock.json` of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobLock {
    /// 3.
    pub schema_version: u32,
    /// ISO 8601, UTC.
    pub created_at: String,
    /// Which Harbor ran it: none, so all null.
    #[serde(default)]
    pub harbor: HarborInfo,
    /// Trials at a time.
    pub n_concurrent_trials: u64,
    /// When a try is followed by another.
    pub retry: RetryConfig,
    /// Each trial's lock, equal to the one in its folder.
    #[serde(default)]
    pub trials: Vec<TrialLock>,
}

impl JobLock {
    /// The schema this module writes.
    pub const SCHEMA_VERSION: u32 = 3;
}

/// The Harbor that ran a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HarborInfo {
    /// Its version.
    pub version: Option<String>,
    /// Its commit.
    pub git_commit_hash: Option<String>,
    /// Whether it was installed from a checkout.
    pub is_editable: Option<bool>,
}

/// `lock.json` of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialLock {
    /// 2.
    pub schema_version: u32,
    /// The task, by digest.
    pub task: TaskLock,
    /// As in the trial's config.
    #[serde(default)]
    pub install_only: bool,
    /// As in the trial's config.
    pub timeout_multiplier: f64,
    /// As in the trial's config.
    #[serde(default)]
    pub agent_timeout_multiplier: Option<f64>,
    /// As in the trial's config.
    #[serde(default)]
    pub verifier_timeout_multiplier: Option<f64>,
    /// As in the trial's config.
    #[serde(default)]
    pub agent_setup_timeout_multiplier: Option<f64>,
    /// As in the trial's config.
    #[serde(default)]
    pub environment_build_timeout_multiplier: Option<f64>,
    /// Digests of what is appended to the instruction; null when nothing is.
    #[serde(default)]
    pub extra_instructions: Option<Vec<Value>>,
    /// As in the trial's config.
    pub agent: AgentConfig,
    /// Harbor's simulated user; kept as read.
    #[serde(default)]
    pub user_agent: Option<Value>,
    /// Harbor's simulated user.
    #[serde(default)]
    pub user_persona: Option<Value>,
    /// Harbor's simulated user.
    #[serde(default)]
    pub user_prompt_template: Option<Value>,
    /// Harbor's simulated user.
    #[serde(default)]
    pub bridge_prompt: Option<Value>,
    /// Harbor's simulated user.
    #[serde(default)]
    pub bridge_inputs: BTreeMap<String, Value>,
    /// Skills, by digest.
    #[serde(default)]
    pub skills: Vec<AgentSkillLock>,
    /// As in the trial's config.
    pub environment: EnvironmentConfig,
    /// Digests of more compose files; null when there are none.
    #[serde(default)]
    pub extra_docker_compose: Option<Vec<Value>>,
    /// As in the trial's config, with the mode that was resolved.
    pub verifier: VerifierLock,
    /// Harbor's regrading; kept as read.
    #[serde(default)]
    pub source_trial: Option<Value>,
}

impl TrialLock {
    /// The schema this module writes.
    pub const SCHEMA_VERSION: u32 = 2;

    /// The lock of a trial with `config` on `task`. `environment_mode` is `shared` or `separate`, none
    /// for a multi-step task.
    #[must_use]
    pub fn new(config: &TrialConfig, task: TaskLock, environment_mode: Option<&str>) -> Self {
        Self {
            schema_version: Self::SCHEMA_VERSION,
            task,
            install_only: config.install_only,
            timeout_multiplier: config.timeout_multiplier,
            agent_timeout_multiplier: config.agent_timeout_multiplier,
            verifier_timeout_multiplier: config.verifier_timeout_multiplier,
            agent_setup_timeout_multiplier: config.agent_setup_timeout_multiplier,
            environment_build_timeout_multiplier: config.environment_build_timeout_multiplier,
            extra_instructions: None,
            agent: config.agent.clone(),
            user_agent: None,
            user_persona: None,
            user_prompt_template: None,
            bridge_prompt: None,
            bridge_inputs: BTreeMap::new(),
            skills: Vec::new(),
            environment: config.environment.clone(),
            extra_docker_compose: None,
            verifier: VerifierLock {
                config: config.verifier.clone(),
                environment_mode: environment_mode.map(str::to_owned),
            },
            source_trial: None,
        }
    }
}

/// A task, by digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskLock {
    /// The folder's name.
    pub name: String,
    /// `[task].version`.
    #[serde(default)]
    pub version: Option<String>,
    /// `local`, `git` or `package`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// The data set's name.
    #[serde(default)]
    pub source: Option<String>,
    /// The task's folder.
    #[serde(default)]
    pub path: Option<String>,
    /// Harbor: the repository.
    #[serde(default)]
    pub git_url: Option<String>,
    /// Harbor: its commit.
    #[serde(default)]
    pub git_commit_id: Option<String>,
}

/// A skill, by digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSkillLock {
    /// The skill's name.
    pub name: String,
    /// Its folder.
    pub source: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Its repository.
    #[serde(default)]
    pub git_url: Option<String>,
    /// Its commit.
    #[serde(default)]
    pub git_commit_id: Option<String>,
}

/// The verifier of a lock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifierLock {
    /// As in the trial's config.
    #[serde(flatten)]
    pub config: VerifierConfig,
    /// `shared` or `separate`; null for a multi-step task.
    #[serde(default)]
    pub environment_mode: Option<String>,
}
