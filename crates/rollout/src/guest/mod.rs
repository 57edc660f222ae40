//! The client of the guest helper: what an environment does through the helper inside it.
//!
//! An environment starts the helper (see [`binary`]), connects its two streams with [`Guest::connect`] and
//! hands requests on. When the connection ends, for whatever reason, every pending and every later request
//! fails with `EnvironmentLostError`.

pub mod binary;
mod connection;
mod exec;
mod files;
mod forward;
mod output;
mod processes;
mod terminal;
mod unpack;

pub use files::DOWNLOAD_LIMIT;

use crate::environment::EnvironmentError;
use connection::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use trajgen_contract::outcome::ErrorType;
use trajgen_guest::protocol::{Failure, FailureKind, Reply};

/// What requests that do not say otherwise get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// User of commands and terminals; the helper's own when absent.
    pub user: Option<String>,
    /// Working directory of commands and terminals; `/` when absent.
    pub workdir: Option<String>,
    /// Variables of every command and terminal, below those of the request.
    pub env: BTreeMap<String, String>,
}

/// A connection to the helper inside one environment. Clones share it; it closes with the last one.
#[derive(Clone)]
pub struct Guest {
    connection: Arc<Connection>,
    defaults: Arc<Defaults>,
}

impl Guest {
    /// Shakes hands over the helper's output (`reader`) and input (`writer`).
    ///
    /// Must be called within a tokio runtime, which then carries the connection's two tasks.
    ///
    /// # Errors
    /// `EnvironmentLostError` when the helper does not answer, or is of another version.
    pub async fn connect(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        defaults: Defaults,
    ) -> Result<Self, EnvironmentError> {
        let connection = Connection::establish(reader, writer).await?;
        Ok(Self { connection: Arc::new(connection), defaults: Arc::new(defaults) })
    }

    /// Ends the connection: pending requests fail, and the helper ends. In a pid namespace whose first process
    /// it is, everything inside ends with it.
    pub fn close(&self) {
        self.connection.close("it was closed by trajgen");
    }

    /// Waits until the connection has ended, and says why.
    pub async fn lost(&self) -> EnvironmentError {
        self.connection.lost().await
    }

    fn env(&self, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut env = self.defaults.env.clone();
        env.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        env
    }

    fn user(&self, own: Option<&String>) -> Option<String> {
        own.or(self.defaults.user.as_ref()).cloned()
    }

    fn workdir(&self, own: Option<&String>) -> Option<String> {
        own.or(self.defaults.workdir.as_ref()).cloned()
    }
}

/// The error a helper's failure leads to.
fn failed(doing: &str, failure: &Failure) -> EnvironmentError {
    let kind = match failure.kind {
        // What the task names does not exist in its environment, or cannot be had there.
        FailureKind::NotFound | FailureKind::Refused => ErrorType::EnvironmentBuildError,
        FailureKind::System => ErrorType::EnvironmentLostError,
        FailureKind::NoSpace => ErrorType::StorageLimitError,
    };
    EnvironmentError::new(kind, format!("{doing}: {failure}"))
}

/// The error for a reply that does not answer the request.
fn unexpected(doing: &str, reply: Reply) -> EnvironmentError {
    match reply {
        Reply::Failed(failure) => failed(doing, &failure),
        other => EnvironmentError::new(
            ErrorType::EnvironmentLostError,
            format!("{doing}: the guest helper answered with {other:?}, which does not belong here"),
        ),
    }
}
