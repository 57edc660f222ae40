//! The `[metadata]` table of a task.

use serde_json::{Map, Value};
use std::path::Path;

/// The table as JSON, null when the task or the table is not to be had.
pub(crate) fn of_task(task: Option<&Path>) -> Value {
    let table = task
        .and_then(|dir| std::fs::read_to_string(dir.join("task.toml")).ok())
        .and_then(|text| text.parse::<toml::Table>().ok())
        .and_then(|mut table| table.remove("metadata"));
    table.map_or(Value::Null, json)
}

/// TOML as JSON; dates become their text.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(n) => n.into(),
        toml::Value::Float(n) => n.into(),
        toml::Value::Boolean(b) => b.into(),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_kept_in_order_and_dates_are_text() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("task.toml"),
            "version = \"1.0\"\n[metadata]\ndifficulty = \"easy\"\ntags = [\"a\", 1]\non = 2026-01-02\n",
        )
        .unwrap();
        let found = of_task(Some(dir.path())).to_string();
        assert_eq!(found, r#"{"difficulty":"easy","tags":["a",1],"on":"2026-01-02"}"#);
        assert_eq!(of_task(Some(&dir.path().join("gone"))), Value::Null);
        assert_eq!(of_task(None), Value::Null);
    }
}
