//! One call of the model, over the proxy. Nothing is retried here: the proxy does that.

use crate::agent::{AgentFailure, ModelEndpoint};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Once;
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;

/// The most that is read of an answer, bytes.
const MAX_ANSWER: usize = 64 << 20;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Message {
    /// `user` or `assistant`.
    pub(super) role: &'static str,
    /// Its text.
    pub(super) content: String,
}

impl Message {
    pub(super) fn user(content: impl Into<String>) -> Self {
        Self { role: "user", content: content.into() }
    }
    pub(super) fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant", content: content.into() }
    }
}

/// What a call cost, as the answer says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    /// Tokens of the request, cached ones included.
    pub(super) prompt: u64,
    /// Tokens of the answer.
    pub(super) completion: u64,
    /// Those of `prompt` that came from the cache.
    pub(super) cached: u64,
    /// USD, when the answer says.
    pub(super) cost: Option<f64>,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) reasoning: Option<String>,
    /// The model that answered, when the answer says.
    pub(super) model: Option<String>,
    pub(super) usage: Option<Usage>,
    /// The output limit cut it.
    pub(super) cut: bool,
    pub(super) prompt_token_ids: Option<Vec<u64>>,
    pub(super) completion_token_ids: Option<Vec<u64>>,
    pub(super) logprobs: Option<Vec<f64>>,
}

/// Why a call gave no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The conversation does not fit the model.
    ContextLength(String),
    /// Anything else.
    Failed(AgentFailure),
}

impl CallError {
    /// As the end of the agent's run.
    pub(super) fn into_failure(self) -> AgentFailure {
        match self {
            Self::ContextLength(message) => AgentFailure::new(
                ErrorType::AgentError,
                format!("the conversation does not fit the model: {message}"),
            ),
            Self::Failed(failure) => failure,
        }
    }

    /// Whether trying something smaller may help. Not when money, a key or the record is the matter:
    /// such a failure must not be lost in an attempt to go on.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::ContextLength(_) => true,
            Self::Failed(failure) => matches!(
                failure.kind,
                ErrorType::AgentError | ErrorType::ModelUnavailableError | ErrorType::AgentSafetyRefusalError
            ),
        }
    }
}

/// How to sample, and what to ask for beside the text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sampling {
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) rollout_details: bool,
}

/// What came back.
struct Answer {
    status: u16,
    /// What the proxy counted, USD.
    cost: Option<f64>,
    bytes: Vec<u8>,
}

/// Calls one model.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    endpoint: ModelEndpoint,
    sampling: Sampling,
}

impl Client {
    /// For the model at `endpoint`.
    pub(super) fn new(endpoint: ModelEndpoint, sampling: Sampling) -> Result<Self, AgentFailure> {
        install_tls();
        let http = reqwest::Client::builder()
            // The endpoint is the proxy on this host: the host's own HTTP proxy is not on the way to it.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| {
                AgentFailure::new(ErrorType::AgentSetupError, format!("cannot make an HTTP client: {error}"))
            })?;
        let url = format!("{}/v1/chat/completions", endpoint.base_url.trim_end_matches('/'));
        Ok(Self { http, url, endpoint, sampling })
    }

    /// Sends `messages` and waits for the whole answer.
    pub(super) async fn ask(&self, messages: &[Message]) -> Result<Reply, CallError> {
        let answer = self.send(messages).await.map_err(|error| {
            failed(
                ErrorType::ModelUnavailableError,
                format!("no answer from {}: {}", self.url, chain(&error)),
            )
        })?;
        let Answer { status, cost, bytes } = answer;
        if status != 200 {
            return Err(refused(status, &bytes));
        }
        let mut reply = read_reply(&bytes, self.sampling.rollout_details)?;
        if let (Some(usage), Some(cost)) = (&mut reply.usage, cost) {
            usage.cost = Some(cost);
        }
        Ok(reply)
    }

    async fn send(&self, messages: &[Message]) -> Result<Answer, reqwest::Error> {
        let mut answer = self
            .http
            .post(&self.url)
            .bearer_auth(&self.endpoint.api_key)
            .json(&self.body(messages))
            .send()
            .await?;
        let status = answer.status().as_u16();
        let cost = answer.headers().get(trajgen_proxy::RESPONSE_COST);
        let cost = cost.and_then(|cost| cost.to_str().ok()?.parse().ok());
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER {
                // Cut short it is no JSON, and reported as that.
                break;
            }
        }
        Ok(Answer { status, cost, bytes })
    }

    fn body(&self, messages: &[Message]) -> Value {
        let mut body = json!({ "model": self.endpoint.model, "messages": messages });
        if let Some(temperature) = self.sampling.temperature {
            body["temperature"] = temperature.into();
        }
        if let Some(top_p) = self.sampling.top_p {
            body["top_p"] = top_p.into();
        }
        if self.sampling.rollout_details {
            body["logprobs"] = true.into();
            body["return_token_ids"] = true.into();
        }
        body
    }
}

/// reqwest is built without a TLS provider of its own; the first one installed is the process's.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that another part of the process has installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn failed(kind: ErrorType, message: String) -> CallError {
    CallError::Failed(AgentFailure::new(kind, message))
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[derive(Deserialize)]
struct Completion {
    model: Option<String>,
    choices: Vec<Choice>,
    usage: Option<Value>,
    prompt_token_ids: Option<Vec<u64>>,
}

