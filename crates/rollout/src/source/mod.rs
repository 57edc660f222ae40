//! Where tasks come from: a folder or an archive becomes `artifacts/tasks/<dataset>/`.
//!
//! What runs is always the prepared copy. A copy is made beside its place and renamed into it, so a
//! crash leaves whole tasks only; a copy that equals its source is left alone.

mod archive;
mod copy;
mod manifest;
mod origin;

use std::path::{Path, PathBuf};
use trajgen_contract::config::Provider;
use trajgen_contract::files::FileError;
use trajgen_contract::task::{Task, TaskError};

pub use archive::ArchiveError;

/// How to prepare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrepareOptions {
    /// Replace prepared tasks whose source has changed.
    pub overwrite: bool,
    /// Refuse to go on when a task is invalid, before anything is copied.
    pub strict: bool,
}

/// What was prepared.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Prepared {
    /// Tasks that can run, in manifest order, else by id.
    pub tasks: Vec<String>,
    /// Of them, those that were copied.
    pub copied: Vec<String>,
    /// Of them, those whose source has changed since they were prepared, and that stay as they are.
    pub changed: Vec<String>,
    /// Entries of the manifest without a task.
    pub missing: Vec<String>,
    /// Invalid tasks, left out. People should see these as errors.
    pub skipped: Vec<Skipped>,
    /// What people should know; missing entries and changed sources are among it.
    pub warnings: Vec<String>,
}

/// An invalid task.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Its id.
    pub task_id: String,
    /// Everything wrong with it.
    pub reason: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task '{}' is skipped: {}", self.task_id, self.reason)
    }
}

/// Why nothing could be prepared. All but [`PrepareError::File`] are bad input (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The archive cannot be unpacked safely.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is no such folder or archive.
    #[error("task source {}: {problem}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// The data set's name is no name of a folder.
    #[error(
        "the data set's name '{0}' (the last part of dataset_name) is no name for a folder; name the source's folder itself"
    )]
    DatasetName(String),
    /// Another source has the same last component.
    #[error(
        "{} was prepared from {}, not from {}: two sources cannot share the name '{dataset}'; rename one, or remove the prepared folder",
        target.display(), other.display(), source_path.display()
    )]
    SharedName {
        /// The name.
        dataset: String,
        /// The folder of prepared tasks.
        target: PathBuf,
        /// What it was prepared from.
        other: PathBuf,
        /// What was asked for now.
        source_path: PathBuf,
    },
    /// A provider that cannot be had yet.
    #[error(
        "task_source.provider: '{0}' comes later; fetch the data set yourself and use 'local' with its folder"
    )]
    Provider(Provider),
    /// With `strict`: some tasks are invalid.
    #[error("{} invalid, and --strict was given: {}", count(skipped.len(), "task is", "tasks are"), list(skipped))]
    Strict {
        /// These.
        skipped: Vec<Skipped>,
    },
    /// Nothing is left to run.
    #[error("task source {}: {problem}", path.display())]
    NoTasks {
        /// The source.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

fn list(skipped: &[Skipped]) -> String {
    skipped.iter().map(|s| format!("{}: {}", s.task_id, s.reason)).collect::<Vec<_>>().join("; ")
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Prepares the tasks of `source` (a folder or an archive) in `target`, the folder of the data set
/// called `dataset`.
///
/// The caller holds the block's lock: two preparations of one target at a time would be in each
/// other's way.
///
/// # Errors
/// When the source has no task that can run, cannot be read or unpacked safely, or shares its name
/// with another; when the target cannot be written; with `strict`, when any task is invalid.
pub fn prepare(
    provider: Provider,
    source: &Path,
    dataset: &str,
    target: &Path,
    options: &PrepareOptions,
) -> Result<Prepared, PrepareError> {
    if provider != Provider::Local {
        return Err(PrepareError::Provider(provider));
    }
    if !manifest::is_plain_name(dataset) {
        return Err(PrepareError::DatasetName(dataset.to_owned()));
    }
    origin::check(source, dataset, target)?;
    let staging = copy::Staging::begin(target)?;
    if source.is_dir() {
        let id = source.file_name().map(|name| name.to_string_lossy().into_owned());
        return prepare_folder(source, source, id.as_deref().unwrap_or(dataset), target, &staging, options);
    }
    if !source.exists() {
        let problem = "is not there; expected a folder of tasks or an archive of them".into();
        return Err(PrepareError::Source { path: source.to_owned(), problem });
    }
    let unpacked = archive::unpack(source, &staging.path().join("archive"), &archive::Limits::default())?;
    prepare_folder(source, &unpacked, archive::stem(dataset), target, &staging, options)
}

/// Whether `target` was prepared from another source of the same name, which [`prepare`] would refuse.
///
/// # Errors
/// When it was, or what it was prepared from cannot be read.
pub fn check_origin(source: &Path, dataset: &str, target: &Path) -> Result<(), PrepareError> {
    origin::check(source, dataset, target)
}

/// `tasks_in` is where the tasks of `source` lie; `id` is the task's when that is one task itself.
fn prepare_folder(
    source: &Path,
    tasks_in: &Path,
    id: &str,
    target: &Path,
    staging: &copy::Staging,
    options: &PrepareOptions,
) -> Result<Prepared, PrepareError> {
    let mut prepared = Prepared::default();
    let folders = if tasks_in.join("task.toml").exists() {
        vec![(id.to_owned(), tasks_in.to_owned())]
    } else {
        manifest::tasks(source, tasks_in, &mut prepared)?
    };
    let mut valid = Vec::new();
    for (id, folder) in folders {
        match Task::load(&folder) {
            Ok((_, warnings)) => {
                prepared.warnings.extend(warnings.iter().map(|warning| format!("task '{id}': {warning}")));
                valid.push((id, folder));
            }
            Err(error) => prepared.skipped.push(Skipped { task_id: id, reason: reason(&error) }),
        }
    }
    if options.strict && !prepared.skipped.is_empty() {
        return Err(PrepareError::Strict { skipped: prepared.skipped });
    }
    let mut staged = Vec::new();
    for (id, folder) in valid {
        let place = target.join(&id);
        if std::fs::symlink_metadata(&place).is_err() {
            staged.push(staging.copy(&id, &folder)?);
        } else if copy::same(&folder, &place)? {
        } else if options.overwrite {
            staged.push(staging.copy(&id, &folder)?);
        } else if let Err(error) = Task::load(&place) {
            let reason = format!("the prepared copy is broken ({}); --overwrite replaces it", reason(&error));
            prepared.skipped.push(Skipped { task_id: id, reason });
            continue;
        } else {
            prepared.warnings.push(format!(
                "task '{id}': its source has changed since it was prepared; the prepared copy runs, --overwrite replaces it"
            ));
            prepared.changed.push(id.clone());
        }
        prepared.tasks.push(id);
    }
    if prepared.tasks.is_empty() {
        let problem = format!("none of its tasks can run: {}", list(&prepared.skipped));
        return Err(PrepareError::NoTasks { path: source.to_owned(), problem });
    }
    staging.commit(&staged)?;
    origin::record(source, target)?;
    prepared.copied = staged;
    Ok(prepared)
}

/// What is wrong, without the folder: the task is named beside it.
fn reason(error: &TaskError) -> String {
    match error {
        TaskError::Invalid { problems, .. } => {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        TaskError::File(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
