//! A piece of a streamed answer, read tolerantly: servers differ in what they leave out.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One `chat.completion.chunk`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ChatChunk {
    /// The answer's id.
    #[serde(default, deserialize_with = "text")]
    pub id: Option<String>,
    /// Unix seconds.
    #[serde(default, deserialize_with = "whole_number")]
    pub created: i64,
    /// The model, as the upstream names it.
    #[serde(default, deserialize_with = "text")]
    pub model: Option<String>,
    /// Pieces of the answers; empty in the chunk that brings the usage.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub choices: Vec<ChunkChoice>,
    /// Tokens, in the last chunk when asked for.
    #[serde(default)]
    pub usage: Option<Value>,
    /// An error in the middle of a stream.
    #[serde(default)]
    pub error: Option<Value>,
}

/// A piece of one of the answers.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ChunkChoice {
    /// Which answer.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub index: u64,
    /// What is added.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub delta: Delta,
    /// Set in the last piece.
    #[serde(default, deserialize_with = "text")]
    pub finish_reason: Option<String>,
    /// Log-probabilities of the piece.
    #[serde(default)]
    pub logprobs: Option<Value>,
}

/// What a piece adds to a message.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Delta {
    /// Text.
    #[serde(default, deserialize_with = "text")]
    pub content: Option<String>,
    /// Thoughts.
    #[serde(default, deserialize_with = "text")]
    pub reasoning_content: Option<String>,
    /// Thoughts, as other servers name them.
    #[serde(default, deserialize_with = "text")]
    pub reasoning: Option<String>,
    /// Why the model does not answer.
    #[serde(default, deserialize_with = "text")]
    pub refusal: Option<String>,
    /// Thoughts with signatures.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub thinking_blocks: Vec<Value>,
    /// Pieces of tool calls.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
}

/// A piece of a tool call.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ToolCallDelta {
    /// Which call; some servers leave it out.
    #[serde(default)]
    pub index: Option<u64>,
    /// In the call's first piece.
    #[serde(default, deserialize_with = "text")]
    pub id: Option<String>,
    /// Name and arguments.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub function: FunctionDelta,
}

/// A piece of a tool's name and arguments.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct FunctionDelta {
    /// In the call's first piece.
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    /// The next piece of the JSON text.
    #[serde(default, deserialize_with = "arguments")]
    pub arguments: String,
}

/// Null as the type's empty value.
pub(super) fn null_is_empty<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A text that may also come as null, as a list of text parts, or (an id) as a number.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(parts) => {
            Some(parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect::<String>())
        }
        _ => None,
    })
}

/// As [`text`], with nothing as "".
pub(super) fn text_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text(deserializer)?.unwrap_or_default())
}

/// Arguments are JSON text; some servers send the object itself.
pub(super) fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => String::new(),
        Value::String(text) => text,
        object => object.to_string(),
    })
}

/// Seconds that may come with a fraction, or not at all.
pub(super) fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64)).unwrap_or(0))
}
