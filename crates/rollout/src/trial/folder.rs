//! A trial's folder: what is in it before, between and after tries.

use super::{Spent, TrialSpec};
use std::path::Path;
use trajgen_contract::files::{self, FileError};
use trajgen_contract::harbor::{self, AgentConfig, EnvironmentConfig, TaskConfig, TrialConfig};
use trajgen_contract::layout::TrialDir;
use trajgen_contract::result::{AgentInfo, ModelInfo, TaskId, TrialResult, Usage};

/// What stays at the top of the folder when a try is set aside.
const STAYS: [&str; 3] = ["config.json", "lock.json", "tries"];

/// Harbor's `TrialConfig` of a spec.
#[must_use]
pub(super) fn config_of(spec: &TrialSpec) -> TrialConfig {
    let timeouts = &spec.timeouts;
    let environment = match spec.environment.kind.as_str() {
        "docker" => EnvironmentConfig::docker(),
        _ => EnvironmentConfig::sandbox(),
    };
    TrialConfig {
        task: TaskConfig::local(spec.task_dir.to_string_lossy(), spec.dataset.clone()),
        trial_name: spec.trial.clone(),
        trials_dir: spec.trial_dir.parent().unwrap_or(Path::new(".")).to_string_lossy().into_owned(),
        timeout_multiplier: timeouts.multiplier,
        agent_timeout_multiplier: timeouts.agent_multiplier,
        verifier_timeout_multiplier: timeouts.verifier_multiplier,
        agent_setup_timeout_multiplier: timeouts.agent_setup_multiplier,
        environment_build_timeout_multiplier: timeouts.environment_multiplier,
        agent: agent_of(spec),
        environment: EnvironmentConfig {
            override_memory_mb: spec.environment.memory_mb,
            override_storage_mb: spec.environment.storage_mb,
            ..environment
        },
        verifier: harbor::VerifierConfig {
            override_timeout_sec: timeouts.verifier_sec,
            ..harbor::VerifierConfig::default()
        },
        job_id: Some(spec.job_id.clone()),
        ..TrialConfig::default()
    }
}

/// Harbor's `AgentConfig` of a spec.
#[must_use]
pub fn agent_of(spec: &TrialSpec) -> AgentConfig {
    AgentConfig {
        name: Some(spec.agent.name.clone()),
        model_name: spec.agent.model.clone(),
        override_timeout_sec: spec.timeouts.agent_sec,
        max_timeout_sec: spec.timeouts.max_agent_sec,
        kwargs: spec.agent.kwargs.clone(),
        env: harbor::redact_taken_env(&spec.agent.env, &spec.agent.env_taken),
        ..AgentConfig::default()
    }
}

/// A trial's result before anything is known of how it goes.
#[must_use]
pub(super) fn fresh_result(spec: &TrialSpec, task_name: &str, checksum: &str, version: &str) -> TrialResult {
    TrialResult {
        id: spec.trial_id.clone(),
        task_name: task_name.to_owned(),
        trial_name: spec.trial.clone(),
        trial_uri: format!("file://{}", spec.trial_dir.display()),
        task_id: TaskId::Local { path: spec.task_dir.to_string_lossy().into_owned() },
        source: Some(spec.dataset.clone()),
        task_checksum: checksum.to_owned(),
        config: config_of(spec),
        agent_info: AgentInfo {
            name: spec.agent.name.clone(),
            version: version.to_owned(),
            model_info: spec.agent.model.as_deref().map(ModelInfo::of),
        },
        ..TrialResult::default()
    }
}

/// Writes a result that says no more than that the trial is not over, so that no folder is ever without one.
///
/// # Errors
/// When the file cannot be written.
pub fn stand_in(spec: &TrialSpec) -> Result<(), FileError> {
    let trial = TrialDir::new(&spec.trial_dir);
    files::replace_json(&trial.result(), &fresh_result(spec, &spec.task_id, "", "unknown"))
}

