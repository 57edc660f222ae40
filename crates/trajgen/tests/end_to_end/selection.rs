//! Which tasks a run takes: manifest, globs, ledger, and what is asked for by name.

use crate::example;
use crate::support::{Small, names, read_json, read_yaml, task_of, trajgen, tree, trials};
use serde_json::{Value, json};

fn latest(small: &Small) -> String {
    let run = small.trajgen(&["archive", "list", "--json"]).well().json();
    let notes = run.as_array().unwrap().last().unwrap()["notes"].as_str().unwrap().to_owned();
    notes.split(": ").next().unwrap().to_owned()
}

/// The tasks of the last job, sorted.
fn ran(small: &Small) -> Vec<String> {
    small.rewards(&latest(small)).into_iter().map(|(id, _)| id).collect()
}

fn ledger(small: &Small) -> Vec<(String, String, Option<f64>)> {
    let ledger = read_yaml(&small.path().join("artifacts/consumption_ledger.yaml"));
    let entry = |t: &Value| {
        let text = |field: &str| t[field].as_str().unwrap().to_owned();
        (text("task_id"), text("status"), t["reward"].as_f64())
    };
    ledger["tasks"].as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn a_second_start_says_that_all_is_consumed() {
    let ran = example::ran();
    let before = tree(&ran.artifacts().join("archives"));
    let ended = trajgen(&ran.block, &["run"]).well();
    ended.says("nothing left to run in 'tasks': 8 tasks are consumed");
    for way in ["--rerun all", "--rerun failed", "--rerun <task id>"] {
        ended.says(way);
    }
    let ended = trajgen(&ran.block, &["run", "--json"]).well().json();
    assert_eq!(ended["consumed"], 8);
    assert_eq!(tree(&ran.artifacts().join("archives")), before);
    assert_eq!(names(&ran.artifacts().join("jobs")).len(), 1);
}

#[test]
fn consumed_tasks_run_again_when_asked() {
    let small = Small::with(&["alpha", "beta", "gamma"]);
    small.fails("beta");
    // No reward at all: an error of the task's, and the ledger says failed.
    crate::support::write(&small.source().join("gamma/tests/test.sh"), "#!/bin/bash\ntrue\n");
    small.trajgen(&["run"]).well().says("3 of 3 over, 1 errored");
    let done = |id: &str, reward| (id.to_owned(), "done".to_owned(), Some(reward));
    let failed = ("gamma".to_owned(), "failed".to_owned(), None);
    assert_eq!(ledger(&small), [done("alpha", 1.0), done("beta", 0.0), failed]);

    // It is mended at its source, and prepared anew.
    crate::support::write_task(&small.source(), "gamma");
    small.trajgen(&["run", "--rerun", "failed", "--overwrite"]).well();
    assert_eq!(ran(&small), ["gamma"]);
    assert_eq!(ledger(&small)[2], done("gamma", 1.0));
    small.trajgen(&["run", "--rerun", "failed"]).well().says("nothing left to run");

    small.trajgen(&["run", "--rerun", "beta", "alpha"]).well();
    assert_eq!(ran(&small), ["alpha", "beta"]);
    small.trajgen(&["run", "--rerun", "all"]).well();
    assert_eq!(ran(&small), ["alpha", "beta", "gamma"]);
    assert_eq!(small.runs(), ["run_001", "run_002", "run_003", "run_004"]);
    small.trajgen(&["run", "--rerun", "delta"]).with(2).complains("--rerun delta: there is no such task");
}

#[test]
fn what_is_asked_for_by_name_must_be_a_task_that_may_run() {
    let small = Small::with(&["py-a", "py-b", "go-c"]);
    small.configured(&[("harbor_job.exclude_tasks", "['*-b']"), ("harbor_job.include_tasks", "['py-*']")]);
    let path = small.path().join("config.yaml");
    let config = crate::support::read(&path);
    std::fs::write(&path, config + "environment:\n  extra: {HARBOR_EXCLUDE_TASKS: \"py-a\"}\n").unwrap();
    for (id, says) in [
        ("py-a", "--rerun py-a: this task is excluded by 'py-a' of HARBOR_EXCLUDE_TASKS"),
        ("py-b", "--rerun py-b: this task is excluded by '*-b' of harbor_job.exclude_tasks"),
        ("go-c", "--rerun go-c: no pattern of harbor_job.include_tasks takes this task in"),
        ("py-x", "--rerun py-x: there is no such task in 'mini'"),
    ] {
        small.trajgen(&["run", "--rerun", id]).with(2).complains(says);
    }
    assert_eq!(small.runs(), [""; 0]);
}

#[test]
fn people_may_edit_the_ledger() {
    let small = Small::with(&["alpha", "beta"]);
    small.trajgen(&["run"]).well();
    let path = small.path().join("artifacts/consumption_ledger.yaml");
    let text = crate::support::read(&path);
    let edited =
        text.replacen("status: done", "status: skipped", 1).replacen("status: done", "status: pending", 1);
    std::fs::write(&path, edited).unwrap();
    small.trajgen(&["run"]).well();
    assert_eq!(ran(&small), ["beta"]);
}

#[test]
fn globs_the_environment_and_a_number_choose_tasks() {
    let small = Small::with(&["py-c", "py-a", "go-b", "py-d"]);
    let planned = |settings: &[(&str, &str)], excluded: &str| -> Vec<String> {
        small.configured(settings);
        let path = small.path().join("config.yaml");
        let config = crate::support::read(&path);
        let extra = format!("environment:\n  extra: {{HARBOR_EXCLUDE_TASKS: \"{excluded}\"}}\n");
        std::fs::write(&path, config + &extra).unwrap();
        let plan = small.trajgen(&["run", "--dry-run", "--json"]).well().json();
        let ids = plan["trials"].as_array().unwrap().iter();
        ids.map(|trial| trial["task_id"].as_str().unwrap().to_owned()).collect()
    };
    // The manifest's order.
    assert_eq!(planned(&[], ""), ["py-c", "py-a", "go-b", "py-d"]);
    assert_eq!(planned(&[("harbor_job.include_tasks", "['py-*']")], ""), ["py-c", "py-a", "py-d"]);
    assert_eq!(planned(&[("harbor_job.exclude_tasks", "['*-a', go-b]")], ""), ["py-c", "py-d"]);
    assert_eq!(planned(&[], "py-c go-*"), ["py-a", "py-d"]);
    let both = [("harbor_job.include_tasks", "['py-*']"), ("harbor_job.n_tasks", "2")];
    assert_eq!(planned(&both, "py-a"), ["py-c", "py-d"]);
    // Without a manifest: by id.
    std::fs::remove_file(small.source().join("verifiable_tasks.txt")).unwrap();
    assert_eq!(planned(&[], ""), ["go-b", "py-a", "py-c", "py-d"]);
}

#[test]
fn a_number_of_tasks_goes_on_where_the_last_run_ended() {
    let small = Small::with(&["alpha", "beta", "gamma"]);
    small.configured(&[("harbor_job.n_tasks", "2")]);
    small.trajgen(&["run"]).well();
    assert_eq!(ran(&small), ["alpha", "beta"]);
    small.trajgen(&["run"]).well();
    assert_eq!(ran(&small), ["gamma"]);
    small.trajgen(&["run"]).well().says("3 tasks are consumed");
}

#[test]
fn attempts_of_a_task_are_judged_together() {
    let small = Small::with(&["alpha", "beta"]);
    small.configured(&[("harbor_job.n_attempts", "2"), ("harbor_job.n_concurrent", "1")]);
    small.fails("beta");
    small.trajgen(&["run"]).well().says("4 of 4 over, 0 errored").says("0.500 (2 resolved)");
    let job = small.job(&latest(&small));

    // First attempts of all tasks come before second ones.
    let events = crate::support::read_lines(&job.join("events.jsonl"));
    let started: Vec<_> = events
        .iter()
        .filter(|e| e["event"] == "trial_started")
        .map(|e| format!("{} {}", e["task_id"].as_str().unwrap(), e["attempt"]))
        .collect();
    assert_eq!(started, ["alpha 1", "beta 1", "alpha 2", "beta 2"]);
    let stats = &read_json(&job.join("result.json"))["stats"];
    let eval = &stats["evals"]["terminus-2__model__mini"];
    assert_eq!((&eval["n_trials"], &eval["pass_at_k"]), (&json!(4), &json!({"2": 0.5})));
    assert_eq!(ledger(&small).len(), 2);
    let entries = read_yaml(&small.path().join("artifacts/consumption_ledger.yaml"));
    for (entry, reward) in entries["tasks"].as_array().unwrap().iter().zip([1.0, 0.0]) {
        assert_eq!((&entry["status"], &entry["reward"]), (&json!("done"), &json!(reward)));
        assert_eq!(entry["model"], "tiny/model");
        assert!(small.path().join(entry["trajectory_path"].as_str().unwrap()).is_file());
    }
    // Both attempts of the resolved task are training data.
    let sft = small.path().join("artifacts/sft_data").join(latest(&small));
    assert_eq!(crate::support::read_lines(&sft.join("im.jsonl")).len(), 2);
}

#[test]
fn a_fraction_of_the_reward_counts_as_done() {
    let small = Small::with(&["alpha"]);
    small.configured(&[("harbor_job.n_attempts", "2")]);
    let test =
        "#!/bin/bash\nif [ -e /app/done ]; then echo 0.25; else echo 0; fi > /logs/verifier/reward.txt\n";
    crate::support::write(&small.source().join("alpha/tests/test.sh"), test);
    small.trajgen(&["run"]).well();
    assert_eq!(ledger(&small), [("alpha".to_owned(), "done".to_owned(), Some(0.25))]);
    let job = small.job(&latest(&small));
    let eval = &read_json(&job.join("result.json"))["stats"]["evals"]["terminus-2__model__mini"];
    // pass@k is for rewards of 0 and 1.
    assert_eq!((&eval["pass_at_k"], &eval["metrics"]), (&json!({}), &json!([{"mean": 0.25}])));
    assert_eq!(eval["reward_stats"]["reward"]["0.25"].as_array().unwrap().len(), 2);
    assert_eq!(trials(&job).iter().map(|t| task_of(t)).collect::<Vec<_>>(), ["alpha", "alpha"]);
}
