//! Which trials a job has, in which order, and what gives them their meaning.

use super::book::key_of;
use crate::environment::Network;
use crate::trial::{AgentSpec, EnvironmentFigures, SpendingLimits, Timeouts, TrialSpec};
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use trajgen_contract::config::{Config, Input, Integrity, NetworkPolicy};
use trajgen_contract::files::{self, FileError};
use trajgen_contract::harbor::redact_env;
use trajgen_contract::layout::JobDir;
use trajgen_contract::ledger::Ledger;
use trajgen_contract::outcome::LedgerStatus;
use trajgen_contract::result::{self, TrialResult};
use trajgen_contract::task::digest;

/// The version of `plan.json`.
const VERSION: u32 = 1;
/// No `0 O 1 I l`: names are read aloud and typed.
const SUFFIX_ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// A prepared task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDir {
    /// Its id: its folder's name.
    pub id: String,
    /// Its folder.
    pub path: PathBuf,
}

/// Which consumed tasks run again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rerun {
    /// None.
    #[default]
    No,
    /// All of them.
    All,
    /// Those that failed.
    Failed,
    /// These.
    Ids(Vec<String>),
}

/// A trial of a job.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What to run.
    pub spec: TrialSpec,
    /// Its result, when it is over already (in a resumed job).
    pub finished: Option<TrialResult>,
}

/// What a job will run, and what it leaves out.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Pairs of agent index and task, in order.
    pub pairs: Vec<(usize, TaskDir)>,
    /// Tasks left out because the ledger says so.
    pub consumed: usize,
    /// Tasks left out by globs and exclude lists.
    pub excluded: usize,
}

/// What can be wrong with a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Input that cannot be used.
    #[error("{0}")]
    Input(String),
}

/// `plan.json`: a job's trials, written before the first of them starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Format version.
    pub version: u32,
    /// The job's id.
    pub job_id: String,
    /// When the job was first started.
    pub started_at: String,
    /// What gives its trials their meaning; a resumed job must have the same.
    pub meaning: Value,
    /// Its tasks with their checksums; empty in plans of before there were any.
    #[serde(default)]
    pub tasks: BTreeMap<String, String>,
    /// Its trials, in order.
    pub trials: Vec<PlannedTrial>,
}

/// One line of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedTrial {
    /// The trial's name.
    pub trial: String,
    /// Its id.
    pub trial_id: String,
    /// Its task.
    pub task_id: String,
    /// Which of the task's attempts, from 1.
    pub attempt: u32,
    /// Index of its agent.
    pub agent: usize,
}

/// The agents of a config with their models.
///
/// # Errors
/// When an agent's deployments name no model, or more than one.
pub fn agents_of(input: &Input) -> Result<Vec<AgentSpec>, PlanError> {
    input
        .agent
        .iter()
        .map(|agent| {
            let mut spec = AgentSpec {
                name: agent.name.clone(),
                version: agent.version.clone(),
                model: None,
                max_input_tokens: None,
                max_output_tokens: None,
                kwargs: agent.kwargs.0.clone(),
                env: agent.env.0.clone(),
                env_taken: agent.env.taken().clone(),
            };
            if !agent.calls_model() {
                return Ok(spec);
            }
            let deployments = input.deployments(agent);
            let names: BTreeSet<&str> = deployments.iter().map(|d| d.model_name()).collect();
            match (deployments.first(), names.len()) {
                (Some(api), 1) => {
                    spec.model = Some(api.model_name().to_owned());
                    spec.max_input_tokens = api.max_input_tokens;
                    spec.max_output_tokens = api.max_output_tokens;
                }
                (None, _) => {
                    let asked = agent.model_name.as_deref().unwrap_or("any model");
                    return Err(PlanError::Input(format!(
                        "agent '{}' asks for {asked}, which no entry of runtime_info.input.llm_api has",
                        agent.name
                    )));
                }
                _ => {
                    let names: Vec<&str> = names.into_iter().collect();
                    return Err(PlanError::Input(format!(
                        "runtime_info.input.llm_api names several models ({}); set agent.model_name to one of them",
                        names.join(", ")
                    )));
                }
            }
            for (name, value) in [
                ("max_turns", agent.max_turns.map(Value::from)),
                ("temperature", agent.temperature.map(Value::from)),
                ("top_p", agent.top_p.map(Value::from)),
            ] {
                if let Some(value) = value {
                    spec.kwargs.entry(name).or_insert(value);
                }
            }
            Ok(spec)
        })
        .collect()
}

