//! A model behind HTTP, speaking OpenAI Chat Completions.

use crate::call::{AnswerBody, Call, Event, EventKind, EventStream, Upstream, UpstreamInfo};
use crate::chat::{Accumulator, ChatChunk, Completion, pieces};
use crate::client::{Client, Patience, Transport};
use crate::connect::{ConnectError, UpstreamConfig};
use crate::failure::{Failure, FailureKind};
use crate::sse::{RawEvent, SseReader};
use crate::usage::read_usage;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use trajgen_contract::config::SecretUrl;
use trajgen_contract::record::WireProtocol;
use trajgen_contract::redact::{Secrets, redact_text};

/// How much of an error body is read and kept, bytes.
const MAX_ERROR: usize = 64 << 10;
/// The longest whole answer that is taken, bytes.
const MAX_ANSWER: usize = 256 << 20;

/// One deployment behind HTTP.
struct Http {
    client: reqwest::Client,
    chat: reqwest::Url,
    models: reqwest::Url,
    authorization: Option<HeaderValue>,
    /// The key and what the address's query holds: some servers repeat them in what they complain of.
    secrets: Arc<Secrets>,
}

/// An upstream at `http(s)://`.
pub(crate) fn connect(config: &UpstreamConfig) -> Result<Arc<dyn Upstream>, ConnectError> {
    let address = |problem: String| ConnectError::Address { url: config.shown_url(), problem };
    let base = reqwest::Url::parse(&config.api_base_url).map_err(|error| address(error.to_string()))?;
    if !base.username().is_empty() || base.password().is_some() {
        return Err(address("a user or password in the address; put the key in api_key".to_owned()));
    }
    let under = |path: &str| {
        let mut url = base.clone();
        url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
        url
    };
    let authorization = match config.api_key.trim() {
        "" => None,
        key => {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                let problem = "holds a character that no HTTP header can carry".to_owned();
                ConnectError::Setting { key: "api_key", problem }
            })?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    let transport = Http {
        client: client(&base)?,
        chat: under("chat/completions"),
        models: under("models"),
        authorization,
        secrets: Arc::new(Secrets::in_failures(
            SecretUrl::new(&config.api_base_url)
                .query_values()
                .chain([config.api_key.trim()])
                .map(str::to_owned),
        )),
    };
    let info = UpstreamInfo {
        model: config.model.strip_prefix("openai/").unwrap_or(&config.model).to_owned(),
        api_base: config.shown_url(),
        protocol: WireProtocol::OpenAi,
        prices: config.prices,
        drop_params: config.drop_params.clone(),
    };
    let patience = Patience {
        max_retries: config.max_retries,
        timeout: config.request_timeout,
        first_wait: Duration::from_millis(500),
    };
    Ok(Arc::new(Client::new(transport, info, patience, config.max_in_flight)))
}

fn client(base: &reqwest::Url) -> Result<reqwest::Client, ConnectError> {
    // A second installation fails, and the first one is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("trajgen/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry the key, and the conversation, to somewhere nobody configured.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(30))
        .tcp_nodelay(true)
        .pool_max_idle_per_host(256);
    if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| ConnectError::Setting { key: "api_base_url", problem: error.to_string() })
}

/// `failure` without any of `secrets`.
fn cleaned(mut failure: Failure, secrets: &Secrets) -> Failure {
    failure.message = redact_text(&secrets.redact(&failure.message)).into_owned();
    if let Some(body) = &mut failure.body {
        secrets.redact_value(body);
    }
    failure
}

#[async_trait]
impl Transport for Http {
    async fn attempt(&self, call: &Call) -> Result<AnswerBody, Failure> {
        match self.send(call).await.map_err(|failure| cleaned(failure, &self.secrets))? {
            AnswerBody::Events(events) => {
                let secrets = Arc::clone(&self.secrets);
                let events =
                    events.map(move |event| event.map_err(|failure| cleaned(failure, &secrets))).boxed();
                Ok(AnswerBody::Events(events))
            }
            whole @ AnswerBody::Whole(..) => Ok(whole),
        }
    }

    async fn check(&self) -> Result<(), Failure> {
        self.ask_for_models().await.map_err(|failure| cleaned(failure, &self.secrets))
    }
}

