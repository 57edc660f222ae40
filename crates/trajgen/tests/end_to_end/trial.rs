//! What tasks ask of a trial, and what becomes of it.

use crate::support::{Small, names, only, read, read_json, read_lines, trials, typing, write};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The only trial of a block's only job.
fn trial(small: &Small) -> PathBuf {
    let found = trials(&only(&small.path().join("artifacts/jobs")));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn what_a_task_declares_is_brought_out() {
    let small = Small::with(&["alpha"]);
    let task = "artifacts = [\"/app/out.txt\", {source = \"/app/build\", destination = \"made\", exclude = [\"*.o\"]}, \"/app/nowhere\"]\nversion = \"1.0\"\n";
    write(&small.source().join("alpha/task.toml"), task);
    small.plays(
        "default",
        &typing(&[
            "echo text > out.txt; mkdir build; echo p > build/prog; echo o > build/x.o",
            "echo more > /logs/artifacts/extra.txt; echo log > /logs/agent/own.log; touch done",
        ]),
    );
    small.trajgen(&["run"]).well();
    let folder = trial(&small).join("artifacts");
    assert_eq!(read(&folder.join("app/out.txt")), "text\n");
    assert_eq!(names(&folder.join("made")), ["prog"]);
    assert_eq!(read(&folder.join("logs/artifacts/extra.txt")), "more\n");
    assert_eq!(read(&trial(&small).join("agent/own.log")), "log\n");
    let manifest = read_json(&folder.join("manifest.json"));
    let status = |source: &str| {
        let entry = manifest.as_array().unwrap().iter().find(|entry| entry["source"] == source).unwrap();
        entry["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status("/app/out.txt"), "ok");
    assert_eq!(status("/app/build"), "ok");
    assert_eq!(status("/logs/artifacts"), "ok");
    assert_ne!(status("/app/nowhere"), "ok");
    let diff = read(&folder.join("workspace.diff"));
    assert!(diff.contains("out.txt") && diff.contains("+text"), "{diff}");
}

#[test]
fn rewards_with_several_keys() {
    let small = Small::with(&["alpha"]);
    let test = "#!/bin/bash\necho '{\"reward\": 1, \"style\": 0.5, \"fast\": true}' > /logs/verifier/reward.json\necho 0 > /logs/verifier/reward.txt\necho shown; echo wrong >&2; exit 7\n";
    write(&small.source().join("alpha/tests/test.sh"), test);
    small.trajgen(&["run"]).well();
    let trial = trial(&small);
    let rewards = &read_json(&trial.join("result.json"))["verifier_result"]["rewards"];
    assert_eq!(rewards, &json!({"reward": 1.0, "style": 0.5, "fast": 1.0}));
    let said = read(&trial.join("verifier/test-stdout.txt"));
    assert!(said.contains("shown") && said.contains("wrong"), "{said}");
    let job = trial.parent().unwrap();
    let eval = &read_json(&job.join("result.json"))["stats"]["evals"]["terminus-2__model__mini"];
    assert_eq!(eval["metrics"], json!([{"fast": 1.0, "reward": 1.0, "style": 0.5}]));
    assert_eq!(eval["pass_at_k"], json!({}));
}

#[test]
fn an_agent_out_of_time_is_graded_on_what_it_left() {
    let small = Small::with(&["alpha"]);
    small.configured(&[("harbor_job.agent_timeout_sec", "4"), ("sft_conversion.instance_status", "all")]);
    let mut model = typing(&["touch done"]);
    model["tracks"][0]["turns"][1]["delay_ms"] = 3_600_000.into();
    small.plays("default", &model);
    small.trajgen(&["run"]).well().says("1 of 1 over, 1 errored");
    let trial = trial(&small);
    let result = read_json(&trial.join("result.json"));
    assert_eq!(result["exception_info"]["exception_type"], "AgentTimeoutError");
    assert_eq!(result["verifier_result"]["rewards"]["reward"], 1.0);
    assert_eq!(result["agent_result"]["metadata"]["outcome"], "agent_limit");
    assert!(read(&trial.join("exception.txt")).contains("AgentTimeoutError"));
    assert!(!trial.join("tries").exists());
    // The call in flight is on record, as failed.
    let records = read_lines(&trial.join("agent/litellm-trajectory.jsonl"));
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["success"], &records[1]["success"]), (&json!(true), &json!(false)));
    let failure = &records[1]["failure"];
    assert!(failure["error_type"].is_string() && failure["message"].is_string(), "{failure}");
    assert!(failure["deployment"]["model"].is_string(), "{failure}");
    assert!(records[1]["response_body"]["error"]["type"].is_string());
    let stats = &read_json(&trial.parent().unwrap().join("result.json"))["stats"];
    assert_eq!((&stats["n_errored_trials"], &stats["n_completed_trials"]), (&json!(1), &json!(1)));
    small.trajgen(&["run", "--rerun", "all", "--fail-on-error"]).with(4);
}

#[test]
fn an_agent_that_is_never_done_ends_after_its_turns() {
    let small = Small::with(&["alpha"]);
    small.configured(&[("agent.max_turns", "2")]);
    let mut model = typing(&["touch done", "ls"]);
    model["when_exhausted"] = "repeat_last".into();
    small.plays("default", &model);
    small.trajgen(&["run"]).well().says("0 errored");
    let result = read_json(&trial(&small).join("result.json"));
    assert_eq!(result["exception_info"], Value::Null);
    assert_eq!(result["agent_result"]["metadata"]["exit_reason"], "max_turns");
    assert_eq!(result["agent_result"]["metadata"]["n_calls"], 2);
    assert_eq!(result["verifier_result"]["rewards"]["reward"], 1.0);
}

#[test]
fn tests_that_were_tampered_with_are_a_finding() {
    let small = Small::with(&["alpha"]);
    // As the agent's leftover would: the tests change while they run.
    let test = "#!/bin/bash\necho '# changed' >> /tests/helper.sh\necho 1 > /logs/verifier/reward.txt\n";
    write(&small.source().join("alpha/tests/test.sh"), test);
    write(&small.source().join("alpha/tests/helper.sh"), "true\n");
    small.configured(&[("harbor_job.integrity", "exclude")]);
    small.trajgen(&["run"]).well();
    let result = read_json(&trial(&small).join("result.json"));
    let findings = &result["agent_result"]["metadata"]["findings"];
    assert!(findings[0].as_str().unwrap().contains("tests/helper.sh"), "{findings}");
    let data = only(&small.path().join("artifacts/sft_data"));
    assert_eq!(read_json(&data.join("lf.stats.json"))["dropped"], json!({"integrity_finding": 1}));
}

#[test]
fn what_a_task_says_of_its_environment_holds() {
    let small = Small::with(&["alpha"]);
    let task = small.source().join("alpha");
    write(
        &task.join("task.toml"),
        "version = \"1.0\"\n[task]\nname = \"org/named\"\n[environment]\nmemory_mb = 512\nenv = {GREETING = \"hello\", FROM_HOST = \"${TRAJGEN_TEST_UNSET:-fallback}\"}\n[environment.healthcheck]\ncommand = \"test -e /app/ready\"\ninterval_sec = 0.1\n[agent]\nuser = \"nobody\"\n[verifier]\nenv = {EXPECTED = \"hello fallback nobody\"}\n",
    );
    write(
        &task.join("environment/Dockerfile"),
        "FROM debian:12\nARG WHO=someone\nENV MADE_BY=$WHO\nWORKDIR /app\nCOPY seed.txt /app/\nRUN touch ready && chmod 0777 /app\n",
    );
    write(&task.join("environment/seed.txt"), "seed\n");
    write(
        &task.join("tests/test.sh"),
        "#!/bin/bash\nid -un; pwd; cat answer.txt\nif [ \"$(cat answer.txt)\" = \"$EXPECTED\" ] && [ \"$MADE_BY\" = someone ] && [ \"$(cat seed.txt)\" = seed ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n",
    );
    small.plays("default", &typing(&["echo $GREETING $FROM_HOST $(id -un) > /app/answer.txt"]));
    small.trajgen(&["run"]).well();
    let trial = trial(&small);
    let result = read_json(&trial.join("result.json"));
    let said = read(&trial.join("verifier/test-stdout.txt"));
    assert_eq!(result["verifier_result"]["rewards"]["reward"], 1.0, "{said}");
    assert!(said.starts_with("root\n/app\n"), "{said}");
    assert_eq!(result["task_name"], "org/named");
    assert!(read(&trial.join("build.log")).contains("RUN"));
}

#[test]
fn prices_from_the_config_reach_the_trajectory_too() {
    let small = Small::with(&["priced"]);
    small.configured(&[("llm_api.input_cost_per_token", "0.5"), ("llm_api.output_cost_per_token", "2")]);
    small.trajgen(&["run"]).well();
    let trial = trial(&small);
    let counted = read_json(&trial.join("result.json"))["agent_result"]["cost_usd"].as_f64().unwrap();
    let told = read_json(&trial.join("agent/trajectory.json"));
    assert!(counted > 1.0);
    assert_eq!(told["final_metrics"]["total_cost_usd"].as_f64(), Some(counted));
    assert!(told["steps"][1]["metrics"]["cost_usd"].as_f64().unwrap() < counted);
}
