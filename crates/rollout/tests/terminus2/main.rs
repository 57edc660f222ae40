//! terminus-2 against a model on a real port and a real shell on a PTY.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod context;
mod local;
mod model;
mod tmux;
mod turns;

use local::Local;
use model::Model;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use trajgen_contract::atif::Trajectory;
use trajgen_rollout::agent::{Agent, AgentContext, AgentFailure, AgentReport, registry};

/// A trial's agent, its folder and its model.
struct Bench {
    agent: Arc<dyn Agent>,
    context: AgentContext,
    environment: Arc<Local>,
    model: Model,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new(kwargs: Value, answers: impl IntoIterator<Item = model::Answer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "agent"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let environment = Arc::new(Local::new(&folder.path().join("home")));
        let model = Model::answering(answers).await;
        let context = AgentContext {
            trial_name: "greet__abcdefg".into(),
            instruction: "Greet the world.".into(),
            environment: environment.clone(),
            user: None,
            env: std::collections::BTreeMap::new(),
            model: Some(model.endpoint()),
            logs_dir: folder.path().join("agent"),
            solution: None,
            cancelled: CancellationToken::new(),
        };
        let agent = registry::create("terminus-2", kwargs.as_object().unwrap()).unwrap();
        Self { agent, context, environment, model, folder }
    }

    async fn run(&self) -> Result<AgentReport, AgentFailure> {
        self.agent.set_up(&self.context).await?;
        self.agent.run(&self.context).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("agent").join(name)
    }

    /// The record, which must hold to the rules of its format.
    fn record(&self) -> Trajectory {
        Trajectory::read(&self.file("trajectory.json")).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("agent")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A document with every time replaced.
fn without_times(document: &Trajectory) -> Value {
    let mut document = serde_json::to_value(document).unwrap();
    for step in document["steps"].as_array_mut().unwrap() {
        if let Some(time) = step.get_mut("timestamp") {
            *time = json!("[time]");
        }
    }
    document
}
