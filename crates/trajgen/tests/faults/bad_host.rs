//! A host that does not play along: taken ports, silent upstreams, full and read-only disks, another run in the block.

use crate::support::{Answer, Block, DONE, Model, REWARDED, names};
use rustix::process::Signal;
use serde_json::json;

/// No trial was consumed, and no job is there to be resumed.
#[track_caller]
fn nothing_consumed(block: &Block) {
    assert!(!block.path("artifacts/consumption_ledger.yaml").exists());
    assert_eq!(names(&block.path("artifacts/jobs")), Vec::<String>::new());
}

#[test]
fn a_port_that_is_taken() {
    let block = Block::scripted("max_retries: 0");
    block.task("a1", REWARDED);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    block.edit("config.yaml", "port: 0", &format!("port: {port}"));
    let checked = block.trajgen(&["check"]).expect(3);
    let told = format!(
        "FAIL  port         cannot listen on 127.0.0.1:{port}: Address already in use (os error 98); end what listens \
         there, or set litellm_proxy.port to 0"
    );
    assert!(checked.stdout.lines().any(|line| line == told), "{}", checked.stdout);
    let ended = block.trajgen(&["run"]).expect(3);
    assert_eq!(
        ended.error(),
        format!(
            "error: port {port} on 127.0.0.1 is in use; end what listens there, or set litellm_proxy.port to 0 for any \
             free one"
        )
    );
    nothing_consumed(&block);
    assert_eq!(block.runs(), ["run_001 failed"]);
    assert_eq!(block.yaml("artifacts/archives/run_001/metadata.yaml")["stage"], "check");
    // It closes with what there is, and with nothing else.
    let rows: Vec<&str> = ended.stdout.lines().filter(|line| !line.is_empty()).map(str::trim).collect();
    let there_is = [
        "trials  0 of 1 over, 0 errored",
        "mean reward  - (0 resolved)",
        "tokens  0 (cost unknown)",
        "report  artifacts/archives/run_001/monitor.md",
    ];
    assert_eq!(rows, there_is);
    let status = block.yaml("config.yaml")["status"].clone();
    assert_eq!((&status["state"], &status["n_tasks"]), (&json!("failed"), &json!(1)));
    let report = block.read("artifacts/archives/run_001/monitor.md");
    assert!(!report.contains("--resume") && report.contains("No trial was started"), "{report}");
    let closing: serde_json::Value =
        serde_json::from_str(&block.trajgen(&["run", "--json"]).expect(3).stdout).unwrap();
    assert_eq!(closing["job_dir"], json!(null));
    drop(listener);
    block.trajgen(&["run"]).expect(0);
}

#[test]
fn an_upstream_that_is_not_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let block = Block::new(&format!("{{api_base_url: '{url}', model: openai/gone}}"), "max_retries: 0");
    block.task("a1", REWARDED);
    let checked = block.trajgen(&["check"]).expect(3);
    let told = "FAIL  upstream     'gone' does not answer: cannot reach the model: ";
    assert!(checked.stdout.lines().any(|line| line.starts_with(told)), "{}", checked.stdout);
    let ended = block.trajgen(&["run"]).expect(3);
    let told = "error: the upstream of model 'gone' does not answer: cannot reach the model: ";
    assert!(ended.error().starts_with(told), "{}", ended.error());
    nothing_consumed(&block);
    let status = block.yaml("config.yaml")["status"].clone();
    assert_eq!(status["state"], "failed");
    assert!(status["last_error"].as_str().unwrap().contains("does not answer"), "{status}");
}

#[test]
fn a_second_run_in_the_same_block() {
    let model = Model::answering(|_, _| Answer::Silence);
    let block = Block::served(&model, "max_retries: 0");
    block.task("a1", REWARDED);
    let first = block.start(&["run"]);
    block.wait_until("the first run has called", || model.n_calls() == 1);
    for args in [&["run"][..], &["run", "--resume"], &["prepare"]] {
        let ended = block.trajgen(args).expect(5);
        assert_eq!(
            ended.error(),
            format!(
                "error: this block is in use by another run (process {}); wait for it, or see `trajgen status`",
                first.id()
            )
        );
    }
    first.signal(Signal::INT);
    first.wait().expect(130);
    assert_eq!(block.runs(), ["run_001 interrupted"]);
}

#[test]
fn a_block_that_cannot_be_written() {
    let block = Block::scripted("max_retries: 0");
    block.task("a1", REWARDED);
    let root = block.path("").display().to_string();
    let ended =
        block.trajgen_in("mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\"", &["run"], "");
    let ended = ended.expect(3);
    assert_eq!(
        ended.error(),
        format!("error: cannot create the folder {root}artifacts: Read-only file system (os error 30)")
    );
}

