//! Reading a TOML table key by key: every problem of the file is found in one pass, with its line.

use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong with a task, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or folder in the task.
    pub file: String,
    /// From 1.
    pub line: Option<usize>,
    /// `environment.cpus`, `steps[0].name`, …; empty for the file as a whole.
    pub key: String,
    /// What was found, what was expected, what to do.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", printable(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", printable(&self.key))?;
        }
        write!(f, ": {}", printable(&self.message))
    }
}

/// Names and values come from the task, and problems go to terminals: control characters are escaped.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Where problems of one `task.toml` are gathered.
pub(super) struct Report {
    line_ends: Vec<usize>,
    pub(super) errors: RefCell<Vec<Problem>>,
    pub(super) warnings: RefCell<Vec<Problem>>,
    pub(super) unknown: RefCell<BTreeMap<String, Value>>,
}

impl Report {
    pub(super) fn new(text: &str) -> Self {
        Self {
            line_ends: text.match_indices('\n').map(|(at, _)| at).collect(),
            errors: RefCell::default(),
            warnings: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, at: Option<usize>, key: &str, message: String) -> Problem {
        let line = at.map(|at| self.line_ends.partition_point(|end| *end < at) + 1);
        Problem { file: "task.toml".into(), line, key: key.to_owned(), message }
    }
}

/// The largest number of seconds or of anything counted that makes sense; larger ones would overflow
/// in arithmetic later.
const LARGEST: f64 = 1e12;

/// A table that is being read.
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    at: Option<usize>,
    path: String,
    asked: RefCell<Vec<&'static str>>,
    report: &'a Report,
}

impl<'a> Section<'a> {
    pub(super) fn new(table: &'a DeTable<'a>, at: Option<usize>, path: String, report: &'a Report) -> Self {
        Self { table, at, path, asked: RefCell::default(), report }
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// An error about `key`, at its line or the section's.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) {
        let problem = self.report.problem(self.line_of(key), &self.key_path(key), message.into());
        self.report.errors.borrow_mut().push(problem);
    }

    /// A warning about `key`, at its line or the section's.
    pub(super) fn warn(&self, key: &str, message: impl Into<String>) {
        let problem = self.report.problem(self.line_of(key), &self.key_path(key), message.into());
        self.report.warnings.borrow_mut().push(problem);
    }

    fn line_of(&self, key: &str) -> Option<usize> {
        self.table.get_key_value(key).map(|(key, _)| key.span().start).or(self.at)
    }

    fn mistyped(&self, key: &str, found: &DeValue<'_>, expected: &str) {
        self.error(key, format!("found {}, expected {expected}", shown(found)));
    }

    /// Reads a value through `convert`; what it does not take is an error that names `expected`.
    fn read<T>(
        &self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?.get_ref();
        let converted = convert(value);
        if converted.is_none() {
            self.mistyped(key, value, expected);
        }
        converted
    }

