//! The parts of config.yaml that are about the block rather than a run: what it is, what it puts out, how it stands.

use super::choices::State;
use super::input::Input;
use crate::secret::Guarded;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A whole config.yaml.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields, extend("required" = ["runtime_info"]))]
pub struct Config {
    /// Version of this format: 1.
    pub version: u32,
    /// What the block is.
    pub meta_info: MetaInfo,
    /// What goes in and comes out.
    pub runtime_info: RuntimeInfo,
    /// Free settings of the deployment.
    pub environment: DeploymentEnvironment,
    /// The current operational snapshot, rewritten by trajgen.
    pub status: Status,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: 1,
            meta_info: MetaInfo::default(),
            runtime_info: RuntimeInfo::default(),
            environment: DeploymentEnvironment::default(),
            status: Status::default(),
        }
    }
}

impl Config {
    /// Task ids and globs of `environment.extra.HARBOR_EXCLUDE_TASKS`, which is split at white space.
    #[must_use]
    pub fn excluded_by_environment(&self) -> Vec<String> {
        let text = self.environment.extra.get("HARBOR_EXCLUDE_TASKS").and_then(Value::as_str);
        text.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }
}

impl RuntimeInfo {
    /// What `output` must say for this input.
    #[must_use]
    pub fn expected_output(&self) -> Output {
        let (jobs, sft) = (&self.input.harbor_job.jobs_dir, &self.input.sft_conversion.out_dir);
        Output::of(&jobs.to_string_lossy(), &sft.to_string_lossy())
    }
}

/// What the block is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct MetaInfo {
    /// The block's name.
    pub name: String,
    /// A title for people.
    pub label: String,
    /// A sentence for people.
    pub description: String,
    /// The block this one belongs to.
    pub parent: Option<String>,
    /// Where inputs come from: key below `input` → `<block>.output.<key>`, or `human`.
    pub dependencies: BTreeMap<String, String>,
    /// What the block runs on.
    pub resources: Resources,
}

impl Default for MetaInfo {
    fn default() -> Self {
        Self {
            name: "trajgen".to_owned(),
            label: String::new(),
            description: String::new(),
            parent: None,
            dependencies: BTreeMap::new(),
            resources: Resources::default(),
        }
    }
}

impl MetaInfo {
    /// The host this block is to run on, when that is not this one.
    #[must_use]
    pub fn other_host(&self) -> Option<&str> {
        self.resources.ip.as_deref().filter(|ip| *ip != "local")
    }
}

/// What the block runs on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Resources {
    /// `local` or null: this host. With anything else trajgen refuses to run here.
    pub ip: Option<String>,
}

/// What goes in and comes out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields, extend("required" = ["input"]))]
pub struct RuntimeInfo {
    /// Everything that comes from outside the block tree.
    pub input: Input,
    /// What the next block reads; written by trajgen.
    pub output: Output,
}

/// What the next block reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Output {
    /// The trajectories.
    pub raw_trajectories_dir: RawTrajectories,
    /// The SFT data.
    pub sft_data_dir: SftData,
}

impl Output {
    /// The outputs of a block whose jobs and SFT data go to these folders.
    #[must_use]
    pub fn of(jobs_dir: &str, sft_dir: &str) -> Self {
        let (jobs_dir, sft_dir) = (jobs_dir.trim_end_matches('/'), sft_dir.trim_end_matches('/'));
        Self {
            raw_trajectories_dir: RawTrajectories {
                path: jobs_dir.to_owned(),
                job_layout: format!("{jobs_dir}/<job>/<trial>/"),
                trajectory_format: format!("{jobs_dir}/<job>/<trial>/agent/litellm-trajectory.jsonl"),
                results_summary_format: format!("{jobs_dir}/<job>/result.json"),
            },
            sft_data_dir: SftData { path: sft_dir.to_owned(), lf_format: format!("{sft_dir}/<job>/lf.json") },
        }
    }
}

/// Where the trajectories are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct RawTrajectories {
    /// The folder of all jobs.
    pub path: String,
    /// A trial's folder.
    pub job_layout: String,
    /// A trial's model calls.
    pub trajectory_format: String,
    /// A job's stats.
    pub results_summary_format: String,
}

impl Default for RawTrajectories {
    fn default() -> Self {
        Output::of("artifacts/jobs", "artifacts/sft_data").raw_trajectories_dir
    }
}

/// Where the SFT data is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct SftData {
    /// The folder of all conversions.
    pub path: String,
    /// A job's records.
    pub lf_format: String,
}

impl Default for SftData {
    fn default() -> Self {
        Output::of("artifacts/jobs", "artifacts/sft_data").sft_data_dir
    }
}

/// Free settings of the deployment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct DeploymentEnvironment {
    /// Any keys. `HARBOR_EXCLUDE_TASKS` holds task ids (globs allowed), separated by spaces, that must not run.
    pub extra: Guarded<Map<String, Value>>,
}

/// How the block stands. Humans read it, trajgen writes it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Status {
    /// What the block is doing.
    pub state: State,
    /// The current or last run.
    pub run_id: Option<String>,
    /// Its job.
    pub job: Option<String>,
    /// Trials of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_tasks: Option<u64>,
    /// Trials that run now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_running: Option<u64>,
    /// Trials that have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_done: Option<u64>,
    /// Trials whose last try ended in an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_errored: Option<u64>,
    /// Mean reward of the trials that have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_reward: Option<f64>,
    /// When the run started, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When this was written, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// The last error people should know of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: State::Idle,
            run_id: None,
            job: None,
            n_tasks: None,
            n_running: None,
            n_done: None,
            n_errored: None,
            mean_reward: None,
            started_at: None,
            updated_at: None,
            last_error: None,
        }
    }
}
