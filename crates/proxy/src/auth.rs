//! Who may call: the master key and the trials' keys.

use crate::trial::{Trial, TrialKey};
use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, PoisonError, RwLock};
use subtle::ConstantTimeEq;

/// What all trial keys begin with.
pub(crate) const KEY_PREFIX: &str = "sk-trajgen-";
/// How many hexadecimal digits follow: 160 random bits.
pub(crate) const KEY_DIGITS: usize = 40;

/// Keys are looked up by their hashes: how long that takes says nothing about the keys.
type KeyHash = [u8; 32];

/// All valid keys.
pub(crate) struct Keyring {
    master: Option<KeyHash>,
    trials: RwLock<HashMap<KeyHash, Arc<Trial>>>,
}

/// Who calls.
#[derive(Clone)]
pub(crate) enum Caller {
    /// Whoever holds the master key.
    Master,
    /// A trial's agent.
    Trial(Arc<Trial>),
}

impl Keyring {
    pub(crate) fn new(master: Option<&str>) -> Self {
        Self { master: master.filter(|key| !key.is_empty()).map(hash), trials: RwLock::default() }
    }

    /// Makes a key for `trial`.
    pub(crate) fn issue(&self, trial: Arc<Trial>) -> TrialKey {
        let random: [u8; KEY_DIGITS / 2] = rand::random();
        let mut key = String::from(KEY_PREFIX);
        for byte in random {
            // Writing to a text does not fail.
            let _ = write!(key, "{byte:02x}");
        }
        self.trials.write().unwrap_or_else(PoisonError::into_inner).insert(hash(&key), trial);
        TrialKey { key }
    }

    /// The trial's key is valid no longer.
    pub(crate) fn revoke(&self, trial: &Arc<Trial>) {
        let mut trials = self.trials.write().unwrap_or_else(PoisonError::into_inner);
        trials.retain(|_, of| !Arc::ptr_eq(of, trial));
    }

    /// Who the request's key belongs to; none when it has none, or one that is unknown or expired.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        presented(headers).find_map(|key| self.holder(key))
    }

    fn holder(&self, key: &str) -> Option<Caller> {
        let presented = hash(key);
        if self.master.is_some_and(|master| bool::from(master.ct_eq(&presented))) {
            return Some(Caller::Master);
        }
        let trials = self.trials.read().unwrap_or_else(PoisonError::into_inner);
        trials.get(&presented).cloned().map(Caller::Trial)
    }
}

fn hash(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}

/// The keys a request comes with.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    [bearer, text("x-api-key").map(str::trim)].into_iter().flatten().filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{Route, TrialLimits};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    fn trial() -> Arc<Trial> {
        Arc::new(Trial::new(Route {
            job: "j".to_owned(),
            trial: "t".to_owned(),
            task_id: "t".to_owned(),
            log_path: "log".into(),
            limits: TrialLimits::default(),
        }))
    }

    #[test]
    fn keys_are_random_and_die_with_their_trial() {
        let ring = Keyring::new(None);
        let (first, second) = (trial(), trial());
        let (key, other) = (ring.issue(Arc::clone(&first)).key, ring.issue(second).key);
        assert_ne!(key, other);
        assert_eq!(key.len(), KEY_PREFIX.len() + KEY_DIGITS);
        let bearer = headers("authorization", &format!("bearer {key}"));
        let plain = headers("x-api-key", &key);
        assert!(ring.caller(&bearer).is_some() && ring.caller(&plain).is_some());
        ring.revoke(&first);
        assert!(ring.caller(&bearer).is_none());
        assert!(ring.caller(&headers("x-api-key", &other)).is_some());
    }

    #[test]
    fn an_empty_master_key_opens_nothing() {
        assert!(Keyring::new(Some("")).caller(&headers("authorization", "Bearer ")).is_none());
        let ring = Keyring::new(Some("master"));
        assert!(matches!(ring.caller(&headers("x-api-key", "master")), Some(Caller::Master)));
        assert!(ring.caller(&headers("authorization", "Basic master")).is_none());
        assert!(ring.caller(&HeaderMap::new()).is_none());
    }
}
