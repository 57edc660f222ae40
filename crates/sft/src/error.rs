//! Why a whole conversion can fail. What is wrong with one trial drops that trial and is counted.

use crate::options::UnknownName;
use std::path::PathBuf;
use trajgen_contract::files::FileError;

/// A conversion that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of the job is not what it should be.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// No agent is on record, so no converter can be chosen.
    #[error(
        "{}: no agent is recorded in its result.json or config.json, its name says none, and none is configured; \
         choose a converter with --scaffold", job_dir.display()
    )]
    NoAgent {
        /// The job's folder.
        job_dir: PathBuf,
    },
    /// The converter is not there yet.
    #[error("scaffold '{scaffold}' is not supported yet; supported: {supported}")]
    UnsupportedScaffold {
        /// The one chosen.
        scaffold: &'static str,
        /// The ones there are, comma-separated.
        supported: String,
    },
    /// A setting names something unknown or out of range.
    #[error("{key}: {problem}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What was found and what was expected.
        problem: String,
    },
    /// A setting's name is none of the known ones.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// The chat template could not be read or rendered.
    #[error("chat template {template}: {problem}")]
    Template {
        /// Which template.
        template: String,
        /// What went wrong.
        problem: String,
    },
}

impl ConvertError {
    /// True when the caller asked for something that cannot be (bad usage), false when reading or writing failed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoAgent { .. } | Self::UnsupportedScaffold { .. } | Self::Setting { .. } | Self::Name(_)
        )
    }
}
