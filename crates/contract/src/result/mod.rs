//! `result.json` of a trial and of a job, in the shapes of Harbor's `TrialResult` and `JobResult`.
//!
//! Writing is exact: all of Harbor's fields in its order, reward keys as Python prints floats, times
//! as pydantic prints them. Reading is tolerant: unknown fields are ignored, missing ones take
//! Harbor's defaults, rewards may be integers.

mod aggregate;
mod job;
mod python;
mod trial;

pub use aggregate::{JobMeta, TrialSummary, aggregate, evals_key};
pub use job::{AgentDatasetStats, JobResult, JobStats};
pub use python::{python_float, timestamp};
pub use trial::{
    AgentInfo, AgentResult, ExceptionInfo, ModelInfo, ModelUsage, Rewards, StepResult, TaskId, TimingInfo,
    TrialMetadata, TrialResult, Usage, VerifierResult,
};

use crate::files::FileError;
use std::io;
use std::path::Path;

/// Reads a trial's `result.json`.
///
/// # Errors
/// When it cannot be read or is no result of a trial.
pub fn read_trial(path: &Path) -> Result<TrialResult, FileError> {
    read(path)
}

/// Reads a job's `result.json`.
///
/// # Errors
/// When it cannot be read or is no result of a job.
pub fn read_job(path: &Path) -> Result<JobResult, FileError> {
    read(path)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = std::fs::read(path).map_err(FileError::at("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| FileError::at("understand", path)(io::Error::new(io::ErrorKind::InvalidData, e)))
}
