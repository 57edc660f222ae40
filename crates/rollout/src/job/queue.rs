//! The dispatcher: it alone knows what waits, what runs and what is over, and decides what starts next.

use super::retry::RetryPolicy;
use super::stop::{Stop, StopLevel};
use crate::events::EventSink;
use crate::placement::Placement;
use crate::trial::{self, TrialSpec, TryEnd};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trajgen_contract::event::Event;
use trajgen_contract::outcome::outcome_of;

/// A trial that has not ended yet.
#[derive(Debug, Clone)]
pub struct Queued {
    /// What to run.
    pub spec: Arc<TrialSpec>,
    /// The number of its next try, from 1 (higher in a resumed job).
    pub next_try: u32,
    /// How many of its tries count against the retry limit.
    pub n_counted: u32,
}

/// Told by the queue what must be on disk before anything is paid for.
pub trait Book: Send {
    /// The trial is about to start for the first time in this run. An error stops the job.
    fn starting(&mut self, spec: &TrialSpec) -> Result<(), String>;
    /// The trial's last try has ended. An error stops the job.
    fn ended(&mut self, spec: &TrialSpec, end: &TryEnd) -> Result<(), String>;
}

/// How the queue runs.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Trials at a time.
    pub n_concurrent: usize,
    /// Further tries.
    pub retry: RetryPolicy,
}

/// Runs all of `waiting`, in order, until nothing is left or the job is stopped; gives back what never ended.
pub async fn run(
    waiting: Vec<Queued>,
    options: &QueueOptions,
    placement: Arc<dyn Placement>,
    book: &mut dyn Book,
    events: &EventSink,
    stop: &Stop,
) -> Vec<Queued> {
    let mut queue = Dispatcher {
        waiting: waiting.into(),
        retrying: Vec::new(),
        running: JoinSet::new(),
        handed_out: HashMap::new(),
        cancelled: CancellationToken::new(),
        options,
        placement,
        events,
        stop,
        told: StopLevel::Run,
    };
    let mut heard = stop.listen();
    loop {
        queue.tell_of_stop();
        if stop.level() >= StopLevel::Cancel {
            queue.cancelled.cancel();
        }
        if stop.level() == StopLevel::Abort {
            // Dropped, environments end; what their trials left is set aside when the job goes on.
            queue.running.shutdown().await;
        }
        if stop.level() == StopLevel::Run {
            queue.start_what_fits(book);
        }
        let stopping = stop.level() > StopLevel::Run;
        if queue.running.is_empty() && (stopping || (queue.waiting.is_empty() && queue.retrying.is_empty())) {
            break;
        }
        let wake = queue.next_retry().filter(|_| !stopping);
        tokio::select! {
            Some(joined) = queue.running.join_next_with_id() => queue.take_joined(joined, book),
            () = sleep_until(wake) => {}
            _ = heard.changed() => {}
        }
    }
    let dropped = queue.handed_out.into_values().map(|(_, queued)| queued);
    dropped.chain(queue.waiting).chain(queue.retrying.into_iter().map(|(_, q)| q)).collect()
}

struct Dispatcher<'a> {
    waiting: VecDeque<Queued>,
    retrying: Vec<(Instant, Queued)>,
    running: JoinSet<TryEnd>,
    /// What runs, and since when: a task that fails cannot say which trial was its.
    handed_out: HashMap<Id, (Instant, Queued)>,
    cancelled: CancellationToken,
    options: &'a QueueOptions,
    placement: Arc<dyn Placement>,
    events: &'a EventSink,
    stop: &'a Stop,
    /// The level that events tell of.
    told: StopLevel,
}

