//! From a config file to work that can be done.

use super::Args;
use super::forecast::Forecast;
use crate::block::EnvironmentArgs;
use crate::exit::Failure;
use crate::terminal;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use trajgen_contract::config::{self, Config, EnvironmentType, Severity};
use trajgen_contract::files::FileError;
use trajgen_contract::layout::{Block, JobDir, SftDir};
use trajgen_contract::ledger::Ledger;
use trajgen_rollout::environment::EnvironmentProvider;
use trajgen_rollout::environment::sandbox::{SandboxOptions, SandboxProvider};
use trajgen_rollout::job::{self, Plan, PlanError, Planned, TaskDir};
use trajgen_rollout::source;
use trajgen_rollout::trial::AgentSpec;
use trajgen_upstream::{Prices, Upstream, UpstreamConfig};

/// A config and its text.
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// The file's text.
    pub text: String,
}

/// Reads the config, printing all its problems.
pub fn load_config(path: &Path) -> Result<Loaded, Failure> {
    let loaded = config::load(path, |name| std::env::var(name).ok());
    for problem in &loaded.problems {
        match problem.severity {
            Severity::Warning => terminal::warning(problem),
            Severity::Error => terminal::error(problem),
        }
    }
    let errors = loaded.problems.iter().filter(|p| p.severity == Severity::Error).count();
    let Some(config) = loaded.config else {
        return Err(Failure::bad_input(format!(
            "{} has {errors} error{}; nothing was started",
            path.display(),
            if errors == 1 { "" } else { "s" }
        )));
    };
    let text = std::fs::read_to_string(path).map_err(FileError::at("read", path))?;
    Ok(Loaded { config, text })
}

/// The config for commands that look or tidy up: they need no secrets, so variables that are not set are empty, and
/// they go on with the defaults where it cannot be used at all.
pub fn config_at_hand(path: &Path) -> Config {
    let loaded = config::load_without_secrets(path, |name| std::env::var(name).ok());
    loaded.config.unwrap_or_else(|| {
        if path.exists() {
            terminal::warning(format_args!(
                "{} cannot be used; the defaults stand in for it",
                path.display()
            ));
        }
        Config::default()
    })
}

/// A block that belongs to another host runs nothing here.
pub fn check_host(config: &Config) -> Result<(), Failure> {
    match config.meta_info.other_host() {
        None => Ok(()),
        Some(host) => Err(Failure::bad_input(format!(
            "this block belongs to host '{host}' (meta_info.resources.ip); run it there, or set it to 'local'"
        ))),
    }
}

/// What a run will do.
pub struct Work {
    /// The job's folder.
    pub dir: JobDir,
    /// Its plan.
    pub plan: Plan,
    /// Its trials, finished ones included.
    pub planned: Vec<Planned>,
    /// The folder of prepared tasks.
    pub tasks: PathBuf,
    /// Where its training data goes.
    pub sft: SftDir,
    /// Where trials run.
    pub kind: &'static str,
    /// What environments may be.
    pub environment: EnvironmentArgs,
    /// Whether the job goes on rather than starts.
    pub resumed: bool,
    /// What its preparation had to say.
    pub notes: Vec<String>,
    /// Holds the tasks of a dry run.
    _dry: Option<TempDir>,
}

/// What there is to do.
pub enum Found {
    /// This.
    Work(Box<Work>),
    /// Nothing, and why.
    Nothing(Nothing),
}

/// Why there is nothing to do.
#[derive(Debug, Serialize)]
pub struct Nothing {
    /// For people.
    #[serde(rename = "nothing_to_run")]
    pub says: String,
    /// Tasks that the ledger leaves out.
    pub consumed: usize,
    /// Tasks that globs and exclude lists leave out.
    pub excluded: usize,
}

impl Nothing {
    fn left(selection: &job::Selection, dataset: &str) -> Self {
        let job::Selection { consumed, excluded, .. } = *selection;
        let also = if excluded > 0 { format!(", {excluded} are excluded") } else { String::new() };
        let says = format!("nothing left to run in '{dataset}': {consumed} tasks are consumed{also}");
        Self { says, consumed, excluded }
    }

    /// Says it, and how to run tasks again.
    pub fn print(&self, json: bool) {
        if json {
            return terminal::out_json(self);
        }
        terminal::out(&self.says);
        if self.consumed > 0 {
            terminal::out(
                "to run tasks again: trajgen run --rerun all | --rerun failed | --rerun <task id>…",
            );
        }
    }
}

