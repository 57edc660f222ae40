//! What a trial may use, and how it ends.

use crate::support::{Bench, Model, body, scripted, wait_until};
use serde_json::Value;
use std::time::Duration;
use trajgen_proxy::{ProxyError, TrialLimits};

#[tokio::test]
async fn a_call_over_the_limit_is_refused_and_flagged() {
    let model = Model::good("hello").await;
    let bench = Bench::new(model.upstream()).await;
    let mut route = bench.route("t");
    route.limits = TrialLimits { max_tokens: Some(20), ..TrialLimits::default() };
    let key = bench.proxy.issue_key(route).unwrap().key;
    for _ in 0..2 {
        assert_eq!(bench.ask(&key, &body("hi")).await.status(), 200);
    }
    let refused = bench.ask(&key, &body("hi")).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["x-should-retry"], "false");
    let told: Value = refused.json().await.unwrap();
    assert_eq!(told["error"]["code"], "trial_limit");
    let usage = bench.proxy.close_trial("t", Duration::ZERO).await;
    assert_eq!(usage.limit_reached.as_deref(), Some("max_tokens: 24 tokens were used"));
    assert_eq!((usage.n_calls, bench.records("t").len(), model.asked().len()), (2, 2, 2));
}

#[tokio::test]
async fn calls_under_way_end_with_their_trial() {
    let bench = Bench::new(scripted("tracks: [{turns: [{text: a, delay_ms: 600000}]}]")).await;
    let key = bench.key("t");
    let call = tokio::spawn(bench.post(&key, &body("hi")).send());
    wait_until(|| bench.proxy.n_calls_under_way() == 1).await;
    let usage = bench.proxy.close_trial("t", Duration::ZERO).await;
    assert_eq!((usage.n_calls, usage.n_failed_calls), (1, 1));
    assert_eq!(bench.records("t")[0].failure.as_ref().unwrap().error_type, "TrialEnded");
    assert_eq!(call.await.unwrap().unwrap().status(), 401);
    assert_eq!(bench.ask(&key, &body("hi")).await.status(), 401, "the key is dead");
    assert_eq!(bench.proxy.usage("t"), None);
}

#[tokio::test]
async fn calls_under_way_may_end_within_their_grace() {
    let bench = Bench::new(scripted("tracks: [{turns: [{text: a, delay_ms: 20}]}]")).await;
    let key = bench.key("t");
    let call = tokio::spawn(bench.post(&key, &body("hi")).send());
    wait_until(|| bench.proxy.n_calls_under_way() == 1).await;
    let usage = bench.proxy.close_trial("t", Duration::from_secs(30)).await;
    assert_eq!((usage.n_calls, usage.n_failed_calls), (1, 0));
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn every_try_has_a_key_and_a_model_of_its_own() {
    let bench = Bench::scripted("tracks: [{turns: [{text: one}, {text: two}]}]").await;
    let first = bench.key("t");
    assert!(matches!(bench.proxy.issue_key(bench.route("t")), Err(ProxyError::TrialOpen { .. })));
    assert!(bench.ask(&first, &body("hi")).await.text().await.unwrap().contains("one"));
    bench.proxy.close_trial("t", Duration::ZERO).await;
    let second = bench.key("t");
    assert_ne!(first, second);
    assert!(bench.ask(&second, &body("hi")).await.text().await.unwrap().contains("one"));
    assert_eq!(bench.ask(&first, &body("hi")).await.status(), 401);
    assert_eq!(bench.proxy.usage("t").unwrap().n_calls, 1);
    assert_eq!(bench.records("t").len(), 2);
}

#[tokio::test]
async fn a_task_without_a_script_gets_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = trajgen_upstream::connect(trajgen_upstream::UpstreamConfig {
        api_base_url: format!("script://{}", folder.path().display()),
        ..trajgen_upstream::UpstreamConfig::default()
    })
    .unwrap();
    let bench = Bench::new(upstream).await;
    let error = bench.proxy.issue_key(bench.route("t")).unwrap_err().to_string();
    assert!(error.contains("expected task.yaml or default.yaml"), "{error}");
    assert_eq!(bench.proxy.usage("t"), None);
}

#[tokio::test]
async fn two_hundred_trials_at_once() {
    let model = Model::good("hello").await;
    let bench = Bench::new(model.upstream()).await;
    let trial = |n: usize| format!("task__{n}");
    let calls = (0..200).map(|n| {
        let (key, bench) = (bench.key(&trial(n)), &bench);
        async move {
            for asked in [body("hi"), crate::support::streamed("hi")] {
                let text = bench.ask(&key, &asked).await.text().await.unwrap();
                assert!(text.contains("hello"));
            }
        }
    });
    futures::future::join_all(calls).await;
    for n in 0..200 {
        let records = bench.records(&trial(n));
        assert_eq!(records.len(), 2);
        assert!(records.iter().all(|record| record.trajectory_route == Some(format!("job/{}", trial(n)))));
    }
    let shared = bench.key("shared");
    let asked = body("hi");
    futures::future::join_all((0..200).map(|_| bench.ask(&shared, &asked))).await;
    assert_eq!(bench.records("shared").len(), 200);
}
