//! Writes `status` and `runtime_info.output` into the user's config.yaml; every other byte stays.
//!
//! Values are replaced where they stand, one by one, by their place in the text: comments, order, line
//! ends and flow style survive because nothing else is touched. What is missing is added in the style
//! of its surroundings. Each result is read again and compared before the file is replaced.

use super::block::{Output, Status};
use super::tree::{self, Data, Entry, Flaw, Map, Node};
use crate::files::{self, FileError};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Why a config.yaml was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// It could not be read or replaced.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no YAML any more.
    #[error("{}:{line}: {message}; the file is left as it is", path.display())]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is written in a way that leaves no place for the value.
    #[error("{}: `{key}` cannot be written without changing what is around it: write it as a plain table of its own (`trajgen init` shows one); the file is left as it is", path.display())]
    NoPlace {
        /// The file.
        path: PathBuf,
        /// The key path.
        key: String,
    },
}

/// Writes `status` into the config at `path`: its own block, and nothing else.
///
/// # Errors
/// When the file cannot be read or replaced, is no YAML, or leaves no place for the block. It is then
/// as it was.
pub fn rewrite_status(path: &Path, status: &Status) -> Result<(), RewriteError> {
    /// Left out of a status that does not have them: in the file they become null then.
    const OPTIONAL: [&str; 8] = [
        "n_tasks",
        "n_running",
        "n_done",
        "n_errored",
        "mean_reward",
        "started_at",
        "updated_at",
        "last_error",
    ];
    let written = leaves("status", status);
    rewrite(path, |tree| {
        let mut edits = written.clone();
        let old = tree.get("status").map(|entry| &entry.value.data);
        if let Some(Data::Map(old)) = old {
            let stale = OPTIONAL.into_iter().map(|key| vec!["status".to_owned(), key.to_owned()]);
            let stale = stale.filter(|path| {
                path.last().is_some_and(|key| old.get(key).is_some())
                    && edits.iter().all(|(other, _)| other != path)
            });
            let stale: Vec<_> = stale.map(|path| (path, Value::Null)).collect();
            edits.extend(stale);
        }
        edits
    })
}

/// Writes `output` into the config at `path` as `runtime_info.output`, and nothing else.
///
/// # Errors
/// As [`rewrite_status`].
pub fn rewrite_output(path: &Path, output: &Output) -> Result<(), RewriteError> {
    let mut edits = leaves("output", output);
    for (keys, _) in &mut edits {
        keys.insert(0, "runtime_info".to_owned());
    }
    rewrite(path, |_| edits.clone())
}

/// A value with the keys that lead to it.
type Edit = (Vec<String>, Value);

/// Every scalar of `value`, with the keys that lead to it.
fn leaves(name: &str, value: &impl serde::Serialize) -> Vec<Edit> {
    fn collect(keys: &mut Vec<String>, value: Value, edits: &mut Vec<Edit>) {
        if let Value::Object(table) = value {
            for (key, value) in table {
                keys.push(key);
                collect(keys, value, edits);
                keys.pop();
            }
        } else {
            edits.push((keys.clone(), value));
        }
    }
    let mut edits = Vec::new();
    collect(&mut vec![name.to_owned()], serde_json::to_value(value).unwrap_or_default(), &mut edits);
    edits
}

