//! One line of `litellm-trajectory.jsonl`: one model call, in OpenAI Chat Completions shape, whatever
//! protocol the agent spoke.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::BufRead;
use std::path::Path;

use crate::files::FileError;

/// The record version this crate writes.
pub const RECORD_VERSION: u32 = 1;

/// The `session_id` of a call that came without a route.
pub const DEFAULT_SESSION: &str = "default";

/// What an agent spoke to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireProtocol {
    /// OpenAI Chat Completions.
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses.
    Responses,
}

/// One model call.
///
/// `Body` is the shape of `request_body` and `response_body`: [`Value`] for readers; writers may give
/// anything that serialises to the same, such as text that is spliced in unparsed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "Body: Deserialize<'de> + Default"))]
pub struct Record<Body = Value> {
    /// `x-instance-id` if the agent sent one, else the rollout's task id, else [`DEFAULT_SESSION`].
    #[serde(default = "default_session")]
    pub session_id: String,
    /// Whether the upstream's answer arrived whole. Missing in older logs: true.
    #[serde(default = "yes")]
    pub success: bool,
    /// Completion, Unix milliseconds. Readers sort by it.
    #[serde(default)]
    pub request_time: i64,
    /// Completion, ISO 8601 with offset (older logs: naive local time).
    #[serde(default)]
    pub timestamp: String,
    /// Wall time of the call, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Time until the first piece of a streamed answer, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<u64>,
    /// What was asked: `messages`, `tools`, `model`, and the parameters in effect.
    #[serde(default)]
    pub request_body: Body,
    /// What was answered: a `chat.completion`, or `error{type,message}` with what had arrived.
    #[serde(default)]
    pub response_body: Body,
    /// Tokens and cost; absent when the upstream reported none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The earlier tries of this call, when there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream_tries: Vec<UpstreamTry>,
    /// The agent hung up before the answer was whole.
    #[serde(default, skip_serializing_if = "is_false")]
    pub client_disconnected: bool,
    /// What was dropped or repaired in translation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Token ids and log-probabilities, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Value>,
    /// Why the call failed; present exactly when `success` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<CallFailure>,
    /// `<job>/<trial>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trajectory_route: Option<String>,
    /// What the agent spoke. Missing in older logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire_protocol: Option<WireProtocol>,
    /// [`RECORD_VERSION`]; missing in older logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_version: Option<u32>,
}

/// Tokens of one call, and what they cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// All input tokens, cached ones included.
    #[serde(default, deserialize_with = "null_is_default")]
    pub prompt_tokens: u64,
    /// Output tokens, reasoning included.
    #[serde(default, deserialize_with = "null_is_default")]
    pub completion_tokens: u64,
    /// Both together, as the upstream counts.
    #[serde(default, deserialize_with = "null_is_default")]
    pub total_tokens: u64,
    /// `cached_tokens` and whatever else the upstream tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<Map<String, Value>>,
    /// `reasoning_tokens` and whatever else the upstream tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens_details: Option<Map<String, Value>>,
    /// USD; null when unknown.
    #[serde(default)]
    pub cost: Option<f64>,
}

impl Usage {
    /// Input tokens that came from the upstream's prompt cache.
    #[must_use]
    pub fn cached_tokens(&self) -> u64 {
        count(self.prompt_tokens_details.as_ref(), "cached_tokens")
    }

    /// Output tokens spent on reasoning.
    #[must_use]
    pub fn reasoning_tokens(&self) -> u64 {
        count(self.completion_tokens_details.as_ref(), "reasoning_tokens")
    }
}

fn count(details: Option<&Map<String, Value>>, name: &str) -> u64 {
    details.and_then(|d| d.get(name)).and_then(Value::as_u64).unwrap_or(0)
}

/// An earlier try of a call that was tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpstreamTry {
    /// Which deployment was asked: `<model>@<api base>`.
    pub deployment: String,
    /// Its HTTP status; absent when there was no answer.
    pub status_code: Option<u16>,
    /// `RateLimitError`, `Timeout`, …
    pub error_type: String,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
    /// Tokens that it reported all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Why a call failed, bounded in size and free of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailure {
    /// `RateLimitError`, `Timeout`, `ClientDisconnected`, …
    pub error_type: String,
    /// The upstream's HTTP status; null when there was none.
    #[serde(default)]
    pub status_code: Option<u16>,
    /// What was said.
    pub message: String,
    /// Who was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
}