impl Work {
    /// What there is to do. With `args.dry_run` nothing is left behind.
    pub fn find(
        args: &Args,
        block: &Block,
        loaded: &Loaded,
        jobs_dir: &Path,
        ledger: &Ledger,
    ) -> Result<Found, Failure> {
        let config = &loaded.config;
        let input = &config.runtime_info.input;
        let kind = environment_kind(config)?;
        let agents = job::agents_of(input).map_err(plan_failure)?;
        for agent in &agents {
            trajgen_rollout::agent::registry::create(&agent.name, &agent.kwargs)
                .map_err(Failure::bad_input)?;
        }
        let models: BTreeSet<&str> = agents.iter().filter_map(|a| a.model.as_deref()).collect();
        if models.len() > 1 {
            return Err(Failure::bad_input(
                "a job over several models is not supported yet; run one job per model",
            ));
        }
        check_conversion(block, config, &agents)?;
        let dataset = input.task_source.dataset().to_owned();
        let tasks_dir = block.tasks(&dataset);
        let ((tasks, notes), dry) = if args.dry_run {
            let folder =
                tempfile::tempdir().map_err(FileError::at("create a folder in", &std::env::temp_dir()))?;
            (prepare_dry(args, block, config, &dataset, folder.path())?, Some(folder))
        } else {
            (prepare(args, block, config, &dataset, &tasks_dir)?, None)
        };
        let sft =
            |dir: &JobDir| SftDir::new(block.root().join(&input.sft_conversion.out_dir).join(dir.name()));
        let environment = args.environment.clone();
        let meaning = job::meaning_of(config, &dataset, &agents, kind);
        match &args.resume {
            Some(name) => {
                let dir = job_to_resume(jobs_dir, name)?;
                let plan = Plan::read(&dir).map_err(plan_failure)?;
                let differences = job::differences(&plan.meaning, &meaning);
                if !differences.is_empty() {
                    return Err(Failure::bad_input(format!(
                        "job {} cannot go on with this config, which changes what its trials mean:\n  {}\nSet these back, or start a new job without --resume",
                        dir.name(),
                        differences.join("\n  ")
                    )));
                }
                let changed = job::changed_tasks(&plan, &tasks).map_err(plan_failure)?;
                if !changed.is_empty() {
                    return Err(Failure::bad_input(format!(
                        "job {} cannot go on: these of its tasks are not what they were when it began: {}\nRestore them, or start a new job without --resume",
                        dir.name(),
                        changed.join(", ")
                    )));
                }
                let mut planned =
                    job::specs(&plan, &dir, config, &dataset, &agents, &tasks, kind).map_err(plan_failure)?;
                let left_out = job::left_out(&planned, &plan.started_at, ledger);
                for (trial, reason) in &left_out {
                    terminal::note(format_args!("{trial} is left out: {reason}"));
                }
                planned.retain(|p| left_out.iter().all(|(trial, _)| *trial != p.spec.trial));
                if planned.iter().all(|p| p.finished.is_some()) {
                    let says = format!(
                        "nothing left to run in job {}: {} of its {} trials are finished{}",
                        dir.name(),
                        planned.len(),
                        plan.trials.len(),
                        if left_out.is_empty() {
                            String::new()
                        } else {
                            format!(", {} are left out", left_out.len())
                        }
                    );
                    return Ok(Found::Nothing(Nothing { says, consumed: 0, excluded: 0 }));
                }
                let work = Self {
                    sft: sft(&dir),
                    dir,
                    plan,
                    planned,
                    tasks: tasks_dir,
                    kind,
                    environment,
                    resumed: true,
                    notes,
                    _dry: dry,
                };
                Ok(Found::Work(Box::new(work)))
            }
            None => {
                let selection = job::select(&tasks, config, &dataset, &agents, ledger, &args.rerun())
                    .map_err(plan_failure)?;
                if selection.pairs.is_empty() {
                    return Ok(Found::Nothing(Nothing::left(&selection, &dataset)));
                }
                let version = agent_version(&agents);
                let prefix = input.harbor_job.job_name_prefix.as_deref();
                let name = job::job_name(jobs_dir, prefix, &dataset, &agents, &version);
                let dir = JobDir::new(jobs_dir.join(name));
                let plan =
                    job::plan(&selection, input.harbor_job.n_attempts, meaning).map_err(plan_failure)?;
                let planned =
                    job::specs(&plan, &dir, config, &dataset, &agents, &tasks, kind).map_err(plan_failure)?;
                let work = Self {
                    sft: sft(&dir),
                    dir,
                    plan,
                    planned,
                    tasks: tasks_dir,
                    kind,
                    environment,
                    resumed: false,
                    notes,
                    _dry: dry,
                };
                Ok(Found::Work(Box::new(work)))
            }
        }
    }

