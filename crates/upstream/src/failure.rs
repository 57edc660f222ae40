//! What can go wrong with a call, and what it means for the trial.

use serde_json::Value;
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_contract::record::{UpstreamTry, Usage};

/// A call that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What happened, for people.
    pub message: String,
    /// The upstream's own `error` object, when it sent one.
    pub body: Option<Box<Value>>,
    /// How long the upstream asked to wait.
    pub retry_after: Option<Duration>,
    /// Tokens that the upstream reported although it gave no answer: they are paid for.
    pub usage: Option<Box<Usage>>,
    /// The tries before the one that failed last.
    pub tries: Vec<UpstreamTry>,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection was lost before the answer was whole.
    Dropped,
    /// An error status.
    Status(u16),
    /// An answer that is none of the protocol's. What made it was paid for all the same: it is not
    /// asked for again.
    Garbage,
    /// A body that is no JSON object at all: a gateway's page, nothing of a model's.
    NoAnswer,
    /// The request can not be sent as it is, or a script has no answer to it.
    Request,
}

impl Failure {
    /// A failure without an error object of the upstream's own.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), body: None, retry_after: None, usage: None, tries: Vec::new() }
    }

    /// The upstream's HTTP status, when there was one.
    #[must_use]
    pub fn status_code(&self) -> Option<u16> {
        match self.kind {
            FailureKind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// The `code` of the upstream's error object, or its `type`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        let body = self.body.as_ref()?;
        let text = |key: &str| body.get(key).and_then(Value::as_str);
        text("code").or_else(|| text("type"))
    }

    /// True when no credit is left, which no waiting mends.
    #[must_use]
    pub fn is_quota(&self) -> bool {
        let named = |key: &str| {
            self.body.as_ref().and_then(|b| b.get(key)).and_then(Value::as_str) == Some("insufficient_quota")
        };
        self.kind == FailureKind::Status(402)
            || (self.kind == FailureKind::Status(429) && (named("code") || named("type")))
    }

    /// Whether another try may go better.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            FailureKind::Connect | FailureKind::Timeout | FailureKind::Dropped | FailureKind::NoAnswer => {
                true
            }
            FailureKind::Status(408 | 409 | 429) => !self.is_quota(),
            FailureKind::Status(status) => status >= 500,
            FailureKind::Request | FailureKind::Garbage => false,
        }
    }

    /// The name written to records.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self.kind {
            FailureKind::Connect | FailureKind::Dropped => "APIConnectionError",
            FailureKind::Timeout | FailureKind::Status(408) => "Timeout",
            FailureKind::Garbage | FailureKind::NoAnswer => "APIResponseValidationError",
            FailureKind::Request | FailureKind::Status(400 | 422) => {
                if self.is_context_length() {
                    "ContextWindowExceededError"
                } else {
                    "BadRequestError"
                }
            }
            FailureKind::Status(401) => "AuthenticationError",
            FailureKind::Status(402) => "BudgetExceededError",
            FailureKind::Status(403) => "PermissionDeniedError",
            FailureKind::Status(404) => "NotFoundError",
            FailureKind::Status(413) => "RequestTooLargeError",
            FailureKind::Status(429) => "RateLimitError",
            FailureKind::Status(503) => "ServiceUnavailableError",
            FailureKind::Status(500..) => "InternalServerError",
            FailureKind::Status(_) => "APIError",
        }
    }

    /// True when the request was longer than the model's context.
    #[must_use]
    pub fn is_context_length(&self) -> bool {
        if self.code() == Some("context_length_exceeded") {
            return true;
        }
        let message = self.message.to_ascii_lowercase();
        ["context length", "context window", "context size", "maximum context", "prompt is too long"]
            .iter()
            .any(|phrase| message.contains(phrase))
    }

    /// The ending this failure means for a trial that dies of it; none for an error of the agent's own
    /// request.
    #[must_use]
    pub fn ending(&self) -> Option<ErrorType> {
        match self.kind {
            FailureKind::Connect
            | FailureKind::Timeout
            | FailureKind::Dropped
            | FailureKind::NoAnswer
            | FailureKind::Garbage => Some(ErrorType::ModelUnavailableError),
            FailureKind::Status(_) if self.is_quota() => Some(ErrorType::ApiUsageLimitError),
            FailureKind::Status(401 | 403) => Some(ErrorType::AgentAuthenticationError),
            FailureKind::Status(404) => Some(ErrorType::ModelNotFoundError),
            FailureKind::Status(_) if self.code() == Some("model_not_found") => {
                Some(ErrorType::ModelNotFoundError)
            }
            FailureKind::Status(408 | 409 | 429 | 500..) => Some(ErrorType::ModelUnavailableError),
            FailureKind::Status(_) | FailureKind::Request => None,
        }
    }

    /// The HTTP status the caller is told.
    #[must_use]
    pub fn status_for_caller(&self) -> u16 {
        match self.kind {
            FailureKind::Connect | FailureKind::Dropped | FailureKind::NoAnswer | FailureKind::Garbage => 502,
            FailureKind::Timeout => 504,
            FailureKind::Request => 400,
            FailureKind::Status(status @ 400..600) => status,
            FailureKind::Status(_) => 502,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(code: u16, body: Value) -> Failure {
        Failure { body: Some(Box::new(body)), ..Failure::new(FailureKind::Status(code), "x") }
    }

    #[test]
    fn endings_and_retries() {
        let cases = [
            (Failure::new(FailureKind::Connect, ""), true, Some(ErrorType::ModelUnavailableError)),
            (Failure::new(FailureKind::Timeout, ""), true, Some(ErrorType::ModelUnavailableError)),
            (Failure::new(FailureKind::NoAnswer, ""), true, Some(ErrorType::ModelUnavailableError)),
            (Failure::new(FailureKind::Garbage, ""), false, Some(ErrorType::ModelUnavailableError)),
            (status(500, json!({})), true, Some(ErrorType::ModelUnavailableError)),
            (status(408, json!({})), true, Some(ErrorType::ModelUnavailableError)),
            (status(429, json!({})), true, Some(ErrorType::ModelUnavailableError)),
            (status(429, json!({"type": "insufficient_quota"})), false, Some(ErrorType::ApiUsageLimitError)),
            (status(402, json!({})), false, Some(ErrorType::ApiUsageLimitError)),
            (status(401, json!({})), false, Some(ErrorType::AgentAuthenticationError)),
            (status(403, json!({})), false, Some(ErrorType::AgentAuthenticationError)),
            (status(404, json!({})), false, Some(ErrorType::ModelNotFoundError)),
            (status(400, json!({"code": "model_not_found"})), false, Some(ErrorType::ModelNotFoundError)),
            (status(400, json!({})), false, None),
        ];
        for (failure, retryable, ending) in cases {
            assert_eq!((failure.is_retryable(), failure.ending()), (retryable, ending), "{failure:?}");
        }
    }

    #[test]
    fn a_request_that_is_too_long_is_named_so() {
        let by_code = status(400, json!({"code": "context_length_exceeded"}));
        let by_text =
            Failure::new(FailureKind::Status(400), "the request exceeds the available context size");
        assert_eq!(by_code.error_type(), "ContextWindowExceededError");
        assert_eq!(by_text.error_type(), "ContextWindowExceededError");
    }
}
