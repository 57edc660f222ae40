//! One run of the shipped example: everything the formats name is there, and says what it should.

use crate::support::{Ended, checkout, names, only, read, read_json, read_lines, task_of, trajgen, trials};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A block in which the example has run.
pub struct Ran {
    pub block: PathBuf,
    /// The config before the run.
    pub config: String,
    ended: Ended,
}

/// Runs the example, once for all tests, from a copy of the checkout's files.
pub fn ran() -> &'static Ran {
    static RAN: OnceLock<Ran> = OnceLock::new();
    RAN.get_or_init(|| {
        let block = Path::new(env!("CARGO_TARGET_TMPDIR")).join("example");
        let _ = fs::remove_dir_all(&block);
        fs::create_dir_all(&block).unwrap();
        for part in ["config.yaml", "examples", "scripts"] {
            copy(&checkout().join(part), &block.join(part));
        }
        // A comment, a spelling and a secret of the user's own.
        let config = read(&block.join("config.yaml"))
            .replace("n_concurrent: 4", "n_concurrent:   4   # as many as the machine bears")
            .replace("      port: 0", "      master_key: \"sk-a-master-key-of-the-block\"\n      port: 0");
        fs::write(block.join("config.yaml"), &config).unwrap();
        let ended = trajgen(&block, &["run"]).well();
        Ran { block, config, ended }
    })
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for name in names(from) {
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

impl Ran {
    pub fn artifacts(&self) -> PathBuf {
        self.block.join("artifacts")
    }

    pub fn job(&self) -> PathBuf {
        only(&self.artifacts().join("jobs"))
    }

    pub fn name(&self) -> String {
        self.job().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The reward each task was designed for.
    pub fn expected(&self) -> BTreeMap<String, f64> {
        serde_json::from_value(read_json(&self.block.join("examples/expected.json"))).unwrap()
    }

    pub fn resolved(&self) -> Vec<String> {
        self.expected().into_iter().filter(|(_, reward)| *reward == 1.0).map(|(id, _)| id).collect()
    }

    fn trial(&self, task: &str) -> PathBuf {
        trials(&self.job()).into_iter().find(|trial| task_of(trial) == task).unwrap()
    }
}

#[test]
fn each_task_of_the_manifest_ends_as_designed_and_no_other_ran() {
    let ran = ran();
    let mut rewards = BTreeMap::new();
    for trial in trials(&ran.job()) {
        let result = read_json(&trial.join("result.json"));
        assert_eq!(result["exception_info"], Value::Null, "{}", trial.display());
        assert_eq!(result["agent_result"]["metadata"]["outcome"], "graded");
        rewards.insert(task_of(&trial), result["verifier_result"]["rewards"]["reward"].as_f64().unwrap());
    }
    assert_eq!(rewards, ran.expected());
    assert!(rewards.len() >= 8 && rewards.values().any(|reward| *reward == 0.0), "{rewards:?}");
    assert!(ran.block.join("examples/tasks/dunlin__weathervane-3").is_dir());
    assert!(!ran.artifacts().join("tasks/tasks/dunlin__weathervane-3").exists());
}

#[test]
fn the_artifacts_are_those_of_the_contract_and_nothing_is_left_over() {
    let ran = ran();
    let expected = [
        ".lock",
        "archives",
        "cache",
        "consumption_ledger.yaml",
        "index.yaml",
        "jobs",
        "litellm",
        "logs",
        "sft_data",
        "tasks",
    ];
    assert_eq!(names(&ran.artifacts()), expected);
    for folder in ["scratch", "sockets"] {
        assert_eq!(names(&ran.artifacts().join("cache").join(folder)), [""; 0], "{folder}");
    }
    assert_eq!(names(&ran.artifacts().join("archives")), ["run_001"]);
    assert_eq!(names(&ran.artifacts().join("logs")), ["run_001.log"]);
    assert_eq!(names(&ran.artifacts().join("sft_data")), [ran.name()]);
}

#[test]
fn a_job_is_named_and_summed_up() {
    let ran = ran();
    let (dataset, rest) = ran.name().split_once('-').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(dataset, "tasks");
    let stamp = rest.strip_prefix("terminus-2-2.0.0-example-").unwrap();
    assert!(stamp.len() == 14 && stamp.bytes().all(|b| b.is_ascii_digit()), "{stamp}");

    let result = read_json(&ran.job().join("result.json"));
    let n = ran.expected().len();
    let resolved = ran.resolved().len();
    assert!(result["finished_at"].is_string() && result["started_at"].is_string());
    assert_eq!(result["n_total_trials"], n);
    let stats = &result["stats"];
    for (field, value) in [
        ("n_completed_trials", n),
        ("n_trials", n),
        ("n_errors", 0),
        ("n_errored_trials", 0),
        ("n_running_trials", 0),
        ("n_pending_trials", 0),
        ("n_cancelled_trials", 0),
        ("n_retries", 0),
    ] {
        assert_eq!(stats[field], value, "{field}");
    }
    let eval = &stats["evals"]["terminus-2__example__tasks"];
    assert_eq!(eval["metrics"], json!([{"mean": resolved as f64 / n as f64}]));
    assert_eq!(eval["reward_stats"]["reward"]["1.0"].as_array().unwrap().len(), resolved);
    assert_eq!(eval["reward_stats"]["reward"]["0.0"].as_array().unwrap().len(), n - resolved);
    assert_eq!(eval["exception_stats"], json!({}));

    let sums = |field: &str| -> u64 {
        let of = |trial: &PathBuf| read_json(&trial.join("result.json"))["agent_result"][field].as_u64();
        trials(&ran.job()).iter().map(|trial| of(trial).unwrap()).sum()
    };
    assert_eq!(stats["n_input_tokens"], sums("n_input_tokens"));
    assert_eq!(stats["n_output_tokens"], sums("n_output_tokens"));
    assert_eq!(stats["cost_usd"], Value::Null);
}

#[test]
fn a_job_holds_its_config_its_lock_and_its_story() {
    let ran = ran();
    let config = read_json(&ran.job().join("config.json"));
    assert_eq!(config["job_name"], json!(ran.name()));
    assert_eq!(config["n_concurrent_trials"], 4);
    assert_eq!(config["environment"]["import_path"], "trajgen:sandbox");
    let lock = read_json(&ran.job().join("lock.json"));
    assert_eq!(lock["schema_version"], 3);
    assert_eq!(lock["trials"].as_array().unwrap().len(), ran.expected().len());
    let log = read(&ran.job().join("job.log"));
    assert!(log.contains("started: 8 trials to run") && log.contains("job ended: 8 trials over"), "{log}");

    // The config as it was when the run began, without the secret.
    let snapshot = read(&ran.job().join("config.yaml"));
    let secret = "sk-a-master-key-of-the-block";
    assert!(ran.config.contains(secret) && !snapshot.contains(secret), "{snapshot}");
    assert_eq!(snapshot, ran.config.replace(&format!("\"{secret}\""), "\"[REDACTED]\""));
}

#[test]
fn the_secret_of_the_config_is_nowhere_in_the_artifacts() {
    let ran = ran();
    let found: Vec<_> = crate::support::tree(&ran.artifacts())
        .into_iter()
        .filter(|entry| entry.contains("sk-a-master-key-of-the-block"))
        .collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn events_tell_the_job_in_order() {
    let ran = ran();
    let events = read_lines(&ran.job().join("events.jsonl"));
    assert!(events.iter().all(|event| event["v"] == 1 && event["at"].is_string()));
    let at: Vec<_> = events.iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(at.is_sorted());
    assert_eq!(events[0]["event"], "job_started");
    assert_eq!(events.last().unwrap()["event"], "job_ended");
    assert_eq!(events.last().unwrap()["mean_reward"], 0.875);
    for trial in trials(&ran.job()) {
        let name = trial.file_name().unwrap().to_str().unwrap();
        let of_trial: Vec<_> = events.iter().filter(|event| event["trial"] == name).collect();
        let phases: Vec<_> = of_trial.iter().filter_map(|event| event["phase"].as_str()).collect();
        let all = [
            "prepare",
            "environment_setup",
            "agent_setup",
            "agent_execution",
            "collect",
            "verifier",
            "tear_down",
        ];
        assert_eq!(phases, all);
        assert_eq!(of_trial[0]["event"], "trial_started");
        assert_eq!(of_trial.last().unwrap()["event"], "trial_ended");
        let calls = of_trial.iter().filter(|event| event["event"] == "model_call").count();
        assert_eq!(calls, read_lines(&trial.join("agent/litellm-trajectory.jsonl")).len());
    }
}

#[test]
fn a_trial_leaves_every_file_of_its_own() {
    let ran = ran();
    for trial in trials(&ran.job()) {
        let name = trial.file_name().unwrap().to_str().unwrap().to_owned();
        let (id, suffix) = name.rsplit_once("__").unwrap();
        assert!(task_of(&trial).starts_with(id) && suffix.len() == 7, "{name}");
        for file in ["config.json", "lock.json", "result.json", "trial.log"] {
            assert!(trial.join(file).is_file(), "{name}/{file}");
        }
        assert!(!trial.join("exception.txt").exists() && !trial.join("tries").exists(), "{name}");
        assert_eq!(names(&trial.join("agent")), ["litellm-trajectory.jsonl", "trajectory.json"]);
        // `logs/` mirrors /logs/artifacts, in which these agents left nothing.
        assert_eq!(names(&trial.join("artifacts")), ["logs", "manifest.json", "workspace.diff"]);
        assert_eq!(names(&trial.join("verifier")), ["reward.txt", "test-stdout.txt"]);
        let manifest = read_json(&trial.join("artifacts/manifest.json"));
        for entry in manifest.as_array().unwrap() {
            let keys: Vec<_> = entry.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["source", "destination", "type", "status", "service", "exclude"]);
        }
        let result = read_json(&trial.join("result.json"));
        assert_eq!(result["config"], read_json(&trial.join("config.json")));
        assert_eq!(result["trial_uri"], json!(format!("file://{}", trial.display())));
        for phase in ["environment_setup", "agent_setup", "agent_execution", "verifier"] {
            assert!(result[phase]["started_at"].is_string() && result[phase]["finished_at"].is_string());
        }
        let metadata = &result["agent_result"]["metadata"];
        assert_eq!((&metadata["n_tries"], &metadata["exit_reason"]), (&json!(1), &json!("task_complete")));
    }
    let diff = read(&ran.trial("oxbow__ringlog-9").join("artifacts/workspace.diff"));
    assert!(diff.contains("src/lib.rs") && diff.contains("\n+"), "{diff}");
}

#[test]
fn records_hold_every_field_of_every_call() {
    let ran = ran();
    for trial in trials(&ran.job()) {
        let name = trial.file_name().unwrap().to_str().unwrap();
        let records = read_lines(&trial.join("agent/litellm-trajectory.jsonl"));
        let mut times = Vec::new();
        let mut known = 0;
        for record in &records {
            assert_eq!(record["session_id"], json!(task_of(&trial)));
            assert_eq!(record["success"], true);
            assert_eq!(record["record_version"], 1);
            assert_eq!(record["wire_protocol"], "openai");
            assert_eq!(record["trajectory_route"], json!(format!("{}/{name}", ran.name())));
            assert!(record["duration_ms"].is_u64() && record.get("failure").is_none());
            let stamp = record["timestamp"].as_str().unwrap();
            assert!(stamp.ends_with("+00:00") || stamp.ends_with('Z'), "{stamp}");
            times.push(record["request_time"].as_u64().unwrap());

            let request = &record["request_body"];
            assert_eq!(request["model"], "script/scripts");
            assert_eq!(request["requested_model"], "example");
            assert_eq!(request["temperature"], 0.7);
            for absent in ["tools", "max_tokens", "top_p", "stop", "seed"] {
                assert_eq!(request.get(absent), None, "{absent}");
            }
            // The conversation grows: each request goes on where the last one ended.
            let messages = request["messages"].as_array().unwrap();
            assert!(messages.len() > known && messages[0]["role"] == "user");
            known = messages.len();

            let response = &record["response_body"];
            assert_eq!(response["object"], "chat.completion");
            assert!(response["id"].is_string() && response["created"].is_u64());
            let choice = &response["choices"][0];
            assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(0), &json!("stop")));
            assert_eq!(choice["message"]["role"], "assistant");
            assert!(choice["message"]["content"].is_string());
            let usage = &record["usage"];
            let sum = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
            assert_eq!(usage["total_tokens"], sum);
            assert_eq!(usage["cost"], Value::Null);
        }
        assert!(times.is_sorted() && records.len() > 2, "{name}");
        let result = read_json(&trial.join("result.json"));
        let input: u64 = records.iter().map(|r| r["usage"]["prompt_tokens"].as_u64().unwrap()).sum();
        assert_eq!(result["agent_result"]["n_input_tokens"], input);
        assert_eq!(result["agent_result"]["metadata"]["n_calls"], records.len());
    }
}

