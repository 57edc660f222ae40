//! Who solves a task: the port, and its implementations.

pub mod nop;
pub mod oracle;
pub mod registry;
pub mod terminus2;

use crate::environment::{Environment, EnvironmentError};
use async_trait::async_trait;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use trajgen_contract::outcome::ErrorType;

/// What ended an agent's set-up or run.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AgentFailure {
    /// The ending this leads to.
    pub kind: ErrorType,
    /// What happened and what to do.
    pub message: String,
}

impl AgentFailure {
    /// A failure that leads to the ending `kind`.
    pub fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<EnvironmentError> for AgentFailure {
    fn from(error: EnvironmentError) -> Self {
        Self { kind: error.kind, message: error.message }
    }
}

/// Where an agent calls its model: the proxy, with the trial's own key.
#[derive(Debug, Clone)]
pub struct ModelEndpoint {
    /// As seen from this host, without `/v1`: `http://127.0.0.1:4001`.
    pub base_url: String,
    /// The trial's key.
    pub api_key: String,
    /// The model's name without protocol prefix.
    pub model: String,
    /// The model's context, tokens; unknown when absent.
    pub max_input_tokens: Option<u64>,
    /// The longest answer, tokens; unknown when absent.
    pub max_output_tokens: Option<u64>,
}

/// What an agent needs to know of its trial.
#[derive(Clone)]
pub struct AgentContext {
    /// `<task>__<suffix>`.
    pub trial_name: String,
    /// The task, as the model is told it.
    pub instruction: String,
    /// Where it works.
    pub environment: Arc<dyn Environment>,
    /// As whom; the image's own user when absent.
    pub user: Option<String>,
    /// Variables for what it runs.
    pub env: std::collections::BTreeMap<String, String>,
    /// Its model; none for agents that call none.
    pub model: Option<ModelEndpoint>,
    /// The trial's `agent/` folder on the host.
    pub logs_dir: PathBuf,
    /// The task's `solution/` folder and its `env`, for the oracle only.
    pub solution: Option<(PathBuf, std::collections::BTreeMap<String, String>)>,
    /// Set when the trial must end now.
    pub cancelled: CancellationToken,
}

/// What an agent's run left, when it ended by itself.
#[derive(Debug, Clone, Default)]
pub struct AgentReport {
    /// Why it ended: `task_complete`, `max_turns`, `session_gone`, …
    pub exit_reason: String,
    /// Goes to `agent_result.metadata`.
    pub metadata: serde_json::Map<String, Value>,
}

/// A coding agent.
#[async_trait]
pub trait Agent: Send + Sync {
    /// `terminus-2`, `oracle`, …
    fn name(&self) -> &str;
    /// Its version, `unknown` when it has none.
    fn version(&self) -> String;
    /// Whether it calls a model: then the trial gets a key and must leave a trajectory log.
    fn calls_model(&self) -> bool;
    /// Prepares the environment; limited by the agent set-up time.
    async fn set_up(&self, context: &AgentContext) -> Result<(), AgentFailure>;
    /// Works on the task; limited by the agent's time. Dropped when the time is over, so what must
    /// survive is written as it happens.
    async fn run(&self, context: &AgentContext) -> Result<AgentReport, AgentFailure>;
    /// Takes the power to act from it: no more input reaches its terminal, its program is ended.
    async fn disarm(&self, context: &AgentContext);
}

/// The failure of an agent whose trial must end now.
pub(crate) fn cancelled() -> AgentFailure {
    AgentFailure::new(ErrorType::CancelledError, "the trial was cancelled while its agent worked")
}

/// The failure of an agent that cannot write one of its files.
pub(crate) fn file_failure(error: &trajgen_contract::files::FileError) -> AgentFailure {
    let kind = if error.is_disk_full() { ErrorType::DiskFullError } else { ErrorType::AgentError };
    AgentFailure::new(kind, error.to_string())
}
