//! What runs inside, and its end.

use super::{Guest, unexpected};
use crate::environment::{EnvironmentError, ProcessInfo};
use trajgen_guest::protocol::{Reply, Request};

impl Guest {
    /// What runs inside now, the helper and what ran before it left out.
    ///
    /// # Errors
    /// `EnvironmentLostError` when the connection is lost.
    pub async fn processes(&self) -> Result<Vec<ProcessInfo>, EnvironmentError> {
        match self.connection.request(&Request::Processes).await? {
            Reply::Processes { processes } => Ok(processes
                .into_iter()
                .map(|process| ProcessInfo { pid: process.pid, command: process.command })
                .collect()),
            other => Err(unexpected("cannot list the processes inside", other)),
        }
    }

    /// Sends a signal to everything [`Self::processes`] lists.
    ///
    /// # Errors
    /// `EnvironmentBuildError` for a number that is no signal, `EnvironmentLostError` when the connection is lost.
    pub async fn signal_all(&self, signal: i32) -> Result<(), EnvironmentError> {
        match self.connection.request(&Request::Signal { signal }).await? {
            Reply::Ok => Ok(()),
            other => Err(unexpected("cannot signal the processes inside", other)),
        }
    }

    /// Kills everything [`Self::processes`] lists, until nothing is left.
    ///
    /// # Errors
    /// `EnvironmentLostError` when something cannot be killed or the connection is lost.
    pub async fn kill_all(&self) -> Result<(), EnvironmentError> {
        match self.connection.request(&Request::KillAll).await? {
            Reply::Ok => Ok(()),
            other => Err(unexpected("cannot kill the processes inside", other)),
        }
    }
}
