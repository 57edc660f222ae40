//! The job's figures as they stand, and the listener that keeps `result.json`, `events.jsonl` and `job.log` current.

use super::plan::{Plan, PlanError};
use super::stop::{Stop, StopLevel};
use crate::events::EventStream;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};
use trajgen_contract::event::{Event, EventLine};
use trajgen_contract::files::{self, FileError, LineLog};
use trajgen_contract::layout::JobDir;
use trajgen_contract::outcome::ErrorType;
use trajgen_contract::result::{self, JobMeta, JobResult, TrialSummary};

/// How often `result.json` is written while the job runs, at most.
const REFRESH: Duration = Duration::from_secs(1);

/// The job's figures as they stand.
#[derive(Debug)]
pub struct Board {
    dir: JobDir,
    meta: JobMeta,
    ended: Vec<TrialSummary>,
    running: BTreeSet<String>,
}

impl Board {
    /// The board of a plan's job, of which `ended` are over already.
    #[must_use]
    pub fn new(dir: JobDir, plan: &Plan, ended: Vec<TrialSummary>) -> Self {
        let meta = JobMeta {
            id: plan.job_id.clone(),
            started_at: plan.started_at.clone(),
            n_total_trials: plan.trials.len() as u64,
            n_retries: retries_of(&dir),
            ..JobMeta::default()
        };
        Self { dir, meta, ended, running: BTreeSet::new() }
    }

    /// The board of a job as its folder says, for one that nobody works on.
    ///
    /// # Errors
    /// When the job has no plan that can be read.
    pub fn at_rest(dir: JobDir) -> Result<Self, PlanError> {
        let plan = Plan::read(&dir)?;
        let results =
            plan.trials.iter().filter_map(|t| result::read_trial(&dir.trial(&t.trial).result()).ok());
        let ended = results.filter_map(|result| TrialSummary::of(&result)).collect();
        Ok(Self::new(dir, &plan, ended))
    }

