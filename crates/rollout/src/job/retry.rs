//! When a try is followed by another, and after how long.

use crate::trial::TryEnd;
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;

/// The job's rules for further tries.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Further tries after the first.
    pub max_retries: u32,
    /// The first wait.
    pub min_wait: Duration,
    /// How much longer each wait is than the one before.
    pub wait_multiplier: f64,
    /// The longest wait.
    pub max_wait: Duration,
    /// Only these errors are tried again; empty: all that can be.
    pub include: Vec<ErrorType>,
    /// These never are.
    pub exclude: Vec<ErrorType>,
}

impl RetryPolicy {
    /// How long to wait before another try, if there is to be one. `n_counted` is how many tries this run has made,
    /// this one included; `jitter` is between 0 and 1.
    #[must_use]
    pub fn wait(&self, end: &TryEnd, n_counted: u32, jitter: f64) -> Option<Duration> {
        let error = end.error.as_ref()?.kind;
        let listed = self.include.is_empty() || self.include.contains(&error);
        if end.rewards.is_some()
            || !error.is_retryable()
            || !listed
            || self.exclude.contains(&error)
            || n_counted > self.max_retries
        {
            return None;
        }
        let exponent = i32::try_from(n_counted.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = (self.min_wait.as_secs_f64() * self.wait_multiplier.powi(exponent))
            .min(self.max_wait.as_secs_f64());
        Some(crate::clock::seconds(full * (0.5 + 0.5 * jitter)))
    }
}
