//! How trials end when something fails: further tries, stops of the job, limits, and verifiers without a reward.

use crate::support::{Answer, Block, DONE, Model, REWARDED, names, of};
use serde_json::Value;

const QUICK_RETRIES: &str = "max_retries: 2\nretry: {min_wait_sec: 0.01, max_wait_sec: 0.05}";

fn metadata<'a>(result: &'a Value, key: &str) -> &'a Value {
    &result["agent_result"]["metadata"][key]
}

#[test]
fn a_try_that_may_be_mended_is_followed_by_another_and_kept() {
    let model = Model::answering(|n, _| match n {
        0 | 2 => Model::fails(500, "overloaded"),
        _ => Model::says(DONE),
    });
    let block = Block::served(&model, QUICK_RETRIES);
    block.task("a1", REWARDED);
    block.trajgen(&["run"]).expect(0);
    let job = block.job();
    let trial = block.trial(&job, "a1");
    // Calls 0 | 1, 2 | 3, 4: the third try is graded.
    assert_eq!(model.n_calls(), 5);
    assert_eq!(names(&block.path(&format!("{trial}/tries"))), ["1", "2"]);
    for n in 1..=2 {
        let earlier = block.json(&format!("{trial}/tries/{n}/result.json"));
        assert_eq!(earlier["exception_info"]["exception_type"], "ModelUnavailableError");
        assert!(block.read(&format!("{trial}/tries/{n}/exception.txt")).contains("said overloaded"));
        let log = block.read(&format!("{trial}/tries/{n}/agent/litellm-trajectory.jsonl"));
        assert_eq!(log.lines().count(), n);
    }
    let result = block.trial_result(&job, "a1");
    assert_eq!(result["exception_info"], Value::Null);
    assert_eq!((metadata(&result, "n_tries"), metadata(&result, "n_calls")), (&3.into(), &2.into()));
    // The last try's figures, and those of all three calls that were answered.
    assert_eq!(result["agent_result"]["n_input_tokens"], 200);
    assert_eq!(metadata(&result, "all_tries")["n_input_tokens"], 300);
    let stats = &block.result(&job)["stats"];
    assert_eq!((&stats["n_retries"], &stats["n_errored_trials"]), (&2.into(), &0.into()), "{stats}");
    let events = block.events(&job);
    let waits: Vec<f64> = events
        .iter()
        .filter(|e| e["event"] == "trial_retried")
        .map(|e| e["wait_ms"].as_f64().unwrap())
        .collect();
    assert_eq!(waits.len(), 2);
    // Twice as long each time, up to half less by chance.
    assert!((5.0..=10.0).contains(&waits[0]) && (10.0..=20.0).contains(&waits[1]), "{waits:?}");
    assert_eq!(block.ledger(), ["a1 done"]);
}

#[test]
fn tries_that_stay_broken_end_in_the_last_error() {
    let block = Block::scripted(QUICK_RETRIES);
    let check = "[environment.healthcheck]\ncommand = \"echo still ill; false\"\nretries = 1\n";
    block.task_with("ill", check, REWARDED);
    block.task("slow", REWARDED);
    block.task("wrong", REWARDED);
    block.write("tasks/wrong/environment/Dockerfile", "FROM debian:12\nRUN echo no such step >&2; exit 3\n");
    let ended = block.trajgen(&["run", "--fail-on-error"]).expect(4);
    assert_eq!(ended.error(), "error: 2 trials ended in errors");
    let job = block.job();
    assert_eq!(block.exception(&job, "ill"), "HealthcheckError");
    assert_eq!(names(&block.path(&format!("{}/tries", block.trial(&job, "ill")))), ["1", "2"]);
    assert!(block.read(&format!("{}/exception.txt", block.trial(&job, "ill"))).contains("still ill"));
    // A recipe that does not build never will.
    assert_eq!(block.exception(&job, "wrong"), "EnvironmentBuildError");
    assert!(names(&block.path(&format!("{}/tries", block.trial(&job, "wrong")))).is_empty());
    assert_eq!(block.exception(&job, "slow"), "none");
    assert_eq!(block.ledger(), ["ill failed", "slow done", "wrong failed"]);
    assert_eq!(block.result(&job)["stats"]["n_retries"], 2);
    assert_eq!(block.runs(), ["run_001 failed"]);
    assert_eq!(block.yaml("artifacts/archives/run_001/metadata.yaml")["exit_code"], 4);
    assert_eq!(block.yaml("config.yaml")["status"]["state"], "failed");
    // Without the flag errored trials are part of a completed run.
    block.trajgen(&["run", "--rerun", "failed"]).expect(0);
    assert_eq!(block.runs(), ["run_001 failed", "run_002 completed"]);
}

