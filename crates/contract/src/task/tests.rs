use super::*;
use std::collections::BTreeMap;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// A small valid task with this `task.toml`.
fn task(toml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("task.toml", toml),
            ("instruction.md", "# canary x\n\nDo it.\n"),
            ("environment/Dockerfile", "FROM debian\n"),
            ("tests/test.sh", "exit 0\n"),
        ],
    );
    dir
}

fn load(toml: &str) -> (Task, Vec<Warning>) {
    Task::load(task(toml).path()).unwrap()
}

fn refused(toml: &str) -> Vec<String> {
    problems(Task::load(task(toml).path()))
}

fn problems(loaded: Result<(Task, Vec<Warning>), TaskError>) -> Vec<String> {
    match loaded {
        Err(TaskError::Invalid { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, found {other:?}"),
    }
}

#[test]
fn an_empty_file_takes_harbors_defaults() {
    let (task, warnings) = load("");
    let definition = task.definition();
    assert_eq!(warnings, []);
    assert_eq!(task.instruction(), "Do it.\n");
    assert_eq!(task.name(), task.id());
    assert_eq!(definition.schema_version, "1.4");
    assert_eq!(definition.verifier.timeout_sec, 600.0);
    assert_eq!(definition.environment.build_timeout_sec, 600.0);
    assert_eq!(definition.agent, AgentSection::default());
    assert_eq!(definition.environment.network, None);
    assert_eq!(task.verifier_mode(None), VerifierMode::Shared);
    assert_eq!(task.verifier_environment(None), None);
}

#[test]
fn every_section_is_read() {
    let (task, warnings) = load(include_str!("../../tests/fixtures/full_task.toml"));
    assert_eq!(warnings, [], "nothing in it is unknown");
    let d = task.definition();
    assert_eq!(d.schema_version, "1.1");
    assert_eq!(task.name(), "acme/add-numbers");
    let package = d.package.as_ref().unwrap();
    assert_eq!(package.version.as_deref(), Some("2"));
    assert_eq!(package.authors[0], Author { name: "A. Cme".into(), email: Some("a@example.com".into()) });
    assert_eq!(d.metadata["tags"], serde_json::json!(["arithmetic", "py"]));
    assert_eq!(d.metadata["made"], "2026-05-04");
    assert_eq!(d.artifacts[0].source, "/app/out.txt");
    assert_eq!(
        d.artifacts[1],
        Artifact {
            source: "/data".into(),
            destination: Some("db/data".into()),
            exclude: vec!["*.tmp".into()],
            service: "db".into()
        }
    );
    assert_eq!((d.agent.timeout_sec, d.agent.user.as_deref()), (Some(900.0), Some("1000")));
    let hosts = &d.agent.network.as_ref().unwrap().allowed_hosts;
    assert_eq!(hosts, &["mirror.example.org", "*.files.example.org", "10.0.0.0/8"]);
    let v = &d.verifier;
    assert_eq!((v.timeout_sec, v.user.as_deref(), v.stop_leftovers), (120.5, Some("root"), Some(true)));
    assert_eq!(v.network.as_ref().unwrap().mode, NetworkMode::NoNetwork);
    assert_eq!(v.env["TOKEN"], "${JUDGE_TOKEN:-none}");
    assert_eq!(v.collect[0].timeout_sec, 60.0);
    assert_eq!(v.collect[1].service, "db");
    assert_eq!(v.environment.as_ref().unwrap().memory_mb, Some(512));
    let e = &d.environment;
    assert_eq!((e.cpus, e.memory_mb, e.storage_mb, e.gpus), (Some(2.0), Some(4096), Some(10_240), Some(1)));
    assert_eq!(e.healthcheck.as_ref().unwrap().retries, 5);
    assert_eq!(e.healthcheck.as_ref().unwrap().interval_sec, 5.0);
    assert_eq!(e.mcp_servers[0].transport, McpTransport::Sse("http://mcp:80/sse".into()));
    assert_eq!(e.mcp_servers[1].transport, McpTransport::StreamableHttp("http://mcp:80/".into()));
    assert_eq!(
        e.mcp_servers[2].transport,
        McpTransport::Stdio { command: "srv".into(), args: vec!["-v".into()] }
    );
    assert_eq!(e.tpu.as_ref().unwrap().topology, "2x4");
    assert_eq!(d.solution_env["A"], "b");
    // `[verifier.environment]` without a word on the mode means separate; it has no image of its own.
    assert_eq!(task.verifier_mode(None), VerifierMode::Separate);
    let separate = task.verifier_environment(None).unwrap();
    assert_eq!((separate.bundled_tests, separate.section.memory_mb), (false, Some(512)));
    assert_eq!(separate.section.docker_image.as_deref(), Some("debian:12"));
}

#[test]
fn older_spellings_are_read_with_a_warning() {
    let (task, warnings) = load(
        "version = \"1.0\"\n[environment]\nmemory = \"2G\"\nstorage = \"1024K\"\nallow_internet = false\n",
    );
    let environment = &task.definition().environment;
    assert_eq!(task.definition().schema_version, "1.0");
    assert_eq!((environment.memory_mb, environment.storage_mb), (Some(2048), Some(1)));
    assert_eq!(environment.network.as_ref().unwrap().mode, NetworkMode::NoNetwork);
    let shown: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown[0].starts_with("task.toml:3: environment.memory: is an older spelling"), "{shown:?}");

    let (task, _) = load("[environment]\nallow_internet = true\nnetwork_mode = \"no-network\"\n");
    assert_eq!(task.definition().environment.network.as_ref().unwrap().mode, NetworkMode::NoNetwork);
}

#[test]
fn unknown_keys_are_kept_and_warned_about_with_the_nearest_name() {
    let (task, warnings) = load("colour = \"red\"\n[agent]\ntimeout_secs = 5\n[new.thing]\nx = 1\n");
    let shown: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "task.toml:1: colour: unknown key, ignored",
            "task.toml:3: agent.timeout_secs: unknown key, ignored; did you mean 'timeout_sec'?",
            "task.toml:4: new: unknown key, ignored",
        ]
    );
    assert_eq!(task.definition().unknown["agent.timeout_secs"], 5);
    assert_eq!(task.definition().unknown["new"], serde_json::json!({"thing": {"x": 1}}));
}

