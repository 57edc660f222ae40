//! Bringing files out of an environment: agent logs, verifier output, declared artifacts.

use crate::environment::{Environment, EnvironmentError};
use serde::Serialize;
use std::path::{Component, Path, PathBuf};
use trajgen_contract::files;
use trajgen_contract::layout::TrialDir;

/// Names in a trial's `agent/` folder that only trajgen writes.
const OURS: [&str; 3] = ["litellm-trajectory.jsonl", "trajectory.json", "trajectory.*.json"];

/// Something a task declares to be brought out.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Absolute path inside.
    pub source: String,
    /// Where it goes below `artifacts/`; the source's path mirrored when absent.
    pub destination: Option<String>,
    /// Globs relative to the source.
    pub exclude: Vec<String>,
    /// The service it comes from.
    pub service: Option<String>,
}

/// One line of `artifacts/manifest.json`.
#[derive(Debug, Serialize)]
struct ManifestEntry<'a> {
    source: &'a str,
    destination: String,
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    service: Option<&'a str>,
    exclude: &'a [String],
}

/// Merges `/logs/agent` into the trial's `agent/`, never over a name that is ours.
///
/// # Errors
/// When the environment is lost, or the host's disk refuses.
pub async fn agent_logs(environment: &dyn Environment, trial: &TrialDir) -> Result<(), EnvironmentError> {
    let ours: Vec<String> = OURS.iter().map(|&name| name.to_owned()).collect();
    environment.download("/logs/agent", &trial.agent(), &ours).await.map(drop)
}

/// Collects declared artifacts and `/logs/artifacts`, and writes `artifacts/manifest.json`.
///
/// # Errors
/// When the environment is lost, or the manifest cannot be written.
pub async fn artifacts(
    environment: &dyn Environment,
    trial: &TrialDir,
    wanted: &[Wanted],
) -> Result<(), EnvironmentError> {
    let by_convention =
        Wanted { source: "/logs/artifacts".into(), destination: None, exclude: Vec::new(), service: None };
    let mut manifest = Vec::new();
    for item in wanted.iter().chain([&by_convention]) {
        let below = item.destination.clone().unwrap_or_else(|| item.source.clone());
        let Some(below) = plain(&below) else {
            manifest.push(entry(item, below, "file", "failed"));
            continue;
        };
        let target = trial.artifacts().join(&below);
        let (kind, status) = match environment.download(&item.source, &target, &item.exclude).await {
            Ok(true) if target.is_dir() => {
                let empty = std::fs::read_dir(&target).map(|mut d| d.next().is_none()).unwrap_or(true);
                ("directory", if empty { "empty" } else { "ok" })
            }
            Ok(true) => ("file", "ok"),
            Ok(false) => ("directory", "skipped"),
            Err(e) if e.kind == trajgen_contract::outcome::ErrorType::EnvironmentLostError => return Err(e),
            Err(_) => ("directory", "failed"),
        };
        let declared = item.source != by_convention.source;
        if declared || status != "skipped" {
            manifest.push(entry(item, below.to_string_lossy().into_owned(), kind, status));
        }
    }
    files::replace_json(&trial.artifacts().join("manifest.json"), &manifest).map_err(host_disk)
}

fn entry<'a>(
    item: &'a Wanted,
    destination: String,
    kind: &'static str,
    status: &'static str,
) -> ManifestEntry<'a> {
    ManifestEntry {
        source: &item.source,
        destination,
        kind,
        status,
        service: item.service.as_deref(),
        exclude: &item.exclude,
    }
}

/// A file of ours that could not be written ends the try as the host's failure.
pub(crate) fn host_disk(error: files::FileError) -> EnvironmentError {
    use trajgen_contract::outcome::ErrorType;
    let kind = if error.is_disk_full() { ErrorType::DiskFullError } else { ErrorType::EnvironmentLostError };
    EnvironmentError::new(kind, error.to_string())
}

/// `path` without its leading `/`; nothing when it has `..` in it.
fn plain(path: &str) -> Option<PathBuf> {
    Path::new(path)
        .components()
        .filter(|c| !matches!(c, Component::RootDir | Component::CurDir))
        .map(|c| if let Component::Normal(name) = c { Some(name) } else { None })
        .collect::<Option<PathBuf>>()
        .filter(|p| !p.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collected_files_stay_below_the_artifacts_folder() {
        assert_eq!(plain("/logs/artifacts/x"), Some("logs/artifacts/x".into()));
        assert_eq!(plain("out/./y"), Some("out/y".into()));
        assert_eq!(plain("/../etc"), None);
        assert_eq!(plain("/"), None);
    }
}
