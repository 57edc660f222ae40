//! What happens in a job, as plain data: the only border between the engine and those who listen
//! (terminal, `events.jsonl`, `result.json`, ledger, dashboard).

use crate::outcome::{ErrorType, Outcome};
use serde::{Deserialize, Serialize};

/// One line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// Format version: 1.
    pub v: u32,
    /// When it happened, ISO 8601 in UTC.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A trial's state while it runs, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Directory, key, `config.json`.
    Prepare,
    /// Build, create, start, healthcheck.
    EnvironmentSetup,
    /// Runtime installed, terminal started.
    AgentSetup,
    /// The agent at work.
    AgentExecution,
    /// Logs and artifacts brought out.
    Collect,
    /// Tests run.
    Verifier,
    /// Everything removed.
    TearDown,
}

impl Phase {
    /// Its name, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Prepare => "preparation",
            Self::EnvironmentSetup => "environment",
            Self::AgentSetup => "agent set-up",
            Self::AgentExecution => "agent",
            Self::Collect => "collection",
            Self::Verifier => "verification",
            Self::TearDown => "tear-down",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "field names are those of the file; docs/formats.md explains them")]
pub enum Event {
    /// The job starts, or goes on after an interruption.
    JobStarted { job: String, n_trials: usize, resumed: bool },
    /// A try of a trial begins (`n_try` from 1).
    TrialStarted { trial: String, task_id: String, attempt: u32, n_try: u32 },
    /// The trial enters a phase.
    PhaseStarted { trial: String, phase: Phase },
    /// A model call was recorded.
    ModelCall {
        trial: String,
        success: bool,
        n_input_tokens: u64,
        n_output_tokens: u64,
        cost_usd: Option<f64>,
    },
    /// The try ended in an error that another try may mend.
    TrialRetried { trial: String, n_try: u32, error: ErrorType, message: String, wait_ms: u64 },
    /// The trial's last try ended.
    TrialEnded {
        trial: String,
        task_id: String,
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorType>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        reward: Option<f64>,
        n_input_tokens: u64,
        n_cache_tokens: u64,
        n_output_tokens: u64,
        cost_usd: Option<f64>,
        duration_ms: u64,
    },
    /// Something people should know.
    Warning { message: String },
    /// No further trials start (a signal, a limit, an error that stops the job).
    JobStopping { reason: String },
    /// The job is over.
    JobEnded { n_done: usize, n_errored: usize, n_cancelled: usize, mean_reward: Option<f64> },
}
