//! What `task.toml` says, with Harbor's defaults filled in.

use super::network::NetworkPolicy;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A whole `task.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// `schema_version`, or `version` as it was called.
    pub schema_version: String,
    /// `[task]`.
    pub package: Option<Package>,
    /// `[metadata]`: free; difficulty, category, language, tags and repo are shown and grouped by.
    pub metadata: Map<String, Value>,
    /// Where the task was made from.
    pub source: Option<String>,
    /// Paths to bring out of the environment.
    pub artifacts: Vec<Artifact>,
    /// `[agent]`.
    pub agent: AgentSection,
    /// `[verifier]`.
    pub verifier: VerifierSection,
    /// `[environment]`.
    pub environment: EnvironmentSection,
    /// `[solution] env`, templates not yet resolved.
    pub solution_env: BTreeMap<String, String>,
    /// `[[steps]]`; empty for a single-step task.
    pub steps: Vec<StepSection>,
    /// How the steps' rewards become the trial's.
    pub reward_strategy: RewardStrategy,
    /// Keys nobody knows, by their path, with their values.
    pub unknown: BTreeMap<String, Value>,
}

/// `[task]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// `org/name`.
    pub name: String,
    /// Any text.
    pub version: Option<String>,
    /// For people.
    pub description: String,
    /// Names and mail addresses.
    pub authors: Vec<Author>,
    /// For searching.
    pub keywords: Vec<String>,
}

/// Who wrote a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// A person or group.
    pub name: String,
    /// Where to reach them.
    pub email: Option<String>,
}

/// A path to bring out of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Inside; without `..`.
    pub source: String,
    /// Under the trial's `artifacts/`, relative and without `..`; none mirrors the source.
    pub destination: Option<String>,
    /// Globs to leave out of a folder.
    pub exclude: Vec<String>,
    /// The compose service; `main` is the agent's container.
    pub service: String,
}

/// The compose service that the agent works in.
pub const MAIN_SERVICE: &str = "main";

/// `[agent]`, of the task or of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentSection {
    /// Seconds; none means no limit of its own.
    pub timeout_sec: Option<f64>,
    /// Name or number; none means the image's own.
    pub user: Option<String>,
    /// During the agent's run; none means the environment's.
    pub network: Option<NetworkPolicy>,
}

/// `[verifier]`, of the task or of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifierSection {
    /// Seconds.
    pub timeout_sec: f64,
    /// Variables, templates not yet resolved.
    pub env: BTreeMap<String, String>,
    /// Name or number; none means the image's own.
    pub user: Option<String>,
    /// During verification; none means the environment's.
    pub network: Option<NetworkPolicy>,
    /// As written: see [`super::Task::verifier_mode`] for what holds.
    pub environment_mode: Option<VerifierMode>,
    /// `[verifier.environment]`, for a separate verifier.
    pub environment: Option<EnvironmentSection>,
    /// `[[verifier.collect]]`: what runs before collection.
    pub collect: Vec<CollectHook>,
    /// Whether to end what the agent left running; none means the job's setting.
    pub stop_leftovers: Option<bool>,
}

impl Default for VerifierSection {
    fn default() -> Self {
        Self {
            timeout_sec: 600.0,
            env: BTreeMap::new(),
            user: None,
            network: None,
            environment_mode: None,
            environment: None,
            collect: Vec::new(),
            stop_leftovers: None,
        }
    }
}

/// Where the verifier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifierMode {
    /// In the agent's environment.
    Shared,
    /// In a fresh one that gets the declared artifacts only.
    Separate,
}

impl VerifierMode {
    /// As `result.json` and `lock.json` spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Separate => "separate",
        }
    }
}

/// A command that runs after the agent and before collection.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectHook {
    /// A shell line.
    pub command: String,
    /// The compose service.
    pub service: String,
    /// Seconds.
    pub timeout_sec: f64,
    /// Name or number; none means the image's own.
    pub user: Option<String>,
}

/// `[environment]` or `[verifier.environment]`.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentSection {
    /// Seconds, of building and starting.
    pub build_timeout_sec: f64,
    /// A prebuilt image; wins over a Dockerfile.
    pub docker_image: Option<String>,
    /// CPUs; Harbor takes whole ones only.
    pub cpus: Option<f64>,
    /// MiB.
    pub memory_mb: Option<u64>,
    /// MiB.
    pub storage_mb: Option<u64>,
    /// Number of GPUs.
    pub gpus: Option<u64>,
    /// Which of them will do; empty means any.
    pub gpu_types: Vec<String>,
    /// A TPU slice.
    pub tpu: Option<Tpu>,
    /// Variables, templates not yet resolved.
    pub env: BTreeMap<String, String>,
    /// Where commands start; none means the image's own.
    pub workdir: Option<String>,
    /// What can be reached; none when the task is silent.
    pub network: Option<NetworkPolicy>,
    /// Skills inside the environment.
    pub skills_dir: Option<String>,
    /// When the environment is ready.
    pub healthcheck: Option<Healthcheck>,
    /// Servers offered to the agent.
    pub mcp_servers: Vec<McpServer>,
}

impl Default for EnvironmentSection {
    fn default() -> Self {
        Self {
            build_timeout_sec: 600.0,
            docker_image: None,
            cpus: None,
            memory_mb: None,
            storage_mb: None,
            gpus: None,
            gpu_types: Vec::new(),
            tpu: None,
            env: BTreeMap::new(),
            workdir: None,
            network: None,
            skills_dir: None,
            healthcheck: None,
            mcp_servers: Vec::new(),
        }
    }
}

/// A TPU slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpu {
    /// `v6e`, …
    pub kind: String,
    /// `2x4`, …
    pub topology: String,
}

/// When an environment or a step is ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Healthcheck {
    /// A shell line; exit code 0 means ready.
    pub command: String,
    /// Seconds between checks.
    pub interval_sec: f64,
    /// Seconds one check may take.
    pub timeout_sec: f64,
    /// Seconds in which failures do not count.
    pub start_period_sec: f64,
    /// Seconds between checks in that time.
    pub start_interval_sec: f64,
    /// Failures in a row that end it.
    pub retries: u64,
}

/// A server offered to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub transport: McpTransport,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum McpTransport {
    /// Server-sent events from this URL.
    Sse(String),
    /// Streamable HTTP from this URL.
    StreamableHttp(String),
    /// A program with arguments.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
    },
}

/// One of `[[steps]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSection {
    /// The folder under `steps/`.
    pub name: String,
    /// Its `agent`.
    pub agent: AgentSection,
    /// Its `verifier`.
    pub verifier: VerifierSection,
    /// Below this the trial ends with this step.
    pub min_reward: Option<MinReward>,
    /// When the step is ready, beside the environment's own check.
    pub healthcheck: Option<Healthcheck>,
    /// Beside the task's.
    pub artifacts: Vec<Artifact>,
}

/// What a step must reach for the next to start. A missing reward reaches nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum MinReward {
    /// Of the reward called `reward`.
    Reward(f64),
    /// Of each by name.
    ByName(BTreeMap<String, f64>),
}

/// How the steps' rewards become the trial's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RewardStrategy {
    /// The mean by name over steps with a verifier's answer; a missing one counts 0.
    #[default]
    Mean,
    /// The last step's.
    Final,
}