#[test]
fn an_injected_failure_is_tried_again_within_one_call() {
    let ran = ran();
    let tries_of = |trial: &PathBuf| -> Vec<Value> {
        let records = read_lines(&trial.join("agent/litellm-trajectory.jsonl"));
        records.into_iter().filter_map(|record| record.get("upstream_tries").cloned()).collect()
    };
    for trial in trials(&ran.job()) {
        let tries = tries_of(&trial);
        if task_of(&trial) != "pinecove__querykit-88" {
            assert_eq!(tries, [0; 0].map(Value::from), "{}", trial.display());
            continue;
        }
        let [Value::Array(tries)] = &tries[..] else { panic!("{tries:?}") };
        assert_eq!(tries.len(), 1);
        assert_eq!(
            (&tries[0]["status_code"], &tries[0]["error_type"]),
            (&json!(429), &json!("RateLimitError"))
        );
        assert!(tries[0]["deployment"].is_string() && tries[0]["duration_ms"].is_u64());
    }
}

#[test]
fn trajectories_are_told_as_atif() {
    let ran = ran();
    for trial in trials(&ran.job()) {
        let document = read_json(&trial.join("agent/trajectory.json"));
        assert_eq!(document["schema_version"], "ATIF-v1.7");
        assert_eq!(document["agent"]["name"], "terminus-2");
        let steps = document["steps"].as_array().unwrap();
        for (i, step) in steps.iter().enumerate() {
            assert_eq!(step["step_id"], i + 1);
            assert_eq!(step["source"], if i == 0 { "user" } else { "agent" });
        }
        assert_eq!(document["final_metrics"]["total_steps"], steps.len());
        let result = read_json(&trial.join("result.json"));
        assert_eq!(
            document["final_metrics"]["total_prompt_tokens"],
            result["agent_result"]["n_input_tokens"]
        );
    }
    // The compiler refuses the first repair, and the agent goes on from there.
    let document = read_json(&ran.trial("oxbow__ringlog-9").join("agent/trajectory.json"));
    let told = document["steps"].as_array().unwrap().iter();
    let seen: Vec<_> = told.filter_map(|s| s["observation"]["results"][0]["content"].as_str()).collect();
    let refused = seen.iter().position(|text| text.contains("error[E0")).unwrap();
    assert!(seen[refused + 1..].iter().any(|text| text.contains("test result: ok")), "{seen:?}");
}

