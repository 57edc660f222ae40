//! One run's own record: its number, its log, its stage, and what becomes of them when it ends.

use super::monitor;
use crate::exit::Failure;
use crate::terminal;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use trajgen_contract::archive::{self, ArchiveDir, IndexEntry, Metadata, RunResults, RunStatus};
use trajgen_contract::config::{self, Config, State, Status};
use trajgen_contract::files::{self, FileError};
use trajgen_contract::layout::{Block, JobDir};
use trajgen_rollout::clock;

/// `logs/run_NNN.log`; any number of writers.
#[derive(Debug, Clone)]
pub struct RunLog(Arc<Mutex<std::fs::File>>);

impl RunLog {
    fn open(path: &Path) -> Result<Self, FileError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        }
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(FileError::at("open", path))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// Writes one timestamped line; a log that cannot be written never ends a run.
    pub fn say(&self, text: impl std::fmt::Display) {
        if let Ok(mut file) = self.0.lock() {
            let _ = writeln!(file, "{} {text}", clock::now());
        }
    }
}

/// A run in progress.
pub struct Session {
    block: Block,
    config_path: PathBuf,
    archive: ArchiveDir,
    metadata: Metadata,
    /// The run's log.
    pub log: RunLog,
    status: Status,
}

impl Session {
    /// Reserves a number and writes down that the run goes on, so that the next start finds it if this one dies.
    pub fn begin(block: &Block, config_path: &Path, config: &Config) -> Result<Self, Failure> {
        let archive = archive::reserve(block)?;
        let log = RunLog::open(&block.logs().join(format!("{}.log", archive.id())))?;
        let started_at = clock::now();
        let inputs = serde_json::to_value(&config.runtime_info.input).unwrap_or_default();
        let metadata = Metadata {
            version: archive::VERSION,
            id: archive.id().to_owned(),
            block: config.meta_info.name.clone(),
            started_at: started_at.clone(),
            completed_at: None,
            status: RunStatus::Running,
            exit_code: None,
            stage: "check".into(),
            job: None,
            results: RunResults::default(),
            repos: repos(block, config),
            inputs,
            notes: String::new(),
        };
        let text = std::fs::read_to_string(config_path).map_err(FileError::at("read", config_path))?;
        files::replace(&archive.config(), config::redact_text(&text, config).as_bytes())?;
        copy_scripts(block, &archive);
        archive::write_metadata(&archive, &metadata)?;
        let status = Status {
            state: State::Preparing,
            run_id: Some(archive.id().to_owned()),
            started_at: Some(started_at),
            ..Status::default()
        };
        let session = Self {
            block: block.clone(),
            config_path: config_path.to_owned(),
            archive,
            metadata,
            log,
            status,
        };
        session.write_status();
        if let Err(e) = config::rewrite_output(config_path, &config.runtime_info.expected_output()) {
            session.log.say(format_args!("the outputs in {} were not written: {e}", config_path.display()));
        }
        Ok(session)
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        self.archive.id()
    }

    /// The run enters a stage, and the block maybe another state.
    pub fn stage(&mut self, stage: &str, state: Option<State>) -> Result<(), Failure> {
        self.metadata.stage = stage.to_owned();
        self.status.state = state.unwrap_or(self.status.state);
        self.log.say(format_args!("stage: {stage}"));
        archive::write_metadata(&self.archive, &self.metadata)?;
        self.write_status();
        Ok(())
    }

    /// The run has a job of `n_trials` now. That is written down before anything is done in the job's folder, so that
    /// the next start knows where this run has been if it dies.
    pub fn job(&mut self, job: &str, n_trials: usize) {
        self.status.n_tasks = Some(n_trials as u64);
        self.metadata.job = Some(job.to_owned());
        self.status.job = Some(job.to_owned());
        if let Err(e) = archive::write_metadata(&self.archive, &self.metadata) {
            self.log.say(format_args!("the job was not written down: {e}"));
        }
        self.write_status();
    }

    /// The status as it is, for those who refresh it while trials run.
    pub fn status(&self) -> (PathBuf, Status) {
        (self.config_path.clone(), self.status.clone())
    }

    /// Records made.
    pub fn converted(&mut self, records: usize) {
        self.metadata.results.sft_records = records as u64;
    }

    fn write_status(&self) {
        let mut status = self.status.clone();
        status.updated_at = Some(clock::now());
        if let Err(e) = config::rewrite_status(&self.config_path, &status) {
            self.log.say(format_args!("the status in {} was not written: {e}", self.config_path.display()));
        }
    }

