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

/// A bar with the job's figures below it, and lines above it for what ended.
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
        // The figures have lines of their own: beside the bar, eighty columns would cut them.
        let template = "{elapsed_precise} {wide_bar} {pos}/{len}\n{prefix}\n{msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, began: Instant::now(), ended_before, tokens: 0, cost: None }
    }

    fn draw(&self, board: &Board) {
        let n_ended = board.ended().len();
        let fresh = n_ended.saturating_sub(self.ended_before);
        let left = board.n_total().saturating_sub(n_ended as u64);
        let eta = (fresh > 0).then(|| self.began.elapsed().mul_f64(left as f64 / fresh as f64));
        self.bar.set_position(n_ended as u64);
        let failed = board.ended().iter().filter(|t| t.exception_type.is_some()).count();
        self.bar.set_prefix(trials(board.n_running(), n_ended, failed, board.mean_reward()));
        self.bar.set_message(spent(self.tokens, self.cost, eta));
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
            Event::JobEnded { .. } => return self.bar.finish_and_clear(),
            _ => {
                if let Some(text) = sentence(event) {
                    self.bar.println(text);
                }
            }
        }
        self.draw(board);
    }

    fn tick(&mut self, board: &Board) {
        if !self.bar.is_finished() {
            self.draw(board);
        }
    }
}

/// How the trials stand; what is not known yet is a dash.
fn trials(running: usize, done: usize, failed: usize, mean_reward: Option<f64>) -> String {
    let mean = mean_reward.map_or_else(|| "-".into(), |m| format!("{m:.2}"));
    format!("{running} running, {done} done, {failed} failed, mean reward {mean}")
}

/// What they have used up, and how long the rest may take.
fn spent(tokens: u64, cost: Option<f64>, eta: Option<Duration>) -> String {
    let cost = cost.map_or_else(|| "-".into(), |c| format!("{c:.2} USD"));
    let eta = eta.map_or_else(|| "-".into(), span);
    format!("{} tokens, cost {cost}, ETA {eta}", short(tokens))
}

/// Three digits and a unit.
fn short(n: u64) -> String {
    let scaled = |unit: f64, name: &str| {
        let x = n as f64 / unit;
        if x < 10.0 { format!("{x:.1}{name}") } else { format!("{x:.0}{name}") }
    };
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => scaled(1e3, "k"),
        1_000_000..1_000_000_000 => scaled(1e6, "M"),
        _ => scaled(1e9, "G"),
    }
}

/// A time to wait, as people say it.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(trials(0, 0, 0, None), "0 running, 0 done, 0 failed, mean reward -");
        assert_eq!(trials(16, 431, 12, Some(0.4567)), "16 running, 431 done, 12 failed, mean reward 0.46");
        assert_eq!(spent(0, None, None), "0 tokens, cost -, ETA -");
        let eta = Some(Duration::from_secs(7_500));
        assert_eq!(spent(12_345_678, Some(123.456), eta), "12M tokens, cost 123.46 USD, ETA 2 h 05 min");
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [999, 1_000, 9_949, 12_345, 3_400_000, 7_000_000_000].map(short).into();
        assert_eq!(shown, ["999", "1.0k", "9.9k", "12k", "3.4M", "7.0G"]);
        assert_eq!([119, 125, 7_260].map(|s| span(Duration::from_secs(s))), ["119 s", "2 min", "2 h 01 min"]);
    }
}
