//! Models that fail.

use crate::support::{
    Bench, Model, UPSTREAM_KEY, answer_events, body, error, events, reply, streamed, with_status,
};
use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_upstream::{UpstreamConfig, connect};

#[tokio::test]
async fn a_call_is_tried_again_and_stays_one_record() {
    let model = Model::new(|n, body| match n {
        0 => error(429, "rate_limit_error", "slow down"),
        1 => error(503, "server_error", "busy"),
        _ => reply(body, "hello"),
    })
    .await;
    let bench = Bench::new(model.upstream_with(|config| config.max_retries = 3)).await;
    for asked in [body("hi"), streamed("hi")] {
        let response =
            bench.ask(&bench.key(if asked.get("stream").is_some() { "s" } else { "w" }), &asked).await;
        assert_eq!(response.status(), 200);
        assert!(response.text().await.unwrap().contains("hello"));
    }
    assert_eq!(bench.records("s")[0].upstream_tries, []);
    let tries = &bench.records("w")[0].upstream_tries;
    let seen: Vec<_> = tries.iter().map(|t| (t.status_code, t.error_type.as_str())).collect();
    assert_eq!(seen, [(Some(429), "RateLimitError"), (Some(503), "ServiceUnavailableError")]);
    assert_eq!(tries[0].deployment, format!("real-model@{}", model.address));
    let usage = bench.proxy.usage("w").unwrap();
    assert_eq!((usage.n_calls, usage.n_failed_calls, usage.last_failure), (1, 0, None));
}

#[tokio::test]
async fn keys_in_the_address_are_sent_and_written_nowhere() {
    let model = Model::new(|n, body| match n {
        0 => error(503, "server_error", "busy"),
        1 => reply(body, "hello"),
        _ => error(400, "bad_request", "no"),
    })
    .await;
    let address = model.address.clone();
    let upstream = model.upstream_with(|config| {
        config.api_base_url.push_str("?key=first-secret&token=second-secret&third-secret");
    });
    assert!(!format!("{:?}", upstream.info()).contains("secret"));
    let bench = Bench::new(upstream).await;
    let key = bench.key("t");
    for _ in 0..2 {
        bench.ask(&key, &body("hi")).await.text().await.unwrap();
    }
    let written = std::fs::read_to_string(bench.log("t")).unwrap();
    assert!(!written.contains("secret"), "{written}");
    let shown = format!("{address}?key=[REDACTED]&token=[REDACTED]&[REDACTED]");
    let records = bench.records("t");
    assert_eq!(records[0].upstream_tries[0].deployment, format!("real-model@{shown}"));
    assert_eq!(records[1].failure.as_ref().unwrap().deployment.as_ref().unwrap().api_base, shown);
}

#[tokio::test]
async fn failures_have_a_status_a_record_and_an_ending() {
    let cases = [
        (401, "invalid_api_key", Some(ErrorType::AgentAuthenticationError), "AuthenticationError", 1),
        (402, "no_credit", Some(ErrorType::ApiUsageLimitError), "BudgetExceededError", 1),
        (403, "forbidden", Some(ErrorType::AgentAuthenticationError), "PermissionDeniedError", 1),
        (404, "model_not_found", Some(ErrorType::ModelNotFoundError), "NotFoundError", 1),
        (429, "insufficient_quota", Some(ErrorType::ApiUsageLimitError), "RateLimitError", 1),
        (429, "rate_limit", Some(ErrorType::ModelUnavailableError), "RateLimitError", 3),
        (500, "server_error", Some(ErrorType::ModelUnavailableError), "InternalServerError", 3),
        (400, "context_length_exceeded", None, "ContextWindowExceededError", 1),
    ];
    for (status, kind, ending, error_type, n_tries) in cases {
        for asked in [body("hi"), streamed("hi")] {
            let model = Model::new(move |_, _| error(status, kind, &format!("no, {UPSTREAM_KEY}"))).await;
            let bench = Bench::new(model.upstream()).await;
            let response = bench.ask(&bench.key("t"), &asked).await;
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()["x-should-retry"], "false");
            let told: Value = response.json().await.unwrap();
            assert_eq!(told["error"]["code"], kind);
            assert_eq!(told["error"]["message"], "no, [REDACTED]");
            assert_eq!(model.asked().len(), n_tries, "{status} {kind}");

            let records = bench.records("t");
            let failure = records[0].failure.as_ref().unwrap();
            assert!(!records[0].success);
            assert_eq!((failure.error_type.as_str(), failure.status_code), (error_type, Some(status)));
            assert_eq!(failure.message, "no, [REDACTED]");
            assert_eq!(failure.deployment.as_ref().unwrap().model, "real-model");
            assert_eq!(
                records[0].response_body,
                json!({"error": {"type": error_type, "message": "no, [REDACTED]"}})
            );
            assert_eq!(records[0].upstream_tries.len(), n_tries - 1);
            let usage = bench.proxy.close_trial("t", Duration::ZERO).await;
            assert_eq!(usage.last_failure.map(|failure| failure.kind), ending);
            assert_eq!(usage.n_failed_calls, 1);
        }
    }
}

