//! A whole job as it is written, against reviewed files that Harbor's own models load without loss
//! (`tests/harbor/load_models.py crates/contract/tests/golden/job`).
//!
//! To write them anew after a change: `TRAJGEN_BLESS=1 cargo test -p trajgen-contract --test harbor_files`.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trajgen_contract::harbor::{
    AgentConfig, DatasetConfig, EnvironmentConfig, HarborInfo, JobConfig, JobLock, RetryConfig, TaskConfig,
    TaskLock, TrialConfig, TrialLock, VerifierConfig, redact_env,
};
use trajgen_contract::outcome::Outcome;
use trajgen_contract::result::{
    AgentInfo, AgentResult, ExceptionInfo, JobMeta, ModelInfo, Rewards, StepResult, TaskId, TimingInfo,
    TrialMetadata, TrialResult, TrialSummary, Usage, VerifierResult, aggregate, read_job, read_trial,
};

const JOB_ID: &str = "0c6f2d0e-7f3e-4a53-8d0c-3f1a2b4c5d6e";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/job")
}

fn at(second: u32) -> Option<String> {
    Some(format!("2026-05-04T08:00:{second:02}.250000Z"))
}

fn phase(from: u32, to: u32) -> Option<TimingInfo> {
    Some(TimingInfo { started_at: at(from), finished_at: at(to) })
}

