//! docs/config.md says what the types say. `UPDATE_DOCS=1 cargo test -p trajgen-contract` rewrites it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use trajgen_contract::config::schema;

const HEAD: &str = "# config.yaml

<!-- Generated from the doc comments in crates/contract/src/config: UPDATE_DOCS=1 cargo test -p trajgen-contract --test config_reference -->

The one input of a block. `trajgen init` writes a commented one with every key, `trajgen config show` prints it as
trajgen reads it, `trajgen config schema` prints its JSON Schema for editors.

- `${VAR}` and `${VAR:-default}` are replaced in every text. Where a number or boolean is wanted, a replaced text that
  reads as one is one. A variable that is not set and has no default is an error.
- Paths are relative to the block. An anchor (`&name`), alias (`*name`) or merge (`<<: *name`) may be used anywhere
  outside `status` and `runtime_info.output`.
- An unknown key is a warning; a wrong type, value or missing key is an error that names file, line, column and key.
  All of them are reported in one pass.
- `status` and `runtime_info.output` are written by trajgen. Every other byte of the file is the user's and survives.
- Where the file may hold one entry or a list (`llm_api`, `agent`), one entry is the same as a list of one.
";

/// One table of the reference per table of the file.
fn section(schema: &Value, table: &Value, path: &str, page: &mut String) {
    let title = if path.is_empty() { "Top level" } else { path };
    write!(page, "\n## {title}\n\n").unwrap();
    if let Some(description) = table["description"].as_str().filter(|_| !path.is_empty()) {
        write!(page, "{}\n\n", one_line(description)).unwrap();
    }
    page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    let required: Vec<&str> =
        table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut below = Vec::new();
    for (key, property) in table["properties"].as_object().unwrap() {
        let (kind, inner) = kind(schema, property);
        let default = match &property["default"] {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Object(_) => String::new(),
            Value::Null if inner.is_some() => String::new(),
            default => format!("`{default}`"),
        };
        let meaning = one_line(property["description"].as_str().unwrap()) + &words(schema, property);
        let key_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let kind = if inner.is_some() { format!("[{kind}](#{})", anchor(&key_path)) } else { kind };
        writeln!(page, "| `{key}` | {kind} | {default} | {meaning} |").unwrap();
        below.extend(inner.map(|inner| (key_path, inner)));
    }
    for (path, inner) in below {
        section(schema, inner, &path, page);
    }
}

/// What each word of a closed list stands for.
fn words(schema: &Value, property: &Value) -> String {
    if let Some(name) = property["$ref"].as_str() {
        return words(schema, schema.pointer(name.trim_start_matches('#')).unwrap());
    }
    if let Some(any) = property["anyOf"].as_array() {
        return any.iter().map(|one| words(schema, one)).collect();
    }
    let listed = property["oneOf"].as_array().into_iter().flatten();
    let meaning =
        |word: &Value| Some(format!("<br>`{}`: {}", word["const"].as_str()?, word["description"].as_str()?));
    listed.filter_map(meaning).collect()
}

/// What a property holds, for people, and the table behind it.
fn kind<'s>(schema: &'s Value, property: &'s Value) -> (String, Option<&'s Value>) {
    if let Some(name) = property["$ref"].as_str() {
        return kind(schema, schema.pointer(name.trim_start_matches('#')).unwrap());
    }
    if let Some(any) = property["anyOf"].as_array() {
        let kinds: Vec<_> = any.iter().map(|one| kind(schema, one)).collect();
        let inner = kinds.iter().find_map(|(_, inner)| *inner);
        let names: Vec<_> = kinds.into_iter().map(|(name, _)| name).collect();
        return (names.join(" or "), inner);
    }
    if let Some(words) = property["oneOf"].as_array() {
        let words: Vec<_> =
            words.iter().filter_map(|word| word["const"].as_str()).map(|w| format!("`{w}`")).collect();
        return (words.join(", "), None);
    }
    let types: Vec<&str> = match &property["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let name = |name: &&str| match *name {
        "array" => match kind(schema, &property["items"]) {
            (_, Some(_)) => "a list of them".to_owned(),
            (items, None) => format!("list of {items}"),
        },
        "object" => "table".to_owned(),
        "string" => "text".to_owned(),
        "integer" => "whole number".to_owned(),
        "boolean" => "`true`, `false`".to_owned(),
        "null" => "`null`".to_owned(),
        other => other.to_owned(),
    };
    let inner = property["properties"].is_object().then_some(property);
    (types.iter().map(name).collect::<Vec<_>>().join(" or "), inner)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The name that a heading gets on the web.
fn anchor(title: &str) -> String {
    title.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect()
}

#[test]
fn the_reference_is_up_to_date() {
    let schema = schema();
    let mut page = HEAD.to_owned();
    section(&schema, &schema, "", &mut page);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/config.md is stale: UPDATE_DOCS=1 cargo test -p trajgen-contract --test config_reference"
    );
}
