//! A try on this host: prepare → environment → agent set-up → agent → collect → verify → tear down → record.

use super::collect;
use super::folder;
use super::log::TrialLog;
use super::task::TaskView;
use super::verify::{self, Verification};
use super::workspace;
use super::{Spent, TrialSpec, TryEnd, TryError};
use crate::agent::{self, Agent, AgentContext, ModelEndpoint};
use crate::clock;
use crate::environment::{Environment, EnvironmentProvider, EnvironmentSpec, Exec};
use crate::events::EventSink;
use crate::placement::Placement;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trajgen_contract::event::{Event, Phase};
use trajgen_contract::files;
use trajgen_contract::layout::TrialDir;
use trajgen_contract::outcome::{ErrorType, outcome_of};
use trajgen_contract::result::{
    AgentResult, ExceptionInfo, Rewards, TimingInfo, TrialMetadata, TrialResult, VerifierResult,
};
use trajgen_proxy::{Proxy, Route, TrialUsage};

/// How long calls in flight may go on once the agent is done.
const CALL_GRACE: Duration = Duration::from_secs(10);
/// How long tear-down may take before it is given up and said so.
const TEAR_DOWN: Duration = Duration::from_secs(60);
/// How long each thing may take that is brought out of an environment or done to it beside the task's own states,
/// and how long it may still take once the trial is cancelled.
const ASIDE: Duration = Duration::from_secs(120);
const ASIDE_CANCELLED: Duration = Duration::from_secs(10);

/// What all trials of a job share on this host.
pub struct Tools {
    /// Makes environments.
    pub provider: Arc<dyn EnvironmentProvider>,
    /// The model proxy; none when no agent of the job calls a model.
    pub proxy: Option<Arc<Proxy>>,
    /// Where phases are told.
    pub events: EventSink,
    /// Builds at a time.
    pub builds: Semaphore,
    /// Verifiers at a time.
    pub verifiers: Semaphore,
    /// For snapshots and comparisons.
    pub scratch: PathBuf,
}

/// Runs trials on this host.
pub struct LocalPlacement(pub Arc<Tools>);

#[async_trait]
impl Placement for LocalPlacement {
    async fn submit(&self, spec: &TrialSpec, n_try: u32, cancelled: CancellationToken) -> TryEnd {
        Try::new(self.0.clone(), spec.clone(), n_try, cancelled).run().await
    }
}

/// One try, from its first to its last state.
struct Try {
    tools: Arc<Tools>,
    spec: TrialSpec,
    n_try: u32,
    cancelled: CancellationToken,
    dir: TrialDir,
    log: TrialLog,
    result: TrialResult,
    findings: Vec<String>,
    exit_reason: Option<String>,
    reported: serde_json::Map<String, serde_json::Value>,
    spent: Spent,
}

impl Try {
    fn new(tools: Arc<Tools>, spec: TrialSpec, n_try: u32, cancelled: CancellationToken) -> Self {
        let dir = TrialDir::new(&spec.trial_dir);
        // A folder without a result is one that other tools throw away.
        if !dir.result().exists() {
            let _ = folder::stand_in(&spec);
        }
        // A folder that cannot be made shows when the first file is written into it.
        let _ = std::fs::create_dir_all(dir.agent());
        let _ = std::fs::create_dir_all(dir.verifier());
        let log = TrialLog::open(&dir.log());
        let mut result = folder::fresh_result(&spec, &spec.task_id, "", "unknown");
        result.started_at = Some(clock::now());
        Self {
            tools,
            spec,
            n_try,
            cancelled,
            dir,
            log,
            result,
            findings: Vec::new(),
            exit_reason: None,
            reported: serde_json::Map::new(),
            spent: Spent::default(),
        }
    }

    async fn run(mut self) -> TryEnd {
        let began = Instant::now();
        self.log.say(format_args!(
            "try {} of {} (task {}, attempt {}) with {}",
            self.n_try, self.spec.trial, self.spec.task_id, self.spec.attempt, self.spec.agent.name
        ));
        let ended = match self.prepare() {
            Ok((task, agent)) => self.in_environment(&task, &*agent).await,
            Err(error) => (None, Some(error)),
        };
        self.record(ended.0, ended.1, began)
    }

