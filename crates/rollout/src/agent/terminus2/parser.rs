//! From a reply's text to what it asks for. Pure: no terminal, no conversation.
//!
//! A reply is one JSON object `{analysis, plan, commands: [{keystrokes, duration?}], task_complete?}`.
//! Models stray from that in ways that leave no doubt about what they meant; those are put right and
//! told to the model as warnings. What would have to be guessed is an error.

use serde_json::{Map, Value};

/// How long a command waits that does not say, in seconds.
pub const DEFAULT_DURATION: f64 = 1.0;
/// The longest wait of one command, in seconds.
pub const MAX_DURATION: f64 = 60.0;

/// How many places of a text are tried for the beginning of an object. Each may cost as much as a
/// deeply nested object does; a model that loops writes hundreds of thousands of braces.
const MAX_TRIED: usize = 1_000;

const REQUIRED: [&str; 3] = ["analysis", "plan", "commands"];

/// One thing to type.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Typed as it is; nothing is typed when empty.
    pub keystrokes: String,
    /// Seconds to wait afterwards, 0 to [`MAX_DURATION`].
    pub duration: f64,
}

/// What a reply asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    /// In order.
    pub commands: Vec<Command>,
    /// What the model makes of the terminal.
    pub analysis: String,
    /// What it means to do.
    pub plan: String,
    /// Whether it calls the task done.
    pub task_complete: bool,
    /// What was put right, for the model to read.
    pub warnings: Vec<String>,
}

/// Why a reply cannot be acted upon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// For the model to read.
    pub message: String,
    /// What was put right before it failed.
    pub warnings: Vec<String>,
}

impl ParseError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), warnings: Vec::new() }
    }
}

/// Reads a reply that ended by itself.
///
/// # Errors
/// When there is no object, or it lacks a field, or a command cannot be read.
pub fn parse(text: &str) -> Result<Parsed, ParseError> {
    read(text, true)
}

/// Reads a reply that the output limit cut. Only an object that is complete counts: what an open one
/// would have said is not known.
#[must_use]
pub fn salvage(text: &str) -> Option<Parsed> {
    read(text, false).ok()
}

fn read(text: &str, close_open_object: bool) -> Result<Parsed, ParseError> {
    let Some(start) = text.find('{') else {
        return Err(ParseError::new("No JSON object found in the reply"));
    };
    let first = match object_at(text, start) {
        Ok((object, end)) => {
            let warnings = surroundings(text, start, end);
            match interpret(&object, warnings) {
                Ok(parsed) => return Ok(parsed),
                Err(error) => error,
            }
        }
        Err(error) => {
            if close_open_object
                && let Some(closed) = closed(&text[start..])
                && let Ok((object, _)) = object_at(&closed, 0)
            {
                let mut warnings = vec!["AUTO-CORRECTED: closed an object that was left open".to_owned()];
                warnings.extend(surroundings(text, start, text.len()));
                if let Ok(parsed) = interpret(&object, warnings) {
                    return Ok(parsed);
                }
            }
            ParseError::new(format!("Invalid JSON: {error}"))
        }
    };
    dig(text, start).unwrap_or(Err(first))
}

/// The object that begins at byte `start`, and the byte after it.
fn object_at(text: &str, start: usize) -> Result<(Map<String, Value>, usize), serde_json::Error> {
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Map<String, Value>>();
    match values.next() {
        Some(Ok(object)) => Ok((object, start + values.byte_offset())),
        Some(Err(error)) => Err(error),
        None => Err(serde::de::Error::custom("nothing there")),
    }
}

/// Warnings about what stands around an object.
fn surroundings(text: &str, start: usize, end: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    if !text[..start].trim().is_empty() {
        warnings.push("Extra text before the JSON object".to_owned());
    }
    if !text[end..].trim().is_empty() {
        warnings.push("Extra text after the JSON object".to_owned());
    }
    warnings
}

/// `text` with the braces and brackets closed that are open at its end; none when it ends inside a
/// string (what is missing there is unknown) or nothing is open.
fn closed(text: &str) -> Option<String> {
    let text = text.trim_end();
    let text = text.strip_suffix("```").unwrap_or(text).trim_end();
    let mut open = Vec::new();
    let mut in_string = false;
    let mut escaped = false;
    for c in text.chars() {
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => in_string = true,
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' if open.last() == Some(&c) => {
                open.pop();
            }
            '}' | ']' => return None,
            _ => {}
        }
    }
    if in_string || open.is_empty() {
        return None;
    }
    let text = text.strip_suffix(',').unwrap_or(text);
    Some(text.chars().chain(open.into_iter().rev()).collect())
}