#[test]
fn an_agent_that_cannot_be_set_up_in_time_is_tried_again() {
    let block = Block::scripted(&format!("{QUICK_RETRIES}\nagent_setup_timeout_multiplier: 0.0000001"));
    block.task("a1", REWARDED);
    block.trajgen(&["run"]).expect(0);
    let job = block.job();
    assert_eq!(block.exception(&job, "a1"), "AgentSetupTimeoutError");
    assert_eq!(names(&block.path(&format!("{}/tries", block.trial(&job, "a1")))), ["1", "2"]);
    assert_eq!(block.trial_result(&job, "a1")["verifier_result"], Value::Null);
    assert_eq!(block.ledger(), ["a1 failed"]);
}

#[test]
fn errors_of_the_account_stop_the_job() {
    for (status, code, error) in [
        (401, "invalid_api_key", "AgentAuthenticationError"),
        (404, "model_not_found", "ModelNotFoundError"),
        (429, "insufficient_quota", "ApiUsageLimitError"),
    ] {
        let model = Model::answering(move |n, _| match n {
            0 => Model::fails(status, code),
            _ => Model::says(DONE),
        });
        let block = Block::served(&model, "max_retries: 2");
        block.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 1");
        for id in ["a1", "a2", "a3"] {
            block.task(id, REWARDED);
        }
        let ended = block.trajgen(&["run"]).expect(3);
        let message = ended.error();
        assert!(message.starts_with(&format!("error: the job stopped early: {error}: ")), "{message}");
        assert!(message.contains(&format!("said {code}")), "{message}");
        let job = block.job();
        assert_eq!(block.exception(&job, "a1"), error);
        assert!(names(&block.path(&format!("{}/tries", block.trial(&job, "a1")))).is_empty());
        assert_eq!(block.ledger(), ["a1 pending"]);
        assert_eq!(model.n_calls(), 1);
        assert_eq!(block.runs(), ["run_001 failed"]);
        assert_eq!(block.result(&job)["stats"]["n_pending_trials"], 2);
        let stopping: Vec<Value> =
            block.events(&job).into_iter().filter(|e| e["event"] == "job_stopping").collect();
        assert_eq!(stopping.len(), 1, "{stopping:?}");

        // The trial is over; the rest of the job goes on, and the task is free for the next one.
        block.trajgen(&["run", "--resume"]).expect(0);
        assert_eq!(block.ledger(), ["a1 pending", "a2 done", "a3 done"]);
        block.trajgen(&["run"]).expect(0);
        assert_eq!(block.ledger(), ["a1 done", "a2 done", "a3 done"]);
    }
}

#[test]
fn a_job_that_has_spent_its_limit_starts_no_more() {
    for limit in ["max_calls: 3", "max_tokens: 330", "max_usd: 3.3"] {
        let model = Model::answering(|_, _| Model::says(DONE));
        let block = Block::served(&model, &format!("limits: {{{limit}}}"));
        block.edit(
            "config.yaml",
            "max_retries: 0",
            "input_cost_per_token: 0.01, output_cost_per_token: 0.01",
        );
        block.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 1");
        for id in ["a1", "a2", "a3"] {
            block.task(id, REWARDED);
        }
        let ended = block.trajgen(&["run"]).expect(0);
        let (name, figure) = limit.split_once(": ").unwrap();
        let what = match name {
            "max_usd" => "USD",
            other => other.strip_prefix("max_").unwrap(),
        };
        let said = format!("no further trials start: the job's limit of {figure} {what} is used up");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        // The second trial was running as the third call came in, and went on to its end.
        assert_eq!(model.n_calls(), 4);
        assert_eq!(block.ledger(), ["a1 done", "a2 done"]);
        // What earlier runs spent still counts.
        let ended = block.trajgen(&["run", "--resume"]).expect(0);
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        assert_eq!(model.n_calls(), 4);
        block.edit("config.yaml", limit, "max_calls: 100");
        block.trajgen(&["run", "--resume"]).expect(0);
        assert_eq!(block.ledger(), ["a1 done", "a2 done", "a3 done"]);
    }
}

