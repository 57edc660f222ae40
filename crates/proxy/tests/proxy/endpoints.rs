//! Endpoints, and what is refused at them.

use crate::support::{Bench, MASTER_KEY, Model, body, scripted};
use serde_json::{Value, json};
use trajgen_proxy::{Proxy, ProxyConfig, ProxyError};

const SCRIPT: &str = "default: {text: hello}";

#[tokio::test]
async fn keys_are_asked_for() {
    let bench = Bench::scripted(SCRIPT).await;
    let url = format!("{}/v1/chat/completions", bench.proxy.base_url());
    let none = bench.client.post(&url).body(body("hi").to_string()).send().await.unwrap();
    assert_eq!(none.status(), 401);
    assert_eq!(none.json::<Value>().await.unwrap()["error"]["code"], "invalid_api_key");
    assert_eq!(bench.ask("sk-trajgen-0000", &body("hi")).await.status(), 401);
    let key = bench.key("t");
    let plain = bench.client.post(&url).header("x-api-key", &key).body(body("hi").to_string());
    assert_eq!(plain.send().await.unwrap().status(), 200);
    let short = bench.client.post(format!("{}/chat/completions", bench.proxy.base_url()));
    assert_eq!(short.bearer_auth(&key).body(body("hi").to_string()).send().await.unwrap().status(), 200);
    assert_eq!(bench.records("t").len(), 2);
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_not_recorded() {
    let model = Model::good("hello").await;
    let bench = Bench::with(model.upstream(), |config| config.max_body_bytes = 1000).await;
    let key = bench.key("t");
    let too_long = bench.ask(&key, &body(&"x".repeat(1000))).await;
    assert_eq!(too_long.status(), 413);
    assert_eq!(too_long.json::<Value>().await.unwrap()["error"]["type"], "request_too_large");
    let broken = bench.post(&key, &json!(null)).body("{\"model\": ").send().await.unwrap();
    assert_eq!(broken.status(), 400);
    assert!(broken.text().await.unwrap().contains("not a JSON object"));
    assert_eq!(model.asked().len(), 0);
    assert!(!bench.log("t").exists());
}

#[tokio::test]
async fn models_health_and_probes() {
    let bench = Bench::scripted(SCRIPT).await;
    let get = |path: &str| bench.client.get(format!("{}{path}", bench.proxy.base_url()));
    assert_eq!(get("/v1/models").send().await.unwrap().status(), 401);
    let list: Value = get("/v1/models").bearer_auth(MASTER_KEY).send().await.unwrap().json().await.unwrap();
    assert_eq!(list["data"][0]["id"], "script/model.yaml");
    let one: Value =
        get("/v1/models/openai/gpt-x").bearer_auth(MASTER_KEY).send().await.unwrap().json().await.unwrap();
    assert_eq!(one["id"], "openai/gpt-x");
    for path in ["/health", "/health/liveliness", "/health/readiness", "/"] {
        assert_eq!(get(path).send().await.unwrap().status(), 200, "{path}");
    }
    let head = bench.client.head(bench.proxy.base_url()).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(get("/v1/nothing").send().await.unwrap().status(), 404);
    assert_eq!(get("/v1/chat/completions").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn what_is_not_supported_yet_says_so_in_the_askers_words() {
    let bench = Bench::scripted(SCRIPT).await;
    let post = |path: &str| bench.client.post(format!("{}{path}", bench.proxy.base_url())).body("{}").send();
    let messages = post("/v1/messages").await.unwrap();
    assert_eq!(messages.status(), 501);
    let told: Value = messages.json().await.unwrap();
    assert_eq!(told["type"], "error");
    assert!(told["error"]["message"].as_str().unwrap().contains("/v1/messages is not supported yet"));
    let responses = post("/v1/responses").await.unwrap();
    assert_eq!(responses.status(), 501);
    assert!(responses.json::<Value>().await.unwrap()["error"]["message"].is_string());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let bench = Bench::scripted(SCRIPT).await;
    let port: u16 = bench.proxy.base_url().rsplit(':').next().unwrap().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config = ProxyConfig::new(dir.path(), "job", scripted(SCRIPT));
    config.port = port;
    match Proxy::start(config).await {
        Err(ProxyError::PortTaken { port: named, .. }) => assert_eq!(named, port),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two proxies at one port"),
    }
}

#[tokio::test]
async fn the_unix_socket_serves_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("deep/proxy.sock");
    let bench = Bench::with(scripted(SCRIPT), |config| config.unix_socket = Some(socket.clone())).await;
    let client = reqwest::Client::builder().unix_socket(socket.clone()).build().unwrap();
    let key = bench.key("t");
    let asked =
        client.post("http://proxy/v1/chat/completions").bearer_auth(&key).body(body("hi").to_string());
    assert_eq!(asked.send().await.unwrap().status(), 200);
    assert_eq!(bench.records("t").len(), 1);
    let mut second = ProxyConfig::new(dir.path(), "job", scripted(SCRIPT));
    second.unix_socket = Some(socket.clone());
    assert!(
        matches!(Proxy::start(second).await, Err(ProxyError::Socket { .. })),
        "a served socket is not taken over"
    );
    drop(bench);
    assert!(!socket.exists());
    // What a crash leaves behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    Bench::with(scripted(SCRIPT), |config| config.unix_socket = Some(socket.clone())).await;
}

#[tokio::test]
async fn shutting_down_ends_calls_and_leaves_whole_records() {
    let bench = Bench::scripted("tracks: [{turns: [{text: a, delay_ms: 600000}]}]").await;
    let key = bench.key("t");
    let call = tokio::spawn(bench.post(&key, &body("hi")).send());
    crate::support::wait_until(|| bench.proxy.n_calls_under_way() == 1).await;
    let log = bench.log("t");
    bench.proxy.shutdown(std::time::Duration::ZERO).await;
    let records = read(&log);
    assert_eq!(records[0].failure.as_ref().unwrap().error_type, "TrialEnded");
    let _ = call.await.unwrap();
}

fn read(log: &std::path::Path) -> Vec<trajgen_contract::record::Record> {
    trajgen_contract::record::read_log(log).unwrap().records
}
