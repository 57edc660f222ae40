//! Calls of a real model.

use crate::server::Server;
use futures::StreamExt;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use trajgen_contract::layout::JobDir;
use trajgen_contract::record::{Record, read_log};
use trajgen_proxy::{OnDisconnect, Proxy, ProxyConfig, Route, TrialLimits};
use trajgen_upstream::{UpstreamConfig, connect};

struct Bench {
    server: Server,
    proxy: Proxy,
    client: reqwest::Client,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let start = || Server::start(&["--context", "4096", "--parallel", "2"]);
        let server = tokio::task::spawn_blocking(start).await.unwrap();
        let upstream = connect(UpstreamConfig {
            api_base_url: format!("{}/v1", server.base_url),
            model: format!("openai/{}", server.model),
            max_retries: 0,
            ..UpstreamConfig::default()
        })
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut config = ProxyConfig::new(dir.path(), "job", upstream);
        config.on_disconnect = OnDisconnect::Cancel;
        let proxy = Proxy::start(config).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { server, proxy, client, dir }
    }

    fn log(&self, trial: &str) -> PathBuf {
        JobDir::new(self.dir.path().join("job")).trial(trial).trajectory_log()
    }

    fn key(&self, trial: &str) -> String {
        let route = Route {
            job: "job".to_owned(),
            trial: trial.to_owned(),
            task_id: "task".to_owned(),
            log_path: self.log(trial),
            limits: TrialLimits::default(),
        };
        self.proxy.issue_key(route).unwrap().key
    }

    async fn ask(&self, key: &str, body: &Value) -> reqwest::Response {
        let url = format!("{}/v1/chat/completions", self.proxy.base_url());
        self.client.post(url).bearer_auth(key).body(body.to_string()).send().await.unwrap()
    }

    async fn json(&self, key: &str, body: &Value) -> Value {
        serde_json::from_str(&self.ask(key, body).await.text().await.unwrap()).unwrap()
    }

    async fn events(&self, key: &str, body: &Value) -> Vec<Value> {
        let text = self.ask(key, body).await.text().await.unwrap();
        let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.last(), Some(&"[DONE]"));
        data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    fn records(&self, trial: &str) -> Vec<Record> {
        read_log(&self.log(trial)).unwrap().records
    }
}

fn body(text: &str, max_tokens: u32) -> Value {
    json!({"model": "whatever", "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens, "temperature": 0})
}

fn streamed(text: &str, max_tokens: u32) -> Value {
    let mut body = body(text, max_tokens);
    body["stream"] = json!(true);
    body
}

/// One server for all: starting it takes longer than what is asked of it.
#[tokio::test]
async fn a_real_model_is_recorded_as_it_answers() {
    let bench = Bench::start().await;
    assert_eq!(bench.server.model, "SmolLM2-135M-Instruct");
    whole_and_streamed_agree(&bench).await;
    tools_pass(&bench).await;
    a_request_that_is_too_long_is_named(&bench).await;
    parallel_calls_come_apart(&bench).await;
    hanging_up_stops_the_model(&bench).await;
    bench.proxy.shutdown(Duration::from_secs(30)).await;
}

async fn whole_and_streamed_agree(bench: &Bench) {
    let key = bench.key("agree");
    let whole = bench.json(&key, &body("Count to five.", 12)).await;
    let plain = bench.events(&key, &streamed("Count to five.", 12)).await;
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()), "usage was not asked for");
    let mut asked = streamed("Count to five.", 12);
    asked["stream_options"] = json!({"include_usage": true});
    let with_usage = bench.events(&key, &asked).await;

    let records = bench.records("agree");
    let told = [&whole["usage"], &Value::Null, &with_usage.last().unwrap()["usage"]];
    for (record, told) in records.iter().zip(told) {
        let usage = record.usage.as_ref().unwrap();
        assert!(record.success && usage.prompt_tokens > 0 && usage.completion_tokens > 0);
        assert_eq!(record.request_body["model"], bench.server.model);
        assert_eq!(record.response_body["choices"], records[0].response_body["choices"]);
        assert_eq!(usage.prompt_tokens, records[0].usage.as_ref().unwrap().prompt_tokens);
        if !told.is_null() {
            assert_eq!(record.response_body["usage"], *told);
            assert_eq!(usage.completion_tokens, told["completion_tokens"]);
        }
    }
    let said: String = plain
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(whole["choices"][0]["message"]["content"], said);
    assert!(records[1].ttft_ms <= records[1].duration_ms);
}

async fn tools_pass(bench: &Bench) {
    let key = bench.key("tools");
    let mut asked = body("What is in the file a.txt?", 16);
    asked["tools"] = json!([{"type": "function", "function": {"name": "read", "description": "Reads a file.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}}]);
    assert_eq!(bench.ask(&key, &asked).await.status(), 200);
    assert_eq!(bench.records("tools")[0].request_body["tools"], asked["tools"]);
}

async fn a_request_that_is_too_long_is_named(bench: &Bench) {
    let key = bench.key("long");
    for asked in [body(&"one two three ".repeat(3000), 4), streamed(&"one two three ".repeat(3000), 4)] {
        assert_eq!(bench.ask(&key, &asked).await.status(), 400);
    }
    for record in bench.records("long") {
        assert_eq!(record.failure.unwrap().error_type, "ContextWindowExceededError");
    }
    assert_eq!(bench.proxy.usage("long").unwrap().last_failure, None, "no failure of the model");
}

async fn parallel_calls_come_apart(bench: &Bench) {
    let key = bench.key("parallel");
    let asked: Vec<Value> = (0..6).map(|n| streamed(&format!("Say {n}."), 4)).collect();
    futures::future::join_all(asked.iter().map(|asked| bench.events(&key, asked))).await;
    let mut texts: Vec<String> = bench
        .records("parallel")
        .iter()
        .map(|record| record.request_body["messages"][0]["content"].as_str().unwrap().to_owned())
        .collect();
    texts.sort();
    assert_eq!(texts, (0..6).map(|n| format!("Say {n}.")).collect::<Vec<_>>());
}

async fn hanging_up_stops_the_model(bench: &Bench) {
    let key = bench.key("gone");
    let mut stream = bench.ask(&key, &streamed("Tell a very long story.", 2000)).await.bytes_stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let usage = bench.proxy.close_trial("gone", Duration::from_secs(60)).await;
    assert_eq!((usage.n_calls, usage.n_failed_calls), (1, 1));
    let record = &bench.records("gone")[0];
    assert!(record.client_disconnected);
    assert_eq!(record.failure.as_ref().unwrap().error_type, "ClientDisconnected");
}
