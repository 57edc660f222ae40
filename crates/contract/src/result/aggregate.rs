//! From trials to the job's figures.

use super::job::{AgentDatasetStats, JobResult, JobStats};
use super::python::python_float;
use super::trial::{Rewards, TrialResult, Usage};
use crate::outcome::ErrorType;
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};

/// What a job's result says beside its trials.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobMeta {
    /// A UUID.
    pub id: String,
    /// ISO 8601, UTC: see [`timestamp`](super::timestamp).
    pub started_at: String,
    /// ISO 8601, UTC: now.
    pub updated_at: String,
    /// None while the job runs.
    pub finished_at: Option<String>,
    /// Trials of the job, run or not.
    pub n_total_trials: u64,
    /// Trials that run now.
    pub n_running_trials: u64,
    /// Tries beyond the first ones.
    pub n_retries: u64,
}

/// What the job's figures need of a trial that ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrialSummary {
    /// The trial.
    pub trial_name: String,
    /// What its attempts are grouped by.
    pub task_name: String,
    /// The agent.
    pub agent: String,
    /// The model without its provider.
    pub model: Option<String>,
    /// The data set; none means `adhoc`.
    pub dataset: Option<String>,
    /// What the verifier gave.
    pub rewards: Option<Rewards>,
    /// What the last try ended in.
    pub exception_type: Option<String>,
    /// Tokens and cost of all tries.
    pub usage: Usage,
}

impl TrialSummary {
    /// The summary of a trial that ended; none while it runs.
    #[must_use]
    pub fn of(result: &TrialResult) -> Option<Self> {
        result.finished_at.as_ref()?;
        let metadata = result.agent_result.as_ref().and_then(|agent| agent.metadata.as_ref());
        Some(Self {
            trial_name: result.trial_name.clone(),
            task_name: result.task_name.clone(),
            agent: result.agent_info.name.clone(),
            model: result.agent_info.model_info.as_ref().map(|model| model.name.clone()),
            dataset: result.source.clone(),
            rewards: result.rewards().cloned(),
            exception_type: result.exception_info.as_ref().map(|e| e.exception_type.clone()),
            usage: metadata.and_then(|m| m.all_tries).unwrap_or_else(|| result.usage()),
        })
    }
}

/// The key of `evals`: `<agent>__<model>__<dataset>`, the model left out when there is none.
#[must_use]
pub fn evals_key(agent: &str, model: Option<&str>, dataset: Option<&str>) -> String {
    let dataset = dataset.filter(|name| !name.is_empty()).unwrap_or("adhoc");
    match model.filter(|name| !name.is_empty()) {
        Some(model) => format!("{agent}__{model}__{dataset}"),
        None => format!("{agent}__{dataset}"),
    }
}

/// The job's result from its trials that ended, in the order given.
#[must_use]
pub fn aggregate(meta: &JobMeta, trials: &[TrialSummary]) -> JobResult {
    let mut groups: IndexMap<String, Vec<&TrialSummary>> = IndexMap::new();
    for trial in trials {
        let key = evals_key(&trial.agent, trial.model.as_deref(), trial.dataset.as_deref());
        groups.entry(key).or_default().push(trial);
    }
    let cancelled = ErrorType::CancelledError.to_string();
    let completed = trials.len() as u64;
    let errored = count(trials, |t| t.exception_type.is_some());
    let usage = trials.iter().fold(Usage::default(), |sum, trial| sum.plus(&trial.usage));
    JobResult {
        id: meta.id.clone(),
        started_at: meta.started_at.clone(),
        updated_at: Some(meta.updated_at.clone()),
        finished_at: meta.finished_at.clone(),
        n_total_trials: meta.n_total_trials,
        stats: JobStats {
            n_completed_trials: completed,
            n_errored_trials: errored,
            n_running_trials: meta.n_running_trials,
            n_pending_trials: meta.n_total_trials.saturating_sub(completed + meta.n_running_trials),
            n_cancelled_trials: count(trials, |t| t.exception_type.as_ref() == Some(&cancelled)),
            n_retries: meta.n_retries,
            evals: groups.into_iter().map(|(key, trials)| (key, eval_stats(&trials))).collect(),
            n_input_tokens: usage.n_input_tokens,
            n_cache_tokens: usage.n_cache_tokens,
            n_output_tokens: usage.n_output_tokens,
            cost_usd: usage.cost_usd,
            n_trials: completed,
            n_errors: errored,
        },
    }
}

fn count(trials: &[TrialSummary], is: impl Fn(&TrialSummary) -> bool) -> u64 {
    trials.iter().filter(|trial| is(trial)).count() as u64
}

