//! One call, from the agent's request to its record: in a task of its own, so that an agent that hangs up
//! does not take the record with it.

use crate::capture::{Capture, LogFile};
use crate::error::ApiError;
use crate::proxy::{OnDisconnect, RecordedHook};
use crate::record::{CallRecord, Fault};
use crate::redact::Redactor;
use crate::request::Prepared;
use crate::trial::{ModelFailure, Recorded, Trial};
use bytes::Bytes;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trajgen_contract::record::{Deployment, UpstreamTry, Usage, WireProtocol};
use trajgen_upstream::chat::{Accumulator, Completion};
use trajgen_upstream::{Answer, AnswerBody, Call, Event, EventKind, EventStream, Failure, Upstream};

/// How long a call goes on whose agent hung up.
const FINISH_WITHIN: Duration = Duration::from_secs(120);
/// How many events may wait for a slow agent.
const BACKLOG: usize = 64;

/// What every call needs.
pub(crate) struct Means {
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) capture: Arc<Capture>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) on_recorded: Option<RecordedHook>,
    /// Set when the proxy goes down and calls must end.
    pub(crate) cancelled: CancellationToken,
}

/// Whose call it is and where it is written.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) session_id: String,
    /// `<job>/<trial>`.
    pub(crate) route: Option<String>,
    pub(crate) log: Arc<LogFile>,
    pub(crate) trial: Option<Arc<Trial>>,
}

/// A call that may begin.
pub(crate) struct PreparedCall {
    pub(crate) prepared: Prepared,
    pub(crate) destination: Destination,
    pub(crate) protocol: WireProtocol,
    pub(crate) began: Instant,
}

/// What the agent gets.
pub(crate) enum Reply {
    /// A whole answer, and what the call cost with all its tries, USD.
    Whole(Bytes, Option<f64>),
    /// A stream, whose first event is there.
    Stream(mpsc::Receiver<Bytes>),
    /// No answer.
    Error(ApiError),
}

/// Why a call was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Disconnected,
    TrialOver,
}

/// What there is to record.
#[derive(Default)]
struct Outcome {
    completion: Option<Completion>,
    tries: Vec<UpstreamTry>,
    ttft_ms: Option<u64>,
    failure: Option<Failure>,
    stopped: Option<Stopped>,
}

/// Makes the call, answers through `reply`, records.
pub(crate) async fn drive(means: Arc<Means>, call: PreparedCall, mut reply: oneshot::Sender<Reply>) {
    let mut watch = Watch::new(&means, call.destination.trial.as_deref());
    let asked = Call {
        body: call.prepared.body.clone(),
        stream: call.prepared.stream,
        requested_model: call.prepared.requested_model.clone(),
        task_id: call.destination.trial.as_ref().map(|trial| trial.route.task_id.as_str().into()),
        trial: call.destination.trial.as_ref().map(|trial| trial.route.trial.as_str().into()),
    };
    match watch.during(reply.closed(), means.upstream.call(asked)).await {
        Err(stopped) => {
            let outcome = Outcome { stopped: Some(stopped), ..Outcome::default() };
            let _ = record(&means, &call, &watch, outcome).await;
            let _ = reply.send(Reply::Error(ApiError::unauthorized()));
        }
        Ok(Err(mut failure)) => {
            let error = ApiError::upstream(&failure, &means.redactor);
            let tries = std::mem::take(&mut failure.tries);
            let outcome = Outcome { failure: Some(failure), tries, ..Outcome::default() };
            let recorded = record(&means, &call, &watch, outcome).await;
            let error = recorded.err().map_or(error, |message| ApiError::capture(&message));
            let _ = reply.send(Reply::Error(error));
        }
        Ok(Ok(Answer { body: AnswerBody::Whole(bytes, completion), tries })) => {
            let outcome = Outcome { completion: Some(*completion), tries, ..Outcome::default() };
            let _ = reply.send(match record(&means, &call, &watch, outcome).await {
                Ok(cost) => Reply::Whole(bytes, cost),
                Err(message) => Reply::Error(ApiError::capture(&message)),
            });
        }
        Ok(Ok(Answer { body: AnswerBody::Events(events), tries })) => {
            let outcome = Outcome { tries, ttft_ms: Some(since(call.began)), ..Outcome::default() };
            let (sender, receiver) = mpsc::channel(BACKLOG);
            let _ = reply.send(Reply::Stream(receiver));
            pass_on(&means, &call, &mut watch, outcome, events, &sender).await;
        }
    }
}