/// Whether a try has left anything in the trial's folder: a trial that waits for its next try has only a stand-in.
#[must_use]
pub fn has_begun(spec: &TrialSpec) -> bool {
    let entries = std::fs::read_dir(&spec.trial_dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name())
        .any(|name| name != "result.json" && !STAYS.iter().any(|stays| name == *stays))
}

/// Moves what try number `n` left to `tries/<n>/`; nothing is ever deleted. A number that is taken (a run died
/// before it could count) gets a letter behind it.
///
/// # Errors
/// When a folder cannot be made or a file cannot be moved.
pub fn set_aside(spec: &TrialSpec, n: u32) -> Result<(), FileError> {
    let trial = TrialDir::new(&spec.trial_dir);
    let mut target = trial.tries().join(n.to_string());
    for letter in 'b'..='z' {
        if !target.exists() {
            break;
        }
        target = trial.tries().join(format!("{n}{letter}"));
    }
    std::fs::create_dir_all(&target).map_err(FileError::at("create the folder", &target))?;
    let entries = std::fs::read_dir(trial.path()).map_err(FileError::at("read the folder", trial.path()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !STAYS.iter().any(|stays| name == *stays) {
            std::fs::rename(entry.path(), target.join(&name))
                .map_err(FileError::at("set aside", &entry.path()))?;
        }
    }
    stand_in(spec)
}

/// What earlier tries used, from their trajectory logs.
#[must_use]
pub(super) fn spent_before(trial: &TrialDir) -> (u32, Spent) {
    let mut spent = Spent::default();
    let mut tries = 0;
    let Ok(entries) = std::fs::read_dir(trial.tries()) else { return (0, spent) };
    for entry in entries.flatten() {
        tries += 1;
        spent = spent.plus(&logged(&TrialDir::new(entry.path())));
    }
    (tries, spent)
}

/// What all tries of a trial used so far, from their trajectory logs.
#[must_use]
pub fn spent_on(trial: &TrialDir) -> Spent {
    spent_before(trial).1.plus(&logged(trial))
}

/// What one try used.
pub(super) fn logged(dir: &TrialDir) -> Spent {
    let mut spent = Spent::default();
    let Ok(file) = std::fs::File::open(dir.trajectory_log()) else { return spent };
    for line in std::io::BufRead::split(std::io::BufReader::new(file), b'\n').map_while(Result::ok) {
        if let Ok(record) = serde_json::from_slice::<UsageOnly>(&line) {
            spent = spent.plus(&record.spent());
        }
    }
    spent
}

/// The part of a trajectory line that says what it used.
#[derive(serde::Deserialize)]
struct UsageOnly {
    #[serde(default)]
    usage: Option<serde_json::Value>,
}

impl UsageOnly {
    fn spent(&self) -> Spent {
        let at = |pointer: &str| self.usage.as_ref().and_then(|u| u.pointer(pointer));
        let count = |pointer: &str| at(pointer).and_then(serde_json::Value::as_u64).unwrap_or(0);
        Spent {
            n_calls: 1,
            n_input_tokens: count("/prompt_tokens"),
            n_cache_tokens: count("/prompt_tokens_details/cached_tokens"),
            n_output_tokens: count("/completion_tokens"),
            cost_usd: at("/cost").and_then(serde_json::Value::as_f64),
        }
    }
}

impl Spent {
    /// As results say it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            n_input_tokens: Some(self.n_input_tokens),
            n_cache_tokens: Some(self.n_cache_tokens),
            n_output_tokens: Some(self.n_output_tokens),
            cost_usd: self.cost_usd,
        }
    }
    /// The sum; a cost known on one side only counts as it is.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            n_calls: self.n_calls + other.n_calls,
            n_input_tokens: self.n_input_tokens + other.n_input_tokens,
            n_cache_tokens: self.n_cache_tokens + other.n_cache_tokens,
            n_output_tokens: self.n_output_tokens + other.n_output_tokens,
            cost_usd: match (self.cost_usd, other.cost_usd) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            },
        }
    }
}
