//! `config.json` of a trial.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Harbor's `TrialConfig`: one trial as it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrialConfig {
    /// The task.
    pub task: TaskConfig,
    /// `<task>__<suffix>`.
    pub trial_name: String,
    /// The job's folder, in which the trial's lies.
    pub trials_dir: String,
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
    /// Who works on it.
    pub agent: AgentConfig,
    /// Harbor's simulated user; kept as read.
    pub user_agent: Option<Value>,
    /// Where it runs.
    pub environment: EnvironmentConfig,
    /// How it is graded.
    pub verifier: VerifierConfig,
    /// Paths to collect beside the task's own.
    pub artifacts: Vec<Value>,
    /// Files appended to the instruction.
    pub extra_instruction_paths: Vec<String>,
    /// Texts appended to the instruction.
    pub extra_instructions: Vec<String>,
    /// The job's `id`.
    pub job_id: Option<String>,
    /// Harbor's regrading; kept as read.
    pub source_trial: Option<Value>,
}

impl Default for TrialConfig {
    fn default() -> Self {
        Self {
            task: TaskConfig::default(),
            trial_name: String::new(),
            trials_dir: "trials".into(),
            install_only: false,
            timeout_multiplier: 1.0,
            agent_timeout_multiplier: None,
            verifier_timeout_multiplier: None,
            agent_setup_timeout_multiplier: None,
            environment_build_timeout_multiplier: None,
            agent: AgentConfig::default(),
            user_agent: None,
            environment: EnvironmentConfig::default(),
            verifier: VerifierConfig::default(),
            artifacts: Vec::new(),
            extra_instruction_paths: Vec::new(),
            extra_instructions: Vec::new(),
            job_id: None,
            source_trial: None,
        }
    }
}

/// Where a trial's task comes from: for us always a `path`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskConfig {
    /// The task's folder; its last component is the task id.
    pub path: Option<String>,
    /// Harbor: a repository.
    pub git_url: Option<String>,
    /// Harbor: its commit.
    pub git_commit_id: Option<String>,
    /// Harbor: a package, `org/name`; excludes `path`.
    pub name: Option<String>,
    /// Harbor: a package's tag or digest.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Harbor: fetch again.
    pub overwrite: bool,
    /// Harbor: where fetched tasks lie.
    pub download_dir: Option<String>,
    /// The data set's name.
    pub source: Option<String>,
}

impl TaskConfig {
    /// The task at `path` of the data set `dataset`.
    pub fn local(path: impl Into<String>, dataset: impl Into<String>) -> Self {
        Self { path: Some(path.into()), source: Some(dataset.into()), ..Self::default() }
    }

    /// The task's id: the last component of its path. None for a task without path.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        self.path.as_deref()?.trim_end_matches('/').rsplit('/').next().filter(|id| !id.is_empty())
    }
}

/// The agent of a trial or job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentConfig {
    /// `terminus-2`, `oracle`, …
    pub name: Option<String>,
    /// Harbor: a class instead of a name.
    pub import_path: Option<String>,
    /// With its provider prefix, `openai/MiniMax-M2.7`; null for agents without a model.
    pub model_name: Option<String>,
    /// Harbor: how many of its runs go on at a time.
    pub n_concurrent: Option<u64>,
    /// Harbor: what shares that number.
    pub concurrency_group: Option<String>,
    /// Harbor: skill folders.
    pub skills: Vec<String>,
    /// Seconds, instead of the task's limit.
    pub override_timeout_sec: Option<f64>,
    /// Seconds, instead of the limit of set-up.
    pub override_setup_timeout_sec: Option<f64>,
    /// Seconds, the most a task's limit can be.
    pub max_timeout_sec: Option<f64>,
    /// Harbor: steps share a session.
    pub resume_trajectory: bool,
    /// Harbor: a session to start from.
    pub load_trajectory: Option<String>,
    /// Harbor: hosts beside the task's.
    pub extra_allowed_hosts: Vec<String>,
    /// Harbor: logs to keep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include_logs: Vec<String>,
    /// Harbor: logs to leave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_logs: Vec<String>,
    /// The agent's options.
    pub kwargs: Map<String, Value>,
    /// Variables, redacted: see [`redact_env`](super::redact_env).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Harbor: MCP servers.
    pub mcp_servers: Vec<Value>,
}

/// Where trials run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvironmentConfig {
    /// One of Harbor's types (`docker`, …); null with an `import_path`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What is not on Harbor's list: [`SANDBOX_IMPORT_PATH`](super::SANDBOX_IMPORT_PATH).
    pub import_path: Option<String>,
    /// Harbor: build although an image is there.
    pub force_build: bool,
    /// Whether it is removed after the trial.
    pub delete: bool,
    /// Harbor: show output.
    pub stream: bool,
    /// `auto`, `limit`, `request`, `guarantee` or `ignore`.
    pub cpu_enforcement_policy: String,
    /// As `cpu_enforcement_policy`.
    pub memory_enforcement_policy: String,
    /// Instead of the task's figure. Harbor knows whole CPUs only.
    pub override_cpus: Option<u64>,
    /// Instead of the task's figure, MiB.
    pub override_memory_mb: Option<u64>,
    /// Instead of the task's figure, MiB.
    pub override_storage_mb: Option<u64>,
    /// Harbor: instead of the task's figure.
    pub override_gpus: Option<u64>,
    /// Harbor: instead of the task's figure.
    pub override_tpu: Option<Value>,
    /// Harbor: more mounts.
    pub mounts: Option<Value>,
    /// Harbor: more compose files.
    pub extra_docker_compose: Vec<String>,
    /// Variables, redacted: see [`redact_env`](super::redact_env).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Options of the environment's kind; ours (network policy, pids, …) go here.
    pub kwargs: Map<String, Value>,
    /// Harbor: hosts beside the task's.
    pub extra_allowed_hosts: Vec<String>,
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        Self {
            kind: None,
            import_path: None,
            force_build: false,
            delete: true,
            stream: false,
            cpu_enforcement_policy: "auto".into(),
            memory_enforcement_policy: "auto".into(),
            override_cpus: None,
            override_memory_mb: None,
            override_storage_mb: None,
            override_gpus: None,
            override_tpu: None,
            mounts: None,
            extra_docker_compose: Vec::new(),
            env: BTreeMap::new(),
            kwargs: Map::new(),
            extra_allowed_hosts: Vec::new(),
        }
    }
}

impl EnvironmentConfig {
    /// Our sandbox, as Harbor can load it.
    #[must_use]
    pub fn sandbox() -> Self {
        Self { import_path: Some(super::SANDBOX_IMPORT_PATH.into()), ..Self::default() }
    }

    /// Docker.
    #[must_use]
    pub fn docker() -> Self {
        Self { kind: Some("docker".into()), ..Self::default() }
    }
}

/// How trials are graded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifierConfig {
    /// Seconds, instead of the task's limit.
    pub override_timeout_sec: Option<f64>,
    /// Seconds, the most a task's limit can be.
    pub max_timeout_sec: Option<f64>,
    /// Harbor: logs to keep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include_logs: Vec<String>,
    /// Harbor: logs to leave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_logs: Vec<String>,
    /// Variables, redacted: see [`redact_env`](super::redact_env).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Harbor: a verifier of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import_path: Option<String>,
    /// Harbor: its options.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub kwargs: Map<String, Value>,
    /// True when nothing is graded.
    pub disable: bool,
}