/// Which tasks run with which agents, in order: first those of the manifest (as `tasks` has them), minus what is
/// excluded, minus what the ledger calls consumed, then the first `n_tasks`.
///
/// # Errors
/// When a glob is malformed or a task asked for by name does not exist.
pub fn select(
    tasks: &[TaskDir],
    config: &Config,
    dataset: &str,
    agents: &[AgentSpec],
    ledger: &Ledger,
    rerun: &Rerun,
) -> Result<Selection, PlanError> {
    let job = &config.runtime_info.input.harbor_job;
    let include = globs(&job.include_tasks, "harbor_job.include_tasks")?;
    let mut excluded_globs = job.exclude_tasks.clone();
    excluded_globs.extend(config.excluded_by_environment());
    let exclude = globs(&excluded_globs, "exclude_tasks and HARBOR_EXCLUDE_TASKS")?;
    if let Rerun::Ids(ids) = rerun
        && let Some(unknown) = ids.iter().find(|id| !tasks.iter().any(|t| &t.id == *id))
    {
        return Err(PlanError::Input(format!("--rerun {unknown}: there is no such task in '{dataset}'")));
    }
    if let Rerun::Ids(ids) = rerun {
        for id in ids {
            if let Some(pattern) = matching(&excluded_globs, id)? {
                let listed = job.exclude_tasks.contains(pattern);
                let whence = if listed { "harbor_job.exclude_tasks" } else { "HARBOR_EXCLUDE_TASKS" };
                return Err(PlanError::Input(format!(
                    "--rerun {id}: this task is excluded by '{pattern}' of {whence}; take that out to run it"
                )));
            }
            if !job.include_tasks.is_empty() && !include.is_match(id) {
                return Err(PlanError::Input(format!(
                    "--rerun {id}: no pattern of harbor_job.include_tasks takes this task in; add one to run it"
                )));
            }
        }
    }
    let mut selection = Selection::default();
    let mut taken = 0;
    for task in tasks {
        if exclude.is_match(&task.id) || !(job.include_tasks.is_empty() || include.is_match(&task.id)) {
            selection.excluded += 1;
            continue;
        }
        let open: Vec<usize> = (0..agents.len())
            .filter(|&i| agents.get(i).is_some_and(|agent| may_run(task, dataset, agent, ledger, rerun)))
            .collect();
        if open.is_empty() {
            selection.consumed += usize::from(!matches!(rerun, Rerun::Ids(ids) if !ids.contains(&task.id)));
            continue;
        }
        if job.n_tasks.is_some_and(|n| taken >= n) {
            break;
        }
        taken += 1;
        selection.pairs.extend(open.into_iter().map(|i| (i, task.clone())));
    }
    Ok(selection)
}

fn may_run(task: &TaskDir, dataset: &str, agent: &AgentSpec, ledger: &Ledger, rerun: &Rerun) -> bool {
    let key = trajgen_contract::ledger::Key {
        task_id: task.id.clone(),
        dataset: dataset.to_owned(),
        agent: agent.name.clone(),
        model: agent.model.clone(),
    };
    let status = ledger.find(&key).map(|e| e.status);
    match rerun {
        Rerun::Ids(ids) => ids.contains(&task.id),
        Rerun::All => status != Some(LedgerStatus::Skipped),
        Rerun::Failed => status == Some(LedgerStatus::Failed),
        Rerun::No => !status.is_some_and(LedgerStatus::is_final),
    }
}

