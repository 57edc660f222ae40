//! Rule score v5, bit-exact: its oddities are part of it, so that scores compare with data scored elsewhere.
//!
//! `0.20·Efficiency + 0.15·Style + 0.25·ToolMastery + 0.25·Completion + 0.15·Precision`. What each part
//! measures stands at its function; `docs/sft.md` has a worked example of every one.

mod conversation;
mod shell;
mod text;

use super::{CallCounts, DatasetFacts, Scored, Scorer};
use conversation::{Conversation, Scaffold, Turn};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// The number of tools assumed for terminus2, which declares none (B1).
const TERMINUS2_TOOLS: usize = 18;
/// How many keywords of an observation count (B2).
const OBSERVATION_KEYWORDS: usize = 10;
/// How many keywords of the next message count (B2).
const NEXT_KEYWORDS: usize = 50;

/// The default scorer.
#[derive(Debug, Clone, Copy, Default)]
pub struct V5;

impl Scorer for V5 {
    fn name(&self) -> &'static str {
        "v5"
    }

    fn scaffold(&self, record: Scored<'_>) -> &'static str {
        conversation::scaffold(record).name()
    }

    fn observe(&self, record: Scored<'_>, facts: &mut DatasetFacts) {
        if record.agent_type != "subagent" {
            let steps = record.messages.iter().filter(|m| conversation::role(m) == "assistant").count();
            facts.add_steps(conversation::scaffold(record).name(), steps);
        }
    }

    fn score(&self, record: Scored<'_>, facts: &DatasetFacts) -> Option<Map<String, Value>> {
        if record.agent_type == "subagent" {
            return None;
        }
        let conversation = Conversation::read(record);
        let median = facts.median_steps(conversation.scaffold.name());
        Some(composed(&conversation, median))
    }

    fn calls(&self, record: Scored<'_>) -> CallCounts {
        counted_calls(&Conversation::read(record))
    }
}

fn composed(c: &Conversation<'_>, median: f64) -> Map<String, Value> {
    let steps = c.turns.len();
    let (cycles, a1) = error_retry(&c.turns);
    let a2 = step_ratio(steps, median);
    let b1 = action_diversity(c);
    let b2 = observation_use(&c.turns);
    let c1 = call_success(counted_calls(c));
    let c2 = parallelism(&c.turns);
    let d1 = submission(c);
    let d2 = test_verification(c);
    let files = FileUse::of(c);
    let e1 = files.concentration();
    let e2 = files.delete_then_edit();

    let efficiency = 0.8 * a1 + 0.2 * a2;
    let style = 0.4 * b1 + 0.6 * b2;
    let mastery = 0.9 * c1 + 0.1 * c2;
    let completion = 0.3 * d1 + 0.7 * d2;
    let precision = 0.85 * e1 + 0.15 * e2;
    let v3 = 0.5 * efficiency + 0.5 * style;
    let v4 = 0.30 * ((a1 + a2) / 2.0)
        + 0.20 * ((b1 + b2) / 2.0)
        + 0.20 * ((c1 + c2) / 2.0)
        + 0.15 * ((d1 + d2) / 2.0)
        + 0.15 * ((e1 + e2) / 2.0);
    let v5 = 0.20 * efficiency + 0.15 * style + 0.25 * mastery + 0.25 * completion + 0.15 * precision;

    let mut score = Map::new();
    let mut put = |key: &str, value: Value| score.insert(key.to_owned(), value);
    put("scorer", json!("v5"));
    put("scaffold", json!(c.scaffold.name()));
    put("assistant_turns", json!(steps));
    put("total_tool_calls", json!(c.turns.iter().map(|t| t.actions.len()).sum::<usize>()));
    put("error_retry_cycles", json!(cycles));
    for (key, value) in [
        ("a1_error_retry", a1),
        ("a2_step_count_ratio", a2),
        ("b1_action_diversity", b1),
        ("b2_observation_utilization", b2),
        ("c1_tool_success_rate", c1),
        ("c2_tool_parallelism", c2),
        ("d1_submission_completeness", d1),
        ("d2_test_verification", d2),
        ("e1_file_edit_concentration", e1),
        ("e2_delete_then_modify", e2),
        ("efficiency_score", efficiency),
        ("style_score", style),
        ("tool_mastery_score", mastery),
        ("completion_score", completion),
        ("precision_score", precision),
        ("composite_score_v3", v3),
        ("composite_score_v4", v4),
        ("composite_score", v5),
    ] {
        put(key, json!(crate::number::rounded(value, 4)));
    }
    score
}