#[test]
fn all_problems_come_in_one_pass_with_their_lines() {
    let found = refused(
        "version = 1.0\nmetadata = 3\n[task]\nname = \"plain\"\n[agent]\ntimeout_sec = \"long\"\n\
         allowed_hosts = [\"mirror.example.org\"]\n[environment]\ncpus = -1\nmemory_mb = 1.5\n[environment.env]\nA = 1\n",
    );
    let expected = [
        "task.toml:1: version: found the number 1.0, expected a string",
        "task.toml:4: task.name: found 'plain', expected 'org/name'",
        "task.toml:2: metadata: found the number 3, expected a table",
        "task.toml:6: agent.timeout_sec: found the string \"long\", expected a number above 0",
        "task.toml:7: agent.allowed_hosts: holds only with network_mode = \"allowlist\"",
        "task.toml:9: environment.cpus: found the number -1, expected a number from 0",
        "task.toml:10: environment.memory_mb: is no whole number of MiB",
        "task.toml:12: environment.env.A: found the number 1, expected a string (put it in quotes)",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for expected in expected {
        assert!(found.iter().any(|found| found.starts_with(expected)), "{expected} is not in {found:#?}");
    }
    assert!(found.is_sorted_by_key(|found| found.split(':').nth(1).unwrap().parse::<u32>().unwrap()));
}

#[test]
fn a_misspelt_key_is_told_beside_the_missing_one() {
    let found = refused("[environment.healthcheck]\ncomand = \"true\"\n").join("\n");
    assert!(found.contains("command: is missing") && found.contains("did you mean 'command'?"), "{found}");
}

#[test]
fn nothing_a_task_says_acts_on_a_terminal() {
    let found = refused("[agent]\nuser = 1\ntimeout_sec = \"\\u001b[2J\"\n").join("\n");
    assert!(found.contains("\\u{1b}[2J") && !found.contains('\u{1b}'), "{found}");
}

#[test]
fn single_problems_are_named() {
    for (toml, says) in [
        ("a = [", "task.toml:1: is no TOML"),
        ("[agent]\ntimeout_sec = inf", "expected a number above 0"),
        ("[agent]\ntimeout_sec = 1e300", "expected a number above 0"),
        ("[agent]\ntimeout_sec = 0", "expected a number above 0"),
        ("[agent]\nallowed_hosts = []", "holds only with"),
        ("[agent]\nuser = -1", "expected a user's name or number"),
        ("[agent]\nnetwork_mode = \"none\"", "expected one of 'public', 'no-network', 'allowlist'"),
        ("[environment]\nnetwork_mode = \"public\"\nallowed_hosts = [\"a.b\"]", "holds only with"),
        ("[environment]\nnetwork_mode = \"allowlist\"\nallowed_hosts = [\"http://a.b\"]", "'http://a.b'"),
        ("[environment]\nmemory = \"2 buckets\"", "expected a size"),
        ("[environment]\nmemory = \"2G\"\nmemory_mb = 1", "'2G' is 2048 MiB"),
        ("[environment]\nos = \"Windows\"", "only 'linux' tasks run here"),
        ("[environment.healthcheck]\nretries = 1", "environment.healthcheck.command: is missing"),
        ("[[environment.mcp_servers]]\nname = \"x\"", "mcp_servers[0].url: is missing"),
        ("[verifier]\nenvironment_mode = \"shared\"\n[verifier.environment]", "remove one of the two"),
        ("[[verifier.collect]]\ncommand = \"x\"\nservice = \"../x\"", "no name of a compose service"),
        ("artifacts = [\"/a/../b\"]", "artifacts[0]: found the string"),
        ("artifacts = [{source = \"/a\", destination = \"../b\"}]", "artifacts[0].destination: found '../b'"),
        ("artifacts = [{source = \"/a\", destination = \"/b\"}]", "expected a relative path"),
        ("artifacts = [{source = \"/a\", destination = \"manifest.json\"}]", "take another"),
        ("artifacts = [{source = \"a\", service = \"db\"}]", "expected an absolute path"),
        ("artifacts = [3]", "expected a path or a table"),
        ("multi_step_reward_strategy = \"sum\"", "expected one of 'mean', 'final'"),
        ("[[steps]]\nname = \"../x\"", "steps[0].name: '../x' holds a character"),
        ("[[steps]]\nname = \"a\"\n[[steps]]\nname = \"A\"", "steps[1].name: 'A' is also another step's"),
        ("[[steps]]\nname = \"nul.txt\"", "device's name"),
        ("[[steps]]", "steps[0].name: is missing"),
        ("[task]\nname = \"a/..b\"", "expected 'org/name'"),
    ] {
        let found = refused(toml);
        assert!(found.iter().any(|found| found.contains(says)), "{toml}: {says} is not in {found:#?}");
    }
}

#[test]
fn figures_are_read_as_harbor_reads_them() {
    let (task, warnings) = load(
        "[agent]\ntimeout_sec = \"5\"\n[environment]\ncpus = 0\nmemory_mb = 2048.0\nmemory = 512\nallowed_hosts = []\n",
    );
    let environment = &task.definition().environment;
    assert_eq!(task.definition().agent.timeout_sec, Some(5.0));
    assert_eq!((environment.cpus, environment.memory_mb), (None, Some(2048)));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn what_must_be_there_is_named() {
    let dir = task("");
    std::fs::remove_file(dir.path().join("environment/Dockerfile")).unwrap();
    std::fs::remove_file(dir.path().join("instruction.md")).unwrap();
    std::fs::remove_dir_all(dir.path().join("tests")).unwrap();
    let found = problems(Task::load(dir.path())).join("\n");
    for file in ["environment:", "instruction.md:", "tests/test.sh:"] {
        assert!(found.contains(file), "{file} is not in {found}");
    }
    std::fs::remove_file(dir.path().join("task.toml")).unwrap();
    assert_eq!(problems(Task::load(dir.path())).len(), 1);
}

#[test]
fn an_image_replaces_the_build_files_and_the_verifiers_own_image_the_tests() {
    let dir = task("[environment]\ndocker_image = \"debian:12\"\n");
    std::fs::remove_dir_all(dir.path().join("environment")).unwrap();
    Task::load(dir.path()).unwrap();

    let dir = task("[verifier.environment]\ndocker_image = \"grader:1\"\n");
    std::fs::remove_dir_all(dir.path().join("tests")).unwrap();
    let (loaded, _) = Task::load(dir.path()).unwrap();
    assert!(loaded.verifier_environment(None).unwrap().bundled_tests);

    let dir = task("[verifier]\nenvironment_mode = \"separate\"\n");
    write(dir.path(), &[("tests/Dockerfile", "FROM debian\n")]);
    std::fs::remove_file(dir.path().join("tests/test.sh")).unwrap();
    let (loaded, _) = Task::load(dir.path()).unwrap();
    let separate = loaded.verifier_environment(None).unwrap();
    assert_eq!((separate.bundled_tests, separate.context), (true, dir.path().join("tests")));

    // A shared verifier needs a script, whatever lies beside it.
    let dir = task("");
    write(dir.path(), &[("tests/Dockerfile", "FROM debian\n")]);
    std::fs::remove_file(dir.path().join("tests/test.sh")).unwrap();
    assert_eq!(problems(Task::load(dir.path())).len(), 1);
}

#[test]
fn steps_have_instructions_and_their_own_or_the_shared_test() {
    let toml = "multi_step_reward_strategy = \"final\"\n[[steps]]\nname = \"one\"\nmin_reward = 1\n\
                [steps.agent]\ntimeout_sec = 5\n[steps.verifier]\nenvironment_mode = \"separate\"\n\
                [[steps]]\nname = \"two\"\nmin_reward = {reward = 0.5, style = 1}\nartifacts = [\"/b\"]\n";
    let dir = task(toml);
    std::fs::remove_file(dir.path().join("instruction.md")).unwrap();
    write(
        dir.path(),
        &[("steps/one/instruction.md", "<!-- canary -->\nFirst."), ("steps/two/instruction.md", "Second.")],
    );
    let (loaded, _) = Task::load(dir.path()).unwrap();
    let told: Vec<_> = loaded.steps().map(|(step, told)| (step.name.as_str(), told)).collect();
    assert_eq!(told, [("one", "First."), ("two", "Second.")]);
    let steps = &loaded.definition().steps;
    assert_eq!(steps[0].min_reward, Some(MinReward::Reward(1.0)));
    let by_name = BTreeMap::from([("reward".to_owned(), 0.5), ("style".to_owned(), 1.0)]);
    assert_eq!(steps[1].min_reward, Some(MinReward::ByName(by_name)));
    assert_eq!(loaded.verifier_mode(Some(&steps[0])), VerifierMode::Separate);
    assert_eq!(loaded.verifier_mode(Some(&steps[1])), VerifierMode::Shared);
    assert_eq!(loaded.definition().reward_strategy, RewardStrategy::Final);

    std::fs::remove_file(dir.path().join("tests/test.sh")).unwrap();
    std::fs::remove_file(dir.path().join("steps/one/instruction.md")).unwrap();
    write(dir.path(), &[("steps/two/tests/test.sh", "exit 0\n")]);
    let found = problems(Task::load(dir.path()));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("steps/one/instruction.md") && found[1].starts_with("steps/one/tests/test.sh")
    );
}

#[test]
fn nothing_may_lead_out_of_a_task() {
    use std::os::unix::fs::symlink;
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("secret"), "s").unwrap();
    let outside = outer.path().join("secret");
    for (at, target, says) in [
        ("environment/a", outside.to_str().unwrap(), "leaves the task"),
        ("environment/a", "../../secret", "leaves the task"),
        ("environment/a", "../../task/task.toml", "leaves the task"),
        ("task.toml", "../secret", "leaves the task"),
        ("environment/a", "..", "a folder it lies in"),
        ("environment/a", ".", "a folder it lies in"),
    ] {
        let dir = outer.path().join("task");
        write(
            &dir,
            &[
                ("task.toml", ""),
                ("instruction.md", "x"),
                ("environment/Dockerfile", ""),
                ("tests/test.sh", ""),
            ],
        );
        let _ = std::fs::remove_file(dir.join(at));
        symlink(target, dir.join(at)).unwrap();
        let found = problems(Task::load(&dir)).join("\n");
        assert!(found.contains(says), "{at} -> {target}: {found}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let dir = task("");
    symlink("../instruction.md", dir.path().join("environment/inside")).unwrap();
    symlink("nowhere", dir.path().join("environment/dangling")).unwrap();
    Task::load(dir.path()).unwrap();
    // By way of another link, which is itself refused.
    symlink("/", dir.path().join("environment/root")).unwrap();
    symlink("root/etc", dir.path().join("environment/etc")).unwrap();
    assert_eq!(problems(Task::load(dir.path())).len(), 2);
}

#[test]
fn special_files_are_refused() {
    let dir = task("");
    let pipe = dir.path().join("environment/pipe");
    let _socket = std::os::unix::net::UnixListener::bind(&pipe).unwrap();
    assert!(problems(Task::load(dir.path()))[0].contains("device, pipe or socket"));
}

#[test]
fn missing_variables_are_found_before_anything_starts() {
    let (task, _) = load(
        "[environment.env]\nA = \"${A}\"\nB = \"${B:-b}\"\n[verifier.env]\nC = \"${C}\"\n[solution.env]\nD = \"${D}\"\n",
    );
    let host = |name: &str| (name == "A").then(|| "set".to_owned());
    let names = |found: Vec<MissingVariable>| found.into_iter().map(|m| m.variable).collect::<Vec<_>>();
    assert_eq!(names(task.missing_variables(host, false)), ["C"]);
    assert_eq!(names(task.missing_variables(host, true)), ["C", "D"]);
}

#[test]
fn the_lock_names_the_task_by_digest() {
    let dir = task("[task]\nname = \"a/b\"\nversion = \"3\"\n");
    let (task, _) = Task::load(dir.path()).unwrap();
    let lock = task.lock("artifacts/tasks/d/t", Some("d")).unwrap();
    assert_eq!((lock.name.as_str(), lock.version.as_deref()), (task.id(), Some("3")));
    assert_eq!(lock.digest, digest::lock_digest(dir.path()).unwrap());
}