/// The first of `patterns` that matches `id`.
fn matching<'a>(patterns: &'a [String], id: &str) -> Result<Option<&'a String>, PlanError> {
    for pattern in patterns {
        if globs(std::slice::from_ref(pattern), "exclude_tasks and HARBOR_EXCLUDE_TASKS")?.is_match(id) {
            return Ok(Some(pattern));
        }
    }
    Ok(None)
}

pub(super) fn globs(patterns: &[String], whence: &str) -> Result<GlobSet, PlanError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(|e| PlanError::Input(format!("{whence}: {e}")))?);
    }
    set.build().map_err(|e| PlanError::Input(format!("{whence}: {e}")))
}

/// A plan for a new job: first attempts of all tasks come before second ones.
///
/// # Errors
/// When a task cannot be read.
pub fn plan(selection: &Selection, n_attempts: u32, meaning: Value) -> Result<Plan, PlanError> {
    let tasks = selection.pairs.iter().map(|(_, task)| Ok((task.id.clone(), checksum(task)?)));
    let tasks = tasks.collect::<Result<_, PlanError>>()?;
    let mut trials = Vec::new();
    for attempt in 1..=n_attempts {
        for (agent, task) in &selection.pairs {
            trials.push(PlannedTrial {
                trial: trial_name(&task.id),
                trial_id: uuid::Uuid::new_v4().to_string(),
                task_id: task.id.clone(),
                attempt,
                agent: *agent,
            });
        }
    }
    Ok(Plan {
        version: VERSION,
        job_id: uuid::Uuid::new_v4().to_string(),
        started_at: crate::clock::now(),
        meaning,
        tasks,
        trials,
    })
}

fn checksum(task: &TaskDir) -> Result<String, PlanError> {
    digest::task_checksum(&task.path).map_err(|e| PlanError::Input(format!("task {}: {e}", task.id)))
}

/// Tasks of a plan whose content is no longer what it was when the job began.
///
/// # Errors
/// When a task cannot be read.
pub fn changed_tasks<'p>(plan: &'p Plan, tasks: &[TaskDir]) -> Result<Vec<&'p str>, PlanError> {
    let mut changed = Vec::new();
    for (id, was) in &plan.tasks {
        if let Some(task) = tasks.iter().find(|task| &task.id == id)
            && checksum(task)? != *was
        {
            changed.push(id.as_str());
        }
    }
    Ok(changed)
}

/// `<task id cut to 32 characters>__<7 random characters>`, trailing `_` and `-` of the id removed.
#[must_use]
pub fn trial_name(task_id: &str) -> String {
    let cut: String = task_id.chars().take(32).collect();
    let suffix: String = (0..7)
        .map(|_| {
            char::from(*SUFFIX_ALPHABET.get(rand::random_range(0..SUFFIX_ALPHABET.len())).unwrap_or(&b'x'))
        })
        .collect();
    format!("{}__{suffix}", cut.trim_end_matches(['_', '-']))
}

/// `<prefix or dataset-agent-version-model>-<YYYYmmddHHMMSS>`, `/` written as `-`; a name that is taken gets a
/// number.
#[must_use]
pub fn job_name(
    jobs_dir: &Path,
    prefix: Option<&str>,
    dataset: &str,
    agents: &[AgentSpec],
    version: &str,
) -> String {
    let first = prefix.map_or_else(
        || {
            let agent = agents.first();
            let parts = [
                Some(dataset),
                agent.map(|a| a.name.as_str()),
                Some(version),
                agent.and_then(|a| a.model.as_deref()),
            ];
            parts.into_iter().flatten().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-")
        },
        str::to_owned,
    );
    let name = format!("{}-{}", first.replace(['/', ' '], "-"), crate::clock::job_stamp());
    let mut free = name.clone();
    for n in 2.. {
        if !jobs_dir.join(&free).exists() {
            break;
        }
        free = format!("{name}-{n}");
    }
    free
}

