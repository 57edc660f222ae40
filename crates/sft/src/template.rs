//! Chat templates: rendering a conversation as the model sees it, and cutting it back into turns.

use crate::text::python_json;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind};
use serde_json::Value;

/// The template used when no tokenizer is given.
pub(crate) const BUILT_IN: &str = include_str!("../data/chatml.jinja");
/// The name it goes by in the stats.
pub(crate) const BUILT_IN_NAME: &str = "built-in (Qwen3-style ChatML)";

/// What opens a turn.
pub(crate) const TURN_START: &str = "<|im_start|>";
/// What ends it.
pub(crate) const TURN_END: &str = "<|im_end|>";

/// A chat template, compiled.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// The built-in one.
    pub(crate) fn built_in() -> Result<Self, crate::ConvertError> {
        Self::compile(BUILT_IN).map_err(|e| crate::ConvertError::Template {
            template: BUILT_IN_NAME.to_owned(),
            problem: e.to_string(),
        })
    }

    /// Compiles a template as Hugging Face writes them.
    fn compile(source: &str) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned("chat", source.to_owned())?;
        Ok(Self { environment })
    }

    /// Renders messages and tools; tool arguments that are strings of JSON are given to it as objects.
    pub(crate) fn render(&self, messages: &[Value], tools: &[Value]) -> Result<String, Error> {
        let messages: Vec<Value> = messages.iter().cloned().map(with_argument_objects).collect();
        let tools = if tools.is_empty() { Jinja::from(()) } else { Jinja::from(Serde(tools)) };
        self.environment.get_template("chat")?.render(minijinja::context! {
            messages => Serde(messages),
            tools => tools,
            add_generation_prompt => false,
        })
    }
}

/// Python's `json.dumps(value, ensure_ascii=False)`, which is what templates expect of `tojson`.
#[expect(clippy::needless_pass_by_value, reason = "a filter takes its keyword arguments by value")]
fn to_json(value: &Jinja, options: Kwargs) -> Result<Jinja, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let json = serde_json::to_value(value)
        .map_err(|e| Error::new(ErrorKind::BadSerialization, format!("tojson: {e}")))?;
    let text = match indent {
        None => python_json(&json),
        Some(n) => indented(&json, n)?,
    };
    Ok(Jinja::from_safe_string(text))
}

fn indented(json: &Value, n: usize) -> Result<String, Error> {
    let spaces = " ".repeat(n);
    pretty(json, &spaces).map_err(|e| Error::new(ErrorKind::BadSerialization, format!("tojson: {e}")))
}

/// JSON on several lines, indented by `indent`.
pub(crate) fn pretty(json: &Value, indent: &str) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    serde::Serialize::serialize(json, &mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn with_argument_objects(mut message: Value) -> Value {
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        if let Some(arguments) = call.pointer_mut("/function/arguments")
            && let Some(parsed) = arguments.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok())
            && parsed.is_object()
        {
            *arguments = parsed;
        }
    }
    message
}

/// Cuts a rendering into turns: role, and exactly what lies between the role's line and the end marker.
pub(crate) fn turns(rendered: &str) -> Vec<(&str, &str)> {
    let mut turns = Vec::new();
    let mut rest = rendered;
    while let Some((_, opened)) = rest.split_once(TURN_START) {
        let Some((turn, after)) = opened.split_once(TURN_END) else { break };
        if let Some((role, content)) = turn.split_once('\n') {
            turns.push((role, content));
        }
        rest = after;
    }
    turns
}

#[cfg(test)]
mod tests;
