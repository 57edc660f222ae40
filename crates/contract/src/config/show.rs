//! config.yaml as it may be shown: its schema, and its contents without credentials.

use super::block::Config;
use super::rewrite::quoted;
use super::tree::{self, Data, Node};
use crate::redact::{REDACTED, names_credential, names_secret_variable};
use crate::secret::{Guarded, SecretUrl};
use regex::{Captures, Regex};
use serde::Serialize;
use serde_json::Value;
use std::ops::Range;
use std::sync::LazyLock;

/// Secrets of at least this many characters are looked for everywhere in a text, comments included.
const SEARCHED_FROM: usize = 8;

/// The tables whose keys are the user's own: there names are judged as those of variables.
const OWN_TABLES: [&str; 4] = ["env", "extra", "kwargs", "slurm"];

/// The JSON Schema of config.yaml, with the doc comments of the types as descriptions.
#[must_use]
pub fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// The whole config as YAML: references replaced, defaults filled in, credentials as `[REDACTED]`.
///
/// # Errors
/// None that a config read by [`super::load`] can lead to; what the YAML writer says otherwise.
pub fn redacted(config: &Config) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(config)
}

/// The user's config.yaml with every credential's value as `[REDACTED]`; everything else, comments
/// included, stays as it is. `config` is what the text was read as: what it knows to be secret is
/// removed from comments, keys and other values too, and so are credentials that are commented out
/// and, in URLs, `user:password@` and the values of the query.
#[must_use]
pub fn redact_text(text: &str, config: &Config) -> String {
    let mut scalars = Vec::new();
    let mut values = secrets(config);
    if let Ok(Some(root)) = tree::parse(text, &mut Vec::new()) {
        collect(&root, Place::default(), &mut scalars, &mut values);
    }
    for value in &mut values {
        *value = value.trim().to_owned();
    }
    values.retain(|value| value.chars().count() >= SEARCHED_FROM && value != REDACTED);
    // A secret that holds another one must go first, or its rest would stay.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    scalars.sort_by_key(|scalar: &Scalar| scalar.span.start);

    let mut shown = String::new();
    let mut done = 0;
    for scalar in scalars {
        // What came by `<<` stands at its first place only.
        let (Some(between), Some(raw)) = (text.get(done..scalar.span.start), text.get(scalar.span.clone()))
        else {
            continue;
        };
        shown += &comments(between, &values);
        shown += &scalar.shown(raw, &values);
        done = scalar.span.end;
    }
    shown + &comments(text.get(done..).unwrap_or_default(), &values)
}

/// What `config` knows to be secret.
fn secrets(config: &Config) -> Vec<String> {
    let input = &config.runtime_info.input;
    let mut values = Vec::new();
    let mut urls: Vec<&SecretUrl> = input.environment.docker.host.iter().collect();
    for api in &input.llm_api {
        values.extend(api.api_key.iter().map(|key| key.expose().to_owned()));
        urls.push(&api.api_base_url);
    }
    values.extend(input.litellm_proxy.master_key.iter().map(|key| key.expose().to_owned()));
    for url in urls {
        let password = url.user_info().and_then(|user| user.split_once(':')).map(|(_, password)| password);
        values.extend(password.into_iter().chain(url.query_values()).map(str::to_owned));
    }
    guarded(&input.environment.slurm, &mut values);
    guarded(&config.environment.extra, &mut values);
    for agent in &input.agent {
        guarded(&agent.kwargs, &mut values);
        guarded(&agent.env, &mut values);
    }
    values
}

/// The texts of a table that it does not show.
fn guarded<T: Serialize>(table: &Guarded<T>, values: &mut Vec<String>) {
    let whole = serde_json::to_value(&table.0).unwrap_or_default();
    for (key, value) in whole.as_object().into_iter().flatten() {
        named(value, table.taken().contains_key(key) || names_secret_variable(key), values);
    }
}

/// The texts below keys that name credentials.
fn named(value: &Value, secret: bool, values: &mut Vec<String>) {
    match value {
        Value::Object(table) => {
            table.iter().for_each(|(key, value)| named(value, secret || names_secret_variable(key), values));
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, secret, values)),
        Value::String(text) if secret => values.push(text.clone()),
        _ => {}
    }
}

