//! Terminals.

use super::connection::{Arrival, Connection};
use super::{Guest, unexpected};
use crate::environment::{EnvironmentError, Terminal, TerminalSpec};
use async_trait::async_trait;
use std::sync::Arc;
use trajgen_contract::outcome::ErrorType;
use trajgen_guest::protocol::{Reply, Request, TerminalOpen};

/// How much text one look at a terminal brings at most, in bytes: more than the helper keeps.
const TEXT_LIMIT: usize = 64 * 1024 * 1024;

impl Guest {
    /// Opens a terminal inside. It stays, with what runs in it, until the connection ends, also when the value
    /// returned is dropped.
    ///
    /// # Errors
    /// `EnvironmentBuildError` for a program, user or folder that does not exist inside, `EnvironmentLostError`
    /// when the connection is lost or no terminal can be had.
    pub async fn terminal(&self, spec: TerminalSpec) -> Result<Box<dyn Terminal>, EnvironmentError> {
        let open = TerminalOpen {
            user: self.user(spec.user.as_ref()),
            cwd: self.workdir(spec.cwd.as_ref()),
            env: self.env(&spec.env),
            columns: spec.size.0,
            rows: spec.size.1,
            argv: spec.argv,
        };
        match self.connection.request(&Request::TerminalOpen(open)).await? {
            Reply::Terminal { terminal } => {
                Ok(Box::new(GuestTerminal { connection: Arc::clone(&self.connection), terminal }))
            }
            other => Err(unexpected("cannot open a terminal", other)),
        }
    }
}

struct GuestTerminal {
    connection: Arc<Connection>,
    terminal: u32,
}

impl GuestTerminal {
    async fn text(&self, history: bool) -> Result<String, EnvironmentError> {
        let request = Request::TerminalText { terminal: self.terminal, history };
        let mut channel = self.connection.open(&request)?;
        let mut text = Vec::new();
        let reply = loop {
            match channel.next().await? {
                Arrival::Done(reply) => break reply,
                Arrival::Data(bytes) => text.extend(bytes),
            }
            if text.len() > TEXT_LIMIT {
                return Err(EnvironmentError::new(
                    ErrorType::EnvironmentLostError,
                    format!("the guest helper sent more than {TEXT_LIMIT} bytes as a terminal's text"),
                ));
            }
        };
        match reply {
            Reply::Ok => Ok(String::from_utf8_lossy(&text).into_owned()),
            other => Err(unexpected("cannot read the terminal", other)),
        }
    }

    async fn simple(&self, request: Request, doing: &str) -> Result<(), EnvironmentError> {
        match self.connection.request(&request).await? {
            Reply::Ok => Ok(()),
            other => Err(unexpected(doing, other)),
        }
    }
}

#[async_trait]
impl Terminal for GuestTerminal {
    async fn send_keys(&self, keys: &str) -> Result<(), EnvironmentError> {
        let request = Request::TerminalKeys { terminal: self.terminal, keys: keys.to_owned() };
        self.simple(request, "cannot type into the terminal").await
    }

    async fn screen(&self) -> Result<String, EnvironmentError> {
        self.text(false).await
    }

    async fn history(&self) -> Result<String, EnvironmentError> {
        self.text(true).await
    }

    async fn is_alive(&self) -> Result<bool, EnvironmentError> {
        match self.connection.request(&Request::TerminalAlive { terminal: self.terminal }).await? {
            Reply::Alive { alive } => Ok(alive),
            other => Err(unexpected("cannot look after the terminal", other)),
        }
    }

    async fn freeze(&self) -> Result<(), EnvironmentError> {
        let request = Request::TerminalFreeze { terminal: self.terminal };
        self.simple(request, "cannot freeze the terminal").await
    }
}