#[derive(Deserialize)]
struct Choice {
    message: AnswerMessage,
    finish_reason: Option<String>,
    logprobs: Option<Value>,
    token_ids: Option<Vec<u64>>,
}

#[derive(Deserialize)]
struct AnswerMessage {
    content: Option<Value>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    refusal: Option<String>,
}

/// An answer with status 200.
fn read_reply(bytes: &[u8], rollout_details: bool) -> Result<Reply, CallError> {
    let completion: Completion = serde_json::from_slice(bytes).map_err(|error| {
        failed(
            ErrorType::ModelUnavailableError,
            format!("the model's answer is no chat completion ({error}): {}", excerpt(bytes)),
        )
    })?;
    let Some(choice) = completion.choices.into_iter().next() else {
        return Err(failed(
            ErrorType::ModelUnavailableError,
            format!("the model's answer holds no choice: {}", excerpt(bytes)),
        ));
    };
    let text = text_of(choice.message.content.as_ref());
    if choice.finish_reason.as_deref() == Some("content_filter") {
        return Err(failed(
            ErrorType::AgentSafetyRefusalError,
            format!("the model's provider filtered its answer: {}", excerpt(text.as_bytes())),
        ));
    }
    if let Some(refusal) = choice.message.refusal.filter(|refusal| !refusal.is_empty() && text.is_empty()) {
        return Err(failed(ErrorType::AgentSafetyRefusalError, format!("the model refused: {refusal}")));
    }
    let reasoning = [choice.message.reasoning_content, choice.message.reasoning]
        .into_iter()
        .flatten()
        .find(|reasoning| !reasoning.is_empty());
    Ok(Reply {
        text,
        reasoning,
        model: completion.model,
        usage: completion.usage.as_ref().and_then(read_usage),
        cut: choice.finish_reason.as_deref() == Some("length"),
        prompt_token_ids: completion.prompt_token_ids.filter(|_| rollout_details),
        completion_token_ids: choice.token_ids.filter(|_| rollout_details),
        logprobs: choice.logprobs.as_ref().filter(|_| rollout_details).and_then(read_logprobs),
    })
}

/// A message's text: a string, or the text parts of a list.
fn text_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<String>()
        }
        _ => String::new(),
    }
}

fn read_usage(usage: &Value) -> Option<Usage> {
    let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
    Some(Usage {
        prompt: count("/prompt_tokens")?,
        completion: count("/completion_tokens").unwrap_or(0),
        cached: count("/prompt_tokens_details/cached_tokens").unwrap_or(0),
        cost: usage.get("cost").and_then(Value::as_f64),
    })
}

fn read_logprobs(logprobs: &Value) -> Option<Vec<f64>> {
    logprobs.get("content")?.as_array()?.iter().map(|token| token.get("logprob")?.as_f64()).collect()
}

/// An answer with another status than 200.
fn refused(status: u16, bytes: &[u8]) -> CallError {
    let body: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let error = body.get("error").unwrap_or(&body);
    let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let (code, kind) = (word("code"), word("type"));
    let message = match error.as_str().unwrap_or_else(|| word("message")) {
        "" => excerpt(bytes),
        message => message.to_owned(),
    };
    let said = format!("HTTP {status}: {message}");
    let is = |name: &str| code == name || kind == name;
    if is(trajgen_proxy::TRIAL_LIMIT) {
        return failed(ErrorType::TrialLimitError, said);
    }
    if is(trajgen_proxy::CAPTURE_ERROR) {
        return failed(ErrorType::CaptureError, said);
    }
    if is("insufficient_quota") || status == 402 {
        return failed(ErrorType::ApiUsageLimitError, said);
    }
    if is("context_length_exceeded")
        || is("exceed_context_size_error")
        || status == 413
        || names_context(&message)
    {
        return CallError::ContextLength(said);
    }
    if is("content_filter") || is("content_policy_violation") {
        return failed(ErrorType::AgentSafetyRefusalError, said);
    }
    let kind = match status {
        401 | 403 => ErrorType::AgentAuthenticationError,
        404 => ErrorType::ModelNotFoundError,
        _ if is("model_not_found") => ErrorType::ModelNotFoundError,
        408 | 429 | 500.. => ErrorType::ModelUnavailableError,
        _ => ErrorType::AgentError,
    };
    failed(kind, said)
}

/// Whether an error's message says that the conversation is too long, in the words of the servers
/// that give no code for it.
fn names_context(message: &str) -> bool {
    const SAYINGS: [&str; 11] = [
        "maximum context length",
        "context length exceeded",
        "context_length_exceeded",
        "exceeds the context window",
        "exceeds the available context size",
        "exceeds the model's context",
        "longer than the model's context length",
        "longer than the maximum model length",
        "prompt is too long",
        "input is too long",
        "exceeds the maximum number of tokens",
    ];
    let message = message.to_ascii_lowercase();
    SAYINGS.iter().any(|saying| message.contains(saying))
}

/// The beginning of an answer, for messages.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let short: String = text.trim().chars().take(300).collect();
    if short.is_empty() { "(empty)".to_owned() } else { short }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