/// How often each action name occurs, in order of first appearance.
fn name_counts<'a>(turns: &'a [Turn<'_>]) -> IndexMap<&'a str, usize> {
    let mut counts = IndexMap::new();
    for action in turns.iter().flat_map(|t| &t.actions) {
        *counts.entry(action.name.as_str()).or_default() += 1;
    }
    counts
}

/// A1: cycles of an error followed by the same tool, beyond what chance would give. Returns raw cycles and A1.
fn error_retry(turns: &[Turn<'_>]) -> (usize, f64) {
    let counts = name_counts(turns);
    let total: usize = counts.values().sum();
    if total == 0 || turns.iter().all(|t| t.observations.is_empty()) {
        return (0, 1.0);
    }
    let acting: Vec<&Turn<'_>> = turns.iter().filter(|t| !t.actions.is_empty()).collect();
    let (mut error_turns, mut cycles) = (0usize, 0usize);
    for (turn, next) in acting.iter().zip(acting.iter().skip(1)) {
        if turn.observations.iter().any(|o| text::is_error(&o.text, o.ran_tests)) {
            error_turns += 1;
            let used: HashSet<&str> = turn.actions.iter().map(|a| a.name.as_str()).collect();
            if next.actions.iter().any(|a| used.contains(a.name.as_str())) {
                cycles += 1;
            }
        }
    }
    let by_chance: f64 = counts.values().map(|&n| (n as f64 / total as f64).powi(2)).sum();
    let adjusted = (cycles as f64 - error_turns as f64 * by_chance).max(0.0);
    (cycles, 1.0 - (adjusted / 10.0).clamp(0.0, 1.0))
}

/// A2: steps against the data set's median of the same scaffold.
fn step_ratio(steps: usize, median: f64) -> f64 {
    if median == 0.0 {
        return 1.0;
    }
    1.0 - ((steps as f64 / median).clamp(0.5, 3.0) - 0.5) / 2.5
}

/// B1: entropy of action names over its greatest value for the declared tools. Not clipped.
fn action_diversity(c: &Conversation<'_>) -> f64 {
    let counts = name_counts(&c.turns);
    if counts.len() <= 1 {
        return 0.0;
    }
    let total = counts.values().sum::<usize>() as f64;
    let entropy: f64 = -counts
        .values()
        .map(|&n| {
            let p = n as f64 / total;
            p * p.log2()
        })
        .sum::<f64>();
    let choices = match c.scaffold {
        Scaffold::Terminus2 => TERMINUS2_TOOLS,
        _ if c.declared_tools > 1 => c.declared_tools,
        _ => counts.len(),
    };
    entropy / (choices as f64).log2()
}

/// B2: how much of what came back shows up in the next message.
fn observation_use(turns: &[Turn<'_>]) -> f64 {
    let mut shares: Vec<f64> = Vec::new();
    for (turn, next) in turns.iter().zip(turns.iter().skip(1)) {
        if next.next_text.is_empty() {
            continue;
        }
        let after: HashSet<String> = text::keywords(&next.next_text, NEXT_KEYWORDS).into_iter().collect();
        for observation in &turn.observations {
            let top = text::keywords(&observation.text, OBSERVATION_KEYWORDS);
            if !top.is_empty() {
                let used = top.iter().filter(|word| after.contains(*word)).count();
                shares.push(used as f64 / top.len() as f64);
            }
        }
    }
    mean(&shares)
}

/// The mean, 0 of nothing.
fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// What C1 counts, for a record and for the data set's stats.
fn counted_calls(c: &Conversation<'_>) -> CallCounts {
    let mut counts = CallCounts::default();
    for turn in &c.turns {
        let failed = turn.observations.iter().filter(|o| text::is_error(&o.text, o.ran_tests)).count();
        if c.scaffold != Scaffold::Terminus2 {
            counts.total += turn.observations.len();
        } else if !turn.observations.is_empty() {
            counts.total += turn.calls.max(1);
        }
        counts.failed += failed;
    }
    counts
}

/// C1: the share of answered calls that did not fail.
fn call_success(counts: CallCounts) -> f64 {
    if counts.total == 0 {
        return 1.0;
    }
    1.0 - counts.failed as f64 / counts.total as f64
}

/// C2: calls per calling turn.
fn parallelism(turns: &[Turn<'_>]) -> f64 {
    let calls: Vec<f64> = turns.iter().filter(|t| t.calls > 0).map(|t| t.calls as f64).collect();
    if calls.is_empty() { 0.0 } else { ((mean(&calls) - 1.0) / 4.0).clamp(0.0, 1.0) }
}

/// D1: whether the record ends as its scaffold ends a task.
fn submission(c: &Conversation<'_>) -> f64 {
    let last = c.turns.last();
    let ends_in_words = c.ends_with_assistant && last.is_some_and(|t| t.calls == 0);
    match c.scaffold {
        Scaffold::Terminus2 => f64::from(u8::from(c.turns.iter().any(|t| t.task_complete))),
        Scaffold::OpenhandsSdk | Scaffold::Openhands => {
            let finished =
                last.is_some_and(|t| t.actions.iter().any(|a| a.name.eq_ignore_ascii_case("finish")));
            if finished {
                1.0
            } else if ends_in_words {
                0.5
            } else {
                0.0
            }
        }
        Scaffold::ClaudeCode | Scaffold::OpenCode => f64::from(u8::from(ends_in_words)),
    }
}

/// D2: half for writing a test file, half for running tests.
fn test_verification(c: &Conversation<'_>) -> f64 {
    let mut actions = c.turns.iter().flat_map(|t| &t.actions);
    let wrote = actions.clone().any(|action| match c.scaffold {
        Scaffold::Terminus2 => {
            action.command.as_deref().is_some_and(|k| shell::written(k).into_iter().any(shell::is_test_file))
        }
        _ => action.edits.as_deref().is_some_and(shell::is_test_file),
    });
    let ran = actions.any(conversation::Action::runs_tests);
    0.5 * f64::from(u8::from(wrote)) + 0.5 * f64::from(u8::from(ran))
}

/// What a record did to files.
struct FileUse {
    edits: usize,
    unique: usize,
    /// Whether anything was removed, and how many writes went to a path removed before.
    removed_any: bool,
    rewritten: usize,
}

impl FileUse {
    fn of(c: &Conversation<'_>) -> Self {
        let mut edits = 0;
        let mut unique: HashSet<String> = HashSet::new();
        let mut removed: HashSet<String> = HashSet::new();
        let mut rewritten = 0;
        for action in c.turns.iter().flat_map(|t| &t.actions) {
            let command = action.command.as_deref().unwrap_or_default();
            removed.extend(shell::removed(command).into_iter().map(shell::normal_path));
            for path in action.edits.as_deref().into_iter().chain(shell::written(command)) {
                let path = shell::normal_path(path);
                edits += 1;
                rewritten += usize::from(removed.contains(&path));
                unique.insert(path);
            }
        }
        Self { edits, unique: unique.len(), removed_any: !removed.is_empty(), rewritten }
    }

    /// E1: edits per file.
    fn concentration(&self) -> f64 {
        if self.edits == 0 {
            return 1.0;
        }
        1.0 - ((self.edits as f64 / self.unique as f64 - 1.0) / 4.0).clamp(0.0, 1.0)
    }

    /// E2: writes to what had been removed.
    fn delete_then_edit(&self) -> f64 {
        if !self.removed_any {
            return 1.0;
        }
        1.0 - (self.rewritten as f64 / 3.0).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests;
