//! How a try of a trial can end. One closed list; Harbor's names where Harbor has one.

use serde::{Deserialize, Serialize};

/// The type of the error a try ended in, as written to `exception_info.exception_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation; what each means: docs/endings.md")]
pub enum ErrorType {
    AgentTimeoutError,
    TrialLimitError,
    NonZeroAgentExitCodeError,
    AgentError,
    AgentSafetyRefusalError,
    AgentSetupTimeoutError,
    AgentSetupError,
    EnvironmentBuildError,
    EnvironmentStartTimeoutError,
    HealthcheckError,
    OutOfMemoryError,
    StorageLimitError,
    EnvironmentLostError,
    DiskFullError,
    ModelUnavailableError,
    ApiUsageLimitError,
    AgentAuthenticationError,
    ModelNotFoundError,
    VerifierTimeoutError,
    RewardFileNotFoundError,
    RewardFileEmptyError,
    VerifierOutputParseError,
    AddTestsDirError,
    CaptureError,
    CancelledError,
}

/// The row of the table of endings that a try belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The verifier gave a reward and nothing went wrong.
    Graded,
    /// A limit of the agent's run was reached; what it left was graded.
    AgentLimit,
    /// The agent ended in an error of its own.
    AgentFailed,
    /// The model refused the task.
    AgentRefused,
    /// The agent could not be set up.
    AgentSetup,
    /// The task's environment could not be had or broke its limits.
    TaskEnvironment,
    /// The host's environment failed.
    HostEnvironment,
    /// The model did not answer.
    Model,
    /// The verifier did not give a reward.
    Verifier,
    /// A call could not be recorded.
    Capture,
    /// Ended by a signal or the job's limit.
    Cancelled,
}

/// What an ending means for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerStatus {
    /// Not run, or to be run again.
    Pending,
    /// Running now.
    Running,
    /// Graded.
    Done,
    /// Ended without a reward, and not to be repeated by itself.
    Failed,
    /// Set by a person: never run.
    Skipped,
}

impl LedgerStatus {
    /// True when the task must not run again by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped)
    }
}

impl std::fmt::Display for ErrorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

impl std::str::FromStr for ErrorType {
    type Err = serde_json::Error;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        serde_json::from_value(serde_json::Value::String(name.to_owned()))
    }
}

impl ErrorType {
    /// The row this error belongs to.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        use ErrorType as E;
        match self {
            E::AgentTimeoutError | E::TrialLimitError => Outcome::AgentLimit,
            E::NonZeroAgentExitCodeError | E::AgentError => Outcome::AgentFailed,
            E::AgentSafetyRefusalError => Outcome::AgentRefused,
            E::AgentSetupTimeoutError | E::AgentSetupError => Outcome::AgentSetup,
            E::EnvironmentBuildError
            | E::EnvironmentStartTimeoutError
            | E::HealthcheckError
            | E::OutOfMemoryError
            | E::StorageLimitError => Outcome::TaskEnvironment,
            E::EnvironmentLostError | E::DiskFullError => Outcome::HostEnvironment,
            E::ModelUnavailableError
            | E::ApiUsageLimitError
            | E::AgentAuthenticationError
            | E::ModelNotFoundError => Outcome::Model,
            E::VerifierTimeoutError
            | E::RewardFileNotFoundError
            | E::RewardFileEmptyError
            | E::VerifierOutputParseError
            | E::AddTestsDirError => Outcome::Verifier,
            E::CaptureError => Outcome::Capture,
            E::CancelledError => Outcome::Cancelled,
        }
    }

    /// Whether the verifier still runs after this error of the agent's run.
    #[must_use]
    pub fn still_verified(self) -> bool {
        use ErrorType as E;
        matches!(
            self,
            E::AgentTimeoutError
                | E::TrialLimitError
                | E::NonZeroAgentExitCodeError
                | E::AgentSafetyRefusalError
                | E::OutOfMemoryError
                | E::StorageLimitError
        )
    }

    /// Whether another try may follow. A try that has a reward is never repeated, whatever this says.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        use ErrorType as E;
        matches!(
            self,
            E::NonZeroAgentExitCodeError
                | E::AgentError
                | E::AgentSetupTimeoutError
                | E::AgentSetupError
                | E::EnvironmentStartTimeoutError
                | E::HealthcheckError
                | E::OutOfMemoryError
                | E::StorageLimitError
                | E::EnvironmentLostError
                | E::ModelUnavailableError
                | E::AddTestsDirError
        )
    }

    /// Whether the job starts no further trials after this error.
    #[must_use]
    pub fn stops_job(self) -> bool {
        use ErrorType as E;
        matches!(
            self,
            E::ApiUsageLimitError | E::AgentAuthenticationError | E::ModelNotFoundError | E::DiskFullError
        )
    }
}

/// The row for an ending: an error's, or [`Outcome::Graded`].
#[must_use]
pub fn outcome_of(error: Option<ErrorType>) -> Outcome {
    error.map_or(Outcome::Graded, ErrorType::outcome)
}

/// What the ledger says of a trial whose last try ended so.
#[must_use]
pub fn ledger_status(error: Option<ErrorType>, has_reward: bool) -> LedgerStatus {
    match outcome_of(error) {
        Outcome::HostEnvironment | Outcome::Model | Outcome::Capture | Outcome::Cancelled => {
            LedgerStatus::Pending
        }
        _ if has_reward => LedgerStatus::Done,
        Outcome::Graded | Outcome::AgentLimit => LedgerStatus::Done,
        _ => LedgerStatus::Failed,
    }
}
