//! v5 against scores that an independent implementation gave to the same data set.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read must fail the test")]

use serde_json::{Map, Value};
use trajgen_sft::score::{DatasetFacts, Scored, Scorer, v5::V5};

struct Record {
    messages: Vec<Value>,
    tools: Vec<Value>,
    agent_type: String,
    expected: Value,
}

impl Record {
    fn scored(&self) -> Scored<'_> {
        Scored { messages: &self.messages, tools: &self.tools, agent_type: &self.agent_type }
    }
}

fn cases() -> Vec<Record> {
    let text = include_str!("data/score_v5_cases.jsonl");
    text.lines()
        .map(|line| {
            let mut record: Map<String, Value> = serde_json::from_str(line).unwrap();
            let mut list = |key: &str| match record.remove(key) {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            };
            Record {
                messages: list("messages"),
                tools: list("tools"),
                agent_type: record["_agent_type"].as_str().unwrap().to_owned(),
                expected: record["_score"].clone(),
            }
        })
        .collect()
}

fn facts(cases: &[Record]) -> DatasetFacts {
    let mut facts = DatasetFacts::default();
    for case in cases {
        V5.observe(case.scored(), &mut facts);
    }
    facts
}

#[test]
fn every_key_agrees_on_every_record() {
    let cases = cases();
    assert_eq!(cases.len(), 60);
    let facts = facts(&cases);
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let score = V5.score(case.scored(), &facts);
        let Value::Object(expected) = &case.expected else {
            assert!(score.is_none(), "record {number} must have no score");
            continue;
        };
        let score = score.unwrap();
        for (key, value) in expected {
            let found = score.get(key).unwrap_or(&Value::Null);
            let same = match (found.as_f64(), value.as_f64()) {
                (Some(a), Some(b)) => a == b,
                _ => found == value,
            };
            if !same {
                wrong.push(format!(
                    "record {number} ({}), {key}: {found}, expected {value}",
                    expected["scaffold"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