    pub(super) fn string(&self, key: &'static str) -> Option<String> {
        self.read(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn required_string(&self, key: &'static str) -> Option<String> {
        if !self.has(key) {
            self.error(key, "is missing; expected a string");
        }
        self.string(key)
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", DeValue::as_bool)
    }

    /// Any finite number.
    pub(super) fn number(&self, key: &'static str) -> Option<f64> {
        self.read(key, "a number", number)
    }

    /// A number above 0.
    pub(super) fn positive(&self, key: &'static str) -> Option<f64> {
        self.read(key, "a number above 0", |value| number(value).filter(|n| *n > 0.0 && *n <= LARGEST))
    }

    /// A number from 0.
    pub(super) fn not_negative(&self, key: &'static str) -> Option<f64> {
        self.read(key, "a number from 0", |value| number(value).filter(|n| (0.0..=LARGEST).contains(n)))
    }

    /// A figure of which 0 means none, as containers' limits have it: said in a warning.
    pub(super) fn limit(&self, key: &'static str) -> Option<f64> {
        let limit = self.not_negative(key)?;
        if limit == 0.0 {
            self.warn(key, "is 0, which sets no limit; leave it out");
        }
        Some(limit).filter(|limit| *limit > 0.0)
    }

    /// A whole number from 0.
    pub(super) fn count(&self, key: &'static str) -> Option<u64> {
        self.read(key, "a whole number from 0", |value| {
            number(value).filter(|n| (0.0..=LARGEST).contains(n) && n.fract() == 0.0).map(|n| n as u64)
        })
    }

    /// A user's name or number.
    pub(super) fn user(&self, key: &'static str) -> Option<String> {
        self.read(key, "a user's name or number", |value| match value {
            DeValue::String(name) if !name.is_empty() => Some(name.to_string()),
            DeValue::Integer(_) => number(value).filter(|n| *n >= 0.0).map(|n| n.to_string()),
            _ => None,
        })
    }

    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<String>> {
        self.read(key, "a list of strings", |value| {
            value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        })
    }

    /// A table of strings; a value of another type is an error that says to quote it.
    pub(super) fn string_table(&self, key: &'static str) -> BTreeMap<String, String> {
        let Some(section) = self.section(key) else { return BTreeMap::new() };
        let mut strings = BTreeMap::new();
        for (name, value) in section.table {
            match value.get_ref() {
                DeValue::String(text) => {
                    strings.insert(name.get_ref().to_string(), text.to_string());
                }
                other => section.mistyped(name.get_ref(), other, "a string (put it in quotes)"),
            }
        }
        strings
    }

    /// A table of numbers.
    pub(super) fn number_table(&self, key: &'static str) -> BTreeMap<String, f64> {
        let Some(section) = self.section(key) else { return BTreeMap::new() };
        let mut numbers = BTreeMap::new();
        for (name, value) in section.table {
            match number(value.get_ref()) {
                Some(number) => {
                    numbers.insert(name.get_ref().to_string(), number);
                }
                None => section.mistyped(name.get_ref(), value.get_ref(), "a number"),
            }
        }
        numbers
    }

    /// Whether the value is a table, without a word when it is not.
    pub(super) fn is_table(&self, key: &'static str) -> bool {
        self.get(key).is_some_and(|value| value.get_ref().is_table())
    }

    /// Whether the value is a string, without a word when it is not.
    pub(super) fn is_string(&self, key: &'static str) -> bool {
        self.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// A table whose keys are the task's own business.
    pub(super) fn free_table(&self, key: &'static str) -> Map<String, Value> {
        match self.get(key).map(|value| json(value.get_ref())) {
            Some(Value::Object(table)) => table,
            Some(_) => {
                self.section(key);
                Map::new()
            }
            None => Map::new(),
        }
    }

    /// One of a closed list of words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let listed = words.iter().map(|(word, _)| format!("'{word}'")).collect::<Vec<_>>().join(", ");
        self.read(key, &format!("one of {listed}"), |value| {
            let found = value.as_str()?;
            words.iter().find(|(word, _)| *word == found).map(|(_, meaning)| *meaning)
        })
    }

    /// A table of its own.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let at = self.line_of(key);
        let table = self.read(key, "a table", DeValue::as_table)?;
        Some(Section::new(table, at, self.key_path(key), self.report))
    }

    /// A list of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        self.items(key, "a list of tables")
            .into_iter()
            .filter_map(|(path, item)| match item.get_ref().as_table() {
                Some(table) => Some(Section::new(table, Some(item.span().start), path, self.report)),
                None => {
                    self.item_mistyped(&path, item, "a table");
                    None
                }
            })
            .collect()
    }

    /// A list's items with their paths.
    pub(super) fn items(&self, key: &'static str, expected: &str) -> Vec<(String, &'a Spanned<DeValue<'a>>)> {
        let Some(list) = self.read(key, expected, DeValue::as_array) else { return Vec::new() };
        list.iter().enumerate().map(|(i, item)| (format!("{}[{i}]", self.key_path(key)), item)).collect()
    }

    /// The section an item of a list is.
    pub(super) fn item_section(&self, path: String, item: &'a Spanned<DeValue<'a>>) -> Option<Section<'a>> {
        item.get_ref().as_table().map(|table| Section::new(table, Some(item.span().start), path, self.report))
    }

    /// An error about an item of a list.
    pub(super) fn item_mistyped(&self, path: &str, item: &Spanned<DeValue<'_>>, expected: &str) {
        let message = format!("found {}, expected {expected}", shown(item.get_ref()));
        let problem = self.report.problem(Some(item.span().start), path, message);
        self.report.errors.borrow_mut().push(problem);
    }

    /// Ends the section: see [`Self::warn_unknown`].
    pub(super) fn finish(self) {
        self.warn_unknown();
    }

    /// Warns about keys that were never asked for and keeps their values.
    pub(super) fn warn_unknown(&self) {
        let asked = self.asked.borrow();
        for (name, value) in self.table {
            let name: &str = name.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let near = asked
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, name), known))
                .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
                .min();
            let hint = near.map(|(_, known)| format!("; did you mean '{known}'?")).unwrap_or_default();
            self.warn(name, format!("unknown key, ignored{hint}"));
            self.report.unknown.borrow_mut().insert(self.key_path(name), json(value.get_ref()));
        }
    }
}

/// A finite number; one in quotes counts, as in Harbor.
fn number(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok()? as f64,
        DeValue::Float(float) => float.as_str().parse().ok()?,
        DeValue::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A value as an error names it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let cut: String = text.chars().take(60).collect();
            format!("the string \"{cut}\"")
        }
        DeValue::Integer(integer) => format!("the number {}", integer.as_str()),
        DeValue::Float(float) => format!("the number {}", float.as_str()),
        DeValue::Boolean(flag) => format!("{flag}"),
        DeValue::Datetime(at) => format!("the time {at}"),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// The value as JSON; times and numbers JSON cannot hold become strings.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => number.into(),
            Err(_) => integer.as_str().into(),
        },
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(Number::from_f64);
            number.map_or_else(|| float.as_str().into(), Value::Number)
        }
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(at) => at.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect(),
        ),
    }
}
