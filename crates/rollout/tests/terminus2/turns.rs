//! The loop.

use crate::model::{Answer, cut, fails, reply, says};
use crate::{Bench, without_times};
use serde_json::json;
use std::sync::atomic::Ordering;
use trajgen_contract::outcome::ErrorType;

#[tokio::test]
async fn a_task_is_worked_on_and_handed_in() {
    let bench = Bench::new(
        json!({"temperature": 0.5}),
        [
            says(reply(&[("echo hello > greeting\n", 0.0), ("cat greeting\n", 0.0)], false)),
            says(reply(&[("cat greeting\n", 0.0)], true)),
            says(reply(&[], true)),
        ],
    )
    .await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.exit_reason, "task_complete");
    assert_eq!(report.metadata["n_episodes"], 3);
    assert_eq!(std::fs::read_to_string(bench.folder.path().join("home/greeting")).unwrap(), "hello\n");

    let asked = bench.model.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0]["model"], "scripted");
    assert_eq!(asked[0]["temperature"], 0.5);
    assert_eq!(asked[2]["messages"].as_array().unwrap().len(), 5);
    assert_eq!(
        asked[2]["messages"][1]["content"],
        reply(&[("echo hello > greeting\n", 0.0), ("cat greeting\n", 0.0)], false)
    );
    assert!(bench.model.keys().iter().all(|key| key == "Bearer trial-key"));

    let told = bench.model.last_messages();
    assert!(
        told[0].contains("Greet the world.") && told[0].ends_with("Current Terminal Screen:\n$ "),
        "{}",
        told[0]
    );
    assert!(told[1].starts_with("New Terminal Output:\n$ echo hello"), "{}", told[1]);
    assert!(
        told[2].contains("Are you sure?")
            && told[2].contains("New Terminal Output:\n$ cat greeting\nhello\n$ "),
        "{}",
        told[2]
    );
    insta::assert_json_snapshot!("handed_in", without_times(&bench.record()));
}

