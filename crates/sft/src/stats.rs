//! `lf.stats.json`: figures of the records in `lf.json`, summed up as they stream through.

use crate::im;
use crate::number::rounded;
use crate::score::CallCounts;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Tokens above which a record counts as long.
const LONG_TOKENS: u64 = 131_072;
/// Turns from which a record counts as long.
const LONG_TURNS: u64 = 100;
/// Bins of the score histogram over [0, 1]; the last one holds 1 too.
const BINS: usize = 20;

/// Smallest, largest, sum and number of what was added.
#[derive(Debug, Clone, Default)]
struct Spread {
    n: u64,
    min: u64,
    max: u64,
    sum: u64,
}

impl Spread {
    fn add(&mut self, value: u64) {
        self.min = if self.n == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.sum = self.sum.saturating_add(value);
        self.n += 1;
    }

    /// The mean, a whole number.
    fn mean(&self) -> u64 {
        if self.n == 0 { 0 } else { (self.sum as f64 / self.n as f64).round() as u64 }
    }
}

/// How many tool calls failed, and in how many records.
#[derive(Debug, Clone, Default)]
struct CallErrors {
    calls: usize,
    failed: usize,
    records: usize,
    records_failed: usize,
}

impl CallErrors {
    fn add(&mut self, counts: CallCounts) {
        self.calls += counts.total;
        self.failed += counts.failed;
        self.records += usize::from(counts.total > 0);
        self.records_failed += usize::from(counts.failed > 0);
    }

    fn json(&self) -> Map<String, Value> {
        let rate = |part: usize, whole: usize| {
            if whole == 0 { 0.0 } else { rounded(part as f64 / whole as f64, 6) }
        };
        let mut map = Map::new();
        map.insert("total_tool_calls".to_owned(), json!(self.calls));
        map.insert("error_tool_calls".to_owned(), json!(self.failed));
        map.insert("error_rate".to_owned(), json!(rate(self.failed, self.calls)));
        map.insert("trajectories_with_tool_calls".to_owned(), json!(self.records));
        map.insert("trajectories_with_error".to_owned(), json!(self.records_failed));
        map.insert("trajectory_error_rate".to_owned(), json!(rate(self.records_failed, self.records)));
        map
    }
}

/// The figures so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    count: usize,
    tokens: Spread,
    long_tokens: u64,
    turns: Spread,
    long_turns: u64,
    scores: Vec<u64>,
    score_sum: f64,
    score_min: f64,
    score_max: f64,
    scored: u64,
    errors: CallErrors,
    errors_by_scaffold: BTreeMap<&'static str, CallErrors>,
    by_agent_type: BTreeMap<String, usize>,
}

impl Stats {
    /// Adds one record that went into `lf.json`.
    pub(crate) fn add(&mut self, record: &Value, scaffold: &'static str, calls: CallCounts) {
        self.count += 1;
        if let Some(tokens) = im::info(record, "_usage").and_then(tokens_of) {
            self.tokens.add(tokens);
            self.long_tokens += u64::from(tokens > LONG_TOKENS);
        }
        let messages = record.get("messages").and_then(Value::as_array);
        let turns = messages.map_or(0, |m| m.iter().filter(|m| m["role"] == "assistant").count()) as u64;
        self.turns.add(turns);
        self.long_turns += u64::from(turns >= LONG_TURNS);
        if let Some(score) = im::info(record, "_score").and_then(|s| s["composite_score"].as_f64()) {
            self.add_score(score);
        }
        self.errors.add(calls);
        self.errors_by_scaffold.entry(scaffold).or_default().add(calls);
        let agent_type = im::info(record, "_agent_type").and_then(Value::as_str).unwrap_or("main");
        *self.by_agent_type.entry(agent_type.to_owned()).or_default() += 1;
    }

    fn add_score(&mut self, score: f64) {
        self.scores.resize(BINS, 0);
        let bin = ((score * BINS as f64) as usize).min(BINS - 1);
        if let Some(count) = self.scores.get_mut(bin) {
            *count += 1;
        }
        self.score_min = if self.scored == 0 { score } else { self.score_min.min(score) };
        self.score_max = if self.scored == 0 { score } else { self.score_max.max(score) };
        self.score_sum += score;
        self.scored += 1;
    }

