//! Which trials of a job are converted, and by what.

mod exclude;
mod scaffold;

use crate::dropped::Reason;
use crate::trial_files::TrialFiles;
use crate::{ConvertError, ConvertOptions, InstanceStatus, Scaffold, ScaffoldChoice};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};
use trajgen_contract::files::FileError;
use trajgen_contract::layout::JobDir;

/// A trial to convert.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Its folder.
    pub files: TrialFiles,
    /// The task's id: the last component of `task.path`.
    pub instance_id: String,
    /// The task's folder, when it can be found.
    pub task_dir: Option<PathBuf>,
    /// The model its config names.
    pub model: Option<String>,
    /// Whose converter reads it.
    pub scaffold: Scaffold,
}

/// What the selection came to.
#[derive(Debug)]
pub(crate) struct Selection {
    /// In the order of the job's `result.json`.
    pub(crate) trials: Vec<Trial>,
    /// Trials passed over, by reason.
    pub(crate) left_out: BTreeMap<Reason, usize>,
    /// The exclude list's text.
    pub(crate) excluded_text: String,
}

/// Selects trials by reward, repository and number.
pub(crate) fn select(options: &ConvertOptions) -> Result<Selection, ConvertError> {
    let job = JobDir::new(&options.job_dir);
    let real_job = job.path().canonicalize().map_err(FileError::at("open the job's folder", job.path()))?;
    let result_path = job.result();
    let bytes = std::fs::read(&result_path).map_err(FileError::at("read", &result_path))?;
    let result: Value = serde_json::from_slice(&bytes).map_err(|e| ConvertError::Malformed {
        path: result_path.clone(),
        problem: format!("no JSON: {e}"),
    })?;
    let excluded = exclude::Excluded::read(&options.exclude)?;
    let job_config = std::fs::read(job.config()).ok().and_then(|b| serde_json::from_slice(&b).ok());
    let scaffolds = JobScaffolds::find(options, &job, &result, job_config.as_ref())?;

    let mut left_out = BTreeMap::new();
    let mut leave_out = |reason: Reason, trial: &str, detail: &str| {
        *left_out.entry(reason).or_default() += 1;
        tracing::warn!(trial, reason = reason.as_str(), detail, "trial left out");
    };
    let mut trials = Vec::new();
    let mut seen = HashSet::new();
    for (name, reward) in rewards(options, &result_path, &result)? {
        if !seen.insert(name.clone()) {
            continue;
        }
        match wanted(options, reward) {
            Wanted::Yes => {}
            Wanted::No => continue,
            Wanted::Counted(reason) => {
                leave_out(reason, &name, "");
                continue;
            }
        }
        if options.max_instances.is_some_and(|most| trials.len() >= most) {
            break;
        }
        if !is_plain_name(&name) {
            leave_out(Reason::BadTrialName, &name, "");
            continue;
        }
        match trial(options, &job, &real_job, &name, &scaffolds) {
            Ok(trial) if excluded.contains(&trial.instance_id) => {
                leave_out(Reason::ExcludedRepo, &name, &trial.instance_id);
            }
            Ok(trial) => trials.push(trial),
            Err(dropped) => leave_out(dropped.reason, &name, &dropped.detail),
        }
    }
    if let Some(unsupported) =
        trials.iter().map(|t| t.scaffold).find(|s| crate::convert::for_scaffold(*s).is_none())
    {
        return Err(crate::convert::unsupported(unsupported));
    }
    Ok(Selection { trials, left_out, excluded_text: excluded.text })
}

/// Whether the exclude list can be read, and each of `agents` has a converter.
pub(crate) fn check(options: &ConvertOptions, agents: &[&str]) -> Result<(), ConvertError> {
    exclude::Excluded::read(&options.exclude)?;
    let scaffolds: Vec<Scaffold> = match options.scaffold {
        ScaffoldChoice::Is(scaffold) => vec![scaffold],
        ScaffoldChoice::Auto => agents
            .iter()
            .filter(|name| !scaffold::calls_no_model(name))
            .map(|name| scaffold::of_agent(name))
            .collect(),
    };
    match scaffolds.into_iter().find(|s| crate::convert::for_scaffold(*s).is_none()) {
        Some(unsupported) => Err(crate::convert::unsupported(unsupported)),
        None => Ok(()),
    }
}

