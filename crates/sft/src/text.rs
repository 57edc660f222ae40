//! Texts of messages: contents of any shape, think blocks, Python's JSON.

use serde_json::Value;

/// The text of a content: a string, or the text of its parts, one per line; anything else is empty.
pub(crate) fn of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.as_str().or_else(|| part.get("text").and_then(Value::as_str)))
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// Puts a think block before a text; blank reasoning gives none.
pub(crate) fn with_think(reasoning: &str, body: &str) -> String {
    if reasoning.trim().is_empty() {
        body.to_owned()
    } else {
        format!("<think>\n{reasoning}\n</think>\n\n{body}")
    }
}

/// Cuts a leading think block that is not blank: the reasoning and what follows. The newlines that
/// [`with_think`] adds are cut with it, so that the one undoes the other.
pub(crate) fn cut_think(content: &str) -> Option<(&str, &str)> {
    let (inner, rest) = content.trim_start().strip_prefix("<think>")?.split_once("</think>")?;
    if inner.trim().is_empty() {
        return None;
    }
    let inner = inner.strip_prefix('\n').unwrap_or(inner);
    let inner = inner.strip_suffix('\n').unwrap_or(inner);
    Some((inner, rest.trim_start_matches('\n')))
}

/// JSON with `, ` and `: ` between things and non-ASCII kept, as Python's `json.dumps(…, ensure_ascii=False)`.
pub(crate) fn python_json(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(k, v)| format!("{}: {}", Value::from(k.as_str()), python_json(v))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cutting_a_think_block_undoes_putting_it_there() {
        for reasoning in ["a", " a \n\n b\n", "\nx"] {
            let text = with_think(reasoning, "{}");
            assert_eq!(cut_think(&text), Some((reasoning, "{}")));
        }
        assert_eq!(with_think(" \n", "b"), "b");
        assert_eq!(cut_think("<think>\n\n</think>\n\nb"), None);
        assert_eq!(cut_think("a <think>x</think>"), None);
        assert_eq!(cut_think("<think>x"), None);
    }

    #[test]
    fn json_is_written_as_python_does() {
        assert_eq!(
            python_json(&json!({"a": [1, 2.5, null, true], "é\"": {"b\n": "\u{1}"}})),
            "{\"a\": [1, 2.5, null, true], \"é\\\"\": {\"b\\n\": \"\\u0001\"}}"
        );
    }
}
