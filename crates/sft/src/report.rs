//! What a conversion did.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The outcome of one conversion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConvertReport {
    /// The scaffold whose converter read the trials.
    pub scaffold: &'static str,
    /// Trials selected by reward, repository and number.
    pub selected: usize,
    /// Trials that gave at least one record.
    pub converted: usize,
    /// Records in `im.jsonl`.
    pub im_records: usize,
    /// Records in `lf.json`.
    pub lf_records: usize,
    /// What was left out, by reason. Reasons beginning with `not_selected:` are trials that the selection
    /// passed over, those beginning with `lf:` are records left out of `lf.json` only.
    pub dropped: BTreeMap<String, usize>,
    /// Mean composite score of the scored records.
    pub mean_score: Option<f64>,
    /// Where the intermediate records are.
    pub im_path: PathBuf,
    /// Where LLaMA-Factory's records are.
    pub lf_path: PathBuf,
    /// Where the stats are.
    pub stats_path: PathBuf,
    /// True when the outputs stood already and nothing was done; the figures are then those of the stats.
    pub skipped_unchanged: bool,
}
