//! A running sandbox.

use super::live::Live;
use crate::environment::{
    Environment, EnvironmentError, Exec, ExecResult, Fetched, ProcessInfo, Terminal, TerminalSpec,
};
use async_trait::async_trait;
use std::path::Path;
use tokio::sync::Mutex;

/// One sandbox.
pub(super) struct Sandbox {
    guest: crate::guest::Guest,
    /// Taken by the first stop.
    live: Mutex<Option<Live>>,
    workdir: String,
    proxy_url: Option<String>,
}

impl Sandbox {
    pub(super) fn new(live: Live, workdir: String, proxy_url: Option<String>) -> Self {
        Self { guest: live.guest().clone(), live: Mutex::new(Some(live)), workdir, proxy_url }
    }
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

    async fn download_at_most(
        &self,
        source: &str,
        target: &Path,
        exclude: &[String],
        max_bytes: u64,
    ) -> Result<Fetched, EnvironmentError> {
        self.guest.download_at_most(source, target, exclude, max_bytes).await
    }

    async fn download_private(&self, target: &Path, exclude: &[String]) -> Result<bool, EnvironmentError> {
        self.guest.download_private(target, exclude).await
    }

    async fn terminal(&self, spec: TerminalSpec) -> Result<Box<dyn Terminal>, EnvironmentError> {
        self.guest.terminal(spec).await
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>, EnvironmentError> {
        self.guest.processes().await
    }

    async fn kill_all(&self) -> Result<(), EnvironmentError> {
        self.guest.kill_all().await
    }

    async fn broken_limit(&self) -> Option<EnvironmentError> {
        self.live.lock().await.as_ref()?.broken_limit()
    }

    fn proxy_url(&self) -> Option<String> {
        self.proxy_url.clone()
    }

    async fn stop(&self) -> Result<(), EnvironmentError> {
        let Some(mut live) = self.live.lock().await.take() else { return Ok(()) };
        live.end().await?;
        live.remove().await
    }
}