    /// Records added.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The mean composite score, to 4 places; none when no record has one.
    pub(crate) fn mean_score(&self) -> Option<f64> {
        (self.scored > 0).then(|| rounded(self.score_sum / self.scored as f64, 4))
    }

    /// The figures as they are written.
    pub(crate) fn json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        put("count", json!(self.count));
        put("tokenizer", json!("usage"));
        put(
            "token_lens",
            json!({"min": self.tokens.min, "mean": self.tokens.mean(), "max": self.tokens.max, "gt_128k": self.long_tokens}),
        );
        put("total_tokens", json!(self.tokens.sum));
        put(
            "n_turns",
            json!({"min": self.turns.min, "mean": self.turns.mean(), "max": self.turns.max, "gte_100": self.long_turns}),
        );
        let score = |value: f64| if self.scored == 0 { Value::Null } else { json!(rounded(value, 4)) };
        put(
            "scores",
            json!({"min": score(self.score_min), "mean": self.mean_score(), "max": score(self.score_max)}),
        );
        let mut histogram = self.scores.clone();
        histogram.resize(BINS, 0);
        put("score_histogram", json!(histogram));
        let mut errors = self.errors.json();
        let by_scaffold: Map<String, Value> =
            self.errors_by_scaffold.iter().map(|(k, v)| ((*k).to_owned(), Value::Object(v.json()))).collect();
        errors.insert("by_scaffold".to_owned(), Value::Object(by_scaffold));
        put("tool_call_errors", Value::Object(errors));
        put("by_agent_type", json!(self.by_agent_type));
        map
    }
}

/// The tokens a usage reports: all of them, input and output.
fn tokens_of(usage: &Value) -> Option<u64> {
    let of = |key: &str| usage.get(key).and_then(Value::as_u64);
    of("total_tokens").or_else(|| Some(of("prompt_tokens")? + of("completion_tokens").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tokens: u64, turns: usize, score: Option<f64>) -> Value {
        let messages: Vec<Value> = (0..turns).map(|_| json!({"role": "assistant", "content": ""})).collect();
        json!({
            "messages": messages,
            "_usage": {"total_tokens": tokens},
            "_score": score.map(|s| json!({"composite_score": s})),
            "_agent_type": "main",
        })
    }

    #[test]
    fn figures_are_those_of_the_records() {
        let mut stats = Stats::default();
        stats.add(&record(131_072, 100, Some(1.0)), "terminus2", CallCounts { total: 3, failed: 1 });
        stats.add(&record(131_073, 99, Some(0.05)), "terminus2", CallCounts { total: 0, failed: 0 });
        stats.add(&record(2, 1, None), "opencode", CallCounts { total: 4, failed: 1 });
        let json = Value::Object(stats.json());
        assert_eq!(json["count"], 3);
        assert_eq!(json["tokenizer"], "usage");
        assert_eq!(json["token_lens"], json!({"min": 2, "mean": 87382, "max": 131_073, "gt_128k": 1}));
        assert_eq!(json["total_tokens"], 262_147);
        assert_eq!(json["n_turns"], json!({"min": 1, "mean": 67, "max": 100, "gte_100": 1}));
        assert_eq!(json["scores"], json!({"min": 0.05, "mean": 0.525, "max": 1.0}));
        assert_eq!(json["score_histogram"].as_array().unwrap().len(), 20);
        assert_eq!(
            (json["score_histogram"][1].clone(), json["score_histogram"][19].clone()),
            (json!(1), json!(1))
        );
        assert_eq!(json["tool_call_errors"]["error_rate"], 0.285_714);
        assert_eq!(json["tool_call_errors"]["trajectories_with_tool_calls"], 2);
        assert_eq!(json["tool_call_errors"]["trajectory_error_rate"], 1.0);
        assert_eq!(json["tool_call_errors"]["by_scaffold"]["opencode"]["error_rate"], 0.25);
    }

    #[test]
    fn nothing_gives_zeros_and_no_scores() {
        let json = Value::Object(Stats::default().json());
        assert_eq!(json["scores"]["mean"], Value::Null);
        assert_eq!(json["token_lens"]["min"], 0);
        assert_eq!(json["score_histogram"], json!(vec![0; 20]));
    }
}
