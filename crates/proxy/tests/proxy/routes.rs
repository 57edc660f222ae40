//! The master key's routes.

use crate::support::{Bench, MASTER_KEY, body};
use serde_json::json;
use std::path::Path;
use trajgen_contract::record::read_log;

const SCRIPT: &str = "default: {text: hello}";

/// All files below `folder`, relative to it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn by_header_by_metadata_and_by_neither() {
    let bench = Bench::scripted(SCRIPT).await;
    let by_header = bench.post(MASTER_KEY, &body("hi")).header("x-trajectory-output-path", "job/t__1");
    assert_eq!(by_header.send().await.unwrap().status(), 200);
    let mut asked = body("hi");
    asked["metadata"] = json!({"trajectory_output_path": bench.log("t__2"), "user": "u"});
    assert_eq!(bench.ask(MASTER_KEY, &asked).await.status(), 200);
    assert_eq!(bench.ask(MASTER_KEY, &body("hi")).await.status(), 200);
    let hostile = bench.post(MASTER_KEY, &body("hi")).header("x-instance-id", "../../up");
    assert_eq!(hostile.send().await.unwrap().status(), 200);
    assert_eq!(
        files(&bench.jobs().join("job")),
        [
            "t__1/agent/litellm-trajectory.jsonl",
            "t__2/agent/litellm-trajectory.jsonl",
            "unrouted/_.._up.jsonl",
            "unrouted/default.jsonl"
        ]
    );
    let second = &bench.records("t__2")[0];
    assert_eq!(second.trajectory_route.as_deref(), Some("job/t__2"));
    assert_eq!(second.request_body["metadata"], json!({"user": "u"}));
    let unrouted = read_log(&bench.jobs().join("job/unrouted/default.jsonl")).unwrap();
    assert_eq!(unrouted.records[0].session_id, "default");
    assert_eq!(unrouted.records[0].trajectory_route, None);
}

#[tokio::test]
async fn a_route_that_leads_out_is_refused_and_written_nowhere() {
    let bench = Bench::scripted(SCRIPT).await;
    let outside = bench.dir.path().join("out/t/agent/litellm-trajectory.jsonl");
    for path in [
        "../job/t",
        "job/..",
        "job",
        "job/t/x",
        "/etc/passwd",
        outside.to_str().unwrap(),
        "",
        "job/\u{e9}\u{0}",
    ] {
        let mut asked = body("hi");
        asked["metadata"] = json!({"trajectory_output_path": path});
        let response = bench.ask(MASTER_KEY, &asked).await;
        assert_eq!(response.status(), 400, "{path}");
        if let Ok(value) = reqwest::header::HeaderValue::from_str(path) {
            let by_header = bench.post(MASTER_KEY, &body("hi")).header("x-trajectory-output-path", value);
            assert_eq!(by_header.send().await.unwrap().status(), 400, "{path}");
        }
    }
    assert_eq!(files(bench.dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_trials_key_alone_decides() {
    let bench = Bench::scripted(SCRIPT).await;
    let key = bench.key("t");
    let mut asked = body("hi");
    asked["metadata"] = json!({"trajectory_output_path": "job/victim"});
    let response =
        bench.post(&key, &asked).header("x-trajectory-output-path", "job/victim").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(files(&bench.jobs().join("job")), ["t/agent/litellm-trajectory.jsonl"]);
    assert_eq!(bench.records("t")[0].request_body["metadata"]["trajectory_output_path"], "job/victim");
}

#[tokio::test]
async fn the_task_of_a_routed_trial() {
    let bench = Bench::scripted(SCRIPT).await;
    let key = bench.key("open");
    bench.ask(&key, &body("hi")).await;
    let route = |trial: &str| {
        bench.post(MASTER_KEY, &body("hi")).header("x-trajectory-output-path", format!("job/{trial}"))
    };
    route("open").send().await.unwrap();
    assert_eq!(bench.proxy.usage("open").unwrap().n_calls, 2, "an open trial's calls are its own");
    let folder = bench.jobs().join("job/other__x");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("config.json"),
        json!({"task": {"path": "artifacts/tasks/d/other-1"}}).to_string(),
    )
    .unwrap();
    route("other__x").send().await.unwrap();
    assert_eq!(bench.records("other__x")[0].session_id, "other-1");
}