/// The first object further on that is a whole reply; or, when there is none, the error of the first
/// that has some of a reply's fields.
fn dig(text: &str, start: usize) -> Option<Result<Parsed, ParseError>> {
    let mut near_miss = None;
    let mut from = start;
    for _ in 0..MAX_TRIED {
        let Some(at) = text[from..].find('{').map(|offset| from + offset) else { break };
        from = at + 1;
        let Ok((object, end)) = object_at(text, at) else { continue };
        from = end;
        let warnings = vec!["AUTO-CORRECTED: took the JSON object out of mixed text".to_owned()];
        match interpret(&object, warnings) {
            Ok(mut parsed) => {
                parsed.warnings.extend(surroundings(text, at, end));
                return Some(Ok(parsed));
            }
            Err(mut error) if REQUIRED.iter().any(|field| object.contains_key(*field)) => {
                error.warnings.clear();
                near_miss.get_or_insert(error);
            }
            Err(_) => {}
        }
    }
    near_miss.map(Err)
}

/// What an object asks for.
fn interpret(object: &Map<String, Value>, mut warnings: Vec<String>) -> Result<Parsed, ParseError> {
    match fields(object, &mut warnings) {
        Ok(parsed) => Ok(Parsed { warnings, ..parsed }),
        Err(message) => Err(ParseError { message, warnings }),
    }
}

fn fields(object: &Map<String, Value>, warnings: &mut Vec<String>) -> Result<Parsed, String> {
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|field| !object.contains_key(*field)).collect();
    if !missing.is_empty() {
        return Err(format!("Missing required fields: {}", missing.join(", ")));
    }
    let analysis = text_field(object, "analysis", warnings);
    let plan = text_field(object, "plan", warnings);
    let Some(Value::Array(entries)) = object.get("commands") else {
        return Err("Field 'commands' must be an array".to_owned());
    };
    if let Some(at) = entries.iter().position(|entry| !entry.is_object()) {
        return Err(format!("Command {} must be an object", at + 1));
    }
    let found: Vec<&str> = object.keys().map(String::as_str).filter(|key| REQUIRED.contains(key)).collect();
    if found != REQUIRED {
        warnings.push(format!(
            "Fields are out of order: found {}, expected {}",
            found.join(", "),
            REQUIRED.join(", ")
        ));
    }
    let task_complete = completion(object.get("task_complete"), warnings);
    let commands = match commands(entries, warnings) {
        Ok(commands) => commands,
        Err(message) if task_complete => {
            warnings.push(format!("{message}; no command was run"));
            Vec::new()
        }
        Err(message) => return Err(message),
    };
    Ok(Parsed { commands, analysis, plan, task_complete, warnings: Vec::new() })
}

/// A text field; another type is shown as JSON, and nothing when it is null.
fn text_field(object: &Map<String, Value>, name: &str, warnings: &mut Vec<String>) -> String {
    match object.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => {
            warnings.push(format!("Field '{name}' should be a string"));
            other.filter(|value| !value.is_null()).map(Value::to_string).unwrap_or_default()
        }
    }
}

/// `task_complete`, where `"true"`, `"yes"` and `"1"` count as true, and of other types what is not
/// zero or empty.
fn completion(value: Option<&Value>, warnings: &mut Vec<String>) -> bool {
    let (complete, expected_type) = match value {
        None | Some(Value::Null) => (false, true),
        Some(Value::Bool(complete)) => (*complete, true),
        Some(Value::String(word)) => {
            (matches!(word.trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes"), true)
        }
        Some(Value::Number(number)) => (number.as_f64() != Some(0.0), false),
        Some(Value::Array(list)) => (!list.is_empty(), false),
        Some(Value::Object(map)) => (!map.is_empty(), false),
    };
    if !expected_type {
        warnings.push("Field 'task_complete' should be a boolean".to_owned());
    }
    complete
}

fn commands(entries: &[Value], warnings: &mut Vec<String>) -> Result<Vec<Command>, String> {
    let mut commands = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let number = index + 1;
        let keystrokes = match entry.get("keystrokes") {
            Some(Value::String(keystrokes)) => keystrokes.clone(),
            Some(_) => return Err(format!("Command {number}: 'keystrokes' must be a string")),
            None => return Err(format!("Command {number}: the required field 'keystrokes' is missing")),
        };
        let duration = match entry.get("duration") {
            Some(Value::Number(seconds)) => seconds.as_f64().unwrap_or(DEFAULT_DURATION),
            Some(_) => {
                warnings.push(format!("Command {number}: 'duration' is not a number, 1.0 is used"));
                DEFAULT_DURATION
            }
            None => {
                warnings.push(format!("Command {number}: 'duration' is missing, 1.0 is used"));
                DEFAULT_DURATION
            }
        };
        let unknown: Vec<&str> = entry
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .filter(|key| !matches!(*key, "keystrokes" | "duration"))
            .collect();
        if !unknown.is_empty() {
            warnings.push(format!("Command {number}: unknown fields: {}", unknown.join(", ")));
        }
        if number < entries.len() && !keystrokes.is_empty() && !keystrokes.ends_with('\n') {
            warnings.push(format!(
                "Command {number} does not end with a newline although another command follows; \
                 both are typed on one line"
            ));
        }
        commands.push(Command { keystrokes, duration: duration.clamp(0.0, MAX_DURATION) });
    }
    Ok(commands)
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
