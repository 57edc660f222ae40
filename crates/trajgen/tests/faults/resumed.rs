//! What a resume takes up, what it leaves out, and what it refuses.

use crate::interrupted::{Six, finished};
use crate::support::{Answer, Block, DONE, Model, REWARDED, names, of};
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Interrupts a run of six tasks in the middle; gives the job.
fn interrupted() -> (Six, String) {
    let six = Six::new();
    let run = six.in_the_middle();
    run.signal(Signal::INT);
    run.wait().expect(130);
    let job = six.block.job();
    (six, job)
}

#[test]
fn a_changed_meaning_is_refused_with_the_list_and_operations_may_change() {
    let (six, job) = interrupted();
    let block = &six.block;
    let url = &six.model.url;
    let original = block.read("config.yaml");
    block.edit("config.yaml", "max_turns: 5", "max_turns: 6, temperature: 0.25");
    block.edit("config.yaml", "openai/served", "openai/other");
    block.edit("config.yaml", "max_retries: 0\n    environment", "agent_timeout_sec: 77\n    environment");
    let ended = block.trajgen(&["run", "--resume"]).expect(2);
    assert_eq!(
        ended.error(),
        format!(
            "error: job {job} cannot go on with this config, which changes what its trials mean:\n  \
             agent[0].kwargs.max_turns: was 5, is 6\n  \
             agent[0].kwargs.temperature: was 0.7, is 0.25\n  \
             agent[0].model: was \"served\", is \"other\"\n  \
             timeouts.agent_sec: was null, is 77.0\n\
             Set these back, or start a new job without --resume"
        )
    );
    assert_eq!(block.runs(), ["run_001 interrupted"]);

    block.write("config.yaml", &original);
    block.edit("config.yaml", "agent: {name: terminus-2, max_turns: 5}", "agent: {name: nop}");
    let ended = block.trajgen(&["run", "--resume", &job]).expect(2);
    assert!(ended.error().contains("agent[0].name: was \"terminus-2\", is \"nop\""), "{}", ended.error());

    // Concurrency, retries and keys are nobody's meaning.
    block.write("config.yaml", &original);
    block.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 4");
    block.edit("config.yaml", "max_retries: 0\n    environment", "max_retries: 3\n    environment");
    block.edit("config.yaml", url, &format!("{url}', api_key: 'sk-a-new-one"));
    six.mend();
    block.trajgen(&["run", "--resume", &job]).expect(0);
    assert_eq!(block.runs(), ["run_001 interrupted", "run_002 completed"]);

    let over = block.trajgen(&["run", "--resume", &job]).expect(0);
    assert!(
        over.stdout.contains(&format!("nothing left to run in job {job}: 6 of its 6 trials are finished")),
        "{}",
        over.stdout
    );
    assert_eq!(block.runs().len(), 2);
}

#[test]
fn tasks_that_are_no_longer_the_same_are_refused() {
    let (six, job) = interrupted();
    let block = &six.block;
    for id in ["a1", "c2"] {
        block.write(&format!("tasks/{id}/instruction.md"), "Do something else.\n");
    }
    // What is prepared stays, until it is prepared again.
    block.trajgen(&["run", "--resume", "--dry-run"]).expect(0);
    let ended = block.trajgen(&["run", "--resume", "--overwrite"]).expect(2);
    assert_eq!(
        ended.error(),
        format!(
            "error: job {job} cannot go on: these of its tasks are not what they were when it began: a1, c2\n\
             Restore them, or start a new job without --resume"
        )
    );
    assert_eq!(block.runs(), ["run_001 interrupted"]);
    for id in ["a1", "c2"] {
        block.write(&format!("tasks/{id}/instruction.md"), &format!("Do nothing in {id}.\n"));
    }
    six.mend();
    block.trajgen(&["run", "--resume", "--overwrite"]).expect(0);
    assert_eq!(block.result(&job)["stats"]["n_completed_trials"], 6);
}

#[test]
fn what_an_agent_is_given_is_part_of_its_meaning_but_keys_are_not() {
    let block = Block::scripted("n_tasks: 1");
    block.task("a1", REWARDED);
    block.edit("config.yaml", "max_turns: 5", "max_turns: 5, env: {A: '1', API_KEY: one}");
    block.trajgen(&["run"]).expect(0);
    let job = block.job();
    assert!(!block.read(&format!("artifacts/jobs/{job}/plan.json")).contains("one"));
    block.edit("config.yaml", "API_KEY: one", "API_KEY: two");
    block.trajgen(&["run", "--resume"]).expect(0);
    block.edit("config.yaml", "A: '1'", "A: '2'");
    block.edit("config.yaml", "max_retries: 0", "max_retries: 0, max_input_tokens: 9000");
    let ended = block.trajgen(&["run", "--resume"]).expect(2);
    let error = ended.error();
    assert!(error.contains("agent[0].env.A: was \"1\", is \"2\""), "{error}");
    assert!(error.contains("agent[0].max_input_tokens: was null, is 9000"), "{error}");
}