    /// Directory, `config.json`, `lock.json`, a first `result.json`.
    fn prepare(&mut self) -> Result<(TaskView, Arc<dyn Agent>), TryError> {
        self.phase(Phase::Prepare);
        // First, so that a trial whose task cannot be used has it as well.
        files::replace_json(&self.dir.config(), &folder::config_of(&self.spec)).map_err(host)?;
        let broken = |e: String| TryError::new(ErrorType::EnvironmentBuildError, e);
        let task = TaskView::read(&self.spec).map_err(broken)?;
        let asked = task.environment_spec(&self.spec, Duration::ZERO, None);
        if let Some(why) = self.tools.provider.refuse(&asked) {
            return Err(broken(why));
        }
        let agent = agent::registry::create(&self.spec.agent.name, &self.spec.agent.kwargs)
            .map_err(|e| TryError::new(ErrorType::AgentSetupError, e.to_string()))?;
        self.result = TrialResult {
            started_at: self.result.started_at.clone(),
            ..folder::fresh_result(&self.spec, &task.name, &task.checksum, &agent.version())
        };
        self.result.verifier_environment_mode = Some("shared".into());
        let lock = super::lock_of(&self.spec).map_err(broken)?;
        files::replace_json(&self.dir.lock(), &lock)
            .and_then(|()| files::replace_json(&self.dir.result(), &self.result))
            .map_err(host)?;
        Ok((task, agent))
    }

    /// Everything between start and tear-down. Gives the rewards and the error, either of which may be there.
    async fn in_environment(
        &mut self,
        task: &TaskView,
        agent: &dyn Agent,
    ) -> (Option<Rewards>, Option<TryError>) {
        let environment = match self.start_environment(task).await {
            Ok(environment) => environment,
            Err(error) => return (None, Some(error)),
        };
        let ended = self.with_agent(task, agent, &environment).await;
        let keep = self.spec.keep_environments && ended.1.is_some();
        self.tear_down(&*environment, keep).await;
        ended
    }

    async fn start_environment(&mut self, task: &TaskView) -> Result<Arc<dyn Environment>, TryError> {
        self.phase(Phase::EnvironmentSetup);
        let mut timing = started();
        let limit = clock::seconds(self.spec.timeouts.environment(task.build_timeout));
        let socket = self.tools.proxy.as_ref().and_then(|p| p.unix_socket().map(std::path::Path::to_owned));
        let spec = task.environment_spec(&self.spec, limit, socket);
        let outcome = self.build_and_start(&spec).await;
        timing.finished_at = Some(clock::now());
        self.result.environment_setup = Some(timing);
        let environment: Arc<dyn Environment> = outcome?;
        if let Err(error) = self.wait_until_healthy(task, &*environment).await {
            self.tear_down(&*environment, false).await;
            return Err(error);
        }
        Ok(environment)
    }

    /// Waiting for others does not count: only what the trial does itself has a limit.
    async fn build_and_start(&self, spec: &EnvironmentSpec) -> Result<Arc<dyn Environment>, TryError> {
        let provider = &self.tools.provider;
        let build_log = self.dir.path().join("build.log");
        let kind = ErrorType::EnvironmentStartTimeoutError;
        let build = async {
            let _permit = self.tools.builds.acquire().await;
            provider.build(spec, &build_log).await
        };
        let took = self.limited(None, kind, "building the environment", build).await?;
        let what = format!("starting the environment, after a build of {:.1} s,", took.as_secs_f64());
        let left = spec.build_timeout.saturating_sub(took);
        self.limited(Some(left), kind, &what, async { provider.start(spec).await.map(Arc::from) }).await
    }

    async fn wait_until_healthy(
        &self,
        task: &TaskView,
        environment: &dyn Environment,
    ) -> Result<(), TryError> {
        let Some(check) = &task.healthcheck else { return Ok(()) };
        let started = Instant::now();
        let mut failures = 0;
        loop {
            let in_start_period = started.elapsed().as_secs_f64() < check.start_period_sec;
            let exec = Exec::shell(&check.command).timeout(Some(clock::seconds(check.timeout_sec)));
            let ended = tokio::select! {
                ended = environment.exec(exec) => ended.map_err(environment_error)?,
                () = self.cancelled.cancelled() => return Err(cancelled()),
            };
            if ended.success() {
                return Ok(());
            }
            if !in_start_period {
                failures += 1;
            }
            if failures >= check.retries {
                return Err(TryError::new(
                    ErrorType::HealthcheckError,
                    format!(
                        "the healthcheck failed {failures} times; its last output: {}",
                        last_line(&ended.text())
                    ),
                ));
            }
            let wait = if in_start_period { check.start_interval_sec } else { check.interval_sec };
            tokio::select! {
                () = tokio::time::sleep(clock::seconds(wait)) => {}
                () = self.cancelled.cancelled() => return Err(cancelled()),
            }
        }
    }

