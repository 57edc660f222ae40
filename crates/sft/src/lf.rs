//! LLaMA-Factory's records: what the trainer sees is what the model would see.

use crate::dropped::{Dropped, Reason};
use crate::template::{self, ChatTemplate};
use crate::{Scaffold, im, text};
use serde_json::{Map, Value, json};

/// How `lf.json` is indented.
const INDENT: &str = "    ";

/// Keys that are copied from the intermediate record.
const COPIED: [&str; 6] =
    ["_score", "_instance_id", "_agent_type", "_gen_params", "_usage", "_instance_metadata"];

/// Makes one record of an intermediate record.
pub(crate) fn record(record: &Value, scaffold: Scaffold, template: &ChatTemplate) -> Result<Value, Dropped> {
    let messages = record.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // The system message that was put in to have one is no part of what the model was given.
    let messages = match messages.split_first() {
        Some((first, rest)) if first["role"] == "system" && first["content"] == "" => rest,
        _ => messages,
    };
    if let Some(at) = messages.iter().position(holds_marker) {
        return Err(Dropped::new(
            Reason::TurnMarkerInText,
            format!("message {} holds a turn marker of the template", at + 1),
        ));
    }
    let turns = if scaffold == Scaffold::Terminus2 {
        im::with_think_blocks(messages)
            .iter()
            .map(|m| json!({"role": m["role"], "content": text::of(m.get("content"))}))
            .collect()
    } else {
        let tools = record.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let rendered = template
            .render(messages, tools)
            .map_err(|e| Dropped::new(Reason::NotRendered, format!("the template fails: {e:#}")))?;
        let fast = im::info(record, "think_mode").is_some_and(|m| m == "fast");
        turns_of(&rendered, fast)
    };
    let mut out = Map::new();
    out.insert("messages".to_owned(), Value::Array(turns));
    for key in COPIED {
        out.insert(key.to_owned(), im::info(record, key).cloned().unwrap_or_default());
    }
    Ok(Value::Object(out))
}

/// Whether any text of a message that ends up in the rendering holds a marker, which would forge a turn.
fn holds_marker(message: &Value) -> bool {
    let marked = |text: &str| text.contains(template::TURN_START) || text.contains(template::TURN_END);
    ["content", "reasoning_content"].iter().any(|key| message[*key].as_str().is_some_and(marked))
        || message.get("tool_calls").is_some_and(|calls| marked(&calls.to_string()))
}

/// The turns of a rendering. For records without reasoning an empty think block at the start of an assistant
/// turn is removed.
fn turns_of(rendered: &str, fast: bool) -> Vec<Value> {
    template::turns(rendered)
        .into_iter()
        .map(|(role, content)| {
            let content = if fast && role == "assistant" { without_empty_think(content) } else { content };
            json!({"role": role, "content": content})
        })
        .collect()
}

fn without_empty_think(content: &str) -> &str {
    let inner = content.strip_prefix("<think>").and_then(|rest| rest.split_once("</think>"));
    match inner {
        Some((inner, rest)) if inner.trim().is_empty() => rest.trim_start_matches('\n'),
        _ => content,
    }
}

/// One record as an element of `lf.json`, its lines indented once.
pub(crate) fn element(record: &Value) -> serde_json::Result<String> {
    let text = template::pretty(record, INDENT)?;
    // A newline in a string is escaped, so every line is one of the layout.
    Ok(format!("{INDENT}{}", text.replace('\n', &format!("\n{INDENT}"))))
}

/// `dataset_info.json`: registers `lf.json` under the job's name.
pub(crate) fn dataset_info(name: &str) -> Value {
    json!({
        name: {
            "file_name": "lf.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
    })
}

#[cfg(test)]
mod tests;
