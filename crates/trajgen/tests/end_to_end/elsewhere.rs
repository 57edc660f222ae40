//! Settings that move things, and commands that run outside the block.

use crate::support::{Small, names, only, read_json, read_yaml, trajgen, write};
use serde_json::json;

#[test]
fn a_run_from_elsewhere_sees_the_configs_paths_from_the_block() {
    let small = Small::with(&["owner__kept-1", "owner__left-2"]);
    small.configured(&[
        ("harbor_job.jobs_dir", "out/jobs"),
        ("sft_conversion.out_dir", "out/sft"),
        ("sft_conversion.exclude_repos_file", "lists/exclude.txt"),
    ]);
    write(&small.path().join("lists/exclude.txt"), "owner/left\n");
    let away = tempfile::tempdir().unwrap();
    let block = small.path().to_str().unwrap();
    let ended = trajgen(away.path(), &["run", "--block", block]).well();
    ended.says("trajectories  out/jobs/mini-").says("training data  out/sft/mini-");
    assert_eq!(names(away.path()), [""; 0]);
    let job = only(&small.path().join("out/jobs"));
    let name = job.file_name().unwrap().to_str().unwrap().to_owned();
    let lf = read_json(&small.path().join("out/sft").join(&name).join("lf.json"));
    assert_eq!(lf.as_array().unwrap().len(), 1);
    assert_eq!(lf[0]["_instance_id"], "owner__kept-1");

    // The next block reads where things are.
    let output = &read_yaml(&small.path().join("config.yaml"))["runtime_info"]["output"];
    assert_eq!(output["raw_trajectories_dir"]["path"], "out/jobs");
    assert_eq!(output["sft_data_dir"]["lf_format"], "out/sft/<job>/lf.json");
    let ledger = read_yaml(&small.path().join("artifacts/consumption_ledger.yaml"));
    let trajectory = ledger["tasks"][0]["trajectory_path"].as_str().unwrap();
    assert!(trajectory.starts_with("out/jobs/") && small.path().join(trajectory).is_file(), "{trajectory}");
    trajgen(away.path(), &["status", "--block", block]).well().says(&name).says("2 of 2 trials over");
    trajgen(away.path(), &["convert", "--block", block]).well().says("1 of 1 trials converted");
}

#[test]
fn another_config_is_named_on_the_command_line() {
    let small = Small::with(&["alpha"]);
    let default = small.path().join("config.yaml");
    std::fs::rename(&default, small.path().join("other.yaml")).unwrap();
    small.trajgen(&["run"]).with(2).complains("config.yaml");
    small.trajgen(&["run", "--config", "other.yaml"]).well();
    assert!(!default.exists());
    let other = read_yaml(&small.path().join("other.yaml"));
    assert_eq!(
        (&other["status"]["state"], &other["status"]["run_id"]),
        (&json!("completed"), &json!("run_001"))
    );
    small.trajgen(&["status", "--config", "other.yaml"]).well().says("1 of 1 trials over");
}

#[test]
fn a_job_over_several_agents() {
    let small = Small::with(&["alpha"]);
    let config = crate::support::read(&small.path().join("config.yaml"));
    let agents = "agent: [{name: nop}, {name: oracle}, {name: terminus-2}]";
    let config = config.replace("agent:\n      name: terminus-2\n", &format!("{agents}\n"));
    assert!(config.contains(agents));
    write(&small.path().join("config.yaml"), &config);
    small.trajgen(&["run"]).well().says("3 of 3 over, 0 errored").says("training data");
    let job = only(&small.path().join("artifacts/jobs"));
    let evals = &read_json(&job.join("result.json"))["stats"]["evals"];
    let mut keys: Vec<_> = evals.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["nop__mini", "oracle__mini", "terminus-2__model__mini"]);
    let ledger = read_yaml(&small.path().join("artifacts/consumption_ledger.yaml"));
    let entries: Vec<_> =
        ledger["tasks"].as_array().unwrap().iter().map(|t| (&t["agent"], &t["reward"])).collect();
    let expected =
        [(json!("nop"), json!(0.0)), (json!("oracle"), json!(1.0)), (json!("terminus-2"), json!(1.0))];
    assert_eq!(entries, expected.iter().map(|(agent, reward)| (agent, reward)).collect::<Vec<_>>());
    // Only the agent that calls a model has something to teach.
    let data = only(&small.path().join("artifacts/sft_data"));
    assert_eq!(read_json(&data.join("lf.json")).as_array().unwrap().len(), 1);
    small.trajgen(&["run"]).well().says("nothing left to run");
}
