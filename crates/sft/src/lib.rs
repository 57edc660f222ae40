//! From records to training data: converters, IM, LF, scores.
//!
//! ```text
//! agent/litellm-trajectory.jsonl ─┐
//! agent/trajectory.json (ATIF) ───┴─▶ Converter ─▶ IM records ─▶ Scorer ─▶ im.jsonl ─▶ lf.json + stats
//! ```
//!
//! [`convert()`] does all of it for one job's folder. Trials stream through: what is held in memory does
//! not grow with the number of trials, and the order of the output is that of the input.

mod calls;
pub mod convert;
pub mod dropped;
mod error;
pub mod im;
mod lf;
mod metadata;
mod number;
mod options;
mod parallel;
mod pipeline;
mod report;
pub mod score;
pub mod select;
mod signature;
mod stats;
mod template;
mod text;
pub mod trial_files;
mod validate;

pub use error::ConvertError;
pub use options::{
    ConvertOptions, ExcludeList, InstanceStatus, Progress, ProgressFn, ReasoningCheck, Scaffold,
    ScaffoldChoice, ScorerName, UnknownName,
};
pub use pipeline::{check, convert};
pub use report::ConvertReport;
