//! One trial: its states, one function each, and what every ending leaves on disk.

mod collect;
mod folder;
mod local;
mod log;
mod lost;
mod reward;
mod spec;
mod task;
#[cfg(test)]
pub(crate) mod testing;
mod verify;
mod workspace;

pub use folder::{agent_of, has_begun, set_aside, spent_on, stand_in};
pub use local::{LocalPlacement, Tools};
pub use lost::record_lost;
pub use spec::{AgentSpec, EnvironmentFigures, SpendingLimits, Timeouts, TrialSpec};
pub use task::{TaskView, lock_of};

use trajgen_contract::outcome::ErrorType;
use trajgen_contract::result::{Rewards, TrialResult};

/// Why a try ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryError {
    /// Its type.
    pub kind: ErrorType,
    /// What happened and what to do.
    pub message: String,
}

impl TryError {
    /// An error of type `kind`.
    pub fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Calls, tokens and cost of all tries of a trial.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Model calls.
    pub n_calls: u64,
    /// Input tokens, cached ones included.
    pub n_input_tokens: u64,
    /// Cached input tokens.
    pub n_cache_tokens: u64,
    /// Output tokens.
    pub n_output_tokens: u64,
    /// USD; none when unknown.
    pub cost_usd: Option<f64>,
}

/// How a try ended. Its folder says the same.
#[derive(Debug, Clone)]
pub struct TryEnd {
    /// The error it ended in.
    pub error: Option<TryError>,
    /// What the verifier gave.
    pub rewards: Option<Rewards>,
    /// What all tries of the trial so far used.
    pub usage: Spent,
    /// How long the try took.
    pub duration_ms: u64,
    /// What was written to `result.json`.
    pub result: TrialResult,
}

impl TryEnd {
    /// The one figure of the trial.
    #[must_use]
    pub fn reward(&self) -> Option<f64> {
        self.result.reward()
    }
}