fn rewrite(path: &Path, edits: impl Fn(&Map) -> Vec<Edit>) -> Result<(), RewriteError> {
    let not_yaml = |line, message| RewriteError::NotYaml { path: path.to_owned(), line, message };
    let bytes = std::fs::read(path).map_err(FileError::at("read", path))?;
    let old = String::from_utf8(bytes).map_err(|_| not_yaml(1, "this is not UTF-8 text".to_owned()))?;
    let read = |text: &str| parse(text).map_err(|flaw| not_yaml(flaw.at.line, flaw.message));
    let mut tree = read(&old)?;
    let mut text = old.clone();
    for (keys, value) in edits(root(&tree, path)?) {
        if at(&tree, &keys).is_some_and(|node| !node.alias && plain_value(node) == value) {
            continue;
        }
        let no_place = || RewriteError::NoPlace { path: path.to_owned(), key: keys.join(".") };
        let new = set(&text, root(&tree, path)?, &keys, &value).ok_or_else(no_place)?;
        let new_tree = parse(&new).map_err(|_| no_place())?;
        if !differs_only_at(&tree, &new_tree, &keys, &value) {
            return Err(no_place());
        }
        (text, tree) = (new, new_tree);
    }
    if text != old {
        // A link stays a link: what it leads to is replaced.
        let file = std::fs::canonicalize(path).map_err(FileError::at("resolve", path))?;
        files::replace(&file, text.as_bytes())?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Node, Flaw> {
    let mut flaws = Vec::new();
    let tree = tree::parse(text, &mut flaws)?;
    if let Some(flaw) = flaws.into_iter().next() {
        return Err(flaw);
    }
    tree.ok_or_else(|| Flaw {
        at: tree::Position { line: 1, column: 1 },
        message: "the file is empty".to_owned(),
    })
}

fn root<'n>(tree: &'n Node, path: &Path) -> Result<&'n Map, RewriteError> {
    match &tree.data {
        Data::Map(map) => Ok(map),
        _ => Err(RewriteError::NotYaml {
            path: path.to_owned(),
            line: tree.at.line,
            message: "expected a table of keys".to_owned(),
        }),
    }
}

fn at<'n>(node: &'n Node, keys: &[String]) -> Option<&'n Node> {
    keys.iter().try_fold(node, |node, key| match &node.data {
        Data::Map(map) => map.get(key).map(|entry| &entry.value),
        _ => None,
    })
}

/// A tree without its places.
fn plain_value(node: &Node) -> Value {
    match &node.data {
        Data::Null => Value::Null,
        Data::Bool(value) => Value::Bool(*value),
        Data::Int(value) => Value::from(*value),
        Data::Float(value) => Value::from(*value),
        Data::Text(text) => Value::String(text.clone()),
        Data::List(items) => items.iter().map(plain_value).collect(),
        Data::Map(map) => {
            Value::Object(map.entries.iter().map(|e| (e.key.clone(), plain_value(&e.value))).collect())
        }
    }
}

/// True when `new` has `value` at `keys` and is otherwise what `old` is.
fn differs_only_at(old: &Node, new: &Node, keys: &[String], value: &Value) -> bool {
    /// Takes out what stands at `keys`, and the tables that are left with nothing because of it.
    fn cut(value: &mut Value, keys: &[String]) {
        let (Some((first, rest)), Some(table)) = (keys.split_first(), value.as_object_mut()) else { return };
        if let Some(inner) = table.get_mut(first) {
            cut(inner, rest);
            let nothing = match inner {
                Value::Object(table) => table.is_empty(),
                Value::Array(_) => false,
                _ => true,
            };
            if rest.is_empty() || nothing {
                table.shift_remove(first);
            }
        }
    }
    let written = at(new, keys).map(plain_value);
    let (mut old, mut new) = (plain_value(old), plain_value(new));
    cut(&mut old, keys);
    cut(&mut new, keys);
    written.as_ref() == Some(value) && old == new
}

/// `text` with `value` at `keys`. `None` when there is no place for it.
fn set(text: &str, root: &Map, keys: &[String], value: &Value) -> Option<String> {
    let mut map = root;
    for (depth, key) in keys.iter().enumerate() {
        let rest = keys.get(depth + 1..)?;
        if map.entries.iter().any(|entry| entry.merged) {
            return None;
        }
        match map.get(key) {
            None => return insert(text, map, depth == 0, keys.get(depth..)?, value),
            Some(entry) => match &entry.value.data {
                Data::Map(inner) if !rest.is_empty() && !entry.value.alias => map = inner,
                _ => return replace(text, map, entry, rest, value),
            },
        }
    }
    None
}

