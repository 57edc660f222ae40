//! `agent/trajectory.json`: a rollout in the Agent Trajectory Interchange Format (ATIF).
//!
//! Shapes follow Harbor 0.24's reader, which refuses unknown fields; [`Trajectory::check`] holds the
//! rules that go beyond shapes. Documents of versions 1.0 to 1.8 are read, 1.7 is written.

use crate::files::{self, FileError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The version that is written.
pub const SCHEMA_VERSION: &str = "ATIF-v1.7";

/// The newest minor version of major version 1 that is read.
const NEWEST_MINOR: u32 = 8;

/// A document that cannot be read or would be refused by its readers.
#[derive(Debug, thiserror::Error)]
pub enum AtifError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not an ATIF document.
    #[error("{} is not an ATIF document: {source}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What was expected where.
        #[source]
        source: serde_json::Error,
    },
    /// The document breaks one of the format's rules.
    #[error("{place}: {problem}")]
    Rule {
        /// The field, as a path from the root: `steps[3].step_id`.
        place: String,
        /// What was found and what is expected.
        problem: String,
    },
}

/// A whole rollout, or a part of one that was delegated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trajectory {
    /// `ATIF-v1.<minor>`.
    pub schema_version: String,
    /// The run it belongs to: `<trial>__agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Names this document; required and unique among embedded sub-agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trajectory_id: Option<String>,
    /// Who acted.
    pub agent: Agent,
    /// What was said and done, in order; at least one.
    pub steps: Vec<Step>,
    /// Remarks for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Sums over the whole rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_metrics: Option<FinalMetrics>,
    /// The file that goes on where this one ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued_trajectory_ref: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
    /// Delegated parts kept inside this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subagent_trajectories: Option<Vec<Trajectory>>,
}

/// Who acted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The scaffold: `terminus-2`.
    pub name: String,
    /// Its version, `unknown` when it has none.
    pub version: String,
    /// The model it called, unless a step says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// The tools it declared, in OpenAI's function-calling shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_definitions: Option<Vec<Value>>,
    /// Anything else, its options for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// Who speaks in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The harness.
    System,
    /// Whoever gave the task.
    User,
    /// The agent.
    Agent,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// From 1, without gaps.
    pub step_id: u64,
    /// ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Who speaks.
    pub source: Source,
    /// The model that answered; agent steps only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// A word or a number; agent steps only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<Value>,
    /// What is said.
    pub message: Content,
    /// The model's reasoning; agent steps only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// What is done; agent steps only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// Figures of the model call; agent steps only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The step is repeated from another document and counts there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_copied_context: Option<bool>,
    /// How many model calls the step stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_call_count: Option<u64>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

impl Step {
    /// A step that only says something. Its `step_id` is 0 until a document takes it up.
    #[must_use]
    pub fn new(source: Source, message: impl Into<String>) -> Self {
        Self {
            step_id: 0,
            timestamp: None,
            source,
            model_name: None,
            reasoning_effort: None,
            message: Content::Text(message.into()),
            reasoning_content: None,
            tool_calls: None,
            observation: None,
            metrics: None,
            is_copied_context: None,
            llm_call_count: None,
            extra: None,
        }
    }
}

/// Text, or parts of several kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Text alone.
    Text(String),
    /// Text, images and sound.
    Parts(Vec<ContentPart>),
}

impl Content {
    /// The text; of several parts, those that are text, one a line.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => {
                parts.iter().filter_map(|part| part.text.as_deref()).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentPart {
    /// `text`, `image` or `audio`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// For the others: `{media_type, path, duration_sec?}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Map<String, Value>>,
}

/// Something the agent does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Named by the results that belong to it.
    pub tool_call_id: String,
    /// The tool.
    pub function_name: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// What came of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// One or more results.
    pub results: Vec<ObservationResult>,
}

