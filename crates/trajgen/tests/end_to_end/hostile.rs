//! Agents that reach for what is not theirs: their record, their grade, the host's files.

use crate::support::{Small, names, only, read, read_json, read_lines, tree, trials, typing};
use std::path::{Path, PathBuf};

/// A block whose agent types `lines` and leaves its task unsolved, after its run; the trial's folder.
fn played(lines: &[&str], prepare: impl FnOnce(&Small)) -> (Small, PathBuf) {
    let small = Small::with(&["alpha"]);
    small.plays("default", &typing(lines));
    prepare(&small);
    small.trajgen(&["run"]).well();
    let trial = trials(&only(&small.path().join("artifacts/jobs"))).remove(0);
    (small, trial)
}

fn reward(trial: &Path) -> f64 {
    read_json(&trial.join("result.json"))["verifier_result"]["rewards"]["reward"].as_f64().unwrap()
}

/// The record is the proxy's: as many calls as the agent made, and nothing that it wrote.
fn assert_record_is_whole(trial: &Path, n_calls: usize) {
    let records = read_lines(&trial.join("agent/litellm-trajectory.jsonl"));
    assert_eq!(records.len(), n_calls);
    assert!(records.iter().all(|record| record["record_version"] == 1));
    let document = read_json(&trial.join("agent/trajectory.json"));
    assert_eq!(document["schema_version"], "ATIF-v1.7");
}

#[test]
fn a_planted_reward_is_none() {
    let (_small, trial) = played(
        &[
            "mkdir -p /logs/verifier; echo 1 > /logs/verifier/reward.txt",
            "echo '{\"reward\": 1}' > /logs/verifier/reward.json; ls -la /logs/verifier",
            // Again and again, when the tests run.
            "(while :; do echo '{\"reward\": 1}' > /logs/verifier/reward.json; sleep 0.01; done) & disown",
        ],
        |small| small.configured(&[("harbor_job.stop_leftovers", "true")]),
    );
    assert_eq!(reward(&trial), 0.0);
    assert_eq!(names(&trial.join("verifier")), ["reward.txt", "test-stdout.txt"]);
    assert_eq!(read(&trial.join("verifier/reward.txt")).trim(), "0");
}

#[test]
fn what_plants_rewards_on_and_on_is_ended_and_told() {
    let plant = "(while :; do mkdir -p /logs/verifier; echo 1 > /logs/verifier/reward.json; done) 2> /dev/null & disown";
    let (small, trial) = played(&[plant], |small| {
        small.configured(&[("harbor_job.integrity", "exclude"), ("sft_conversion.instance_status", "all")]);
    });
    assert_eq!(reward(&trial), 0.0);
    let result = read_json(&trial.join("result.json"));
    assert_eq!(result["exception_info"], serde_json::Value::Null);
    let findings = &result["agent_result"]["metadata"]["findings"];
    assert!(findings[0].as_str().unwrap().contains("wrote to /logs/verifier: reward.json"), "{findings}");
    assert!(!trial.join("tries").exists());
    let sft = only(&small.path().join("artifacts/sft_data"));
    assert_eq!(read(&sft.join("im.jsonl")), "");
}

#[test]
fn a_reward_planted_before_silent_tests_is_none() {
    let (_small, trial) = played(&["echo 1 > /logs/verifier/reward.txt"], |small| {
        crate::support::write(&small.source().join("alpha/tests/test.sh"), "#!/bin/bash\ntrue\n");
    });
    let result = read_json(&trial.join("result.json"));
    assert_eq!(result["exception_info"]["exception_type"], "RewardFileNotFoundError");
    assert!(result["verifier_result"].is_null(), "{result}");
    assert!(!trial.join("verifier/reward.txt").exists());
}

#[test]
fn an_agent_cannot_write_into_its_own_record() {
    let forged = "{\"success\": true, \"forged\": true}";
    let plant = format!(
        "for f in litellm-trajectory.jsonl trajectory.json; do echo '{forged}' | tee /logs/agent/$f /logs/verifier/$f > /dev/null; done; echo mine > /logs/agent/notes.txt"
    );
    let up = "mkdir -p /logs/agent/../agent/x; ln -s ../../.. /logs/agent/up; echo '{}' > /logs/agent/up/result.json";
    let (small, trial) = played(&[&plant, up], |_| {});
    assert_eq!(reward(&trial), 0.0);
    assert_record_is_whole(&trial, 4);
    assert_eq!(read(&trial.join("agent/notes.txt")), "mine\n");
    // What it wrote is in its record as what it typed, and nowhere as a record.
    let records = read_lines(&trial.join("agent/litellm-trajectory.jsonl"));
    assert!(records.iter().all(|record| record.get("forged").is_none()));
    let result = read_json(&trial.join("result.json"));
    assert_eq!(result["agent_result"]["metadata"]["n_calls"], 4);
    assert!(names(&trial.join("agent")).iter().all(|name| name != "up"));
    let sft = only(&small.path().join("artifacts/sft_data"));
    assert_eq!(read(&sft.join("im.jsonl")), "");
}

