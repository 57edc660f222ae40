//! What stands in a record.

use crate::support::{Bench, Model, body, scripted, streamed};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use trajgen_contract::record::{Record, WireProtocol};
use trajgen_proxy::Recorded;
use trajgen_upstream::Prices;

/// A record without what differs from call to call.
fn lasting(record: &Record) -> Value {
    let mut value = serde_json::to_value(record).unwrap();
    for key in ["request_time", "timestamp", "duration_ms", "ttft_ms"] {
        value.as_object_mut().unwrap().remove(key);
    }
    for key in ["id", "created"] {
        value["response_body"].as_object_mut().unwrap().remove(key);
    }
    value
}

#[tokio::test]
async fn a_call_leaves_every_field_of_the_format() {
    let model = Model::good("hello").await;
    let upstream = model.upstream_with(|config| {
        config.prices = Prices { input: Some(0.5), output: Some(2.0), cached: Some(0.25) };
    });
    let bench = Bench::new(upstream).await;
    let key = bench.key("task__abc");
    let mut asked = body("hi");
    asked["max_tokens"] = json!(5);
    asked["seed"] = json!(null);
    let response = bench.ask(&key, &asked).await;
    assert_eq!(response.status(), 200);
    let records = bench.records("task__abc");
    let record = &records[0];
    assert_eq!(
        lasting(record),
        json!({"session_id": "task", "success": true,
            "request_body": {"model": "real-model", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "requested_model": "gpt-x"},
            "response_body": {"object": "chat.completion", "model": "real-model", "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}},
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}, "cost": 8.0},
            "trajectory_route": "job/task__abc", "wire_protocol": "openai", "record_version": 1})
    );
    assert!(record.timestamp.parse::<jiff::Timestamp>().is_ok(), "{}", record.timestamp);
    let stamped: jiff::Timestamp = record.timestamp.parse().unwrap();
    assert_eq!(stamped.as_millisecond(), record.request_time);
    assert!(record.duration_ms.is_some() && record.ttft_ms.is_none());
}

#[tokio::test]
async fn streamed_or_not_the_record_is_the_same() {
    let model = Model::good("Grüße 🦀").await;
    let bench = Bench::new(model.upstream()).await;
    let key = bench.key("t");
    bench.ask(&key, &body("hi")).await.bytes().await.unwrap();
    bench.ask(&key, &streamed("hi")).await.bytes().await.unwrap();
    let records = bench.records("t");
    assert_eq!(lasting(&records[0]), lasting(&records[1]));
    assert_eq!(records[0].usage.as_ref().unwrap().cost, None);
    assert!(records[1].ttft_ms.is_some());
    assert_eq!(records[1].wire_protocol, Some(WireProtocol::OpenAi));

    let script = "tracks: [{turns: [{text: a, reasoning: b, tool_calls: [{name: f, arguments: {x: 1}}]}]}]";
    let bench = Bench::new(scripted(script)).await;
    for (trial, asked) in [("one", body("hi")), ("two", streamed("hi"))] {
        bench.ask(&bench.key(trial), &asked).await.bytes().await.unwrap();
    }
    let (one, two) = (lasting(&bench.records("one")[0]), lasting(&bench.records("two")[0]));
    assert_eq!(one["response_body"], two["response_body"]);
    assert_eq!(one["usage"], two["usage"]);
    assert_eq!(one["response_body"]["choices"][0]["message"]["reasoning_content"], "b");
    assert_eq!(one["request_body"]["model"], "script/model.yaml");
}

#[tokio::test]
async fn keys_are_on_no_record() {
    let model = Model::good("hello").await;
    let bench = Bench::new(model.upstream()).await;
    let key = bench.key("t");
    let asked = json!({
        "model": "real-model",
        "messages": [{"role": "user", "content": format!("my key is {key}, the other sk-upstream-0123456789"), "api_key": "stays, for it is content"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"api_key": {"type": "string"}, "token": {"type": "string"}}}}}],
        "extra_headers": {"Authorization": "Bearer x", "x-token": "y"},
        "max_tokens": 7,
    });
    bench.ask(&key, &asked).await.bytes().await.unwrap();
    let text = std::fs::read_to_string(bench.log("t")).unwrap();
    assert!(!text.contains(&key) && !text.contains("sk-upstream-0123456789"), "{text}");
    let request = &bench.records("t")[0].request_body;
    assert_eq!(request["messages"][0]["content"], "my key is [REDACTED], the other [REDACTED]");
    assert_eq!(request["messages"][0]["api_key"], "stays, for it is content");
    assert_eq!(request["tools"], asked["tools"]);
    assert_eq!(request["extra_headers"], json!({"Authorization": "[REDACTED]", "x-token": "[REDACTED]"}));
    assert_eq!(request["max_tokens"], 7);
    assert_eq!(model.asked()[0], asked.to_string(), "what is sent is not touched");
}

#[tokio::test]
async fn defaults_and_headers_of_scaffolds() {
    let model = Model::good("hello").await;
    let upstream = model.upstream_with(|config| config.drop_params = vec!["seed".to_owned()]);
    let bench = Bench::with(upstream, |config| {
        config.temperature = Some(0.7);
        config.top_p = Some(0.9);
    })
    .await;
    let key = bench.key("t");
    let mut asked = body("hi");
    asked["top_p"] = json!(0.5);
    asked["seed"] = json!(3);
    let request = bench.post(&key, &asked).header("x-instance-id", "session-7");
    request.header("x-harbor-temperature", "0.2").send().await.unwrap();
    let record = &bench.records("t")[0];
    assert_eq!(record.session_id, "session-7");
    assert_eq!(record.request_body["temperature"], 0.2);
    assert_eq!(record.request_body["top_p"], 0.5);
    assert_eq!(record.request_body.get("seed"), None);
    assert_eq!(record.notes, ["dropped seed, which the upstream does not take"]);
    let sent: Value = serde_json::from_str(&model.asked()[0]).unwrap();
    assert_eq!((sent.get("seed"), &sent["temperature"]), (None, &json!(0.2)));
}

#[tokio::test]
async fn every_recorded_call_is_told() {
    let told: Arc<Mutex<Vec<Recorded>>> = Arc::default();
    let model = Model::good("hello").await;
    let bench = Bench::with(model.upstream(), |config| {
        let told = Arc::clone(&told);
        config.on_recorded = Some(Arc::new(move |recorded| told.lock().unwrap().push(recorded)));
    })
    .await;
    bench.ask(&bench.key("t"), &body("hi")).await;
    let expected = Recorded {
        trial: Some("t".to_owned()),
        success: true,
        n_input_tokens: 10,
        n_cached_tokens: 4,
        n_output_tokens: 2,
        cost_usd: None,
    };
    assert_eq!(*told.lock().unwrap(), [expected]);
    let usage = bench.proxy.usage("t").unwrap();
    assert_eq!(
        (usage.n_calls, usage.n_input_tokens, usage.n_cached_tokens, usage.n_output_tokens),
        (1, 10, 4, 2)
    );
}
