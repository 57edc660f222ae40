//! Intermediate records: what converters made, completed and in one shape.

use crate::calls::CallSummary;
use crate::convert::Conversation;
use crate::select::Trial;
use crate::text;
use serde_json::{Map, Value, json};

/// The shape's version.
pub const VERSION: &str = "2.0.0";
/// The owner every record names.
const OWNER: &str = "00000000";
/// The keys a message keeps.
const MESSAGE_KEYS: [&str; 7] =
    ["role", "name", "content", "reasoning_content", "tool_calls", "weight", "tool_call_id"];

/// Completes one conversation of a trial. The second value counts messages whose think block and reasoning
/// field differed (the field won).
pub(crate) fn record(
    trial: &Trial,
    conversation: Conversation,
    calls: &CallSummary,
    metadata: &Value,
) -> (Value, usize) {
    let language = language(&conversation.messages);
    let (messages, conflicts) = complete_messages(conversation.messages);
    let rounds = messages.iter().filter(|m| m["role"] == "assistant").count();
    let think_mode = think_mode(&messages);
    let model = calls.model.as_deref().or(trial.model.as_deref()).unwrap_or("unknown");
    let mut gen_params = calls.gen_params.clone();
    for key in ["model", "max_tokens", "top_p", "temperature"] {
        gen_params.entry(key).or_insert_with(|| if key == "model" { json!(model) } else { Value::Null });
    }
    let (generated, updated) = calls.dates.clone().unwrap_or_default();
    let record = json!({
        "version": VERSION,
        "meta_info": {
            "teacher": without_protocol(model),
            "query_source": "synthesized",
            "response_generate_time": generated,
            "response_update_time": updated,
            "owner": OWNER,
            "language": language,
            "category": "code",
            "rounds": rounds,
            "unique_info": {
                "_instance_id": trial.instance_id,
                "_agent_type": conversation.agent_type.as_str(),
                "_score": null,
                "_gen_params": gen_params,
                "_usage": calls.usage,
                "_instance_metadata": metadata,
                "think_mode": think_mode,
            },
        },
        "tools": conversation.tools,
        "messages": messages,
    });
    (record, conflicts)
}

/// A model's name without the prefix that says which protocol it is spoken to in.
fn without_protocol(model: &str) -> &str {
    model.strip_prefix("openai/").or_else(|| model.strip_prefix("anthropic/")).unwrap_or(model)
}

/// `zh` if the first user text that is not empty has CJK ideographs (U+3400–9FFF), else `en`.
fn language(messages: &[Value]) -> &'static str {
    let first = messages
        .iter()
        .filter(|m| m["role"] == "user")
        .map(|m| text::of(m.get("content")))
        .find(|t| !t.trim().is_empty());
    let is_ideograph = |c: char| ('\u{3400}'..='\u{9fff}').contains(&c);
    if first.is_some_and(|t| t.chars().any(is_ideograph)) { "zh" } else { "en" }
}

/// `slow` when any assistant message has reasoning.
fn think_mode(messages: &[Value]) -> &'static str {
    let has_reasoning = |m: &Value| m["reasoning_content"].as_str().is_some_and(|r| !r.trim().is_empty());
    if messages.iter().any(has_reasoning) { "slow" } else { "fast" }
}

