//! Streams, and agents that hang up.

use crate::support::{Bench, Model, answer_events, body, events, reply, streamed, wait_until};
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trajgen_contract::record::read_log;
use trajgen_proxy::OnDisconnect;

/// A body that sends `first`, then waits to be released, then sends `rest`; notices being dropped.
struct Gate {
    open: tokio::sync::watch::Sender<bool>,
    dropped: Arc<AtomicBool>,
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

async fn gated(text: &'static str) -> (Model, Gate) {
    let (open, opened) = tokio::sync::watch::channel(false);
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let model = Model::new(move |_, _| {
        let all = answer_events(text);
        let cut = all.match_indices("\n\n").nth(1).unwrap().0 + 2;
        let (first, rest) = (all[..cut].to_owned(), all[cut..].to_owned());
        let mut opened = opened.clone();
        let guard = OnDrop(Arc::clone(&flag));
        let first = futures::stream::iter([Bytes::from(first)]);
        let rest = futures::stream::once(async move {
            let _guard = guard;
            let _ = opened.wait_for(|open| *open).await;
            Bytes::from(rest)
        });
        events(Body::from_stream(first.chain(rest).map(Ok::<_, std::convert::Infallible>)))
    })
    .await;
    (model, Gate { open, dropped })
}

#[tokio::test]
async fn bytes_pass_as_they_came_and_usage_only_when_asked_for() {
    let model = Model::good("Grüße").await;
    let bench = Bench::new(model.upstream()).await;
    let key = bench.key("t");
    let all = answer_events("Grüße");
    let mut asked = streamed("hi");
    asked["stream_options"] = json!({"include_usage": true});
    let response = bench.ask(&key, &asked).await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    assert_eq!(response.text().await.unwrap(), all);

    let shown = bench.ask(&key, &streamed("hi")).await.text().await.unwrap();
    let without_usage: String =
        all.split_inclusive("\n\n").filter(|event| !event.contains("\"choices\":[],")).collect();
    assert_eq!(shown, without_usage);
    assert!(bench.records("t").iter().all(|record| record.usage.is_some()));
}

#[tokio::test]
async fn the_record_is_there_before_the_end_of_the_answer() {
    let model = Model::good("hello").await;
    let bench = Bench::new(model.upstream()).await;
    let key = bench.key("t");
    let mut stream = bench.ask(&key, &streamed("hi")).await.bytes_stream();
    let mut seen = String::new();
    while let Some(piece) = stream.next().await {
        seen.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        if seen.contains("[DONE]") {
            assert_eq!(bench.records("t").len(), 1);
        }
    }
    assert!(seen.contains("[DONE]"));
}

#[tokio::test]
async fn pieces_are_passed_on_as_they_come() {
    let (model, gate) = gated("hello").await;
    let bench = Bench::new(model.upstream()).await;
    let key = bench.key("t");
    let mut stream = bench.ask(&key, &streamed("hi")).await.bytes_stream();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("hello") {
        seen.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    assert!(read_log(&bench.log("t")).is_err(), "no record before the end");
    gate.open.send(true).unwrap();
    while stream.next().await.is_some() {}
    assert_eq!(bench.records("t").len(), 1);
}

#[tokio::test]
async fn a_call_is_finished_when_the_agent_hangs_up() {
    let (model, gate) = gated("hello").await;
    let bench = Bench::new(model.upstream()).await;
    let key = bench.key("t");
    let mut stream = bench.ask(&key, &streamed("hi")).await.bytes_stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    gate.open.send(true).unwrap();
    let records = bench.wait_for_records("t", 1).await;
    assert!(records[0].success);
    assert_eq!(records[0].response_body["choices"][0]["message"]["content"], "hello");
    assert!(records[0].usage.is_some());
    let usage = bench.proxy.close_trial("t", std::time::Duration::from_secs(30)).await;
    assert_eq!((usage.n_calls, usage.n_failed_calls), (1, 0));
}

#[tokio::test]
async fn a_call_is_given_up_when_the_agent_hangs_up_if_so_configured() {
    let (model, gate) = gated("hello").await;
    let bench = Bench::with(model.upstream(), |config| config.on_disconnect = OnDisconnect::Cancel).await;
    let key = bench.key("t");
    let mut stream = bench.ask(&key, &streamed("hi")).await.bytes_stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let records = bench.wait_for_records("t", 1).await;
    let record = &records[0];
    assert!(!record.success && record.client_disconnected);
    assert_eq!(record.failure.as_ref().unwrap().error_type, "ClientDisconnected");
    assert_eq!(record.response_body["choices"][0]["message"]["role"], "assistant");
    wait_until(|| gate.dropped.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn hanging_up_before_the_answer_begins_is_noticed() {
    let bench =
        Bench::with(crate::support::scripted("tracks: [{turns: [{text: a, delay_ms: 600000}]}]"), |config| {
            config.on_disconnect = OnDisconnect::Cancel;
        })
        .await;
    let key = bench.key("t");
    let asked = body("hi");
    let call = tokio::spawn(bench.post(&key, &asked).send());
    // The call is under way as soon as the trial cannot be closed without waiting for it.
    wait_until(|| call.is_finished() || bench.proxy.n_calls_under_way() == 1).await;
    call.abort();
    let records = bench.wait_for_records("t", 1).await;
    assert!(records[0].client_disconnected && !records[0].success);
    assert_eq!(records[0].response_body["error"]["type"], "ClientDisconnected");
}

#[tokio::test]
async fn a_stream_nobody_asked_for_and_one_that_was_not_given() {
    let model = Model::new(|_, asked| {
        let mut other = asked.clone();
        other["stream"] = json!(asked.get("stream") != Some(&json!(true)));
        reply(&other, "hello")
    })
    .await;
    let bench = Bench::new(model.upstream()).await;
    let key = bench.key("t");
    let whole: Value =
        serde_json::from_str(&bench.ask(&key, &body("hi")).await.text().await.unwrap()).unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "hello");
    let stream = bench.ask(&key, &streamed("hi")).await.text().await.unwrap();
    assert!(stream.contains("hello") && stream.ends_with("data: [DONE]\n\n"), "{stream}");
    let records = bench.records("t");
    assert_eq!(records[0].response_body, records[1].response_body);
}
