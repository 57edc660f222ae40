//! Where a trial runs: the port, and its implementations.

pub mod sandbox;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;

/// What an environment cannot do, or what went wrong with one.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EnvironmentError {
    /// The ending this leads to: `EnvironmentBuildError`, `EnvironmentLostError`, …
    pub kind: ErrorType,
    /// What, where, what was expected, what to do.
    pub message: String,
}

impl EnvironmentError {
    /// An error that leads to the ending `kind`.
    pub fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What a kind of environment is able to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Host folders can be mounted (else everything goes by upload and download).
    pub mounts: bool,
    /// Network policies that can be had.
    pub networks: &'static [Network],
    /// Memory, process and CPU limits are enforced by the kernel (else by a watchdog).
    pub hard_limits: bool,
    /// Commands can run as other users than the first.
    pub users: bool,
    /// Prebuilt images (`docker_image`) can be used.
    pub images: bool,
}

/// What can be reached from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Loopback only.
    None,
    /// Loopback, and the model proxy through the forwarder.
    ModelOnly,
    /// As `ModelOnly`, plus named hosts through a filtering proxy.
    Allowlist,
    /// Everything.
    Public,
}

impl Network {
    /// What is reached, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "its own loopback only",
            Self::ModelOnly => "the model only",
            Self::Allowlist => "the allowed hosts only",
            Self::Public => "everything",
        }
    }
}

/// What a trial asks of its environment.
#[derive(Debug, Clone)]
pub struct EnvironmentSpec {
    /// `<job>/<trial>`, for labels, scratch folders and messages.
    pub trial: String,
    /// The task's `environment/` folder on the host.
    pub context: PathBuf,
    /// A prebuilt image, which wins over a Dockerfile.
    pub docker_image: Option<String>,
    /// The task's own workdir, which wins over the Dockerfile's.
    pub workdir: Option<String>,
    /// Variables for every command, `${VAR}` already resolved.
    pub env: BTreeMap<String, String>,
    /// What can be reached, by the agent above all.
    pub network: Network,
    /// What the task says of set-up apart from the agent's run.
    pub setup_network: Option<Network>,
    /// What can be reached during verification.
    pub verifier_network: Network,
    /// CPUs, fractions allowed.
    pub cpus: Option<f64>,
    /// Memory limit, MiB.
    pub memory_mb: Option<u64>,
    /// Limit of what is written, MiB.
    pub storage_mb: Option<u64>,
    /// Limit of processes and threads.
    pub pids: u64,
    /// The proxy's Unix socket on the host, for `ModelOnly`.
    pub proxy_socket: Option<PathBuf>,
    /// Limit of building and starting.
    pub build_timeout: Duration,
}

/// One command to run inside.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// Program and arguments. A shell line is `["bash", "-c", line]`: see [`Exec::shell`].
    pub argv: Vec<String>,
    /// User name or `uid[:gid]`; the image's own when absent.
    pub user: Option<String>,
    /// Working directory; the environment's workdir when absent.
    pub cwd: Option<String>,
    /// Variables beside the environment's own.
    pub env: BTreeMap<String, String>,
    /// The whole process tree is killed after this.
    pub timeout: Option<Duration>,
    /// What the command reads; nothing when empty.
    pub stdin: Vec<u8>,
    /// Output (stdout and stderr in order of arrival) is written here too, whole.
    pub log_to: Option<PathBuf>,
    /// How much of the output is kept in memory, in bytes, first and last half (default 64 KiB).
    pub keep_output: Option<usize>,
    /// `/logs/verifier` is a folder that only private commands see by this name, where the environment can give one.
    pub private: bool,
}

impl Exec {
    /// `bash -c line`, not a login shell.
    pub fn shell(line: impl Into<String>) -> Self {
        Self { argv: vec!["bash".into(), "-c".into(), line.into()], ..Self::default() }
    }
    /// As `user`.
    #[must_use]
    pub fn user(mut self, user: Option<&str>) -> Self {
        self.user = user.map(str::to_owned);
        self
    }
    /// With a limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecStatus {
    /// It exited with this code.
    Exited(i32),
    /// It was killed by this signal.
    Signalled(i32),
    /// Its time ran out and its process tree was killed.
    TimedOut,
}

/// What a command left.
#[derive(Debug, Clone)]
pub struct ExecResult {
    /// How it ended.
    pub status: ExecStatus,
    /// Its output, bounded: see [`Exec::keep_output`].
    pub output: Vec<u8>,
    /// How many bytes it printed in all.
    pub output_bytes: u64,
}

impl ExecResult {
    /// True for exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == ExecStatus::Exited(0)
    }
    /// The kept output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// What became of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// There was something.
    pub found: bool,
    /// Files were left out because they did not fit.
    pub cut: bool,
}

