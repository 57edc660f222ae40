//! Starting a block, and asking what its config says.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn trajgen(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trajgen"));
    command.args(args).current_dir(dir).env_remove("LLM_API_KEY").env_remove("TRAJGEN_MASTER_KEY");
    command.output().unwrap()
}

#[track_caller]
fn success(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn init_writes_a_commented_config_and_never_over_an_existing_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("new/block/config.yaml");
    success(&trajgen(dir.path(), &["init", "new/block"]));
    assert!(std::fs::read_to_string(&config).unwrap().contains("# (!)"));

    std::fs::write(&config, "mine").unwrap();
    assert!(refusal(&trajgen(dir.path(), &["init", "new/block"])).contains("config.yaml is there already"));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "mine");
    success(&trajgen(dir.path(), &["init", "new/block", "--force"]));
    assert_ne!(std::fs::read_to_string(&config).unwrap(), "mine");
}

#[test]
fn init_unpacks_an_example_that_is_a_whole_block() {
    let dir = tempfile::tempdir().unwrap();
    success(&trajgen(dir.path(), &["init", "--example", "--no-run", "block"]));
    let block = dir.path().join("block");
    let manifest = std::fs::read_to_string(block.join("examples/tasks/verifiable_tasks.txt")).unwrap();
    let ids: Vec<_> = manifest.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(!ids.is_empty());
    for id in ids {
        assert!(block.join("examples/tasks").join(id).join("task.toml").is_file(), "{id}");
    }
    let mode = std::fs::metadata(block.join("scripts/start.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    let shown = success(&trajgen(&block, &["config", "show"]));
    assert!(shown.contains("api_base_url: script://examples/scripts"), "{shown}");

    assert!(refusal(&trajgen(dir.path(), &["init", "--example", "block"])).contains("is not empty"));
    std::fs::remove_file(block.join("config.yaml")).unwrap();
    success(&trajgen(dir.path(), &["init", "--example", "--no-run", "--force", "block"]));
    assert!(block.join("config.yaml").is_file());
    assert!(!block.join("artifacts").exists());
    refusal(&trajgen(dir.path(), &["init", "--no-run", "other"]));
}

#[test]
fn config_show_resolves_hides_and_reports() {
    let dir = tempfile::tempdir().unwrap();
    let write = |api: &str| {
        let text = format!(
            "version: 1\nruntime_info:\n  input:\n    llm_api: {{{api}}}\n    task_source: {{dataset_name: t}}\n    agent: {{name: terminus-2, max_turn: 3}}\n"
        );
        std::fs::write(dir.path().join("config.yaml"), text).unwrap();
    };
    write("api_base_url: 'https://host/v1', model: m, api_key: sk-hidden");
    let output = trajgen(dir.path(), &["config", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&success(&output)).unwrap();
    let input = &shown["runtime_info"]["input"];
    assert_eq!(
        (&input["llm_api"][0]["api_key"], &input["harbor_job"]["n_concurrent"]),
        (&"[REDACTED]".into(), &8.into())
    );
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        warning.contains("config.yaml:6:31: runtime_info.input.agent.max_turn: unknown key"),
        "{warning}"
    );
    assert!(warning.contains("did you mean `max_turns`?"), "{warning}");

    write("api_base_url: 'https://host/v1', model: 5, api_key: '${LLM_API_KEY}'");
    let problems = refusal(&trajgen(dir.path(), &["config", "show"]));
    assert!(problems.contains("the variable LLM_API_KEY is not set"), "{problems}");
    assert!(problems.contains("llm_api.model: expected a text, found the number 5"), "{problems}");
}

#[test]
fn config_schema_is_json() {
    let dir = tempfile::tempdir().unwrap();
    let schema: serde_json::Value =
        serde_json::from_str(&success(&trajgen(dir.path(), &["config", "schema"]))).unwrap();
    assert!(schema["properties"]["runtime_info"].is_object());
}
