//! A job's folder, made for a test.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made must fail the test")]

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A block with one job in it.
pub(crate) struct Job {
    pub(crate) root: tempfile::TempDir,
    pub(crate) dir: PathBuf,
}

impl Job {
    /// An empty job of terminus-2.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("artifacts/jobs/demo");
        fs::create_dir_all(&dir).unwrap();
        Self { root, dir }
    }

    /// Writes `result.json` from reward keys and trial names.
    pub(crate) fn rewards(&self, rewards: &[(&str, &[&str])]) {
        let by_value: serde_json::Map<String, Value> =
            rewards.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        self.result(
            &json!({"stats": {"evals": {"terminus-2__m__d": {"reward_stats": {"reward": by_value}}}}}),
        );
    }

    pub(crate) fn result(&self, result: &Value) {
        fs::write(self.dir.join("result.json"), result.to_string()).unwrap();
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.root.path().join("artifacts/sft_data/demo")
    }

    /// Writes a trial's config, document and calls.
    pub(crate) fn trial(&self, name: &str, task: &str, steps: &Value, calls: &[Value]) -> PathBuf {
        let dir = self.dir.join(name);
        fs::create_dir_all(dir.join("agent")).unwrap();
        let config = json!({
            "task": {"path": format!("artifacts/tasks/d/{task}")},
            "agent": {"name": "terminus-2", "model_name": "openai/m-config"},
        });
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        fs::write(dir.join("agent/trajectory.json"), json!({"steps": steps}).to_string()).unwrap();
        let lines: String = calls.iter().map(|c| format!("{c}\n")).collect();
        fs::write(dir.join("agent/litellm-trajectory.jsonl"), lines).unwrap();
        dir
    }

    /// A trial of two turns that ends well.
    pub(crate) fn good_trial(&self, name: &str, task: &str) -> PathBuf {
        self.trial(name, task, &good_steps(), &[call(1_767_225_600_000, &json!([]))])
    }

    /// Writes a task with a metadata table.
    pub(crate) fn task(&self, task: &str, metadata: &str) {
        let dir = self.root.path().join("artifacts/tasks/d").join(task);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("task.toml"), format!("[metadata]\n{metadata}\n")).unwrap();
    }
}

/// A line of the captured calls.
pub(crate) fn call(request_time: u64, messages: &Value) -> Value {
    json!({
        "success": true,
        "request_time": request_time,
        "timestamp": "2026-01-01T00:00:00+00:00",
        "request_body": {"model": "openai/org/m-1", "max_tokens": 99, "temperature": 0.7, "messages": messages},
        "response_body": {"choices": []},
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    })
}

pub(crate) fn user(message: &str) -> Value {
    json!({"source": "user", "message": message})
}

pub(crate) fn agent(message: &str, reasoning: Option<&str>, calls: &Value, seen: &str) -> Value {
    json!({
        "source": "agent",
        "message": message,
        "reasoning_content": reasoning,
        "tool_calls": calls,
        "observation": {"results": [{"content": seen}]},
    })
}

pub(crate) fn bash(keystrokes: &str, duration: f64) -> Value {
    json!({"function_name": "bash_command", "arguments": {"keystrokes": keystrokes, "duration": duration}})
}

pub(crate) fn good_steps() -> Value {
    json!([
        user("Mend the parser."),
        agent(
            "Analysis: It is empty.\nPlan: Look around.",
            Some("Let me look."),
            &json!([bash("ls\n", 0.1), bash("cat parser.py\n", 0.1)]),
            "New Terminal Output:\nparser.py"
        ),
        agent(
            "Analysis: Done.\nPlan: Finish.",
            None,
            &json!([{"function_name": "mark_task_complete", "arguments": {}}]),
            "Are you sure?"
        ),
    ])
}

/// The lines of a file, each read as JSON.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// A file read as JSON.
pub(crate) fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