    async fn with_agent(
        &mut self,
        task: &TaskView,
        agent: &dyn Agent,
        environment: &Arc<dyn Environment>,
    ) -> (Option<Rewards>, Option<TryError>) {
        if let Some(proxy) = &self.tools.proxy {
            // A try that was lost has left its key.
            proxy.close_trial(&self.spec.trial, Duration::ZERO).await;
        }
        let model = match self.open_key(agent) {
            Ok(model) => model,
            Err(error) => return (None, Some(error)),
        };
        let context = AgentContext {
            trial_name: self.spec.trial.clone(),
            instruction: task.instruction.clone(),
            environment: environment.clone(),
            user: task.agent_user.clone(),
            env: self.spec.agent.env.clone(),
            model,
            logs_dir: self.dir.agent(),
            solution: task.solution.clone(),
            cancelled: self.cancelled.clone(),
        };
        let copying = workspace::snapshot(&**environment, &self.tools.scratch);
        let before = match self.aside(copying).await {
            Some(Ok(snapshot)) => Some(snapshot),
            other => {
                self.not_compared(other);
                None
            }
        };
        let mut error = self.set_up_agent(agent, &context).await.err();
        let ran = error.is_none();
        if ran {
            error = self.run_agent(task, agent, &context).await.err();
        }
        if self.aside(agent.disarm(&context)).await.is_none() {
            self.log.say("the agent could not be disarmed in time");
        }
        let usage = self.close_key(agent).await;
        if ran && let Some(broken) = environment.broken_limit().await {
            error = Some(environment_error(broken));
        }
        if let Some((problem, is_disk_full)) =
            usage.and_then(|usage| Some((usage.capture_error?, usage.is_disk_full)))
        {
            let kind = if is_disk_full { ErrorType::DiskFullError } else { ErrorType::CaptureError };
            error = Some(TryError::new(kind, problem));
        }
        if ran {
            self.collect(task, &**environment, before).await;
        }
        let verify =
            ran && !self.cancelled.is_cancelled() && error.as_ref().is_none_or(|e| e.kind.still_verified());
        if !verify {
            return (None, error);
        }
        match self.verify(task, &**environment).await {
            Ok(rewards) => (Some(rewards), error),
            // The first error is the one to know of; a verifier that fails after it follows from it.
            Err(failure) => (None, error.or(Some(failure))),
        }
    }

    fn open_key(&self, agent: &dyn Agent) -> Result<Option<ModelEndpoint>, TryError> {
        let (true, Some(proxy), Some(model)) =
            (agent.calls_model(), &self.tools.proxy, &self.spec.agent.model)
        else {
            return Ok(None);
        };
        // A trial's limits are for all its calls, those of earlier tries included.
        let limits = self.spec.limits.less(&folder::spent_before(&self.dir).1);
        let key = proxy
            .issue_key(Route {
                job: self.spec.job.clone(),
                trial: self.spec.trial.clone(),
                task_id: self.spec.task_id.clone(),
                log_path: self.dir.trajectory_log(),
                limits: trajgen_proxy::TrialLimits {
                    max_usd: limits.max_usd,
                    max_tokens: limits.max_tokens,
                    max_calls: limits.max_calls,
                },
            })
            .map_err(|e| TryError::new(ErrorType::CaptureError, e.to_string()))?;
        Ok(Some(ModelEndpoint {
            base_url: proxy.base_url().to_owned(),
            api_key: key.key,
            model: model.clone(),
            max_input_tokens: self.spec.agent.max_input_tokens,
            max_output_tokens: self.spec.agent.max_output_tokens,
        }))
    }

    async fn close_key(&mut self, agent: &dyn Agent) -> Option<TrialUsage> {
        let proxy = self.tools.proxy.as_ref().filter(|_| agent.calls_model())?;
        let grace = if self.cancelled.is_cancelled() { Duration::ZERO } else { CALL_GRACE };
        let usage = proxy.close_trial(&self.spec.trial, grace).await;
        self.spent = Spent {
            n_calls: usage.n_calls,
            n_input_tokens: usage.n_input_tokens,
            n_cache_tokens: usage.n_cached_tokens,
            n_output_tokens: usage.n_output_tokens,
            cost_usd: usage.cost_usd,
        };
        Some(usage)
    }

