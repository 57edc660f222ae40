//! terminus-2: from the rollout's ATIF document to turns of JSON replies.

use super::{Conversation, Converter};
use crate::calls;
use crate::dropped::{Dropped, Reason};
use crate::select::Trial;
use crate::{Scaffold, text};
use serde_json::{Map, Value, json};

/// Reads `agent/trajectory.json`; the captured calls are asked only what a model was given after a summary.
#[derive(Debug)]
pub(super) struct Terminus2;

impl Converter for Terminus2 {
    fn scaffolds(&self) -> &'static [Scaffold] {
        &[Scaffold::Terminus2]
    }

    fn has_tool_calls(&self) -> bool {
        false
    }

    fn convert(&self, trial: &Trial) -> Result<Vec<Conversation>, Dropped> {
        let path = trial.files.dir().atif();
        let bytes = trial
            .files
            .read(&path)?
            .ok_or_else(|| Dropped::new(Reason::NoTrajectory, format!("{} is not there", path.display())))?;
        let document: Value = serde_json::from_slice(&bytes)
            .map_err(|e| Dropped::new(Reason::BadTrajectory, format!("{}: {e}", path.display())))?;
        let mut conversations = Vec::new();
        for steps in trajectories(&document)? {
            for segment in segments(steps) {
                conversations.push(conversation(trial, &segment)?);
            }
        }
        if conversations.is_empty() {
            return Err(Dropped::new(Reason::NoTurns, format!("{} holds no steps", path.display())));
        }
        Ok(conversations)
    }
}

/// The step lists of a document: `{steps}`, `{trajectory: {steps}}`, a list or `{data: […]}` of either.
fn trajectories(document: &Value) -> Result<Vec<&[Value]>, Dropped> {
    let several = document.as_array().or_else(|| document.get("data").and_then(Value::as_array));
    let whole: Vec<&Value> = several.map_or_else(|| vec![document], |list| list.iter().collect());
    whole
        .into_iter()
        .map(|one| {
            let steps =
                one.get("steps").or_else(|| one.pointer("/trajectory/steps")).and_then(Value::as_array);
            steps
                .map(Vec::as_slice)
                .ok_or_else(|| Dropped::new(Reason::BadTrajectory, "expected steps, or trajectory.steps"))
        })
        .collect()
}

/// A stretch of steps between summaries.
#[derive(Debug, Default)]
struct Segment<'a> {
    /// The hand-over's text, when the stretch begins with one.
    handover: Option<String>,
    steps: Vec<&'a Value>,
}

/// Cuts steps at summaries: a system step that refers to the summarising sub-agents, then the user step that
/// hands over.
fn segments(steps: &[Value]) -> Vec<Segment<'_>> {
    let mut segments = vec![Segment::default()];
    let mut summarised = false;
    for step in steps {
        match source(step) {
            "system" => summarised |= refers_to_subagents(step),
            "user" if summarised => {
                summarised = false;
                segments.push(Segment { handover: Some(text::of(step.get("message"))), steps: Vec::new() });
            }
            "user" | "agent" => {
                if let Some(segment) = segments.last_mut() {
                    segment.steps.push(step);
                }
            }
            _ => {}
        }
    }
    // A run that ended right after a summary said nothing more.
    segments.retain(|s| s.handover.is_none() || s.steps.iter().any(|step| source(step) == "agent"));
    segments
}

fn source(step: &Value) -> &str {
    step.get("source").and_then(Value::as_str).unwrap_or_default()
}

