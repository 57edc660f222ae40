//! Commands.

use super::connection::Arrival;
use super::output::{DEFAULT_KEEP, Kept, Log};
use super::{Guest, unexpected};
use crate::environment::{EnvironmentError, Exec, ExecResult, ExecStatus};
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_guest::protocol::{ExecEnd, ExecStart, Reply, Request};

/// How much longer than a command's own limit its end may take to be told: the tree must be killed first.
/// A helper that is silent for longer has been stopped from inside.
const GRACE: Duration = Duration::from_secs(90);

impl Guest {
    /// Runs a command to its end. Dropping the future kills the command's process tree.
    ///
    /// A program that does not exist exits with 127, one that may not be run with 126, with the reason as output.
    ///
    /// # Errors
    /// `EnvironmentBuildError` for a user or a folder that does not exist inside, `EnvironmentLostError` when the
    /// connection is lost, `DiskFullError` when the log file cannot be written.
    pub async fn exec(&self, exec: Exec) -> Result<ExecResult, EnvironmentError> {
        let Some(limit) = exec.timeout else { return self.run(exec).await };
        let program = exec.argv.first().cloned().unwrap_or_default();
        match tokio::time::timeout(limit.saturating_add(GRACE), self.run(exec)).await {
            Ok(result) => result,
            Err(_) => Err(EnvironmentError::new(
                ErrorType::EnvironmentLostError,
                format!(
                    "the guest helper did not say how {program} ended, {GRACE:?} after its limit of {limit:?}"
                ),
            )),
        }
    }

    async fn run(&self, exec: Exec) -> Result<ExecResult, EnvironmentError> {
        let doing = format!("cannot run {}", exec.argv.first().map_or("a command", String::as_str));
        let start = ExecStart {
            user: self.user(exec.user.as_ref()),
            cwd: self.workdir(exec.cwd.as_ref()),
            env: self.env(&exec.env),
            timeout_ms: exec.timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            stdin: !exec.stdin.is_empty(),
            private: exec.private,
            argv: exec.argv,
        };
        let mut log = match &exec.log_to {
            Some(path) => Some(Log::create(path).await?),
            None => None,
        };
        let mut channel = self.connection.open(&Request::Exec(start))?;
        let sender = channel.sender();
        let feeding = async {
            // A command that ends without reading all it was given is none the worse for it.
            if !exec.stdin.is_empty() && sender.send(&exec.stdin).await? {
                sender.end()?;
            }
            Ok::<_, EnvironmentError>(())
        };
        let mut kept = Kept::new(exec.keep_output.unwrap_or(DEFAULT_KEEP));
        let taking = async {
            loop {
                match channel.next().await? {
                    Arrival::Data(bytes) => {
                        kept.push(&bytes);
                        if let Some(log) = &mut log {
                            log.push(&bytes).await?;
                        }
                    }
                    Arrival::Done(reply) => break Ok(reply),
                }
            }
        };
        let ((), reply) = tokio::try_join!(feeding, taking)?;
        if let Some(log) = log {
            log.finish().await?;
        }
        let Reply::Exec(done) = reply else { return Err(unexpected(&doing, reply)) };
        let status = match done.end {
            ExecEnd::Exited(code) => ExecStatus::Exited(code),
            ExecEnd::Signalled(signal) => ExecStatus::Signalled(signal),
            ExecEnd::TimedOut | ExecEnd::Cancelled => ExecStatus::TimedOut,
        };
        Ok(ExecResult { status, output_bytes: kept.total(), output: kept.into_bytes() })
    }
}