fn eval_stats(trials: &[&TrialSummary]) -> AgentDatasetStats {
    let mut stats = AgentDatasetStats {
        metrics: vec![means(trials)],
        pass_at_k: pass_at_k(trials),
        ..AgentDatasetStats::default()
    };
    for trial in trials {
        if let Some(rewards) = &trial.rewards {
            stats.n_trials += 1;
            for (name, value) in rewards {
                // Adding 0 turns -0 into 0: one number, one key.
                let key = python_float(value + 0.0);
                let by_value = stats.reward_stats.entry(name.clone()).or_default();
                by_value.entry(key).or_default().push(trial.trial_name.clone());
            }
        }
        if let Some(error) = &trial.exception_type {
            stats.n_errors += 1;
            stats.exception_stats.entry(error.clone()).or_default().push(trial.trial_name.clone());
        }
    }
    stats
}

/// `{"mean": x}` when trials have one reward, whatever its name, else the mean of each by name. A
/// trial without reward counts 0.
fn means(trials: &[&TrialSummary]) -> IndexMap<String, f64> {
    let names: BTreeSet<&String> =
        trials.iter().filter_map(|t| t.rewards.as_ref()).flat_map(|r| r.keys()).collect();
    let mean = |of: &dyn Fn(&Rewards) -> Option<f64>| {
        let sum: f64 = trials.iter().map(|t| t.rewards.as_ref().and_then(of).unwrap_or(0.0)).sum();
        sum / trials.len() as f64
    };
    if names.len() <= 1 {
        return IndexMap::from([("mean".to_owned(), mean(&|rewards| rewards.values().next().copied()))]);
    }
    names.into_iter().map(|name| (name.clone(), mean(&|rewards| rewards.get(name).copied()))).collect()
}

/// Unbiased estimates by k, averaged over tasks; empty when a trial has several rewards or one that
/// is neither 0 nor 1, or when some task has fewer than two attempts.
fn pass_at_k(trials: &[&TrialSummary]) -> BTreeMap<u32, f64> {
    let mut tasks: IndexMap<&str, (u32, u32)> = IndexMap::new();
    for trial in trials {
        let passed = match &trial.rewards {
            None => false,
            Some(rewards) => match rewards.values().copied().collect::<Vec<f64>>().as_slice() {
                [reward] if *reward == 0.0 => false,
                [reward] if *reward == 1.0 => true,
                _ => return BTreeMap::new(),
            },
        };
        let (attempts, passes) = tasks.entry(&trial.task_name).or_default();
        *attempts += 1;
        *passes += u32::from(passed);
    }
    let fewest = tasks.values().map(|(attempts, _)| *attempts).min().unwrap_or(0);
    let estimate = |k: u32| {
        let sum: f64 = tasks.values().map(|(n, c)| chance_of_pass(*n, *c, k)).sum();
        sum / tasks.len() as f64
    };
    (2..=fewest).filter(|k| k.is_power_of_two() || k % 5 == 0).map(|k| (k, estimate(k))).collect()
}