fn results(step: &Value) -> &[Value] {
    step.pointer("/observation/results").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn refers_to_subagents(step: &Value) -> bool {
    results(step).iter().any(|r| r.get("subagent_trajectory_ref").is_some_and(|v| !v.is_null()))
}

fn conversation(trial: &Trial, segment: &Segment<'_>) -> Result<Conversation, Dropped> {
    let mut messages = match &segment.handover {
        Some(handover) => given_after(trial, handover)?,
        None => Vec::new(),
    };
    for step in &segment.steps {
        if source(step) == "user" {
            messages.push(json!({"role": "user", "content": text::of(step.get("message"))}));
        } else {
            messages.push(json!({"role": "assistant", "content": reply(step)?}));
            if let Some(observed) =
                results(step).first().and_then(|r| r.get("content")).filter(|c| !c.is_null())
            {
                messages.push(json!({"role": "user", "content": text::of(Some(observed))}));
            }
        }
    }
    if messages.last().is_some_and(|m| m["role"] == "user") {
        messages.pop();
    }
    if messages.is_empty() {
        return Err(Dropped::new(Reason::NoTurns, "no user turn that is followed by an agent's"));
    }
    for (at, message) in messages.iter().enumerate() {
        let expected = if at % 2 == 0 { "user" } else { "assistant" };
        if message["role"] != expected {
            return Err(Dropped::new(
                Reason::RolesDoNotAlternate,
                format!("message {} is {}, expected {expected}", at + 1, message["role"]),
            ));
        }
    }
    Ok(Conversation { messages, ..Conversation::default() })
}

/// What the model was given with a hand-over, as the captured call shows it: messages of one role that follow
/// one another are joined by a blank line, and what the model is given of its own words carries no weight.
fn given_after(trial: &Trial, handover: &str) -> Result<Vec<Value>, Dropped> {
    let captured = calls::messages_ending_with(&trial.files, handover)?.ok_or_else(|| {
        Dropped::new(Reason::HandoverNotCaptured, "no captured call ends with the hand-over after a summary")
    })?;
    let mut given: Vec<Value> = Vec::new();
    for message in &captured {
        let role = match message.get("role").and_then(Value::as_str) {
            Some("assistant") => "assistant",
            Some("user") => "user",
            _ => continue,
        };
        let content = text::of(message.get("content"));
        match given.last_mut() {
            Some(last) if last["role"] == role => {
                let joined = format!("{}\n\n{content}", last["content"].as_str().unwrap_or_default());
                last["content"] = Value::String(joined);
            }
            _ if role == "assistant" => given.push(json!({"role": role, "content": content, "weight": 0})),
            _ => given.push(json!({"role": role, "content": content})),
        }
    }
    Ok(given)
}

/// An agent step as the reply that the model gave: JSON, after its reasoning.
fn reply(step: &Value) -> Result<String, Dropped> {
    let (analysis, plan) = analysis_and_plan(&text::of(step.get("message")));
    let mut commands = Vec::new();
    let mut complete = false;
    for call in step.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
        if call.get("function_name").and_then(Value::as_str) == Some("mark_task_complete") {
            complete = true;
        } else if let Some(command) = command(call) {
            commands.push(command);
        }
    }
    let mut body = Map::new();
    body.insert("analysis".to_owned(), Value::String(analysis));
    body.insert("plan".to_owned(), Value::String(plan));
    body.insert("commands".to_owned(), Value::Array(commands));
    if complete {
        body.insert("task_complete".to_owned(), Value::Bool(true));
    }
    let body = serde_json::to_string_pretty(&body)
        .map_err(|e| Dropped::new(Reason::BodyNotJson, format!("a reply cannot be written: {e}")))?;
    Ok(text::with_think(text::of(step.get("reasoning_content")).trim(), &body))
}

/// A tool call as a command: its keystrokes, else its shell command and a newline.
fn command(call: &Value) -> Option<Value> {
    let arguments = match call.get("arguments")? {
        Value::Object(map) => map.clone(),
        Value::String(text) => serde_json::from_str(text).ok()?,
        _ => return None,
    };
    let keystrokes = match arguments.get("keystrokes").and_then(Value::as_str) {
        Some(keystrokes) => keystrokes.to_owned(),
        None => format!("{}\n", arguments.get("command").and_then(Value::as_str)?),
    };
    let mut command = Map::new();
    command.insert("keystrokes".to_owned(), Value::String(keystrokes));
    if let Some(duration) = arguments.get("duration").filter(|d| !d.is_null()) {
        command.insert("duration".to_owned(), duration.clone());
    }
    Some(Value::Object(command))
}

/// Splits `Analysis: … Plan: …`; text that begins with neither is all analysis.
fn analysis_and_plan(message: &str) -> (String, String) {
    let message = message.trim();
    if let Some(plan) = message.strip_prefix("Plan:") {
        return (String::new(), plan.trim().to_owned());
    }
    let Some(rest) = message.strip_prefix("Analysis:") else {
        return (message.to_owned(), String::new());
    };
    // A line of its own first: the analysis may speak of a "Plan:" in passing.
    let split = rest.split_once("\nPlan:").or_else(|| {
        rest.match_indices("Plan:")
            .find(|(at, _)| rest[..*at].ends_with(char::is_whitespace))
            .map(|(at, found)| (&rest[..at], &rest[at + found.len()..]))
    });
    let (analysis, plan) = split.unwrap_or((rest, ""));
    (analysis.trim().to_owned(), plan.trim().to_owned())
}

#[cfg(test)]
mod tests;
