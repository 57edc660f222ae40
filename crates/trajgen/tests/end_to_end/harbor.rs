//! Harbor's own models load what a run leaves, without loss.

use crate::example::ran;
use crate::support::{Small, checkout, names, trials};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python that has what `tests/harbor/requirements.txt` says.
fn python() -> PathBuf {
    let named = std::env::var_os("TRAJGEN_TEST_HARBOR").map(PathBuf::from);
    let python = named.unwrap_or_else(|| checkout().join("target/harbor/bin/python"));
    assert!(python.exists(), "{} is not there: run scripts/test.sh, which installs it", python.display());
    python
}

#[track_caller]
fn loads(script: &str, files: &[PathBuf]) -> String {
    let script = checkout().join("tests/harbor").join(script);
    let output = Command::new(python()).arg(script).args(files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn job_loads(job: &Path) -> String {
    loads("load_models.py", &[job.to_owned()])
}

#[test]
fn the_examples_job_loads() {
    let said = job_loads(&ran().job());
    assert!(said.contains("8 trials, 0 differences"), "{said}");
}

#[test]
fn the_examples_trajectories_load() {
    let files: Vec<_> = trials(&ran().job()).iter().map(|t| t.join("agent/trajectory.json")).collect();
    assert_eq!(loads("load_trajectory.py", &files).matches(": loads").count(), 8);
}

#[test]
fn a_job_with_attempts_and_errors_loads() {
    let small = Small::with(&["good", "silent"]);
    crate::support::write(&small.source().join("silent/tests/test.sh"), "#!/bin/bash\ntrue\n");
    small.configured(&[("harbor_job.n_attempts", "2"), ("agent.kwargs", "{max_turns: 4}")]);
    small.trajgen(&["run"]).well();
    let jobs = small.path().join("artifacts/jobs");
    let said = job_loads(&jobs.join(&names(&jobs)[0]));
    assert!(said.contains("4 trials, 0 differences"), "{said}");
}