impl Http {
    async fn send(&self, call: &Call) -> Result<AnswerBody, Failure> {
        let mut request = self
            .client
            .post(self.chat.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(call.body.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(|error| of_transport(&error, FailureKind::Connect))?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        if is_stream {
            let events = events(response);
            return if call.stream { Ok(AnswerBody::Events(events)) } else { gather(events).await };
        }
        let (bytes, completion) = whole(response).await?;
        if call.stream {
            Ok(AnswerBody::Events(as_events(&completion)))
        } else {
            Ok(AnswerBody::Whole(bytes, Box::new(completion)))
        }
    }

    async fn ask_for_models(&self) -> Result<(), Failure> {
        let mut request = self.client.get(self.models.clone()).timeout(Duration::from_secs(10));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(|error| of_transport(&error, FailureKind::Connect))?;
        match response.status().as_u16() {
            // Not every server lists its models; that it answers is what matters.
            200..300 | 404 | 405 => Ok(()),
            _ => Err(refused(response).await),
        }
    }
}

/// What a transport error means, in words without the address's query.
fn of_transport(error: &reqwest::Error, otherwise: FailureKind) -> Failure {
    let kind = if error.is_timeout() { FailureKind::Timeout } else { otherwise };
    let mut message = match kind {
        FailureKind::Connect => "cannot reach the model".to_owned(),
        FailureKind::Timeout => "the model did not answer in time".to_owned(),
        _ => "the connection to the model was lost".to_owned(),
    };
    // The innermost cause is the one that says something.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    message.push_str(": ");
    message.push_str(&cause.to_string());
    Failure::new(kind, message)
}

/// An error status, with what the upstream said about it.
async fn refused(response: reqwest::Response) -> Failure {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| wait_asked(value, std::time::SystemTime::now()));
    let location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
    let body = bounded(response).await;
    let mut failure = said(FailureKind::Status(status.as_u16()), &body);
    failure.retry_after = retry_after;
    if status.is_redirection() {
        failure.message = format!(
            "the model's address redirects ({status}) to {}, which is not followed; set llm_api.api_base_url to it",
            location.map_or_else(|| "an unnamed place".to_owned(), |to| SecretUrl::new(to).to_string())
        );
    }
    failure
}

/// The beginning of an error body; what cannot be read of it is not missed.
async fn bounded(response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        let room = MAX_ERROR - body.len();
        body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if body.len() == MAX_ERROR {
            break;
        }
    }
    body
}

/// A failure from an error body in the protocol's shape, or in any other.
pub(crate) fn said(kind: FailureKind, body: &[u8]) -> Failure {
    let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(&value);
    let text = error
        .get("message")
        .or_else(|| error.get("detail"))
        .and_then(Value::as_str)
        .or_else(|| error.as_str())
        .map(str::to_owned);
    let message = text.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        match text.trim() {
            "" => "the model gave no reason".to_owned(),
            text => text.chars().take(2000).collect(),
        }
    });
    let usage = value.get("usage").and_then(read_usage).map(Box::new);
    let body = error.is_object().then(|| Box::new(error.clone()));
    Failure { body, usage, ..Failure::new(kind, message) }
}

/// `Retry-After`: seconds, or a date.
fn wait_asked(value: &str, now: std::time::SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// A whole answer that is one.
async fn whole(response: reqwest::Response) -> Result<(Bytes, Completion), Failure> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(|error| of_transport(&error, FailureKind::Dropped))?);
        if body.len() > MAX_ANSWER {
            let message = format!("the model's answer is longer than {MAX_ANSWER} bytes");
            return Err(Failure::new(FailureKind::Garbage, message));
        }
    }
    let body = Bytes::from(body);
    let completion = understood(&body)?;
    Ok((body, completion))
}

/// Reads an answer; some servers report errors with status 200.
pub(crate) fn understood(body: &[u8]) -> Result<Completion, Failure> {
    Completion::parse(body).map_err(|error| {
        let is_error = serde_json::from_slice::<Value>(body)
            .is_ok_and(|value| value.get("error").is_some_and(|error| !error.is_null()));
        if is_error {
            return in_answer(said(FailureKind::Status(500), body));
        }
        let start: String = String::from_utf8_lossy(body).chars().take(200).collect();
        let message = format!("the model's answer is no chat completion ({error}): {start}");
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let kind = if is_object { FailureKind::Garbage } else { FailureKind::NoAnswer };
        let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
        Failure {
            usage: value.get("usage").and_then(read_usage).map(Box::new),
            ..Failure::new(kind, message)
        }
    })
}

/// An error inside an answer brings its status, if at all, as `code`.
fn in_answer(mut failure: Failure) -> Failure {
    let code = failure.body.as_ref().and_then(|body| {
        let code = body.get("code").or_else(|| body.get("status"))?;
        code.as_u64().or_else(|| code.as_str()?.parse().ok())
    });
    if let Some(status) = code.and_then(|code| u16::try_from(code).ok()).filter(|s| (400..600).contains(s)) {
        failure.kind = FailureKind::Status(status);
    }
    failure
}

