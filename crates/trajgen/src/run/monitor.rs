//! `monitor.md`: a run's report for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use trajgen_contract::archive::{Metadata, RunResults};
use trajgen_contract::layout::{Block, JobDir};
use trajgen_contract::outcome::{ErrorType, Outcome};
use trajgen_contract::result::{self, AgentResult, TrialMetadata, TrialResult};
use trajgen_rollout::job::Plan;

/// What a job's folder says.
#[derive(Debug, Default)]
pub struct JobFigures {
    /// Trials of the job, run or not.
    pub n_total: u64,
    /// Whether the job got as far as a plan, so that `--resume` can go on with it.
    pub has_plan: bool,
    trials: Vec<TrialResult>,
    trajectories: u64,
}

impl JobFigures {
    /// Reads a job's folder; what cannot be read is left out.
    pub fn read(dir: &JobDir) -> Self {
        let plan = Plan::read(dir).ok();
        let planned = plan.as_ref().map_or(0, |plan| plan.trials.len() as u64);
        let n_total = result::read_job(&dir.result()).map(|r| r.n_total_trials).unwrap_or(planned);
        let mut figures = Self { n_total, has_plan: plan.is_some(), ..Self::default() };
        let Ok(entries) = std::fs::read_dir(dir.path()) else { return figures };
        for entry in entries.flatten() {
            let trial = dir.trial(&entry.file_name().to_string_lossy());
            if let Ok(mut result) = result::read_trial(&trial.result()) {
                if result.finished_at.is_none() {
                    // It was paid for all the same, as its calls say.
                    let usage = trajgen_rollout::trial::spent_on(&trial).usage();
                    let metadata = TrialMetadata { all_tries: Some(usage), ..TrialMetadata::default() };
                    result.agent_result = Some(AgentResult::new(usage, metadata));
                }
                figures.trajectories += u64::from(trial.trajectory_log().exists());
                figures.trials.push(result);
            }
        }
        figures.trials.sort_by(|a, b| a.started_at.cmp(&b.started_at).then(a.trial_name.cmp(&b.trial_name)));
        figures
    }

    /// The figures of `metadata.yaml`.
    pub fn results(&self) -> RunResults {
        let ended: Vec<&TrialResult> = self.trials.iter().filter(|t| t.finished_at.is_some()).collect();
        // The sum of nothing is -0.
        let rewards = ended.iter().filter_map(|t| t.reward()).fold(0.0, |sum, reward| sum + reward);
        let mut results = RunResults {
            n_trials: ended.len() as u64,
            n_errors: ended.iter().filter(|t| t.exception_info.is_some()).count() as u64,
            mean_reward: if ended.is_empty() { None } else { Some(rewards / ended.len() as f64) },
            resolved: ended.iter().filter(|t| t.reward() == Some(1.0)).count() as u64,
            trajectories: self.trajectories,
            ..RunResults::default()
        };
        for trial in &self.trials {
            let usage = all_tries(trial);
            results.tokens += usage.n_input_tokens.unwrap_or(0) + usage.n_output_tokens.unwrap_or(0);
            if let Some(cost) = usage.cost_usd {
                results.cost_usd = Some(results.cost_usd.unwrap_or(0.0) + cost);
            }
        }
        results
    }
}

fn all_tries(trial: &TrialResult) -> result::Usage {
    let metadata = trial.agent_result.as_ref().and_then(|a| a.metadata.as_ref());
    metadata.and_then(|m| m.all_tries).unwrap_or_else(|| trial.usage())
}

/// The report.
pub fn report(block: &Block, run: &Metadata, job: Option<&JobFigures>, problem: Option<&str>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# {}: {}\n", run.id, run.status);
    let _ = writeln!(text, "- block: {} ({})", run.block, block.root().display());
    let _ = writeln!(text, "- started: {}", run.started_at);
    let _ = writeln!(text, "- ended: {}", run.completed_at.as_deref().unwrap_or("-"));
    let code = run.exit_code.map_or_else(|| "none: the process was gone".into(), |c| c.to_string());
    let _ = writeln!(text, "- exit code: {code}");
    let _ = writeln!(text, "- stage reached: {}", run.stage);
    let _ = writeln!(text, "- job: {}", run.job.as_deref().unwrap_or("none"));
    if let Some(problem) = problem {
        let _ = writeln!(text, "\n**What ended it:** {problem}");
    }
    let Some(job) = job else { return text };
    let r = &run.results;
    let mean = r.mean_reward.map_or_else(|| "-".into(), |m| format!("{m:.3}"));
    let cost = r.cost_usd.map_or_else(|| "unknown".into(), |c| format!("{c:.4} USD"));
    let _ = writeln!(text, "\n## Figures\n");
    let _ = writeln!(
        text,
        "| trials | of | resolved | errors | mean reward | tokens | cost | trajectories | SFT records |"
    );
    let _ = writeln!(text, "|---|---|---|---|---|---|---|---|---|");
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {mean} | {} | {cost} | {} | {} |",
        r.n_trials, job.n_total, r.resolved, r.n_errors, r.tokens, r.trajectories, r.sft_records
    );
    trials(&mut text, &job.trials);
    errors(&mut text, &job.trials);
    slowest(&mut text, &job.trials);
    next(&mut text, run, job);
    text
}