/// A trial's name is one plain component of a path.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(c)), None) if c == name)
}

/// Trials with their rewards, in file order. A reward key that is no number gives none.
fn rewards(
    options: &ConvertOptions,
    path: &Path,
    result: &Value,
) -> Result<Vec<(String, Option<f64>)>, ConvertError> {
    let evals = result.get("stats").and_then(|s| s.get("evals"));
    let Some(evals) = evals.and_then(Value::as_object) else {
        return Err(ConvertError::Malformed {
            path: path.to_owned(),
            problem: "has no stats.evals: expected the result.json of a job".to_owned(),
        });
    };
    let mut found = Vec::new();
    for (eval, entry) in evals {
        let Some(stats) = entry.get("reward_stats").and_then(Value::as_object) else { continue };
        let of_key = match (&options.reward_key, stats.len()) {
            (_, 0) => continue,
            (_, _) if stats.contains_key("reward") => stats.get("reward"),
            (_, 1) => stats.values().next(),
            (Some(key), _) if stats.contains_key(key) => stats.get(key),
            (named, _) => {
                let keys: Vec<&str> = stats.keys().map(String::as_str).collect();
                let named = named.as_ref().map_or(String::new(), |key| format!("there is no '{key}': "));
                return Err(ConvertError::Setting {
                    key: "--reward-key",
                    problem: format!(
                        "{named}{} has several rewards for {eval}; choose one of: {}",
                        path.display(),
                        keys.join(", ")
                    ),
                });
            }
        };
        for (text, names) in of_key.and_then(Value::as_object).into_iter().flatten() {
            let reward = reward_of(text);
            let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
            found.extend(names.iter().filter_map(Value::as_str).map(|name| (name.to_owned(), reward)));
        }
    }
    Ok(found)
}

/// A reward key as a number: `1.0`, `1`, and Python's `True`.
fn reward_of(text: &str) -> Option<f64> {
    match text.trim() {
        "True" | "true" => Some(1.0),
        "False" | "false" => Some(0.0),
        number => number.parse().ok().filter(|n: &f64| n.is_finite()),
    }
}

enum Wanted {
    Yes,
    No,
    Counted(Reason),
}

fn wanted(options: &ConvertOptions, reward: Option<f64>) -> Wanted {
    let Some(reward) = reward else { return Wanted::Counted(Reason::UnreadableReward) };
    let yes = match (options.min_reward, options.instance_status) {
        (Some(least), _) => reward >= least,
        (None, InstanceStatus::All) => true,
        (None, InstanceStatus::Resolved) => reward == 1.0,
        (None, InstanceStatus::Unresolved) => reward == 0.0,
    };
    if yes {
        Wanted::Yes
    } else if options.min_reward.is_none() && reward != 0.0 && reward != 1.0 {
        Wanted::Counted(Reason::FractionalReward)
    } else {
        Wanted::No
    }
}

/// How the scaffold of a trial is known.
enum JobScaffolds {
    /// All trials have this one.
    All(Scaffold),
    /// The job ran several agents: each trial's own.
    PerTrial(Scaffold),
}

impl JobScaffolds {
    fn find(
        options: &ConvertOptions,
        job: &JobDir,
        result: &Value,
        config: Option<&Value>,
    ) -> Result<Self, ConvertError> {
        if let ScaffoldChoice::Is(scaffold) = options.scaffold {
            return Ok(Self::All(scaffold));
        }
        let mut recorded: Vec<Scaffold> = Vec::new();
        for scaffold in recorded_agents(result, config)
            .filter(|name| !scaffold::calls_no_model(name))
            .map(scaffold::of_agent)
        {
            if !recorded.contains(&scaffold) {
                recorded.push(scaffold);
            }
        }
        match recorded.as_slice() {
            [one] => return Ok(Self::All(*one)),
            [first, ..] => return Ok(Self::PerTrial(*first)),
            [] => {}
        }
        scaffold::of_job_name(&job.name())
            .or_else(|| {
                options.configured_agent.as_deref().filter(|n| !n.trim().is_empty()).map(scaffold::of_agent)
            })
            .map(Self::All)
            .ok_or_else(|| ConvertError::NoAgent { job_dir: job.path().to_owned() })
    }