/// One result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservationResult {
    /// The tool call of the same step it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_call_id: Option<String>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Where delegated work is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subagent_trajectory_ref: Option<Vec<SubagentTrajectoryRef>>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// Where delegated work is recorded: `trajectory_id` or `trajectory_path` must be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubagentTrajectoryRef {
    /// An embedded document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trajectory_id: Option<String>,
    /// The run it belongs to; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// A file, relative to the one that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trajectory_path: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// Figures of one step's model call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Tokens of the request, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// Those of `prompt_tokens` that came from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// The request's token ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u64>>,
    /// The answer's token ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_token_ids: Option<Vec<u64>>,
    /// The log probability of each of the answer's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<f64>>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// Sums over a document, delegated work included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalMetrics {
    /// Tokens of all requests, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_prompt_tokens: Option<u64>,
    /// Tokens of all answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_completion_tokens: Option<u64>,
    /// Those of `total_prompt_tokens` that came from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cached_tokens: Option<u64>,
    /// USD; absent when no call carried a cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cost_usd: Option<f64>,
    /// How many steps the document has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u64>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

impl Trajectory {
    /// A document without steps yet.
    #[must_use]
    pub fn new(session_id: impl Into<String>, agent: Agent) -> Self {
        Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            session_id: Some(session_id.into()),
            trajectory_id: None,
            agent,
            steps: Vec::new(),
            notes: None,
            final_metrics: None,
            continued_trajectory_ref: None,
            extra: None,
            subagent_trajectories: None,
        }
    }

    /// Appends `step` with the next `step_id` and gives its index.
    pub fn push(&mut self, mut step: Step) -> usize {
        let index = self.steps.len();
        step.step_id = index as u64 + 1;
        self.steps.push(step);
        index
    }

    /// Reads `path` and checks it.
    ///
    /// # Errors
    /// When the file cannot be read, has another shape, or breaks a rule of the format.
    pub fn read(path: &Path) -> Result<Self, AtifError> {
        let bytes = std::fs::read(path).map_err(FileError::at("read", path))?;
        let document: Self = serde_json::from_slice(&bytes)
            .map_err(|source| AtifError::Shape { path: path.to_owned(), source })?;
        document.check()?;
        Ok(document)
    }

    /// Replaces `path` by this document.
    ///
    /// # Errors
    /// When it breaks a rule of the format (nothing is written then) or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), AtifError> {
        self.check()?;
        Ok(files::replace_json(path, self)?)
    }

    /// The rules that readers hold a document to, beyond its shape.
    ///
    /// # Errors
    /// The first broken rule, with its place.
    pub fn check(&self) -> Result<(), AtifError> {
        check_version(&self.schema_version)?;
        if self.steps.is_empty() {
            return Err(rule("steps", "is empty; at least one step is expected"));
        }
        for (index, step) in self.steps.iter().enumerate() {
            check_step(index, step)?;
        }
        let mut seen = HashSet::new();
        for (index, part) in self.subagent_trajectories.iter().flatten().enumerate() {
            let place = format!("subagent_trajectories[{index}].trajectory_id");
            match part.trajectory_id.as_deref() {
                None => return Err(rule(place, "is missing; an embedded trajectory needs one")),
                Some(id) if !seen.insert(id) => {
                    return Err(rule(place, format!("is {id:?}, which another one has too")));
                }
                Some(_) => part.check()?,
            }
        }
        Ok(())
    }
}

/// Refuses versions this program does not know, by name.
fn check_version(version: &str) -> Result<(), AtifError> {
    let minor = version.strip_prefix("ATIF-v1.").and_then(|minor| minor.parse::<u32>().ok());
    match minor {
        Some(minor) if minor <= NEWEST_MINOR => Ok(()),
        _ => Err(rule(
            "schema_version",
            format!("is {version:?}; ATIF-v1.0 to ATIF-v1.{NEWEST_MINOR} can be read"),
        )),
    }
}

