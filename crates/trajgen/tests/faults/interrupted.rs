//! Runs that are interrupted by signals, and what goes on from there.

use crate::support::{Answer, Block, DONE, Model, REWARDED, Started, of};
use rustix::process::Signal;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A block with two quick tasks, two whose model falls silent at the second call, and two that wait behind these.
pub struct Six {
    pub block: Block,
    pub model: Model,
    is_mended: Arc<AtomicBool>,
}

impl Six {
    pub fn new() -> Self {
        let is_mended = Arc::new(AtomicBool::new(false));
        let mended = is_mended.clone();
        let model = Model::answering(move |_, body| {
            let falls_silent = body.contains("Do nothing in b") && body.contains("assistant");
            if falls_silent && !mended.load(Ordering::SeqCst) { Answer::Silence } else { Model::says(DONE) }
        });
        let block = Block::served(&model, "max_retries: 0");
        for id in ["a1", "a2", "b1", "b2", "c1", "c2"] {
            block.task(id, REWARDED);
        }
        Self { block, model, is_mended }
    }

    /// Starts a run and waits until the quick trials are over and two calls of each slow one have come.
    pub fn in_the_middle(&self) -> Started {
        let run = self.block.start(&["run"]);
        for task in ["a1", "a2"] {
            self.block.wait_for(&format!("{task} is over"), of("trial_ended", task));
        }
        self.block.wait_until("two calls of each have come", || self.model.n_calls() == 8);
        run
    }

    /// The model answers from now on.
    pub fn mend(&self) {
        self.is_mended.store(true, Ordering::SeqCst);
    }
}

/// What must be the same after a resume: the finished trials' files, byte for byte.
pub fn finished(block: &Block, job: &str, tasks: &[&str]) -> Vec<(String, std::time::SystemTime, String)> {
    tasks
        .iter()
        .map(|task| {
            let trial = block.trial(job, task);
            let modified = std::fs::metadata(block.path(&trial)).unwrap().modified().unwrap();
            (trial.clone(), modified, block.read(&format!("{trial}/result.json")))
        })
        .collect()
}

/// After any interruption in the middle: everything is there and says what happened.
fn check_interrupted(block: &Block, config: &str, signal: &str) -> String {
    let job = block.job();
    assert_eq!(block.runs(), ["run_001 interrupted"]);
    assert_eq!(block.config_of_the_user(), config);
    let status = block.yaml("config.yaml")["status"].clone();
    assert_eq!((&status["state"], &status["run_id"]), (&"interrupted".into(), &"run_001".into()), "{status}");
    assert_eq!(status["job"], job.as_str());
    assert_eq!((&status["n_tasks"], &status["n_running"]), (&6.into(), &0.into()), "{status}");
    let metadata = block.yaml("artifacts/archives/run_001/metadata.yaml");
    assert_eq!((&metadata["status"], &metadata["stage"]), (&"interrupted".into(), &"archive".into()));
    assert_eq!(metadata["results"]["resolved"], 2);
    assert_eq!(metadata["results"]["trajectories"], 4);
    assert!(block.read("artifacts/archives/run_001/session.log").contains(signal));
    assert!(block.read("artifacts/archives/run_001/monitor.md").contains("4 trials are not over"));
    assert_eq!(block.ledger(), ["a1 done", "a2 done", "b1 pending", "b2 pending"]);
    assert!(!block.path("artifacts/consumption_ledger.yaml.journal.jsonl").exists());
    for task in ["b1", "b2"] {
        assert_eq!(block.exception(&job, task), "CancelledError");
        // One call was answered; the one in flight was cancelled and recorded.
        let log = block.read(&format!("{}/agent/litellm-trajectory.jsonl", block.trial(&job, task)));
        let calls: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let success: Vec<&Value> = calls.iter().map(|call| &call["success"]).collect();
        assert_eq!(success, [true, false]);
    }
    let result = block.result(&job);
    assert_eq!(result["finished_at"], Value::Null);
    let stats = &result["stats"];
    let figures =
        ["n_completed_trials", "n_running_trials", "n_pending_trials", "n_cancelled_trials", "n_retries"];
    let figures: Vec<i64> = figures.iter().map(|name| stats[name].as_i64().unwrap()).collect();
    assert_eq!(figures, [4, 0, 2, 2, 0], "{stats}");
    let events = block.events(&job);
    let stopping: Vec<&Value> = events.iter().filter(|e| e["event"] == "job_stopping").collect();
    assert_eq!(stopping.len(), 1, "{events:?}");
    assert!(stopping[0]["reason"].as_str().unwrap().contains(signal), "{stopping:?}");
    assert_eq!(block.check_logs(), 4);
    assert_eq!(block.leftovers(), Vec::<String>::new());
    job
}

