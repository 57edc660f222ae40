//! The proxy as the job engine holds it.

use crate::auth::Keyring;
use crate::capture::Capture;
use crate::drive::Means;
use crate::listen;
use crate::redact::Redactor;
use crate::request::Defaults;
use crate::server::{Shared, router};
use crate::trial::{Recorded, Route, Trial, TrialKey, TrialUsage};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use trajgen_upstream::{ScriptError, Upstream};

/// Told of every call that was recorded. Called on the call's path: it must return at once.
pub type RecordedHook = Arc<dyn Fn(Recorded) + Send + Sync>;

/// What happens to a call whose agent hung up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDisconnect {
    /// It is driven to its end, for at most 120 s, so that what is paid for is on record.
    #[default]
    Finish,
    /// It is given up, and what had arrived is recorded as failed.
    Cancel,
}

/// How a proxy is set up.
#[derive(Clone)]
pub struct ProxyConfig {
    /// Addresses to listen on, all at the same port; the first one is [`Proxy::base_url`]'s.
    pub hosts: Vec<String>,
    /// 0: any free one.
    pub port: u16,
    /// The key that may route by header; none: only trial keys work.
    pub master_key: Option<String>,
    /// Where jobs lie: nothing is written outside.
    pub jobs_dir: PathBuf,
    /// The job's name.
    pub job: String,
    /// The model.
    pub upstream: Arc<dyn Upstream>,
    /// Sent when the agent sends none.
    pub temperature: Option<f64>,
    /// Sent when the agent sends none.
    pub top_p: Option<f64>,
    /// What happens when an agent hangs up.
    pub on_disconnect: OnDisconnect,
    /// The longest request body, bytes.
    pub max_body_bytes: usize,
    /// Also serve there; for environments without a network.
    pub unix_socket: Option<PathBuf>,
    /// Values that must not stand in any record, besides the keys.
    pub secrets: Vec<String>,
    /// Told of every recorded call.
    pub on_recorded: Option<RecordedHook>,
}

impl ProxyConfig {
    /// Loopback at any free port, no master key, a body limit of 64 MiB.
    pub fn new(jobs_dir: impl Into<PathBuf>, job: impl Into<String>, upstream: Arc<dyn Upstream>) -> Self {
        Self {
            hosts: vec!["127.0.0.1".to_owned()],
            port: 0,
            master_key: None,
            jobs_dir: jobs_dir.into(),
            job: job.into(),
            upstream,
            temperature: None,
            top_p: None,
            on_disconnect: OnDisconnect::default(),
            max_body_bytes: 64 << 20,
            unix_socket: None,
            secrets: Vec::new(),
            on_recorded: None,
        }
    }
}

