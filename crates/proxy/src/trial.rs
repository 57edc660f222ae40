//! A trial as the proxy knows it: where its calls go, what they used, what it may use.

use crate::capture::{Fault, LogFile};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trajgen_contract::outcome::ErrorType;
use trajgen_contract::record::Usage;

/// Whose calls a key makes, and where they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The job's name.
    pub job: String,
    /// The trial's name.
    pub trial: String,
    /// The task's id: the `session_id` of its records.
    pub task_id: String,
    /// The trial's `agent/litellm-trajectory.jsonl`.
    pub log_path: PathBuf,
    /// What the trial may use, all its calls together.
    pub limits: TrialLimits,
}

/// What a trial may use. A call that begins when a limit is reached is refused.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TrialLimits {
    /// USD; calls of unknown cost count nothing.
    pub max_usd: Option<f64>,
    /// Input and output tokens together.
    pub max_tokens: Option<u64>,
    /// Calls, failed ones included.
    pub max_calls: Option<u64>,
}

/// A trial's key. Its text is shown to nobody but the trial's agent.
#[derive(Clone, PartialEq, Eq)]
pub struct TrialKey {
    /// The key itself.
    pub key: String,
}

impl std::fmt::Debug for TrialKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrialKey")
    }
}

/// What a try of a trial used, from its records.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrialUsage {
    /// Calls recorded, failed ones included.
    pub n_calls: u64,
    /// Calls recorded as failed.
    pub n_failed_calls: u64,
    /// Input tokens, cached ones included.
    pub n_input_tokens: u64,
    /// Input tokens from the upstream's prompt cache.
    pub n_cached_tokens: u64,
    /// Output tokens.
    pub n_output_tokens: u64,
    /// USD; none when no call's cost is known.
    pub cost_usd: Option<f64>,
    /// The first call that could not be recorded, and why: the try ends as `CaptureError`.
    pub capture_error: Option<String>,
    /// Whether it could not because the disk is full: the try then ends as `DiskFullError`.
    pub is_disk_full: bool,
    /// Set when the call that ended last failed upstream: what a trial dies of that dies now.
    pub last_failure: Option<ModelFailure>,
    /// Set when a call was refused because of a limit: which one, for people. The try ends as
    /// `TrialLimitError`.
    pub limit_reached: Option<String>,
}

/// A failure of the model, as an ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFailure {
    /// Which ending.
    pub kind: ErrorType,
    /// What was said, without secrets.
    pub message: String,
}

/// A call was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Whose; none for a call under the master key that belongs to no trial.
    pub trial: Option<String>,
    /// Whether the answer arrived whole.
    pub success: bool,
    /// Input tokens.
    pub n_input_tokens: u64,
    /// Input tokens from the prompt cache.
    pub n_cached_tokens: u64,
    /// Output tokens.
    pub n_output_tokens: u64,
    /// USD, when known.
    pub cost_usd: Option<f64>,
}

/// One try of a trial, from its key's issue to its close.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) route: Route,
    /// Set when calls under way must end now.
    pub(crate) cancelled: CancellationToken,
    /// Its calls under way.
    pub(crate) calls: TaskTracker,
    pub(crate) log: Arc<LogFile>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    usage: TrialUsage,
    n_started: u64,
    is_closed: bool,
}

/// Why a call may not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The trial is over.
    Closed,
    /// One of its limits is reached: which, for people.
    Limit(String),
    /// An earlier call could not be recorded: nothing more is worth doing.
    Capture(String),
}