    /// Writes `result.json` as it is when nothing runs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn settle(&self) -> Result<JobResult, FileError> {
        let unfinished = self.ended.len() as u64 != self.meta.n_total_trials
            || self.ended.iter().any(|t| t.exception_type.as_deref() == Some("CancelledError"));
        let result = self.result(crate::clock::now(), !unfinished);
        files::replace_json(&self.dir.result(), &result)?;
        Ok(result)
    }

    /// The job's folder.
    #[must_use]
    pub fn dir(&self) -> &JobDir {
        &self.dir
    }
    /// Trials of the job.
    #[must_use]
    pub fn n_total(&self) -> u64 {
        self.meta.n_total_trials
    }
    /// Trials that run now.
    #[must_use]
    pub fn n_running(&self) -> usize {
        self.running.len()
    }
    /// Trials that are over.
    #[must_use]
    pub fn ended(&self) -> &[TrialSummary] {
        &self.ended
    }
    /// Mean reward of the trials that are over, no reward counting 0.
    #[must_use]
    pub fn mean_reward(&self) -> Option<f64> {
        mean_reward(&self.ended)
    }
    /// The job's `result.json` at this moment.
    #[must_use]
    pub fn result(&self, now: String, finished: bool) -> JobResult {
        let meta = JobMeta {
            finished_at: finished.then(|| now.clone()),
            updated_at: now,
            n_running_trials: self.running.len() as u64,
            ..self.meta.clone()
        };
        result::aggregate(&meta, &self.ended)
    }

    fn take(&mut self, event: &Event) -> Result<(), FileError> {
        match event {
            Event::TrialStarted { trial, .. } => {
                self.ended.retain(|t| &t.trial_name != trial);
                self.running.insert(trial.clone());
            }
            Event::TrialRetried { trial, .. } => {
                self.meta.n_retries += 1;
                self.running.remove(trial);
            }
            Event::TrialEnded { trial, .. } => {
                self.running.remove(trial);
                let result = result::read_trial(&self.dir.trial(trial).result())?;
                self.ended.extend(TrialSummary::of(&result));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Further tries that were made in a job so far, as its `events.jsonl` says.
fn retries_of(dir: &JobDir) -> u64 {
    let Ok(file) = std::fs::File::open(dir.events()) else { return 0 };
    let lines = std::io::BufRead::split(std::io::BufReader::new(file), b'\n').map_while(Result::ok);
    let events = lines.filter_map(|line| serde_json::from_slice::<EventLine>(&line).ok());
    events.filter(|line| matches!(line.event, Event::TrialRetried { .. })).count() as u64
}

/// Mean reward over trials, no reward counting 0; none without trials.
#[must_use]
pub fn mean_reward(trials: &[TrialSummary]) -> Option<f64> {
    let reward = |t: &TrialSummary| {
        let rewards = t.rewards.as_ref()?;
        rewards.get("reward").or_else(|| rewards.values().next()).copied()
    };
    // The sum of nothing is -0.
    let sum = trials.iter().filter_map(reward).fold(0.0, |sum, reward| sum + reward);
    if trials.is_empty() { None } else { Some(sum / trials.len() as f64) }
}

/// Someone who is told what happens: a terminal, the block's status, …
pub trait Watcher: Send {
    /// Something happened.
    fn hear(&mut self, at: &str, event: &Event, board: &Board);
    /// About ten times a second, whether anything happened or not.
    fn tick(&mut self, _board: &Board) {}
}

/// Listens until the last sender is gone, keeping the job's files current; gives the final figures.
///
/// # Errors
/// When `events.jsonl` or `result.json` cannot be written. Then no further trials start, and everybody still hears
/// everything.
pub fn listen(
    stream: &EventStream,
    mut board: Board,
    mut watchers: Vec<Box<dyn Watcher>>,
    stop: &Stop,
) -> (JobResult, Option<FileError>) {
    let mut problem = None;
    let mut lines = keep(&mut problem, LineLog::open(&board.dir.events()));
    let log = board.dir.log();
    let mut log = std::fs::File::options().create(true).append(true).open(log).ok();
    let mut written: Option<Instant> = None;
    loop {
        match stream.recv_timeout(Duration::from_millis(100)) {
            Ok((at, event)) => {
                let line = EventLine { v: 1, at: at.clone(), event: event.clone() };
                if let (Some(lines), Ok(line)) = (lines.as_mut(), serde_json::to_vec(&line)) {
                    keep(&mut problem, lines.append(&line));
                }
                if let (Some(log), Some(text)) = (log.as_mut(), sentence(&event)) {
                    let _ = writeln!(log, "{at} {text}");
                }
                keep(&mut problem, board.take(&event));
                for watcher in &mut watchers {
                    watcher.hear(&at, &event, &board);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if written.is_none_or(|at| at.elapsed() >= REFRESH) {
            let result = board.result(crate::clock::now(), false);
            keep(&mut problem, files::replace_json(&board.dir.result(), &result));
            written = Some(Instant::now());
        }
        if let Some(problem) = &problem {
            let reason = match problem.is_disk_full() {
                true => format!("{}: {problem}", ErrorType::DiskFullError),
                false => problem.to_string(),
            };
            stop.ask(StopLevel::Drain, reason);
        }
        for watcher in &mut watchers {
            watcher.tick(&board);
        }
    }
    // Whoever was dropped in the middle runs no more.
    board.running.clear();
    let result = keep(&mut problem, board.settle());
    let result = result.unwrap_or_else(|| board.result(crate::clock::now(), false));
    if let Some(lines) = &lines {
        keep(&mut problem, lines.sync());
    }
    (result, problem)
}

/// Keeps the first problem and gives what there is.
fn keep<T>(problem: &mut Option<FileError>, outcome: Result<T, FileError>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(e) => {
            problem.get_or_insert(e);
            None
        }
    }
}

/// An event as a line of a log; none for those too small to tell.
#[must_use]
pub fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::JobStarted { job, n_trials, resumed } => {
            format!("job {job} {}: {n_trials} trials to run", if *resumed { "goes on" } else { "started" })
        }
        Event::TrialStarted { trial, n_try, .. } if *n_try == 1 => format!("{trial} started"),
        Event::TrialStarted { trial, n_try, .. } => format!("{trial} started, try {n_try}"),
        Event::TrialRetried { trial, n_try, error, message, wait_ms } => {
            format!(
                "{trial} try {n_try} ended in {error} ({message}); again in {:.1} s",
                *wait_ms as f64 / 1000.0
            )
        }
        Event::TrialEnded { trial, error, message, reward, duration_ms, .. } => {
            let reward = reward.map_or_else(|| "no reward".to_owned(), |r| format!("reward {r}"));
            let error = match (error, message) {
                (Some(error), Some(message)) => format!(", {error}: {message}"),
                (Some(error), None) => format!(", {error}"),
                _ => String::new(),
            };
            format!("{trial} ended after {:.1} s: {reward}{error}", *duration_ms as f64 / 1000.0)
        }
        Event::Warning { message } => format!("warning: {message}"),
        Event::JobStopping { reason } => format!("no further trials start: {reason}"),
        Event::JobEnded { n_done, n_errored, n_cancelled, mean_reward } => format!(
            "job ended: {n_done} trials over, {n_errored} errored, {n_cancelled} cancelled, mean reward {}",
            mean_reward.map_or_else(|| "-".into(), |m| format!("{m:.3}"))
        ),
        Event::PhaseStarted { .. } | Event::ModelCall { .. } => return None,
    })
}
