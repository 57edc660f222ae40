//! The shapes of OpenAI Chat Completions: the one all others are turned into.
//!
//! A [`Completion`] is an answer in the shape of a record's `response_body`. It is made from a whole
//! answer ([`Completion::parse`]) or gathered from a stream ([`Accumulator`]), with the same outcome.

mod accumulate;
mod chunk;
mod split;

pub use accumulate::Accumulator;
pub use chunk::{ChatChunk, ChunkChoice, Delta, FunctionDelta, ToolCallDelta};
pub use split::{Piece, pieces};

use crate::usage::read_usage;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use trajgen_contract::record::Usage;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Completion {
    /// The upstream's id of the answer.
    #[serde(default, deserialize_with = "chunk::text_or_empty")]
    pub id: String,
    /// `chat.completion`.
    #[serde(default = "object_name", deserialize_with = "chunk::text_or_empty")]
    pub object: String,
    /// Unix seconds, as the upstream says.
    #[serde(default, deserialize_with = "chunk::whole_number")]
    pub created: i64,
    /// The model, as the upstream names it.
    #[serde(default, deserialize_with = "chunk::text_or_empty")]
    pub model: String,
    /// The answers; one unless `n` asked for more.
    pub choices: Vec<Choice>,
    /// The upstream's own usage object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
}

/// One of the answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Choice {
    /// Its place among them.
    #[serde(default, deserialize_with = "chunk::null_is_empty")]
    pub index: u64,
    /// `stop`, `length`, `tool_calls`, `content_filter`; none when the answer broke off.
    #[serde(default, deserialize_with = "chunk::text")]
    pub finish_reason: Option<String>,
    /// What the model said.
    #[serde(default, deserialize_with = "chunk::null_is_empty")]
    pub message: Message,
    /// Log-probabilities, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Value>,
}

/// What the model said.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Message {
    /// `assistant`.
    #[serde(default = "assistant", deserialize_with = "role")]
    pub role: String,
    /// Its text; none when there are only tool calls.
    #[serde(default, deserialize_with = "chunk::text")]
    pub content: Option<String>,
    /// Its thoughts.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "chunk::text")]
    pub reasoning_content: Option<String>,
    /// Where some upstreams put the thoughts.
    #[serde(default, skip_serializing, deserialize_with = "chunk::text")]
    pub(crate) reasoning: Option<String>,
    /// Thoughts with their signatures, for replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking_blocks: Option<Vec<Value>>,
    /// Why the model did not answer, in its words.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "chunk::text")]
    pub refusal: Option<String>,
    /// The tools it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ToolCall {
    /// Names the call in the tool's answer.
    #[serde(default, deserialize_with = "chunk::text_or_empty")]
    pub id: String,
    /// `function`.
    #[serde(rename = "type", default = "function", deserialize_with = "kind")]
    pub kind: String,
    /// Which one, with what.
    #[serde(default, deserialize_with = "chunk::null_is_empty")]
    pub function: Function,
}

/// A tool's name and arguments.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Function {
    /// The tool.
    #[serde(default, deserialize_with = "chunk::text_or_empty")]
    pub name: String,
    /// JSON text.
    #[serde(default, deserialize_with = "chunk::arguments")]
    pub arguments: String,
}

fn object_name() -> String {
    "chat.completion".to_owned()
}

fn assistant() -> String {
    "assistant".to_owned()
}

fn function() -> String {
    "function".to_owned()
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(chunk::text(deserializer)?.filter(|kind| !kind.is_empty()).unwrap_or_else(function))
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(chunk::text(deserializer)?.unwrap_or_else(assistant))
}

impl Completion {
    /// Reads a whole answer.
    ///
    /// # Errors
    /// When `bytes` are no JSON, or have no `choices`.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut completion: Self = crate::json::read(bytes)?;
        completion.normalise();
        Ok(completion)
    }

    /// Tokens, as the upstream reported them.
    #[must_use]
    pub fn token_usage(&self) -> Option<Usage> {
        self.usage.as_ref().and_then(read_usage)
    }

    /// Makes two ways of saying the same the same.
    fn normalise(&mut self) {
        self.object = object_name();
        for choice in &mut self.choices {
            choice.logprobs = choice.logprobs.take().filter(|l| !l.is_null());
            choice.message.normalise();
        }
    }
}

