//! A record as v5 sees it: assistant turns, what each did and what came back.

use super::shell;
use super::text::head;
use crate::score::Scored;
use crate::text::python_json;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Whose habits a record shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scaffold {
    Terminus2,
    OpenhandsSdk,
    Openhands,
    ClaudeCode,
    OpenCode,
}

impl Scaffold {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Terminus2 => "terminus2",
            Self::OpenhandsSdk => "openhands_sdk",
            Self::Openhands => "openhands",
            Self::ClaudeCode => "claudecode",
            Self::OpenCode => "opencode",
        }
    }
}

const OPENHANDS_SDK_TOOLS: [&str; 5] = ["terminal", "file_editor", "task_tracker", "finish", "think"];
const CLAUDE_STYLE_TOOLS: [&str; 17] = [
    "bash",
    "read",
    "edit",
    "write",
    "glob",
    "grep",
    "task",
    "webfetch",
    "websearch",
    "notebookedit",
    "todowrite",
    "taskoutput",
    "taskstop",
    "askuserquestion",
    "skill",
    "enterplanmode",
    "exitplanmode",
];
const SHELL_TOOLS: [&str; 3] = ["bash", "terminal", "execute_bash"];

/// One action: a tool call, or a command with keystrokes.
#[derive(Debug)]
pub(super) struct Action {
    /// The raw name.
    pub name: String,
    /// The shell command it runs, if it is one that runs any.
    pub command: Option<String>,
    /// The path it edits, if it is an editing call.
    pub edits: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Observation<'a> {
    pub text: Cow<'a, str>,
    /// Whether the call it answers ran tests.
    pub ran_tests: bool,
}

/// One assistant message.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub actions: Vec<Action>,
    /// Calls as C1 and C2 count them: for terminus2 every entry of `commands`, else the tool calls.
    pub calls: usize,
    pub observations: Vec<Observation<'a>>,
    /// Content, then argument values.
    pub next_text: String,
    /// terminus2: it said that the task is done.
    pub task_complete: bool,
}

/// A record read for scoring.
#[derive(Debug)]
pub(super) struct Conversation<'a> {
    pub scaffold: Scaffold,
    pub declared_tools: usize,
    pub turns: Vec<Turn<'a>>,
    /// The last message is an assistant's.
    pub ends_with_assistant: bool,
}

pub(super) fn scaffold(record: Scored<'_>) -> Scaffold {
    if record.tools.is_empty() {
        return Scaffold::Terminus2;
    }
    let names: Vec<&str> = record.tools.iter().map(tool_name).collect();
    if names.iter().all(|n| OPENHANDS_SDK_TOOLS.contains(n)) {
        return Scaffold::OpenhandsSdk;
    }
    let claude_style = names.iter().any(|n| {
        n.eq_ignore_ascii_case("enterworktree")
            || CLAUDE_STYLE_TOOLS.iter().any(|known| n.eq_ignore_ascii_case(known))
    });
    if !claude_style {
        return Scaffold::Openhands;
    }
    let system = record.messages.iter().find(|m| role(m) == "system").map(content).unwrap_or_default();
    let opening = head(&system, 500).to_lowercase();
    if opening.contains("claude code") || opening.contains("anthropic") {
        Scaffold::ClaudeCode
    } else {
        Scaffold::OpenCode
    }
}

