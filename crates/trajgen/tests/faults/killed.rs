//! kill -9 at any moment, again and again: what was paid for is never paid for twice, and nothing is lost.

use crate::support::{Answer, Block, DONE, Model, REWARDED, files, names, of, script};
use rand::RngExt;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::Path;

/// A finished trial's `result.json`, by trial folder.
fn finished(block: &Block) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for job in names(&block.path("artifacts/jobs")) {
        for trial in names(&block.path(&format!("artifacts/jobs/{job}"))) {
            let path = format!("artifacts/jobs/{job}/{trial}/result.json");
            let Ok(text) = std::fs::read_to_string(block.path(&path)) else { continue };
            let result: serde_json::Value = serde_json::from_str(&text).unwrap();
            if !result["finished_at"].is_null() {
                found.insert(path, text);
            }
        }
    }
    found
}

#[test]
fn killed_at_any_moment_every_task_gets_one_final_result() {
    let n_kills = if std::env::var("TRAJGEN_TEST_FULL").is_ok_and(|full| full == "1") { 60 } else { 6 };
    let block = Block::scripted("max_retries: 0");
    let n_tasks = n_kills + 4;
    for n in 0..n_tasks {
        block.task(&format!("t{n:02}"), REWARDED);
    }
    let turns = format!(
        "tracks:\n- turns:\n  - {{raw: '{DONE}', delay_ms: 60}}\n  - {{raw: '{DONE}', delay_ms: 60}}\n"
    );
    block.write("scripts/default.yaml", &turns);
    let config = block.config_of_the_user();
    let mut seen = BTreeMap::new();
    let mut random = rand::rng();
    for _ in 0..n_kills {
        let run = block.start(go_on(&block));
        // Not after a time but after a number of steps, so that slow hosts see the same moments.
        let steps = random.random_range(0..40);
        let mut last = 0;
        let mut taken = 0;
        block.wait_until("enough has happened, or the run is over", || {
            let now: u64 = files(&block.path("artifacts"))
                .iter()
                .filter(|path| path.extension().is_some_and(|e| e == "jsonl" || e == "json" || e == "yaml"))
                .map(|path| size(path))
                .sum();
            taken += u32::from(now != last);
            last = now;
            taken > steps || run.is_over()
        });
        run.signal(Signal::KILL);
        run.wait();
        let now = finished(&block);
        for (path, text) in &seen {
            assert_eq!(now.get(path), Some(text), "{path} was finished and is not any more, or another time");
        }
        seen = now;
        block.check_logs();
        assert_eq!(block.config_of_the_user(), config);
    }
    block.trajgen(go_on(&block)).expect(0);
    for (path, text) in &seen {
        assert_eq!(&block.read(path), text, "{path}");
    }
    // All in one job, each task once, all graded.
    let job = block.job();
    let result = block.result(&job);
    assert_ne!(result["finished_at"], serde_json::Value::Null, "{result}");
    assert_eq!(result["stats"]["n_completed_trials"], n_tasks);
    assert_eq!(result["stats"]["n_errored_trials"], 0);
    let expected: Vec<String> = (0..n_tasks).map(|n| format!("t{n:02} done")).collect();
    assert_eq!(block.ledger(), expected);
    assert_eq!(finished(&block).len(), n_tasks);
    // Every run that got a number is in the index, and only the last one came to its end.
    let runs = block.runs();
    assert_eq!(runs.len(), names(&block.path("artifacts/archives")).len());
    let (last, killed) = runs.split_last().unwrap();
    assert!(last.ends_with("completed"), "{runs:?}");
    for run in killed {
        assert!(run.ends_with("interrupted") || run.ends_with("completed"), "{runs:?}");
    }
    assert_eq!(block.leftovers(), Vec::<String>::new());
    block.check_logs();
}

/// A block whose run was killed while its trial waited for the model.
fn killed() -> Block {
    let block = Block::scripted("max_retries: 0");
    block.task("a1", REWARDED);
    block.write(
        "scripts/default.yaml",
        &format!("tracks:\n- turns:\n  - {{raw: '{DONE}', delay_ms: 3600000}}\n"),
    );
    let run = block.start(&["run"]);
    block.wait_for("the trial has started", of("trial_started", "a1"));
    block.wait_until("the figures say so", || {
        let result = block.result(&block.job());
        result["stats"]["n_running_trials"] == 1
    });
    run.signal(Signal::KILL);
    run.wait();
    block
}

