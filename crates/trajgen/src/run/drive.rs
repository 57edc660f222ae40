//! The stages between a run's begin and its end: check, run, convert.

use super::live::{Bar, LogWatcher, PlainLines, StatusWatcher};
use super::session::Session;
use super::setup::{self, Loaded, Work};
use super::signals::Signals;
use crate::exit::{Code, Failure};
use crate::terminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use trajgen_contract::config::{Config, OnDisconnect, OnLimit, State};
use trajgen_contract::event::Event;
use trajgen_contract::files::{self, FileError};
use trajgen_contract::layout::Block;
use trajgen_contract::ledger::Ledger;
use trajgen_contract::result::{TrialResult, TrialSummary};
use trajgen_proxy::{Proxy, ProxyConfig};
use trajgen_rollout::environment::EnvironmentProvider;
use trajgen_rollout::events::EventSink;
use trajgen_rollout::job::{
    self, Board, Budget, LedgerBook, QueueOptions, Queued, RetryPolicy, Stop, StopLevel, Watcher,
};
use trajgen_rollout::placement::Placement;
use trajgen_rollout::trial::{LocalPlacement, SpendingLimits, Spent, TaskView, Tools, TrialSpec};
use trajgen_upstream::Upstream;

/// What came of it.
pub struct Done {
    /// Trials whose last try ended in an error.
    pub n_errors: u64,
}

/// Drives the run through its stages.
pub async fn drive(
    session: &mut Session,
    work: &Work,
    loaded: &Loaded,
    block: &Block,
    ledger: &mut Ledger,
    signals: &Signals,
) -> Result<Done, Failure> {
    let config = &loaded.config;
    let provider = setup::provider_of(block, &work.environment)?;
    check_disk(block)?;
    check_tasks(work, &*provider)?;
    let swept = provider.sweep().await.map_err(Failure::missing)?;
    if swept > 0 {
        session.log.say(format_args!("removed {swept} environments that dead runs had left"));
    }
    session.log.say(format_args!("environments are of type {}", work.kind));
    let (events, stream) = EventSink::new();
    let budget = budget(work, config, &signals.stop);
    let proxy = tokio::select! {
        proxy = start_proxy(work, config, block, &events, budget) => proxy?,
        () = signals.heard() => {
            return Err(Failure::failed("interrupted by a signal before any trial started"));
        }
    };
    // The job's folder is touched only now that nothing is known to be in the way.
    if work.resumed {
        set_aside_unfinished(work)?;
    } else {
        let snapshot = trajgen_contract::config::redact_text(&loaded.text, config);
        job::write_job_files(&work.dir, &work.plan, &work.planned, config, &snapshot, &work.tasks)
            .map_err(setup::plan_failure)?;
    }

    session.stage("run", Some(State::Running))?;
    let result = {
        let board = Board::at_rest(work.dir.clone()).map_err(setup::plan_failure)?;
        let watchers = watchers(session, work);
        let stop = signals.stop.clone();
        let listener = std::thread::spawn(move || job::listen(&stream, board, watchers, &stop));
        let outcome =
            run_job(work, config, block, ledger, provider, proxy.clone(), events, &signals.stop).await;
        if let Some(proxy) = proxy.and_then(Arc::into_inner) {
            // Once signals have come there is nobody left to wait for.
            let grace = if signals.code().is_some() { Duration::ZERO } else { Duration::from_secs(2) };
            proxy.shutdown(grace).await;
        }
        let (result, problem) =
            listener.join().map_err(|_| Failure::failed("the job's listener panicked"))?;
        outcome?;
        match problem {
            // Something else has stopped the job, and is what there is to know of it.
            Some(problem) if signals.stop.reason() != problem.to_string() => session.log.say(problem),
            Some(problem) => return Err(problem.into()),
            None => {}
        }
        result
    };
    if signals.code().is_none() {
        convert(session, work, config, block)?;
    }
    session.stage("archive", None)?;
    stopped_early(&signals.stop, signals)?;
    Ok(Done { n_errors: result.stats.n_errored_trials })
}

/// A job that stopped because something it needs was not there is no completed run.
fn stopped_early(stop: &Stop, signals: &Signals) -> Result<(), Failure> {
    if stop.level() == StopLevel::Run || signals.code().is_some() || Budget::has_stopped(stop) {
        return Ok(());
    }
    Err(Failure { code: Code::Missing, message: format!("the job stopped early: {}", stop.reason()) })
}