/// Whether a key of config.yaml holds a credential.
fn is_credential(key: &str) -> bool {
    /// They are named like credentials, and are a path and prices.
    const NONE: [&str; 4] =
        ["api_key_file", "input_cost_per_token", "output_cost_per_token", "cached_cost_per_token"];
    let master_key = key.to_ascii_lowercase().replace('-', "_").ends_with("master_key");
    master_key || (names_credential(key) && !NONE.contains(&key))
}

/// A key or value in the text.
struct Scalar {
    span: Range<usize>,
    /// What it reads as; none when only its place matters.
    text: Option<String>,
    secret: bool,
    block: bool,
}

/// Where a value stands.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Below a key that names a credential.
    secret: bool,
    /// In a table whose keys are the user's own.
    own: bool,
}

impl Place {
    /// The place of `key`'s value.
    fn below(self, key: &str) -> Self {
        let secret = is_credential(key) || (self.own && names_secret_variable(key));
        Self { secret: self.secret || secret, own: self.own || OWN_TABLES.contains(&key) }
    }
}

/// Every key and value below `node`; what aliases in secret places stand for is added to `values`.
fn collect(node: &Node, place: Place, scalars: &mut Vec<Scalar>, values: &mut Vec<String>) {
    if node.alias {
        if place.secret
            && let Data::Text(text) = &node.data
        {
            values.push(text.clone());
        }
        return;
    }
    let text = match &node.data {
        Data::Map(map) => {
            for entry in map.entries.iter().filter(|entry| !entry.merged) {
                let text = Some(entry.key.clone());
                scalars.push(Scalar { span: entry.key_span.clone(), text, secret: false, block: false });
                collect(&entry.value, place.below(&entry.key), scalars, values);
            }
            return;
        }
        Data::List(items) => {
            items.iter().for_each(|item| collect(item, place, scalars, values));
            return;
        }
        Data::Null => return,
        Data::Text(text) => Some(text.clone()),
        Data::Bool(_) | Data::Int(_) | Data::Float(_) => None,
    };
    let secret = place.secret && text.as_deref() != Some("");
    scalars.push(Scalar { span: node.span.clone(), text, secret, block: node.block });
}

impl Scalar {
    /// How it is shown, given how it is written.
    fn shown(&self, raw: &str, values: &[String]) -> String {
        if self.block {
            return if self.secret { REDACTED.to_owned() } else { clean(raw, values) };
        }
        // Anchor and tag stay: other places may need them.
        let written = raw.split_inclusive(char::is_whitespace);
        let before: usize = written.take_while(|part| part.starts_with(['&', '!'])).map(str::len).sum();
        let before = raw.get(..before).unwrap_or_default();
        if self.secret {
            return format!("{before}{}", quoted(REDACTED));
        }
        let text = self.text.as_deref().unwrap_or_default();
        let cleaned = clean(text, values);
        if cleaned == text { raw.to_owned() } else { format!("{before}{}", quoted(&cleaned)) }
    }
}

/// `text` without any of the secret `values`, and without users, passwords and query values of URLs.
fn clean(text: &str, values: &[String]) -> String {
    static URL: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+"#).ok());
    let text = values.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), REDACTED));
    match URL.as_ref() {
        Some(url) => {
            url.replace_all(&text, |found: &Captures<'_>| SecretUrl::new(&found[0]).to_string()).into_owned()
        }
        None => text,
    }
}

/// What stands between keys and values, the comments in it cleaned of credentials.
fn comments(text: &str, values: &[String]) -> String {
    static ENTRY: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"([A-Za-z0-9_-]+)(["']?\s*[:=]\s*)("[^"]*"|'[^']*'|(?:(?i:bearer|basic)\s+)?[^\s,}#]+)"#)
            .ok()
    });
    let entry = |found: &Captures<'_>| {
        let (key, gap, value) = (&found[1], &found[2], &found[3]);
        let none = ["null", "~", "\"\"", "''"].contains(&value);
        // A variable, most likely: here no table tells.
        let variable = key.bytes().all(|byte| !byte.is_ascii_lowercase()) && names_secret_variable(key);
        let value = if (is_credential(key) || variable) && !none { REDACTED } else { value };
        format!("{key}{gap}{value}")
    };
    let line = |line: &str| {
        let Some((before, comment)) = line.split_once('#') else { return line.to_owned() };
        let comment = clean(comment, values);
        let comment =
            ENTRY.as_ref().map_or_else(|| comment.clone(), |r| r.replace_all(&comment, entry).into_owned());
        format!("{before}#{comment}")
    };
    text.split_inclusive('\n').map(line).collect()
}