#[test]
fn a_limit_may_cancel_what_runs() {
    // Both trials run; the limit is used up by the first's calls while the second waits for its own.
    let model =
        Model::answering(
            |_, body| {
                if body.contains("Do nothing in b1") { Answer::Silence } else { Model::says(DONE) }
            },
        );
    let block = Block::served(&model, "limits: {max_calls: 2, on_limit: cancel}");
    for id in ["a1", "b1", "c1"] {
        block.task(id, REWARDED);
    }
    block.trajgen(&["run"]).expect(0);
    let job = block.job();
    assert_eq!(block.exception(&job, "b1"), "CancelledError");
    let ledger = block.ledger();
    assert!(
        ledger.contains(&"b1 pending".to_owned()) && !ledger.iter().any(|l| l.starts_with("c1")),
        "{ledger:?}"
    );
}

#[test]
fn a_trial_that_has_spent_its_limit_is_graded() {
    for limit in ["max_calls: 1", "max_tokens: 100", "max_usd: 0.01"] {
        let model = Model::answering(|_, _| Model::says(DONE));
        let block = Block::served(&model, &format!("trial_limits: {{{limit}}}"));
        block.edit(
            "config.yaml",
            "max_retries: 0",
            "input_cost_per_token: 0.01, output_cost_per_token: 0.01",
        );
        block.task("a1", REWARDED);
        block.trajgen(&["run"]).expect(0);
        let job = block.job();
        assert_eq!(block.exception(&job, "a1"), "TrialLimitError");
        assert_eq!(block.trial_result(&job, "a1")["verifier_result"]["rewards"]["reward"], 1.0);
        assert_eq!(model.n_calls(), 1);
        assert_eq!(block.ledger(), ["a1 done"]);
    }
}

#[test]
fn a_trial_has_one_limit_for_all_its_tries() {
    let model = Model::answering(|n, _| match n {
        0 | 1 => Model::fails(500, "overloaded"),
        _ => Model::says(DONE),
    });
    let block = Block::served(&model, &format!("{QUICK_RETRIES}\ntrial_limits: {{max_calls: 3}}"));
    block.task("a1", REWARDED);
    block.trajgen(&["run"]).expect(0);
    // Two tries failed with a call each, and the third had only one left.
    assert_eq!(model.n_calls(), 3);
    let job = block.job();
    assert_eq!(names(&block.path(&format!("{}/tries", block.trial(&job, "a1")))), ["1", "2"]);
    assert_eq!(block.exception(&job, "a1"), "TrialLimitError");
    assert_eq!(block.ledger(), ["a1 done"]);
}

#[test]
fn what_an_agent_left_when_its_time_was_over_is_graded() {
    let model = Model::answering(|_, _| Answer::Silence);
    let block = Block::served(&model, "agent_timeout_sec: 1");
    block.edit("config.yaml", "port: 0", "port: 0, on_disconnect: cancel");
    block.task("a1", REWARDED);
    block.trajgen(&["run"]).expect(0);
    let job = block.job();
    let result = block.trial_result(&job, "a1");
    assert_eq!(result["exception_info"]["exception_type"], "AgentTimeoutError");
    assert_eq!(result["exception_info"]["exception_message"], "the agent's run did not end within 1 s");
    assert_eq!(result["verifier_result"]["rewards"]["reward"], 1.0);
    assert_eq!(block.ledger(), ["a1 done"]);
    assert!(block.events(&job).iter().any(|e| of("trial_ended", "a1")(e) && e["outcome"] == "agent_limit"));
}

