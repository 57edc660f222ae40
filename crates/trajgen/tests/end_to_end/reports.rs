//! What can be asked of a block: its status, its archives, the binary's own papers.

use crate::example::ran;
use crate::support::{Small, command, names, read, trajgen, typing};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn status_tells_of_a_block_at_rest() {
    let ran = ran();
    let said = trajgen(&ran.block, &["status"]).well();
    said.says(": completed\n").says("8 of 8 trials over, 0 running, 0 pending, 0 errored, 0 cancelled");
    said.says("mean reward 0.875, 7 resolved").says("ledger: 8 done").says("last run: run_001 completed");
    let report = trajgen(&ran.block, &["status", "--json"]).well().json();
    assert_eq!((&report["running"], &report["ledger"]), (&json!(false), &json!({"done": 8})));
    assert_eq!((&report["job"]["mean_reward"], &report["job"]["resolved"]), (&json!(0.875), &json!(7)));
    assert_eq!((&report["state"], &report["dead_runs"]), (&json!("completed"), &json!([])));
    assert_eq!(report["last_run"]["id"], "run_001");
}

#[test]
fn status_needs_neither_secrets_nor_a_good_config() {
    let small = Small::with(&["alpha"]);
    small.configured(&[("harbor_job.jobs_dir", "\"${NO_SUCH_VARIABLE:-artifacts/mine}\"")]);
    small.trajgen(&["run"]).well();
    let config = read(&small.path().join("config.yaml"));
    let secret =
        config.replace("model: openai/tiny/model", "model: openai/tiny/model\n      api_key: ${NO_SUCH_KEY}");
    crate::support::write(&small.path().join("config.yaml"), &secret);
    small.trajgen(&["run", "--rerun", "all"]).with(2).complains("NO_SUCH_KEY is not set");
    for args in [&["status"][..], &["convert"], &["archive", "list"], &["archive", "show", "1"]] {
        assert_eq!(small.trajgen(args).well().err, "");
    }
    small
        .trajgen(&["status"])
        .well()
        .says(": completed")
        .says("1 of 1 trials over")
        .says("last run: run_001");
    small.trajgen(&["clean"]).well();

    crate::support::write(&small.path().join("config.yaml"), "version: [");
    let said = small.trajgen(&["status"]).well();
    said.says(": idle").says("last run: run_001").says("ledger: 1 done").complains("cannot be used");
    std::fs::remove_file(small.path().join("config.yaml")).unwrap();
    assert_eq!(small.trajgen(&["status"]).well().says("last run: run_001").err, "");
}

#[test]
fn status_tells_of_a_run_in_progress_and_of_what_became_of_it() {
    let small = Small::with(&["alpha", "beta"]);
    small.trajgen(&["status"]).well().says("idle");
    let fresh = small.trajgen(&["status", "--json"]).well().json();
    assert_eq!((&fresh["job"], &fresh["last_run"]), (&json!(null), &json!(null)));

    // A model that does not answer until it is all over.
    let mut model = typing(&[]);
    model["tracks"][0]["turns"][0]["delay_ms"] = 3_600_000.into();
    small.plays("beta", &model);
    let mut run =
        command(small.path(), &["run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap());
    assert!(lines.by_ref().any(|line| line.contains("[1/2] alpha__")));
    // The figures follow within a moment.
    let report = loop {
        let report = small.trajgen(&["status", "--json"]).well().json();
        let stats = &report["job"]["result"]["stats"];
        if stats["n_running_trials"] == 1 && stats["n_completed_trials"] == 1 {
            break report;
        }
    };
    assert_eq!(report["running"], true);
    assert_eq!(report["ledger"], json!({"done": 1, "running": 1}));
    small.trajgen(&["status"]).well().says("a run is in progress").says("1 of 2 trials over, 1 running");
    // What would be in its way keeps out.
    for args in [&["clean"][..], &["clean", "--purge", "--yes"], &["prepare"], &["validate", "data/mini"]] {
        small.trajgen(args).with(5).complains("in use by another run");
    }
    small.trajgen(&["clean", "--dry-run"]).well().says("would remove");
    let findings = small.trajgen(&["check", "--json"]).well().json();
    assert!(findings.as_array().unwrap().iter().any(|f| f["says"] == "a run is in progress here"));

    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    assert!(lines.any(|line| line.contains("job ended")));
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let report = small.trajgen(&["status", "--json"]).well().json();
    assert_eq!(report["ledger"], json!({"done": 1, "pending": 1}));
    assert_eq!((&report["running"], &report["last_run"]["status"]), (&json!(false), &json!("interrupted")));
}

#[test]
fn archives_are_listed_and_shown() {
    let ran = ran();
    let list = trajgen(&ran.block, &["archive", "list", "--json"]).well().json();
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!("run_001"), &json!("completed")));
    trajgen(&ran.block, &["archive", "list"]).well().says("run_001  ").says("8 trials, mean reward 0.875");
    let report = read(&ran.artifacts().join("archives/run_001/monitor.md"));
    for id in ["run_001", "1", "001"] {
        let shown = trajgen(&ran.block, &["archive", "show", id]).well();
        assert_eq!(shown.out.trim_end(), report.trim_end());
    }
    let metadata = trajgen(&ran.block, &["archive", "show", "1", "--json"]).well().json();
    assert_eq!((&metadata["id"], &metadata["results"]["resolved"]), (&json!("run_001"), &json!(7)));
    trajgen(&ran.block, &["archive", "show", "9"])
        .with(2)
        .complains("no run '9' in the index; there are: run_001");
    let dir = tempfile::tempdir().unwrap();
    trajgen(dir.path(), &["archive", "list"]).well().says("no runs yet");
    assert_eq!(trajgen(dir.path(), &["archive", "list", "--json"]).well().json(), json!([]));
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn completions_and_man_pages_come_out_of_the_binary() {
    let dir = tempfile::tempdir().unwrap();
    let commands = [
        "run",
        "prepare",
        "validate",
        "check",
        "convert",
        "status",
        "archive",
        "clean",
        "init",
        "config",
        "completions",
        "man",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let script = trajgen(dir.path(), &["completions", shell]).well().out;
        for command in commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
        assert!(script.contains("rerun") && script.contains("skip-unchanged"), "{shell}");
    }
    let bash = dir.path().join("trajgen.bash");
    std::fs::write(&bash, trajgen(dir.path(), &["completions", "bash"]).well().out).unwrap();
    assert!(std::process::Command::new("bash").arg("-n").arg(&bash).status().unwrap().success());
    trajgen(dir.path(), &["man", "man"]).well();
    let pages = names(&dir.path().join("man"));
    for command in commands {
        assert!(pages.contains(&format!("trajgen-{command}.1")), "{command}: {pages:?}");
    }
    let page = read(&dir.path().join("man/trajgen-run.1"));
    assert!(page.contains(".TH") && page.contains("resume"), "{page}");
}

#[test]
fn bad_usage_is_told_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    trajgen(dir.path(), &[]).with(2);
    trajgen(dir.path(), &["fly"]).with(2).complains("fly");
    trajgen(dir.path(), &["run", "--block", "nowhere"]).with(2).complains("nowhere");
    let help = trajgen(dir.path(), &["--help"]).well();
    help.says("Exit codes").says("validate").says("archive");
    trajgen(dir.path(), &["--version"]).well().says("trajgen ");
    trajgen(dir.path(), &["run"]).with(2).complains("config.yaml");
    assert_eq!(names(dir.path()), [""; 0]);
}
