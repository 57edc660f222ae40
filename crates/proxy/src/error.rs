//! What agents are told when something goes wrong, in the shape of the protocol they speak.

use crate::redact::Redactor;
use crate::trial::Refusal;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::time::Duration;
use trajgen_contract::record::WireProtocol;
use trajgen_upstream::Failure;

/// The longest error text an agent is told, bytes.
const MAX_MESSAGE: usize = 16 << 10;

/// The error code of a call that could not be recorded; the trial ends as `CaptureError`.
pub const CAPTURE_ERROR: &str = "capture_error";
/// The error code of a call that was refused because its trial's limit is reached.
pub const TRIAL_LIMIT: &str = "trial_limit";

/// An error for an agent.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// A word for programs: `trial_limit`, `invalid_api_key`, …
    pub(crate) code: Option<&'static str>,
    /// The upstream's own error object.
    body: Option<Box<Value>>,
    retry_after: Option<Duration>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: None, body: None, retry_after: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "the API key is unknown or has expired";
        Self { code: Some("invalid_api_key"), ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// A call that cannot be recorded has not happened.
    pub(crate) fn capture(message: &str) -> Self {
        let message = format!("the call could not be recorded: {message}");
        Self { code: Some(CAPTURE_ERROR), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, message) }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Closed => Self::unauthorized(),
            Refusal::Limit(which) => {
                let message = format!("the trial's limit is reached ({which})");
                Self { code: Some(TRIAL_LIMIT), ..Self::new(StatusCode::TOO_MANY_REQUESTS, message) }
            }
            Refusal::Capture(message) => Self::capture(&message),
        }
    }

    /// A call that failed upstream.
    pub(crate) fn upstream(failure: &Failure, redactor: &Redactor) -> Self {
        let status = StatusCode::from_u16(failure.status_for_caller()).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut body = failure.body.clone();
        if let Some(body) = &mut body {
            redactor.clean_failure(body);
        }
        let message = redactor.failure(&failure.message, MAX_MESSAGE);
        Self { body, retry_after: failure.retry_after, ..Self::new(status, message) }
    }

    /// The error object.
    pub(crate) fn to_json(&self, protocol: WireProtocol) -> Value {
        match protocol {
            WireProtocol::OpenAi | WireProtocol::Responses => {
                let mut error =
                    json!({"message": self.message, "type": self.kind(), "param": null, "code": self.code});
                if let Some(Value::Object(body)) = self.body.as_deref() {
                    for (key, value) in body.iter().filter(|(key, _)| *key != "message") {
                        error[key] = value.clone();
                    }
                }
                json!({"error": error})
            }
            WireProtocol::Anthropic => {
                json!({"type": "error", "error": {"type": self.kind(), "message": self.message}})
            }
        }
    }

    /// The error as a response.
    pub(crate) fn response(&self, protocol: WireProtocol) -> Response<Body> {
        let mut response = Response::new(Body::from(self.to_json(protocol).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // All trying again is done here; clients that know this header do not repeat it.
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil() as u64));
        }
        response
    }

    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            501 => "not_supported_error",
            529 => "overloaded_error",
            400..=499 => "invalid_request_error",
            _ => "api_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trajgen_upstream::FailureKind;

    #[test]
    fn an_upstreams_error_keeps_its_code_and_loses_its_keys() {
        let redactor = Redactor::new(["upstream-key-0123456789".to_owned()]);
        let failure = Failure {
            body: Some(Box::new(
                json!({"message": "m upstream-key-0123456789", "type": "t", "code": "context_length_exceeded", "hint": "upstream-key-0123456789"}),
            )),
            ..Failure::new(FailureKind::Status(400), "m upstream-key-0123456789")
        };
        let error = ApiError::upstream(&failure, &redactor);
        assert_eq!(
            error.to_json(WireProtocol::OpenAi),
            json!({"error": {"message": "m [REDACTED]", "type": "t", "param": null, "code": "context_length_exceeded", "hint": "[REDACTED]"}})
        );
    }

    #[test]
    fn each_protocol_has_its_shape() {
        let error = ApiError::refused(Refusal::Limit("max_calls: 3 calls were made".to_owned()));
        assert_eq!(error.to_json(WireProtocol::OpenAi)["error"]["code"], "trial_limit");
        let anthropic = error.to_json(WireProtocol::Anthropic);
        assert_eq!(
            (&anthropic["type"], &anthropic["error"]["type"]),
            (&json!("error"), &json!("rate_limit_error"))
        );
    }
}
