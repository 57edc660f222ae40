//! A task as a trial needs it: templates resolved, config's figures applied, what cannot be run refused.

use super::TrialSpec;
use super::collect::Wanted;
use super::folder;
use crate::environment::{EnvironmentSpec, Network};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trajgen_contract::harbor::TrialLock;
use trajgen_contract::task::{
    Definition, EnvironmentSection, Healthcheck, NetworkMode, NetworkPolicy, Task, VerifierMode, digest,
    resolve_env,
};

/// A task, ready to run.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// `[task].name`, else the folder's name.
    pub name: String,
    /// What the agent is told.
    pub instruction: String,
    /// Harbor's checksum.
    pub checksum: String,
    /// As whom the agent works.
    pub agent_user: Option<String>,
    /// The agent's limit, seconds.
    pub agent_timeout: Option<f64>,
    /// The task's `tests/`.
    pub tests: PathBuf,
    /// As whom tests run.
    pub verifier_user: Option<String>,
    /// Their variables.
    pub verifier_env: BTreeMap<String, String>,
    /// Their limit, seconds.
    pub verifier_timeout: f64,
    /// Limit of building and starting, seconds.
    pub build_timeout: f64,
    /// When the environment is ready.
    pub healthcheck: Option<Healthcheck>,
    /// What is brought out.
    pub artifacts: Vec<Wanted>,
    /// The task's own word on leftovers.
    pub stop_leftovers: Option<bool>,
    /// `solution/` and its variables, for the oracle.
    pub solution: Option<(PathBuf, BTreeMap<String, String>)>,
    environment_dir: PathBuf,
    environment: EnvironmentSection,
    environment_env: BTreeMap<String, String>,
    networks: Networks,
}

/// What a task says of each phase's network; none where it is silent.
#[derive(Debug, Clone, Copy)]
struct Networks {
    setup: Option<Network>,
    agent: Option<Network>,
    verifier: Option<Network>,
}

impl Networks {
    /// A phase that is silent has the environment's.
    fn of(definition: &Definition) -> Self {
        let policy = |policy: &Option<NetworkPolicy>| {
            policy.as_ref().map(|policy| match policy.mode {
                NetworkMode::Public => Network::Public,
                NetworkMode::NoNetwork => Network::None,
                NetworkMode::Allowlist => Network::Allowlist,
            })
        };
        let setup = policy(&definition.environment.network);
        Self {
            setup,
            agent: policy(&definition.agent.network).or(setup),
            verifier: policy(&definition.verifier.network).or(setup),
        }
    }
}

impl TaskView {
    /// Reads a trial's task.
    ///
    /// # Errors
    /// Says what is wrong with the task, which variable is missing, or what of it cannot be run yet.
    pub fn read(spec: &TrialSpec) -> Result<Self, String> {
        let (task, _warnings) = Task::load(&spec.task_dir).map_err(|e| e.to_string())?;
        let definition = task.definition();
        if let Some(feature) = unsupported(&task, definition) {
            return Err(format!("uses {feature}, which is not supported yet"));
        }
        let host = |name: &str| std::env::var(name).ok();
        let resolve = |table: &BTreeMap<String, String>| resolve_env(table, host).map_err(|e| e.to_string());
        let solution = (spec.agent.name == "oracle")
            .then(|| Ok::<_, String>((task.solution_dir(), resolve(&definition.solution_env)?)))
            .transpose()?;
        Ok(Self {
            name: task.name().to_owned(),
            instruction: task.instruction().to_owned(),
            checksum: digest::task_checksum(task.dir()).map_err(|e| e.to_string())?,
            agent_user: definition.agent.user.clone(),
            agent_timeout: definition.agent.timeout_sec,
            tests: task.tests_dir(),
            verifier_user: definition.verifier.user.clone(),
            verifier_env: resolve(&definition.verifier.env)?,
            verifier_timeout: definition.verifier.timeout_sec,
            build_timeout: definition.environment.build_timeout_sec,
            healthcheck: definition.environment.healthcheck.clone(),
            artifacts: definition
                .artifacts
                .iter()
                .map(|a| Wanted {
                    source: a.source.clone(),
                    destination: a.destination.clone(),
                    exclude: a.exclude.clone(),
                    service: Some(a.service.clone()),
                })
                .collect(),
            stop_leftovers: definition.verifier.stop_leftovers,
            solution,
            environment_dir: task.environment_dir(),
            environment: definition.environment.clone(),
            environment_env: resolve(&definition.environment.env)?,
            networks: Networks::of(definition),
        })
    }

    /// What the trial asks of its environment: config's figures win over the task's, the task's networks over config's.
    #[must_use]
    pub fn environment_spec(
        &self,
        spec: &TrialSpec,
        build_timeout: Duration,
        proxy_socket: Option<PathBuf>,
    ) -> EnvironmentSpec {
        let figures = &spec.environment;
        EnvironmentSpec {
            trial: format!("{}/{}", spec.job, spec.trial),
            context: self.environment_dir.clone(),
            docker_image: self.environment.docker_image.clone(),
            workdir: self.environment.workdir.clone(),
            env: self.environment_env.clone(),
            network: self.networks.agent.unwrap_or(figures.network),
            setup_network: self.networks.setup,
            verifier_network: self.networks.verifier.or(figures.verifier_network).unwrap_or(
                // As in Harbor, where an environment can give each phase its own.
                if figures.kind == "docker" { Network::Public } else { Network::None },
            ),
            cpus: figures.cpus.or(self.environment.cpus),
            memory_mb: figures.memory_mb.or(self.environment.memory_mb),
            storage_mb: figures.storage_mb.or(self.environment.storage_mb),
            pids: figures.pids,
            proxy_socket,
            build_timeout,
        }
    }
}

/// The lock of a spec's trial, as in its folder and its job's `lock.json`.
///
/// # Errors
/// Says what is wrong with the task.
pub fn lock_of(spec: &TrialSpec) -> Result<TrialLock, String> {
    let (task, _warnings) = Task::load(&spec.task_dir).map_err(|e| e.to_string())?;
    let config = folder::config_of(spec);
    let lock = task.lock(&spec.task_dir.to_string_lossy(), Some(&spec.dataset)).map_err(|e| e.to_string())?;
    let mode = (task.steps().next().is_none()).then(|| task.verifier_mode(None).as_str());
    Ok(TrialLock::new(&config, lock, mode))
}

/// What a task asks for that no environment here gives yet.
fn unsupported(task: &Task, definition: &Definition) -> Option<&'static str> {
    let has = |name: &str| Path::new(&task.environment_dir()).join(name).exists();
    if !definition.steps.is_empty() {
        Some("[[steps]]")
    } else if task.verifier_mode(None) == VerifierMode::Separate {
        Some("a separate verifier environment")
    } else if !definition.verifier.collect.is_empty() {
        Some("[[verifier.collect]]")
    } else if has("docker-compose.yaml") && !has("Dockerfile") {
        Some("docker-compose.yaml")
    } else if definition.environment.gpus.is_some_and(|n| n > 0) || definition.environment.tpu.is_some() {
        Some("GPUs or TPUs")
    } else {
        None
    }
}
