//! kill -9 at any moment, again and again: what was paid for is never paid for twice, and nothing is lost.

use crate::support::{Block, DONE, REWARDED, files, names};
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
    let n_kills = if std::env::var_os("TRAJGEN_TEST_FULL").is_some() { 60 } else { 6 };
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

/// A resume, once there is a job that can be resumed.
fn go_on(block: &Block) -> &'static [&'static str] {
    if block.jobs().is_empty() { &["run"] } else { &["run", "--resume"] }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map(|m| m.len()).unwrap_or(0)
}
