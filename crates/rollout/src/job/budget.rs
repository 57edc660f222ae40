//! What a job may spend, counted call by call while it runs.

use super::stop::{Stop, StopLevel};
use crate::trial::{SpendingLimits, Spent};
use std::sync::{Mutex, PoisonError};

/// How the reason of a stop begins that a limit has asked for.
const REASON: &str = "the job's limit";

/// Asks the job to stop when one of its limits is used up.
#[derive(Debug)]
pub struct Budget {
    limits: SpendingLimits,
    on_limit: StopLevel,
    stop: Stop,
    spent: Mutex<Spent>,
}

impl Budget {
    /// A budget of which `before` is spent already (by earlier runs of the job).
    #[must_use]
    pub fn new(limits: SpendingLimits, on_limit: StopLevel, stop: Stop, before: Spent) -> Self {
        let budget = Self { limits, on_limit, stop, spent: Mutex::new(Spent::default()) };
        budget.pay(&before);
        budget
    }

    /// Something was spent: a call, as soon as it is on record.
    pub fn pay(&self, spent: &Spent) {
        let mut sum = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = sum.plus(spent);
        if let Some(limit) = used_up(&self.limits, &sum) {
            self.stop.ask(self.on_limit, format!("{REASON} of {limit} is used up"));
        }
    }

    /// Whether a budget has stopped the job.
    #[must_use]
    pub fn has_stopped(stop: &Stop) -> bool {
        stop.reason().starts_with(REASON)
    }
}

fn used_up(limits: &SpendingLimits, spent: &Spent) -> Option<String> {
    let tokens = spent.n_input_tokens + spent.n_output_tokens;
    if let Some(max) = limits.max_usd.filter(|max| spent.cost_usd.unwrap_or(0.0) >= *max) {
        return Some(format!("{max} USD"));
    }
    if let Some(max) = limits.max_tokens.filter(|max| tokens >= *max) {
        return Some(format!("{max} tokens"));
    }
    limits.max_calls.filter(|max| spent.n_calls >= *max).map(|max| format!("{max} calls"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_runs_spent_counts() {
        let limits = SpendingLimits { max_calls: Some(3), ..SpendingLimits::default() };
        let call = Spent { n_calls: 1, ..Spent::default() };
        let stop = Stop::default();
        let budget = Budget::new(limits, StopLevel::Drain, stop.clone(), call);
        budget.pay(&call);
        assert_eq!(stop.level(), StopLevel::Run);
        budget.pay(&call);
        assert_eq!(stop.level(), StopLevel::Drain);
        assert_eq!(stop.reason(), "the job's limit of 3 calls is used up");
        assert!(Budget::has_stopped(&stop));

        let stop = Stop::default();
        let _spent = Budget::new(limits, StopLevel::Cancel, stop.clone(), Spent { n_calls: 5, ..call });
        assert_eq!(stop.level(), StopLevel::Cancel);
    }
}