/// 1 − C(n−c, k)/C(n, k), without the large numbers (Chen et al. 2021, "Evaluating Large Language
/// Models Trained on Code").
fn chance_of_pass(n: u32, c: u32, k: u32) -> f64 {
    if n - c < k {
        return 1.0;
    }
    1.0 - (0..k).map(|i| f64::from(n - c - i) / f64::from(n - i)).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(task: &str, n: u32, reward: Option<f64>) -> TrialSummary {
        TrialSummary {
            trial_name: format!("{task}__{n}"),
            task_name: task.into(),
            agent: "terminus-2".into(),
            model: Some("m".into()),
            dataset: Some("d".into()),
            rewards: reward.map(|r| Rewards::from([("reward".to_owned(), r)])),
            ..TrialSummary::default()
        }
    }

    fn stats(trials: &[TrialSummary]) -> AgentDatasetStats {
        let result = aggregate(&JobMeta::default(), trials);
        assert_eq!(result.stats.evals.len(), 1);
        result.stats.evals[0].clone()
    }

    #[test]
    fn keys_leave_out_a_missing_model_and_name_a_missing_data_set() {
        assert_eq!(evals_key("a", Some("m"), Some("d")), "a__m__d");
        assert_eq!(evals_key("nop", None, Some("d")), "nop__d");
        assert_eq!(evals_key("a", Some("m"), None), "a__m__adhoc");
    }

    #[test]
    fn a_trial_counts_by_reward_and_by_error_apart() {
        let mut timed_out = trial("b", 1, Some(1.0));
        timed_out.exception_type = Some("AgentTimeoutError".into());
        let mut cancelled = trial("c", 1, None);
        cancelled.exception_type = Some("CancelledError".into());
        cancelled.usage.n_input_tokens = Some(5);
        let mut first = trial("a", 1, Some(-0.0));
        first.usage = Usage { n_input_tokens: Some(7), cost_usd: Some(0.5), ..Usage::default() };
        let meta = JobMeta { n_total_trials: 6, n_running_trials: 1, n_retries: 2, ..JobMeta::default() };
        let result = aggregate(&meta, &[first, timed_out, cancelled]);

        let all = &result.stats;
        assert_eq!((all.n_completed_trials, all.n_errored_trials, all.n_cancelled_trials), (3, 2, 1));
        assert_eq!((all.n_running_trials, all.n_pending_trials, all.n_retries), (1, 2, 2));
        assert_eq!((all.n_trials, all.n_errors), (3, 2));
        assert_eq!((all.n_input_tokens, all.n_output_tokens, all.cost_usd), (Some(12), None, Some(0.5)));
        let one = &all.evals["terminus-2__m__d"];
        assert_eq!((one.n_trials, one.n_errors), (2, 2));
        assert_eq!(one.metrics[0]["mean"], 1.0 / 3.0);
        assert_eq!(one.reward_stats["reward"]["0.0"], ["a__1"]);
        assert_eq!(one.reward_stats["reward"]["1.0"], ["b__1"]);
        assert_eq!(one.exception_stats["AgentTimeoutError"], ["b__1"]);
        assert_eq!(one.exception_stats["CancelledError"], ["c__1"]);
    }

    #[test]
    fn several_rewards_have_a_mean_each_and_no_pass_at_k() {
        let mut both = trial("a", 1, None);
        both.rewards = Some(Rewards::from([("style".into(), 0.5), ("reward".into(), 1.0)]));
        let mut one = trial("a", 2, None);
        one.rewards = Some(Rewards::from([("reward".into(), 1.0)]));
        let stats = stats(&[both, one, trial("a", 3, None)]);
        let means: Vec<_> = stats.metrics[0].iter().map(|(k, v)| (k.as_str(), *v)).collect();
        assert_eq!(means, [("reward", 2.0 / 3.0), ("style", 0.5 / 3.0)]);
        assert!(stats.pass_at_k.is_empty());
    }

    #[test]
    fn a_single_reward_of_another_name_is_the_mean() {
        let mut only = trial("a", 1, None);
        only.rewards = Some(Rewards::from([("score".into(), 0.25)]));
        assert_eq!(stats(&[only]).metrics[0]["mean"], 0.25);
    }

    /// Against the estimator's definition with binomial coefficients, worked out by hand.
    #[test]
    fn pass_at_k_is_the_unbiased_estimate_averaged_over_tasks() {
        let mut trials = Vec::new();
        for n in 0..5 {
            trials.push(trial("a", n, Some(if n == 0 { 1.0 } else { 0.0 })));
            trials.push(trial("b", n, if n < 3 { Some(1.0) } else { None }));
        }
        trials.push(trial("b", 5, Some(0.0)));
        let stats = stats(&trials);
        assert_eq!(stats.pass_at_k.keys().copied().collect::<Vec<_>>(), [2, 4, 5]);
        let close = |k: u32, expected: f64| {
            let found = stats.pass_at_k[&k];
            assert!((found - expected).abs() < 1e-12, "k {k}: {found} is not {expected}");
        };
        close(2, (0.4 + (1.0 - 3.0 / 15.0)) / 2.0);
        close(4, (0.8 + 1.0) / 2.0);
        close(5, 1.0);
    }

    #[test]
    fn partial_rewards_and_single_attempts_have_no_pass_at_k() {
        assert!(stats(&[trial("a", 1, Some(0.5)), trial("a", 2, Some(1.0))]).pass_at_k.is_empty());
        assert!(stats(&[trial("a", 1, Some(1.0)), trial("b", 1, Some(1.0))]).pass_at_k.is_empty());
    }

    #[test]
    fn a_running_trial_has_no_summary_and_tries_count_together() {
        let mut result = TrialResult { trial_name: "t".into(), ..TrialResult::default() };
        assert_eq!(TrialSummary::of(&result), None);
        result.finished_at = Some("2026-05-04T08:00:00Z".into());
        let all = Usage { n_output_tokens: Some(30), ..Usage::default() };
        let metadata = super::super::TrialMetadata { all_tries: Some(all), ..Default::default() };
        let last = Usage { n_output_tokens: Some(10), ..Usage::default() };
        result.agent_result = Some(super::super::AgentResult::new(last, metadata));
        assert_eq!(TrialSummary::of(&result).unwrap().usage, all);
        assert_eq!(result.usage(), last);
    }
}
