//! Config, tasks and files that cannot be used: each said with what, where and what to do, and the right exit code.

use crate::support::{Block, REWARDED, names};

/// What makes a good block bad.
type Spoil<'a> = &'a dyn Fn(&Block);

/// A block with one good task.
fn block() -> Block {
    let block = Block::scripted("max_retries: 0");
    block.task("a1", REWARDED);
    block
}

/// What `trajgen ARGS` says on standard error with `code`, the block's folder written as `BLOCK`.
#[track_caller]
fn said(block: &Block, args: &[&str], code: i32) -> String {
    let ended = block.trajgen(args).expect(code);
    format!("exit {code}\n{}", ended.stderr.replace(&*block.path("").to_string_lossy(), "BLOCK/"))
}

/// Nothing was started, archived or consumed.
#[track_caller]
fn untouched(block: &Block) {
    for path in ["jobs", "archives", "index.yaml", "consumption_ledger.yaml"] {
        assert!(!block.path(&format!("artifacts/{path}")).exists(), "{path}");
    }
}

/// One snapshot of all cases: what was done to the block's config, and what `run` said.
#[test]
fn configs_that_cannot_be_used() {
    let cases: &[(&str, Spoil)] = &[
        ("broken YAML", &|b| b.edit("config.yaml", "task_source: {", "task_source: {{")),
        ("a tab for indentation", &|b| b.edit("config.yaml", "    harbor_job:", "\tharbor_job:")),
        ("no file", &|b| std::fs::remove_file(b.path("config.yaml")).unwrap()),
        ("an empty file", &|b| b.write("config.yaml", "")),
        ("a wrong type", &|b| b.edit("config.yaml", "n_concurrent: 2", "n_concurrent: two")),
        ("a number out of range", &|b| b.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 0")),
        ("times that nobody can wait for", &|b| {
            b.edit(
                "config.yaml",
                "max_retries: 0\n    environment",
                "agent_timeout_sec: 1e300\n      retry: {max_wait_sec: 1e300}\n    environment",
            );
            b.edit("config.yaml", "max_retries: 0", "request_timeout_sec: 1e300");
        }),
        ("a list for a section", &|b| {
            b.edit("config.yaml", "agent: {name: terminus-2, max_turns: 5}", "agent: 7");
        }),
        ("a missing key", &|b| b.edit("config.yaml", "{dataset_name: tasks}", "{split: train}")),
        ("a key given twice", &|b| {
            b.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 2\n      n_concurrent: 3");
        }),
        ("a newer version", &|b| b.edit("config.yaml", "version: 1", "version: 2")),
        ("several at once", &|b| {
            b.edit(
                "config.yaml",
                "n_concurrent: 2",
                "n_concurent: 2\n      n_attempts: -1\n      jobs_dir: 4",
            );
            b.edit("config.yaml", "{type: sandbox}", "{type: sandbx, memory_mb: lots}");
        }),
        ("an unset variable", &|b| {
            b.edit("config.yaml", "model: openai/scripted", "model: '${NO_SUCH_VARIABLE}'");
        }),
        ("another host", &|b| {
            b.edit("config.yaml", "{name:  trajgen}", "{name: trajgen, resources: {ip: 10.0.0.7}}");
        }),
        ("docker", &|b| b.edit("config.yaml", "type: sandbox", "type: docker")),
        ("slurm", &|b| b.edit("config.yaml", "type: sandbox", "type: slurm")),
        ("replay", &|b| b.edit("config.yaml", "script://scripts", "replay://log.jsonl")),
        ("anthropic", &|b| {
            b.edit("config.yaml", "script://scripts", "http://127.0.0.1:9/v1");
            b.edit("config.yaml", "openai/scripted", "anthropic/scripted");
        }),
        ("an address that is none", &|b| b.edit("config.yaml", "script://scripts", "127.0.0.1:8000/v1")),
        ("no such script", &|b| b.edit("config.yaml", "script://scripts", "script://none")),
        ("a broken script", &|b| b.write("scripts/a1.yaml", "tracks:\n- turns:\n  - {says: x}\n")),
        ("an unknown agent", &|b| b.edit("config.yaml", "name: terminus-2", "name: terminus-1")),
        ("an agent that comes later", &|b| b.edit("config.yaml", "name: terminus-2", "name: claude-code")),
        ("an unknown option", &|b| b.edit("config.yaml", "max_turns: 5", "kwargs: {max_turn: 5}")),
        ("a wrong option", &|b| b.edit("config.yaml", "max_turns: 5", "kwargs: {max_turns: many}")),
        ("huggingface", &|b| {
            b.edit("config.yaml", "{dataset_name: tasks}", "{dataset_name: o/d, provider: huggingface}");
        }),
        ("no such source", &|b| b.edit("config.yaml", "{dataset_name: tasks}", "{dataset_name: ../nowhere}")),
        ("a glob that is none", &|b| {
            b.edit(
                "config.yaml",
                "max_retries: 0\n    environment",
                "exclude_tasks: ['a[']\n    environment",
            );
        }),
    ];
    let mut all = String::new();
    for (what, spoil) in cases {
        let block = block();
        spoil(&block);
        all.push_str(&format!("== {what}\n{}\n", said(&block, &["run"], 2)));
        untouched(&block);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn unknown_keys_are_warned_about_and_the_run_goes_on() {
    let block = block();
    block.edit("config.yaml", "n_concurrent: 2", "n_concurrent: 2\n      n_concurent: 3");
    let said = said(&block, &["run", "--dry-run"], 0);
    assert!(
        said.contains(
            "warning: BLOCK/config.yaml:11:7: runtime_info.input.harbor_job.n_concurent: unknown key"
        ),
        "{said}"
    );
    assert!(said.contains("did you mean `n_concurrent`?"), "{said}");
}

#[test]
fn usage_that_is_none() {
    let block = block();
    for args in [
        &["run", "--resume", "x", "--rerun", "all"][..],
        &["run", "--block", "nowhere"],
        &["run", "--no-such-flag"],
        &["roll"],
        &["run", "--rerun", "a2"],
    ] {
        block.trajgen(args).expect(2);
    }
    assert!(
        said(&block, &["run", "--rerun", "a2"], 2).contains("--rerun a2: there is no such task in 'tasks'")
    );
    untouched(&block);
}

/// One snapshot of all cases: what is wrong with the task source, and what `run` said.
#[test]
fn tasks_that_cannot_be_used() {
    let cases: &[(&str, i32, Spoil)] = &[
        ("an entry without a task", 0, &|b| b.write("tasks/verifiable_tasks.txt", "a1\ngone\n")),
        ("entries without any task", 2, &|b| b.write("tasks/verifiable_tasks.txt", "gone\nlost\n")),
        ("an empty manifest", 2, &|b| b.write("tasks/verifiable_tasks.txt", "# none yet\n\n")),
        ("an entry that leaves the source", 2, &|b| b.write("tasks/verifiable_tasks.txt", "../../etc\n")),
        ("no tests", 0, &|b| {
            b.task("b1", REWARDED);
            std::fs::remove_file(b.path("tasks/b1/tests/test.sh")).unwrap();
        }),
        ("no instruction", 0, &|b| {
            b.task("b1", REWARDED);
            std::fs::remove_file(b.path("tasks/b1/instruction.md")).unwrap();
        }),
        ("no environment", 0, &|b| {
            b.task("b1", REWARDED);
            std::fs::remove_file(b.path("tasks/b1/environment/Dockerfile")).unwrap();
        }),
        ("a broken task.toml", 0, &|b| b.task_with("b1", "[agent\n", REWARDED)),
        ("a wrong type in task.toml", 0, &|b| {
            b.task_with("b1", "[agent]\ntimeout_sec = \"long\"\n", REWARDED);
        }),
        ("only broken tasks", 2, &|b| b.write("tasks/a1/task.toml", "= 1\n")),
        ("more than is supported", 2, &|b| {
            b.task_with("b1", "[environment]\ngpus = 1\n", REWARDED);
            b.task_with("b2", "[environment]\ndocker_image = \"python:3.12\"\n", REWARDED);
            b.task_with(
                "b3",
                "[environment]\nnetwork_mode = \"allowlist\"\nallowed_hosts = [\"example.org\"]\n",
                REWARDED,
            );
        }),
        ("phases with networks of their own", 2, &|b| {
            for (id, agent, verifier, environment) in [
                ("b1", "no-network", "public", ""),
                ("b2", "public", "", ""),
                ("b3", "", "no-network", "public"),
                ("b4", "no-network", "", "public"),
                ("b5", "no-network", "no-network", "no-network"),
                ("b6", "", "", "public"),
            ] {
                let sections = [("agent", agent), ("verifier", verifier), ("environment", environment)];
                let toml: String = sections
                    .iter()
                    .filter(|(_, mode)| !mode.is_empty())
                    .map(|(section, mode)| format!("[{section}]\nnetwork_mode = \"{mode}\"\n"))
                    .collect();
                b.task_with(id, &toml, REWARDED);
            }
        }),
        ("a verifier that is to reach more than the agent", 2, &|b| {
            b.edit("config.yaml", "{type: sandbox}", "{type: sandbox, verifier_network: public}");
        }),
        ("an unset variable", 2, &|b| {
            b.task_with("b1", "[verifier.env]\nKEY = \"${NO_SUCH_VARIABLE}\"\n", REWARDED);
        }),
    ];
    let mut all = String::new();
    for (what, code, spoil) in cases {
        let block = block();
        spoil(&block);
        all.push_str(&format!("== {what}\n"));
        // What cannot be run is found before anything starts, by a dry run where tasks are only read.
        let args: &[&str] = if *code == 0 { &["run", "--dry-run"] } else { &["run"] };
        let text = said(&block, args, *code);
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("run_001 runs job")).collect();
        all.push_str(&kept.join("\n"));
        all.push_str("\n\n");
        assert!(!block.path("artifacts/consumption_ledger.yaml").exists(), "{what}");
        if *code == 0 {
            // In strict mode it is the end.
            let strict = said(&block, &["run", "--strict"], if what.starts_with("an entry") { 0 } else { 2 });
            assert!(strict.contains("error: ") || what.starts_with("an entry"), "{strict}");
        }
    }
    insta::assert_snapshot!(all);
}

/// One snapshot of all cases: what is wrong with a file that trajgen wrote, and what `run` said.
#[test]
fn files_of_ours_that_were_spoilt() {
    let ledger = "artifacts/consumption_ledger.yaml";
    let index = "artifacts/index.yaml";
    let cases: &[(&str, Spoil)] = &[
        ("a newer ledger", &|b| b.edit(ledger, "version: 1", "version: 2")),
        ("a status that is none", &|b| b.edit(ledger, "status: done", "status: finished")),
        ("a broken line", &|b| b.edit(ledger, "  dataset: tasks", "  dataset: [tasks")),
        ("an entry twice", &|b| {
            b.edit(
                ledger,
                "- task_id: a1",
                "- {task_id: a1, dataset: tasks, agent: nop, status: failed}\n- task_id: a1",
            );
        }),
        ("a broken journal", &|b| b.write(&format!("{ledger}.journal.jsonl"), "nothing\n{}\n")),
        ("a newer index", &|b| b.edit(index, "version: 1", "version: 3")),
        ("a broken index", &|b| b.edit(index, "status: completed", "status: fine")),
        ("a newer plan", &|b| {
            let plan = format!("artifacts/jobs/{}/plan.json", b.job());
            b.edit(&plan, "\"version\": 1", "\"version\": 2");
        }),
    ];
    let mut all = String::new();
    for (what, spoil) in cases {
        let block = block();
        block.edit("config.yaml", "agent: {name: terminus-2, max_turns: 5}", "agent: {name: nop}");
        block.trajgen(&["run"]).expect(0);
        let job = block.job();
        spoil(&block);
        let before = block.read(ledger);
        let args: &[&str] = if what.contains("plan") { &["run", "--resume", &job] } else { &["run"] };
        all.push_str(&format!("== {what}\n{}\n", said(&block, args, 2).replace(&job, "JOB")));
        // Nothing was mended behind anybody's back, and nothing ran.
        assert_eq!(block.read(ledger), before);
        assert_eq!(names(&block.path("artifacts/archives")), ["run_001"]);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn check_and_validate_refuse_the_networks_that_a_run_refuses() {
    let block = block();
    let said = |block: &Block| block.trajgen(&["check"]).stdout;
    let silent = "agent the model only, verifier its own loopback only: 1 tasks (a1)";
    assert!(said(&block).contains(silent), "{}", said(&block));
    block.task_with("b1", "[verifier]\nnetwork_mode = \"public\"\n", REWARDED);
    let refused = "verification everything, but the sandbox has one network for all of a trial";
    let checked = block.trajgen(&["check"]).expect(2).stdout;
    assert!(checked.contains(refused), "{checked}");
    assert!(
        checked.contains(&format!("{silent}; ")) || checked.contains(&format!("; {silent}")),
        "{checked}"
    );
    assert!(checked.contains("agent the model only, verifier everything: 1 tasks (b1)"), "{checked}");
    let validated = block.trajgen(&["validate", "tasks/b1"]).expect(2).stdout;
    assert!(validated.contains(refused), "{validated}");
}

#[test]
fn a_task_without_a_script_is_found_before_anything_starts() {
    let block = block();
    block.task("b1", REWARDED);
    std::fs::rename(block.path("scripts/default.yaml"), block.path("scripts/a1.yaml")).unwrap();
    for args in [&["run"][..], &["run", "--dry-run"]] {
        let said = said(&block, args, 2);
        assert!(said.contains("error: the model has no answers for 1 of 2 tasks:\n  task b1: "), "{said}");
        untouched(&block);
    }
    let checked = block.trajgen(&["check"]).expect(2).stdout;
    assert!(checked.contains("task b1: "), "{checked}");
    // Agents that call no model need none.
    block.edit("config.yaml", "agent: {name: terminus-2, max_turns: 5}", "agent: {name: nop}");
    block.trajgen(&["run", "--dry-run"]).expect(0);
}
