//! Reads values out of a tree by key, and notes everything that is wrong on the way.
//!
//! A schema is written as a struct literal whose fields are calls on a [`Section`]: the name, the
//! default and the range of a key stand in one line, and the struct says which type it must have.

use super::choices::Choice;
use super::expand::{expand, has_reference};
use super::problem::{Problem, Severity};
use super::tree::{Data, Entry, Map, Node, Position, plain};
use super::words::{Bound, did_you_mean, found, word_of};
use crate::secret::{Secret, Taken};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeFrom;
use std::path::{Path, PathBuf};

/// Closed lists up to this length are always listed in messages.
const LISTED_UP_TO: usize = 10;

/// What all sections of a file share.
pub(super) struct Document<'a> {
    pub(super) file: &'a Path,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// A variable that is not set and has no default stands for nothing instead of being reported.
    pub(super) unset_is_empty: bool,
    pub(super) problems: RefCell<Vec<Problem>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { file, env, unset_is_empty: false, problems: RefCell::default() }
    }

    pub(super) fn report(&self, severity: Severity, at: Position, key: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem {
            severity,
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            key: key.to_owned(),
            message: message.into(),
        });
    }
}

/// A table of the file (or the place where one may be left out).
pub(super) struct Section<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) path: String,
    pub(super) at: Position,
    map: Option<&'a Map>,
    known: Vec<&'static str>,
    /// It is no table at all, which has been reported.
    broken: bool,
    /// Of what trajgen writes itself: nothing is expanded, and what is wrong is only a warning.
    ours: bool,
}

impl<'a> Section<'a> {
    /// The table at `node`. Nothing, or null, is an empty one; anything else is reported.
    pub(super) fn new(
        document: &'a Document<'a>,
        path: String,
        node: Option<&'a Node>,
        near: Position,
    ) -> Self {
        let at = node.map_or(near, |node| node.at);
        let mut section =
            Self { document, path, at, map: None, known: Vec::new(), broken: false, ours: false };
        match node.map(|node| &node.data) {
            Some(Data::Map(map)) => section.map = Some(map),
            None | Some(Data::Null) => {}
            Some(other) => {
                section.broken = true;
                let message = format!("expected a table of keys, found {}", found(other));
                document.report(Severity::Error, at, &section.path, message);
            }
        }
        section
    }

    /// True for what is no table at all.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The section as one that trajgen writes itself.
    pub(super) fn ours(self) -> Self {
        Self { ours: true, ..self }
    }

    fn report_at(&self, severity: Severity, at: Position, key: &str, message: impl Into<String>) {
        let severity = if self.ours { Severity::Warning } else { severity };
        self.document.report(severity, at, &self.path_of(key), message);
    }

    /// A text with its references replaced; a variable that is not set is reported.
    fn expanded(&self, text: &str, at: Position, key: &str) -> Option<String> {
        if self.ours {
            return Some(text.to_owned());
        }
        expand(text, self.document.env, self.document.unset_is_empty)
            .map_err(|missing| {
                let name = missing.0;
                let message =
                    format!("the variable {name} is not set: set it, or write ${{{name}:-default}}");
                self.report_at(Severity::Error, at, key, message);
            })
            .ok()
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        self.map?.get(key)
    }

    fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The path of a key in here.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the file says anything for `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.is_some_and(|map| map.get(key).is_some())
    }

    /// Reports something about `key`, at its value, else where the section starts.
    pub(super) fn report(&self, severity: Severity, key: &str, message: impl Into<String>) {
        let at = self.map.and_then(|map| map.get(key)).map_or(self.at, |entry| entry.at);
        self.report_at(severity, at, key, message);
    }

    /// Warns of a key that says something which nothing is done about.
    pub(super) fn not_used_yet(&self, key: &str) {
        self.report(Severity::Warning, key, "this is accepted, not used yet: remove it");
    }

    pub(super) fn error(&self, key: &str, message: impl Into<String>) {
        self.report(Severity::Error, key, message);
    }

    fn wrong(&self, node: &Node, key: &str, expected: &str) {
        let found = found(&node.data);
        let hint = match node.data {
            Data::Int(_) | Data::Float(_) | Data::Bool(_) if expected.starts_with("a text") => {
                " (write it in quotes)"
            }
            Data::Text(_) if expected.starts_with("a list") => " (write [it] in brackets)",
            _ => "",
        };
        let message = format!("expected {expected}, found {found}{hint}");
        self.report_at(Severity::Error, node.at, key, message);
    }

    /// The section below `key`.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let node = self.node(key);
        Section { ours: self.ours, ..Section::new(self.document, self.path_of(key), node, self.at) }
    }

    /// The sections below `key`: one, or a list of them; none when it is left out.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let path = self.path_of(key);
        match self.node(key) {
            None | Some(Node { data: Data::Null, .. }) => Vec::new(),
            Some(Node { data: Data::List(items), .. }) => items
                .iter()
                .enumerate()
                .map(|(n, item)| Section::new(self.document, format!("{path}[{n}]"), Some(item), item.at))
                .collect(),
            one => vec![Section::new(self.document, path, one, self.at)],
        }
    }

    /// The value of `key` with references replaced: what it then is. `None` when it is left out, null,
    /// or wrong and reported.
    fn scalar(&mut self, key: &'static str) -> Option<(&'a Node, Data)> {
        let node = self.node(key)?;
        match &node.data {
            Data::Null => None,
            Data::Text(text) if has_reference(text) => {
                let text = self.expanded(text, node.at, key)?;
                Some((node, Data::Text(text)))
            }
            data => Some((node, data.clone())),
        }
    }

    /// As [`Self::scalar`], where a number or boolean is wanted: an expanded text is read again.
    fn literal(&mut self, key: &'static str) -> Option<(&'a Node, Data)> {
        let (node, data) = self.scalar(key)?;
        match (&node.data, data) {
            (Data::Text(written), Data::Text(text)) if has_reference(written) => match plain(text.trim()) {
                Data::Null => None,
                data => Some((node, data)),
            },
            (_, data) => Some((node, data)),
        }
    }

    /// Null where the key must have a value.
    fn refuse_null(&mut self, key: &'static str, expected: &str) {
        if let Some(node) = self.map.and_then(|map| map.get(key)).map(|entry| &entry.value)
            && matches!(node.data, Data::Null)
        {
            self.wrong(node, key, expected);
        }
    }

    /// A text. An empty one counts as left out.
    pub(super) fn opt_text(&mut self, key: &'static str) -> Option<String> {
        self.opt_text_even_empty(key).filter(|text| !text.is_empty())
    }

    /// A text, for keys to which an empty one means something.
    pub(super) fn opt_text_even_empty(&mut self, key: &'static str) -> Option<String> {
        match self.scalar(key)? {
            (_, Data::Text(text)) => Some(text),
            (node, _) => {
                self.wrong(node, key, "a text");
                None
            }
        }
    }

    /// A text with a default.
    pub(super) fn text(&mut self, key: &'static str, default: String) -> String {
        self.opt_text(key).unwrap_or(default)
    }

    /// A text that must be there.
    pub(super) fn required_text(&mut self, key: &'static str, example: &str) -> String {
        let problems = self.document.problems.borrow().len();
        let text = self.opt_text(key).unwrap_or_default();
        if text.is_empty() && !self.broken && self.document.problems.borrow().len() == problems {
            self.error(key, format!("this key is required: add for example `{key}: {example}`"));
        }
        text
    }

    /// A credential, white space around it cut. Its value is never part of a message.
    pub(super) fn opt_secret(&mut self, key: &'static str) -> Option<Secret> {
        match self.scalar(key)? {
            (_, Data::Text(text)) => Some(text.trim()).filter(|text| !text.is_empty()).map(Secret::new),
            (node, _) => {
                let message = "expected a text (write it in quotes)";
                self.report_at(Severity::Error, node.at, key, message);
                None
            }
        }
    }

    /// A path with a default.
    pub(super) fn path(&mut self, key: &'static str, default: PathBuf) -> PathBuf {
        self.opt_path(key).unwrap_or(default)
    }

    /// A path.
    pub(super) fn opt_path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.opt_text(key).map(PathBuf::from)
    }

    /// A whole number of at least `least`.
    pub(super) fn opt_int<T: TryFrom<i64>>(&mut self, key: &'static str, least: RangeFrom<i64>) -> Option<T> {
        let (node, data) = self.literal(key)?;
        let value = if let Data::Int(value) = data { Some(value) } else { None };
        let fitting = value.filter(|value| least.contains(value)).and_then(|value| T::try_from(value).ok());
        if fitting.is_none() {
            // Larger types have room for every figure that makes sense.
            let most = if size_of::<T>() == 2 { format!(" to {}", u16::MAX) } else { String::new() };
            let expected = format!("a whole number from {}{most}", least.start);
            self.wrong(&Node { data, ..shallow(node) }, key, &expected);
        }
        fitting
    }

    /// A whole number with a default.
    pub(super) fn int<T: TryFrom<i64>>(&mut self, key: &'static str, default: T, least: RangeFrom<i64>) -> T {
        self.refuse_null(key, "a whole number");
        self.opt_int(key, least).unwrap_or(default)
    }

    /// A number that `bound` admits.
    pub(super) fn opt_number(&mut self, key: &'static str, bound: Bound) -> Option<f64> {
        let (node, data) = self.literal(key)?;
        let value = match data {
            #[expect(clippy::cast_precision_loss, reason = "figures of a config are far below 2^53")]
            Data::Int(value) => Some(value as f64),
            Data::Float(value) => Some(value),
            _ => None,
        };
        let fitting = value.filter(|value| bound.admits(*value));
        if fitting.is_none() {
            self.wrong(&Node { data, ..shallow(node) }, key, bound.describe());
        }
        fitting
    }

    /// A number with a default.
    pub(super) fn number(&mut self, key: &'static str, default: f64, bound: Bound) -> f64 {
        self.refuse_null(key, bound.describe());
        self.opt_number(key, bound).unwrap_or(default)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        const EXPECTED: &str = "true or false";
        self.refuse_null(key, EXPECTED);
        match self.literal(key) {
            None => default,
            Some((_, Data::Bool(value))) => value,
            Some((node, data)) => {
                self.wrong(&Node { data, ..shallow(node) }, key, EXPECTED);
                default
            }
        }
    }

    /// One of a closed list of words.
    pub(super) fn opt_choice<T: Choice>(&mut self, key: &'static str) -> Option<T> {
        let (node, data) = self.scalar(key)?;
        let choice = if let Data::Text(word) = &data { word_of(word) } else { None };
        if choice.is_none() {
            self.refuse_word::<T>(&Node { data, ..shallow(node) }, key);
        }
        choice
    }

    /// One of a closed list of words, with a default.
    pub(super) fn choice<T: Choice>(&mut self, key: &'static str, default: T) -> T {
        if let Some(node) = self.map.and_then(|map| map.get(key)).map(|entry| &entry.value)
            && matches!(node.data, Data::Null)
        {
            self.refuse_word::<T>(node, key);
        }
        self.opt_choice(key).unwrap_or(default)
    }

    fn refuse_word<T: Choice>(&self, node: &Node, key: &str) {
        let words = T::ALL.iter().map(|(word, _)| *word);
        let hint = match &node.data {
            Data::Text(word) => did_you_mean(word, words.clone()),
            _ => String::new(),
        };
        // A long list helps nobody who has a better hint.
        let expected = if T::ALL.len() > LISTED_UP_TO && !hint.is_empty() {
            format!("one of {} words", T::ALL.len())
        } else {
            format!("one of {}", words.collect::<Vec<_>>().join(", "))
        };
        let message = format!("expected {expected}; found {}{hint}", found(&node.data));
        self.report_at(Severity::Error, node.at, key, message);
    }

    /// The items of a list; none when it is left out or null.
    fn items(&mut self, key: &'static str) -> Option<&'a [Node]> {
        let node = self.node(key)?;
        match &node.data {
            Data::Null => None,
            Data::List(items) => Some(items),
            _ => {
                self.wrong(node, key, "a list");
                None
            }
        }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let mut texts = Vec::new();
        for (n, item) in self.items(key).unwrap_or_default().iter().enumerate() {
            let path = format!("{key}[{n}]");
            match &item.data {
                Data::Text(text) => texts.extend(self.expanded(text, item.at, &path)),
                _ => self.wrong(item, &path, "a text"),
            }
        }
        texts
    }

    /// A list of words of a closed list.
    pub(super) fn opt_choices<T: Choice>(&mut self, key: &'static str) -> Option<Vec<T>> {
        let mut choices = Vec::new();
        for (n, item) in self.items(key)?.iter().enumerate() {
            match &item.data {
                Data::Text(word) if word_of::<T>(word).is_some() => choices.extend(word_of::<T>(word)),
                _ => self.refuse_word::<T>(item, &format!("{key}[{n}]")),
            }
        }
        Some(choices)
    }

    /// A table with keys of the user's own and values of any kind.
    pub(super) fn table(&mut self, key: &'static str) -> serde_json::Map<String, Value> {
        let section = self.section(key);
        section.rest()
    }

    /// What no call has asked for yet, as values of any kind.
    pub(super) fn rest(self) -> serde_json::Map<String, Value> {
        let entries = self.map.map(|map| map.entries.as_slice()).unwrap_or_default();
        entries
            .iter()
            .filter(|entry| !self.known.contains(&entry.key.as_str()))
            .map(|entry| (entry.key.clone(), self.any(&entry.value, &entry.key)))
            .collect()
    }

    fn any(&self, node: &Node, path: &str) -> Value {
        match &node.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Int(value) => Value::from(*value),
            Data::Float(value) => Value::from(*value),
            Data::Text(text) => self.expanded(text, node.at, path).map_or(Value::Null, Value::String),
            Data::List(items) => {
                items.iter().enumerate().map(|(n, item)| self.any(item, &format!("{path}[{n}]"))).collect()
            }
            Data::Map(map) => Value::Object(
                map.entries
                    .iter()
                    .map(|entry| {
                        (entry.key.clone(), self.any(&entry.value, &format!("{path}.{}", entry.key)))
                    })
                    .collect(),
            ),
        }
    }

    /// A table of texts; numbers and booleans in it are taken as they are written.
    pub(super) fn text_table(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let section = self.section(key);
        let mut table = BTreeMap::new();
        for Entry { key, value: node, .. } in
            section.map.map(|map| map.entries.as_slice()).unwrap_or_default()
        {
            let text = match &node.data {
                Data::Text(text) => section.expanded(text, node.at, key),
                Data::Bool(value) => Some(value.to_string()),
                Data::Int(value) => Some(value.to_string()),
                Data::Float(value) => Some(value.to_string()),
                _ => {
                    section.wrong(node, key, "a text");
                    None
                }
            };
            table.extend(text.map(|text| (key.clone(), text)));
        }
        table
    }

    /// The entries of the table at `key` that hold references which are not replaced by nothing, as they
    /// are written: one text, or any below it.
    pub(super) fn taken(&mut self, key: &'static str) -> Taken {
        let section = self.section(key);
        if section.ours {
            return Taken::new();
        }
        let entries = section.map.map(|map| map.entries.as_slice()).unwrap_or_default();
        let env = section.document.env;
        entries
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), reference_in(&entry.value, env)?.to_owned())))
            .collect()
    }

    /// Ends the section: keys that no call has asked for are reported.
    pub(super) fn done<T>(self, value: T) -> T {
        for entry in self.map.map(|map| map.entries.as_slice()).unwrap_or_default() {
            if !self.known.contains(&entry.key.as_str()) {
                let hint = did_you_mean(&entry.key, self.known.iter().copied());
                let hint =
                    if hint.is_empty() { format!(" (known here: {})", self.known.join(", ")) } else { hint };
                self.report_at(
                    Severity::Warning,
                    entry.at,
                    &entry.key,
                    format!("unknown key, not used{hint}"),
                );
            }
        }
        value
    }
}

/// The first text at or below `node` that holds references, if they stand for anything.
fn reference_in<'a>(node: &'a Node, env: &dyn Fn(&str) -> Option<String>) -> Option<&'a str> {
    match &node.data {
        Data::Text(text) => (has_reference(text)
            && expand(text, env, true).is_ok_and(|text| !text.is_empty()))
        .then_some(text),
        Data::List(items) => items.iter().find_map(|item| reference_in(item, env)),
        Data::Map(map) => map.entries.iter().find_map(|entry| reference_in(&entry.value, env)),
        _ => None,
    }
}

/// A node for messages: the place of `node`, without what is below it.
fn shallow(node: &Node) -> Node {
    Node { at: node.at, span: node.span.clone(), data: Data::Null, alias: node.alias, block: node.block }
}
