//! A proxy with a model behind it, and a model that does as it is told.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use trajgen_contract::layout::JobDir;
use trajgen_contract::record::{Record, read_log};
use trajgen_proxy::{Proxy, ProxyConfig, Route, TrialLimits};
use trajgen_upstream::{Upstream, UpstreamConfig, connect};

/// The key of every HTTP upstream here.
pub(crate) const UPSTREAM_KEY: &str = "sk-upstream-0123456789";
pub(crate) const MASTER_KEY: &str = "sk-master-0123456789";
/// Long enough for anything that does happen.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    pub(crate) client: reqwest::Client,
    pub(crate) dir: TempDir,
}

impl Bench {
    pub(crate) async fn new(upstream: Arc<dyn Upstream>) -> Self {
        Self::with(upstream, |_| ()).await
    }

    pub(crate) async fn with(upstream: Arc<dyn Upstream>, change: impl FnOnce(&mut ProxyConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ProxyConfig::new(dir.path().join("jobs"), "job", upstream);
        config.master_key = Some(MASTER_KEY.to_owned());
        config.secrets = vec![UPSTREAM_KEY.to_owned()];
        change(&mut config);
        let proxy = Proxy::start(config).await.unwrap();
        Self { proxy, client: client(), dir }
    }

    /// A model that answers from `script`.
    pub(crate) async fn scripted(script: &str) -> Self {
        Self::new(scripted(script)).await
    }

    pub(crate) fn jobs(&self) -> PathBuf {
        self.dir.path().join("jobs")
    }

    pub(crate) fn log(&self, trial: &str) -> PathBuf {
        JobDir::new(self.jobs().join("job")).trial(trial).trajectory_log()
    }

    pub(crate) fn route(&self, trial: &str) -> Route {
        Route {
            job: "job".to_owned(),
            trial: trial.to_owned(),
            task_id: "task".to_owned(),
            log_path: self.log(trial),
            limits: TrialLimits::default(),
        }
    }

    pub(crate) fn key(&self, trial: &str) -> String {
        self.proxy.issue_key(self.route(trial)).unwrap().key
    }

    pub(crate) fn post(&self, key: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client
            .post(format!("{}/v1/chat/completions", self.proxy.base_url()))
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    pub(crate) async fn ask(&self, key: &str, body: &Value) -> reqwest::Response {
        self.post(key, body).send().await.unwrap()
    }

    pub(crate) fn records(&self, trial: &str) -> Vec<Record> {
        let log = read_log(&self.log(trial)).unwrap();
        assert_eq!(log.skipped, []);
        log.records
    }

    /// The trial's records as soon as there are `n`.
    pub(crate) async fn wait_for_records(&self, trial: &str, n: usize) -> Vec<Record> {
        wait_until(|| read_log(&self.log(trial)).is_ok_and(|log| log.records.len() >= n)).await;
        self.records(trial)
    }
}

pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Waits on a condition.
pub(crate) async fn wait_until(condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("the condition never came true");
}

/// The upstream of a script.
pub(crate) fn scripted(script: &str) -> Arc<dyn Upstream> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.yaml"), script).unwrap();
    connect(UpstreamConfig {
        api_base_url: "script://model.yaml".to_owned(),
        max_retries: 2,
        base_dir: dir.path().to_owned(),
        ..UpstreamConfig::default()
    })
    .unwrap()
}

/// A user's message to `model`.
pub(crate) fn body(text: &str) -> Value {
    json!({"model": "gpt-x", "messages": [{"role": "user", "content": text}]})
}

pub(crate) fn streamed(text: &str) -> Value {
    let mut body = body(text);
    body["stream"] = json!(true);
    body
}

/// A whole answer of a model.
pub(crate) fn answer(text: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "real-model", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}})
}

/// The same as events, usage last.
pub(crate) fn answer_events(text: &str) -> String {
    let chunk = |choices: Value| json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "real-model", "choices": choices});
    let mut last = chunk(json!([]));
    last["usage"] = answer("")["usage"].clone();
    let chunks = [
        chunk(json!([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}])),
        chunk(json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}])),
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}])),
        last,
    ];
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

type Answers = dyn Fn(usize, &Value) -> Response<Body> + Send + Sync;

/// A model behind HTTP.
pub(crate) struct Model {
    pub(crate) address: String,
    state: Arc<ModelState>,
    server: tokio::task::JoinHandle<()>,
}

struct ModelState {
    asked: Mutex<Vec<(HeaderMap, Bytes)>>,
    answers: Box<Answers>,
}

impl Model {
    /// Answers its n-th request (from 0) with `answers(n, body)`.
    pub(crate) async fn new(
        answers: impl Fn(usize, &Value) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(ModelState { asked: Mutex::default(), answers: Box::new(answers) });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, server }
    }

    /// Answers everything as a well-behaved model would.
    pub(crate) async fn good(text: &'static str) -> Self {
        Self::new(move |_, body| reply(body, text)).await
    }

    pub(crate) fn upstream(&self) -> Arc<dyn Upstream> {
        self.upstream_with(|_| ())
    }

    pub(crate) fn upstream_with(&self, change: impl FnOnce(&mut UpstreamConfig)) -> Arc<dyn Upstream> {
        let mut config = UpstreamConfig {
            api_base_url: self.address.clone(),
            api_key: UPSTREAM_KEY.to_owned(),
            model: "openai/real-model".to_owned(),
            max_retries: 2,
            ..UpstreamConfig::default()
        };
        change(&mut config);
        connect(config).unwrap()
    }

    /// The bodies it was sent.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().map(|(_, body)| String::from_utf8(body.to_vec()).unwrap()).collect()
    }

    pub(crate) fn headers(&self, n: usize) -> HeaderMap {
        self.state.asked.lock().unwrap()[n].0.clone()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(State(state): State<Arc<ModelState>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let parsed = serde_json::from_slice(&body).unwrap_or_default();
    let n = {
        let mut asked = state.asked.lock().unwrap();
        asked.push((headers, body));
        asked.len() - 1
    };
    (state.answers)(n, &parsed)
}

/// What a well-behaved model answers to `body`.
pub(crate) fn reply(body: &Value, text: &str) -> Response<Body> {
    if body.get("stream") == Some(&json!(true)) {
        events(Body::from(answer_events(text)))
    } else {
        with_status(200, &answer(text))
    }
}

pub(crate) fn events(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

pub(crate) fn with_status(status: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-type", "application/json")
        .header("retry-after", "0")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// An error in the protocol's shape.
pub(crate) fn error(status: u16, kind: &str, message: &str) -> Response<Body> {
    with_status(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": kind}}))
}