#[test]
fn a_resume_of_nothing_says_so() {
    let block = Block::scripted("");
    block.task("a1", REWARDED);
    let jobs = block.path("artifacts/jobs").display().to_string();
    let ended = block.trajgen(&["run", "--resume"]).expect(2);
    assert_eq!(ended.error(), format!("error: --resume: there is no job in {jobs}"));
    let ended = block.trajgen(&["run", "--resume", "../jobs"]).expect(2);
    assert_eq!(ended.error(), format!("error: --resume ../jobs: there is no such job in {jobs}"));
    block.write("artifacts/jobs/theirs/result.json", "{}");
    let ended = block.trajgen(&["run", "--resume", "theirs"]).expect(2);
    assert_eq!(
        ended.error(),
        "error: job theirs cannot be resumed: it has no plan.json (it was not started by trajgen, or is not there)"
    );
}

#[test]
fn a_plain_run_starts_a_new_job_whose_tasks_the_old_one_leaves_out() {
    let (six, old) = interrupted();
    let block = &six.block;
    six.mend();
    // The new job takes only one of the four that are open.
    block.edit("config.yaml", "max_retries: 0\n    environment", "n_tasks: 1\n    environment");
    block.trajgen(&["run"]).expect(0);
    let jobs = block.jobs();
    assert_eq!(jobs.len(), 2);
    let new = jobs.iter().find(|job| **job != old).unwrap();
    let taken = block.trial(new, "b1");
    assert_eq!(block.trial_result(new, "b1")["verifier_result"]["rewards"]["reward"], 1.0);

    let before = block.read(&format!("{taken}/result.json"));
    let cancelled = block.read(&format!("{}/result.json", block.trial(&old, "b1")));
    let ended = block.trajgen(&["run", "--resume", &old]).expect(0);
    let left = block.trial(&old, "b1");
    let left = left.rsplit('/').next().unwrap();
    assert!(
        ended.stderr.contains(&format!("{left} is left out: job {new} has taken its task meanwhile")),
        "{}",
        ended.stderr
    );
    assert_eq!(block.read(&format!("{taken}/result.json")), before);
    assert_eq!(block.read(&format!("{}/result.json", block.trial(&old, "b1"))), cancelled);
    assert_eq!(block.ledger(), ["a1 done", "a2 done", "b1 done", "b2 done", "c1 done", "c2 done"]);
    let entries = block.yaml("artifacts/consumption_ledger.yaml");
    let of_new: Vec<&str> = entries["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["job"] == new.as_str())
        .map(|e| e["task_id"].as_str().unwrap())
        .collect();
    assert_eq!(of_new, ["b1"]);
    let stats = &block.result(&old)["stats"];
    assert_eq!(
        (&stats["n_completed_trials"], &stats["n_cancelled_trials"]),
        (&6.into(), &1.into()),
        "{stats}"
    );
    // The one that was left out is over elsewhere, so there is nothing more to go on with.
    let again = block.trajgen(&["run", "--resume", &old]).expect(0);
    assert!(again.stdout.contains("5 of its 6 trials are finished, 1 are left out"), "{}", again.stdout);
}

#[test]
fn a_repetition_that_was_interrupted_goes_on_although_an_earlier_job_has_its_tasks() {
    let is_silent = Arc::new(AtomicBool::new(false));
    let silent = is_silent.clone();
    let model =
        Model::answering(
            move |_, _| {
                if silent.load(Ordering::SeqCst) { Answer::Silence } else { Model::says(DONE) }
            },
        );
    let block = Block::served(&model, "n_concurrent_builds: 1");
    block.task("a1", REWARDED);
    block.task("b1", REWARDED);
    block.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 1");
    block.trajgen(&["run"]).expect(0);
    let first = block.job();
    is_silent.store(true, Ordering::SeqCst);
    let run = block.start(&["run", "--rerun", "all"]);
    block.wait_until("the repetition has called", || model.n_calls() == 5);
    run.signal(Signal::INT);
    run.wait().expect(130);
    assert_eq!(block.ledger(), ["a1 pending", "b1 done"]);
    let second = block.jobs().into_iter().find(|job| *job != first).unwrap();

    is_silent.store(false, Ordering::SeqCst);
    let ended = block.trajgen(&["run", "--resume"]).expect(0);
    assert!(!ended.stderr.contains("left out"), "{}", ended.stderr);
    assert_eq!(block.result(&second)["stats"]["n_completed_trials"], 2);
    assert_eq!(block.ledger(), ["a1 done", "b1 done"]);
}

#[test]
fn a_task_that_somebody_skips_is_left_out() {
    let (six, job) = interrupted();
    let block = &six.block;
    six.mend();
    let ledger = block.read("artifacts/consumption_ledger.yaml");
    let (before, after) = ledger.split_once("task_id: b2").unwrap();
    block.write(
        "artifacts/consumption_ledger.yaml",
        &format!("{before}task_id: b2{}", after.replacen("status: pending", "status: skipped", 1)),
    );
    let before = finished(block, &job, &["a1", "a2", "b2"]);
    let ended = block.trajgen(&["run", "--resume"]).expect(0);
    assert!(
        ended.stderr.contains("is left out: its task is marked as skipped in the ledger"),
        "{}",
        ended.stderr
    );
    assert_eq!(finished(block, &job, &["a1", "a2", "b2"]), before);
    assert_eq!(block.ledger(), ["a1 done", "a2 done", "b1 done", "b2 skipped", "c1 done", "c2 done"]);
}

#[test]
fn every_attempt_is_made_once() {
    let model_is_silent = Arc::new(AtomicBool::new(true));
    let silent = model_is_silent.clone();
    let model = Model::answering(move |n, _| {
        if n >= 3 && silent.load(Ordering::SeqCst) { Answer::Silence } else { Model::says(DONE) }
    });
    let block = Block::served(&model, "n_attempts: 3");
    block.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 1");
    block.task("a1", REWARDED);
    let run = block.start(&["run"]);
    block.wait_for("the first attempt is over", of("trial_ended", "a1"));
    block.wait_until("the second one waits for its second answer", || model.n_calls() == 4);
    run.signal(Signal::TERM);
    run.wait().expect(143);
    // One of its trials is over, but not all.
    assert_eq!(block.ledger(), ["a1 pending"]);
    let job = block.job();
    let first = finished(&block, &job, &["a1"]);
    model_is_silent.store(false, Ordering::SeqCst);
    block.trajgen(&["run", "--resume"]).expect(0);
    assert_eq!(finished(&block, &job, &["a1"]), first);
    assert_eq!(block.ledger(), ["a1 done"]);
    assert_eq!(block.result(&job)["stats"]["n_completed_trials"], 3);
    assert_eq!(model.n_calls(), 2 + 2 + 2 + 2);
}

#[test]
fn cancelled_tries_count_against_no_limit() {
    let phase = Arc::new(AtomicUsize::new(0));
    let now = phase.clone();
    let model = Model::answering(move |n, _| match (now.load(Ordering::SeqCst), n) {
        (0, _) => Answer::Silence,
        // Two failures of the resumed trial: one further try mends none, two would.
        (1, _) => Model::fails(500, "overloaded"),
        _ => Model::says(DONE),
    });
    let block = Block::served(&model, "max_retries: 1\nretry: {min_wait_sec: 0.01}");
    block.task("a1", REWARDED);
    for n in 1..=2 {
        let run = block.start(if n == 1 { &["run"] } else { &["run", "--resume"] });
        block.wait_until("the trial has called", || model.n_calls() == n);
        run.signal(Signal::INT);
        run.wait().expect(130);
    }
    phase.store(1, Ordering::SeqCst);
    block.trajgen(&["run", "--resume"]).expect(0);
    let job = block.job();
    // Two cancelled tries, then the one that failed, then its one further try.
    assert_eq!(names(&block.path(&format!("{}/tries", block.trial(&job, "a1")))), ["1", "2", "3"]);
    assert_eq!(block.exception(&job, "a1"), "ModelUnavailableError");
    assert_eq!(block.result(&job)["stats"]["n_retries"], 1);
    assert_eq!(block.ledger(), ["a1 pending"]);
}

#[test]
fn a_trial_that_waits_for_its_next_try_gets_it_later() {
    let model =
        Model::answering(|n, _| if n == 0 { Model::fails(500, "overloaded") } else { Model::says(DONE) });
    let block = Block::served(&model, "max_retries: 1\nretry: {min_wait_sec: 3600, max_wait_sec: 3600}");
    block.task("a1", REWARDED);
    let run = block.start(&["run"]);
    block.wait_for("the trial waits", of("trial_retried", "a1"));
    run.signal(Signal::INT);
    run.wait().expect(130);
    assert_eq!(block.ledger(), ["a1 pending"]);
    block.trajgen(&["run", "--resume"]).expect(0);
    let job = block.job();
    assert_eq!(block.ledger(), ["a1 done"]);
    assert_eq!(block.exception(&job, "a1"), "none");
    let earlier = block.json(&format!("{}/tries/1/result.json", block.trial(&job, "a1")));
    assert_eq!(earlier["exception_info"]["exception_type"], "ModelUnavailableError");
    assert_eq!(block.result(&job)["stats"]["n_retries"], 1);
    // The stand-in that was there while it waited is no try.
    assert_eq!(block.trial_result(&job, "a1")["agent_result"]["metadata"]["n_tries"], 2);
    assert_eq!(names(&block.path(&format!("{}/tries", block.trial(&job, "a1")))), ["1"]);
}

#[test]
fn an_environment_that_never_gets_ready_is_cancelled_too() {
    let block = Block::scripted("max_retries: 0");
    let check = "[environment.healthcheck]\ncommand = \"sleep 100000\"\ntimeout_sec = 100000\n";
    block.task_with("a1", check, REWARDED);
    let run = block.start(&["run"]);
    block.wait_until("the healthcheck runs", || {
        run.descendants().iter().any(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            line.is_ok_and(|line| line.starts_with("sleep\x00100000"))
        })
    });
    run.signal(Signal::TERM);
    run.wait().expect(143);
    assert_eq!(block.exception(&block.job(), "a1"), "CancelledError");
    assert_eq!(block.leftovers(), Vec::<String>::new());
}
