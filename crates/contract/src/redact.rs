//! Keeping credentials out of what is written down.

use serde_json::Value;
use std::borrow::Cow;

/// What stands in the place of a credential.
pub const REDACTED: &str = "[REDACTED]";

/// Shorter values are never searched for in texts: `EMPTY` is a common key.
pub const MIN_SECRET_LENGTH: usize = 16;

/// Whether a key's name says that its value is a credential: it contains `api_key`, `apikey`,
/// `authorization` or `secret`, or is `token` or ends in `_token` (`-` counts as `_`). Token *counts*
/// (`max_tokens`, `prompt_tokens`) are none.
#[must_use]
pub fn names_credential(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    ["api_key", "apikey", "authorization", "secret"].iter().any(|part| key.contains(part))
        || key == "token"
        || key.ends_with("_token")
}

/// Replaces the value of every key, at any depth, that [`names_credential`].
pub fn redact_keys(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                if names_credential(key) && !field.is_null() {
                    *field = Value::String(REDACTED.to_owned());
                } else {
                    redact_keys(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_keys),
        _ => {}
    }
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
        let mut secrets = Self::default();
        for value in values {
            secrets.add(value);
        }
        secrets
    }

    /// Adds one more value, unless it is too short.
    pub fn add(&mut self, value: String) {
        if value.len() >= MIN_SECRET_LENGTH && !self.values.contains(&value) {
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
        let mut value = json!({"a": [{"api_key": "x", "n": 1}], "token": null, "max_tokens": 5});
        redact_keys(&mut value);
        assert_eq!(value, json!({"a": [{"api_key": "[REDACTED]", "n": 1}], "token": null, "max_tokens": 5}));
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
