//! `result.json` of a trial.

use crate::harbor::TrialConfig;
use crate::outcome::{ErrorType, Outcome};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Rewards by name, in the verifier's order; a single one is called `reward`.
pub type Rewards = IndexMap<String, f64>;

/// Harbor's `TrialResult`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialResult {
    /// A UUID.
    pub id: String,
    /// `[task].name` when given, else the folder's name.
    pub task_name: String,
    /// The trial's folder's name.
    pub trial_name: String,
    /// The trial's folder, as a `file://` URI.
    pub trial_uri: String,
    /// Where the task lies.
    pub task_id: TaskId,
    /// The data set's name.
    #[serde(default)]
    pub source: Option<String>,
    /// Harbor's: PyPI `dirhash` of the task's folder, SHA-256.
    pub task_checksum: String,
    /// The trial's `config.json`, in full.
    pub config: TrialConfig,
    /// Who worked on it.
    pub agent_info: AgentInfo,
    /// What the agent used; null before it ran and for a multi-step trial.
    #[serde(default)]
    pub agent_result: Option<AgentResult>,
    /// The rewards; null without a verifier's answer.
    #[serde(default)]
    pub verifier_result: Option<VerifierResult>,
    /// `shared` or `separate`; null for a multi-step task.
    #[serde(default)]
    pub verifier_environment_mode: Option<String>,
    /// What the last try ended in.
    #[serde(default)]
    pub exception_info: Option<ExceptionInfo>,
    /// When the first try started.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When the last try ended; null while it runs.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// Build, create, start, healthcheck.
    #[serde(default)]
    pub environment_setup: Option<TimingInfo>,
    /// Agent set-up.
    #[serde(default)]
    pub agent_setup: Option<TimingInfo>,
    /// The agent at work.
    #[serde(default)]
    pub agent_execution: Option<TimingInfo>,
    /// Tests run.
    #[serde(default)]
    pub verifier: Option<TimingInfo>,
    /// One for each step of a multi-step task, else null.
    #[serde(default)]
    pub step_results: Option<Vec<StepResult>>,
}

impl TrialResult {
    /// The rewards, when the verifier gave any.
    #[must_use]
    pub fn rewards(&self) -> Option<&Rewards> {
        self.verifier_result.as_ref()?.rewards.as_ref()
    }

    /// The one figure of the trial: the reward called `reward`, else the only one there is.
    #[must_use]
    pub fn reward(&self) -> Option<f64> {
        let rewards = self.rewards()?;
        match rewards.get("reward") {
            Some(reward) => Some(*reward),
            None if rewards.len() == 1 => rewards.values().next().copied(),
            None => None,
        }
    }

    /// Whether a resumed job leaves this trial alone: it ended, and not by being cancelled.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let cancelled = ErrorType::CancelledError.to_string();
        self.finished_at.is_some()
            && self.exception_info.as_ref().is_none_or(|e| e.exception_type != cancelled)
    }

    /// Tokens and cost of the last try: the agent's, else the sum over the steps' agents.
    #[must_use]
    pub fn usage(&self) -> Usage {
        match &self.agent_result {
            Some(agent) => agent.usage(),
            None => self
                .step_results
                .iter()
                .flatten()
                .filter_map(|step| step.agent_result.as_ref())
                .fold(Usage::default(), |sum, agent| sum.plus(&agent.usage())),
        }
    }
}

/// Where a task lies, as Harbor tells its kinds apart: by their fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TaskId {
    /// In a repository.
    Git {
        /// The repository.
        git_url: String,
        /// The commit.
        #[serde(default)]
        git_commit_id: Option<String>,
        /// The folder in it.
        path: String,
    },
    /// In a registry.
    Package {
        /// Whose.
        org: String,
        /// Its name.
        name: String,
        /// Tag or digest.
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// On this host: the only kind written here.
    Local {
        /// The folder.
        path: String,
    },
}

impl Default for TaskId {
    fn default() -> Self {
        Self::Local { path: String::new() }
    }
}

/// Who worked on a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// `terminus-2`, …
    pub name: String,
    /// `unknown` when it has none.
    pub version: String,
    /// Its model; null for agents without one.
    #[serde(default)]
    pub model_info: Option<ModelInfo>,
}

/// A model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Without its provider.
    pub name: String,
    /// What stood before the first `/`.
    #[serde(default)]
    pub provider: Option<String>,
}

impl ModelInfo {
    /// Takes `provider/name` apart at its first `/`.
    #[must_use]
    pub fn of(model: &str) -> Self {
        match model.split_once('/') {
            Some((provider, name)) => Self { name: name.to_owned(), provider: Some(provider.to_owned()) },
            None => Self { name: model.to_owned(), provider: None },
        }
    }
}

