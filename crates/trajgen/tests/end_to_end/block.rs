//! What a run of the shipped example leaves in its block, beside the job itself.

use crate::example::ran;
use crate::support::{names, read, read_json, read_lines, read_yaml};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[test]
fn the_proxys_config_is_kept_without_keys() {
    let ran = ran();
    let folder = ran.artifacts().join("litellm").join(ran.name());
    assert_eq!(names(&folder), ["litellm_config_trajgen.yaml"]);
    let config = read_yaml(&folder.join("litellm_config_trajgen.yaml"));
    assert_eq!(config["model_list"][0]["litellm_params"]["model"], "openai/example");
    assert_eq!(config["general_settings"]["master_key"], "[REDACTED]");
    assert_eq!(config["trajgen"]["job"], json!(ran.name()));
    assert!(config["trajgen"]["base_url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{config}");
}

#[test]
fn training_data_holds_exactly_the_resolved_ones() {
    let ran = ran();
    let folder = ran.artifacts().join("sft_data").join(ran.name());
    assert_eq!(
        names(&folder),
        [".convert_sig.json", "dataset_info.json", "im.jsonl", "lf.json", "lf.stats.json"]
    );
    let records = read_lines(&folder.join("im.jsonl"));
    let mut ids: Vec<_> =
        records.iter().map(|r| r["meta_info"]["unique_info"]["_instance_id"].clone()).collect();
    ids.sort_by_key(ToString::to_string);
    assert_eq!(json!(ids), json!(ran.resolved()));
    for record in &records {
        let info = &record["meta_info"];
        assert_eq!((&record["version"], &info["category"]), (&json!("2.0.0"), &json!("code")));
        assert_eq!(info["teacher"], "script/scripts");
        let unique = &info["unique_info"];
        assert_eq!((&unique["_score"]["scorer"], &unique["_agent_type"]), (&json!("v5"), &json!("main")));
        let score = unique["_score"]["composite_score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score));
        assert!(unique["_instance_metadata"]["repo"].is_string());
        assert_eq!(record["tools"], json!([]));
        assert_eq!(record["messages"][0], json!({"role": "system", "content": ""}));
    }
    let lf = read_json(&folder.join("lf.json"));
    let mut in_lf: Vec<_> = lf.as_array().unwrap().iter().map(|r| r["_instance_id"].clone()).collect();
    in_lf.sort_by_key(ToString::to_string);
    assert_eq!(in_lf, ids);
    for record in lf.as_array().unwrap() {
        assert_eq!(record["_score"]["scorer"], "v5");
        let roles: Vec<_> =
            record["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
        for (i, role) in roles.iter().enumerate() {
            assert_eq!(role, if i % 2 == 0 { "user" } else { "assistant" });
        }
    }
    let stats = read_json(&folder.join("lf.stats.json"));
    assert_eq!((&stats["count"], &stats["tokenizer"]), (&json!(ids.len()), &json!("usage")));
    let info = read_json(&folder.join("dataset_info.json"));
    assert_eq!(info[ran.name()]["file_name"], "lf.json");
    assert_eq!(read_json(&folder.join(".convert_sig.json"))["sig"].as_str().unwrap().len(), 64);
}

#[test]
fn the_run_is_archived() {
    let ran = ran();
    let archive = ran.artifacts().join("archives/run_001");
    assert_eq!(names(&archive), ["config.yaml", "metadata.yaml", "monitor.md", "scripts", "session.log"]);
    let metadata = read_yaml(&archive.join("metadata.yaml"));
    for (field, value) in [
        ("version", json!(1)),
        ("id", json!("run_001")),
        ("block", json!("trajgen")),
        ("status", json!("completed")),
        ("exit_code", json!(0)),
        ("job", json!(ran.name())),
    ] {
        assert_eq!(metadata[field], value, "{field}");
    }
    let results = &metadata["results"];
    assert_eq!((&results["n_trials"], &results["resolved"]), (&json!(8), &json!(7)));
    assert_eq!((&results["trajectories"], &results["sft_records"]), (&json!(8), &json!(7)));
    assert_eq!(metadata["inputs"]["harbor_job"]["n_concurrent"], 4);
    assert_eq!(metadata["inputs"]["litellm_proxy"]["master_key"], "[REDACTED]");
    assert!(metadata["repos"]["trajgen_version"].is_string());
    assert_eq!(metadata["repos"]["trajgen"].as_str().unwrap().len(), 40);
    assert_eq!(names(&archive.join("scripts")), names(&ran.block.join("scripts")));
    assert_eq!(read(&archive.join("session.log")), read(&ran.artifacts().join("logs/run_001.log")));
    let monitor = read(&archive.join("monitor.md"));
    for id in ran.expected().keys() {
        assert!(monitor.contains(&format!("| {id}__")), "{monitor}");
    }
    for part in ["## Figures", "## Trials", "## Slowest trials", "## What to look at next"] {
        assert!(monitor.contains(part), "{monitor}");
    }

    let index = read_yaml(&ran.artifacts().join("index.yaml"));
    assert_eq!(index["version"], 1);
    let run = &index["runs"][0];
    let keys: Vec<_> = run.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "started_at", "completed_at", "status", "archive", "notes"]);
    assert_eq!((&run["id"], &run["status"]), (&json!("run_001"), &json!("completed")));
    assert_eq!(run["archive"], "artifacts/archives/run_001/");
    assert_eq!((&run["started_at"], &run["notes"]), (&metadata["started_at"], &metadata["notes"]));
}

#[test]
fn the_ledger_says_what_was_consumed() {
    let ran = ran();
    let ledger = read_yaml(&ran.artifacts().join("consumption_ledger.yaml"));
    assert_eq!(ledger["version"], 1);
    let tasks = ledger["tasks"].as_array().unwrap();
    let rewards: BTreeMap<String, f64> = tasks
        .iter()
        .map(|t| (t["task_id"].as_str().unwrap().to_owned(), t["reward"].as_f64().unwrap()))
        .collect();
    assert_eq!(rewards, ran.expected());
    for task in tasks {
        for (field, value) in
            [("dataset", "tasks"), ("agent", "terminus-2"), ("model", "example"), ("status", "done")]
        {
            assert_eq!(task[field], value, "{task}");
        }
        assert_eq!(task["job"], json!(ran.name()));
        assert!(task["submitted_at"].as_str().unwrap() < task["completed_at"].as_str().unwrap());
        assert!(ran.block.join(task["trajectory_path"].as_str().unwrap()).is_file());
    }
    assert!(!ran.artifacts().join("consumption_ledger.yaml.journal.jsonl").exists());
}

#[test]
fn the_config_keeps_every_byte_outside_its_status() {
    let ran = ran();
    let now = read(&ran.block.join("config.yaml"));
    let (before, _) = ran.config.split_once("status:\n").unwrap();
    let (kept, status) = now.split_once("status:\n").unwrap();
    assert_eq!(kept, before);
    let status: Value = serde_saphyr::from_str(status).unwrap();
    for (field, value) in [
        ("state", json!("completed")),
        ("run_id", json!("run_001")),
        ("job", json!(ran.name())),
        ("n_tasks", json!(8)),
        ("n_running", json!(0)),
        ("n_done", json!(8)),
        ("n_errored", json!(0)),
        ("mean_reward", json!(0.875)),
    ] {
        assert_eq!(status[field], value, "{field}");
    }
    assert!(status["started_at"].is_string() && status["updated_at"].is_string());
}
