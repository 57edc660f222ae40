//! How many trials per second, and in how much memory: `cargo bench -p trajgen --bench trials [-- N [CONCURRENT]]`.
//!
//! Trivial tasks, a scripted model of one turn, the sandbox: what is measured is trajgen itself. The floor in
//! the same run is what the kernel alone takes to start and end as many processes in namespaces of their own,
//! as many at a time.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark reports to a person and stops at errors"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TRIALS: usize = 500;
const CONCURRENT: usize = 16;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let trials = numbers.first().copied().unwrap_or(TRIALS);
    let concurrent = numbers.get(1).copied().unwrap_or(CONCURRENT);
    let floor = floor(trials, concurrent);
    let dir = tempfile::tempdir().unwrap();
    block(dir.path(), trials, concurrent);
    let (took, peak_kib) = run(dir.path());
    check(dir.path(), trials);
    let rate = trials as f64 / took.as_secs_f64();
    let floor_rate = trials as f64 / floor.as_secs_f64();
    println!("{trials} trials, {concurrent} at a time");
    println!(
        "  trajgen run       {:>7.2} s  {rate:>7.1} trials/s  peak {:.0} MiB",
        took.as_secs_f64(),
        peak_kib as f64 / 1024.0
    );
    println!("  namespaces alone  {:>7.2} s  {floor_rate:>7.1} starts/s", floor.as_secs_f64());
    println!("  ratio             {:.2}", rate / floor_rate);
}

/// Starts and ends as many empty processes in namespaces.
fn floor(n: usize, concurrent: usize) -> Duration {
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..concurrent {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < n {
                    let status = Command::new("unshare")
                        .args(["-m", "-p", "-i", "-u", "-n", "-f", "true"])
                        .status()
                        .unwrap();
                    assert!(status.success(), "unshare: {status}; this floor needs root");
                }
            });
        }
    });
    began.elapsed()
}

fn block(root: &Path, trials: usize, concurrent: usize) {
    for n in 0..trials {
        let task = root.join(format!("source/task-{n}"));
        for folder in ["environment", "tests"] {
            fs::create_dir_all(task.join(folder)).unwrap();
        }
        fs::write(task.join("task.toml"), "version = \"1.0\"\n").unwrap();
        fs::write(task.join("instruction.md"), "Do nothing.\n").unwrap();
        fs::write(task.join("environment/Dockerfile"), "FROM debian:12\n").unwrap();
        fs::write(task.join("tests/test.sh"), "#!/bin/sh\necho 1 > /logs/verifier/reward.txt\n").unwrap();
    }
    fs::write(
        root.join("model.yaml"),
        "tracks:\n  - name: agent\n    turns:\n      - text: '{\"analysis\": \"a\", \"plan\": \"p\", \"commands\": \
         [{\"keystrokes\": \"true\\n\", \"duration\": 0}], \"task_complete\": true}'\n",
    )
    .unwrap();
    fs::write(
        root.join("config.yaml"),
        format!(
            "version: 1\nruntime_info:\n  input:\n    llm_api: {{api_base_url: 'script://model.yaml', model: openai/one-turn}}\n    \
             litellm_proxy: {{port: 0}}\n    task_source: {{dataset_name: source}}\n    \
             harbor_job: {{n_concurrent: {concurrent}, n_concurrent_builds: {concurrent}}}\n    \
             environment: {{type: sandbox}}\n    agent: {{name: terminus-2, max_turns: 1}}\n"
        ),
    )
    .unwrap();
}

/// Wall time and peak resident memory, KiB.
fn run(root: &Path) -> (Duration, u64) {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_trajgen"))
        .args(["run", "--block"])
        .arg(root)
        .stdout(Stdio::null())
        .stderr(fs::File::create(root.join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(peak);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success(), "{status}\n{}", fs::read_to_string(root.join("stderr")).unwrap());
    (began.elapsed(), peak)
}

/// A benchmark of wrong results measures nothing.
fn check(root: &Path, trials: usize) {
    let job = fs::read_dir(root.join("artifacts/jobs")).unwrap().next().unwrap().unwrap().path();
    let result = trajgen_contract::result::read_job(&job.join("result.json")).unwrap();
    assert_eq!((result.stats.n_completed_trials, result.stats.n_errored_trials), (trials as u64, 0));
    let evals = result.stats.evals.values().next().unwrap();
    let full = evals.reward_stats["reward"]["1.0"].len();
    assert_eq!(full, trials, "trials with a reward of 1");
}