#[tokio::test]
async fn completion_must_be_confirmed_by_the_next_reply_that_can_be_read() {
    let bench = Bench::new(
        json!({}),
        [
            says(reply(&[], true)),
            says(reply(&[], false)),
            says(reply(&[], true)),
            says("Yes, I am sure."),
            says(reply(&[], true)),
        ],
    )
    .await;
    assert_eq!(bench.run().await.unwrap().exit_reason, "task_complete");
    assert_eq!(bench.model.left(), 0);
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_is_answered_and_kept_as_it_is() {
    let bench = Bench::new(
        json!({"max_turns": 2}),
        [
            says(r#"{"analysis": "a", "commands": []}"#),
            says("{\"analysis\": \"a\", \"plan\": \"p\", \"commands\": [{\"keystrokes\": \"true\\n\"}]"),
        ],
    )
    .await;
    assert_eq!(bench.run().await.unwrap().exit_reason, "max_turns");
    let record = bench.record();
    assert_eq!(record.steps[1].message.text(), r#"{"analysis": "a", "commands": []}"#);
    assert!(record.steps[1].tool_calls.is_none());
    let told = bench.model.last_messages();
    assert!(told[1].contains("ERROR: Missing required fields: plan"), "{}", told[1]);
    let seen = &record.steps[1].observation.as_ref().unwrap().results[0];
    assert_eq!(seen.content.as_ref().unwrap().text(), told[1]);
    let seen = record.steps[2].observation.as_ref().unwrap().results[0].content.as_ref().unwrap().text();
    for warning in ["AUTO-CORRECTED", "Command 1: 'duration' is missing", "New Terminal Output:\n$ true"] {
        assert!(seen.contains(warning), "{seen}");
    }
}

#[tokio::test]
async fn turns_end_at_their_limit_and_that_is_no_error() {
    let answers = (0..5).map(|_| says(reply(&[("true\n", 0.0)], false)));
    let bench = Bench::new(json!({"max_turns": 3}), answers).await;
    assert_eq!(bench.run().await.unwrap().exit_reason, "max_turns");
    assert_eq!((bench.model.left(), bench.record().steps.len()), (2, 4));
}

#[tokio::test]
async fn a_session_that_is_gone_ends_the_run() {
    let bench = Bench::new(json!({}), [says(reply(&[("exit\n", 0.0)], false)), says("{}")]).await;
    assert_eq!(bench.run().await.unwrap().exit_reason, "session_gone");
    assert_eq!((bench.model.left(), bench.record().steps.len()), (1, 2));
}

#[tokio::test]
async fn much_output_is_cut_in_the_middle() {
    let line = "head -c 30000 /dev/zero | tr '\\0' x; echo\n";
    let bench = Bench::new(json!({"max_turns": 1}), [says(reply(&[(line, 0.0)], false))]).await;
    bench.run().await.unwrap();
    let seen =
        bench.record().steps[1].observation.as_ref().unwrap().results[0].content.as_ref().unwrap().text();
    assert!(seen.len() < 10_200 && seen.contains("bytes left out here"), "{} bytes", seen.len());
}

#[tokio::test]
async fn a_cut_reply_is_used_when_whole_and_else_answered() {
    let whole = reply(&[("true\n", 0.0)], false);
    let bench = Bench::new(
        json!({"max_turns": 2, "model_info": {"max_output_tokens": 512}}),
        [cut(format!("{whole} and fur")), cut(&whole[..whole.len() - 1])],
    )
    .await;
    bench.run().await.unwrap();
    let steps = bench.record().steps;
    let seen = |at: usize| {
        let results = &steps[at].observation.as_ref().unwrap().results;
        results[0].content.as_ref().unwrap().text()
    };
    assert!(seen(1).contains("Be shorter.") && seen(1).contains("$ true"), "{}", seen(1));
    assert!(seen(2).contains("the limit of 512 tokens") && steps[2].tool_calls.is_none(), "{}", seen(2));
}

#[tokio::test]
async fn failures_of_the_model_end_the_run_and_leave_the_record() {
    for (status, code, kind) in [
        (401, "", ErrorType::AgentAuthenticationError),
        (429, "trial_limit", ErrorType::TrialLimitError),
        (500, trajgen_proxy::CAPTURE_ERROR, ErrorType::CaptureError),
        (503, "", ErrorType::ModelUnavailableError),
    ] {
        let answers = [says(reply(&[("true\n", 0.0)], false)), fails(status, code), says("{}")];
        let bench = Bench::new(json!({}), answers).await;
        let failure = bench.run().await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert_eq!((bench.model.left(), bench.record().steps.len()), (1, 2), "the call was repeated");
    }
}

#[tokio::test]
async fn a_call_that_the_proxy_cannot_record_is_a_capture_error() {
    let mut bench = Bench::new(json!({}), []).await;
    let script = bench.folder.path().join("model.yaml");
    std::fs::write(&script, "tracks: [{turns: [{text: hello}]}]").unwrap();
    let upstream = trajgen_upstream::connect(trajgen_upstream::UpstreamConfig {
        api_base_url: format!("script://{}", script.display()),
        ..trajgen_upstream::UpstreamConfig::default()
    })
    .unwrap();
    let jobs = bench.folder.path().join("jobs");
    let proxy = trajgen_proxy::Proxy::start(trajgen_proxy::ProxyConfig::new(&jobs, "job", upstream)).await;
    let proxy = proxy.unwrap();
    // A folder stands where the log should be.
    let log_path = jobs.join("log");
    std::fs::create_dir_all(&log_path).unwrap();
    let key = proxy.issue_key(trajgen_proxy::Route {
        job: "job".to_owned(),
        trial: "greet__abcdefg".to_owned(),
        task_id: "greet".to_owned(),
        log_path,
        limits: trajgen_proxy::TrialLimits::default(),
    });
    let endpoint = bench.context.model.as_mut().unwrap();
    endpoint.base_url = proxy.base_url().to_owned();
    endpoint.api_key = key.unwrap().key;
    let failure = bench.run().await.unwrap_err();
    assert_eq!(failure.kind, ErrorType::CaptureError, "{failure}");
}

#[tokio::test]
async fn a_model_that_cannot_be_reached_is_unavailable() {
    let mut bench = Bench::new(json!({}), []).await;
    // A port that was free a moment ago, and on which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    bench.context.model.as_mut().unwrap().base_url = format!("http://{free}");
    assert_eq!(bench.run().await.unwrap_err().kind, ErrorType::ModelUnavailableError);
    assert_eq!(bench.record().steps.len(), 1);
}

#[tokio::test]
async fn cancelling_ends_a_call_that_is_waited_for() {
    let bench = Bench::new(json!({}), [Answer::Silence]).await;
    bench.agent.set_up(&bench.context).await.unwrap();
    let asked = async {
        while bench.model.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        bench.context.cancelled.cancel();
    };
    let (ended, ()) = tokio::join!(bench.agent.run(&bench.context), asked);
    assert_eq!(ended.unwrap_err().kind, ErrorType::CancelledError);
}

#[tokio::test]
async fn a_run_that_is_dropped_has_recorded_what_it_typed() {
    let bench = Bench::new(json!({}), [says(reply(&[("touch typed\n", 60.0)], false))]).await;
    bench.agent.set_up(&bench.context).await.unwrap();
    let typed = async {
        while !bench.folder.path().join("home/typed").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = bench.agent.run(&bench.context) => panic!("{ended:?}"),
        () = typed => {}
    }
    bench.agent.disarm(&bench.context).await;
    assert!(bench.environment.frozen.load(Ordering::SeqCst));
    let steps = bench.record().steps;
    assert_eq!(steps[1].tool_calls.as_ref().unwrap()[0].arguments["keystrokes"], "touch typed\n");
    assert!(steps[1].observation.is_none());
}

#[tokio::test]
async fn the_oracle_runs_the_solution() {
    use std::collections::BTreeMap;
    use trajgen_rollout::agent::registry;
    let mut bench = Bench::new(json!({}), []).await;
    let agent = registry::create("oracle", &serde_json::Map::new()).unwrap();
    let failure = agent.run(&bench.context).await.unwrap_err();
    assert_eq!(failure.kind, ErrorType::AgentSetupError);

    let solution = bench.folder.path().join("solution-of-task");
    std::fs::create_dir(&solution).unwrap();
    let env = BTreeMap::from([("WHO".to_owned(), "world".to_owned())]);
    bench.context.solution = Some((solution.clone(), env));
    let failure = agent.run(&bench.context).await.unwrap_err();
    assert!(failure.message.contains("solve.sh is missing"), "{failure}");

    std::fs::write(solution.join("solve.sh"), "echo \"hello $WHO, $DEBIAN_FRONTEND\"; exit 3\n").unwrap();
    agent.run(&bench.context).await.unwrap();
    assert_eq!(std::fs::read_to_string(bench.file("oracle.txt")).unwrap(), "hello world, noninteractive\n");
    assert_eq!(std::fs::read_to_string(bench.file("exit-code.txt")).unwrap(), "3");
    assert!(!agent.calls_model());
}
