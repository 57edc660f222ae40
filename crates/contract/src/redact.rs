//! Keeping credentials out of what is written down.

use regex::{Captures, Regex};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// What stands in the place of a credential.
pub const REDACTED: &str = "[REDACTED]";

/// Shorter values are never searched for in texts: `EMPTY` is a common key.
pub const MIN_SECRET_LENGTH: usize = 16;

/// Shorter values are not even searched for in failure texts, which hold no content that could be spoilt.
pub const MIN_SECRET_LENGTH_IN_FAILURES: usize = 8;

/// Whether a key's name says that its value is a credential: it contains `api_key`, `apikey`,
/// `authorization` or `secret`, or is `token` or ends in `_token` (`-` counts as `_`). Token *counts*
/// (`max_tokens`, `prompt_tokens`) and prices (`input_cost_per_token`) are none.
#[must_use]
pub fn names_credential(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    ["api_key", "apikey", "authorization", "secret"].iter().any(|part| key.contains(part))
        || key == "token"
        || (key.ends_with("_token") && !key.ends_with("_per_token"))
}

/// Whether a variable's name says that its value is a credential: [`names_credential`], or Harbor's
/// rule, which is wider: the name holds `KEY`, `SECRET`, `PASSWORD`, `CREDENTIAL`, `AUTH` or `TOKEN`
/// (but not `TOKENS`, a count).
#[must_use]
pub fn names_secret_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let words = ["KEY", "SECRET", "PASSWORD", "CREDENTIAL", "AUTH"];
    words.iter().any(|word| upper.contains(word))
        || upper.match_indices("TOKEN").any(|(at, word)| !upper[at + word.len()..].starts_with('S'))
        || names_credential(name)
}

/// Replaces the value of every key, at any depth, that [`names_credential`].
pub fn redact_keys(value: &mut Value) {
    redact_named(value, names_credential);
}

/// Replaces the value of every key, at any depth, for which `is_secret` holds.
pub fn redact_named(value: &mut Value, is_secret: fn(&str) -> bool) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                if is_secret(key) {
                    *field = Value::String(REDACTED.to_owned());
                } else {
                    redact_named(field, is_secret);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact_named(item, is_secret)),
        _ => {}
    }
}

/// Replaces, in a text such as an error message, what follows the name of a credential and `=` or `:`,
/// and what follows `Bearer` as a credential does.
#[must_use]
pub fn redact_text(text: &str) -> Cow<'_, str> {
    match redact_named_in(text) {
        Cow::Borrowed(text) => redact_bearers(text),
        Cow::Owned(text) => Cow::Owned(redact_bearers(&text).into_owned()),
    }
}

/// Replaces what follows `Bearer` and looks like no word: `a bearer token` is one.
fn redact_bearers(text: &str) -> Cow<'_, str> {
    static BEARER: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?i)\b(bearer\s+)([A-Za-z0-9._~+/=-]{6,})").ok());
    let Some(bearer) = BEARER.as_ref() else { return Cow::Borrowed(text) };
    bearer.replace_all(text, |found: &Captures<'_>| {
        let (head, value) = (&found[1], &found[2]);
        let trimmed = value.trim_end_matches('.');
        let is_word = trimmed.bytes().all(|b| b.is_ascii_lowercase())
            || trimmed.bytes().skip(1).all(|b| b.is_ascii_lowercase());
        if is_word { found[0].to_owned() } else { format!("{head}{REDACTED}{}", &value[trimmed.len()..]) }
    })
}

/// Replaces what follows the name of a credential.
fn redact_named_in(text: &str) -> Cow<'_, str> {
    // `name` may be quoted, and so may the value; a header's value is a scheme and the credential.
    static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r#"(?xi)
            (?P<head> \b (?P<name>
                [a-z0-9_.-]* (?: api[_-]?key | authorization | secret ) [a-z0-9_.-]*
                | (?: [a-z0-9_.-]* [_-] )? token
            ) [\\"']* \s* [:=] \s* )
            (?P<value> \\*"[^"]*" | '[^']*' | (?:bearer|basic)\s+[^\s"',;}\\]+ | [^\s"',;&}\\]+ )"#,
        )
        .ok()
    });
    let Some(named) = NAMED.as_ref() else { return Cow::Borrowed(text) };
    named.replace_all(text, |found: &Captures<'_>| {
        let part = |name| found.name(name).map_or("", |m| m.as_str());
        if names_credential(part("name")) {
            let quote = if part("value").ends_with('"') { "\"" } else { "" };
            format!("{}{quote}{REDACTED}{quote}", part("head"))
        } else {
            found[0].to_owned()
        }
    })
}

/// The actual values of credentials, to be found in any text.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Vec<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.values.len())
    }
}