/// Passes a stream on, holding its end back until the call is on record.
async fn pass_on(
    means: &Means,
    call: &PreparedCall,
    watch: &mut Watch<'_>,
    mut outcome: Outcome,
    mut events: EventStream,
    sender: &mpsc::Sender<Bytes>,
) {
    let mut gathered = Accumulator::default();
    let mut end = None;
    loop {
        let Event { raw, kind } = match watch.during(sender.closed(), events.next()).await {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(failure))) => {
                outcome.failure = Some(failure);
                break;
            }
            Ok(None) => break,
            Err(stopped) => {
                outcome.stopped = Some(stopped);
                break;
            }
        };
        let is_shown = match &kind {
            EventKind::Done => {
                end = Some(raw);
                break;
            }
            EventKind::Silent => true,
            EventKind::Chunk(chunk) => {
                gathered.add(chunk);
                !(call.prepared.hide_usage && chunk.choices.is_empty() && chunk.usage.is_some())
            }
        };
        if is_shown && !watch.is_disconnected {
            match watch.during(std::future::pending(), sender.send(raw)).await {
                Ok(Ok(())) => {}
                // The next look at the sender sees that the agent has hung up.
                Ok(Err(_)) => {}
                Err(stopped) => {
                    outcome.stopped = Some(stopped);
                    break;
                }
            }
        }
    }
    // Ends the upstream's part, also when it was given up.
    drop(events);
    outcome.completion = (!gathered.is_empty()).then(|| gathered.finish());
    let error = match (&outcome.failure, outcome.stopped) {
        (Some(failure), _) => Some(ApiError::upstream(failure, &means.redactor)),
        (None, Some(_)) => Some(ApiError::unauthorized()),
        (None, None) => None,
    };
    let recorded = record(means, call, watch, outcome).await;
    let error = recorded.err().map(|message| ApiError::capture(&message)).or(error);
    let last = match error {
        Some(error) => Some(Bytes::from(format!("data: {}\n\n", error.to_json(call.protocol)))),
        None => end,
    };
    if let Some(last) = last.filter(|_| !watch.is_disconnected) {
        let _ = watch.during(sender.closed(), sender.send(last)).await;
    }
}