    /// Trials that are not over.
    pub fn n_open(&self) -> usize {
        self.planned.iter().filter(|p| p.finished.is_none()).count()
    }

    /// Whether any agent of the job calls a model.
    pub fn calls_model(&self) -> bool {
        self.model().is_some()
    }

    /// The model that the job's agents call.
    pub fn model(&self) -> Option<&str> {
        self.planned.iter().find_map(|p| p.spec.agent.model.as_deref())
    }

    /// For `--dry-run`.
    pub fn print(&self, forecast: Option<&Forecast>, json: bool) {
        let open: Vec<&Planned> = self.planned.iter().filter(|p| p.finished.is_none()).collect();
        if json {
            let trials: Vec<_> = open
                .iter()
                .map(|p| {
                    serde_json::json!({
                        "task_id": p.spec.task_id,
                        "attempt": p.spec.attempt,
                        "agent": p.spec.agent.name,
                        "model": p.spec.agent.model,
                    })
                })
                .collect();
            terminal::out_json(&serde_json::json!({
                "environment": self.kind,
                "resumed": self.resumed,
                "forecast": forecast,
                "trials": trials,
            }));
            return;
        }
        terminal::out(format_args!(
            "{} trials would run, in environments of type {}:",
            open.len(),
            self.kind
        ));
        for p in open {
            let model = p.spec.agent.model.as_deref().unwrap_or("no model");
            terminal::out(format_args!(
                "  {}  attempt {}  {} ({model})",
                p.spec.task_id, p.spec.attempt, p.spec.agent.name
            ));
        }
        if let Some(forecast) = forecast {
            terminal::out(forecast);
        }
    }
}

/// What would be wrong with the conversion at the run's end is found before anything is paid for.
fn check_conversion(block: &Block, config: &Config, agents: &[AgentSpec]) -> Result<(), Failure> {
    let conversion = &config.runtime_info.input.sft_conversion;
    let teachers: Vec<&str> = agents.iter().filter(|a| a.model.is_some()).map(|a| a.name.as_str()).collect();
    if !conversion.enabled || teachers.is_empty() {
        return Ok(());
    }
    let options =
        crate::cmd::convert::options_of(block, config, block.root(), &block.root().join(&conversion.out_dir));
    trajgen_sft::check(&options, &teachers).map_err(|e| {
        let failure = Failure::from(e);
        let message = format!("runtime_info.input.sft_conversion: {}", failure.message);
        Failure { message, ..failure }
    })
}

fn agent_version(agents: &[AgentSpec]) -> String {
    agents
        .first()
        .and_then(|a| trajgen_rollout::agent::registry::create(&a.name, &a.kwargs).ok())
        .map(|a| a.version())
        .unwrap_or_default()
}

/// Prepares the config's tasks in `target`.
fn prepare(
    args: &Args,
    block: &Block,
    config: &Config,
    dataset: &str,
    target: &Path,
) -> Result<(Vec<TaskDir>, Vec<String>), Failure> {
    let task_source = &config.runtime_info.input.task_source;
    let source = block.root().join(&task_source.dataset_name);
    let options = source::PrepareOptions { overwrite: args.overwrite, strict: args.strict };
    let prepared = source::prepare(task_source.provider, &source, dataset, target, &options)?;
    crate::cmd::prepare::report(&prepared);
    let mut notes = vec![format!("{} tasks of '{dataset}' are prepared", prepared.tasks.len())];
    notes.extend(prepared.warnings.iter().map(|warning| format!("warning: {warning}")));
    notes.extend(prepared.skipped.iter().map(|skipped| format!("error: {skipped}")));
    let tasks = prepared.tasks.into_iter().map(|id| TaskDir { path: target.join(&id), id }).collect();
    Ok((tasks, notes))
}

