//! What a run on a paid model is likely to cost and last, told before it starts.

use super::setup::Work;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use trajgen_contract::config::{Config, UpstreamKind};
use trajgen_contract::layout::JobDir;
use trajgen_contract::result::{self, JobResult};

/// A guess from what earlier jobs on the same model took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// The model.
    pub model: String,
    /// Trials still to run.
    pub n_trials: usize,
    /// Trials of earlier jobs that the figures come from; with none there are no figures.
    pub from_trials: u64,
    /// Input and output tokens of all tries.
    pub tokens: Option<u64>,
    /// USD; none when no earlier call had a price.
    pub cost_usd: Option<f64>,
    /// Wall seconds at the pace of earlier jobs.
    pub seconds: Option<u64>,
    /// Whether the config limits what the job may use.
    pub limited: bool,
}

/// What earlier jobs took.
#[derive(Debug, Clone, Copy, Default)]
struct Earlier {
    trials: u64,
    tokens: u64,
    cost_usd: Option<f64>,
    seconds: f64,
}

impl Earlier {
    fn add(&mut self, job: &JobResult) {
        let stats = &job.stats;
        self.trials += stats.n_completed_trials;
        self.tokens += stats.n_input_tokens.unwrap_or(0) + stats.n_output_tokens.unwrap_or(0);
        if let Some(cost) = stats.cost_usd {
            self.cost_usd = Some(self.cost_usd.unwrap_or(0.0) + cost);
        }
        let at = |text: Option<&str>| text?.parse::<jiff::Timestamp>().ok();
        let end = job.finished_at.as_deref().or(job.updated_at.as_deref());
        if let (Some(start), Some(end)) = (at(Some(&job.started_at)), at(end)) {
            self.seconds += end.duration_since(start).as_secs_f64().max(0.0);
        }
    }

    fn forecast(self, model: &str, n_trials: usize, limited: bool) -> Forecast {
        let share = if self.trials == 0 { 0.0 } else { n_trials as f64 / self.trials as f64 };
        let known = self.trials > 0;
        Forecast {
            model: model.to_owned(),
            n_trials,
            from_trials: self.trials,
            tokens: known.then(|| whole(self.tokens as f64 * share)),
            cost_usd: self.cost_usd.filter(|_| known).map(|cost| cost * share),
            seconds: known.then(|| whole(self.seconds * share)),
            limited,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
fn whole(value: f64) -> u64 {
    value.round().clamp(0.0, 1e15) as u64
}

/// The forecast for `work`; none when its model costs nothing.
pub fn forecast(work: &Work, config: &Config) -> Option<Forecast> {
    let input = &config.runtime_info.input;
    let model = work.model()?;
    let paid = input
        .llm_api
        .iter()
        .any(|api| api.model_name() == model && matches!(api.upstream(), UpstreamKind::Http(_)));
    if !paid {
        return None;
    }
    let limits = &input.harbor_job.limits;
    let limited = limits.max_usd.is_some() || limits.max_tokens.is_some() || limits.max_calls.is_some();
    let jobs_dir = work.dir.path().parent()?;
    Some(earlier(jobs_dir, model).forecast(model, work.n_open(), limited))
}

/// Jobs of which every trial ran on `model`.
fn earlier(jobs_dir: &Path, model: &str) -> Earlier {
    let mut earlier = Earlier::default();
    let named = format!("__{model}__");
    for entry in std::fs::read_dir(jobs_dir).into_iter().flatten().flatten() {
        // What cannot be read tells nothing.
        let Ok(job) = result::read_job(&JobDir::new(entry.path()).result()) else { continue };
        let evals = &job.stats.evals;
        if !evals.is_empty() && evals.keys().all(|key| key.contains(&named)) {
            earlier.add(&job);
        }
    }
    earlier
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(tokens), Some(seconds)) = (self.tokens, self.seconds) else {
            write!(f, "no earlier job on {} tells what {} trials cost", self.model, self.n_trials)?;
            return self.write_limits(f);
        };
        write!(f, "likely: {tokens} tokens, ")?;
        match self.cost_usd {
            Some(cost) => write!(f, "{cost:.2} USD")?,
            None => f.write_str("cost unknown (llm_api has no prices)")?,
        }
        write!(
            f,
            ", {} min for {} trials, going by {} earlier trials on {}",
            seconds.div_ceil(60),
            self.n_trials,
            self.from_trials,
            self.model
        )?;
        self.write_limits(f)
    }
}

impl Forecast {
    fn write_limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.limited { Ok(()) } else { f.write_str("; harbor_job.limits would bound it") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trajgen_contract::result::JobStats;

    fn job(trials: u64, tokens: u64, cost_usd: Option<f64>, minutes: u32) -> JobResult {
        let stats = JobStats {
            n_completed_trials: trials,
            n_input_tokens: Some(tokens),
            cost_usd,
            ..JobStats::default()
        };
        JobResult {
            started_at: "2026-11-24T08:00:00Z".into(),
            finished_at: Some(format!("2026-11-24T08:{minutes:02}:00Z")),
            stats,
            ..JobResult::default()
        }
    }

    #[test]
    fn figures_of_earlier_jobs_are_scaled_to_what_is_to_run() {
        let mut earlier = Earlier::default();
        earlier.add(&job(10, 1000, Some(2.0), 10));
        earlier.add(&job(10, 3000, Some(1.0), 20));
        let forecast = earlier.forecast("m", 40, false);
        assert_eq!(
            forecast.to_string(),
            "likely: 8000 tokens, 6.00 USD, 60 min for 40 trials, going by 20 earlier trials on m; \
             harbor_job.limits would bound it"
        );
    }

    #[test]
    fn without_earlier_jobs_or_prices_it_says_so() {
        let none = Earlier::default().forecast("m", 3, true);
        assert_eq!(none.to_string(), "no earlier job on m tells what 3 trials cost");
        let mut earlier = Earlier::default();
        earlier.add(&job(1, 10, None, 1));
        assert!(earlier.forecast("m", 1, true).to_string().contains("cost unknown (llm_api has no prices)"));
    }
}