    async fn set_up_agent(&mut self, agent: &dyn Agent, context: &AgentContext) -> Result<(), TryError> {
        self.phase(Phase::AgentSetup);
        let mut timing = started();
        let limit = clock::seconds(self.spec.timeouts.agent_setup());
        let outcome = self
            .limited(Some(limit), ErrorType::AgentSetupTimeoutError, "agent set-up", agent.set_up(context))
            .await;
        timing.finished_at = Some(clock::now());
        self.result.agent_setup = Some(timing);
        outcome
    }

    async fn run_agent(
        &mut self,
        task: &TaskView,
        agent: &dyn Agent,
        context: &AgentContext,
    ) -> Result<(), TryError> {
        self.phase(Phase::AgentExecution);
        let mut timing = started();
        let limit = self.spec.timeouts.agent(task.agent_timeout).map(clock::seconds);
        let outcome =
            self.limited(limit, ErrorType::AgentTimeoutError, "the agent's run", agent.run(context)).await;
        timing.finished_at = Some(clock::now());
        self.result.agent_execution = Some(timing);
        match outcome {
            Ok(report) => {
                self.log.say(format_args!("the agent ended: {}", report.exit_reason));
                self.exit_reason = Some(report.exit_reason);
                self.reported = report.metadata;
                Ok(())
            }
            Err(error) => {
                self.exit_reason = Some(error.kind.to_string());
                Err(error)
            }
        }
    }

    async fn collect(
        &mut self,
        task: &TaskView,
        environment: &dyn Environment,
        before: Option<workspace::Snapshot>,
    ) {
        self.phase(Phase::Collect);
        match self.aside(collect::agent_logs(environment, &self.dir)).await {
            Some(Ok(())) => {}
            Some(Err(e)) => self.log.say(format_args!("agent logs could not be collected: {e}")),
            None => self.log.say("agent logs could not be collected in time"),
        }
        match self.aside(collect::artifacts(environment, &self.dir, &task.artifacts)).await {
            Some(Ok(())) => {}
            Some(Err(e)) => self.log.say(format_args!("artifacts could not be collected: {e}")),
            None => self.log.say("artifacts could not be collected in time"),
        }
        let Some(before) = before else { return };
        let comparing = async {
            let after = workspace::snapshot(environment, &self.tools.scratch).await?;
            // Long, and nothing but computing.
            let comparing = tokio::task::spawn_blocking(move || workspace::diff(&before, &after));
            comparing.await.map_err(|e| e.to_string())
        };
        match self.aside(comparing).await {
            Some(Ok(text)) => {
                if let Err(e) = files::replace(&self.dir.workspace_diff(), text.as_bytes()) {
                    self.log.say(e);
                }
            }
            other => self.not_compared(other),
        }
    }

    fn not_compared<T>(&self, outcome: Option<Result<T, String>>) {
        let why = match outcome {
            Some(Err(why)) => why,
            _ => "it could not be copied in time".to_owned(),
        };
        self.log.say(format_args!("the workspace is not compared: {why}"));
    }

