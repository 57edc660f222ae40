//! A model that is a file.
use crate::call::Upstream;
use crate::connect::{ConnectError, UpstreamConfig};
use std::sync::Arc;

/// A script that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// No script for a task.
    #[error("{folder}: no script for the task `{task_id}`; expected {task_id}.yaml or default.yaml there")]
    NoScript {
        /// Where it was looked for.
        folder: String,
        /// Whose.
        task_id: String,
    },
}
pub(crate) fn connect(_config: &UpstreamConfig) -> Result<Arc<dyn Upstream>, ConnectError> {
    Err(ConnectError::Unsupported { what: "script://".to_owned(), instead: "http(s)://" })
}