/// Puts messages into the record's shape: a system message first, string contents, reasoning in its own field,
/// string arguments, an id on every tool call. Also counts think blocks that differed from the field.
pub fn complete_messages(messages: Vec<Value>) -> (Vec<Value>, usize) {
    let mut complete: Vec<Map<String, Value>> = Vec::with_capacity(messages.len() + 1);
    if messages.first().is_none_or(|m| m["role"] != "system") {
        complete
            .push(Map::from_iter([("role".to_owned(), json!("system")), ("content".to_owned(), json!(""))]));
    }
    let mut conflicts = 0;
    for message in messages {
        let Value::Object(mut fields) = message else { continue };
        fields.retain(|key, value| {
            MESSAGE_KEYS.contains(&key.as_str())
                && !(key == "tool_calls" && value.as_array().is_none_or(Vec::is_empty))
        });
        let content = text::of(fields.get("content"));
        let is_assistant = fields.get("role").is_some_and(|r| r == "assistant");
        let content =
            if is_assistant { settle_reasoning(&mut fields, content, &mut conflicts) } else { content };
        fields.insert("content".to_owned(), Value::String(content));
        complete.push(fields);
    }
    settle_calls(&mut complete);
    (complete.into_iter().map(Value::Object).collect(), conflicts)
}

/// Moves a leading think block into the field, which wins when it is there already.
fn settle_reasoning(fields: &mut Map<String, Value>, content: String, conflicts: &mut usize) -> String {
    let field = fields.get("reasoning_content").filter(|r| !r.is_null()).map(|r| text::of(Some(r)));
    let cut = text::cut_think(&content).map(|(reasoning, rest)| (reasoning.to_owned(), rest.to_owned()));
    let (reasoning, content) = match (field, cut) {
        (Some(field), Some((block, rest))) => {
            if field != block {
                *conflicts += 1;
            }
            (field, rest)
        }
        (Some(field), None) => (field, content),
        (None, Some((block, rest))) => (block, rest),
        (None, None) => (String::new(), content),
    };
    fields.insert("reasoning_content".to_owned(), Value::String(reasoning));
    content
}

/// Makes arguments strings and gives every tool call an id: its own, else that of the tool message that answers
/// it by position, else a numbered one.
fn settle_calls(messages: &mut [Map<String, Value>]) {
    let mut numbered = 0usize;
    for at in 0..messages.len() {
        let (before, after) = messages.split_at_mut(at + 1);
        let Some(calls) =
            before.last_mut().and_then(|m| m.get_mut("tool_calls")).and_then(Value::as_array_mut)
        else {
            continue;
        };
        let mut answers = after.iter_mut().take_while(|m| m.get("role").is_some_and(|r| r == "tool"));
        for call in calls.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) {
                let arguments = match function.get("arguments") {
                    Some(Value::String(text)) => text.clone(),
                    None | Some(Value::Null) => "{}".to_owned(),
                    Some(other) => other.to_string(),
                };
                function.insert("arguments".to_owned(), Value::String(arguments));
            }
            let answer = answers.next();
            let id = given(call.get("id"))
                .or_else(|| answer.as_ref().and_then(|a| given(a.get("tool_call_id"))))
                .unwrap_or_else(|| {
                    numbered += 1;
                    format!("call_{numbered:06}")
                });
            if let Some(answer) = answer.filter(|a| given(a.get("tool_call_id")).is_none()) {
                answer.insert("tool_call_id".to_owned(), Value::String(id.clone()));
            }
            call.insert("id".to_owned(), Value::String(id));
        }
    }
}

/// A string that is there and not empty.
fn given(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What readers take from a record, of this shape or the flat one.
pub(crate) fn info<'a>(record: &'a Value, key: &str) -> Option<&'a Value> {
    record.pointer("/meta_info/unique_info").and_then(|u| u.get(key)).or_else(|| record.get(key))
}

/// The messages of a terminus2 record as its converter made them: think blocks in place.
pub(crate) fn with_think_blocks(messages: &[Value]) -> Vec<Value> {
    messages
        .iter()
        .map(|message| {
            let reasoning = message.get("reasoning_content").and_then(Value::as_str).unwrap_or_default();
            let mut message = message.clone();
            if let Some(fields) = message.as_object_mut()
                && !reasoning.trim().is_empty()
            {
                let content = text::with_think(reasoning, &text::of(fields.get("content")));
                fields.insert("content".to_owned(), Value::String(content));
            }
            message
        })
        .collect()
}

#[cfg(test)]
mod tests;
