//! Every path of a block, once.

use std::path::{Path, PathBuf};

/// The working directory of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    root: PathBuf,
}

impl Block {
    /// The block at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
    /// The block's own directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// `config.yaml`, unless another file was named.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.yaml")
    }
    /// Everything trajgen writes.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }
    /// Prepared tasks of one data set.
    #[must_use]
    pub fn tasks(&self, dataset: &str) -> PathBuf {
        self.artifacts().join("tasks").join(dataset)
    }
    /// Archived runs.
    #[must_use]
    pub fn archives(&self) -> PathBuf {
        self.artifacts().join("archives")
    }
    /// The index of archived runs.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.artifacts().join("index.yaml")
    }
    /// The consumption ledger at rest.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.artifacts().join("consumption_ledger.yaml")
    }
    /// The ledger's journal during a run.
    #[must_use]
    pub fn ledger_journal(&self) -> PathBuf {
        self.artifacts().join("consumption_ledger.yaml.journal.jsonl")
    }
    /// The proxy's resolved config of one job.
    #[must_use]
    pub fn proxy_config(&self, job: &str) -> PathBuf {
        self.artifacts().join("litellm").join(job).join("litellm_config_trajgen.yaml")
    }
    /// Logs of live runs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.artifacts().join("logs")
    }
    /// Built sandbox images and scratch layers.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.artifacts().join("cache")
    }
    /// Copies of workspaces and tests of running trials, to compare them.
    #[must_use]
    pub fn comparisons(&self) -> PathBuf {
        self.cache().join("comparisons")
    }
    /// Sockets of running model proxies, called `<pid>.sock`.
    #[must_use]
    pub fn sockets(&self) -> PathBuf {
        self.cache().join("sockets")
    }
    /// Held by the run in progress.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.artifacts().join(".lock")
    }
    /// The exported dashboard.
    #[must_use]
    pub fn dashboard_site(&self) -> PathBuf {
        self.root.join("dashboard/site")
    }
    /// The dashboard's parse cache.
    #[must_use]
    pub fn dashboard_cache(&self) -> PathBuf {
        self.root.join("dashboard/.cache")
    }
    /// `path` as seen from the block, for files that name places in it; absolute when outside.
    #[must_use]
    pub fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

/// The folder of one job: `<jobs_dir>/<job>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDir(PathBuf);

impl JobDir {
    /// The job's folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// The job's name: the folder's.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
    /// Aggregate stats.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }
    /// The resolved job, in Harbor's `JobConfig` shape.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }
    /// Harbor's `JobLock`.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock.json")
    }
    /// The job's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("job.log")
    }
    /// The block's `config.yaml` at launch, redacted.
    #[must_use]
    pub fn config_snapshot(&self) -> PathBuf {
        self.0.join("config.yaml")
    }
    /// What happened, in order.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.0.join("events.jsonl")
    }
    /// Calls under the master key without a route.
    #[must_use]
    pub fn unrouted(&self) -> PathBuf {
        self.0.join("unrouted")
    }
    /// One trial's folder.
    #[must_use]
    pub fn trial(&self, trial: &str) -> TrialDir {
        TrialDir(self.0.join(trial))
    }
}

/// The folder of one trial: `<jobs_dir>/<job>/<trial>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialDir(PathBuf);

impl TrialDir {
    /// The trial's folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// The trial's name: the folder's.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
    /// Agent output.
    #[must_use]
    pub fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }
    /// One line per model call: the primary output.
    #[must_use]
    pub fn trajectory_log(&self) -> PathBuf {
        self.agent().join("litellm-trajectory.jsonl")
    }
    /// The rollout as an ATIF document.
    #[must_use]
    pub fn atif(&self) -> PathBuf {
        self.agent().join("trajectory.json")
    }
    /// Verifier output.
    #[must_use]
    pub fn verifier(&self) -> PathBuf {
        self.0.join("verifier")
    }
    /// Files collected from the environment.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts")
    }
    /// The workspace against its state before the agent.
    #[must_use]
    pub fn workspace_diff(&self) -> PathBuf {
        self.artifacts().join("workspace.diff")
    }
    /// What earlier tries left.
    #[must_use]
    pub fn tries(&self) -> PathBuf {
        self.0.join("tries")
    }
    /// Harbor's `TrialConfig`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }
    /// Harbor's `TrialLock`.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock.json")
    }
    /// Harbor's `TrialResult`.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }
    /// The human-readable story.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("trial.log")
    }
    /// The full error chain, only on failure.
    #[must_use]
    pub fn exception(&self) -> PathBuf {
        self.0.join("exception.txt")
    }
}

/// One job's training data: `<out_dir>/<job>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftDir(PathBuf);

impl SftDir {
    /// The folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// Intermediate records.
    #[must_use]
    pub fn im(&self) -> PathBuf {
        self.0.join("im.jsonl")
    }
    /// LLaMA-Factory's records.
    #[must_use]
    pub fn lf(&self) -> PathBuf {
        self.0.join("lf.json")
    }
    /// Stats beside them.
    #[must_use]
    pub fn stats(&self) -> PathBuf {
        self.0.join("lf.stats.json")
    }
    /// LLaMA-Factory's registration.
    #[must_use]
    pub fn dataset_info(&self) -> PathBuf {
        self.0.join("dataset_info.json")
    }
    /// What the last conversion was made from.
    #[must_use]
    pub fn signature(&self) -> PathBuf {
        self.0.join(".convert_sig.json")
    }
}
