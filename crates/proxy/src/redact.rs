//! Keeping keys out of records and of what agents are told.

use crate::auth::{KEY_DIGITS, KEY_PREFIX};
use memchr::memmem;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};
use trajgen_contract::redact::{REDACTED, Secrets, redact_keys, redact_text};
use trajgen_upstream::json::mend_surrogates;

/// Knows every key: those of the configuration and those of all trials so far.
#[derive(Default)]
pub(crate) struct Redactor {
    configured: Secrets,
    /// The same, and shorter ones: what failures are searched for.
    in_failures: Secrets,
    /// There may be thousands: they are found by what they all begin with.
    trial_keys: RwLock<HashSet<String>>,
}

impl Redactor {
    pub(crate) fn new(configured: impl IntoIterator<Item = String>) -> Self {
        let configured: Vec<String> = configured.into_iter().collect();
        Self {
            in_failures: Secrets::in_failures(configured.iter().cloned()),
            configured: Secrets::new(configured),
            trial_keys: RwLock::default(),
        }
    }

    pub(crate) fn add_trial_key(&self, key: &str) {
        self.trial_keys.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
    }

    /// `text` without any key.
    pub(crate) fn values<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.configured.redact(text) {
            Cow::Borrowed(text) => self.without_trial_keys(text),
            Cow::Owned(text) => Cow::Owned(self.without_trial_keys(&text).into_owned()),
        }
    }

    fn without_trial_keys<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found = memmem::find_iter(text.as_bytes(), KEY_PREFIX).peekable();
        if found.peek().is_none() {
            return Cow::Borrowed(text);
        }
        let keys = self.trial_keys.read().unwrap_or_else(PoisonError::into_inner);
        let (mut clean, mut done) = (String::new(), 0);
        for start in found {
            let end = start + KEY_PREFIX.len() + KEY_DIGITS;
            if text.get(start..end).is_some_and(|key| keys.contains(key)) {
                clean.push_str(&text[done..start]);
                clean.push_str(REDACTED);
                done = end;
            }
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        clean.push_str(&text[done..]);
        Cow::Owned(clean)
    }

    /// JSON text without any key, on one line. A key may be hidden behind escapes: text that holds any
    /// which could is looked at decoded.
    pub(crate) fn json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = mend_surrogates(text);
        let text = match text {
            Cow::Borrowed(text) => one_line(text),
            Cow::Owned(text) => Cow::Owned(one_line(&text).into_owned()),
        };
        let may_hide = ["\\u", "\\/"].iter().any(|e| memmem::find(text.as_bytes(), e.as_bytes()).is_some())
            || self.configured.values().any(|value| value.contains(['"', '\\']));
        if may_hide && let Ok(mut value) = serde_json::from_str::<Value>(&text) {
            return if self.clean(&mut value) { Cow::Owned(value.to_string()) } else { text };
        }
        match text {
            Cow::Borrowed(text) => self.values(text),
            Cow::Owned(text) => Cow::Owned(self.values(&text).into_owned()),
        }
    }

    /// Takes the keys out of every text of `value`; true when there were any.
    pub(crate) fn clean(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let Cow::Owned(clean) = self.values(text) else { return false };
                *text = clean;
                true
            }
            Value::Array(items) => self.clean_all(items.iter_mut()),
            Value::Object(fields) => {
                let mut any = self.clean_all(fields.values_mut());
                if fields.keys().any(|key| matches!(self.values(key), Cow::Owned(_))) {
                    any = true;
                    *fields = std::mem::take(fields)
                        .into_iter()
                        .map(|(key, field)| (self.values(&key).into_owned(), field))
                        .collect();
                }
                any
            }
            _ => false,
        }
    }

    fn clean_all<'a>(&self, values: impl Iterator<Item = &'a mut Value>) -> bool {
        let mut any = false;
        for value in values {
            any |= self.clean(value);
        }
        any
    }

    fn failure_text(&self, text: &str) -> String {
        redact_text(&self.in_failures.redact(&self.values(text))).into_owned()
    }

    /// A failure's object: each of its texts as [`Self::failure`], and without the values of keys that
    /// name credentials.
    pub(crate) fn clean_failure(&self, value: &mut Value) {
        self.clean(value);
        redact_keys(value);
        self.clean_failure_texts(value);
    }

    fn clean_failure_texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.failure_text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.clean_failure_texts(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.clean_failure_texts(field)),
            _ => {}
        }
    }

    /// A failure's text: without keys, without what follows the name of a credential, at most `most`
    /// bytes.
    pub(crate) fn failure(&self, text: &str, most: usize) -> String {
        let mut text = self.failure_text(text);
        if text.len() > most {
            let end = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

/// Line breaks in JSON text stand between tokens only: a space does as well.
fn one_line(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> (Redactor, String) {
        let redactor = Redactor::new(["upstream-key-0123456789".to_owned(), "EMPTY".to_owned()]);
        let key = format!("{KEY_PREFIX}{}", "a1".repeat(KEY_DIGITS / 2));
        redactor.add_trial_key(&key);
        (redactor, key)
    }

    #[test]
    fn only_actual_keys_go() {
        let (redactor, key) = redactor();
        let other = format!("{KEY_PREFIX}{}", "b2".repeat(KEY_DIGITS / 2));
        let text = format!("a {key} b {other} c upstream-key-0123456789 EMPTY {KEY_PREFIX}");
        assert_eq!(redactor.values(&text), format!("a [REDACTED] b {other} c [REDACTED] EMPTY {KEY_PREFIX}"));
        assert!(matches!(redactor.values("nothing"), Cow::Borrowed(_)));
    }

    #[test]
    fn escapes_hide_no_key_and_other_text_stays_as_it_was() {
        let (redactor, key) = redactor();
        let hidden = key.replace('s', "\\u0073");
        assert_eq!(redactor.json(&format!("[\"{hidden}\"]")), "[\"[REDACTED]\"]");
        let harmless = "{\"a\": \"\\u00e9 \\/\", \"n\": 1.50}";
        assert_eq!(redactor.json(harmless), harmless);
    }

    #[test]
    fn json_comes_out_on_one_line_and_readable() {
        let (redactor, _) = redactor();
        assert_eq!(redactor.json("{\r\n \"a\":\n1}"), "{   \"a\": 1}");
        let lone = redactor.json("[\"\\ud83d alone\"]").into_owned();
        assert_eq!(serde_json::from_str::<Value>(&lone).unwrap()[0], "\u{fffd} alone");
    }

    #[test]
    fn failures_are_bounded() {
        let (redactor, key) = redactor();
        let text = redactor.failure(&format!("no api_key=abc {key} ééééé"), 34);
        assert_eq!(text, "no api_key=[REDACTED] [REDACTED] …");
    }
}