/// What gives a job's trials their meaning: tasks, agents, models, sampling, limits of a trial.
#[must_use]
pub fn meaning_of(config: &Config, dataset: &str, agents: &[AgentSpec], environment_kind: &str) -> Value {
    let input = &config.runtime_info.input;
    let job = &input.harbor_job;
    let agents: Vec<Value> = agents
        .iter()
        .map(|a| {
            json!({
                "name": a.name,
                "version": a.version,
                "model": a.model,
                "max_input_tokens": a.max_input_tokens,
                "max_output_tokens": a.max_output_tokens,
                "kwargs": a.kwargs,
                // Keys are nobody's meaning.
                "env": redact_env(&a.env),
            })
        })
        .collect();
    json!({
        "dataset": dataset,
        "agent": agents,
        "n_attempts": job.n_attempts,
        "timeouts": timeouts_of(config),
        "trial_limits": limits_of(config),
        "stop_leftovers": job.stop_leftovers,
        "environment": figures_of(input, environment_kind),
    })
}

/// The differences between two meanings, one line each: `agent[0].model: was "a", is "b"`.
#[must_use]
pub fn differences(was: &Value, is: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", was, is, &mut lines);
    lines
}

fn compare(path: &str, was: &Value, is: &Value, lines: &mut Vec<String>) {
    match (was, is) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(
                    &below,
                    a.get(key).unwrap_or(&Value::Null),
                    b.get(key).unwrap_or(&Value::Null),
                    lines,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{i}]"), a, b, lines);
            }
        }
        _ if was == is => {}
        _ => lines.push(format!("{path}: was {was}, is {is}")),
    }
}

fn limits_of(config: &Config) -> SpendingLimits {
    let limits = &config.runtime_info.input.harbor_job.trial_limits;
    SpendingLimits { max_usd: limits.max_usd, max_tokens: limits.max_tokens, max_calls: limits.max_calls }
}

fn timeouts_of(config: &Config) -> Timeouts {
    let job = &config.runtime_info.input.harbor_job;
    Timeouts {
        multiplier: job.timeout_multiplier,
        agent_multiplier: job.agent_timeout_multiplier,
        verifier_multiplier: job.verifier_timeout_multiplier,
        agent_setup_multiplier: job.agent_setup_timeout_multiplier,
        environment_multiplier: job.environment_build_timeout_multiplier,
        agent_sec: job.agent_timeout_sec,
        verifier_sec: job.verifier_timeout_sec,
        max_agent_sec: job.max_agent_timeout_sec,
    }
}

fn figures_of(input: &Input, kind: &str) -> EnvironmentFigures {
    let figures = &input.environment;
    let network = |policy: NetworkPolicy| match policy {
        NetworkPolicy::ModelOnly => Network::ModelOnly,
        NetworkPolicy::None => Network::None,
        NetworkPolicy::Public => Network::Public,
    };
    EnvironmentFigures {
        kind: kind.to_owned(),
        network: network(figures.network),
        verifier_network: figures.verifier_network.map(network),
        cpus: figures.cpus,
        memory_mb: figures.memory_mb,
        storage_mb: figures.storage_mb,
        pids: figures.pids,
    }
}