/// The events of a streamed answer, to its end or to one failure.
fn events(response: reqwest::Response) -> EventStream {
    read_events(
        response
            .bytes_stream()
            .map(|piece| piece.map_err(|error| of_transport(&error, FailureKind::Dropped)))
            .boxed(),
    )
}

/// Cuts bytes into events and understands them. A stream that ends before the model said why it
/// stopped was cut off.
pub(crate) fn read_events(bytes: futures::stream::BoxStream<'static, Result<Bytes, Failure>>) -> EventStream {
    struct Reading {
        bytes: futures::stream::BoxStream<'static, Result<Bytes, Failure>>,
        reader: SseReader,
        gathered: Ended,
        is_over: bool,
    }
    let reading = Reading { bytes, reader: SseReader::default(), gathered: Ended::default(), is_over: false };
    futures::stream::unfold(reading, |mut reading| async move {
        loop {
            if reading.is_over {
                return None;
            }
            if let Some(raw) = reading.reader.next_event() {
                let event = event_of(raw);
                reading.is_over = reading.gathered.see(event.as_ref());
                return Some((event, reading));
            }
            let failure = match reading.bytes.next().await {
                Some(Ok(piece)) => match reading.reader.push(&piece) {
                    Ok(()) => continue,
                    Err(error) => Failure::new(FailureKind::Garbage, error.to_string()),
                },
                Some(Err(failure)) => failure,
                None => match reading.reader.finish() {
                    Some(raw) => {
                        let event = event_of(raw);
                        reading.gathered.see(event.as_ref());
                        return Some((event, reading));
                    }
                    None if reading.gathered.is_whole() => return None,
                    None => Failure::new(FailureKind::Dropped, "the model's answer broke off"),
                },
            };
            // What lacks only its `[DONE]` is whole.
            if reading.gathered.is_whole() {
                return None;
            }
            reading.is_over = true;
            return Some((Err(failure), reading));
        }
    })
    .boxed()
}

/// Which of the answers in a stream have ended.
#[derive(Default)]
struct Ended {
    begun: Vec<u64>,
    ended: Vec<u64>,
}

impl Ended {
    /// Takes note; true when nothing comes after this.
    fn see(&mut self, event: Result<&Event, &Failure>) -> bool {
        match event {
            Err(_) | Ok(Event { kind: EventKind::Done, .. }) => return true,
            Ok(Event { kind: EventKind::Silent, .. }) => {}
            Ok(Event { kind: EventKind::Chunk(chunk), .. }) => {
                for choice in &chunk.choices {
                    if !self.begun.contains(&choice.index) {
                        self.begun.push(choice.index);
                    }
                    if choice.finish_reason.is_some() && !self.ended.contains(&choice.index) {
                        self.ended.push(choice.index);
                    }
                }
            }
        }
        false
    }

    fn is_whole(&self) -> bool {
        !self.begun.is_empty() && self.begun.len() == self.ended.len()
    }
}

/// What an event says.
fn event_of(RawEvent { raw, data }: RawEvent) -> Result<Event, Failure> {
    let Some(data) = data.filter(|data| !data.is_empty()) else {
        return Ok(Event { raw, kind: EventKind::Silent });
    };
    if data.as_ref() == b"[DONE]" {
        return Ok(Event { raw, kind: EventKind::Done });
    }
    match crate::json::read::<ChatChunk>(&data) {
        Ok(chunk) if chunk.error.as_ref().is_some_and(|error| !error.is_null()) => {
            Err(in_answer(said(FailureKind::Status(500), &data)))
        }
        Ok(chunk) => Ok(Event { raw, kind: EventKind::Chunk(Box::new(chunk)) }),
        Err(error) => {
            let start: String = String::from_utf8_lossy(&data).chars().take(200).collect();
            let message = format!("the model's stream holds what is no chunk ({error}): {start}");
            Err(Failure::new(FailureKind::Garbage, message))
        }
    }
}

/// A stream nobody asked for, as the whole answer.
async fn gather(mut events: EventStream) -> Result<AnswerBody, Failure> {
    let mut gathered = Accumulator::default();
    while let Some(event) = events.next().await {
        if let EventKind::Chunk(chunk) = event?.kind {
            gathered.add(&chunk);
        }
    }
    let completion = gathered.finish();
    let bytes = serde_json::to_vec(&completion)
        .map_err(|error| Failure::new(FailureKind::Garbage, error.to_string()))?;
    Ok(AnswerBody::Whole(bytes.into(), Box::new(completion)))
}

