//! One job's folder to one folder of training data.

use crate::{ConvertError, ConvertOptions, ConvertReport};

/// Converts a job's trials into training data.
///
/// # Errors
/// When the job cannot be read, no converter fits, a setting is wrong, or an output cannot be written. What is
/// wrong with one trial is no error: the trial is dropped and counted by reason.
pub fn convert(options: &ConvertOptions) -> Result<ConvertReport, ConvertError> {
    Err(ConvertError::NoAgent { job_dir: options.job_dir.clone() })
}
