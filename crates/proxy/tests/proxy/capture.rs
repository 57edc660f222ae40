//! Records that cannot be written.

use crate::support::{Bench, Model, body, streamed};
use futures::StreamExt;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trajgen_upstream::{Answer, AnswerBody, Call, EventKind, Failure, ScriptError, Upstream, UpstreamInfo};

/// The disk is full.
#[tokio::test]
async fn without_a_record_there_is_no_answer() {
    let model = Model::good("hello").await;
    let bench = Bench::new(model.upstream()).await;
    for (trial, asked) in [("whole", body("hi")), ("streamed", streamed("hi"))] {
        let mut route = bench.route(trial);
        route.log_path = PathBuf::from("/dev/full");
        let key = bench.proxy.issue_key(route).unwrap().key;
        let response = bench.ask(&key, &asked).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(text.contains("capture_error") && !text.contains("[DONE]"), "{text}");
        assert_eq!(status, if trial == "whole" { 500 } else { 200 });
        let again = bench.ask(&key, &asked).await;
        assert_eq!(again.status(), 500, "a trial with a hole takes no more calls");
        let usage = bench.proxy.close_trial(trial, Duration::ZERO).await;
        let error = usage.capture_error.unwrap();
        assert!(error.contains("/dev/full") && error.to_lowercase().contains("no space"), "{error}");
        assert_eq!(usage.n_calls, 0);
    }
    assert_eq!(model.asked().len(), 2);
}

#[tokio::test]
async fn a_log_that_somebody_changed_is_noticed() {
    type Harm = fn(&std::path::Path);
    let harms: [(&str, Harm); 4] = [
        ("removed", |log| std::fs::remove_file(log).unwrap()),
        ("folder", |log| std::fs::rename(log.parent().unwrap(), log.with_file_name("../moved")).unwrap()),
        ("cut", |log| std::fs::write(log, "").unwrap()),
        ("linked", |log| {
            std::fs::rename(log, log.with_extension("old")).unwrap();
            std::os::unix::fs::symlink(log.with_extension("old"), log).unwrap();
        }),
    ];
    let model = Model::good("hello").await;
    let bench = Bench::new(model.upstream()).await;
    for (trial, harm) in harms {
        let key = bench.key(trial);
        assert_eq!(bench.ask(&key, &body("hi")).await.status(), 200);
        harm(&bench.log(trial));
        let response = bench.ask(&key, &body("hi")).await;
        assert_eq!(response.status(), 500, "{trial}");
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "capture_error");
        assert!(bench.proxy.usage(trial).unwrap().capture_error.is_some(), "{trial}");
    }
}

#[tokio::test]
async fn a_link_in_the_logs_place_is_not_written_through() {
    let bench = Bench::scripted("default: {text: hello}").await;
    let log = bench.log("t");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let victim = bench.dir.path().join("victim");
    std::os::unix::fs::symlink(&victim, &log).unwrap();
    assert_eq!(bench.ask(&bench.key("t"), &body("hi")).await.status(), 500);
    assert!(!victim.exists());
}

#[tokio::test]
async fn a_torn_line_is_cut_away_before_the_next_one() {
    let bench = Bench::scripted("default: {text: hello}").await;
    let log = bench.log("t");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "{\"request_time\":1}\n{\"request_ti").unwrap();
    assert_eq!(bench.ask(&bench.key("t"), &body("hi")).await.status(), 200);
    assert_eq!(bench.records("t").len(), 2);
}

/// A model whose code is wrong.
struct Broken(Arc<dyn Upstream>);

#[async_trait::async_trait]
impl Upstream for Broken {
    fn info(&self) -> &UpstreamInfo {
        self.0.info()
    }
    fn begin_trial(&self, _task_id: &str, _trial: &str) -> Result<(), ScriptError> {
        Ok(())
    }
    fn end_trial(&self, _trial: &str) {}
    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        assert!(call.stream, "this call breaks down before its answer");
        let mut answer = self.0.call(call).await?;
        if let AnswerBody::Events(events) = answer.body {
            let events = events.inspect(|event| {
                let is_done = event.as_ref().is_ok_and(|event| matches!(event.kind, EventKind::Done));
                assert!(!is_done, "this call breaks down before its end");
            });
            answer.body = AnswerBody::Events(events.boxed());
        }
        Ok(answer)
    }
    async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_that_breaks_down_leaves_a_hole_that_is_known() {
    let model = Model::good("hello").await;
    let bench = Bench::new(Arc::new(Broken(model.upstream()))).await;
    for (trial, asked) in [("w", body("hi")), ("s", streamed("hi"))] {
        let text = bench.ask(&bench.key(trial), &asked).await.text().await;
        if let Ok(text) = text {
            assert!(!text.contains("[DONE]"), "{text}");
            assert!(trial == "s" || text.contains(trajgen_proxy::CAPTURE_ERROR), "{text}");
        }
        let usage = bench.proxy.close_trial(trial, Duration::from_secs(30)).await;
        assert!(usage.capture_error.unwrap().contains("broke down"), "{trial}");
    }
}
