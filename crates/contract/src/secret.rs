//! Types for values that must not be shown: in logs, error texts, snapshots, archives.

use crate::redact::{REDACTED, names_secret_variable, redact_named};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

/// A key, password or token. It shows itself as `[REDACTED]` everywhere but through [`Self::expose`].
#[derive(Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` out of sight.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The secret itself, to be handed to the one who checks it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// A URL that may hold `user:password@`, and keys in its query. It shows itself without that part, and
/// without the value of anything in the query.
#[derive(Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Takes a URL's user, password and query values out of sight.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }
    /// The whole URL.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// The part between `://` and `@`, when there is one.
    #[must_use]
    pub fn user_info(&self) -> Option<&str> {
        let (_, rest) = self.parts();
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, beyond) = rest.split_at(end);
        if let Some((user, _)) = authority.rsplit_once('@') {
            return Some(user);
        }
        // A password with one of those characters in it: what stands where the port should is none.
        let port = authority.rsplit_once(':')?.1;
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) || authority.ends_with(']');
        let at = beyond.rfind('@').filter(|_| !is_port)?;
        rest.get(..end + at)
    }
    /// The values in the query; of a part that is no `key=value`, all of it.
    pub fn query_values(&self) -> impl Iterator<Item = &str> {
        let (_, rest) = self.parts();
        let rest = rest.get(self.user_info().map_or(0, str::len)..).unwrap_or_default();
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let parts = query.split(['&', ';', '#']);
        parts
            .map(|part| part.split_once('=').map_or(part, |(_, value)| value))
            .filter(|value| !value.is_empty())
    }
    /// The scheme with its `://`, and what follows.
    fn parts(&self) -> (&str, &str) {
        self.0.split_at(self.0.find("://").map_or(0, |at| at + 3))
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.parts();
        f.write_str(scheme)?;
        let rest = match self.user_info() {
            Some(user) => {
                f.write_str(REDACTED)?;
                rest.get(user.len()..).unwrap_or_default()
            }
            None => rest,
        };
        let Some((place, query)) = rest.split_once('?') else { return f.write_str(rest) };
        write!(f, "{place}?")?;
        for part in query.split_inclusive(['&', ';', '#']) {
            let (part, end) = match part.strip_suffix(['&', ';', '#']) {
                Some(whole) => (whole, &part[whole.len()..]),
                None => (part, ""),
            };
            match part.split_once('=') {
                _ if part.is_empty() => {}
                Some((key, "")) => write!(f, "{key}=")?,
                Some((key, _)) => write!(f, "{key}={REDACTED}")?,
                None => f.write_str(REDACTED)?,
            }
            f.write_str(end)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A free table whose keys are the user's own. It is shown with `[REDACTED]` as the value of every key
/// that names a credential ([`crate::redact::names_secret_variable`], at any depth), and of every entry
/// that was taken from the environment. It reads like the table itself.
#[derive(Clone, Default, PartialEq, JsonSchema)]
#[schemars(transparent)]
pub struct Guarded<T>(pub T, #[schemars(skip)] Taken);

/// The entries of a table that were taken from the environment, as they are written.
pub type Taken = BTreeMap<String, String>;

impl<T> Guarded<T> {
    /// A table of which `taken` was taken from the environment.
    pub fn new(table: T, taken: Taken) -> Self {
        Self(table, taken)
    }
    /// The entries that were taken from the environment, as they are written: with `${VAR}` in them.
    #[must_use]
    pub fn taken(&self) -> &Taken {
        &self.1
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize> Guarded<T> {
    fn shown(&self) -> Value {
        let mut value = serde_json::to_value(&self.0).unwrap_or(Value::Null);
        redact_named(&mut value, names_secret_variable);
        for name in self.1.keys() {
            if let Some(entry) = value.get_mut(name) {
                *entry = Value::String(REDACTED.to_owned());
            }
        }
        value
    }
}

impl<T: Serialize> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown(), f)
    }
}

impl<T: Serialize> Serialize for Guarded<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_secret() {
        let secret = Secret::new("sk-very-secret");
        let url = SecretUrl::new("https://me:sk-very-secret@host:8/v1?x=very@b&y=&very#z=very");
        let taken = Taken::from([("c".to_owned(), "${C}".to_owned())]);
        let table = serde_json::json!({"a": {"HF_TOKEN": "sk-very-secret", "DB_PASSWORD": "very"}, "b": "shown", "c": "very"});
        let table = Guarded::new(table, taken);
        let shown = format!("{secret} {secret:?} {url} {url:?} {table:?}")
            + &serde_json::to_string(&(&secret, &url, &table)).unwrap();
        assert!(!shown.contains("very"), "{shown}");
        assert!(
            shown.contains("shown")
                && shown.contains("https://[REDACTED]@host:8/v1?x=[REDACTED]&y=&[REDACTED]#z=[REDACTED]"),
            "{shown}"
        );
        assert_eq!(secret.expose(), "sk-very-secret");
        assert_eq!(SecretUrl::new("http://host/a@b").user_info(), None);
        assert_eq!(url.query_values().collect::<Vec<_>>(), ["very@b", "very", "very"]);
    }

    #[test]
    fn odd_addresses_hide_their_passwords_too() {
        let cases = [
            ("http://me:p/w@host/v1", "http://[REDACTED]@host/v1"),
            ("http://me:p?w=x@host/v1", "http://[REDACTED]@host/v1"),
            ("me:pw@host", "[REDACTED]@host"),
            ("ftp://me@host", "ftp://[REDACTED]@host"),
            ("http://[::1]:8/v1@x?a", "http://[::1]:8/v1@x?[REDACTED]"),
            ("http://h:80/a@b", "http://h:80/a@b"),
            ("script://a/b", "script://a/b"),
            ("https://h/v1?k=[REDACTED]", "https://h/v1?k=[REDACTED]"),
            ("", ""),
        ];
        for (url, shown) in cases {
            assert_eq!(SecretUrl::new(url).to_string(), shown);
        }
    }
}
