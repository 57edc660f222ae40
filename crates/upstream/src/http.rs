//! HTTP.
use crate::call::Upstream;
use crate::connect::{ConnectError, UpstreamConfig};
use std::sync::Arc;
pub(crate) fn connect(_config: &UpstreamConfig) -> Result<Arc<dyn Upstream>, ConnectError> {
    Err(ConnectError::Unsupported { what: "http://".to_owned(), instead: "script://" })
}
