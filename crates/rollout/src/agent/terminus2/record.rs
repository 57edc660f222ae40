//! `agent/trajectory.json` while the run goes on, and the documents of its summaries beside it.

use super::conversation::{Conversation, Trace};
use super::model::{Reply, Usage};
use super::parser::Parsed;
use crate::agent::{AgentFailure, file_failure};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use trajgen_contract::atif::{
    Agent, Content, FinalMetrics, Metrics, Observation, ObservationResult, Source, Step,
    SubagentTrajectoryRef, ToolCall, Trajectory,
};
use trajgen_contract::files;

const FILE: &str = "trajectory.json";

/// What several calls cost together.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    usage: Usage,
}

impl Totals {
    fn add(&mut self, usage: Usage) {
        let sum = &mut self.usage;
        sum.prompt += usage.prompt;
        sum.completion += usage.completion;
        sum.cached += usage.cached;
        sum.cost = match (sum.cost, usage.cost) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
    }

    fn metrics(self, steps: usize) -> FinalMetrics {
        FinalMetrics {
            total_prompt_tokens: Some(self.usage.prompt),
            total_completion_tokens: Some(self.usage.completion),
            total_cached_tokens: Some(self.usage.cached),
            total_cost_usd: self.usage.cost,
            total_steps: Some(steps as u64),
            extra: None,
        }
    }
}

/// One of a summary's three calls, as it is recorded.
pub(super) struct Delegated<'a> {
    /// Which summary of the run, from 1.
    pub(super) number: u64,
    /// `summary`, `questions` or `answers`.
    pub(super) part: &'static str,
    /// What the model was given, up to its last prompt.
    pub(super) given: Vec<Step>,
    /// The last prompt.
    pub(super) prompt: &'a str,
    /// Its answer.
    pub(super) reply: &'a Reply,
}

/// The record of one run.
#[derive(Debug)]
pub(super) struct Record {
    folder: PathBuf,
    model: String,
    document: Trajectory,
    totals: Totals,
}

impl Record {
    /// A record without steps, to be kept in `folder`.
    pub(super) fn new(folder: PathBuf, session_id: String, agent: Agent) -> Self {
        let model = agent.model_name.clone().unwrap_or_default();
        Self { folder, model, document: Trajectory::new(session_id, agent), totals: Totals::default() }
    }

    /// Counts a call, whether or not a step shows it.
    pub(super) fn count(&mut self, reply: &Reply) {
        self.totals.add(reply.usage.unwrap_or_default());
    }

    /// Adds what the model is told outside of observations, and gives the step's index.
    pub(super) fn say(&mut self, text: &str) -> usize {
        self.push(Step::new(Source::User, text))
    }

    /// Adds a turn whose reply could not be used, with what the model is told about it.
    pub(super) fn unusable_turn(&mut self, reply: &Reply, answer: &str) -> usize {
        let step = Step { observation: Some(seen(None, answer)), ..self.reply_step(reply) };
        self.push(step)
    }

