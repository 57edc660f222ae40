//! What people see while trials run: bars on a terminal, plain timestamped lines otherwise.

use super::session::RunLog;
use crate::terminal;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trajgen_contract::config::{self, Status};
use trajgen_contract::event::Event;
use trajgen_rollout::clock;
use trajgen_rollout::job::{Board, Watcher, sentence};

/// Writes every sentence to the run's log.
pub struct LogWatcher(pub RunLog);

impl Watcher for LogWatcher {
    fn hear(&mut self, _at: &str, event: &Event, _board: &Board) {
        if let Some(text) = sentence(event) {
            self.0.say(text);
        }
    }
}

/// Prints plain lines, for logs and pipes.
pub struct PlainLines;

impl Watcher for PlainLines {
    fn hear(&mut self, at: &str, event: &Event, board: &Board) {
        let Some(text) = sentence(event) else { return };
        let clock = at.get(11..19).unwrap_or(at);
        match event {
            Event::TrialEnded { .. } => {
                terminal::note(format_args!("{clock} [{}/{}] {text}", board.ended().len(), board.n_total()));
            }
            _ => terminal::note(format_args!("{clock} {text}")),
        }
    }
}

/// A bar with the job's figures, and lines above it for what ended.
pub struct Bar {
    bar: ProgressBar,
    began: Instant,
    ended_before: usize,
    tokens: u64,
    cost: Option<f64>,
}

impl Bar {
    /// A bar over a job of which `ended_before` trials are over already.
    pub fn new(n_total: u64, ended_before: usize) -> Self {
        let bar = ProgressBar::new(n_total);
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len}  {msg}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, began: Instant::now(), ended_before, tokens: 0, cost: None }
    }

    fn draw(&self, board: &Board) {
        let ended = board.ended();
        let failed = ended.iter().filter(|t| t.exception_type.is_some()).count();
        let mean = board.mean_reward().map_or_else(|| "-".into(), |m| format!("{m:.2}"));
        let cost = self.cost.map_or_else(String::new, |c| format!("  ${c:.2}"));
        let fresh = ended.len().saturating_sub(self.ended_before);
        let eta = if fresh == 0 {
            "-".into()
        } else {
            let left = board.n_total().saturating_sub(ended.len() as u64);
            let each = self.began.elapsed().as_secs_f64() / fresh as f64;
            format!("{:.0} s", each * left as f64)
        };
        self.bar.set_position(ended.len() as u64);
        self.bar.set_message(format!(
            "{} running  {failed} failed  mean reward {mean}  {} tokens{cost}  eta {eta}",
            board.n_running(),
            self.tokens
        ));
    }
}

impl Watcher for Bar {
    fn hear(&mut self, _at: &str, event: &Event, board: &Board) {
        match event {
            Event::ModelCall { n_input_tokens, n_output_tokens, cost_usd, .. } => {
                self.tokens += n_input_tokens + n_output_tokens;
                if let Some(cost) = cost_usd {
                    self.cost = Some(self.cost.unwrap_or(0.0) + cost);
                }
            }
            Event::TrialStarted { .. } | Event::JobStarted { .. } => {}
            Event::JobEnded { .. } => self.bar.finish_and_clear(),
            _ => {
                if let Some(text) = sentence(event) {
                    self.bar.println(text);
                }
            }
        }
        self.draw(board);
    }

    fn tick(&mut self, board: &Board) {
        self.draw(board);
    }
}

/// Keeps the status in `config.yaml` current, at most every few seconds.
pub struct StatusWatcher {
    path: PathBuf,
    status: Status,
    written: Instant,
}

impl StatusWatcher {
    /// How often the file is rewritten, at most.
    const EVERY: Duration = Duration::from_secs(5);

    /// Refreshes `status` in the config at `path`.
    pub fn new(path: PathBuf, status: Status) -> Self {
        Self { path, status, written: Instant::now() }
    }
}

impl Watcher for StatusWatcher {
    fn hear(&mut self, _at: &str, event: &Event, _board: &Board) {
        if let Event::TrialEnded { trial, error: Some(error), .. } = event {
            self.status.last_error = Some(format!("{trial}: {error}"));
        }
    }

    fn tick(&mut self, board: &Board) {
        if self.written.elapsed() < Self::EVERY {
            return;
        }
        self.written = Instant::now();
        self.status.n_tasks = Some(board.n_total());
        self.status.n_running = Some(board.n_running() as u64);
        self.status.n_done = Some(board.ended().len() as u64);
        self.status.n_errored =
            Some(board.ended().iter().filter(|t| t.exception_type.is_some()).count() as u64);
        self.status.mean_reward = board.mean_reward();
        self.status.updated_at = Some(clock::now());
        // A status that cannot be refreshed now is written at the end, or told then.
        let _ = config::rewrite_status(&self.path, &self.status);
    }
}
