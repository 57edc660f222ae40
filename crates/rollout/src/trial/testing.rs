//! What tests of trials are made of.

use super::{AgentSpec, EnvironmentFigures, SpendingLimits, Timeouts, TrialSpec};
use crate::environment::Network;
use std::collections::BTreeMap;
use std::path::Path;

/// A trial of the task `id`, which does nothing.
pub(crate) fn spec(folder: &Path, id: &str) -> TrialSpec {
    TrialSpec {
        job: "job".into(),
        job_id: "id".into(),
        trial: format!("{id}__1"),
        trial_id: "id".into(),
        trial_dir: folder.join(id),
        task_id: id.into(),
        task_dir: folder.join("tasks").join(id),
        dataset: "tasks".into(),
        attempt: 1,
        agent: AgentSpec {
            name: "nop".into(),
            version: None,
            model: None,
            max_input_tokens: None,
            max_output_tokens: None,
            kwargs: serde_json::Map::new(),
            env: BTreeMap::new(),
            env_taken: Default::default(),
        },
        environment: EnvironmentFigures {
            kind: "sandbox".into(),
            network: Network::None,
            verifier_network: None,
            cpus: None,
            memory_mb: None,
            storage_mb: None,
            pids: 1,
        },
        timeouts: Timeouts {
            multiplier: 1.0,
            agent_multiplier: None,
            verifier_multiplier: None,
            agent_setup_multiplier: None,
            environment_multiplier: None,
            agent_sec: None,
            verifier_sec: None,
            max_agent_sec: None,
        },
        stop_leftovers: false,
        integrity: false,
        keep_environments: false,
        limits: SpendingLimits::default(),
    }
}