/// A whole answer as the stream that was asked for.
pub(crate) fn as_events(completion: &Completion) -> EventStream {
    let pieces = pieces(completion, true);
    let events = pieces.into_iter().map(|piece| event_from(&piece.chunk)).collect::<Vec<_>>();
    futures::stream::iter(events.into_iter().chain([Ok(done())])).boxed()
}

/// `chunk` as an event.
pub(crate) fn event_from(chunk: &Value) -> Result<Event, Failure> {
    let raw = Bytes::from(format!("data: {chunk}\n\n"));
    let data = raw.slice(6..raw.len() - 2);
    event_of(RawEvent { raw, data: Some(data) })
}

/// `[DONE]` as an event.
pub(crate) fn done() -> Event {
    Event { raw: Bytes::from_static(b"data: [DONE]\n\n"), kind: EventKind::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_in_seconds_and_as_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        let cases = [
            ("7", Some(Duration::from_secs(7))),
            ("0.5", Some(Duration::from_millis(500))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(Duration::from_secs(37))),
            ("Sun, 06 Nov 1994 08:48:00 GMT", Some(Duration::ZERO)),
            ("soon", None),
            ("-3", None),
        ];
        for (value, wait) in cases {
            assert_eq!(wait_asked(value, now), wait, "{value}");
        }
    }

    #[test]
    fn errors_are_read_in_all_their_shapes() {
        let cases = [
            (r#"{"error":{"message":"m","code":"c"}}"#, "m"),
            (r#"{"error":"m"}"#, "m"),
            (r#"{"detail":"m"}"#, "m"),
            ("<html>", "<html>"),
            ("", "the model gave no reason"),
        ];
        for (body, message) in cases {
            assert_eq!(said(FailureKind::Status(500), body.as_bytes()).message, message, "{body}");
        }
    }

    #[test]
    fn an_error_with_status_200_is_one() {
        let failure = understood(br#"{"error":{"message":"slow down","code":429}}"#).unwrap_err();
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Status(429), "slow down"));
        assert_eq!(understood(b"hello").unwrap_err().kind, FailureKind::NoAnswer);
        let garbage = understood(br#"{"choices":"x","usage":{"prompt_tokens":7,"completion_tokens":2}}"#);
        let garbage = garbage.unwrap_err();
        assert_eq!((garbage.kind, garbage.usage.unwrap().prompt_tokens), (FailureKind::Garbage, 7));
    }

    async fn kinds(pieces: &[&'static str]) -> Vec<String> {
        let bytes: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        read_events(futures::stream::iter(bytes).boxed())
            .map(|event| match event {
                Ok(Event { kind: EventKind::Chunk(chunk), .. }) => {
                    chunk.choices.iter().map(|c| c.delta.content.clone().unwrap_or_default()).collect()
                }
                Ok(event) => format!("{:?}", event.kind),
                Err(failure) => format!("{:?}", failure.kind),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn a_character_cut_in_two_comes_out_whole() {
        let text = "data: {\"choices\":[{\"delta\":{\"content\":\"é🦀\"}}]}\n\ndata: [DONE]\n\n";
        for cut in 0..text.len() {
            let (a, b) = text.as_bytes().split_at(cut);
            let bytes = [Ok(Bytes::copy_from_slice(a)), Ok(Bytes::copy_from_slice(b))];
            let events: Vec<_> = read_events(futures::stream::iter(bytes).boxed()).collect().await;
            let Ok(Event { kind: EventKind::Chunk(chunk), .. }) = &events[0] else { panic!("{events:?}") };
            assert_eq!(chunk.choices[0].delta.content.as_deref(), Some("é🦀"));
            assert_eq!(events.len(), 2);
        }
    }

    #[tokio::test]
    async fn an_end_without_done_is_whole_only_after_a_finish_reason() {
        let cut = kinds(&["data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"]).await;
        assert_eq!(cut, ["a", "Dropped"]);
        let whole =
            kinds(&["data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}"])
                .await;
        assert_eq!(whole, ["a"]);
        let error =
            kinds(&["data: {\"error\":{\"message\":\"x\",\"code\":\"503\"}}\n\ndata: [DONE]\n\n"]).await;
        assert_eq!(error, ["Status(503)"]);
        let garbage = kinds(&[": hi\n\ndata: {\"cho\n\n"]).await;
        assert_eq!(garbage, ["Silent", "Garbage"]);
    }
}