/// Resumes `job` and checks that it comes to its end without repeating anything.
fn check_resumed(six: &Six, job: &str, resume: &[&str]) {
    let block = &six.block;
    let before = finished(block, job, &["a1", "a2"]);
    six.mend();
    block.trajgen(resume).expect(0);
    assert_eq!(finished(block, job, &["a1", "a2"]), before);
    assert_eq!(block.runs().len(), 2);
    assert_eq!(block.runs()[1], "run_002 completed");
    assert_eq!(block.job(), job);
    let all = ["a1 done", "a2 done", "b1 done", "b2 done", "c1 done", "c2 done"];
    assert_eq!(block.ledger(), all);
    for task in ["b1", "b2"] {
        let trial = block.trial(job, task);
        assert_eq!(block.exception(job, task), "none");
        let earlier = block.json(&format!("{trial}/tries/1/result.json"));
        assert_eq!(earlier["exception_info"]["exception_type"], "CancelledError");
        assert_eq!(block.read(&format!("{trial}/tries/1/agent/litellm-trajectory.jsonl")).lines().count(), 2);
        assert_eq!(block.read(&format!("{trial}/agent/litellm-trajectory.jsonl")).lines().count(), 2);
        assert_eq!(block.trial_result(job, task)["agent_result"]["metadata"]["n_tries"], 2);
    }
    let result = block.result(job);
    assert_ne!(result["finished_at"], Value::Null);
    assert_eq!(result["stats"]["n_completed_trials"], 6);
    assert_eq!(result["stats"]["n_retries"], 0);
    assert_eq!(block.yaml("config.yaml")["status"]["state"], "completed");
    assert_eq!(block.leftovers(), Vec::<String>::new());
}

#[test]
fn ctrl_c_cancels_records_and_the_job_goes_on_later() {
    let six = Six::new();
    let block = &six.block;
    let config = block.config_of_the_user();
    let run = six.in_the_middle();
    run.signal(Signal::INT);
    let ended = run.wait().expect(130);
    assert!(ended.stderr.contains("Ctrl-C: no further trials start"), "{}", ended.stderr);
    let job = check_interrupted(block, &config, "Ctrl-C");
    assert!(ended.stdout.contains(&format!("trajgen run --resume {job}")), "{}", ended.stdout);
    assert_eq!(block.yaml("artifacts/archives/run_001/metadata.yaml")["exit_code"], 130);
    check_resumed(&six, &job, &["run", "--resume"]);
    // All is consumed: that is no run.
    let ended = block.trajgen(&["run"]).expect(0);
    assert!(ended.stdout.contains("6 tasks are consumed"), "{}", ended.stdout);
    assert_eq!(block.runs().len(), 2);
}