#[test]
fn each_verifier_without_a_reward_has_its_own_error() {
    let block = Block::scripted("max_retries: 2\nverifier_timeout_multiplier: 1");
    block.edit("config.yaml", "agent: {name: terminus-2, max_turns: 5}", "agent: {name: nop}");
    let reward = "/logs/verifier/reward";
    let cases = [
        ("missing", "echo nothing to say".to_owned(), "RewardFileNotFoundError"),
        ("empty", format!(": > {reward}.txt"), "RewardFileEmptyError"),
        ("blank", format!("echo > {reward}.txt"), "VerifierOutputParseError"),
        ("nan", format!("echo NaN > {reward}.txt"), "VerifierOutputParseError"),
        ("text", format!("echo '{{\"reward\": \"much\"}}' > {reward}.json"), "VerifierOutputParseError"),
        ("list", format!("echo 1 > {reward}.txt; echo '[1]' > {reward}.json"), "VerifierOutputParseError"),
        (
            "huge",
            format!("head -c 10000000 /dev/zero | tr '\\0' 1 > {reward}.txt"),
            "VerifierOutputParseError",
        ),
        ("linked", format!("echo 1 > /tmp/x; ln -s /tmp/x {reward}.txt"), "RewardFileNotFoundError"),
        ("folder", format!("mkdir {reward}.txt"), "VerifierOutputParseError"),
        ("pipe", format!("mkfifo {reward}.txt"), "RewardFileNotFoundError"),
        ("slow", "sleep 1000".to_owned(), "VerifierTimeoutError"),
    ];
    for (id, test, _) in &cases {
        let toml = if *id == "slow" { "[verifier]\ntimeout_sec = 0.5\n" } else { "" };
        block.task_with(id, toml, &format!("#!/bin/bash\n{test}\n"));
    }
    block.task(
        "fine",
        "#!/bin/bash\necho '{\"reward\": true, \"speed\": 0.5}' > /logs/verifier/reward.json; exit 9\n",
    );
    let ended = block.trajgen(&["run", "--fail-on-error"]).expect(4);
    assert_eq!(ended.error(), "error: 11 trials ended in errors");
    let job = block.job();
    for (id, _, error) in &cases {
        assert_eq!(block.exception(&job, id), *error, "{id}");
        assert_eq!(block.trial_result(&job, id)["verifier_result"], Value::Null, "{id}");
        assert!(names(&block.path(&format!("{}/tries", block.trial(&job, id)))).is_empty(), "{id}");
    }
    assert_eq!(block.exception(&job, "fine"), "none");
    let rewards = block.trial_result(&job, "fine")["verifier_result"]["rewards"].clone();
    assert_eq!(rewards, serde_json::json!({"reward": 1.0, "speed": 0.5}));
    let failed = block.ledger().iter().filter(|line| line.ends_with(" failed")).count();
    assert_eq!(failed, cases.len());
    assert_eq!(block.leftovers(), Vec::<String>::new());
}

#[test]
fn limits_beyond_all_measure_are_no_limits() {
    let block = Block::scripted("timeout_multiplier: 1.0e+300\nagent_timeout_sec: 300000000");
    let check = "[environment.healthcheck]\ncommand = \"true\"\ntimeout_sec = 1e12\n";
    block.task_with("a1", check, REWARDED);
    block.trajgen(&["run"]).expect(0);
    assert_eq!(block.exception(&block.job(), "a1"), "none");
    assert_eq!(block.ledger(), ["a1 done"]);
}

#[test]
fn an_agent_has_the_variables_of_the_config() {
    let block = Block::scripted("");
    let print = r#"{"analysis": "a", "plan": "p", "commands": [{"keystrokes": "echo $WHO-$TERM > /app/who\n", "duration": 1}]}"#;
    let print = print.replace('\\', "\\\\");
    block.write(
        "scripts/default.yaml",
        &format!(
            "tracks:\n- turns:\n  - {{raw: \"{}\"}}\n  - {{raw: '{DONE}'}}\n  - {{raw: '{DONE}'}}\n",
            print.replace('"', "\\\"")
        ),
    );
    let test = "#!/bin/bash\ngrep -qx me-xterm-256color /app/who && echo 1 > /logs/verifier/reward.txt\n";
    block.task("a1", test);
    block.edit("config.yaml", "max_turns: 5", "max_turns: 5, env: {WHO: me, TERM: dumb}");
    block.trajgen(&["run"]).expect(0);
    let job = block.job();
    assert_eq!(block.trial_result(&job, "a1")["verifier_result"]["rewards"]["reward"], 1.0);

    let block = Block::scripted("");
    let test = "#!/bin/bash\ngrep -qx me-mine /app/who && echo 1 > /logs/verifier/reward.txt\n";
    block.task_with("a1", "[solution.env]\nWHOSE = \"mine\"\n", test);
    block.write("tasks/a1/solution/solve.sh", "echo $WHO-$WHOSE > /app/who\n");
    block.edit(
        "config.yaml",
        "agent: {name: terminus-2, max_turns: 5}",
        "agent: {name: oracle, env: {WHO: me, WHOSE: yours}}",
    );
    block.trajgen(&["run"]).expect(0);
    let job = block.job();
    assert_eq!(block.trial_result(&job, "a1")["verifier_result"]["rewards"]["reward"], 1.0);
}
