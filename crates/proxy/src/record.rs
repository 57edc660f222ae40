//! From a call to its line.

use crate::redact::Redactor;
use crate::request::read_fields;
use indexmap::IndexMap;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::borrow::Cow;
use trajgen_contract::record::{
    CallFailure, Deployment, RECORD_VERSION, Record, UpstreamTry, Usage, WireProtocol,
};
use trajgen_contract::redact::redact_keys;
use trajgen_upstream::chat::Completion;

/// The longest failure text on record, bytes.
pub(crate) const MAX_FAILURE: usize = 4000;

/// Fields that say how the answer travels, not what is asked: a streamed call and one that is not leave
/// the same record.
const OF_TRANSPORT: [&str; 2] = ["stream", "stream_options"];
/// Fields that hold conversation and schemas: there no key is judged by its name.
const OF_CONTENT: [&str; 4] = ["messages", "tools", "functions", "response_format"];

/// All that is known of a call when it is over.
#[derive(Debug, Clone)]
pub(crate) struct CallRecord {
    pub(crate) session_id: String,
    pub(crate) ended: jiff::ZonedDateTime,
    pub(crate) duration_ms: u64,
    pub(crate) ttft_ms: Option<u64>,
    /// The body the upstream was sent.
    pub(crate) sent: bytes::Bytes,
    pub(crate) requested_model: Option<String>,
    /// The answer, or what had come of it.
    pub(crate) completion: Option<Completion>,
    pub(crate) usage: Option<Usage>,
    pub(crate) tries: Vec<UpstreamTry>,
    pub(crate) client_disconnected: bool,
    pub(crate) notes: Vec<String>,
    pub(crate) failure: Option<Fault>,
    pub(crate) route: Option<String>,
    pub(crate) protocol: WireProtocol,
}

/// Why a call failed.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) error_type: String,
    pub(crate) status_code: Option<u16>,
    pub(crate) message: String,
    pub(crate) deployment: Deployment,
}

impl CallRecord {
    /// The line, without newline and without any key.
    pub(crate) fn line(self, redactor: &Redactor) -> Result<Vec<u8>, serde_json::Error> {
        let failure = self.failure.map(|fault| CallFailure {
            error_type: fault.error_type,
            status_code: fault.status_code,
            message: redactor.failure(&fault.message, MAX_FAILURE),
            deployment: Some(Deployment {
                model: fault.deployment.model,
                api_base: redactor.failure(&fault.deployment.api_base, MAX_FAILURE),
            }),
        });
        let record = Record::<Box<RawValue>> {
            session_id: redactor.values(&self.session_id).into_owned(),
            success: failure.is_none(),
            request_time: self.ended.timestamp().as_millisecond(),
            timestamp: self.ended.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
            duration_ms: Some(self.duration_ms),
            ttft_ms: self.ttft_ms,
            request_body: request_body(&self.sent, self.requested_model.as_deref(), redactor)?,
            response_body: response_body(self.completion.as_ref(), failure.as_ref(), redactor)?,
            usage: self.usage,
            upstream_tries: self.tries,
            client_disconnected: self.client_disconnected,
            notes: self.notes,
            token_ids: None,
            failure,
            trajectory_route: self.route,
            wire_protocol: Some(self.protocol),
            record_version: Some(RECORD_VERSION),
        };
        serde_json::to_vec(&record)
    }
}

/// What was asked.
fn request_body(
    sent: &[u8],
    requested_model: Option<&str>,
    redactor: &Redactor,
) -> Result<Box<RawValue>, serde_json::Error> {
    // It was read before it was sent; an error here would be one of ours.
    let fields = read_fields(sent).map_err(serde::de::Error::custom)?;
    let mut asked: IndexMap<String, Cow<'_, RawValue>> = IndexMap::with_capacity(fields.len() + 1);
    for (key, raw) in fields {
        if OF_TRANSPORT.contains(&key.as_str()) || raw.get() == "null" {
            continue;
        }
        let clean = if OF_CONTENT.contains(&key.as_str()) {
            redactor.json(raw.get())
        } else {
            parameter(&key, raw.get(), redactor)
        };
        let raw = match clean {
            Cow::Borrowed(clean) if clean.len() == raw.get().len() => raw,
            clean => Cow::Owned(RawValue::from_string(clean.into_owned())?),
        };
        asked.insert(key, raw);
    }
    if let Some(model) = requested_model {
        asked.insert("requested_model".to_owned(), Cow::Owned(to_raw_value(&redactor.values(model))?));
    }
    to_raw_value(&asked)
}

/// A parameter's value; as it came when nothing in it is a credential.
fn parameter<'a>(key: &str, json: &'a str, redactor: &Redactor) -> Cow<'a, str> {
    // What is nested too deep to be looked at was still sent: it stays on record.
    let Ok(value) = trajgen_upstream::json::read::<Value>(json.as_bytes()) else {
        return redactor.json(json);
    };
    let mut named = json!({ key: value });
    let before = named.clone();
    redact_keys(&mut named);
    redactor.clean(&mut named);
    if named == before { redactor.json(json) } else { Cow::Owned(named[key].to_string()) }
}

/// What was answered.
fn response_body(
    completion: Option<&Completion>,
    failure: Option<&CallFailure>,
    redactor: &Redactor,
) -> Result<Box<RawValue>, serde_json::Error> {
    let mut answer = completion.map(serde_json::to_value).transpose()?.unwrap_or_else(|| json!({}));
    if let Some(failure) = failure {
        answer["error"] = json!({"type": failure.error_type, "message": failure.message});
    }
    redactor.clean(&mut answer);
    to_raw_value(&answer)
}