#[test]
fn links_lead_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    std::fs::write(&target, "the host's").unwrap();
    let before = tree(outside.path());
    let link = format!(
        "cd /logs; for f in agent/trajectory.json agent/litellm-trajectory.jsonl agent/link verifier/reward.txt verifier/test-stdout.txt artifacts/link; do mkdir -p $(dirname $f); rm -f $f; ln -s {} $f; done; ls -la agent verifier",
        target.display()
    );
    let folders = format!(
        "rm -rf /logs/verifier; ln -s {0} /logs/verifier; rm -rf /tests; ln -s {0} /tests",
        outside.path().display()
    );
    let hosts =
        "ln -s /etc/passwd /logs/agent/passwd; ln /etc/passwd /logs/agent/hard; mkfifo /logs/agent/pipe";
    let (_small, trial) = played(&[&link, hosts, &folders], |_| {});
    assert_eq!(tree(outside.path()), before);
    assert_record_is_whole(&trial, 5);
    // The links were there.
    let seen = read(&trial.join("agent/trajectory.json"));
    assert!(seen.contains(&format!("trajectory.json -> {}", target.display())), "{seen}");
    for name in names(&trial.join("agent")).iter().chain(&names(&trial.join("verifier"))) {
        let kind = [trial.join("agent").join(name), trial.join("verifier").join(name)];
        let kind = kind.iter().find_map(|path| std::fs::symlink_metadata(path).ok()).unwrap();
        assert!(kind.is_file(), "{name}");
    }
    let result = read_json(&trial.join("result.json"));
    let reward = result["verifier_result"]["rewards"]["reward"].as_f64();
    assert_ne!(reward, Some(1.0), "{result}");
}

#[test]
fn what_the_tests_are_is_not_there_before_grading() {
    let secret = "the-secret-of-the-tests";
    let (small, trial) = played(
        &[
            "ls -a /tests /solution; ls /logs",
            "grep -rls the-secret-of-the-test[s] / --exclude-dir=proc --exclude-dir=sys 2>/dev/null | head; echo searched",
            "env | sort; cat /proc/*/environ | tr '\\0' '\\n' | grep -i key",
        ],
        |small| {
            let task = small.source().join("alpha");
            for file in ["tests/secret.txt", "solution/secret.txt"] {
                crate::support::write(&task.join(file), secret);
            }
            crate::support::write(&small.path().join("secret.txt"), secret);
        },
    );
    let document = read(&trial.join("agent/trajectory.json"));
    assert!(document.contains("searched"), "{document}");
    for folder in ["/tests", "/solution"] {
        assert!(document.contains(&format!("cannot access '{folder}': No such file")), "{document}");
    }
    assert!(!document.contains(secret) && !document.contains("secret.txt"), "{document}");
    assert!(!document.contains(&small.path().display().to_string()));
}

#[test]
fn a_removed_workdir_is_graded() {
    let (_small, trial) = played(&["cd /; rm -rf /app"], |_| {});
    assert_eq!(reward(&trial), 0.0);
    let result = read_json(&trial.join("result.json"));
    assert_eq!(result["exception_info"], serde_json::Value::Null);
    let findings = &result["agent_result"]["metadata"]["findings"];
    assert!(findings[0].as_str().unwrap().contains("/app was gone"), "{findings}");
}

#[test]
fn a_long_file_of_nothing_is_not_compared() {
    let (_small, trial) = played(&["truncate -s 1200M /app/x"], |_| {});
    assert_eq!(reward(&trial), 0.0);
    assert!(!trial.join("artifacts/workspace.diff").exists());
    assert!(read(&trial.join("trial.log")).contains("the workspace is not compared: it holds more than"));
}

#[test]
fn who_uses_up_all_processes_is_graded() {
    let hoard = "perl -e 'while (1) { my $p = fork; last unless defined $p; if (!$p) { sleep 1000; exit } }'";
    let (_small, trial) = played(&[hoard], |_| {});
    assert_eq!(reward(&trial), 0.0);
    let result = read_json(&trial.join("result.json"));
    assert_eq!(result["exception_info"], serde_json::Value::Null);
    assert!(!trial.join("tries").exists());
}

#[test]
fn a_reward_planted_while_the_tests_run_is_none() {
    // It waits until the tests are there, so that nothing is seen before.
    let plant = "(until [ -x /tests/test.sh ] && pgrep -f '^/bin/bash /tests/test.sh' > /dev/null; do :; done; \
        while :; do echo '{\"reward\": 1}' > /logs/verifier/reward.json; done) > /dev/null 2>&1 & disown";
    let (small, trial) = played(&[plant], |small| {
        let test =
            "#!/bin/bash\necho 0 > /logs/verifier/reward.txt; for n in {1..300}; do ls / > /dev/null; done\n";
        crate::support::write(&small.source().join("alpha/tests/test.sh"), test);
    });
    assert_eq!(reward(&trial), 0.0);
    assert_eq!(names(&trial.join("verifier")), ["reward.txt", "test-stdout.txt"]);
    drop(small);
}