#[tokio::test]
async fn a_short_key_that_an_error_repeats_is_told_to_nobody() {
    const SHORT: &str = "sk-SHORT12";
    let said = format!("Incorrect API key provided: Bearer {SHORT}. You sent {SHORT}, Bearer other-KEY9");
    let model = Model::new(move |_, body| {
        let error =
            json!({"error": {"message": said, "type": "invalid_api_key", "param": {"sent": [SHORT]}}});
        match body["stream"] == true {
            true => events(Body::from(format!("data: {error}\n\n"))),
            false => with_status(401, &error),
        }
    })
    .await;
    for in_proxy in [true, false] {
        // The upstream knows its key; the proxy knows those of all.
        let upstream = model.upstream_with(|config| {
            config.max_retries = 0;
            if !in_proxy {
                config.api_key = SHORT.to_owned();
            }
        });
        let told = upstream.check().await.unwrap_err().to_string();
        assert!(in_proxy || !told.contains(SHORT), "{told}");
        let bench = Bench::with(upstream, |config| {
            config.secrets = if in_proxy { vec![SHORT.to_owned()] } else { Vec::new() };
        })
        .await;
        let key = bench.key("t");
        for asked in [body("hi"), streamed("hi")] {
            let told = bench.ask(&key, &asked).await.text().await.unwrap();
            assert!(told.contains("Incorrect API key") && !told.contains("SHORT"), "{told}");
            assert!(!told.contains("KEY9"), "{told}");
        }
        let written = std::fs::read_to_string(bench.log("t")).unwrap();
        assert!(written.contains("Incorrect API key") && !written.contains("SHORT"), "{written}");
        let ending = bench.proxy.close_trial("t", Duration::ZERO).await.last_failure;
        assert!(!format!("{ending:?}").contains("SHORT"));
        // In what is said, and not in a failure, so short a value is none.
        let sent = body(&format!("a {SHORT} b"));
        bench.ask(&bench.key("u"), &sent).await.text().await.unwrap();
        assert_eq!(bench.records("u")[0].request_body["messages"], sent["messages"]);
    }
}

#[tokio::test]
async fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let upstream = connect(UpstreamConfig {
        api_base_url: address,
        model: "m".to_owned(),
        max_retries: 0,
        ..UpstreamConfig::default()
    })
    .unwrap();
    let bench = Bench::new(upstream).await;
    let response = bench.ask(&bench.key("t"), &body("hi")).await;
    assert_eq!(response.status(), 502);
    let usage = bench.proxy.usage("t").unwrap();
    assert_eq!(usage.last_failure.unwrap().kind, ErrorType::ModelUnavailableError);
    let ready =
        bench.client.get(format!("{}/health/readiness", bench.proxy.base_url())).send().await.unwrap();
    assert_eq!(ready.status(), 503);
}

