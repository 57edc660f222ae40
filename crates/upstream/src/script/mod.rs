//! A model that is a file: the turns it answers with, task by task.

mod file;
mod play;

pub use file::ScriptError;

use crate::call::{Upstream, UpstreamInfo};
use crate::client::{Client, Patience};
use crate::connect::{ConnectError, UpstreamConfig};
use std::sync::Arc;
use std::time::Duration;
use trajgen_contract::record::WireProtocol;

/// An upstream at `script://`. All its scripts are read, so that what is wrong with them is said now.
pub(crate) fn connect(config: &UpstreamConfig) -> Result<Arc<dyn Upstream>, ConnectError> {
    let path = config.api_base_url.strip_prefix("script://").unwrap_or_default();
    if path.is_empty() {
        let problem = "no path".to_owned();
        return Err(ConnectError::Address { url: config.shown_url(), problem });
    }
    let path = config.base_dir.join(path);
    let scripts = file::Scripts::read(&path)?;
    let info = UpstreamInfo {
        model: scripts.model.clone(),
        api_base: config.shown_url(),
        protocol: WireProtocol::OpenAi,
        prices: config.prices,
        drop_params: config.drop_params.clone(),
    };
    let patience = Patience {
        max_retries: config.max_retries,
        timeout: config.request_timeout,
        // Nobody needs to be given time to recover.
        first_wait: Duration::from_millis(10),
    };
    Ok(Arc::new(Client::new(play::Player::new(scripts), info, patience, config.max_in_flight)))
}