/// The rules of one step.
fn check_step(index: usize, step: &Step) -> Result<(), AtifError> {
    let expected = index as u64 + 1;
    if step.step_id != expected {
        let found = step.step_id;
        return Err(rule(format!("steps[{index}].step_id"), format!("is {found}, expected {expected}")));
    }
    if step.source != Source::Agent {
        let present = [
            ("model_name", step.model_name.is_some()),
            ("reasoning_effort", step.reasoning_effort.is_some()),
            ("reasoning_content", step.reasoning_content.is_some()),
            ("tool_calls", step.tool_calls.is_some()),
            ("metrics", step.metrics.is_some()),
        ];
        if let Some((field, _)) = present.iter().find(|(_, present)| *present) {
            return Err(rule(format!("steps[{index}].{field}"), "belongs to agent steps only"));
        }
    }
    let calls: HashSet<&str> =
        step.tool_calls.iter().flatten().map(|call| call.tool_call_id.as_str()).collect();
    for (at, result) in step.observation.iter().flat_map(|seen| &seen.results).enumerate() {
        let place = format!("steps[{index}].observation.results[{at}]");
        if let Some(id) = result.source_call_id.as_deref().filter(|id| !calls.contains(id)) {
            return Err(rule(
                format!("{place}.source_call_id"),
                format!("is {id:?}, which no tool call of this step has"),
            ));
        }
        for reference in result.subagent_trajectory_ref.iter().flatten() {
            if reference.trajectory_id.is_none() && reference.trajectory_path.is_none() {
                return Err(rule(
                    format!("{place}.subagent_trajectory_ref"),
                    "names neither a trajectory_id nor a trajectory_path",
                ));
            }
        }
    }
    Ok(())
}

/// A broken rule.
fn rule(place: impl Into<String>, problem: impl Into<String>) -> AtifError {
    AtifError::Rule { place: place.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Trajectory {
        let agent = Agent { name: "terminus-2".into(), version: "2.0.0".into(), ..Agent::default() };
        let mut document = Trajectory::new("task__abc__agent", agent);
        document.push(Step::new(Source::User, "do it"));
        let mut step = Step::new(Source::Agent, "Analysis: none");
        step.tool_calls = Some(vec![ToolCall {
            tool_call_id: "call_0_1".into(),
            function_name: "bash_command".into(),
            arguments: Map::new(),
            extra: None,
        }]);
        step.observation = Some(Observation {
            results: vec![ObservationResult {
                source_call_id: Some("call_0_1".into()),
                content: Some(Content::Text("seen".into())),
                ..ObservationResult::default()
            }],
        });
        document.push(step);
        document
    }

    #[test]
    fn a_document_survives_being_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent/trajectory.json");
        document().write(&path).unwrap();
        assert_eq!(Trajectory::read(&path).unwrap(), document());
    }

    #[test]
    fn absent_fields_are_left_out() {
        let value = serde_json::to_value(document()).unwrap();
        assert_eq!(value["steps"][0], json!({"step_id": 1, "source": "user", "message": "do it"}));
        assert_eq!(value["agent"], json!({"name": "terminus-2", "version": "2.0.0"}));
    }

    #[test]
    fn broken_rules_are_named_with_their_place() {
        type Break = fn(&mut Trajectory);
        let cases: [(Break, &str); 7] = [
            (|d| d.steps.clear(), "steps: is empty"),
            (|d| d.steps[1].step_id = 3, "steps[1].step_id: is 3, expected 2"),
            (|d| d.steps[0].model_name = Some("m".into()), "steps[0].model_name: belongs to agent steps"),
            (|d| d.steps[1].tool_calls = None, "steps[1].observation.results[0].source_call_id"),
            (|d| d.schema_version = "ATIF-v2.0".into(), "schema_version: is \"ATIF-v2.0\""),
            (|d| d.subagent_trajectories = Some(vec![d.clone()]), "subagent_trajectories[0].trajectory_id"),
            (
                |d| {
                    let result = &mut d.steps[1].observation.as_mut().unwrap().results[0];
                    result.subagent_trajectory_ref = Some(vec![SubagentTrajectoryRef::default()]);
                },
                "neither a trajectory_id nor a trajectory_path",
            ),
        ];
        for (break_it, expected) in cases {
            let mut document = document();
            break_it(&mut document);
            let message = document.check().unwrap_err().to_string();
            assert!(message.contains(expected), "{message} does not hold {expected}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let mut value = serde_json::to_value(document()).unwrap();
        value["steps"][0]["colour"] = json!("blue");
        assert!(serde_json::from_value::<Trajectory>(value).is_err());
    }

    #[test]
    fn parts_give_their_text() {
        let parts: Content = serde_json::from_value(json!([
            {"type": "text", "text": "a"},
            {"type": "image", "source": {"media_type": "image/png", "path": "x.png"}},
            {"type": "text", "text": "b"}
        ]))
        .unwrap();
        assert_eq!(parts.text(), "a\nb");
    }
}