/// Tokens and cost. A null figure is an unknown one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Input tokens, cached ones included.
    pub n_input_tokens: Option<u64>,
    /// Cached input tokens.
    pub n_cache_tokens: Option<u64>,
    /// Output tokens.
    pub n_output_tokens: Option<u64>,
    /// USD.
    pub cost_usd: Option<f64>,
}

impl Usage {
    /// The sum, figure by figure; one that is known on neither side stays unknown.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        fn sum<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            }
        }
        Self {
            n_input_tokens: sum(self.n_input_tokens, other.n_input_tokens),
            n_cache_tokens: sum(self.n_cache_tokens, other.n_cache_tokens),
            n_output_tokens: sum(self.n_output_tokens, other.n_output_tokens),
            cost_usd: sum(self.cost_usd, other.cost_usd),
        }
    }
}

/// Harbor's `AgentContext`: what the last try's agent used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentResult {
    /// Input tokens, cached ones included.
    pub n_input_tokens: Option<u64>,
    /// Cached input tokens.
    pub n_cache_tokens: Option<u64>,
    /// Output tokens.
    pub n_output_tokens: Option<u64>,
    /// USD.
    pub cost_usd: Option<f64>,
    /// The same by model.
    pub model_usage: Option<IndexMap<String, ModelUsage>>,
    /// Token ids and logprobs, when collected; kept as read.
    pub rollout_details: Option<Vec<Value>>,
    /// Our additions: Harbor keeps this one as it is.
    pub metadata: Option<TrialMetadata>,
}

impl AgentResult {
    /// With the figures of `usage`.
    #[must_use]
    pub fn new(usage: Usage, metadata: TrialMetadata) -> Self {
        Self {
            n_input_tokens: usage.n_input_tokens,
            n_cache_tokens: usage.n_cache_tokens,
            n_output_tokens: usage.n_output_tokens,
            cost_usd: usage.cost_usd,
            metadata: Some(metadata),
            ..Self::default()
        }
    }

    /// Its figures.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            n_input_tokens: self.n_input_tokens,
            n_cache_tokens: self.n_cache_tokens,
            n_output_tokens: self.n_output_tokens,
            cost_usd: self.cost_usd,
        }
    }
}

/// What `agent_result.metadata` says beyond Harbor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrialMetadata {
    /// The row of the table of endings; null while the trial runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why the agent ended: `task_complete`, `max_turns`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_reason: Option<String>,
    /// Tries made, the last one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_tries: Option<u32>,
    /// Model calls of the last try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_calls: Option<u64>,
    /// What all tries used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_tries: Option<Usage>,
    /// What people should look at: tests that were changed, leftovers, …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Value>,
    /// What the agent itself reports.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Figures of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelUsage {
    /// Input tokens, cached ones included.
    pub n_input_tokens: u64,
    /// Cached input tokens.
    pub n_cache_tokens: u64,
    /// Output tokens.
    pub n_output_tokens: u64,
    /// USD; null when unknown.
    pub cost_usd: Option<f64>,
}

/// What the verifier said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifierResult {
    /// The rewards.
    #[serde(default)]
    pub rewards: Option<Rewards>,
}

/// The error a try ended in. All four are required by Harbor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExceptionInfo {
    /// An [`ErrorType`]'s name; other tools write others.
    pub exception_type: String,
    /// What happened and what to do.
    pub exception_message: String,
    /// The full error chain.
    pub exception_traceback: String,
    /// ISO 8601, UTC.
    pub occurred_at: String,
}

impl ExceptionInfo {
    /// The type, when it is one of ours.
    #[must_use]
    pub fn error_type(&self) -> Option<ErrorType> {
        self.exception_type.parse().ok()
    }
}

/// Start and end of a phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimingInfo {
    /// ISO 8601, UTC.
    pub started_at: Option<String>,
    /// ISO 8601, UTC; null while it runs.
    pub finished_at: Option<String>,
}

/// One step of a multi-step trial.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// The step's name.
    pub step_name: String,
    /// What the agent used.
    #[serde(default)]
    pub agent_result: Option<AgentResult>,
    /// The rewards.
    #[serde(default)]
    pub verifier_result: Option<VerifierResult>,
    /// What it ended in.
    #[serde(default)]
    pub exception_info: Option<ExceptionInfo>,
    /// The agent at work.
    #[serde(default)]
    pub agent_execution: Option<TimingInfo>,
    /// Tests run.
    #[serde(default)]
    pub verifier: Option<TimingInfo>,
}
