//! Types for values that must not be shown: in logs, error texts, snapshots, archives.

use crate::redact::{REDACTED, redact_keys};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;
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

/// A URL that may hold `user:password@`. It shows itself without that part.
#[derive(Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Takes a URL's user and password out of sight.
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
        let authority = self.0.split_once("://")?.1.split(['/', '?', '#']).next()?;
        Some(authority.rsplit_once('@')?.0)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.user_info(), self.0.split_once("://")) {
            (Some(user), Some((scheme, rest))) => {
                write!(f, "{scheme}://{REDACTED}{}", rest.get(user.len()..).unwrap_or_default())
            }
            _ => f.write_str(&self.0),
        }
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

/// A free table whose keys are the user's own: shown with the value of every key that names a
/// credential ([`crate::redact::names_credential`], at any depth) as `[REDACTED]`. It reads like the table itself.
#[derive(Clone, Default, PartialEq, JsonSchema)]
#[schemars(transparent)]
pub struct Guarded<T>(pub T);

impl<T> Deref for Guarded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize> Guarded<T> {
    fn shown(&self) -> Value {
        let mut value = serde_json::to_value(&self.0).unwrap_or(Value::Null);
        redact_keys(&mut value);
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
        let url = SecretUrl::new("https://me:sk-very-secret@host:8/v1?x=a@b");
        let table = Guarded(serde_json::json!({"a": {"HF_TOKEN": "sk-very-secret"}, "b": "shown"}));
        let shown = format!("{secret} {secret:?} {url} {url:?} {table:?}")
            + &serde_json::to_string(&(&secret, &url, &table)).unwrap();
        assert!(!shown.contains("very"), "{shown}");
        assert!(shown.contains("shown") && shown.contains("https://[REDACTED]@host:8/v1?x=a@b"), "{shown}");
        assert_eq!(secret.expose(), "sk-very-secret");
        assert_eq!(SecretUrl::new("http://host/a@b").user_info(), None);
    }
}
