//! Everything a try needs to know, as plain data: what a placement is handed.

use super::Spent;
use crate::environment::Network;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One trial of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrialSpec {
    /// The job's name.
    pub job: String,
    /// The job's id, a uuid.
    pub job_id: String,
    /// The trial's name.
    pub trial: String,
    /// The trial's own id, a uuid.
    pub trial_id: String,
    /// The trial's folder.
    pub trial_dir: PathBuf,
    /// The task's id: its folder's name.
    pub task_id: String,
    /// The prepared task's folder.
    pub task_dir: PathBuf,
    /// The data set's name.
    pub dataset: String,
    /// Which of the task's attempts this is, from 1.
    pub attempt: u32,
    /// Who solves it.
    pub agent: AgentSpec,
    /// Where.
    pub environment: EnvironmentFigures,
    /// Limits of its phases.
    pub timeouts: Timeouts,
    /// End what the agent left running before verification; a task's own setting wins.
    pub stop_leftovers: bool,
    /// Compare tests and report findings.
    pub integrity: bool,
    /// Leave failed environments running.
    pub keep_environments: bool,
    /// What the trial may spend, over all its calls.
    pub limits: SpendingLimits,
}

/// The agent of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// Its name.
    pub name: String,
    /// A pinned version.
    pub version: Option<String>,
    /// The model's name without protocol prefix; none for agents that call no model.
    pub model: Option<String>,
    /// The model's context, tokens.
    pub max_input_tokens: Option<u64>,
    /// The longest answer, tokens.
    pub max_output_tokens: Option<u64>,
    /// Options of the agent.
    pub kwargs: serde_json::Map<String, serde_json::Value>,
    /// Variables for its commands.
    pub env: BTreeMap<String, String>,
    /// Those that config takes from the environment, as it writes them: nothing else is told of them.
    #[serde(default)]
    pub env_taken: BTreeMap<String, String>,
}

/// What config says of environments; a task's own figures are overridden by these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentFigures {
    /// `sandbox` or `docker`, decided.
    pub kind: String,
    /// For tasks that are silent.
    pub network: Network,
    /// For verifiers of tasks that are silent; none: the environment's default.
    pub verifier_network: Option<Network>,
    /// CPUs.
    pub cpus: Option<f64>,
    /// Memory, MiB.
    pub memory_mb: Option<u64>,
    /// Disk, MiB.
    pub storage_mb: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
}

/// How phase limits are made: `min(override or the task's, max) × multiplier`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeouts {
    /// For all phases without a multiplier of their own.
    pub multiplier: f64,
    /// The agent's run.
    pub agent_multiplier: Option<f64>,
    /// The verifier.
    pub verifier_multiplier: Option<f64>,
    /// Agent set-up.
    pub agent_setup_multiplier: Option<f64>,
    /// Building and starting the environment.
    pub environment_multiplier: Option<f64>,
    /// Overrides the task's agent limit, seconds.
    pub agent_sec: Option<f64>,
    /// Overrides the task's verifier limit, seconds.
    pub verifier_sec: Option<f64>,
    /// Caps the agent's limit before the multiplier, seconds.
    pub max_agent_sec: Option<f64>,
}

impl Timeouts {
    /// The agent's limit, from the task's; none when neither gives one.
    #[must_use]
    pub fn agent(&self, task: Option<f64>) -> Option<f64> {
        let limit = match (self.agent_sec.or(task), self.max_agent_sec) {
            (Some(limit), Some(max)) => Some(limit.min(max)),
            (limit, max) => limit.or(max),
        };
        limit.map(|l| l * self.agent_multiplier.unwrap_or(self.multiplier))
    }
    /// The verifier's limit, from the task's.
    #[must_use]
    pub fn verifier(&self, task: f64) -> f64 {
        self.verifier_sec.unwrap_or(task) * self.verifier_multiplier.unwrap_or(self.multiplier)
    }
    /// The limit of agent set-up: 360 s before the multiplier.
    #[must_use]
    pub fn agent_setup(&self) -> f64 {
        360.0 * self.agent_setup_multiplier.unwrap_or(self.multiplier)
    }
    /// The limit of building and starting, from the task's.
    #[must_use]
    pub fn environment(&self, task: f64) -> f64 {
        task * self.environment_multiplier.unwrap_or(self.multiplier)
    }
}

/// What may be spent; none: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SpendingLimits {
    /// USD.
    pub max_usd: Option<f64>,
    /// Input and output tokens.
    pub max_tokens: Option<u64>,
    /// Model calls.
    pub max_calls: Option<u64>,
}

impl SpendingLimits {
    /// What is left of the limits once `spent` is; nothing is left of one that is used up.
    #[must_use]
    pub fn less(&self, spent: &Spent) -> Self {
        let tokens = spent.n_input_tokens + spent.n_output_tokens;
        Self {
            max_usd: self.max_usd.map(|max| (max - spent.cost_usd.unwrap_or(0.0)).max(0.0)),
            max_tokens: self.max_tokens.map(|max| max.saturating_sub(tokens)),
            max_calls: self.max_calls.map(|max| max.saturating_sub(spent.n_calls)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_taken_off_limits() {
        let limits = SpendingLimits { max_usd: Some(1.0), max_tokens: Some(100), max_calls: None };
        let spent = Spent { n_calls: 2, n_input_tokens: 40, n_output_tokens: 20, ..Spent::default() };
        let left = SpendingLimits { max_tokens: Some(40), ..limits };
        assert_eq!(limits.less(&spent), left);
        let all = Spent { n_input_tokens: 400, cost_usd: Some(2.0), ..spent };
        let nothing = SpendingLimits { max_usd: Some(0.0), max_tokens: Some(0), max_calls: None };
        assert_eq!(limits.less(&all), nothing);
    }

    #[test]
    fn limits_are_overridden_capped_and_multiplied_in_this_order() {
        let mut t = Timeouts {
            multiplier: 2.0,
            agent_multiplier: None,
            verifier_multiplier: Some(0.5),
            agent_setup_multiplier: None,
            environment_multiplier: None,
            agent_sec: None,
            verifier_sec: None,
            max_agent_sec: Some(100.0),
        };
        assert_eq!(t.agent(Some(300.0)), Some(200.0));
        assert_eq!(t.agent(Some(30.0)), Some(60.0));
        assert_eq!(t.agent(None), Some(200.0));
        assert_eq!(t.verifier(600.0), 300.0);
        assert_eq!(t.agent_setup(), 720.0);
        t.agent_sec = Some(10.0);
        assert_eq!(t.agent(Some(300.0)), Some(20.0));
        t.max_agent_sec = None;
        t.agent_sec = None;
        assert_eq!(t.agent(None), None);
    }
}
