//! `.convert_sig.json`: what a conversion was made from, so that an unchanged one need not be repeated.

use crate::select::{Selection, Trial};
use crate::{ConvertOptions, ReasoningCheck};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// Changes when converters give something else for the same input.
const CONVERTER_VERSION: u32 = 1;

/// The sha256, in hex, over everything the outputs depend on.
pub(crate) fn of(options: &ConvertOptions, selection: &Selection) -> String {
    let mut trials: Vec<_> = selection.trials.iter().map(|trial| (trial.files.dir().name(), trial)).collect();
    trials.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut hash = Sha256::new();
    let reasoning = match options.reasoning {
        ReasoningCheck::Strict => json!("strict"),
        ReasoningCheck::Adaptive { ratio } => json!({"adaptive": ratio}),
    };
    let settings = json!({
        "converter": CONVERTER_VERSION,
        "trajgen": env!("CARGO_PKG_VERSION"),
        "max_instances": options.max_instances,
        "instance_status": options.instance_status.as_str(),
        "min_reward": options.min_reward,
        "reward_key": options.reward_key,
        "exclude": selection.excluded_text,
        "exclude_findings": options.exclude_findings,
        "tokenizer": options.tokenizer,
        "template": crate::template::BUILT_IN,
        "reasoning": reasoning,
        "scorer": options.scorer.as_str(),
        "left_out": selection.left_out.iter().map(|(r, n)| (r.as_str(), n)).collect::<Vec<_>>(),
    });
    hash.update(settings.to_string());
    for (name, trial) in trials {
        let files: Vec<_> = files(trial).into_iter().map(|path| size_and_time(&path)).collect();
        hash.update(json!([name, trial.scaffold.as_str(), trial.instance_id, files]).to_string());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files a trial's records are made from.
fn files(trial: &Trial) -> Vec<PathBuf> {
    let dir = trial.files.dir();
    let mut files = vec![dir.trajectory_log(), dir.atif(), dir.config(), dir.result()];
    files.extend(trial.task_dir.as_ref().map(|task| task.join("task.toml")));
    files
}

/// Size in bytes and time of change in nanoseconds; null for a file that is not there.
fn size_and_time(path: &std::path::Path) -> serde_json::Value {
    let Ok(metadata) = std::fs::metadata(path) else { return serde_json::Value::Null };
    let time = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    json!([metadata.len(), time.map(|t| t.as_nanos().to_string())])
}