impl Trial {
    pub(crate) fn new(route: Route) -> Self {
        let log = Arc::new(LogFile::new(&route.log_path));
        Self {
            route,
            log,
            cancelled: CancellationToken::new(),
            calls: TaskTracker::new(),
            state: Mutex::new(State::default()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn usage(&self) -> TrialUsage {
        let mut usage = self.state().usage.clone();
        if usage.capture_error.is_none()
            && let Some(fault) = self.log.fault()
        {
            usage.is_disk_full = fault.is_disk_full;
            usage.capture_error = Some(fault.message);
        }
        usage
    }

    /// No more calls may begin.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.calls.close();
    }

    /// Asks leave for a call to begin.
    pub(crate) fn begin_call(&self) -> Result<(), Refusal> {
        let limits = self.route.limits;
        let mut state = self.state();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        if let Some(error) = &state.usage.capture_error {
            return Err(Refusal::Capture(error.clone()));
        }
        let tokens = state.usage.n_input_tokens.saturating_add(state.usage.n_output_tokens);
        let usd = state.usage.cost_usd.unwrap_or(0.0);
        let reached = if limits.max_calls.is_some_and(|most| state.n_started >= most) {
            Some(format!("max_calls: {} calls were made", state.n_started))
        } else if limits.max_tokens.is_some_and(|most| tokens >= most) {
            Some(format!("max_tokens: {tokens} tokens were used"))
        } else if limits.max_usd.is_some_and(|most| usd >= most) {
            Some(format!("max_usd: {usd:.4} USD were spent"))
        } else {
            None
        };
        if let Some(reached) = reached {
            state.usage.limit_reached.get_or_insert_with(|| reached.clone());
            return Err(Refusal::Limit(reached));
        }
        state.n_started += 1;
        Ok(())
    }

    /// A call is on record.
    pub(crate) fn count(&self, success: bool, usage: Option<&Usage>, failure: Option<ModelFailure>) {
        let mut state = self.state();
        let total = &mut state.usage;
        total.n_calls += 1;
        total.n_failed_calls += u64::from(!success);
        total.last_failure = failure;
        if let Some(usage) = usage {
            total.n_input_tokens = total.n_input_tokens.saturating_add(usage.prompt_tokens);
            total.n_cached_tokens = total.n_cached_tokens.saturating_add(usage.cached_tokens());
            total.n_output_tokens = total.n_output_tokens.saturating_add(usage.completion_tokens);
            if let Some(cost) = usage.cost {
                total.cost_usd = Some(total.cost_usd.unwrap_or(0.0) + cost);
            }
        }
    }

    /// A call could not be recorded.
    pub(crate) fn capture_failed(&self, fault: &Fault) {
        let usage = &mut self.state().usage;
        if usage.capture_error.is_none() {
            usage.is_disk_full = fault.is_disk_full;
            usage.capture_error = Some(fault.message.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(limits: TrialLimits) -> Trial {
        Trial::new(Route {
            job: "j".to_owned(),
            trial: "t__1".to_owned(),
            task_id: "t".to_owned(),
            log_path: PathBuf::from("log"),
            limits,
        })
    }

    fn used(prompt_tokens: u64, cost: Option<f64>) -> Usage {
        Usage { prompt_tokens, cost, ..Usage::default() }
    }

    #[test]
    fn each_limit_refuses_the_next_call_and_is_remembered() {
        let calls = trial(TrialLimits { max_calls: Some(1), ..TrialLimits::default() });
        calls.begin_call().unwrap();
        assert!(matches!(calls.begin_call(), Err(Refusal::Limit(_))));
        assert_eq!(calls.usage().limit_reached.as_deref(), Some("max_calls: 1 calls were made"));

        let tokens = trial(TrialLimits { max_tokens: Some(10), ..TrialLimits::default() });
        tokens.count(true, Some(&used(9, None)), None);
        tokens.begin_call().unwrap();
        tokens.count(true, Some(&used(1, None)), None);
        assert!(matches!(tokens.begin_call(), Err(Refusal::Limit(_))));

        let usd = trial(TrialLimits { max_usd: Some(0.5), ..TrialLimits::default() });
        usd.count(true, Some(&used(1, Some(0.5))), None);
        assert!(matches!(usd.begin_call(), Err(Refusal::Limit(_))));
    }

    #[test]
    fn a_closed_trial_and_one_with_a_hole_take_no_calls() {
        let closed = trial(TrialLimits::default());
        closed.close();
        assert_eq!(closed.begin_call(), Err(Refusal::Closed));
        let holed = trial(TrialLimits::default());
        holed.capture_failed(&Fault { message: "no space".to_owned(), is_disk_full: true });
        holed.capture_failed(&Fault { message: "later".to_owned(), is_disk_full: false });
        assert!(holed.usage().is_disk_full);
        assert_eq!(holed.begin_call(), Err(Refusal::Capture("no space".to_owned())));
    }

    #[test]
    fn a_success_clears_the_last_failure() {
        let trial = trial(TrialLimits::default());
        let failure = ModelFailure { kind: ErrorType::ModelUnavailableError, message: "503".to_owned() };
        trial.count(false, None, Some(failure.clone()));
        assert_eq!(trial.usage().last_failure, Some(failure));
        trial.count(true, None, None);
        let usage = trial.usage();
        assert_eq!((usage.n_calls, usage.n_failed_calls, usage.last_failure), (2, 1, None));
        assert_eq!(usage.cost_usd, None);
    }
}
