//! A running sandbox.

use super::cgroup::Group;
use super::launch::Running;
use super::{lost, scratch};
use crate::environment::{
    Environment, EnvironmentError, Exec, ExecResult, ProcessInfo, Terminal, TerminalSpec,
};
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;
use trajgen_contract::outcome::ErrorType;

/// One sandbox.
pub(super) struct Sandbox {
    guest: crate::guest::Guest,
    /// Taken by the first stop.
    parts: Mutex<Option<Parts>>,
    workdir: String,
    proxy_url: Option<String>,
}

struct Parts {
    running: Running,
    group: Option<Group>,
    scratch: PathBuf,
}

impl Sandbox {
    pub(super) fn new(
        running: Running,
        group: Option<Group>,
        scratch: PathBuf,
        workdir: String,
        proxy_url: Option<String>,
    ) -> Self {
        let guest = running.guest().clone();
        Self { guest, parts: Mutex::new(Some(Parts { running, group, scratch })), workdir, proxy_url }
    }
}

fn not_yet(what: &str) -> EnvironmentError {
    EnvironmentError::new(ErrorType::EnvironmentLostError, format!("the sandbox cannot {what} yet"))
}

#[async_trait]
impl Environment for Sandbox {
    fn workdir(&self) -> &str {
        &self.workdir
    }

    async fn exec(&self, exec: Exec) -> Result<ExecResult, EnvironmentError> {
        self.guest.exec(exec).await
    }

    async fn upload(&self, source: &Path, target: &str) -> Result<(), EnvironmentError> {
        self.guest.upload(source, target).await
    }

    async fn download(
        &self,
        source: &str,
        target: &Path,
        exclude: &[String],
    ) -> Result<bool, EnvironmentError> {
        self.guest.download(source, target, exclude).await
    }

    async fn terminal(&self, _spec: TerminalSpec) -> Result<Box<dyn Terminal>, EnvironmentError> {
        Err(not_yet("open a terminal"))
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>, EnvironmentError> {
        self.guest.processes().await
    }

    async fn kill_all(&self) -> Result<(), EnvironmentError> {
        self.guest.kill_all().await
    }

    async fn broken_limit(&self) -> Option<EnvironmentError> {
        let parts = self.parts.lock().await;
        let kills = parts.as_ref()?.group.as_ref()?.out_of_memory_kills();
        (kills > 0).then(|| {
            EnvironmentError::new(
                ErrorType::OutOfMemoryError,
                format!("the sandbox ran out of memory: the kernel killed {kills} of its processes"),
            )
        })
    }

    fn proxy_url(&self) -> Option<String> {
        self.proxy_url.clone()
    }

    async fn stop(&self) -> Result<(), EnvironmentError> {
        let Some(mut parts) = self.parts.lock().await.take() else { return Ok(()) };
        let ended = parts.running.end().await;
        let removed = tokio::task::spawn_blocking(move || {
            let group = parts.group.map_or(Ok(()), Group::remove);
            group.and(scratch::remove(&parts.scratch))
        });
        ended?;
        match removed.await {
            Ok(result) => result.map_err(|e| lost("cannot remove what is left of the sandbox", &e)),
            Err(_) => Ok(()),
        }
    }
}
