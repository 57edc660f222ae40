//! From configuration to an upstream.

use crate::call::Upstream;
use crate::script::ScriptError;
use crate::usage::Prices;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trajgen_contract::config::SecretUrl;

/// One deployment of a model, as configured.
#[derive(Clone)]
pub struct UpstreamConfig {
    /// `http(s)://…/v1`, `script://PATH`.
    pub api_base_url: String,
    /// Sent as a bearer token, to `api_base_url`'s host only; none when empty.
    pub api_key: String,
    /// The protocol prefix (`openai/`, the default) and the name sent to it.
    pub model: String,
    /// What tokens cost.
    pub prices: Prices,
    /// The longest wait for a whole answer, or between two events of a streamed one.
    pub request_timeout: Duration,
    /// Further tries of one call.
    pub max_retries: u32,
    /// Calls at a time; none: only the adaptive limit.
    pub max_in_flight: Option<usize>,
    /// Request fields it does not take.
    pub drop_params: Vec<String>,
    /// What a relative `script://` path starts from: the block.
    pub base_dir: PathBuf,
}

impl UpstreamConfig {
    /// The address as it may be shown and recorded: without users, passwords and query values.
    #[must_use]
    pub fn shown_url(&self) -> String {
        SecretUrl::new(&self.api_base_url).to_string()
    }
}

impl std::fmt::Debug for UpstreamConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamConfig")
            .field("api_base_url", &self.shown_url())
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            api_base_url: String::new(),
            api_key: String::new(),
            model: String::new(),
            prices: Prices::default(),
            request_timeout: Duration::from_secs(600),
            max_retries: 3,
            max_in_flight: None,
            drop_params: Vec::new(),
            base_dir: PathBuf::from("."),
        }
    }
}

/// An upstream that cannot be made from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Something this version does not do.
    #[error("{what} is not supported yet; use {instead}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What works.
        instead: &'static str,
    },
    /// An address that is none.
    #[error("llm_api.api_base_url `{url}`: {problem}; expected http(s)://HOST/v1 or script://PATH")]
    Address {
        /// What was found, without credentials.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting that cannot be used.
    #[error("llm_api.{key}: {problem}")]
    Setting {
        /// Which one.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A script that cannot be read.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// Makes the upstream that `config` describes. Nothing is sent yet.
///
/// # Errors
/// When the address is none, the protocol is not supported, or a script is missing or wrong.
#[expect(clippy::needless_pass_by_value, reason = "the key in it should live no longer than needed")]
pub fn connect(config: UpstreamConfig) -> Result<Arc<dyn Upstream>, ConnectError> {
    let unsupported = |what: &str, instead| ConnectError::Unsupported { what: what.to_owned(), instead };
    let url = config.api_base_url.as_str();
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("replay") => Err(unsupported("replay://", "script:// or http(s)://")),
        Some("script") => crate::script::connect(&config),
        Some("http" | "https") if config.model.starts_with("anthropic/") => {
            Err(unsupported("the protocol prefix anthropic/", "openai/"))
        }
        Some("http" | "https") if config.model.trim_start_matches("openai/").is_empty() => {
            let problem = "no name left to send; expected openai/NAME".to_owned();
            Err(ConnectError::Setting { key: "model", problem })
        }
        Some("http" | "https") => crate::http::connect(&config),
        _ => Err(ConnectError::Address { url: config.shown_url(), problem: "unknown scheme".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(api_base_url: &str, model: &str) -> String {
        let config = UpstreamConfig {
            api_base_url: api_base_url.to_owned(),
            api_key: "a\nb".to_owned(),
            model: model.to_owned(),
            ..UpstreamConfig::default()
        };
        connect(config).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_used_is_said_with_what_can() {
        assert_eq!(
            refused("http://h/v1", "anthropic/x"),
            "the protocol prefix anthropic/ is not supported yet; use openai/"
        );
        assert_eq!(refused("replay://x", ""), "replay:// is not supported yet; use script:// or http(s)://");
        assert!(refused("ftp://h", "x").contains("`ftp://h`: unknown scheme; expected http(s)://HOST/v1"));
        assert!(refused("h/v1", "x").contains("unknown scheme"));
        let refused_user = refused("http://me:hunter2@h/v1?key=hunter2", "x");
        assert!(refused_user.contains("put the key in api_key"), "{refused_user}");
        assert!(refused_user.contains("`http://[REDACTED]@h/v1?key=[REDACTED]`"), "{refused_user}");
        for url in ["ftp://me:hunter2@h", "me:hunter2@h", "http://me:hunter/2@h", "http:///?k=hunter2"] {
            let said = refused(url, "x");
            assert!(said.starts_with("llm_api.api_base_url") && !said.contains("hunter"), "{said}");
        }
        assert!(refused("http://h/v1", "openai/").starts_with("llm_api.model: "));
        assert!(refused("http://h/v1", "x").starts_with("llm_api.api_key: "));
        assert!(refused("script://", "").contains("no path"));
        assert!(refused("script://no/such/place", "").contains("no/such/place"));
    }
}