    /// What is done beside the task's own states must not hold up the trial, nor for long its cancellation.
    async fn aside<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let given_up = async {
            self.cancelled.cancelled().await;
            tokio::time::sleep(ASIDE_CANCELLED).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = tokio::time::sleep(ASIDE) => None,
            () = given_up => None,
        }
    }

    async fn verify(&mut self, task: &TaskView, environment: &dyn Environment) -> Result<Rewards, TryError> {
        self.phase(Phase::Verifier);
        let tools = self.tools.clone();
        let _permit = tools.verifiers.acquire().await;
        let mut timing = started();
        if task.stop_leftovers.unwrap_or(self.spec.stop_leftovers) {
            environment.kill_all().await.map_err(environment_error)?;
        } else if let Ok(left) = environment.processes().await {
            let left: Vec<String> = left.into_iter().map(|p| p.command).collect();
            self.log.say(format_args!("running at verification: {left:?}"));
        }
        let what = Verification {
            tests: task.tests.clone(),
            user: task.verifier_user.clone(),
            env: task.verifier_env.clone(),
            timeout: clock::seconds(self.spec.timeouts.verifier(task.verifier_timeout)),
        };
        let mut findings = Vec::new();
        let verdict = tokio::select! {
            verdict = verify::verify(environment, &self.dir, &what, &tools.scratch, &mut findings) => Some(verdict),
            () = self.cancelled.cancelled() => None,
        };
        timing.finished_at = Some(clock::now());
        self.result.verifier = Some(timing);
        if self.spec.integrity {
            self.findings.append(&mut findings);
        }
        match verdict {
            Some(Ok(rewards)) => Ok(rewards),
            Some(Err(failure)) => match environment.broken_limit().await {
                Some(broken) => Err(environment_error(broken)),
                None => Err(TryError::new(failure.kind, failure.message)),
            },
            None => Err(cancelled()),
        }
    }

    async fn tear_down(&self, environment: &dyn Environment, keep: bool) {
        self.phase(Phase::TearDown);
        if keep {
            self.log.say("the environment is kept, as keep_environments says");
            return;
        }
        match tokio::time::timeout(TEAR_DOWN, environment.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                self.log.say(format_args!("tear-down failed: {e}; the next start removes what is left"));
            }
            Err(_) => self.log.say("tear-down did not end; the next start removes what is left"),
        }
    }

    /// The last state of every ending.
    fn record(mut self, rewards: Option<Rewards>, error: Option<TryError>, began: Instant) -> TryEnd {
        let mut error = error;
        let (tries_before, spent_before) = folder::spent_before(&self.dir);
        let all = spent_before.plus(&self.spent);
        let metadata = TrialMetadata {
            outcome: Some(outcome_of(error.as_ref().map(|e| e.kind))),
            exit_reason: self.exit_reason.take(),
            n_tries: Some(tries_before + 1),
            n_calls: Some(self.spent.n_calls),
            all_tries: Some(all.usage()),
            findings: self.findings.drain(..).map(serde_json::Value::String).collect(),
            other: std::mem::take(&mut self.reported),
        };
        self.result.agent_result = Some(AgentResult::new(self.spent.usage(), metadata));
        self.result.verifier_result =
            rewards.clone().map(|rewards| VerifierResult { rewards: Some(rewards) });
        if let Some(error) = &error {
            self.log.say(format_args!("{}: {}", error.kind, error.message));
            let chain = format!("{}: {}\n", error.kind, error.message);
            if let Err(e) = files::replace(&self.dir.exception(), chain.as_bytes()) {
                self.log.say(e);
            }
            self.result.exception_info = Some(ExceptionInfo {
                exception_type: error.kind.to_string(),
                exception_message: error.message.clone(),
                exception_traceback: chain,
                occurred_at: clock::now(),
            });
        }
        self.result.finished_at = Some(clock::now());
        match &rewards {
            Some(rewards) => self.log.say(format_args!("rewards: {rewards:?}")),
            None => self.log.say("no reward"),
        }
        if let Err(e) = files::replace_json(&self.dir.result(), &self.result) {
            error = Some(host(e));
        }
        TryEnd {
            error,
            rewards,
            usage: all,
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            result: self.result,
        }
    }

    fn phase(&self, phase: Phase) {
        self.log.say(format_args!("-- {}", phase.words()));
        self.tools.events.send(Event::PhaseStarted { trial: self.spec.trial.clone(), phase });
    }

    /// Runs `work` until it ends, its time is over, or the trial is cancelled.
    async fn limited<T, E: Into<TryError>>(
        &self,
        limit: Option<Duration>,
        kind: ErrorType,
        what: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, TryError> {
        let time_over = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(cancelled()),
            outcome = work => outcome.map_err(Into::into),
            () = time_over => Err(TryError::new(
                kind,
                format!("{what} did not end within {} s", limit.unwrap_or_default().as_secs_f64()),
            )),
        }
    }
}

impl From<crate::environment::EnvironmentError> for TryError {
    fn from(error: crate::environment::EnvironmentError) -> Self {
        environment_error(error)
    }
}

impl From<agent::AgentFailure> for TryError {
    fn from(failure: agent::AgentFailure) -> Self {
        Self { kind: failure.kind, message: failure.message }
    }
}

fn environment_error(error: crate::environment::EnvironmentError) -> TryError {
    TryError { kind: error.kind, message: error.message }
}

fn cancelled() -> TryError {
    TryError::new(
        ErrorType::CancelledError,
        "the run was interrupted; `trajgen run --resume` goes on with it",
    )
}

fn host(error: files::FileError) -> TryError {
    environment_error(collect::host_disk(error))
}

fn started() -> TimingInfo {
    TimingInfo { started_at: Some(clock::now()), finished_at: None }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or("nothing")
}

#[cfg(test)]
mod tests;