    /// The last stage of every run: archive and index.
    pub fn end(
        mut self,
        jobs_dir: &Path,
        exit_code: i32,
        problem: Option<&str>,
    ) -> Result<ArchiveDir, Failure> {
        let status = RunStatus::of_exit_code(exit_code);
        if let Some(problem) = problem {
            self.log.say(format_args!("error: {problem}"));
        }
        self.log.say(format_args!("run ended with exit code {exit_code}: {status}"));
        self.metadata.status = status;
        self.metadata.exit_code = Some(exit_code);
        self.status.last_error = problem.map(str::to_owned);
        let archive = close(&self.block, self.archive, self.metadata, jobs_dir, problem, &mut self.status)?;
        self.status.state = state_after(status);
        self.status.updated_at = Some(clock::now());
        if let Err(e) = config::rewrite_status(&self.config_path, &self.status) {
            terminal::warning(format_args!(
                "the status in {} was not written: {e}",
                self.config_path.display()
            ));
        }
        Ok(archive)
    }
}

/// Archives a run and enters it in the index; fills in the figures of `status`.
pub(super) fn close(
    block: &Block,
    archive: ArchiveDir,
    mut metadata: Metadata,
    jobs_dir: &Path,
    problem: Option<&str>,
    status: &mut Status,
) -> Result<ArchiveDir, Failure> {
    let mut report =
        metadata.job.as_ref().map(|job| monitor::JobFigures::read(&JobDir::new(jobs_dir.join(job))));
    if let Some(report) = &mut report {
        if report.n_total == 0 {
            // The run ended before its job's folder was made.
            report.n_total = status.n_tasks.unwrap_or(0);
        }
        let sft_records = metadata.results.sft_records;
        metadata.results = RunResults { sft_records, ..report.results() };
        status.n_tasks = Some(report.n_total);
        status.n_running = Some(0);
        status.n_done = Some(metadata.results.n_trials);
        status.n_errored = Some(metadata.results.n_errors);
        status.mean_reward = metadata.results.mean_reward;
    }
    metadata.completed_at.get_or_insert_with(clock::now);
    metadata.notes = notes(&metadata, problem);
    let text = monitor::report(block, &metadata, report.as_ref(), problem);
    files::replace(&archive.monitor(), text.as_bytes())?;
    let log = block.logs().join(format!("{}.log", archive.id()));
    if log.exists() {
        std::fs::copy(&log, archive.session_log()).map_err(FileError::at("copy", &log))?;
    } else {
        files::replace(&archive.session_log(), b"")?;
    }
    archive::write_metadata(&archive, &metadata)?;
    enter(block, &archive, metadata)?;
    Ok(archive)
}

/// Enters an archived run in the index.
pub(super) fn enter(block: &Block, archive: &ArchiveDir, metadata: Metadata) -> Result<(), Failure> {
    let entry = IndexEntry {
        id: archive.id().to_owned(),
        started_at: metadata.started_at,
        completed_at: metadata.completed_at.unwrap_or_else(clock::now),
        status: metadata.status,
        archive: format!("{}/", block.relative(archive.path()).display()),
        notes: metadata.notes,
    };
    Ok(archive::append_to_index(block, &entry)?)
}

/// The block's state after a run that ended so.
pub(super) fn state_after(status: RunStatus) -> State {
    match status {
        RunStatus::Completed | RunStatus::Running => State::Completed,
        RunStatus::Interrupted => State::Interrupted,
        RunStatus::Failed => State::Failed,
    }
}

fn notes(metadata: &Metadata, problem: Option<&str>) -> String {
    let results = &metadata.results;
    let mut notes = match &metadata.job {
        Some(job) => format!(
            "{job}: {} trials, mean reward {}, {} errors",
            results.n_trials,
            results.mean_reward.map_or_else(|| "-".into(), |m| format!("{m:.3}")),
            results.n_errors
        ),
        None => format!("no job (stage {})", metadata.stage),
    };
    if let Some(problem) = problem {
        notes.push_str(&format!("; {}", problem.lines().next().unwrap_or_default()));
    }
    notes
}

fn copy_scripts(block: &Block, archive: &ArchiveDir) {
    let target = archive.scripts();
    let _ = std::fs::create_dir_all(&target);
    let Ok(entries) = std::fs::read_dir(block.root().join("scripts")) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_file()) {
            let _ = std::fs::copy(entry.path(), target.join(entry.file_name()));
        }
    }
}

fn repos(block: &Block, config: &Config) -> BTreeMap<String, String> {
    let mut repos = BTreeMap::from([
        ("trajgen_version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("trajgen".to_owned(), env!("TRAJGEN_COMMIT").to_owned()),
    ]);
    let source = block.root().join(&config.runtime_info.input.task_source.dataset_name);
    let folder = if source.is_dir() { source } else { source.parent().unwrap_or(block.root()).to_owned() };
    let head = std::process::Command::new("git").arg("-C").arg(&folder).args(["rev-parse", "HEAD"]).output();
    if let Ok(head) = head
        && head.status.success()
    {
        repos.insert("task_source".into(), String::from_utf8_lossy(&head.stdout).trim().to_owned());
    }
    repos
}