impl Secrets {
    /// Those of `values` that are long enough to be searched for ([`MIN_SECRET_LENGTH`]).
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        Self::of_length(values, MIN_SECRET_LENGTH)
    }

    /// Those of `values` that are long enough to be searched for in failure texts
    /// ([`MIN_SECRET_LENGTH_IN_FAILURES`]).
    pub fn in_failures(values: impl IntoIterator<Item = String>) -> Self {
        Self::of_length(values, MIN_SECRET_LENGTH_IN_FAILURES)
    }

    fn of_length(values: impl IntoIterator<Item = String>, least: usize) -> Self {
        let mut secrets = Self::default();
        for value in values.into_iter().filter(|value| value.len() >= least) {
            secrets.insert(value);
        }
        secrets
    }

    /// Adds one more value, unless it is too short.
    pub fn add(&mut self, value: String) {
        if value.len() >= MIN_SECRET_LENGTH {
            self.insert(value);
        }
    }

    fn insert(&mut self, value: String) {
        if !self.values.contains(&value) {
            self.values.push(value);
            // A secret that holds another one must go first, or its rest would stay.
            self.values.sort_by_key(|v| std::cmp::Reverse(v.len()));
        }
    }

    /// The values, longest first.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// `text` without any of the values.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = Cow::Owned(text.replace(value.as_str(), REDACTED));
            }
        }
        text
    }

    /// Replaces the values in every text of `value`, names of keys included.
    pub fn redact_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.redact(text) {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_value(item)),
            Value::Object(fields) => {
                if fields.keys().any(|key| matches!(self.redact(key), Cow::Owned(_))) {
                    *fields = std::mem::take(fields)
                        .into_iter()
                        .map(|(key, field)| (self.redact(&key).into_owned(), field))
                        .collect();
                }
                fields.values_mut().for_each(|field| self.redact_value(field));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_credentials() {
        for key in
            ["api_key", "X-Api-Key", "openai_apikey", "Authorization", "client_secret", "token", "hf-token"]
        {
            assert!(names_credential(key), "{key}");
        }
        for key in ["max_tokens", "prompt_tokens", "tokens", "token_ids", "tokenizer", "key", "logit_bias"] {
            assert!(!names_credential(key), "{key}");
        }
    }

    #[test]
    fn values_of_named_keys_go_at_any_depth() {
        let mut value = json!({"a": [{"api_key": "x", "n": 1}], "token": null, "max_tokens": 5, "input_cost_per_token": 1});
        redact_keys(&mut value);
        assert_eq!(
            value,
            json!({"a": [{"api_key": "[REDACTED]", "n": 1}], "token": "[REDACTED]", "max_tokens": 5, "input_cost_per_token": 1})
        );
    }

    #[test]
    fn texts_lose_what_a_credential_is() {
        let cases = [
            ("bad api_key=abc, retry", "bad api_key=[REDACTED], retry"),
            (r#"{"api_key": "a b", "n": 1}"#, r#"{"api_key": "[REDACTED]", "n": 1}"#),
            ("Authorization: Bearer abc.def", "Authorization: [REDACTED]"),
            ("https://x/?token=abc&n=1", "https://x/?token=[REDACTED]&n=1"),
            ("max_tokens: 5 is too large: 7", "max_tokens: 5 is too large: 7"),
            ("bad request: api_key=abc", "bad request: api_key=[REDACTED]"),
            ("n: 3 and secret: x", "n: 3 and secret: [REDACTED]"),
            ("bad key: Bearer sk-SHORTKEY12.", "bad key: Bearer [REDACTED]."),
            ("send a bearer token, Bearer authentication", "send a bearer token, Bearer authentication"),
        ];
        for (text, clean) in cases {
            assert_eq!(redact_text(text), clean, "{text}");
        }
    }

    #[test]
    fn short_values_stay_and_longer_ones_go_first() {
        let secrets = Secrets::new([
            "EMPTY".to_owned(),
            "0123456789abcdef".to_owned(),
            "0123456789abcdefXY".to_owned(),
        ]);
        assert_eq!(
            secrets.redact("EMPTY 0123456789abcdefXY 0123456789abcdef"),
            "EMPTY [REDACTED] [REDACTED]"
        );
        assert!(matches!(secrets.redact("nothing here"), Cow::Borrowed(_)));
    }

    #[test]
    fn keys_that_are_secrets_go_too() {
        let secrets = Secrets::new(["0123456789abcdef".to_owned()]);
        let mut value = json!({"0123456789abcdef": ["x 0123456789abcdef"]});
        secrets.redact_value(&mut value);
        assert_eq!(value, json!({"[REDACTED]": ["x [REDACTED]"]}));
    }
}