/// The tasks that a run would have: those that stand prepared, and copies below `folder` of the others.
fn prepare_dry(
    args: &Args,
    block: &Block,
    config: &Config,
    dataset: &str,
    folder: &Path,
) -> Result<(Vec<TaskDir>, Vec<String>), Failure> {
    let standing = block.tasks(dataset);
    let source = block.root().join(&config.runtime_info.input.task_source.dataset_name);
    source::check_origin(&source, dataset, &standing)?;
    let (mut tasks, notes) = prepare(args, block, config, dataset, &folder.join(dataset))?;
    if !args.overwrite {
        for task in &mut tasks {
            let place = standing.join(&task.id);
            if place.is_dir() {
                task.path = place;
            }
        }
    }
    Ok((tasks, notes))
}

fn job_to_resume(jobs_dir: &Path, name: &str) -> Result<JobDir, Failure> {
    if !name.is_empty() {
        let plain = !name.contains('/') && name != ".." && name != ".";
        let dir = JobDir::new(jobs_dir.join(name));
        return if plain && dir.path().is_dir() {
            Ok(dir)
        } else {
            Err(Failure::bad_input(format!(
                "--resume {name}: there is no such job in {}",
                jobs_dir.display()
            )))
        };
    }
    let mut jobs: Vec<(String, JobDir)> = std::fs::read_dir(jobs_dir)
        .map(|entries| {
            entries
                .flatten()
                .map(|e| JobDir::new(e.path()))
                .filter_map(|dir| Plan::read(&dir).ok().map(|plan| (plan.started_at, dir)))
                .collect()
        })
        .unwrap_or_default();
    jobs.sort_by(|a, b| a.0.cmp(&b.0));
    jobs.pop()
        .map(|(_, dir)| dir)
        .ok_or_else(|| Failure::bad_input(format!("--resume: there is no job in {}", jobs_dir.display())))
}

/// What a plan's problem means for the program.
pub(super) fn plan_failure(error: PlanError) -> Failure {
    match error {
        PlanError::File(e) => e.into(),
        PlanError::Input(message) => Failure::bad_input(message),
    }
}

fn environment_kind(config: &Config) -> Result<&'static str, Failure> {
    match config.runtime_info.input.environment.r#type {
        EnvironmentType::Auto | EnvironmentType::Sandbox => Ok("sandbox"),
        other => Err(Failure::bad_input(format!(
            "environment.type: '{other}' is not supported yet; use 'sandbox' or 'auto'"
        ))),
    }
}

/// The provider of the job's environments.
pub fn provider_of(block: &Block, args: &EnvironmentArgs) -> Result<Arc<dyn EnvironmentProvider>, Failure> {
    let options = SandboxOptions { cache: block.cache(), any_image: args.any_image };
    let provider = SandboxProvider::new(options).map_err(Failure::missing)?;
    Ok(Arc::new(provider))
}

/// The upstream of the job's model.
pub fn upstream_of(
    block: &Block,
    config: &Config,
    model: Option<&str>,
) -> Result<Arc<dyn Upstream>, Failure> {
    connect(deployment_of(block, config, model)?)
}

/// Connects to a deployment.
pub fn connect(deployment: UpstreamConfig) -> Result<Arc<dyn Upstream>, Failure> {
    trajgen_upstream::connect(deployment).map_err(Failure::bad_input)
}

/// The deployment of the job's model, as the config describes it.
pub fn deployment_of(block: &Block, config: &Config, model: Option<&str>) -> Result<UpstreamConfig, Failure> {
    let apis = &config.runtime_info.input.llm_api;
    let api = apis.iter().find(|api| model.is_none_or(|m| api.model_name() == m)).ok_or_else(|| {
        Failure::bad_input("runtime_info.input.llm_api: there is no entry for the agent's model")
    })?;
    Ok(UpstreamConfig {
        api_base_url: api.api_base_url.expose().to_owned(),
        api_key: api.api_key.as_ref().map(|k| k.expose().to_owned()).unwrap_or_default(),
        model: api.model.clone(),
        prices: Prices {
            input: api.input_cost_per_token,
            output: api.output_cost_per_token,
            cached: api.cached_cost_per_token,
        },
        request_timeout: trajgen_rollout::clock::seconds(api.request_timeout_sec),
        max_retries: api.max_retries,
        max_in_flight: api.max_in_flight.map(|n| n as usize),
        drop_params: api.drop_params.clone(),
        base_dir: block.root().to_owned(),
    })
}