/// The specs of a plan, in order, each with its result when it is over already.
///
/// # Errors
/// When the plan names an agent that the config does not have, or a task that is not there.
pub fn specs(
    plan: &Plan,
    dir: &JobDir,
    config: &Config,
    dataset: &str,
    agents: &[AgentSpec],
    tasks: &[TaskDir],
    kind: &str,
) -> Result<Vec<Planned>, PlanError> {
    let job = &config.runtime_info.input.harbor_job;
    let figures = figures_of(&config.runtime_info.input, kind);
    plan.trials
        .iter()
        .map(|trial| {
            let agent = agents.get(trial.agent).ok_or_else(|| {
                PlanError::Input(format!(
                    "job {}: its plan names agent {}, which config does not have",
                    dir.name(),
                    trial.agent
                ))
            })?;
            let task = tasks.iter().find(|t| t.id == trial.task_id).ok_or_else(|| {
                PlanError::Input(format!(
                    "job {}: task '{}' is no longer among the prepared tasks; restore it, or start a new job",
                    dir.name(),
                    trial.task_id
                ))
            })?;
            let folder = dir.trial(&trial.trial);
            let spec = TrialSpec {
                job: dir.name(),
                job_id: plan.job_id.clone(),
                trial: trial.trial.clone(),
                trial_id: trial.trial_id.clone(),
                trial_dir: folder.path().to_owned(),
                task_id: task.id.clone(),
                task_dir: task.path.clone(),
                dataset: dataset.to_owned(),
                attempt: trial.attempt,
                agent: agent.clone(),
                environment: figures.clone(),
                timeouts: timeouts_of(config),
                stop_leftovers: job.stop_leftovers,
                integrity: job.integrity != Integrity::Off,
                keep_environments: job.keep_environments,
                limits: limits_of(config),
            };
            let finished = result::read_trial(&folder.result()).ok().filter(TrialResult::is_finished);
            Ok(Planned { spec, finished })
        })
        .collect()
}

/// Unfinished trials of a job, started at `since`, that a resume leaves out, each with the reason: another job has
/// taken their task meanwhile, or somebody has marked it as skipped.
#[must_use]
pub fn left_out(planned: &[Planned], since: &str, ledger: &Ledger) -> Vec<(String, String)> {
    let reason = |p: &Planned| {
        let entry = ledger.find(&key_of(&p.spec))?;
        if entry.status == LedgerStatus::Skipped {
            return Some("its task is marked as skipped in the ledger".to_owned());
        }
        let other = entry.job.as_deref().filter(|job| *job != p.spec.job)?;
        // Times are all written alike, so that their texts compare as they do.
        let later = entry.submitted_at.as_deref().is_some_and(|at| at > since);
        later.then(|| format!("job {other} has taken its task meanwhile"))
    };
    let open = planned.iter().filter(|p| p.finished.is_none());
    open.filter_map(|p| Some((p.spec.trial.clone(), reason(p)?))).collect()
}

impl Plan {
    fn path(dir: &JobDir) -> PathBuf {
        dir.path().join("plan.json")
    }

    /// Writes `plan.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, dir: &JobDir) -> Result<(), FileError> {
        files::replace_json(&Self::path(dir), self)
    }

    /// Reads a job's `plan.json`.
    ///
    /// # Errors
    /// When there is none, or it is not one of this version.
    pub fn read(dir: &JobDir) -> Result<Self, PlanError> {
        let path = Self::path(dir);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(PlanError::Input(format!(
                    "job {} cannot be resumed: it has no plan.json (it was not started by trajgen, or is not there)",
                    dir.name()
                )));
            }
            Err(e) => return Err(FileError::at("read", &path)(e).into()),
        };
        let plan: Self = serde_json::from_slice(&bytes)
            .map_err(|e| PlanError::Input(format!("{}: {e}", path.display())))?;
        if plan.version > VERSION {
            return Err(PlanError::Input(format!(
                "{}: version {} is newer than the {VERSION} this trajgen reads",
                path.display(),
                plan.version
            )));
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_named_after_its_task() {
        let name = trial_name("owner__a-repository-with-a-long--name-123");
        let (task, suffix) = name.rsplit_once("__").unwrap();
        assert_eq!(task, "owner__a-repository-with-a-long");
        assert_eq!(suffix.len(), 7);
        assert!(!suffix.contains(['0', 'O', '1', 'I', 'l']));
    }

    #[test]
    fn differences_are_told_by_key() {
        let was = json!({"agent": [{"model": "a", "kwargs": {"max_turns": 5}}], "n_attempts": 1});
        let is = json!({"agent": [{"model": "b", "kwargs": {}}], "n_attempts": 1});
        assert_eq!(
            differences(&was, &is),
            ["agent[0].kwargs.max_turns: was 5, is null", "agent[0].model: was \"a\", is \"b\""]
        );
    }
}