/// A proxy that cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Somebody else listens there.
    #[error(
        "port {port} on {host} is in use; end what listens there, or set litellm_proxy.port to 0 for any free one"
    )]
    PortTaken {
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {host}:{port}: {source}; set litellm_proxy.host to an address of this machine")]
    Bind {
        /// The address.
        host: String,
        /// The port.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// The Unix socket cannot be made.
    #[error("cannot listen on the socket {}: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A trial that has a key already.
    #[error("trial `{trial}` has a key already; close it before the next try begins")]
    TrialOpen {
        /// Which.
        trial: String,
    },
    /// The model has nothing for the task.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// A running proxy. Dropping it stops it without ceremony; [`Proxy::shutdown`] is the orderly way.
pub struct Proxy {
    shared: Arc<Shared>,
    base_url: String,
    unix_socket: Option<PathBuf>,
    /// Set when no more connections are taken.
    stopping: CancellationToken,
    servers: JoinSet<()>,
    syncing: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Binds and serves.
    ///
    /// # Errors
    /// When an address or the socket cannot be listened on.
    pub async fn start(config: ProxyConfig) -> Result<Self, ProxyError> {
        let (listeners, port) = listen::bind(&config.hosts, config.port).await?;
        let unix = config.unix_socket.as_deref().map(listen::bind_unix).transpose()?;
        let host = config.hosts.first().map_or("127.0.0.1", String::as_str);
        let base_url = if host.contains(':') {
            format!("http://[{host}]:{port}")
        } else {
            format!("http://{host}:{port}")
        };
        let secrets = config.secrets.into_iter().chain(config.master_key.clone());
        let capture = Arc::new(Capture::default());
        let syncing = tokio::spawn(Arc::clone(&capture).keep_syncing());
        let means = Arc::new(Means {
            upstream: config.upstream,
            capture,
            redactor: Arc::new(Redactor::new(secrets)),
            on_disconnect: config.on_disconnect,
            on_recorded: config.on_recorded,
            cancelled: CancellationToken::new(),
        });
        let shared = Arc::new(Shared {
            means,
            keyring: Keyring::new(config.master_key.as_deref()),
            trials: Mutex::default(),
            calls: TaskTracker::new(),
            defaults: Defaults { temperature: config.temperature, top_p: config.top_p },
            max_body_bytes: config.max_body_bytes,
            jobs_dir: config.jobs_dir,
            job: config.job,
            readiness: tokio::sync::Mutex::default(),
        });
        let stopping = CancellationToken::new();
        let servers = listen::serve(listeners, unix, &router(Arc::clone(&shared)), &stopping);
        let unix_socket = config.unix_socket;
        Ok(Self {
            shared,
            base_url,
            unix_socket,
            stopping,
            servers,
            syncing: AbortOnDropHandle::new(syncing),
        })
    }

    /// `http://HOST:PORT`, without `/v1`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The Unix socket, when there is one.
    #[must_use]
    pub fn unix_socket(&self) -> Option<&Path> {
        self.unix_socket.as_deref()
    }

    /// A try of a trial begins: a new key, and a model that starts afresh.
    ///
    /// # Errors
    /// When the trial is still open, or the model has nothing for its task.
    pub fn issue_key(&self, route: Route) -> Result<TrialKey, ProxyError> {
        let mut trials = self.trials();
        if trials.contains_key(&route.trial) {
            return Err(ProxyError::TrialOpen { trial: route.trial });
        }
        self.shared.means.upstream.begin_trial(&route.task_id, &route.trial)?;
        let trial = Arc::new(Trial::new(route));
        let key = self.shared.keyring.issue(Arc::clone(&trial));
        self.shared.means.redactor.add_trial_key(&key.key);
        trials.insert(trial.route.trial.clone(), trial);
        Ok(key)
    }

    /// A try of a trial is over: its key dies at once, calls under way get `grace` to end and are then
    /// cancelled and recorded as failed, and the log is synced. A trial without a key used nothing.
    pub async fn close_trial(&self, trial: &str, grace: Duration) -> TrialUsage {
        let Some(trial) = self.trials().get(trial).cloned() else { return TrialUsage::default() };
        self.shared.keyring.revoke(&trial);
        trial.close();
        if tokio::time::timeout(grace, trial.calls.wait()).await.is_err() {
            trial.cancelled.cancel();
            trial.calls.wait().await;
        }
        self.shared.means.capture.sync(&trial.log).await;
        self.shared.means.upstream.end_trial(&trial.route.trial);
        self.trials().remove(&trial.route.trial);
        trial.usage()
    }

    /// What a trial has used so far; none when it is not open.
    #[must_use]
    pub fn usage(&self, trial: &str) -> Option<TrialUsage> {
        self.trials().get(trial).map(|trial| trial.usage())
    }

    /// How many calls are under way.
    #[must_use]
    pub fn n_calls_under_way(&self) -> usize {
        self.shared.calls.len()
    }

    /// Stops accepting, gives calls under way `grace` to end, cancels the rest, syncs every log.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stopping.cancel();
        self.shared.calls.close();
        if tokio::time::timeout(grace, self.shared.calls.wait()).await.is_err() {
            self.shared.means.cancelled.cancel();
            self.shared.calls.wait().await;
        }
        // What is still open now are connections without calls.
        self.servers.shutdown().await;
        self.syncing.abort();
        self.shared.means.capture.sync_all().await;
    }

    fn trials(&self) -> MutexGuard<'_, HashMap<String, Arc<Trial>>> {
        self.shared.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.shared.means.cancelled.cancel();
        if let Some(socket) = &self.unix_socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}