    /// Adds a turn, what it saw still to come.
    pub(super) fn turn(&mut self, turn: u64, reply: &Reply, parsed: &Parsed) -> usize {
        let mut calls: Vec<ToolCall> = (1..)
            .zip(&parsed.commands)
            .map(|(number, command)| ToolCall {
                tool_call_id: format!("call_{turn}_{number}"),
                function_name: "bash_command".to_owned(),
                arguments: object(json!({
                    "keystrokes": command.keystrokes,
                    "duration": command.duration,
                })),
                extra: None,
            })
            .collect();
        if parsed.task_complete {
            calls.push(ToolCall {
                tool_call_id: format!("call_{turn}_task_complete"),
                function_name: "mark_task_complete".to_owned(),
                arguments: Map::new(),
                extra: None,
            });
        }
        let said = [("Analysis", &parsed.analysis), ("Plan", &parsed.plan)]
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!("{name}: {text}"))
            .collect::<Vec<_>>()
            .join("\n");
        let step = Step {
            message: Content::Text(said),
            tool_calls: Some(calls).filter(|calls| !calls.is_empty()),
            ..self.reply_step(reply)
        };
        self.push(step)
    }

    /// Adds what the turn at `index` saw. It belongs to a command when there is exactly one.
    pub(super) fn observe(&mut self, index: usize, parsed: &Parsed, text: &str) {
        if let Some(step) = self.document.steps.get_mut(index) {
            let call = step.tool_calls.as_ref().and_then(|calls| calls.first());
            let call = call.filter(|_| parsed.commands.len() == 1).map(|call| call.tool_call_id.clone());
            step.observation = Some(seen(call, text));
        }
    }

    /// Adds that the conversation was summarised, by the documents `parts`.
    pub(super) fn summarised(&mut self, parts: Vec<SubagentTrajectoryRef>) {
        let result =
            ObservationResult { subagent_trajectory_ref: Some(parts), ..ObservationResult::default() };
        let mut step = Step::new(
            Source::System,
            "The conversation was summarised and handed over, to free context for the rest of the task.",
        );
        step.observation = Some(Observation { results: vec![result] });
        step.extra =
            Some(object(json!({"context_management": {"type": "compaction", "boundary": "replace"}})));
        self.push(step);
    }

    /// The steps that stand for `conversation`, marked as copied and without the figures that are
    /// counted in this document already.
    pub(super) fn copied(&self, conversation: &Conversation) -> Vec<Step> {
        let step = |(message, trace): (&super::model::Message, Trace)| match trace {
            Trace::Step(index) => self.document.steps.get(index).cloned().map(copied_step),
            Trace::Observation => None,
            Trace::Summary => Some(self.copied_message(message.role, &message.content, None)),
        };
        conversation.traced().filter_map(step).collect()
    }

    /// A message that another document records, as a step.
    pub(super) fn copied_message(&self, role: &str, text: &str, reasoning: Option<&str>) -> Step {
        let source = if role == "assistant" { Source::Agent } else { Source::User };
        let mut step = Step::new(source, text);
        step.timestamp = Some(crate::clock::now());
        step.is_copied_context = Some(true);
        if source == Source::Agent {
            step.model_name = Some(self.model.clone());
            step.reasoning_content = reasoning.map(str::to_owned);
            step.extra = Some(note("Figures are in the summary's own document"));
        }
        step
    }

    /// Writes one of a summary's documents and gives the reference to it.
    pub(super) async fn delegate(
        &self,
        delegated: Delegated<'_>,
    ) -> Result<SubagentTrajectoryRef, AgentFailure> {
        let Delegated { number, part, given, prompt, reply } = delegated;
        let parent = self.document.session_id.clone().unwrap_or_default();
        let session_id = format!("{parent}-summarization-{number}-{part}");
        let agent = Agent {
            name: format!("{}-summarization-{part}", self.document.agent.name),
            extra: Some(object(json!({"parent_session_id": parent, "summarization_index": number}))),
            ..self.document.agent.clone()
        };
        let mut document = Trajectory::new(session_id.clone(), agent);
        for step in given {
            document.push(step);
        }
        let mut asked = Step::new(Source::User, prompt);
        asked.timestamp = Some(crate::clock::now());
        document.push(asked);
        document.push(self.reply_step(reply));
        let mut totals = Totals::default();
        totals.add(reply.usage.unwrap_or_default());
        document.final_metrics = Some(totals.metrics(document.steps.len()));
        let file = format!("trajectory.summarization-{number}-{part}.json");
        write(self.folder.join(&file), &document).await?;
        Ok(SubagentTrajectoryRef {
            trajectory_id: None,
            session_id: Some(session_id),
            trajectory_path: Some(file),
            extra: Some(object(json!({"summary": format!("Summary {number} of the conversation: {part}")}))),
        })
    }

    /// Replaces `trajectory.json` by the record so far.
    pub(super) async fn save(&mut self) -> Result<(), AgentFailure> {
        self.document.final_metrics = Some(self.totals.metrics(self.document.steps.len()));
        write(self.folder.join(FILE), &self.document).await
    }

    fn push(&mut self, mut step: Step) -> usize {
        step.timestamp = Some(crate::clock::now());
        self.document.push(step)
    }

    /// An agent step that holds a reply as it came.
    fn reply_step(&self, reply: &Reply) -> Step {
        let mut step = Step::new(Source::Agent, reply.text.clone());
        step.timestamp = Some(crate::clock::now());
        step.model_name = Some(reply.model.clone().unwrap_or_else(|| self.model.clone()));
        step.reasoning_content = reply.reasoning.clone();
        step.metrics = metrics(reply);
        step
    }
}

/// The figures of one call; none when the answer gave none.
fn metrics(reply: &Reply) -> Option<Metrics> {
    let metrics = Metrics {
        prompt_tokens: reply.usage.map(|usage| usage.prompt),
        completion_tokens: reply.usage.map(|usage| usage.completion),
        cached_tokens: reply.usage.map(|usage| usage.cached).filter(|&cached| cached > 0),
        cost_usd: reply.usage.and_then(|usage| usage.cost),
        prompt_token_ids: reply.prompt_token_ids.clone(),
        completion_token_ids: reply.completion_token_ids.clone(),
        logprobs: reply.logprobs.clone(),
        extra: None,
    };
    (metrics != Metrics::default()).then_some(metrics)
}

fn copied_step(mut step: Step) -> Step {
    step.is_copied_context = Some(true);
    if step.metrics.take().is_some() {
        step.extra.get_or_insert_default().extend(note("Figures are in the main document"));
    }
    step
}

fn seen(source_call_id: Option<String>, text: &str) -> Observation {
    let content = Some(Content::Text(text.to_owned()));
    Observation {
        results: vec![ObservationResult { source_call_id, content, ..ObservationResult::default() }],
    }
}

fn note(text: &str) -> Map<String, Value> {
    object(json!({ "note": text }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Writes off the async threads: the file is synced.
async fn write(path: PathBuf, document: &Trajectory) -> Result<(), AgentFailure> {
    let document = document.clone();
    let written = tokio::task::spawn_blocking(move || files::replace_json(&path, &document)).await;
    match written {
        Ok(written) => written.map_err(|error| file_failure(&error)),
        // The process is shutting down; the last whole document is still there.
        Err(_) => Ok(()),
    }
}
