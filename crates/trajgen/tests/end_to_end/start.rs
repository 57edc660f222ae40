//! The binary by itself: installed, with no checkout around.

use crate::support::{names, only, read_json, read_lines, trials};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

#[test]
fn an_installed_binary_unpacks_the_example_and_runs_it() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_trajgen"), bin.join("trajgen")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let run = |folder: &Path, program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(folder).env("PATH", format!("{}:{path}", bin.display()));
        let output = command.env_remove("CARGO_MANIFEST_DIR").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run(dir.path(), "trajgen", &["init", "--example", "block"]);
    let block = dir.path().join("block");
    assert_eq!(names(&block), ["artifacts", "config.yaml", "examples", "scripts"]);
    assert!(said.contains("8 of 8 over, 0 errored"), "{said}");

    let expected: BTreeMap<String, f64> =
        serde_json::from_value(read_json(&block.join("examples/expected.json"))).unwrap();
    let job = only(&block.join("artifacts/jobs"));
    for trial in trials(&job) {
        let result = read_json(&trial.join("result.json"));
        let reward = result["verifier_result"]["rewards"]["reward"].as_f64();
        assert_eq!(reward, expected.get(&crate::support::task_of(&trial)).copied());
    }
    let data = only(&block.join("artifacts/sft_data"));
    assert_eq!(read_lines(&data.join("im.jsonl")).len(), 7);

    // The other scripts pass their flags on.
    run(&block, "bash", &["scripts/prepare_tasks.sh", "--overwrite"]);
    run(&block, "bash", &["scripts/dryrun.sh"]);
    let said = run(&block, "bash", &["scripts/convert_trajectories.sh", "--instance-status", "all"]);
    assert!(said.contains("8 of 8 trials converted"), "{said}");
    let said = run(&block, "bash", &["scripts/clean.sh", "--dry-run"]);
    assert!(said.contains("would remove artifacts/sft_data"), "{said}");
    // Paths in them are seen from where the script is called, the block is the script's own.
    run(dir.path(), "bash", &["block/scripts/convert_trajectories.sh", "--out-dir", "data"]);
    assert_eq!(names(&only(&dir.path().join("data"))).len(), 5);
    let clean = ["block/scripts/clean.sh", "--dry-run", "--block", "block"];
    assert!(run(dir.path(), "bash", &clean).contains("would remove artifacts/sft_data"));
    let said = run(dir.path(), "bash", &["block/scripts/start.sh"]);
    assert!(said.contains("8 tasks are consumed") && said.contains("--rerun"), "{said}");
}

#[test]
fn the_examples_run_decides_how_init_ends() {
    let dir = tempfile::tempdir().unwrap();
    // An index of a newer version: nothing is run beside it.
    let block = dir.path().join("block");
    crate::support::trajgen(dir.path(), &["init", "--example", "--no-run", "block"]).well();
    crate::support::write(&block.join("artifacts/index.yaml"), "version: 9\n");
    let ended = crate::support::trajgen(dir.path(), &["init", "--example", "--force", "block"]);
    ended.with(2).says("unpacked the example into block").complains("version 9 is newer");
}
