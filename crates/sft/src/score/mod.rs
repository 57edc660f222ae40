//! Scorers: what fills `_score`.

pub mod v5;

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a scorer looks at: messages as the converter made them (think blocks of text-protocol agents in place).
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// The messages, in OpenAI shape.
    pub messages: &'a [Value],
    /// The declared tools, in OpenAI shape.
    pub tools: &'a [Value],
    /// `main` or `subagent`.
    pub agent_type: &'a str,
}

/// What scores need to know of the whole data set: how many steps its main records have, by scaffold.
///
/// Counts of counts, so that its size does not grow with the number of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetFacts {
    steps: BTreeMap<&'static str, BTreeMap<usize, usize>>,
}

impl DatasetFacts {
    /// Adds one main record of `scaffold` with `steps` assistant messages.
    pub fn add_steps(&mut self, scaffold: &'static str, steps: usize) {
        *self.steps.entry(scaffold).or_default().entry(steps).or_default() += 1;
    }

    /// Adds what another part of the data set came to.
    pub fn merge(&mut self, other: &Self) {
        for (scaffold, counts) in &other.steps {
            for (steps, times) in counts {
                *self.steps.entry(scaffold).or_default().entry(*steps).or_default() += times;
            }
        }
    }

    /// The median number of steps of `scaffold`'s main records: the mean of the middle two when their number
    /// is even, 0 when there are none.
    #[must_use]
    pub fn median_steps(&self, scaffold: &str) -> f64 {
        let Some(counts) = self.steps.get(scaffold) else { return 0.0 };
        let total: usize = counts.values().sum();
        let nth = |n: usize| {
            let mut seen = 0;
            counts
                .iter()
                .find(|(_, times)| {
                    seen += **times;
                    seen > n
                })
                .map_or(0, |(steps, _)| *steps)
        };
        if total == 0 {
            0.0
        } else if total % 2 == 1 {
            nth(total / 2) as f64
        } else {
            (nth(total / 2 - 1) + nth(total / 2)) as f64 / 2.0
        }
    }
}

/// How many tool calls a record made and how many of them failed, as the scorer counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls that were answered.
    pub total: usize,
    /// Those whose answer is an error.
    pub failed: usize,
}

/// A scorer. Two passes over the data set: [`Scorer::observe`] sees every record, then [`Scorer::score`] each.
pub trait Scorer: Send + Sync {
    /// The name written to `_score.scorer`.
    fn name(&self) -> &'static str;
    /// The scaffold this scorer takes the record for.
    fn scaffold(&self, record: Scored<'_>) -> &'static str;
    /// First pass: what later scores need to know of this record.
    fn observe(&self, record: Scored<'_>, facts: &mut DatasetFacts);
    /// Second pass: the score, or none for records that get none.
    fn score(&self, record: Scored<'_>, facts: &DatasetFacts) -> Option<Map<String, Value>>;
    /// The record's tool calls and failed ones.
    fn calls(&self, record: Scored<'_>) -> CallCounts;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        let mut facts = DatasetFacts::default();
        assert_eq!(facts.median_steps("a"), 0.0);
        for steps in [9, 2, 4, 4] {
            facts.add_steps("a", steps);
        }
        assert_eq!(facts.median_steps("a"), 4.0);
        facts.add_steps("a", 30);
        facts.add_steps("a", 40);
        assert_eq!(facts.median_steps("a"), 6.5);
        facts.add_steps("a", 5);
        assert_eq!(facts.median_steps("a"), 5.0);
    }
}