/// Looks out, while something is awaited, for an agent that hangs up and a trial that ends.
struct Watch<'a> {
    on_disconnect: OnDisconnect,
    proxy: &'a CancellationToken,
    trial: Option<&'a CancellationToken>,
    is_disconnected: bool,
    /// When a call is given up whose agent hung up.
    deadline: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(means: &'a Means, trial: Option<&'a Trial>) -> Self {
        Self {
            on_disconnect: means.on_disconnect,
            proxy: &means.cancelled,
            trial: trial.map(|trial| &trial.cancelled),
            is_disconnected: false,
            deadline: None,
        }
    }

    /// Awaits `step`; `gone` says that the agent hung up.
    async fn during<T>(
        &mut self,
        gone: impl Future<Output = ()>,
        step: impl Future<Output = T>,
    ) -> Result<T, Stopped> {
        tokio::pin!(gone, step);
        let trial = self.trial;
        let trial_over = async {
            match trial {
                Some(trial) => trial.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(trial_over);
        loop {
            let deadline = self.deadline;
            let too_late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = &mut step => return Ok(done),
                () = self.proxy.cancelled() => return Err(Stopped::TrialOver),
                () = &mut trial_over => return Err(Stopped::TrialOver),
                () = &mut gone, if !self.is_disconnected => {
                    self.is_disconnected = true;
                    if self.on_disconnect == OnDisconnect::Cancel {
                        return Err(Stopped::Disconnected);
                    }
                    self.deadline = Some(Instant::now() + FINISH_WITHIN);
                }
                () = too_late => return Err(Stopped::Disconnected),
            }
        }
    }
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Writes the call's record and counts it. An error means there is none.
async fn record(
    means: &Means,
    call: &PreparedCall,
    watch: &Watch<'_>,
    outcome: Outcome,
) -> Result<Option<f64>, String> {
    let info = means.upstream.info();
    let usage = outcome
        .completion
        .as_ref()
        .and_then(Completion::token_usage)
        .or_else(|| outcome.failure.as_ref().and_then(|failure| failure.usage.as_deref().cloned()))
        .map(|usage| Usage { cost: info.prices.cost(&usage).or(usage.cost), ..usage });
    let fault = fault_of(&outcome, info.deployment());
    let failure = outcome.failure.as_ref().and_then(|failure| {
        let message = means.redactor.failure(&failure.message, crate::record::MAX_FAILURE);
        failure.ending().map(|kind| ModelFailure { kind, message })
    });
    let success = fault.is_none();
    let destination = &call.destination;
    let spent = spent(usage.as_ref(), &outcome.tries);
    let record = CallRecord {
        session_id: destination.session_id.clone(),
        ended: jiff::ZonedDateTime::now(),
        duration_ms: since(call.began),
        ttft_ms: outcome.ttft_ms,
        sent: call.prepared.body.clone(),
        requested_model: call.prepared.requested_model.clone(),
        completion: outcome.completion,
        usage,
        tries: outcome.tries,
        client_disconnected: watch.is_disconnected,
        notes: call.prepared.notes.clone(),
        failure: fault,
        route: destination.route.clone(),
        protocol: call.protocol,
    };
    let redactor = Arc::clone(&means.redactor);
    let written = means.capture.append(&destination.log, move || record.line(&redactor)).await;
    if let Err(fault) = &written {
        tracing::error!(route = ?destination.route, message = %fault.message, "a call could not be recorded");
        if let Some(trial) = &destination.trial {
            trial.capture_failed(fault);
        }
        return Err(fault.message.clone());
    }
    if let Some(trial) = &destination.trial {
        trial.count(success, spent.as_ref(), failure);
    }
    let cost = spent.as_ref().and_then(|usage| usage.cost);
    if let Some(hook) = &means.on_recorded {
        let usage = spent.unwrap_or_default();
        hook(Recorded {
            trial: destination.trial.as_ref().map(|trial| trial.route.trial.clone()),
            success,
            n_input_tokens: usage.prompt_tokens,
            n_cached_tokens: usage.cached_tokens(),
            n_output_tokens: usage.completion_tokens,
            cost_usd: usage.cost,
        });
    }
    Ok(cost)
}

/// What a call used, all its tries together.
fn spent(last: Option<&Usage>, tries: &[UpstreamTry]) -> Option<Usage> {
    let mut all = last.into_iter().chain(tries.iter().filter_map(|earlier| earlier.usage.as_ref()));
    let mut total = all.next()?.clone();
    for usage in all {
        let cached = total.cached_tokens().saturating_add(usage.cached_tokens());
        total.prompt_tokens = total.prompt_tokens.saturating_add(usage.prompt_tokens);
        total.completion_tokens = total.completion_tokens.saturating_add(usage.completion_tokens);
        total.total_tokens = total.total_tokens.saturating_add(usage.total_tokens);
        total.prompt_tokens_details.get_or_insert_default().insert("cached_tokens".into(), cached.into());
        if let Some(cost) = usage.cost {
            total.cost = Some(total.cost.unwrap_or(0.0) + cost);
        }
    }
    Some(total)
}

/// Why the call counts as failed, if it does.
fn fault_of(outcome: &Outcome, deployment: Deployment) -> Option<Fault> {
    let (error_type, status_code, message) = match (&outcome.failure, outcome.stopped) {
        (Some(failure), _) => (failure.error_type(), failure.status_code(), failure.message.clone()),
        (None, Some(Stopped::Disconnected)) => {
            ("ClientDisconnected", None, "the agent hung up before the answer was whole".to_owned())
        }
        (None, Some(Stopped::TrialOver)) => {
            ("TrialEnded", None, "the trial ended before the answer was whole".to_owned())
        }
        (None, None) => return None,
    };
    Some(Fault { error_type: error_type.to_owned(), status_code, message, deployment })
}
