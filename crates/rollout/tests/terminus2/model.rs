//! A model on a real port, which answers what the test says, in order.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use trajgen_rollout::agent::ModelEndpoint;

/// One answer.
#[derive(Clone)]
pub enum Answer {
    /// A status and a body.
    Status(u16, Value),
    /// None, ever.
    Silence,
    /// The next one, once the agent was shown this; until then it is told to wait a little.
    AfterSeeing(&'static str),
}

/// An answer that says `text`.
pub fn says(text: impl Into<String>) -> Answer {
    with_usage(text, 100, 10)
}

/// An answer that says `text` and how many tokens it took.
pub fn with_usage(text: impl Into<String>, prompt: u64, completion: u64) -> Answer {
    Answer::Status(200, completion_of(text, "stop", prompt, completion))
}

/// An answer that the output limit cut.
pub fn cut(text: impl Into<String>) -> Answer {
    Answer::Status(200, completion_of(text, "length", 100, 10))
}

/// A failure with a code.
pub fn fails(status: u16, code: &str) -> Answer {
    Answer::Status(
        status,
        json!({"error": {"message": format!("said {code}"), "type": "error", "code": code}}),
    )
}

fn completion_of(text: impl Into<String>, finish: &str, prompt: u64, completion: u64) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "scripted",
        "choices": [{
            "index": 0, "finish_reason": finish,
            "message": {"role": "assistant", "content": text.into(), "reasoning_content": "hm"},
        }],
        "usage": {
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 5}, "cost": 0.25,
        },
    })
}

/// A reply of the agent's protocol.
pub fn reply(commands: &[(&str, f64)], task_complete: bool) -> String {
    let commands: Vec<Value> = commands
        .iter()
        .map(|(keystrokes, duration)| json!({"keystrokes": keystrokes, "duration": duration}))
        .collect();
    let mut reply = json!({"analysis": "I look.", "plan": "I go on.", "commands": commands});
    if task_complete {
        reply["task_complete"] = true.into();
    }
    reply.to_string()
}

/// The server, and what it was asked.
pub struct Model {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Value>>,
    keys: Mutex<Vec<String>>,
}

impl Model {
    /// Starts it on a free port.
    pub async fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let shared = Arc::new(Shared {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
            keys: Mutex::default(),
        });
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub fn endpoint(&self) -> ModelEndpoint {
        ModelEndpoint {
            base_url: self.url.clone(),
            api_key: "trial-key".into(),
            model: "scripted".into(),
            max_input_tokens: None,
            max_output_tokens: None,
        }
    }

    /// The bodies of the requests so far.
    pub fn asked(&self) -> Vec<Value> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The last message of each request so far.
    pub fn last_messages(&self) -> Vec<String> {
        let last = |body: &Value| {
            body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned()
        };
        self.asked().iter().map(last).collect()
    }

    /// The `Authorization` headers so far.
    pub fn keys(&self) -> Vec<String> {
        self.shared.keys.lock().unwrap().clone()
    }

    /// How many answers were not asked for.
    pub fn left(&self) -> usize {
        self.shared.answers.lock().unwrap().len()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    shared.asked.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let key = headers.get("authorization").map(|key| key.to_str().unwrap().to_owned());
    shared.keys.lock().unwrap().push(key.unwrap_or_default());
    let next = next_answer(&shared);
    match next {
        Some(Answer::Status(status, body)) => (StatusCode::from_u16(status).unwrap(), Json(body)),
        Some(Answer::Silence | Answer::AfterSeeing(_)) => std::future::pending().await,
        None => (StatusCode::IM_A_TEAPOT, Json(json!({"error": {"message": "the script is over"}}))),
    }
}

fn next_answer(shared: &Shared) -> Option<Answer> {
    let mut answers = shared.answers.lock().unwrap();
    if let Some(Answer::AfterSeeing(text)) = answers.front() {
        let asked = shared.asked.lock().unwrap();
        let last = asked.last()?["messages"].as_array()?.last()?["content"].as_str()?.to_owned();
        if !last.contains(text) {
            return Some(says(reply(&[("", 0.02)], false)));
        }
        answers.pop_front();
    }
    answers.pop_front()
}
