//! A whole example job against a real inference server with a very small real model.
//!
//! It solves nothing, and the pipeline must not care: records, tokens and rewards are what counts.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "preparations of tests: what fails fails the test"
)]

#[path = "../../proxy/tests/real_model/server.rs"]
mod server;

use server::Server;
use std::path::Path;
use std::process::Command;
use trajgen_contract::layout::JobDir;
use trajgen_contract::record::read_log;
use trajgen_contract::result::{read_job, read_trial};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const TURNS: usize = 2;

/// The shipped block, with another model and fewer turns.
fn block(root: &Path, server: &Server) {
    let copied =
        Command::new("cp").arg("-r").arg(format!("{REPOSITORY}/examples")).arg(root).status().unwrap();
    assert!(copied.success());
    let config = std::fs::read_to_string(format!("{REPOSITORY}/config.yaml")).unwrap();
    let changes = [
        ("script://examples/scripts", format!("{}/v1", server.base_url)),
        ("openai/example", format!("openai/{}", server.model)),
        ("max_turns: 20", format!("max_turns: {TURNS}")),
        // A machine that is busy otherwise lets the model take its time.
        ("n_concurrent: 4", "n_concurrent: 4\n      timeout_multiplier: 30".to_owned()),
    ];
    let config = changes.iter().fold(config, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    std::fs::write(root.join("config.yaml"), config).unwrap();
}

#[test]
fn the_example_runs_on_a_real_model_and_its_calls_are_counted() {
    let server = Server::start(&["--context", "32768", "--parallel", "4", "--predict", "32"]);
    let dir = tempfile::tempdir().unwrap();
    block(dir.path(), &server);
    let output = Command::new(env!("CARGO_BIN_EXE_trajgen"))
        .args(["run", "--block"])
        .arg(dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains(&format!("no earlier job on {} tells what 8 trials cost", server.model)), "{told}");

    let jobs = dir.path().join("artifacts/jobs");
    let job = std::fs::read_dir(&jobs).unwrap().next().unwrap().unwrap().path();
    let job = JobDir::new(job);
    let result = read_job(&job.result()).unwrap();
    assert_eq!((result.stats.n_completed_trials, result.stats.n_errored_trials), (8, 0));
    let (mut asked, mut said) = (0, 0);
    for trial in trials(&job) {
        let folder = job.trial(&trial);
        let result = read_trial(&folder.result()).unwrap();
        assert_eq!(result.reward(), Some(0.0), "{trial}: a model this small solves nothing");
        let log = read_log(&folder.trajectory_log()).unwrap();
        assert!(log.skipped.is_empty(), "{:?}", log.skipped);
        assert_eq!(log.records.len(), TURNS, "{trial}");
        let mut tokens = (0, 0);
        for record in &log.records {
            let usage = record.usage.as_ref().unwrap();
            assert!(record.success && usage.prompt_tokens > 500, "{trial}: the prompt and its tokens");
            assert_eq!(record.request_body["model"], server.model);
            tokens = (tokens.0 + usage.prompt_tokens, tokens.1 + usage.completion_tokens);
        }
        let usage = result.usage();
        assert_eq!(
            (usage.n_input_tokens, usage.n_output_tokens),
            (Some(tokens.0), Some(tokens.1)),
            "{trial}"
        );
        (asked, said) = (asked + tokens.0, said + tokens.1);
    }
    assert_eq!(result.stats.n_input_tokens, Some(asked));
    assert_eq!(result.stats.n_output_tokens, Some(said));
    let notes = std::fs::read_to_string(dir.path().join("artifacts/archives/run_001/monitor.md")).unwrap();
    assert!(notes.contains("No trial got a reward"), "{notes}");
}

fn trials(job: &JobDir) -> Vec<String> {
    let entries = std::fs::read_dir(job.path()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().join("result.json").exists());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}