#[test]
fn status_names_a_run_that_died() {
    let block = killed();
    let said = block.trajgen(&["status"]).expect(0).stdout;
    for part in [
        ": interrupted\n",
        "run_001 has died: the next start archives it; `trajgen run --resume` goes on with its job\n",
        "0 of 1 trials over, 1 left running",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let report: serde_json::Value =
        serde_json::from_str(&block.trajgen(&["status", "--json"]).expect(0).stdout).unwrap();
    assert_eq!(report["dead_runs"], serde_json::json!(["run_001"]));
    assert_eq!(report["state"], "interrupted");
    block.write("scripts/default.yaml", &script(&[DONE, DONE]));
    block.trajgen(&["run", "--resume"]).expect(0);
    let said = block.trajgen(&["status"]).expect(0).stdout;
    assert!(said.contains(": completed\n") && !said.contains("has died"), "{said}");
}

#[test]
fn clean_keeps_the_log_of_a_run_that_died() {
    let block = killed();
    let log = block.read("artifacts/logs/run_001.log");
    let would = block.trajgen(&["clean", "--dry-run"]).expect(0);
    assert!(would.stdout.contains("would remove artifacts/logs"), "{}", would.stdout);
    assert!(!block.path("artifacts/index.yaml").exists());
    let cleaned = block.trajgen(&["clean"]).expect(0);
    assert!(cleaned.stderr.contains("run_001 had died; it is archived as interrupted"), "{}", cleaned.stderr);
    assert_eq!(block.read("artifacts/archives/run_001/session.log"), log);
    assert_eq!(block.runs(), ["run_001 interrupted"]);
    assert!(!block.path("artifacts/logs").exists());
    assert_eq!(block.yaml("config.yaml")["status"]["state"], "interrupted");

    // One that cannot be archived keeps its log.
    let block = killed();
    block.write("artifacts/index.yaml", "version: 9\n");
    let cleaned = block.trajgen(&["clean"]).expect(0);
    assert!(cleaned.stderr.contains("warning: logs are kept: "), "{}", cleaned.stderr);
    assert_eq!(names(&block.path("artifacts/logs")), ["run_001.log"]);
    assert!(!block.path("artifacts/cache").exists());
}

#[test]
fn a_run_that_dies_before_its_job_has_a_folder_says_which_it_was() {
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", silent.local_addr().unwrap());
    let block = Block::new(&format!("{{api_base_url: '{url}', model: openai/silent}}"), "max_retries: 0");
    block.task("a1", REWARDED);
    let run = block.start(&["run"]);
    let _held = silent.accept().unwrap();
    run.signal(Signal::KILL);
    run.wait();
    let metadata = block.yaml("artifacts/archives/run_001/metadata.yaml");
    let job = metadata["job"].as_str().unwrap_or_default();
    assert!(job.starts_with("tasks-terminus-2-"), "{metadata}");
    assert_eq!(names(&block.path("artifacts/jobs")), Vec::<String>::new());
    let said = block.trajgen(&["status"]).expect(0).stdout;
    assert!(said.contains("run_001 has died: the next start archives it\n"), "{said}");
    block.trajgen(&["clean"]).expect(0);
    assert_eq!(block.runs(), ["run_001 interrupted"]);
    assert!(!block.read("artifacts/archives/run_001/monitor.md").contains("--resume"));
}

#[test]
fn a_validation_sweeps_what_a_killed_one_left() {
    let block = Block::scripted("max_retries: 0");
    // Its tests wait until they are ended.
    block.task("a1", "#!/bin/bash\ntail -f /dev/null\n");
    block.write("tasks/a1/solution/solve.sh", "#!/bin/bash\ntrue\n");
    let killed = block.start(&["validate", "tasks"]);
    block.wait_until("there is a sandbox", || !names(&block.path("artifacts/cache/scratch")).is_empty());
    killed.signal(Signal::KILL);
    killed.wait();
    block.write("artifacts/cache/comparisons/tests-left/file", "a copy that was being compared");
    block.write("tasks/a1/tests/test.sh", "#!/bin/bash\necho 1 > /logs/verifier/reward.txt\n");
    block.trajgen(&["validate", "tasks"]).expect(2);
    for folder in ["scratch", "comparisons"] {
        assert_eq!(names(&block.path("artifacts/cache").join(folder)), Vec::<String>::new(), "{folder}");
    }
    assert_eq!(block.leftovers(), Vec::<String>::new());
}

/// A resume, once there is a job that can be resumed.
fn go_on(block: &Block) -> &'static [&'static str] {
    if block.jobs().is_empty() { &["run"] } else { &["run", "--resume"] }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map(|m| m.len()).unwrap_or(0)
}

#[test]
fn what_a_killed_run_had_paid_is_in_its_archive() {
    let model = Model::answering(|n, _| match n {
        0 | 2 => Model::says(DONE),
        1 => Model::fails(500, "overloaded"),
        _ => Answer::Silence,
    });
    let block = Block::served(&model, "max_retries: 1\nretry: {min_wait_sec: 0.01}");
    block.edit(
        "config.yaml",
        "max_retries: 0}",
        "max_retries: 0, input_cost_per_token: 0.01, output_cost_per_token: 0}",
    );
    block.task("a1", REWARDED);
    let run = block.start(&["run"]);
    // A first try with one answer that failed, and a second one with one answer.
    block.wait_until("the second try waits for an answer", || model.n_calls() == 4);
    run.signal(Signal::KILL);
    run.wait();
    // Whatever runs next archives it.
    block.edit("config.yaml", "agent: {name: terminus-2, max_turns: 5}", "agent: {name: nop}");
    block.trajgen(&["run"]).expect(0);
    assert_eq!(block.runs(), ["run_001 interrupted", "run_002 completed"]);
    let results = &block.yaml("artifacts/archives/run_001/metadata.yaml")["results"];
    assert_eq!((&results["n_trials"], &results["tokens"]), (&0.into(), &220.into()), "{results}");
    assert_eq!(results["cost_usd"], 2.0, "{results}");
    let report = block.read("artifacts/archives/run_001/monitor.md");
    assert!(report.contains("| - | not over | - | 220 |"), "{report}");
}