/// The name of a declared tool, in OpenAI's nested shape or flat.
fn tool_name(tool: &Value) -> &str {
    tool.get("function").unwrap_or(tool).get("name").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

/// A message's text: its string content, or the text of its parts, one per line.
fn content(message: &Value) -> Cow<'_, str> {
    match message.get("content") {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(Value::Array(parts)) => Cow::Owned(
            parts
                .iter()
                .filter_map(|p| p.as_str().or_else(|| p.get("text").and_then(Value::as_str)))
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        _ => Cow::Borrowed(""),
    }
}

impl<'a> Conversation<'a> {
    pub(super) fn read(record: Scored<'a>) -> Self {
        let scaffold = scaffold(record);
        let mut turns: Vec<Turn<'a>> = Vec::new();
        let mut previous = "";
        for message in record.messages {
            let role = role(message);
            match role {
                "assistant" if scaffold == Scaffold::Terminus2 => turns.push(terminal_turn(message)),
                "assistant" => turns.push(tool_turn(message)),
                "user" if scaffold == Scaffold::Terminus2 && previous == "assistant" => {
                    if let Some(turn) = turns.last_mut() {
                        let ran_tests = turn.actions.iter().any(Action::runs_tests);
                        turn.observations.push(Observation { text: content(message), ran_tests });
                    }
                }
                "tool" if scaffold != Scaffold::Terminus2 => {
                    if let Some(turn) = turns.last_mut() {
                        let call = turn.actions.get(turn.observations.len());
                        let ran_tests = call.is_some_and(Action::runs_tests);
                        turn.observations.push(Observation { text: content(message), ran_tests });
                    }
                }
                _ => {}
            }
            previous = role;
        }
        let ends_with_assistant = previous == "assistant";
        Self { scaffold, declared_tools: record.tools.len(), turns, ends_with_assistant }
    }
}

impl Action {
    pub(super) fn runs_tests(&self) -> bool {
        self.command.as_deref().is_some_and(shell::runs_tests)
    }
}

fn tool_turn(message: &Value) -> Turn<'_> {
    let mut next_text: Vec<Cow<'_, str>> = Vec::new();
    let text = content(message);
    if !text.is_empty() {
        next_text.push(text);
    }
    let mut actions = Vec::new();
    for call in message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
        let function = call.get("function").unwrap_or(call);
        let name = function.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let arguments = arguments(function.get("arguments"));
        next_text.extend(arguments.values().map(|value| match value {
            Value::String(text) => Cow::Owned(text.clone()),
            other => Cow::Owned(python_json(other)),
        }));
        let lower = name.to_ascii_lowercase();
        let command = arguments.get("command").and_then(Value::as_str);
        let edits = match lower.as_str() {
            "edit" | "write" => edited_path(&arguments),
            "file_editor" | "str_replace_editor"
                if matches!(command, Some("str_replace" | "create" | "insert")) =>
            {
                edited_path(&arguments)
            }
            _ => None,
        };
        let command = command.filter(|_| SHELL_TOOLS.contains(&lower.as_str())).map(str::to_owned);
        actions.push(Action { name, command, edits });
    }
    Turn {
        calls: actions.len(),
        actions,
        observations: Vec::new(),
        next_text: next_text.join(" "),
        task_complete: false,
    }
}

/// Arguments as an object; whatever is none gives no arguments.
fn arguments(value: Option<&Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Map::new(),
    }
}

fn edited_path(arguments: &Map<String, Value>) -> Option<String> {
    ["file_path", "filePath", "path"]
        .iter()
        .filter_map(|key| arguments.get(*key).and_then(Value::as_str))
        .find(|path| !path.is_empty())
        .map(str::to_owned)
}

fn terminal_turn(message: &Value) -> Turn<'_> {
    let text = content(message);
    let reply: Map<String, Value> = serde_json::from_str(body(&text)).unwrap_or_default();
    let commands = reply.get("commands").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let actions = commands
        .iter()
        .filter_map(|command| {
            let keystrokes = command.get("keystrokes").and_then(Value::as_str)?;
            let name = shell::command_name(keystrokes)?.to_owned();
            Some(Action { name, command: Some(keystrokes.to_owned()), edits: None })
        })
        .collect();
    Turn {
        actions,
        calls: commands.len(),
        observations: Vec::new(),
        task_complete: reply.get("task_complete") == Some(&Value::Bool(true)),
        next_text: text.into_owned(),
    }
}

/// A terminus2 reply without its leading think block.
fn body(text: &str) -> &str {
    let text = text.trim();
    match text.strip_prefix("<think>").and_then(|rest| rest.split_once("</think>")) {
        Some((_, body)) => body.trim(),
        None => text,
    }
}
