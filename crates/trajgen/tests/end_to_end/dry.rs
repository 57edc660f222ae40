//! What runs nothing leaves nothing.

use crate::support::Small;

#[test]
fn a_dry_run_says_what_would_run_and_leaves_the_block_as_it_was() {
    let small = Small::with(&["alpha", "beta"]);
    small.configured(&[("harbor_job.n_attempts", "2")]);
    let before = small.tree();
    let said = small.trajgen(&["run", "--dry-run"]).well();
    said.says("4 trials would run, in environments of type sandbox").says("alpha  attempt 1  terminus-2");
    let plan = small.trajgen(&["run", "--dry-run", "--json"]).well().json();
    assert_eq!(plan["trials"].as_array().unwrap().len(), 4);
    assert_eq!(plan["trials"][0]["model"], "tiny/model");
    assert_eq!(small.tree(), before);
}

#[test]
fn a_dry_run_of_a_block_in_use_leaves_it_as_it_was() {
    let small = Small::with(&["alpha", "beta"]);
    small.configured(&[("harbor_job.n_tasks", "1")]);
    small.trajgen(&["run"]).well();
    crate::support::write(&small.source().join("beta/instruction.md"), "Changed.\n");
    let before = small.tree();
    let plan = small.trajgen(&["run", "--dry-run", "--json"]).well().json();
    assert_eq!(plan["trials"].as_array().unwrap().len(), 1);
    assert_eq!(plan["trials"][0]["task_id"], "beta");
    let again = small.trajgen(&["run", "--dry-run", "--rerun", "all", "--json"]).well().json();
    assert_eq!(again["trials"][0]["task_id"], "alpha");
    assert_eq!(small.tree(), before);
}

#[test]
fn check_tells_everything_in_one_pass_and_prepares_nothing() {
    let small = Small::with(&["alpha"]);
    let said = small.trajgen(&["check"]).well();
    for what in ["config", "block", "disk", "environment", "tasks", "ledger", "port", "upstream", "network"] {
        assert!(said.out.lines().any(|line| line.contains(what)), "{what}: {}", said.out);
    }
    said.says("1 trials would run")
        .says("tasks that say nothing reach: agent model-only, verifier loopback only");
    assert!(!small.path().join("artifacts/tasks").exists());
    let findings = small.trajgen(&["check", "--json"]).well().json();
    assert!(findings.as_array().unwrap().iter().all(|f| f["verdict"] == "PASS"), "{findings}");

    small.trajgen(&["run"]).well();
    let findings = small.trajgen(&["check", "--json"]).well().json();
    let tasks = findings.as_array().unwrap().iter().find(|f| f["what"] == "tasks").unwrap();
    assert!(tasks["says"].as_str().unwrap().starts_with("nothing left to run"), "{tasks}");

    // For people, no text of the program's own.
    let said = small.trajgen(&["check"]).well();
    said.says("networks none, model-only, public\n");
    let free = said.out.lines().find(|line| line.contains("disk")).unwrap();
    assert!(free.ends_with("iB free") && free.contains(|c: char| c.is_ascii_digit()), "{free}");

    // A script without a turn for the task, and a task that no sandbox can give its network.
    std::fs::remove_dir_all(small.path().join("model")).unwrap();
    let failed = small.trajgen(&["check"]);
    assert_ne!(failed.code, 0);
    failed.says("FAIL  upstream");
}

#[test]
fn what_a_run_refuses_check_and_a_dry_run_refuse() {
    let small = Small::with(&["alpha"]);
    small.trajgen(&["prepare"]).well();
    // Another source that has the same name.
    crate::support::write_task(&small.path().join("other/mini"), "beta");
    let path = small.path().join("config.yaml");
    let config = crate::support::read(&path);
    std::fs::write(&path, config.replace("data/mini", "other/mini")).unwrap();
    let says = "two sources cannot share the name 'mini'";
    for args in [&["run"][..], &["run", "--dry-run"]] {
        small.trajgen(args).with(2).complains(says);
    }
    small.trajgen(&["check"]).with(2).says(says);

    let elsewhere = config.replace("{name: small}", "{name: small, resources: {ip: 10.0.0.7}}");
    std::fs::write(&path, elsewhere).unwrap();
    let says = "this block belongs to host '10.0.0.7'";
    for args in [&["run"][..], &["run", "--dry-run"]] {
        small.trajgen(args).with(2).complains(says);
    }
    small.trajgen(&["check"]).with(2).says("FAIL  host").says(says);
}

#[test]
fn check_compares_the_hand_kept_list_with_the_ledger() {
    let small = Small::with(&["alpha", "beta"]);
    let listing = |excluded: &str| {
        small.configured(&[]);
        let path = small.path().join("config.yaml");
        let config = crate::support::read(&path);
        let extra = format!("environment:\n  extra: {{HARBOR_EXCLUDE_TASKS: \"{excluded}\"}}\n");
        std::fs::write(&path, config + &extra).unwrap();
    };
    listing("beta");
    small.trajgen(&["run"]).well();
    let said = small.trajgen(&["check"]).well();
    said.says("WARN  exclusions").says("excluded, but not consumed: beta; consumed, but not in the list");
    listing("alph?");
    small.trajgen(&["check"]).well().says("HARBOR_EXCLUDE_TASKS and the ledger agree");
    listing("");
    assert!(!small.trajgen(&["check"]).well().out.contains("exclusions"));
}