fn trials(text: &mut String, trials: &[TrialResult]) {
    let _ = writeln!(
        text,
        "\n## Trials\n\n| trial | reward | ended | seconds | tokens | tries |\n|---|---|---|---|---|---|"
    );
    for t in trials {
        let ended = match (&t.finished_at, &t.exception_info) {
            (None, _) => "not over",
            (Some(_), Some(e)) => &e.exception_type,
            (Some(_), None) => "graded",
        };
        let usage = all_tries(t);
        let tokens = usage.n_input_tokens.unwrap_or(0) + usage.n_output_tokens.unwrap_or(0);
        let tries =
            t.agent_result.as_ref().and_then(|a| a.metadata.as_ref()).and_then(|m| m.n_tries).unwrap_or(0);
        let reward = t.reward().map_or_else(|| "-".into(), |r| r.to_string());
        let _ = writeln!(
            text,
            "| {} | {reward} | {ended} | {} | {tokens} | {tries} |",
            t.trial_name,
            seconds(t).map_or_else(|| "-".into(), |s| format!("{s:.1}"))
        );
    }
}

fn errors(text: &mut String, trials: &[TrialResult]) {
    let mut by_type: BTreeMap<&str, Vec<&TrialResult>> = BTreeMap::new();
    for t in trials {
        if let Some(e) = &t.exception_info {
            by_type.entry(&e.exception_type).or_default().push(t);
        }
    }
    if by_type.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## Errors");
    for (kind, trials) in by_type {
        let _ = writeln!(text, "\n### {kind} ({})\n\n{}\n", trials.len(), advice(kind));
        for t in trials.iter().take(10) {
            let message = t.exception_info.as_ref().map_or("", |e| e.exception_message.as_str());
            let _ = writeln!(text, "- {}: {}", t.trial_name, message.replace('\n', " "));
        }
        if trials.len() > 10 {
            let _ = writeln!(text, "- … and {} more", trials.len() - 10);
        }
    }
}

fn slowest(text: &mut String, trials: &[TrialResult]) {
    let mut timed: Vec<(f64, &TrialResult)> = trials.iter().filter_map(|t| Some((seconds(t)?, t))).collect();
    timed.sort_by(|a, b| b.0.total_cmp(&a.0));
    if timed.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## Slowest trials\n");
    for (seconds, t) in timed.iter().take(5) {
        let _ = writeln!(text, "- {}: {seconds:.1} s", t.trial_name);
    }
}

fn next(text: &mut String, run: &Metadata, job: &JobFigures) {
    let _ = writeln!(text, "\n## What to look at next\n");
    let open = job.n_total.saturating_sub(run.results.n_trials)
        + job
            .trials
            .iter()
            .filter(|t| t.exception_info.as_ref().is_some_and(|e| e.exception_type == "CancelledError"))
            .count() as u64;
    let name = run.job.as_deref().unwrap_or_default();
    if open > 0 && job.has_plan {
        let _ =
            writeln!(text, "- {open} trials are not over: `trajgen run --resume {name}` goes on with them.");
    }
    if !job.has_plan {
        let _ = writeln!(
            text,
            "- No trial was started: when what ended the run is mended, `trajgen run` starts again."
        );
        return;
    }
    if run.results.n_errors > 0 {
        let _ = writeln!(
            text,
            "- Each errored trial's `exception.txt` and `trial.log` in its folder of the job."
        );
    }
    if run.results.mean_reward == Some(0.0) && run.results.n_trials > 0 {
        let _ = writeln!(
            text,
            "- No trial got a reward: `trajgen validate` shows whether the tasks can be solved."
        );
    }
    let _ = writeln!(
        text,
        "- A trial's conversation: `agent/trajectory.json` in its folder; what its tests printed: `verifier/test-stdout.txt`."
    );
}

/// What to do about an error type.
fn advice(kind: &str) -> &'static str {
    use ErrorType as E;
    let Ok(kind) = kind.parse::<ErrorType>() else { return "An error of another tool." };
    match kind {
        E::AgentTimeoutError => {
            "The agent's time was over; what it left was graded. Raise `agent_timeout_sec` if good work is cut."
        }
        E::TrialLimitError => "The trial used up its `trial_limits`; what it left was graded.",
        E::EnvironmentBuildError => {
            "The task's environment does not build; its `build.log` shows the step. The task needs mending."
        }
        E::OutOfMemoryError => {
            "The trial used up its memory; raise `environment.memory_mb` or the task's figure."
        }
        E::StorageLimitError => {
            "The trial used up its disk space; raise `environment.storage_mb` or the task's figure."
        }
        E::EnvironmentLostError => "The environment went away under the trial; look at the host.",
        E::DiskFullError => {
            "The host's disk was full; make room. `trajgen run --resume` goes on with the job, a later `trajgen run` takes this task again."
        }
        E::CaptureError => {
            "A model call could not be recorded, so the trial does not count; look at the disk. A later `trajgen run` takes its task again."
        }
        E::CancelledError => "The run was interrupted; resume it.",
        E::VerifierTimeoutError => {
            "The tests did not end in time; raise `verifier_timeout_sec` or mend the task."
        }
        E::AddTestsDirError => "The tests could not be brought into the environment.",
        other => match other.outcome() {
            Outcome::Model => {
                "The model did not answer; look at `llm_api` and the upstream. `trajgen run --resume` goes on with the job, a later `trajgen run` takes these tasks again."
            }
            Outcome::Verifier => {
                "The verifier gave no reward; its output is in `verifier/test-stdout.txt`. The task may need mending."
            }
            Outcome::AgentSetup => "The agent could not be set up in the environment.",
            Outcome::AgentRefused => "The model refused the task.",
            Outcome::TaskEnvironment => "The task's environment did not start.",
            _ => "The agent ended in an error; see `trial.log`.",
        },
    }
}

fn seconds(trial: &TrialResult) -> Option<f64> {
    let at = |text: &Option<String>| text.as_deref()?.parse::<jiff::Timestamp>().ok();
    let (start, end) = (at(&trial.started_at)?, at(&trial.finished_at)?);
    Some(end.as_millisecond().saturating_sub(start.as_millisecond()) as f64 / 1000.0)
}
