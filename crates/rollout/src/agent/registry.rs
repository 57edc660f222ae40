//! Agents by name.

use super::Agent;
use super::nop::Nop;
use super::oracle::Oracle;
use super::terminus2::{Options, Terminus2, options};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Every agent that can be created, by its own name.
pub const NAMES: [&str; 3] = ["terminus-2", "oracle", "nop"];

/// Why an agent cannot be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The agent is known, and not there yet.
    #[error("agent.name: {name} is not supported yet; use terminus-2, oracle or nop")]
    NotYet {
        /// The name that was asked for.
        name: String,
    },
    /// There is no agent of that name.
    #[error("agent.name: there is no agent {name:?}{}; known are: {known}", suggestion(.hint.as_deref()))]
    UnknownAgent {
        /// The name that was asked for.
        name: String,
        /// The known name that is most like it.
        hint: Option<String>,
        /// All names.
        known: String,
    },
    /// The agent has no such option.
    #[error("{key}: unknown option of {agent}{}; known are: {known}", suggestion(.hint.as_deref()))]
    UnknownOption {
        /// The agent.
        agent: String,
        /// The option, as a path in the config.
        key: String,
        /// The known option that is most like it.
        hint: Option<String>,
        /// All options.
        known: String,
    },
    /// An option has a value that it cannot have.
    #[error("{key}: found {found}, expected {expected}")]
    WrongValue {
        /// The option, as a path in the config.
        key: String,
        /// The value, as JSON.
        found: String,
        /// What it may be.
        expected: String,
    },
}

fn suggestion(hint: Option<&str>) -> String {
    hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// The known name that is most like `name`, when one is near enough to be meant.
pub(crate) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// An agent's own name, of the name or alias it was asked for by.
#[must_use]
pub fn canonical(name: &str) -> Option<&'static str> {
    match name {
        "terminus-2" | "terminus2" | "terminus_2" => Some("terminus-2"),
        "oracle" => Some("oracle"),
        "nop" => Some("nop"),
        _ => None,
    }
}

/// Agents that configs of other pipelines name, and that there are not here yet.
fn comes_later(name: &str) -> bool {
    const LATER: [&str; 7] =
        ["claude-code", "opencode", "open-code", "openhands", "openhands-sdk", "codex", "mini-swe-agent"];
    let name = name.replace('_', "-");
    name.starts_with("custom-") || LATER.contains(&name.as_str())
}

/// Creates the agent `name` (or alias) with the options `kwargs`, for one trial.
///
/// # Errors
/// For an unknown name, an unknown option, or an option's wrong value.
pub fn create(name: &str, kwargs: &Map<String, Value>) -> Result<Arc<dyn Agent>, CreateError> {
    match canonical(name) {
        Some("terminus-2") => Ok(Arc::new(Terminus2::new(Options::from_kwargs(kwargs)?))),
        Some("oracle") => {
            without_options("oracle", kwargs)?;
            Ok(Arc::new(Oracle))
        }
        Some("nop") => {
            without_options("nop", kwargs)?;
            Ok(Arc::new(Nop))
        }
        _ if comes_later(name) => Err(CreateError::NotYet { name: name.to_owned() }),
        _ => Err(CreateError::UnknownAgent {
            name: name.to_owned(),
            hint: nearest(name, &NAMES),
            known: NAMES.join(", "),
        }),
    }
}

/// What every agent's config may carry, and means nothing to one that calls no model.
const SHARED: [&str; 3] = ["max_turns", "temperature", "top_p"];

fn without_options(agent: &str, kwargs: &Map<String, Value>) -> Result<(), CreateError> {
    match kwargs.keys().find(|key| !SHARED.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(options::unknown(agent, &format!("agent.kwargs.{key}"), key, &SHARED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(name: &str, kwargs: &Value) -> Result<String, String> {
        create(name, kwargs.as_object().unwrap())
            .map(|agent| agent.name().to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_aliases_lead_to_the_agent() {
        for (name, expected) in [
            ("terminus-2", "terminus-2"),
            ("terminus2", "terminus-2"),
            ("terminus_2", "terminus-2"),
            ("oracle", "oracle"),
            ("nop", "nop"),
        ] {
            assert_eq!(named(name, &json!({})).unwrap(), expected);
        }
        for name in NAMES {
            assert_eq!(canonical(name), Some(name));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        let message = named("terminus-1", &json!({})).unwrap_err();
        assert!(message.contains("did you mean terminus-2?"), "{message}");
        let message = named("zzz", &json!({})).unwrap_err();
        assert!(
            !message.contains("did you mean") && message.contains("terminus-2, oracle, nop"),
            "{message}"
        );
    }

    #[test]
    fn an_agent_that_comes_later_is_no_unknown_one() {
        for name in ["claude-code", "opencode", "openhands-sdk", "codex", "mini-swe-agent", "custom-mine"] {
            let message = named(name, &json!({})).unwrap_err();
            let says = format!("agent.name: {name} is not supported yet; use terminus-2, oracle or nop");
            assert_eq!(message, says);
        }
    }

    #[test]
    fn agents_without_a_model_pass_over_sampling_and_refuse_the_rest() {
        assert!(named("oracle", &json!({"max_turns": 80, "temperature": 0.7, "top_p": null})).is_ok());
        let message = named("nop", &json!({"terminal": "builtin"})).unwrap_err();
        assert!(message.contains("agent.kwargs.terminal: unknown option of nop"), "{message}");
    }

    #[test]
    fn options_are_checked_when_the_agent_is_created() {
        let message = named("terminus-2", &json!({"max_turns": "many"})).unwrap_err();
        assert!(message.contains("agent.kwargs.max_turns"), "{message}");
    }
}
