//! `clean`: what can be made again goes, what was paid for stays.

use crate::support::{Small, command, names, tree, write};
use serde_json::json;
use std::process::Command;

const KEPT: [&str; 6] = [".lock", "archives", "consumption_ledger.yaml", "index.yaml", "jobs", "tasks"];

fn ran() -> Small {
    let small = Small::with(&["alpha"]);
    small.trajgen(&["run"]).well();
    for folder in ["dashboard/site", "dashboard/.cache", "dashboard/mine"] {
        write(&small.path().join(folder).join("file"), "x");
    }
    small
}

#[test]
fn what_can_be_made_again_is_removed() {
    let small = ran();
    let before = small.tree();
    let would = small.trajgen(&["clean", "--dry-run"]).well();
    let generated = [
        "artifacts/sft_data",
        "artifacts/litellm",
        "artifacts/logs",
        "artifacts/cache",
        "dashboard/site",
        "dashboard/.cache",
    ];
    let expected: String = generated.iter().map(|path| format!("would remove {path}\n")).collect();
    assert_eq!(would.out, expected);
    let report = small.trajgen(&["clean", "--dry-run", "--json"]).well().json();
    assert_eq!((&report["dry_run"], report["removed"].as_array().unwrap().len()), (&json!(true), 6));
    assert_eq!(small.tree(), before);

    let kept = |small: &Small| KEPT.map(|name| tree(&small.path().join("artifacts").join(name).join(".")));
    let paid_for = kept(&small);
    assert_eq!(small.trajgen(&["clean"]).well().out, expected.replace("would remove", "removed"));
    assert_eq!(names(&small.path().join("artifacts")), KEPT);
    assert_eq!(names(&small.path().join("dashboard")), ["mine"]);
    assert_eq!(kept(&small), paid_for);
    small.trajgen(&["clean"]).well().says("nothing to remove");

    // The block goes on as before.
    small.trajgen(&["convert"]).well().says("1 of 1 trials converted");
    small.trajgen(&["run", "--rerun", "all"]).well();
    assert_eq!(small.runs(), ["run_001", "run_002"]);
}

fn git(small: &Small, args: &[&str]) {
    let identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").current_dir(small.path()).args(identity).args(args).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_purge_keeps_what_git_tracks() {
    let small = ran();
    write(&small.path().join("artifacts/README.md"), "kept");
    write(&small.path().join("artifacts/tasks/mini/alpha/kept.txt"), "kept");
    git(&small, &["init", "-q"]);
    git(&small, &["add", "-f", "artifacts/README.md", "artifacts/tasks/mini/alpha/kept.txt"]);
    git(&small, &["commit", "-q", "-m", "x"]);

    let before = small.tree();
    small.trajgen(&["clean", "--purge"]).with(2).complains("--yes");
    let would = small.trajgen(&["clean", "--purge", "--dry-run"]).well();
    would.says("would remove artifacts/jobs").says("would remove artifacts/archives");
    assert!(!would.out.contains("README.md") && !would.out.contains("kept.txt"), "{}", would.out);
    assert_eq!(small.tree(), before);

    small.trajgen(&["clean", "--purge", "--yes"]).well();
    let artifacts = small.path().join("artifacts");
    let left: Vec<_> = tree(&artifacts).into_iter().filter(|entry| !entry.starts_with(".lock")).collect();
    assert_eq!(
        left,
        ["README.md: kept", "tasks/", "tasks/mini/", "tasks/mini/alpha/", "tasks/mini/alpha/kept.txt: kept"]
    );
    assert!(small.path().join("config.yaml").is_file() && small.source().is_dir());
}

#[test]
fn nothing_is_purged_when_git_does_not_say_what_it_tracks() {
    let small = Small::with(&["alpha"]);
    write(&small.path().join("artifacts/README.md"), "tracked");
    git(&small, &["init", "-q"]);
    git(&small, &["add", "-f", "artifacts/README.md"]);
    let before = tree(&small.path().join("artifacts"));
    let left = || {
        let entries = tree(&small.path().join("artifacts"));
        entries.into_iter().filter(|entry| !entry.starts_with(".lock")).collect::<Vec<_>>()
    };

    // There is no git.
    let nowhere = tempfile::tempdir().unwrap();
    for args in [&["clean", "--purge", "--yes"][..], &["clean", "--purge", "--dry-run"]] {
        let ended = command(small.path(), args).env("PATH", nowhere.path()).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(3), "{said}");
        assert!(said.contains("nothing was removed: git cannot be run"), "{said}");
        assert_eq!(left(), before);
    }
    // It fails.
    write(&small.path().join(".git/config"), "[core\n");
    let refused = small.trajgen(&["clean", "--purge", "--yes"]).with(3);
    refused.complains("nothing was removed: fatal: bad config");
    assert_eq!(left(), before);

    // Without a checkout there is nothing to ask git for.
    std::fs::remove_dir_all(small.path().join(".git")).unwrap();
    small.trajgen(&["clean", "--purge", "--yes"]).well().says("removed artifacts/README.md");
    assert_eq!(left(), [""; 0]);
}

#[test]
fn only_the_blocks_own_artifacts_are_touched() {
    let small = Small::with(&["alpha"]);
    let elsewhere = tempfile::tempdir().unwrap();
    write(&elsewhere.path().join("cache/precious"), "x");
    std::os::unix::fs::symlink(elsewhere.path(), small.path().join("artifacts")).unwrap();
    for args in [&["clean"][..], &["clean", "--purge", "--yes"], &["clean", "--dry-run"]] {
        small.trajgen(args).with(2).complains("nothing was removed");
    }
    assert_eq!(names(&elsewhere.path().join("cache")), ["precious"]);
    std::fs::remove_file(small.path().join("artifacts")).unwrap();
    small.trajgen(&["clean"]).well().says("nothing to remove");
    assert!(!small.path().join("artifacts").exists());

    // Links below it go themselves, not what they lead to.
    std::fs::create_dir(small.path().join("artifacts")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("cache"), small.path().join("artifacts/cache")).unwrap();
    small.trajgen(&["clean"]).well().says("removed artifacts/cache");
    assert_eq!(names(&elsewhere.path().join("cache")), ["precious"]);
}