impl Dispatcher<'_> {
    fn start_what_fits(&mut self, book: &mut dyn Book) {
        while self.running.len() < self.options.n_concurrent {
            let Some(next) = self.take_next() else { return };
            if next.n_counted == 0
                && let Err(problem) = book.starting(&next.spec)
            {
                self.stop.ask(StopLevel::Cancel, problem);
                self.waiting.push_front(next);
                return;
            }
            self.start(next);
        }
    }

    /// A retry whose time has come, else the next that waits.
    fn take_next(&mut self) -> Option<Queued> {
        let now = Instant::now();
        match self.retrying.iter().position(|(at, _)| *at <= now) {
            Some(i) => Some(self.retrying.remove(i).1),
            None => self.waiting.pop_front(),
        }
    }

    fn next_retry(&self) -> Option<Instant> {
        if self.running.len() < self.options.n_concurrent {
            self.retrying.iter().map(|(at, _)| *at).min()
        } else {
            None
        }
    }

    fn start(&mut self, queued: Queued) {
        self.events.send(Event::TrialStarted {
            trial: queued.spec.trial.clone(),
            task_id: queued.spec.task_id.clone(),
            attempt: queued.spec.attempt,
            n_try: queued.next_try,
        });
        let placement = self.placement.clone();
        let cancelled = self.cancelled.child_token();
        let (spec, n_try) = (queued.spec.clone(), queued.next_try);
        let task = self.running.spawn(async move { placement.submit(&spec, n_try, cancelled).await });
        self.handed_out.insert(task.id(), (Instant::now(), queued));
    }

    fn take_joined(&mut self, joined: Result<(Id, TryEnd), JoinError>, book: &mut dyn Book) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((since, queued)) = self.handed_out.remove(&id) else { return };
        let end = match joined {
            Ok((_, end)) => end,
            Err(failure) => trial::record_lost(&queued.spec, &panic_message(failure), since.elapsed()),
        };
        self.take_end(queued, end, book);
    }

    fn take_end(&mut self, mut queued: Queued, end: TryEnd, book: &mut dyn Book) {
        queued.n_counted += 1;
        if let Some(error) = &end.error
            && error.kind.stops_job()
        {
            self.stop.ask(StopLevel::Drain, format!("{}: {}", error.kind, error.message));
        }
        let wait = self.options.retry.wait(&end, queued.n_counted, rand::random::<f64>());
        // Also when the job is stopping: the further try is then the first thing that a later run makes of it.
        if let (Some(wait), Some(error)) = (wait, &end.error) {
            match trial::set_aside(&queued.spec, queued.next_try) {
                Ok(()) => {
                    self.events.send(Event::TrialRetried {
                        trial: queued.spec.trial.clone(),
                        n_try: queued.next_try,
                        error: error.kind,
                        message: error.message.clone(),
                        wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    });
                    queued.next_try += 1;
                    self.retrying.push((Instant::now() + wait, queued));
                    return;
                }
                Err(problem) => self.stop.ask(StopLevel::Drain, problem.to_string()),
            }
        }
        // Written before it is told, so that whoever hears of it finds it on disk.
        if let Err(problem) = book.ended(&queued.spec, &end) {
            self.stop.ask(StopLevel::Cancel, problem);
        }
        self.events.send(ended(&queued.spec, &end));
    }

    /// Whoever asked (a signal, a limit, an error), those who listen are told once.
    fn tell_of_stop(&mut self) {
        let (level, reason) = (self.stop.level(), self.stop.reason());
        if level > self.told {
            self.told = level;
            self.events.send(Event::JobStopping { reason });
        }
    }
}

fn ended(spec: &TrialSpec, end: &TryEnd) -> Event {
    let error = end.error.as_ref();
    Event::TrialEnded {
        trial: spec.trial.clone(),
        task_id: spec.task_id.clone(),
        outcome: outcome_of(error.map(|e| e.kind)),
        error: error.map(|e| e.kind),
        message: error.map(|e| e.message.clone()),
        reward: end.reward(),
        n_input_tokens: end.usage.n_input_tokens,
        n_cache_tokens: end.usage.n_cache_tokens,
        n_output_tokens: end.usage.n_output_tokens,
        cost_usd: end.usage.cost_usd,
        duration_ms: end.duration_ms,
    }
}

/// What a task that failed had to say.
fn panic_message(failure: JoinError) -> String {
    let text = failure.to_string();
    let Ok(payload) = failure.try_into_panic() else { return text };
    let said = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    said.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or(text)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