/// A terminal to open inside.
#[derive(Debug, Clone)]
pub struct TerminalSpec {
    /// Program and arguments: `["bash", "--login"]`.
    pub argv: Vec<String>,
    /// User, as in [`Exec`].
    pub user: Option<String>,
    /// Working directory, as in [`Exec`].
    pub cwd: Option<String>,
    /// Variables beside the environment's own; `TERM` included.
    pub env: BTreeMap<String, String>,
    /// Columns and rows.
    pub size: (u16, u16),
}

/// A terminal inside an environment, driven from outside.
#[async_trait]
pub trait Terminal: Send + Sync {
    /// Types keys: a tmux key name (`C-c`, `Enter`) when the whole string is one, else the text as it is.
    async fn send_keys(&self, keys: &str) -> Result<(), EnvironmentError>;
    /// The visible screen as tmux's `capture-pane -p` shows it.
    async fn screen(&self) -> Result<String, EnvironmentError>;
    /// Scroll-back and screen, as tmux's `capture-pane -p -S -` shows it.
    async fn history(&self) -> Result<String, EnvironmentError>;
    /// False once the program has ended.
    async fn is_alive(&self) -> Result<bool, EnvironmentError>;
    /// From now on keys are refused; the PTY stays open until tear-down, so what runs in it goes on.
    async fn freeze(&self) -> Result<(), EnvironmentError>;
}

/// A process that runs inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its id inside.
    pub pid: i32,
    /// Its command line, cut to 200 characters.
    pub command: String,
}

/// Makes environments of one kind.
#[async_trait]
pub trait EnvironmentProvider: Send + Sync {
    /// `sandbox`, `docker`, …
    fn kind(&self) -> &'static str;
    /// What environments of this kind can give here, on this host, as this user.
    fn capabilities(&self) -> Capabilities;
    /// Says what of `spec` cannot be given, before anything starts; nothing is ever weakened.
    fn refuse(&self, spec: &EnvironmentSpec) -> Option<String>;
    /// Builds (or finds in the cache) what `spec` needs. Concurrent calls for one digest build once. Keeps to
    /// `spec.build_timeout` and says what of it was used; waiting for another's build uses nothing.
    async fn build(&self, spec: &EnvironmentSpec, log_to: &Path) -> Result<Duration, EnvironmentError>;
    /// Starts an environment. [`Self::build`] has been called for `spec`.
    async fn start(&self, spec: &EnvironmentSpec) -> Result<Box<dyn Environment>, EnvironmentError>;
    /// Removes what dead runs of this block left.
    async fn sweep(&self) -> Result<usize, EnvironmentError>;
}

/// A running environment.
#[async_trait]
pub trait Environment: Send + Sync {
    /// The directory commands start in.
    fn workdir(&self) -> &str;
    /// Runs a command to its end.
    async fn exec(&self, exec: Exec) -> Result<ExecResult, EnvironmentError>;
    /// Copies a host file or a host folder's contents to `target` inside (made when missing).
    async fn upload(&self, source: &Path, target: &str) -> Result<(), EnvironmentError>;
    /// Copies a folder's or a file's regular files from inside into the host folder `target`, never
    /// through a link, never over an existing file. `Ok(false)` when there is nothing at `source`.
    /// `exclude` holds globs on paths relative to `source`.
    async fn download(
        &self,
        source: &str,
        target: &Path,
        exclude: &[String],
    ) -> Result<bool, EnvironmentError>;
    /// [`Self::download`] of at most `max_bytes` of content: what does not fit is left out, file by file.
    async fn download_at_most(
        &self,
        source: &str,
        target: &Path,
        exclude: &[String],
        max_bytes: u64,
    ) -> Result<Fetched, EnvironmentError>;
    /// [`Self::download`] of `/logs/verifier` as private commands see it (see [`Exec::private`]).
    async fn download_private(&self, target: &Path, exclude: &[String]) -> Result<bool, EnvironmentError> {
        self.download("/logs/verifier", target, exclude).await
    }
    /// Opens a terminal.
    async fn terminal(&self, spec: TerminalSpec) -> Result<Box<dyn Terminal>, EnvironmentError>;
    /// What runs inside now, the helper itself left out.
    async fn processes(&self) -> Result<Vec<ProcessInfo>, EnvironmentError>;
    /// Kills everything that runs inside, the helper itself left out.
    async fn kill_all(&self) -> Result<(), EnvironmentError>;
    /// A limit of the task's environment that was broken meanwhile: `OutOfMemoryError`, `StorageLimitError`.
    async fn broken_limit(&self) -> Option<EnvironmentError>;
    /// Where agents inside reach the proxy (`http://127.0.0.1:PORT`), if they can.
    fn proxy_url(&self) -> Option<String>;
    /// Kills and removes everything at once. Called exactly once; later calls do nothing.
    async fn stop(&self) -> Result<(), EnvironmentError>;
}