    fn of_trial(&self, agent: Option<&str>) -> Scaffold {
        match (self, agent) {
            (Self::PerTrial(_), Some(agent)) => scaffold::of_agent(agent),
            (Self::PerTrial(first), None) => *first,
            (Self::All(scaffold), _) => *scaffold,
        }
    }
}

/// The agents a job's config names, else those in the keys of its evals (`<agent>__<model>__<dataset>`).
fn recorded_agents<'a>(
    result: &'a Value,
    config: Option<&'a Value>,
) -> Box<dyn Iterator<Item = &'a str> + 'a> {
    let agents = config.and_then(|c| c.get("agents")).and_then(Value::as_array);
    let named: Vec<&str> = agents
        .into_iter()
        .flatten()
        .filter_map(|a| a.get("name").and_then(Value::as_str))
        .filter(|n| !n.is_empty())
        .collect();
    if !named.is_empty() {
        return Box::new(named.into_iter());
    }
    let evals = result.get("stats").and_then(|s| s.get("evals")).and_then(Value::as_object);
    Box::new(
        evals
            .into_iter()
            .flat_map(|e| e.keys())
            .filter_map(|key| key.split_once("__").map(|(agent, _)| agent))
            .filter(|n| !n.is_empty()),
    )
}

fn trial(
    options: &ConvertOptions,
    job: &JobDir,
    real_job: &Path,
    name: &str,
    scaffolds: &JobScaffolds,
) -> Result<Trial, crate::dropped::Dropped> {
    let files = TrialFiles::open(job.trial(name), real_job)?;
    let config = files.json(&files.dir().config())?.unwrap_or_default();
    let result = files.json(&files.dir().result())?.unwrap_or_default();
    if options.exclude_findings && has_findings(&result) {
        return Err(crate::dropped::Dropped::new(Reason::IntegrityFinding, "its result lists findings"));
    }
    // Harbor's result.json repeats the config; without a config.json it still says which task it was.
    let config =
        if config.get("task").is_some() { &config } else { result.get("config").unwrap_or(&Value::Null) };
    let task_path =
        config.pointer("/task/path").or_else(|| result.pointer("/task_id/path")).and_then(Value::as_str);
    let instance_id = task_path
        .and_then(|p| Path::new(p).file_name())
        .map(|n| n.to_string_lossy().into_owned())
        .ok_or_else(|| crate::dropped::Dropped::new(Reason::NoTaskId, "its config.json has no task.path"))?;
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
    if let Some(agent) = text("/agent/name").filter(|name| scaffold::calls_no_model(name)) {
        let detail = format!("its agent, {agent}, calls no model");
        return Err(crate::dropped::Dropped::new(Reason::NoCalls, detail));
    }
    Ok(Trial {
        scaffold: scaffolds.of_trial(text("/agent/name")),
        model: text("/agent/model_name").map(str::to_owned),
        task_dir: task_path.and_then(|path| find_task(Path::new(path), real_job)),
        instance_id,
        files,
    })
}

fn has_findings(result: &Value) -> bool {
    let findings = result.pointer("/agent_result/metadata/findings");
    findings.and_then(Value::as_array).is_some_and(|f| !f.is_empty())
}

/// The task's folder: its path as it stands, or below one of the folders the job lies in (a block that moved).
fn find_task(path: &Path, real_job: &Path) -> Option<PathBuf> {
    let has_task = |dir: &Path| dir.join("task.toml").is_file();
    if has_task(path) {
        return Some(path.to_owned());
    }
    if path.is_absolute() {
        return None;
    }
    real_job.ancestors().skip(1).take(4).map(|folder| folder.join(path)).find(|dir| has_task(dir))
}

#[cfg(test)]
mod tests;