fn config(task: &str, trial: &str) -> TrialConfig {
    let env =
        BTreeMap::from([("API_KEY".into(), "sk-very-secret-value".into()), ("MODE".into(), "x".into())]);
    let mut environment = EnvironmentConfig::sandbox();
    environment.kwargs.insert("network".into(), "model-only".into());
    TrialConfig {
        task: TaskConfig::local(format!("artifacts/tasks/py-cc/{task}"), "py-cc"),
        trial_name: trial.into(),
        trials_dir: "artifacts/jobs/golden".into(),
        timeout_multiplier: 1.5,
        agent: AgentConfig {
            name: Some("terminus-2".into()),
            model_name: Some("openai/MiniMax-M2.7".into()),
            override_timeout_sec: Some(120.0),
            kwargs: serde_json::from_str(r#"{"temperature": 0.7, "max_turns": 80}"#).unwrap(),
            env: redact_env(&env),
            ..AgentConfig::default()
        },
        environment,
        verifier: VerifierConfig { max_timeout_sec: Some(900.0), ..VerifierConfig::default() },
        job_id: Some(JOB_ID.into()),
        ..TrialConfig::default()
    }
}

fn result(task: &str, trial: &str) -> TrialResult {
    TrialResult {
        id: format!("11111111-2222-4333-8444-{:012}", trial.len()),
        task_name: format!("golden/{task}"),
        trial_name: trial.into(),
        trial_uri: format!("file:///block/artifacts/jobs/golden/{trial}"),
        task_id: TaskId::Local { path: format!("artifacts/tasks/py-cc/{task}") },
        source: Some("py-cc".into()),
        task_checksum: "ab".repeat(32),
        config: config(task, trial),
        agent_info: AgentInfo {
            name: "terminus-2".into(),
            version: "0.1.0".into(),
            model_info: Some(ModelInfo::of("openai/MiniMax-M2.7")),
        },
        verifier_environment_mode: Some("shared".into()),
        started_at: at(1),
        ..TrialResult::default()
    }
}

fn rewards(of: &[(&str, f64)]) -> Option<VerifierResult> {
    let rewards: Rewards = of.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    Some(VerifierResult { rewards: Some(rewards) })
}

/// Graded, timed out with a reward, cancelled, several steps, still running.
fn trials() -> Vec<TrialResult> {
    let used = Usage {
        n_input_tokens: Some(1200),
        n_cache_tokens: Some(200),
        n_output_tokens: Some(340),
        cost_usd: Some(1e-5),
    };
    let metadata = TrialMetadata {
        outcome: Some(Outcome::Graded),
        exit_reason: Some("task_complete".into()),
        n_tries: Some(1),
        n_calls: Some(4),
        all_tries: Some(used),
        findings: vec![serde_json::json!({"kind": "leftover", "command": "sleep 1"})],
        ..TrialMetadata::default()
    };
    let graded = TrialResult {
        agent_result: Some(AgentResult::new(used, metadata)),
        verifier_result: rewards(&[("reward", 1.0)]),
        finished_at: at(9),
        environment_setup: phase(1, 2),
        agent_setup: phase(2, 3),
        agent_execution: phase(3, 8),
        verifier: phase(8, 9),
        ..result("add", "add__aaaaaaa")
    };
    let error = |kind: &str| {
        Some(ExceptionInfo {
            exception_type: kind.into(),
            exception_message: "the agent did not end within 120 s".into(),
            exception_traceback: "AgentTimeoutError: the agent did not end within 120 s\n".into(),
            occurred_at: "2026-05-04T08:00:08Z".into(),
        })
    };
    let timed_out = TrialResult {
        agent_result: Some(AgentResult::default()),
        verifier_result: rewards(&[("reward", 0.0)]),
        exception_info: error("AgentTimeoutError"),
        finished_at: at(10),
        ..result("add", "add__bbbbbbbb")
    };
    let cancelled = TrialResult {
        exception_info: error("CancelledError"),
        finished_at: at(11),
        ..result("sub", "sub__ccccccccc")
    };
    let step = StepResult {
        step_name: "first".into(),
        agent_result: Some(AgentResult { n_input_tokens: Some(5), ..AgentResult::default() }),
        verifier_result: rewards(&[("style", 0.1 + 0.2), ("reward", 1.0)]),
        exception_info: None,
        agent_execution: phase(3, 4),
        verifier: phase(4, 5),
    };
    let mut steps = TrialResult {
        verifier_result: rewards(&[("style", 0.1 + 0.2), ("reward", 1.0)]),
        verifier_environment_mode: None,
        finished_at: at(12),
        step_results: Some(vec![step]),
        ..result("steps", "steps__dddddddddd")
    };
    steps.agent_info = AgentInfo { name: "oracle".into(), version: "unknown".into(), model_info: None };
    let running = result("sub", "sub__eeeeeeeeeee");
    vec![graded, timed_out, cancelled, steps, running]
}

fn lock(trial: &TrialResult) -> TrialLock {
    let task = TaskLock {
        name: trial.config.task.task_id().unwrap().to_owned(),
        version: Some("1.0".into()),
        kind: "local".into(),
        digest: format!("sha256:{}", "cd".repeat(32)),
        source: Some("py-cc".into()),
        path: trial.config.task.path.clone(),
        git_url: None,
        git_commit_id: None,
    };
    TrialLock::new(&trial.config, task, trial.verifier_environment_mode.as_deref())
}

fn check(name: &str, value: &impl Serialize) {
    let path = golden().join(name);
    let written = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("TRAJGEN_BLESS").is_some() {
        trajgen_contract::files::replace(&path, written.as_bytes()).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, expected, "{} differs", path.display());
}

#[test]
fn a_job_is_written_as_harbor_reads_it() {
    let trials = trials();
    let summaries: Vec<_> = trials.iter().filter_map(TrialSummary::of).collect();
    let meta = JobMeta {
        id: JOB_ID.into(),
        started_at: "2026-05-04T08:00:00Z".into(),
        updated_at: "2026-05-04T08:00:12.500000Z".into(),
        finished_at: None,
        n_total_trials: 6,
        n_running_trials: 1,
        n_retries: 1,
    };
    let job = JobConfig {
        job_name: "golden".into(),
        jobs_dir: "artifacts/jobs".into(),
        n_attempts: 2,
        n_concurrent_trials: 8,
        retry: RetryConfig { max_retries: 2, wait_multiplier: 2.0, ..RetryConfig::default() },
        environment: EnvironmentConfig::sandbox(),
        agents: vec![trials[0].config.agent.clone()],
        datasets: vec![DatasetConfig {
            path: Some("artifacts/tasks/py-cc".into()),
            ..DatasetConfig::default()
        }],
        ..JobConfig::default()
    };
    check("result.json", &aggregate(&meta, &summaries));
    check("config.json", &job);
    check(
        "lock.json",
        &JobLock {
            schema_version: JobLock::SCHEMA_VERSION,
            created_at: "2026-05-04T08:00:00Z".into(),
            harbor: HarborInfo::default(),
            n_concurrent_trials: 8,
            retry: job.retry,
            trials: trials.iter().map(lock).collect(),
        },
    );
    for trial in &trials {
        let name = &trial.trial_name;
        check(&format!("{name}/result.json"), trial);
        check(&format!("{name}/config.json"), &trial.config);
        check(&format!("{name}/lock.json"), &lock(trial));
    }
}

#[test]
fn what_was_written_reads_back_equal() {
    for trial in trials() {
        let path = golden().join(&trial.trial_name).join("result.json");
        assert_eq!(read_trial(&path).unwrap(), trial);
        let text = std::fs::read_to_string(path.with_file_name("lock.json")).unwrap();
        assert_eq!(serde_json::from_str::<TrialLock>(&text).unwrap(), lock(&trial));
    }
    let job = read_job(&golden().join("result.json")).unwrap();
    assert_eq!(
        serde_json::to_string_pretty(&job).unwrap() + "\n",
        std::fs::read_to_string(golden().join("result.json")).unwrap()
    );
}

#[test]
fn older_and_foreign_spellings_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.json");
    std::fs::write(
        &path,
        r#"{"id": "x", "started_at": "2026-05-04T08:00:00", "n_total_trials": 2, "x_more": 1,
            "stats": {"n_trials": 2, "n_errors": 1, "evals": {"a__d": {"n_trials": 2, "n_errors": 0,
            "metrics": [{"mean": 1}], "pass_at_k": {"2": 1, "10": 0.5},
            "reward_stats": {"reward": {"1": ["t1"], "1.0": ["t2"], "0": []}}}}}}"#,
    )
    .unwrap();
    let job = read_job(&path).unwrap();
    assert_eq!((job.stats.n_completed_trials, job.stats.n_errored_trials), (2, 1));
    let eval = &job.stats.evals["a__d"];
    let values: Vec<f64> = eval.rewards("reward").map(|(value, _)| value).collect();
    assert_eq!(values, [1.0, 1.0, 0.0]);
    assert_eq!(eval.pass_at_k[&10], 0.5);
}

#[test]
fn a_file_that_is_no_result_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.json");
    std::fs::write(&path, r#"{"id": 3}"#).unwrap();
    let error = read_trial(&path).unwrap_err().to_string();
    assert!(error.contains("result.json") && error.contains("cannot understand"), "{error}");
}