#[test]
fn it_says_what_happens_and_where_everything_is() {
    let ran = ran();
    let (out, err) = (&ran.ended.out, &ran.ended.err);
    for part in [
        "8 of 8 over, 0 errored".to_owned(),
        "0.875 (7 resolved)".to_owned(),
        format!("artifacts/jobs/{}", ran.name()),
        format!("artifacts/sft_data/{}", ran.name()),
        "artifacts/archives/run_001/monitor.md".to_owned(),
    ] {
        assert!(out.contains(&part), "{part} is not in\n{out}");
    }
    // Without a terminal, a plain line with its time for what happens.
    let line = err.lines().find(|line| line.contains("[8/8]")).unwrap();
    let clock = line.split(' ').next().unwrap();
    assert!(clock.len() == 8 && clock.matches(':').count() == 2, "{line}");
    assert!(!err.contains('\u{1b}') && !out.contains('\u{1b}'));
}

#[test]
fn the_prepared_tasks_are_those_of_the_source() {
    let ran = ran();
    let prepared = ran.artifacts().join("tasks/tasks");
    for id in ran.expected().keys() {
        let source = crate::support::tree(&ran.block.join("examples/tasks").join(id));
        assert_eq!(crate::support::tree(&prepared.join(id)), source, "{id}");
    }
    let manifest = read(&ran.block.join("examples/tasks/verifiable_tasks.txt"));
    let ids = manifest.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    assert_eq!(ids.count(), ran.expected().len());
}
