//! `validate`: doing nothing gives 0, the solution gives 1.

use crate::support::{Small, checkout, names, trajgen, write};

#[test]
fn the_shipped_tasks_are_proved() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = checkout().join("examples/tasks");
    let report = trajgen(dir.path(), &["validate", tasks.to_str().unwrap(), "--json"]).well().json();
    assert_eq!(report["failed"], 0);
    let proofs = report["tasks"].as_array().unwrap();
    assert_eq!(proofs.len(), 8);
    for proof in proofs {
        assert_eq!(
            (&proof["nop"]["reward"], &proof["oracle"]["reward"]),
            (&0.0.into(), &1.0.into()),
            "{proof}"
        );
        assert!(proof["nop"]["error"].is_null() && proof["oracle"]["error"].is_null(), "{proof}");
    }
    // It works in the cache, and is no run.
    assert_eq!(names(&dir.path().join("artifacts")), [".lock", "cache"]);
    for folder in ["scratch", "comparisons"] {
        assert_eq!(names(&dir.path().join("artifacts/cache").join(folder)), [""; 0], "{folder}");
    }
}

#[test]
fn tasks_that_prove_nothing_are_reported() {
    let small = Small::with(&["good", "given", "wrong", "silent", "broken"]);
    let task = |id: &str| small.source().join(id);
    // Solved before anybody did anything.
    write(&task("given").join("environment/Dockerfile"), "FROM debian:12\nWORKDIR /app\nRUN touch done\n");
    write(&task("wrong").join("solution/solve.sh"), "#!/bin/bash\ntouch undone\n");
    write(&task("silent").join("tests/test.sh"), "#!/bin/bash\ntrue\n");
    std::fs::remove_file(task("broken").join("instruction.md")).unwrap();
    let said = small.trajgen(&["validate", "data/mini"]).with(2);
    said.says("ok    good: nop 0, oracle 1")
        .says("FAIL  given: nop 1, oracle 1")
        .says("FAIL  wrong: nop 0, oracle 0");
    said.says("RewardFileNotFoundError")
        .says("1 of 5 tasks are proved")
        .complains("task 'broken' is skipped");

    let report = small.trajgen(&["validate", "data/mini", "--json"]).with(2).json();
    assert_eq!((&report["failed"], &report["skipped"][0]["task_id"]), (&4.into(), &"broken".into()));
    let log = report["tasks"][1]["nop"]["log"].as_str().unwrap();
    assert!(crate::support::read(std::path::Path::new(log)).contains("rewards"), "{log}");

    small.trajgen(&["validate", "data/mini/good", "--n-concurrent", "0"]).with(2).complains("--n-concurrent");
    small.trajgen(&["validate", "data/mini/good"]).well().says("1 of 1 tasks are proved");
    small.trajgen(&["validate", "data/nowhere"]).with(2).complains("data/nowhere");
}