/// Puts `value`, or a table that leads to it, in the place of an entry's value.
fn replace(text: &str, map: &Map, entry: &Entry, rest: &[String], value: &Value) -> Option<String> {
    let after_key = text.get(entry.key_span.end..)?;
    let colon = after_key.len() - after_key.trim_start().len();
    if !after_key.get(colon..)?.starts_with(':') {
        // `{key}`, or an explicit key (`? key`), which the check of the result refuses.
        return splice(text, entry.key_span.end, entry.key_span.end, &format!(": {}", flow(rest, value)));
    }
    let colon = entry.key_span.end + colon + 1;
    let end = entry.value.span.end.max(colon);
    let line_end = line_end(text, colon);
    if !map.flow && !rest.is_empty() && end == colon {
        // `status:   # comment`: the table starts in the next line.
        let indent = entry.at.column - 1 + INDENT;
        return splice(
            text,
            line_end,
            line_end,
            &format!("{}{}", newline(text, colon), block(rest, value, indent, newline(text, colon))),
        );
    }
    let gap = text.get(colon..)?.find(|c| c != ' ')?;
    let start = if colon + gap < end && colon + gap < line_end { colon + gap } else { colon };
    let space = if start == colon { " " } else { "" };
    if map.flow || rest.is_empty() {
        splice(text, start, end, &format!("{space}{}", flow(rest, value)))
    } else {
        let newline = newline(text, colon);
        let indent = entry.at.column - 1 + INDENT;
        splice(text, colon, end, &format!("{newline}{}", block(rest, value, indent, newline)))
    }
}

/// Adds an entry to a table: `keys`, nested, with `value`.
fn insert(text: &str, map: &Map, is_root: bool, keys: &[String], value: &Value) -> Option<String> {
    let last = map.entries.iter().max_by_key(|entry| entry.end());
    if map.flow {
        let entry = flow(keys, value);
        let entry = entry.strip_prefix('{')?.strip_suffix('}')?;
        let (place, comma) = match last {
            Some(last) => (last.end(), ", "),
            None => (map.end.checked_sub(1)?, ""),
        };
        return splice(text, place, place, &format!("{comma}{entry}"));
    }
    let (first, last) = (map.entries.first()?, last?);
    let newline = newline(text, last.end().saturating_sub(1));
    let entry = block(keys, value, first.at.column - 1, newline);
    let place = line_end(text, last.end());
    let after = text.get(place..)?;
    let only_comments =
        after.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if is_root && only_comments && after.ends_with('\n') {
        return splice(text, text.len(), text.len(), &format!("{entry}{newline}"));
    }
    let place = if is_root && only_comments { text.len() } else { place };
    splice(text, place, place, &format!("{newline}{entry}"))
}

/// Spaces that a nested table is further in.
const INDENT: usize = 2;

fn splice(text: &str, start: usize, end: usize, with: &str) -> Option<String> {
    Some([text.get(..start)?, with, text.get(end..)?].concat())
}

/// Where the line of `place` ends, its line end not included.
fn line_end(text: &str, place: usize) -> usize {
    let rest = text.get(place..).unwrap_or_default();
    let line = rest.split('\n').next().unwrap_or_default();
    place + line.strip_suffix('\r').unwrap_or(line).len()
}

/// The line end used at `place`, or else in the file's first line.
fn newline(text: &str, place: usize) -> &'static str {
    let here = text.get(line_end(text, place)..).unwrap_or_default();
    let sample = if here.is_empty() { text.get(line_end(text, 0)..).unwrap_or_default() } else { here };
    if sample.starts_with("\r\n") { "\r\n" } else { "\n" }
}

/// `{a: {b: value}}`, or the value alone when there are no keys.
fn flow(keys: &[String], value: &Value) -> String {
    match keys.split_first() {
        None => scalar(value),
        Some((key, rest)) => format!("{{{key}: {}}}", flow(rest, value)),
    }
}

/// The same over several lines, the first indented by `indent`, without a line end behind the last.
fn block(keys: &[String], value: &Value, indent: usize, newline: &str) -> String {
    let mut lines = Vec::new();
    for (depth, key) in keys.iter().enumerate() {
        let value = if depth + 1 == keys.len() { format!(" {}", scalar(value)) } else { String::new() };
        lines.push(format!("{}{key}:{value}", " ".repeat(indent + INDENT * depth)));
    }
    lines.join(newline)
}

/// A scalar as YAML, in one line.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if reads_plain(text) => text.clone(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// True for texts that every YAML reader takes as this text without quotes.
fn reads_plain(text: &str) -> bool {
    /// What older readers take for booleans.
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || "_./".contains(c))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./<>-".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && matches!(tree::plain(text), Data::Text(_))
}

/// A text in double quotes, with every character that YAML does not print escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
