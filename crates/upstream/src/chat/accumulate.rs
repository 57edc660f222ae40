//! From chunks to the whole answer.

use super::{ChatChunk, Choice, Completion, Delta, Function, Message, ToolCall, ToolCallDelta};
use serde_json::Value;

/// Gathers a streamed answer. Dialects other than Chat Completions turn their events into
/// [`ChatChunk`]s and use the same one.
#[derive(Debug, Default)]
pub struct Accumulator {
    id: String,
    created: i64,
    model: String,
    usage: Option<Value>,
    choices: Vec<Partial>,
}

/// An answer so far.
#[derive(Debug, Default)]
struct Partial {
    index: u64,
    finish_reason: Option<String>,
    content: String,
    reasoning_content: String,
    reasoning: String,
    refusal: String,
    thinking_blocks: Vec<Value>,
    /// With the index their pieces come under.
    tool_calls: Vec<(Option<u64>, ToolCall)>,
    logprobs: Option<Value>,
}

impl Accumulator {
    /// Adds a chunk.
    pub fn add(&mut self, chunk: &ChatChunk) {
        if let Some(id) = chunk.id.as_deref().filter(|id| !id.is_empty() && self.id.is_empty()) {
            id.clone_into(&mut self.id);
        }
        if let Some(model) = chunk.model.as_deref().filter(|m| !m.is_empty() && self.model.is_empty()) {
            model.clone_into(&mut self.model);
        }
        if self.created == 0 {
            self.created = chunk.created;
        }
        if let Some(usage) = chunk.usage.as_ref().filter(|usage| !usage.is_null()) {
            self.usage = Some(usage.clone());
        }
        for piece in &chunk.choices {
            let choice = self.choice(piece.index);
            choice.add(&piece.delta);
            if piece.finish_reason.is_some() {
                choice.finish_reason.clone_from(&piece.finish_reason);
            }
            if let Some(logprobs) = piece.logprobs.as_ref().filter(|logprobs| !logprobs.is_null()) {
                extend_logprobs(&mut choice.logprobs, logprobs);
            }
        }
    }

    /// True when every answer that began has said why it ended.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finish_reason.is_some())
    }

    /// True when nothing has come yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.id.is_empty() && self.choices.is_empty()
    }

    /// The answer, or what there is of it.
    #[must_use]
    pub fn finish(mut self) -> Completion {
        self.choices.sort_by_key(|choice| choice.index);
        let mut completion = Completion {
            id: self.id,
            object: String::new(),
            created: self.created,
            model: self.model,
            choices: self.choices.into_iter().map(Partial::finish).collect(),
            usage: self.usage,
        };
        completion.normalise();
        completion
    }

    fn choice(&mut self, index: u64) -> &mut Partial {
        let at = match self.choices.iter().position(|choice| choice.index == index) {
            Some(at) => at,
            None => {
                self.choices.push(Partial { index, ..Partial::default() });
                self.choices.len() - 1
            }
        };
        &mut self.choices[at]
    }
}

impl Partial {
    fn add(&mut self, delta: &Delta) {
        let append = |to: &mut String, text: &Option<String>| to.push_str(text.as_deref().unwrap_or(""));
        append(&mut self.content, &delta.content);
        append(&mut self.reasoning_content, &delta.reasoning_content);
        append(&mut self.reasoning, &delta.reasoning);
        append(&mut self.refusal, &delta.refusal);
        for block in &delta.thinking_blocks {
            self.add_thoughts(block);
        }
        for piece in &delta.tool_calls {
            self.add_tool_call(piece);
        }
    }

    /// Thinking blocks come in pieces: texts to be joined, the signature with the last of a block.
    fn add_thoughts(&mut self, piece: &Value) {
        let is_open = |block: &Value| {
            block.get("type") == piece.get("type")
                && block.get("thinking").is_some_and(Value::is_string)
                && block.get("signature").is_none_or(|s| s.as_str().unwrap_or("").is_empty())
        };
        match self.thinking_blocks.last_mut().filter(|block| is_open(block)).and_then(Value::as_object_mut) {
            Some(block) => {
                let more = piece.get("thinking").and_then(Value::as_str).unwrap_or("");
                if let Some(Value::String(text)) = block.get_mut("thinking") {
                    text.push_str(more);
                }
                if let Some(signature) = piece.get("signature").filter(|signature| !signature.is_null()) {
                    block.insert("signature".to_owned(), signature.clone());
                }
            }
            None => self.thinking_blocks.push(piece.clone()),
        }
    }