/// Sends the first two events, then breaks the connection.
fn broken_off() -> Response<Body> {
    let all = answer_events("half an answer");
    let cut = all.match_indices("\n\n").nth(1).unwrap().0 + 2;
    let pieces = [Ok(Bytes::from(all[..cut].to_owned())), Err(std::io::Error::other("gone"))];
    // The error must not overtake what was said before it.
    let pieces = futures::stream::iter(pieces).then(|piece| async move {
        tokio::task::yield_now().await;
        piece
    });
    events(Body::from_stream(pieces))
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_told_and_recorded_with_what_had_come() {
    let model = Model::new(|_, _| broken_off()).await;
    let bench = Bench::new(model.upstream()).await;
    let text = bench.ask(&bench.key("t"), &streamed("hi")).await.text().await.unwrap();
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert!(last["error"]["message"].as_str().unwrap().contains("lost"), "{last}");
    assert!(!text.contains("[DONE]"));
    assert_eq!(model.asked().len(), 1, "never tried again once a byte has reached the agent");
    let record = &bench.records("t")[0];
    assert!(!record.success && !record.client_disconnected);
    assert_eq!(record.response_body["choices"][0]["message"]["content"], "half an answer");
    assert_eq!(record.response_body["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(record.response_body["error"]["type"], "APIConnectionError");
    assert_eq!(record.failure.as_ref().unwrap().error_type, "APIConnectionError");
}

#[tokio::test]
async fn what_is_nothing_of_a_models_is_tried_again() {
    let model = Model::new(|_, _| with_status(200, &json!("hello"))).await;
    let bench = Bench::new(model.upstream_with(|config| config.max_retries = 1)).await;
    let response = bench.ask(&bench.key("t"), &body("hi")).await;
    assert_eq!((response.status().as_u16(), model.asked().len()), (502, 2));
    assert_eq!(bench.records("t")[0].failure.as_ref().unwrap().error_type, "APIResponseValidationError");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_paid_for_twice() {
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9});
    let model = Model::new(move |_, _| with_status(200, &json!({"answer": "x", "usage": usage}))).await;
    let bench = Bench::new(model.upstream()).await;
    let response = bench.ask(&bench.key("t"), &body("hi")).await;
    assert_eq!((response.status().as_u16(), model.asked().len()), (502, 1));
    let record = &bench.records("t")[0];
    assert_eq!(record.failure.as_ref().unwrap().error_type, "APIResponseValidationError");
    assert_eq!(record.usage.as_ref().unwrap().prompt_tokens, 7);
    let usage = bench.proxy.usage("t").unwrap();
    assert_eq!((usage.n_input_tokens, usage.n_output_tokens, usage.n_failed_calls), (7, 2, 1));
}

#[tokio::test]
async fn what_a_failed_try_used_counts() {
    let model = Model::new(|n, body| match n {
        0 => with_status(
            500,
            &json!({"error": {"message": "late"}, "usage": {"prompt_tokens": 7, "completion_tokens": 2}}),
        ),
        _ => reply(body, "hello"),
    })
    .await;
    let bench = Bench::new(model.upstream_with(|config| {
        config.prices = trajgen_upstream::Prices { input: Some(1.0), output: Some(10.0), cached: None };
    }))
    .await;
    bench.ask(&bench.key("t"), &body("hi")).await.text().await.unwrap();
    let record = &bench.records("t")[0];
    assert_eq!(record.usage.as_ref().unwrap().prompt_tokens, 10);
    assert_eq!(record.upstream_tries[0].usage.as_ref().unwrap().prompt_tokens, 7);
    let usage = bench.proxy.usage("t").unwrap();
    assert_eq!((usage.n_input_tokens, usage.n_cached_tokens, usage.n_output_tokens), (17, 4, 4));
    assert_eq!(usage.cost_usd, Some(17.0 + 40.0));
}

#[tokio::test]
async fn a_model_that_is_silent_times_out() {
    let model = Model::new(|_, _| {
        events(Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()))
    })
    .await;
    let bench = Bench::new(model.upstream_with(|config| {
        config.request_timeout = Duration::from_millis(50);
        config.max_retries = 1;
    }))
    .await;
    let response = bench.ask(&bench.key("t"), &streamed("hi")).await;
    assert_eq!((response.status().as_u16(), model.asked().len()), (504, 2));
    assert_eq!(bench.records("t")[0].failure.as_ref().unwrap().error_type, "Timeout");
}

#[tokio::test]
async fn redirects_are_not_followed_with_the_key() {
    let elsewhere = Model::good("stolen").await;
    let there = format!("{}/chat/completions", elsewhere.address);
    let model = Model::new(move |_, _| {
        Response::builder().status(307).header("location", &there).body(Body::empty()).unwrap()
    })
    .await;
    let bench = Bench::new(model.upstream()).await;
    let response = bench.ask(&bench.key("t"), &body("hi")).await;
    assert_eq!(response.status(), 502);
    assert!(response.text().await.unwrap().contains("is not followed"));
    assert_eq!(elsewhere.asked().len(), 0);
    assert_eq!(model.headers(0)["authorization"], format!("Bearer {UPSTREAM_KEY}"));
}

#[tokio::test]
async fn calls_in_flight_are_limited() {
    let (under_way, most) = (std::sync::Arc::new(std::sync::Mutex::new((0, 0))), 3);
    let counter = std::sync::Arc::clone(&under_way);
    let model = Model::new(move |_, _| {
        let counter = std::sync::Arc::clone(&counter);
        let whole = futures::stream::once(async move {
            {
                let mut count = counter.lock().unwrap();
                count.0 += 1;
                count.1 = count.1.max(count.0);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            counter.lock().unwrap().0 -= 1;
            Ok::<_, std::convert::Infallible>(answer_events("hello"))
        });
        events(Body::from_stream(whole))
    })
    .await;
    let bench = Bench::new(model.upstream_with(|config| config.max_in_flight = Some(most))).await;
    let key = bench.key("t");
    let asked = streamed("hi");
    let calls = (0..30).map(|_| async { bench.ask(&key, &asked).await.text().await.unwrap() });
    futures::future::join_all(calls).await;
    let count = *under_way.lock().unwrap();
    assert_eq!((count.0, count.1), (0, most));
    assert_eq!(bench.records("t").len(), 30);
}