#[test]
fn sigterm_does_the_same_with_its_own_code() {
    let six = Six::new();
    let block = &six.block;
    let config = block.config_of_the_user();
    let run = six.in_the_middle();
    run.signal(Signal::TERM);
    run.wait().expect(143);
    let job = check_interrupted(block, &config, "SIGTERM");
    assert_eq!(block.yaml("artifacts/archives/run_001/metadata.yaml")["exit_code"], 143);
    check_resumed(&six, &job, &["run", "--resume", &job.clone()]);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_is_archived_all_the_same() {
    let six = Six::new();
    let block = &six.block;
    let config = block.config_of_the_user();
    let run = six.in_the_middle();
    // With its sandboxes stopped in the middle of whatever they do, nothing that waits for them comes to an end.
    let sandboxes = run.descendants();
    assert!(!sandboxes.is_empty());
    for pid in &sandboxes {
        rustix::process::kill_process(*pid, Signal::STOP).unwrap();
    }
    run.signal(Signal::INT);
    block.wait_for("the job stops", |e| e["event"] == "job_stopping");
    run.signal(Signal::INT);
    let ended = run.wait().expect(130);
    assert!(ended.stderr.contains("Ctrl-C: running trials are dropped"), "{}", ended.stderr);

    let job = block.job();
    assert_eq!(block.runs(), ["run_001 interrupted"]);
    assert_eq!(block.config_of_the_user(), config);
    assert_eq!(block.yaml("config.yaml")["status"]["state"], "interrupted");
    assert_eq!(block.ledger(), ["a1 done", "a2 done", "b1 pending", "b2 pending"]);
    let stats = &block.result(&job)["stats"];
    assert_eq!((&stats["n_completed_trials"], &stats["n_running_trials"]), (&2.into(), &0.into()), "{stats}");
    // Dropped, not cancelled: nothing was recorded of how they ended.
    assert_eq!(block.trial_result(&job, "b1")["finished_at"], Value::Null);
    block.wait_until("the kernel has ended the sandboxes", || {
        sandboxes.iter().all(|pid| rustix::process::test_kill_process(*pid).is_err())
    });

    six.mend();
    let before = finished(block, &job, &["a1", "a2"]);
    let ended = block.trajgen(&["run", "--resume"]).expect(0);
    assert!(!ended.stderr.contains("had died"), "{}", ended.stderr);
    assert_eq!(finished(block, &job, &["a1", "a2"]), before);
    assert_eq!(block.runs(), ["run_001 interrupted", "run_002 completed"]);
    assert!(block.path(&format!("{}/tries/1", block.trial(&job, "b1"))).exists());
    assert_eq!(block.leftovers(), Vec::<String>::new());
}

#[test]
fn a_killed_run_is_archived_by_the_next_start() {
    let six = Six::new();
    let block = &six.block;
    let config = block.config_of_the_user();
    let run = six.in_the_middle();
    let sandboxes = run.descendants();
    run.signal(Signal::KILL);
    assert_eq!(run.wait().code, None);
    assert!(!block.path("artifacts/index.yaml").exists());
    assert_eq!(block.yaml("config.yaml")["status"]["state"], "running");
    // Whatever is left is readable as it is.
    assert_eq!(block.check_logs(), 4);
    block.wait_until("the sandboxes have ended with the run", || {
        sandboxes.iter().all(|pid| rustix::process::test_kill_process(*pid).is_err())
    });

    // The next start may have nothing to do and must not run anything.
    block.edit("config.yaml", "max_retries: 0\n    environment", "exclude_tasks: ['*']\n    environment");
    let config = config.replace("      max_retries: 0\n", "      exclude_tasks: ['*']\n");
    let ended = block.trajgen(&["run"]).expect(0);
    assert!(ended.stderr.contains("run_001 had died; it is archived as interrupted"), "{}", ended.stderr);
    assert!(ended.stdout.contains("nothing left to run"), "{}", ended.stdout);
    assert_eq!(block.runs(), ["run_001 interrupted"]);
    let job = block.job();
    let metadata = block.yaml("artifacts/archives/run_001/metadata.yaml");
    assert_eq!((&metadata["exit_code"], &metadata["stage"]), (&Value::Null, &"run".into()));
    assert_eq!(
        (&metadata["results"]["n_trials"], &metadata["results"]["trajectories"]),
        (&2.into(), &4.into())
    );
    let notes = metadata["notes"].as_str().unwrap();
    assert!(notes.ends_with("; the process was gone; found at the next start"), "{notes}");
    assert!(block.read("artifacts/archives/run_001/session.log").contains("a1__"));
    assert_eq!(block.config_of_the_user(), config);
    let status = block.yaml("config.yaml")["status"].clone();
    assert_eq!((&status["state"], &status["n_running"]), (&"interrupted".into(), &0.into()), "{status}");
    assert_eq!(block.ledger(), ["a1 done", "a2 done", "b1 pending", "b2 pending"]);
    let stats = &block.result(&job)["stats"];
    assert_eq!((&stats["n_completed_trials"], &stats["n_running_trials"]), (&2.into(), &0.into()), "{stats}");
    assert_eq!(block.leftovers(), Vec::<String>::new());

    block.edit("config.yaml", "exclude_tasks: ['*']", "max_retries: 0");
    six.mend();
    let before = finished(block, &job, &["a1", "a2"]);
    block.trajgen(&["run", "--resume"]).expect(0);
    assert_eq!(finished(block, &job, &["a1", "a2"]), before);
    assert_eq!(block.runs(), ["run_001 interrupted", "run_002 completed"]);
    assert_eq!(block.ledger(), ["a1 done", "a2 done", "b1 done", "b2 done", "c1 done", "c2 done"]);
    assert_eq!(block.leftovers(), Vec::<String>::new());
}

#[test]
fn a_run_that_waits_for_its_upstream_ends_before_anything_started() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", silent.local_addr().unwrap());
    let block = Block::new(&format!("{{api_base_url: '{url}', model: openai/silent}}"), "max_retries: 0");
    block.task("a1", REWARDED);
    let run = block.start(&["run"]);
    let _asked = silent.accept().unwrap();
    run.signal(Signal::INT);
    let ended = run.wait().expect(130);
    assert_eq!(ended.error(), "error: interrupted by a signal before any trial started");
    assert!(!ended.stdout.contains("--resume"), "{}", ended.stdout);
    assert_eq!(block.runs(), ["run_001 interrupted"]);
    assert_eq!(block.yaml("artifacts/archives/run_001/metadata.yaml")["stage"], "check");
    assert_eq!(block.yaml("config.yaml")["status"]["state"], "interrupted");
    assert!(!block.path("artifacts/jobs").exists());
    assert!(!block.path("artifacts/consumption_ledger.yaml").exists());
}
