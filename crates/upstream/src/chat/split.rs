//! From a whole answer to chunks, for upstreams that have it whole.

use super::Completion;
use serde_json::{Value, json};

/// How many characters of text a chunk carries.
const CHARACTERS: usize = 24;

/// A chunk to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The `chat.completion.chunk`.
    pub chunk: Value,
    /// Whether it brings something of the model's own (the first and last chunks only frame it).
    pub is_content: bool,
}

/// `completion` as the chunks of a stream; the usage chunk at the end only when asked for.
#[must_use]
pub fn pieces(completion: &Completion, include_usage: bool) -> Vec<Piece> {
    let chunk = |choices: Value| {
        json!({"id": completion.id, "object": "chat.completion.chunk", "created": completion.created,
            "model": completion.model, "choices": choices})
    };
    let mut pieces = Vec::new();
    for choice in &completion.choices {
        let mut push = |delta: Value, finish_reason: Option<&str>, is_content: bool| {
            let choices = json!([{"index": choice.index, "delta": delta, "finish_reason": finish_reason}]);
            pieces.push(Piece { chunk: chunk(choices), is_content });
        };
        let message = &choice.message;
        push(json!({"role": "assistant", "content": ""}), None, false);
        for part in parts(message.reasoning_content.as_deref().unwrap_or("")) {
            push(json!({"reasoning_content": part}), None, true);
        }
        for part in parts(message.content.as_deref().unwrap_or("")) {
            push(json!({"content": part}), None, true);
        }
        for (index, call) in message.tool_calls.iter().flatten().enumerate() {
            let head = json!([{"index": index, "id": call.id, "type": "function",
                "function": {"name": call.function.name, "arguments": ""}}]);
            push(json!({"tool_calls": head}), None, true);
            for part in parts(&call.function.arguments) {
                let more = json!([{"index": index, "function": {"arguments": part}}]);
                push(json!({"tool_calls": more}), None, true);
            }
        }
        push(json!({}), choice.finish_reason.as_deref(), false);
    }
    if include_usage && let Some(usage) = &completion.usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage.clone();
        pieces.push(Piece { chunk: last, is_content: false });
    }
    pieces
}

/// `text` cut into parts of at most [`CHARACTERS`] characters.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(CHARACTERS).map_or(rest.len(), |(at, _)| at);
        let (part, tail) = rest.split_at(end);
        rest = tail;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Accumulator;
    use super::*;

    #[test]
    fn gathering_the_pieces_gives_the_answer_back() {
        let body = json!({"id": "x", "object": "chat.completion", "created": 5, "model": "m", "choices": [{
            "index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant",
            "content": "Grüße an alle, und noch etwas mehr Text, damit es mehrere Teile gibt 🦀🦀🦀",
            "reasoning_content": "because", "tool_calls": [{"id": "a", "type": "function",
            "function": {"name": "f", "arguments": "{\"path\":\"a/long/path/of/some/sort/file.txt\"}"}}]}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}});
        let whole = Completion::parse(body.to_string().as_bytes()).unwrap();
        let mut gathered = Accumulator::default();
        for piece in pieces(&whole, true) {
            gathered.add(&serde_json::from_value(piece.chunk).unwrap());
        }
        assert!(gathered.is_whole());
        assert_eq!(gathered.finish(), whole);
    }
}