/// Which upstream answered, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The name sent to it.
    pub model: String,
    /// Its address.
    pub api_base: String,
}

fn default_session() -> String {
    DEFAULT_SESSION.to_owned()
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn null_is_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.unwrap_or_default())
}

/// A line that could not be read as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine {
    /// From 1.
    pub line: usize,
    /// Why, for a warning.
    pub reason: String,
}

/// A trajectory log as it was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrajectoryLog {
    /// The calls, sorted by `request_time`; calls of the same moment keep the file's order.
    pub records: Vec<Record>,
    /// Lines that are no records: a torn last line after a crash, or damage.
    pub skipped: Vec<SkippedLine>,
}

/// A trajectory log that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line written by a newer trajgen.
    #[error(
        "{path}:{line}: record_version {found} is newer than this trajgen reads ({RECORD_VERSION}); use the trajgen that wrote it, or a later one"
    )]
    Newer {
        /// The log.
        path: String,
        /// From 1.
        line: usize,
        /// The version found.
        found: u32,
    },
}

/// Reads a trajectory log, ours or one of a LiteLLM-based pipeline.
///
/// # Errors
/// When the file cannot be read, or holds a record of a newer version. Lines that are no records are
/// no error: they come back in [`TrajectoryLog::skipped`].
pub fn read_log(path: &Path) -> Result<TrajectoryLog, RecordError> {
    let file = std::fs::File::open(path).map_err(FileError::at("read", path))?;
    let mut reader = std::io::BufReader::with_capacity(1 << 16, file);
    let mut log = TrajectoryLog::default();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(FileError::at("read", path))? == 0 {
            break;
        }
        number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Record>(&line) {
            Ok(record) => match record.record_version {
                Some(found) if found > RECORD_VERSION => {
                    return Err(RecordError::Newer { path: path.display().to_string(), line: number, found });
                }
                _ => log.records.push(record),
            },
            Err(error) => {
                let torn = line.last() != Some(&b'\n');
                let reason =
                    if torn { "a torn last line".to_owned() } else { format!("not a record: {error}") };
                log.skipped.push(SkippedLine { line: number, reason });
            }
        }
    }
    log.records.sort_by_key(|record| record.request_time);
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lines: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("litellm-trajectory.jsonl");
        std::fs::write(&path, lines).unwrap();
        (dir, path)
    }

    #[test]
    fn an_older_line_without_success_is_a_success() {
        let (_dir, path) = written("{\"session_id\":\"a\",\"request_time\":5,\"request_body\":{}}\n");
        let log = read_log(&path).unwrap();
        assert!(log.records[0].success);
        assert_eq!(log.records[0].record_version, None);
        assert_eq!(log.skipped, []);
    }

    #[test]
    fn records_are_sorted_and_a_torn_line_is_skipped() {
        let (_dir, path) = written("{\"request_time\":5}\n{\"request_time\":3}\n\n{\"request_ti");
        let log = read_log(&path).unwrap();
        let times: Vec<_> = log.records.iter().map(|r| r.request_time).collect();
        assert_eq!(times, [3, 5]);
        assert_eq!(log.skipped, [SkippedLine { line: 4, reason: "a torn last line".to_owned() }]);
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let (_dir, path) = written("{\"record_version\":2}\n");
        let message = read_log(&path).unwrap_err().to_string();
        assert!(message.contains(":1: record_version 2 is newer"), "{message}");
    }

    #[test]
    fn what_is_absent_is_not_written() {
        let record: Record = serde_json::from_str("{}").unwrap();
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            text,
            "{\"session_id\":\"default\",\"success\":true,\"request_time\":0,\"timestamp\":\"\",\"request_body\":null,\"response_body\":null}"
        );
    }

    #[test]
    fn null_token_counts_read_as_zero() {
        let usage: Usage =
            serde_json::from_str("{\"prompt_tokens\":null,\"prompt_tokens_details\":{\"cached_tokens\":3}}")
                .unwrap();
        assert_eq!((usage.prompt_tokens, usage.cached_tokens(), usage.reasoning_tokens()), (0, 3, 0));
        assert_eq!(
            serde_json::to_value(&usage).unwrap(),
            serde_json::json!({"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"prompt_tokens_details":{"cached_tokens":3},"cost":null})
        );
    }
}