#[test]
fn a_disk_without_room() {
    let block = Block::scripted("max_retries: 0");
    block.task("a1", REWARDED);
    let artifacts = block.path("artifacts").display().to_string();
    std::fs::create_dir(block.path("artifacts")).unwrap();
    let small = "mount -t tmpfs -o size=64m none artifacts";
    let keep = "cp artifacts/index.yaml kept.yaml; ls artifacts/jobs artifacts/consumption_ledger.yaml";
    let ended = block.trajgen_in(small, &["run"], keep).expect(3);
    let told =
        ended.error().strip_prefix(&format!("error: {artifacts} has ")).unwrap_or_else(|| ended.error());
    let told = told.trim_start_matches(|c: char| c.is_ascii_digit()).lines().next().unwrap();
    assert_eq!(
        told,
        " MiB free; at least 256 MiB are needed to start. Make room, for example with `trajgen clean`"
    );
    assert_eq!(block.yaml("kept.yaml")["runs"][0]["status"], "failed");
    assert!(ended.stderr.contains("cannot access 'artifacts/jobs'"), "{}", ended.stderr);

    // Not even room for the archive.
    let full = format!("{small} && {{ head -c 65m /dev/zero > artifacts/fill || true; }}");
    let ended = block.trajgen_in(&full, &["run"], "").expect(3);
    assert!(ended.error().contains("No space left on device"), "{}", ended.error());
    assert!(ended.error().contains("at least 256 MiB are needed to start"), "{}", ended.error());
}

#[test]
fn a_disk_that_fills_up_during_a_run_pauses_the_job() {
    let fill = json!({
        "analysis": "There is much to store.", "plan": "Store it.",
        "commands": [{"keystrokes": "head -c 600m /dev/zero > /app/big; sync\n", "duration": 0.1}],
    })
    .to_string();
    let model = Model::answering(move |_, body| {
        if body.contains("Do nothing in b1") { Model::says(&fill) } else { Model::says(DONE) }
    });
    let block = Block::served(&model, "max_retries: 2");
    block.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 1");
    block.edit("config.yaml", "max_turns: 5", "max_turns: 500");
    // Promised more than there is: nothing ends the sandbox before the disk is full.
    block.edit("config.yaml", "type: sandbox", "type: sandbox, storage_mb: 800");
    for id in ["a1", "b1", "c1"] {
        block.task(id, REWARDED);
    }
    std::fs::create_dir(block.path("artifacts")).unwrap();
    // What the run and the resume after it leave is copied out before the mount goes away with its namespace.
    let ended = block
        .trajgen_in(
            "mount -t tmpfs -o size=400m none artifacts",
            &["run"],
            "cp -r artifacts kept; \"$1\" run --resume >resumed.txt 2>&1; echo \"resumed: $?\"; cp -r artifacts resumed",
        )
        .expect(3);
    // Whoever had something to write first says so: the trial, or the job.
    assert!(ended.error().starts_with("error: the job stopped early: DiskFullError: "), "{}", ended.error());
    assert!(ended.stderr.contains("no further trials start: "), "{}", ended.stderr);
    let at = |path: &str| block.yaml(path);
    assert_eq!(at("kept/index.yaml")["runs"][0]["status"], "failed");
    let statuses = |ledger: &str| {
        let ledger = at(ledger);
        let entries = ledger["tasks"].as_array().unwrap().clone();
        entries
            .iter()
            .map(|e| format!("{} {}", e["task_id"], e["status"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses("kept/consumption_ledger.yaml"), ["a1 done", "b1 pending"]);
    let job = names(&block.path("kept/jobs")).remove(0);
    let trial =
        names(&block.path(&format!("kept/jobs/{job}"))).into_iter().find(|t| t.starts_with("b1")).unwrap();
    let result = block.json(&format!("kept/jobs/{job}/{trial}/result.json"));
    assert_eq!(result["exception_info"]["exception_type"], "DiskFullError");
    assert_eq!(result["agent_result"]["metadata"]["outcome"], "host_environment");
    assert!(names(&block.path(&format!("kept/jobs/{job}/{trial}/tries"))).is_empty());
    // The record of calls is whole lines, as far as there was room.
    let log = block.read(&format!("kept/jobs/{job}/{trial}/agent/litellm-trajectory.jsonl"));
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    // With the sandbox gone there is room again, and the job goes on with what had not begun.
    assert!(ended.stdout.contains("resumed: 0"), "{}\n{}", ended.stdout, block.read("resumed.txt"));
    assert_eq!(statuses("resumed/consumption_ledger.yaml"), ["a1 done", "b1 pending", "c1 done"]);
    assert_eq!(names(&block.path("resumed/cache/scratch")), Vec::<String>::new());
}