    fn add_tool_call(&mut self, piece: &ToolCallDelta) {
        let id = piece.id.as_deref().unwrap_or("");
        // Servers that leave the index out, or say 0 for every call, tell calls apart by their ids.
        let open = match piece.index {
            Some(index) => self.tool_calls.iter().rposition(|(of, _)| *of == Some(index)),
            None => self.tool_calls.len().checked_sub(1),
        };
        let open = open.filter(|&at| {
            let known = &self.tool_calls[at].1.id;
            id.is_empty() || known.is_empty() || known == id
        });
        let at = open.unwrap_or_else(|| {
            let call = ToolCall { kind: "function".to_owned(), ..ToolCall::default() };
            self.tool_calls.push((piece.index, call));
            self.tool_calls.len() - 1
        });
        let ToolCall { id: known, function: Function { name, arguments }, .. } = &mut self.tool_calls[at].1;
        if known.is_empty() {
            id.clone_into(known);
        }
        if let Some(piece) = piece.function.name.as_deref().filter(|piece| *piece != name.as_str()) {
            name.push_str(piece);
        }
        arguments.push_str(&piece.function.arguments);
    }

    fn finish(self) -> Choice {
        let given = |text: String| (!text.is_empty()).then_some(text);
        Choice {
            index: self.index,
            finish_reason: self.finish_reason,
            message: Message {
                role: String::new(),
                content: given(self.content),
                reasoning_content: given(self.reasoning_content),
                reasoning: given(self.reasoning),
                thinking_blocks: Some(self.thinking_blocks),
                refusal: given(self.refusal),
                tool_calls: Some(self.tool_calls.into_iter().map(|(_, call)| call).collect()),
            },
            logprobs: self.logprobs,
        }
    }
}

/// Log-probabilities are objects of lists, one entry per token.
fn extend_logprobs(known: &mut Option<Value>, more: &Value) {
    let (Some(Value::Object(known)), Value::Object(more)) = (known.as_mut(), more) else {
        *known = Some(more.clone());
        return;
    };
    for (key, value) in more {
        match (known.get_mut(key), value) {
            (Some(Value::Array(items)), Value::Array(more)) => items.extend(more.iter().cloned()),
            (_, Value::Null) => {}
            _ => {
                known.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gather(chunks: &[Value]) -> Completion {
        let mut gathered = Accumulator::default();
        for chunk in chunks {
            gathered.add(&serde_json::from_value(chunk.clone()).unwrap());
        }
        gathered.finish()
    }

    fn delta(delta: Value) -> Value {
        json!({"id": "c1", "created": 7, "model": "m", "choices": [{"index": 0, "delta": delta}]})
    }

    #[test]
    fn interleaved_tool_calls_come_apart() {
        let whole = gather(&[
            delta(json!({"role": "assistant", "content": null})),
            delta(
                json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            ),
            delta(
                json!({"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{\"y\":"}}]}),
            ),
            delta(
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\":1}"}}, {"index": 1, "function": {"arguments": "2}"}}]}),
            ),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}),
        ]);
        assert_eq!(
            serde_json::to_value(&whole).unwrap(),
            json!({"id": "c1", "object": "chat.completion", "created": 7, "model": "m", "choices": [{
                "index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
                    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{\"y\":2}"}}]}}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}})
        );
    }

    #[test]
    fn calls_without_an_index_or_all_at_zero_are_told_apart_by_id() {
        for index in [Value::Null, json!(0)] {
            let call = |id: &str, name: &str| {
                delta(
                    json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": "{}"}}]}),
                )
            };
            let whole = gather(&[call("a", "f"), call("b", "g")]);
            let calls = whole.choices[0].message.tool_calls.as_ref().unwrap();
            assert_eq!(calls.iter().map(|c| c.function.name.as_str()).collect::<Vec<_>>(), ["f", "g"]);
        }
    }

    #[test]
    fn thinking_blocks_are_joined_until_their_signature() {
        let block = |text: &str, signature: Value| {
            delta(
                json!({"thinking_blocks": [{"type": "thinking", "thinking": text, "signature": signature}]}),
            )
        };
        let whole = gather(&[block("a", Value::Null), block("b", json!("s1")), block("c", json!("s2"))]);
        let message = &whole.choices[0].message;
        assert_eq!(message.reasoning_content.as_deref(), Some("ab\n\nc"));
        assert_eq!(message.thinking_blocks.as_ref().unwrap()[0]["signature"], "s1");
    }

    #[test]
    fn log_probabilities_are_joined() {
        let piece = |token: &str| json!({"choices": [{"delta": {"content": token}, "logprobs": {"content": [{"token": token}], "refusal": null}}]});
        let whole = gather(&[piece("a"), piece("b")]);
        assert_eq!(
            whole.choices[0].logprobs.as_ref().unwrap()["content"],
            json!([{"token": "a"}, {"token": "b"}])
        );
    }
}