/// Whether there is room to start; gives the bytes that are free.
pub fn check_disk(block: &Block) -> Result<u64, Failure> {
    let artifacts = block.artifacts();
    let stat = rustix::fs::statvfs(&artifacts)
        .map_err(|e| Failure::missing(format!("cannot look at the disk of {}: {e}", artifacts.display())))?;
    let free = stat.f_bavail * stat.f_frsize;
    too_full(block, free).map_or(Ok(free), |message| Err(Failure::missing(message)))
}

/// What there is to say of the block's disk when it is nearly full; nothing when it is not, or cannot be looked at.
pub fn full_disk(block: &Block) -> Option<String> {
    let stat = rustix::fs::statvfs(block.artifacts()).ok()?;
    too_full(block, stat.f_bavail * stat.f_frsize)
}

fn too_full(block: &Block, free: u64) -> Option<String> {
    const LEAST: u64 = 256 << 20;
    (free < LEAST).then(|| {
        format!(
            "{} has {} MiB free; at least {} MiB are needed to start. Make room, for example with `trajgen clean`",
            block.artifacts().display(),
            free >> 20,
            LEAST >> 20
        )
    })
}

/// What no environment here can give is refused before anything starts.
fn check_tasks(work: &Work, provider: &dyn EnvironmentProvider) -> Result<(), Failure> {
    let mut seen = std::collections::BTreeSet::new();
    let trials = work.planned.iter().filter(|p| p.finished.is_none()).map(|p| &p.spec);
    let problems: Vec<String> = trials
        .filter(|spec| seen.insert(&spec.task_id))
        .filter_map(|spec| refusal(spec, provider).map(|why| format!("task {}: {why}", spec.task_id)))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::bad_input(format!(
            "{} of {} tasks cannot run here:\n  {}\nExclude them (harbor_job.exclude_tasks), or run them where they can",
            problems.len(),
            seen.len(),
            problems.join("\n  ")
        )))
    }
}

