//! The files a job's folder has before its first trial starts: `config.json`, `lock.json`, `config.yaml`, `plan.json`.

use super::plan::{Plan, PlanError, Planned};
use crate::clock;
use crate::trial;
use trajgen_contract::config::Config;
use trajgen_contract::files::{self, FileError};
use trajgen_contract::harbor::{
    self, DatasetConfig, EnvironmentConfig, HarborInfo, JobConfig, JobLock, RetryConfig, VerifierConfig,
};
use trajgen_contract::layout::JobDir;

/// Writes them. `snapshot` is the block's `config.yaml`, redacted; `tasks` is the folder of prepared tasks.
///
/// # Errors
/// When a file cannot be written, or a task cannot be read.
pub fn write_job_files(
    dir: &JobDir,
    plan: &Plan,
    planned: &[Planned],
    config: &Config,
    snapshot: &str,
    tasks: &std::path::Path,
) -> Result<(), PlanError> {
    std::fs::create_dir_all(dir.path()).map_err(FileError::at("create the folder", dir.path()))?;
    let job = &config.runtime_info.input.harbor_job;
    let retry = RetryConfig {
        max_retries: u64::from(job.max_retries),
        wait_multiplier: job.retry.wait_multiplier,
        min_wait_sec: job.retry.min_wait_sec,
        max_wait_sec: job.retry.max_wait_sec,
        ..RetryConfig::default()
    };
    let first = planned.first();
    let environment = match first.map(|p| p.spec.environment.kind.as_str()) {
        Some("docker") => EnvironmentConfig::docker(),
        _ => EnvironmentConfig::sandbox(),
    };
    let mut agents: Vec<harbor::AgentConfig> = Vec::new();
    for trial in planned {
        let agent = trial::agent_of(&trial.spec);
        if !agents.contains(&agent) {
            agents.push(agent);
        }
    }
    let job_config = JobConfig {
        job_name: dir.name(),
        jobs_dir: dir.path().parent().unwrap_or(dir.path()).to_string_lossy().into_owned(),
        n_attempts: u64::from(job.n_attempts),
        timeout_multiplier: job.timeout_multiplier,
        agent_timeout_multiplier: job.agent_timeout_multiplier,
        verifier_timeout_multiplier: job.verifier_timeout_multiplier,
        agent_setup_timeout_multiplier: job.agent_setup_timeout_multiplier,
        environment_build_timeout_multiplier: job.environment_build_timeout_multiplier,
        n_concurrent_trials: u64::from(job.n_concurrent),
        retry: retry.clone(),
        environment,
        verifier: VerifierConfig {
            override_timeout_sec: job.verifier_timeout_sec,
            ..VerifierConfig::default()
        },
        agents,
        datasets: vec![DatasetConfig {
            path: Some(tasks.to_string_lossy().into_owned()),
            ..DatasetConfig::default()
        }],
        ..JobConfig::default()
    };
    files::replace_json(&dir.config(), &job_config)?;
    let trials = planned
        .iter()
        .map(|p| {
            trial::lock_of(&p.spec).map_err(|e| PlanError::Input(format!("task {}: {e}", p.spec.task_id)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let lock = JobLock {
        schema_version: JobLock::SCHEMA_VERSION,
        created_at: clock::now(),
        harbor: HarborInfo::default(),
        n_concurrent_trials: u64::from(job.n_concurrent),
        retry,
        trials,
    };
    files::replace_json(&dir.lock(), &lock)?;
    files::replace(&dir.config_snapshot(), snapshot.as_bytes())?;
    plan.write(dir)?;
    Ok(())
}