impl Message {
    fn normalise(&mut self) {
        self.role = assistant();
        self.tool_calls = self.tool_calls.take().filter(|calls| !calls.is_empty());
        self.thinking_blocks = self.thinking_blocks.take().filter(|blocks| !blocks.is_empty());
        self.refusal = self.refusal.take().filter(|text| !text.is_empty());
        self.content = match self.content.take().filter(|text| !text.is_empty()) {
            None if self.tool_calls.is_none() => Some(String::new()),
            content => content,
        };
        let other = self.reasoning.take();
        self.reasoning_content = self
            .reasoning_content
            .take()
            .filter(|text| !text.is_empty())
            .or_else(|| other.filter(|text| !text.is_empty()))
            .or_else(|| self.thinking_blocks.as_deref().and_then(joined_thoughts));
    }
}

/// The texts of thinking blocks, a blank line between.
fn joined_thoughts(blocks: &[Value]) -> Option<String> {
    let texts: Vec<&str> = blocks
        .iter()
        .filter_map(|block| block.get("thinking").and_then(Value::as_str))
        .filter(|text| !text.is_empty())
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(message: Value) -> Value {
        let body = json!({"id": "x", "created": 1.0, "model": "m", "choices": [{"message": message}]});
        let completion = Completion::parse(body.to_string().as_bytes()).unwrap();
        serde_json::to_value(&completion.choices[0].message).unwrap()
    }

    #[test]
    fn content_is_null_beside_tool_calls_only() {
        assert_eq!(
            message(
                json!({"content": "", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]})
            ),
            json!({"role": "assistant", "content": null, "tool_calls":
                [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]})
        );
        assert_eq!(
            message(json!({"content": null, "tool_calls": []})),
            json!({"role": "assistant", "content": ""})
        );
    }

    #[test]
    fn thoughts_come_from_any_of_three_places() {
        assert_eq!(message(json!({"content": "a", "reasoning": "r"}))["reasoning_content"], "r");
        assert_eq!(message(json!({"reasoning_content": "c", "reasoning": "r"}))["reasoning_content"], "c");
        let blocks = json!([{"type": "thinking", "thinking": "one", "signature": "s"}, {"type": "thinking", "thinking": "two"}]);
        let said = message(json!({"content": "a", "thinking_blocks": blocks}));
        assert_eq!(said["reasoning_content"], "one\n\ntwo");
        assert_eq!(said["thinking_blocks"][0]["signature"], "s");
    }

    #[test]
    fn nulls_where_texts_should_be_cost_no_answer() {
        let body = json!({"id": null, "object": null, "created": null, "model": null, "usage": null, "choices": [
            {"index": null, "finish_reason": "tool_calls", "logprobs": null, "message": {"role": null, "content": null,
                "refusal": null, "reasoning": null, "thinking_blocks": null, "tool_calls": [
                {"id": null, "type": null, "function": {"name": "f", "arguments": null}}, {"id": 7, "function": null}]}},
            {"message": null}]});
        let completion = Completion::parse(body.to_string().as_bytes()).unwrap();
        let said = serde_json::to_value(&completion).unwrap();
        assert_eq!(
            (&said["id"], &said["model"], &said["object"]),
            (&json!(""), &json!(""), &json!("chat.completion"))
        );
        assert_eq!(
            said["choices"][0]["message"]["tool_calls"],
            json!([
            {"id": "", "type": "function", "function": {"name": "f", "arguments": ""}},
            {"id": "7", "type": "function", "function": {"name": "", "arguments": ""}}])
        );
        assert_eq!(said["choices"][1]["message"]["content"], "");
    }

    #[test]
    fn text_parts_are_joined() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(message(json!({"content": parts}))["content"], "ab");
    }
}