/// A model that answers from scripts must have one for each task that would run.
pub fn check_answers(work: &Work, upstream: &dyn Upstream) -> Result<(), Failure> {
    const TRIAL: &str = "check";
    let open = work.planned.iter().filter(|p| p.finished.is_none() && p.spec.agent.model.is_some());
    let tasks: std::collections::BTreeSet<&str> = open.map(|p| p.spec.task_id.as_str()).collect();
    let problems: Vec<String> = tasks
        .iter()
        .filter_map(|task| match upstream.begin_trial(task, TRIAL) {
            Ok(()) => {
                upstream.end_trial(TRIAL);
                None
            }
            Err(problem) => Some(format!("task {task}: {problem}")),
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::bad_input(format!(
        "the model has no answers for {} of {} tasks:\n  {}",
        problems.len(),
        tasks.len(),
        problems.join("\n  ")
    )))
}

/// Why a trial's task cannot run here, if it cannot.
pub fn refusal(spec: &TrialSpec, provider: &dyn EnvironmentProvider) -> Option<String> {
    match TaskView::read(spec) {
        Ok(task) => provider.refuse(&task.environment_spec(spec, Duration::from_secs(1), None)),
        Err(problem) => Some(problem),
    }
}

/// Who reaches what in the trials of a job, one line for each policy.
pub fn policies(work: &Work) -> Vec<String> {
    let mut tasks = std::collections::BTreeMap::<_, std::collections::BTreeSet<&str>>::new();
    for spec in work.planned.iter().map(|p| &p.spec) {
        if let Ok(task) = TaskView::read(spec) {
            let asked = task.environment_spec(spec, Duration::ZERO, None);
            let policy = (asked.network.words(), asked.verifier_network.words());
            tasks.entry(policy).or_default().insert(&spec.task_id);
        }
    }
    let line = |((agent, verifier), tasks): (_, std::collections::BTreeSet<&str>)| {
        let named: Vec<&str> = tasks.iter().copied().take(3).collect();
        let more = if tasks.len() > named.len() { ", …" } else { "" };
        let (n, named) = (tasks.len(), named.join(", "));
        format!("agent {agent}, verifier {verifier}: {n} tasks ({named}{more})")
    };
    tasks.into_iter().map(line).collect()
}

/// What a dead or cancelled try left makes room for the next, which starts afresh.
fn set_aside_unfinished(work: &Work) -> Result<(), Failure> {
    for trial in work.planned.iter().filter(|p| p.finished.is_none()) {
        if trajgen_rollout::trial::has_begun(&trial.spec) {
            trajgen_rollout::trial::set_aside(&trial.spec, next_try(&trial.spec.trial_dir))?;
        }
    }
    Ok(())
}

/// The number of a trial's next try: one more than were set aside.
fn next_try(trial_dir: &Path) -> u32 {
    let aside = std::fs::read_dir(trial_dir.join("tries")).map(|d| d.flatten().count()).unwrap_or(0);
    u32::try_from(aside).unwrap_or(u32::MAX - 1) + 1
}

fn watchers(session: &Session, work: &Work) -> Vec<Box<dyn Watcher>> {
    let (path, status) = session.status();
    let finished = work.planned.len() - work.n_open();
    let shown: Box<dyn Watcher> = if terminal::is_live() {
        Box::new(Bar::new(work.plan.trials.len() as u64, finished))
    } else {
        Box::new(PlainLines)
    };
    vec![Box::new(LogWatcher(session.log.clone())), Box::new(StatusWatcher::new(path, status)), shown]
}

/// What the job may spend, less what its earlier runs did.
fn budget(work: &Work, config: &Config, stop: &Stop) -> Budget {
    let limits = &config.runtime_info.input.harbor_job.limits;
    let on_limit = match limits.on_limit {
        OnLimit::Drain => StopLevel::Drain,
        OnLimit::Cancel => StopLevel::Cancel,
    };
    let before = work.plan.trials.iter().map(|t| trajgen_rollout::trial::spent_on(&work.dir.trial(&t.trial)));
    let limits = SpendingLimits {
        max_usd: limits.max_usd,
        max_tokens: limits.max_tokens,
        max_calls: limits.max_calls,
    };
    Budget::new(limits, on_limit, stop.clone(), before.fold(Spent::default(), |sum, spent| sum.plus(&spent)))
}

async fn start_proxy(
    work: &Work,
    config: &Config,
    block: &Block,
    events: &EventSink,
    budget: Budget,
) -> Result<Option<Arc<Proxy>>, Failure> {
    if !work.calls_model() {
        return Ok(None);
    }
    let input = &config.runtime_info.input;
    let model = work.model();
    let deployment = setup::deployment_of(block, config, model)?;
    let upstream = setup::connect(deployment.clone())?;
    upstream.check().await.map_err(|e| {
        Failure::missing(format!(
            "the upstream of model '{}' does not answer: {e}",
            model.unwrap_or_default()
        ))
    })?;
    let agent = input.agent.first();
    let job = work.dir.name();
    let told = events.clone();
    let jobs_dir = work.dir.path().parent().unwrap_or(block.root()).to_owned();
    let mut proxy = ProxyConfig::new(jobs_dir, job.clone(), upstream);
    if let Some(host) = &input.litellm_proxy.host {
        proxy.hosts = vec![host.clone()];
    }
    proxy.port = input.litellm_proxy.port;
    proxy.master_key =
        input.litellm_proxy.master_key.as_ref().map(|k| k.expose().to_owned()).filter(|k| !k.is_empty());
    proxy.temperature = agent.and_then(|a| a.temperature);
    proxy.top_p = agent.and_then(|a| a.top_p);
    proxy.on_disconnect = match input.litellm_proxy.on_disconnect {
        OnDisconnect::Finish => trajgen_proxy::OnDisconnect::Finish,
        OnDisconnect::Cancel => trajgen_proxy::OnDisconnect::Cancel,
    };
    proxy.max_body_bytes = usize::try_from(input.litellm_proxy.max_body_mb << 20).unwrap_or(usize::MAX);
    proxy.secrets =
        input.llm_api.iter().filter_map(|a| a.api_key.as_ref()).map(|k| k.expose().to_owned()).collect();
    proxy.unix_socket = Some(socket_path(block)?);
    proxy.on_recorded = Some(Arc::new(move |call: trajgen_proxy::Recorded| {
        budget.pay(&Spent {
            n_calls: 1,
            n_input_tokens: call.n_input_tokens,
            n_cache_tokens: call.n_cached_tokens,
            n_output_tokens: call.n_output_tokens,
            cost_usd: call.cost_usd,
        });
        if let Some(trial) = call.trial {
            told.send(Event::ModelCall {
                trial,
                success: call.success,
                n_input_tokens: call.n_input_tokens,
                n_output_tokens: call.n_output_tokens,
                cost_usd: call.cost_usd,
            });
        }
    }));
    let resolved = proxy.clone();
    let proxy = Proxy::start(proxy).await.map_err(Failure::missing)?;
    let yaml = trajgen_proxy::resolved_config_yaml(&resolved, &[deployment], proxy.base_url())
        .map_err(Failure::failed)?;
    files::replace(&block.proxy_config(&job), yaml.as_bytes())?;
    Ok(Some(Arc::new(proxy)))
}

/// A socket's path is short (108 bytes at most), so it lies in the system's folder for temporary files.
fn socket_path(block: &Block) -> Result<std::path::PathBuf, Failure> {
    let folder = block.sockets();
    std::fs::create_dir_all(&folder).map_err(FileError::at("create the folder", &folder))?;
    let path = folder.join(format!("{}.sock", std::process::id()));
    if path.as_os_str().len() < 100 {
        return Ok(path);
    }
    Ok(std::env::temp_dir().join(format!("trajgen-{}.sock", uuid::Uuid::new_v4().simple())))
}

#[expect(clippy::too_many_arguments, reason = "each is one thing the job stands on")]
async fn run_job(
    work: &Work,
    config: &Config,
    block: &Block,
    ledger: &mut Ledger,
    provider: Arc<dyn EnvironmentProvider>,
    proxy: Option<Arc<Proxy>>,
    events: EventSink,
    stop: &Stop,
) -> Result<(), Failure> {
    let job = &config.runtime_info.input.harbor_job;
    let scratch = block.comparisons();
    std::fs::create_dir_all(&scratch).map_err(FileError::at("create the folder", &scratch))?;
    let tools = Tools {
        provider,
        proxy,
        events: events.clone(),
        builds: Semaphore::new(job.n_concurrent_builds as usize),
        verifiers: Semaphore::new(job.n_concurrent_verifiers.unwrap_or(job.n_concurrent) as usize),
        scratch,
    };
    let placement: Arc<dyn Placement> = Arc::new(LocalPlacement(Arc::new(tools)));
    let waiting: Vec<Queued> = work
        .planned
        .iter()
        .filter(|p| p.finished.is_none())
        .map(|p| Queued {
            spec: Arc::new(p.spec.clone()),
            next_try: next_try(&p.spec.trial_dir),
            n_counted: 0,
        })
        .collect();
    events.send(Event::JobStarted { job: work.dir.name(), n_trials: waiting.len(), resumed: work.resumed });
    let mut book = LedgerBook::open(block, ledger, &work.dir.name(), &work.planned);
    let options = QueueOptions {
        n_concurrent: job.n_concurrent as usize,
        retry: RetryPolicy {
            max_retries: job.max_retries,
            min_wait: trajgen_rollout::clock::seconds(job.retry.min_wait_sec),
            wait_multiplier: job.retry.wait_multiplier,
            max_wait: trajgen_rollout::clock::seconds(job.retry.max_wait_sec),
            include: job.retry.include.clone(),
            exclude: job.retry.exclude.clone(),
        },
    };
    let left = job::run(waiting, &options, placement, &mut book, &events, stop).await;
    book.close_unfinished().map_err(Failure::failed)?;
    events.send(ended(work));
    if stop.level() == StopLevel::Run && !left.is_empty() {
        let names: Vec<&str> = left.iter().map(|queued| queued.spec.trial.as_str()).collect();
        return Err(Failure::failed(format!(
            "the job ended before {} of its trials did: {}; `trajgen run --resume` goes on with them",
            names.len(),
            names.join(", ")
        )));
    }
    Ok(())
}

fn ended(work: &Work) -> Event {
    let results: Vec<TrialResult> = work
        .plan
        .trials
        .iter()
        .filter_map(|t| trajgen_contract::result::read_trial(&work.dir.trial(&t.trial).result()).ok())
        .collect();
    let summaries: Vec<TrialSummary> = results.iter().filter_map(TrialSummary::of).collect();
    let count = |is: &dyn Fn(&str) -> bool| {
        summaries.iter().filter(|t| t.exception_type.as_deref().is_some_and(is)).count()
    };
    Event::JobEnded {
        n_done: summaries.len(),
        n_errored: count(&|_| true),
        n_cancelled: count(&|e| e == "CancelledError"),
        mean_reward: job::mean_reward(&summaries),
    }
}

fn convert(session: &mut Session, work: &Work, config: &Config, block: &Block) -> Result<(), Failure> {
    if !config.runtime_info.input.sft_conversion.enabled || !work.calls_model() {
        return Ok(());
    }
    session.stage("convert", Some(State::Converting))?;
    let options = crate::cmd::convert::options_of(block, config, work.dir.path(), work.sft.path());
    let report = trajgen_sft::convert(&options).map_err(|e| Failure::failed(e.to_string()))?;
    session.log.say(format_args!(
        "converted {} of {} trials, {} records",
        report.converted, report.selected, report.im_records
    ));
    session.converted(report.im_records);
    Ok(())
}
