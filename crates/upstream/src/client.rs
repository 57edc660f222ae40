//! One client for every upstream: tries, waits, limits.

use crate::call::{Answer, AnswerBody, Call, Event, EventKind, EventStream, Upstream, UpstreamInfo};
use crate::failure::{Failure, FailureKind};
use crate::limit::{Limiter, Permit};
use crate::script::ScriptError;
use async_trait::async_trait;
use futures::StreamExt;
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use trajgen_contract::record::{UpstreamTry, Usage};

/// The longest wait between two tries, unless the upstream asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// One try of a call: what differs between upstreams.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends the call once.
    ///
    /// # Errors
    /// Why there is no answer. For a streamed call, what fails later comes as the stream's last item.
    async fn attempt(&self, call: &Call) -> Result<AnswerBody, Failure>;

    /// See [`Upstream::begin_trial`].
    ///
    /// # Errors
    /// When there is nothing to answer the task with.
    fn begin_trial(&self, _task_id: &str, _trial: &str) -> Result<(), ScriptError> {
        Ok(())
    }

    /// See [`Upstream::end_trial`].
    fn end_trial(&self, _trial: &str) {}

    /// See [`Upstream::check`].
    ///
    /// # Errors
    /// Why it cannot be reached.
    async fn check(&self) -> Result<(), Failure>;
}

/// How often and how long a call is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Tries after the first one.
    pub max_retries: u32,
    /// The longest wait for a whole answer, for a stream's first event, and between two events.
    pub timeout: Duration,
    /// The wait before the second try; it doubles with each further one.
    pub first_wait: Duration,
}

/// A [`Transport`] with retries and limits around it.
pub struct Client<T> {
    transport: T,
    info: UpstreamInfo,
    patience: Patience,
    limiter: Arc<Limiter>,
}

impl<T: Transport> Client<T> {
    /// A client that sends through `transport`.
    #[must_use]
    pub fn new(transport: T, info: UpstreamInfo, patience: Patience, max_in_flight: Option<usize>) -> Self {
        Self { transport, info, patience, limiter: Limiter::new(max_in_flight) }
    }

    /// One try: an answer whose first event is there.
    async fn attempt(&self, call: &Call) -> Result<AnswerBody, Failure> {
        let permit = self.limiter.acquire().await;
        let timeout = self.patience.timeout;
        let first = async {
            match self.transport.attempt(call).await? {
                AnswerBody::Events(mut events) => loop {
                    match events.next().await {
                        // A sign of life is no answer yet: a failure after it can still be mended.
                        Some(Ok(event)) if matches!(event.kind, EventKind::Silent) => {}
                        Some(Ok(event)) => break Ok(AnswerBody::Events(resume(event, events, timeout))),
                        Some(Err(failure)) => break Err(failure),
                        None => {
                            let message = "the stream ended before its first event";
                            break Err(Failure::new(FailureKind::Dropped, message));
                        }
                    }
                },
                whole @ AnswerBody::Whole(..) => Ok(whole),
            }
        };
        let outcome = tokio::time::timeout(timeout, first).await.unwrap_or_else(|_| Err(timed_out(timeout)));
        match outcome {
            Ok(AnswerBody::Events(events)) => {
                permit.succeeded();
                Ok(AnswerBody::Events(hold(permit, events)))
            }
            Ok(whole) => {
                permit.succeeded();
                Ok(whole)
            }
            Err(failure) => {
                if failure.kind == FailureKind::Status(429) {
                    permit.too_much();
                }
                Err(failure)
            }
        }
    }

    /// How long to wait before the next try; none when it is not worth it.
    fn wait(&self, failure: &Failure, n_tries: u32) -> Option<Duration> {
        if !failure.is_retryable() || n_tries > self.patience.max_retries {
            return None;
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        match failure.retry_after {
            // Somebody who asks for more than a whole call may take is not going to answer this one.
            Some(asked) if asked > self.patience.timeout => None,
            Some(asked) => Some(asked + asked.mul_f64(0.1 * jitter)),
            None => {
                let doubled = self.patience.first_wait.saturating_mul(1u32 << (n_tries - 1).min(16));
                Some(doubled.min(LONGEST_WAIT).mul_f64(jitter))
            }
        }
    }
}

#[async_trait]
impl<T: Transport> Upstream for Client<T> {
    fn info(&self) -> &UpstreamInfo {
        &self.info
    }

    fn begin_trial(&self, task_id: &str, trial: &str) -> Result<(), ScriptError> {
        self.transport.begin_trial(task_id, trial)
    }

    fn end_trial(&self, trial: &str) {
        self.transport.end_trial(trial);
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        let mut tries = Vec::new();
        loop {
            let began = Instant::now();
            let mut failure = match self.attempt(&call).await {
                Ok(body) => return Ok(Answer { body, tries }),
                Err(failure) => failure,
            };
            let n_tries = u32::try_from(tries.len()).unwrap_or(u32::MAX).saturating_add(1);
            let Some(wait) = self.wait(&failure, n_tries) else {
                failure.tries = tries;
                return Err(failure);
            };
            tracing::debug!(model = %self.info.model, %failure, ?wait, "call is tried again");
            tries.push(UpstreamTry {
                deployment: format!("{}@{}", self.info.model, self.info.api_base),
                status_code: failure.status_code(),
                error_type: failure.error_type().to_owned(),
                duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                usage: failure
                    .usage
                    .take()
                    .map(|usage| Usage { cost: self.info.prices.cost(&usage).or(usage.cost), ..*usage }),
            });
            tokio::time::sleep(wait).await;
        }
    }

    async fn check(&self) -> Result<(), Failure> {
        self.transport.check().await
    }
}

fn timed_out(timeout: Duration) -> Failure {
    Failure::new(FailureKind::Timeout, format!("no answer from the model within {} s", timeout.as_secs_f64()))
}

/// Puts the first event back in front; from then on each further one has `timeout` to come.
fn resume(first: Event, rest: EventStream, timeout: Duration) -> EventStream {
    let rest = futures::stream::unfold(Some(rest), move |rest| async move {
        let mut rest = rest?;
        match tokio::time::timeout(timeout, rest.next()).await {
            Ok(Some(event)) => {
                let rest = event.is_ok().then_some(rest);
                Some((event, rest))
            }
            Ok(None) => None,
            Err(_) => Some((Err(timed_out(timeout)), None)),
        }
    });
    futures::stream::iter([Ok(first)]).chain(rest).boxed()
}

/// Keeps the call's place until its stream is over.
fn hold(permit: Permit, events: EventStream) -> EventStream {
    events
        .map(move |event| {
            let _held = &permit;
            event
        })
        .boxed()
}
