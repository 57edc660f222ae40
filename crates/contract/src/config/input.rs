//! `runtime_info.input` without the job: the model, the proxy, the tasks, the environments, the agents, the conversion.

use super::choices::{
    EnvironmentType, InstanceStatus, NetworkPolicy, OnDisconnect, Provider, ProxyProtocol, Scaffold, Scorer,
};
use super::job::HarborJob;
use crate::secret::{Guarded, Secret, SecretUrl};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that comes from outside the block tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields, extend("required" = ["task_source", "agent"]))]
pub struct Input {
    /// The model: one deployment, or a list of them. Needed unless every agent is one that calls no model (oracle, nop).
    #[schemars(with = "OneOrMany<LlmApi>")]
    pub llm_api: Vec<LlmApi>,
    /// The proxy between agents and model.
    pub litellm_proxy: LitellmProxy,
    /// Where the tasks are.
    pub task_source: TaskSource,
    /// What to run, how often, how many at a time, and until when.
    pub harbor_job: HarborJob,
    /// Where trials run.
    pub environment: EnvironmentConfig,
    /// Who solves the tasks: one agent, or a list for a job over several agents or models.
    #[schemars(with = "OneOrMany<AgentConfig>")]
    pub agent: Vec<AgentConfig>,
    /// Making SFT data of the job's trajectories.
    pub sft_conversion: SftConversion,
}

impl Input {
    /// The deployments an agent's calls may go to: those with its `model_name` (with or without protocol
    /// prefix), all of them when it names none.
    #[must_use]
    pub fn deployments(&self, agent: &AgentConfig) -> Vec<&LlmApi> {
        self.llm_api
            .iter()
            .filter(|api| {
                agent.model_name.as_deref().is_none_or(|name| name == api.model || name == api.model_name())
            })
            .collect()
    }
}

/// For the schema only: one entry, or a list.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it only describes what the file may hold")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// One deployment of a model.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields, extend("required" = ["api_base_url", "model"]))]
pub struct LlmApi {
    /// Where the model answers: `http(s)://…`, or `script://PATH` or `replay://PATH`, which need no network.
    pub api_base_url: SecretUrl,
    /// The upstream's key, usually `${VAR}`. Empty: none is sent.
    pub api_key: Option<Secret>,
    /// A file that holds the key instead; relative to the config's folder. White space around the key is cut.
    pub api_key_file: Option<PathBuf>,
    /// The model's name. A prefix names the protocol spoken to it, `openai/` (default) or `anthropic/`; the rest is the name sent to it.
    pub model: String,
    /// Price of one input token, USD. With prices every call carries a cost.
    pub input_cost_per_token: Option<f64>,
    /// Price of one output token, USD.
    pub output_cost_per_token: Option<f64>,
    /// Price of one input token read from the upstream's cache, USD.
    pub cached_cost_per_token: Option<f64>,
    /// The model's context, in tokens, for agents that manage it. Unknown when null.
    pub max_input_tokens: Option<u64>,
    /// The model's longest answer, in tokens. Unknown when null.
    pub max_output_tokens: Option<u64>,
    /// Limit of one call, in seconds.
    pub request_timeout_sec: f64,
    /// Further tries of one call, on 408, 409, 429, 5xx and connection errors; `Retry-After` is honoured.
    pub max_retries: u32,
    /// Calls in flight at a time. Null: only the adaptive limit.
    pub max_in_flight: Option<u32>,
    /// Request fields this upstream does not take: dropped before sending.
    pub drop_params: Vec<String>,
}

impl Default for LlmApi {
    fn default() -> Self {
        Self {
            api_base_url: SecretUrl::default(),
            api_key: None,
            api_key_file: None,
            model: String::new(),
            input_cost_per_token: None,
            output_cost_per_token: None,
            cached_cost_per_token: None,
            max_input_tokens: None,
            max_output_tokens: None,
            request_timeout_sec: 600.0,
            max_retries: 3,
            max_in_flight: None,
            drop_params: Vec::new(),
        }
    }
}

/// The protocol spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WireProtocol {
    /// Chat Completions.
    OpenAi,
    /// Messages.
    Anthropic,
}

/// What answers a deployment's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamKind {
    /// A server at this URL.
    Http(String),
    /// A scripted model: a folder or file.
    Script(PathBuf),
    /// Recorded trajectories.
    Replay(PathBuf),
}

impl LlmApi {
    /// The protocol that the model's prefix names.
    #[must_use]
    pub fn protocol(&self) -> WireProtocol {
        if self.model.starts_with("anthropic/") { WireProtocol::Anthropic } else { WireProtocol::OpenAi }
    }

    /// The model's name without protocol prefix: what is sent upstream and written to ledger and `evals`.
    #[must_use]
    pub fn model_name(&self) -> &str {
        let model = self.model.as_str();
        model.strip_prefix("openai/").or_else(|| model.strip_prefix("anthropic/")).unwrap_or(model)
    }

    /// What answers, told by the URL's scheme. Paths are as written: relative to the block.
    #[must_use]
    pub fn upstream(&self) -> UpstreamKind {
        let url = self.api_base_url.expose();
        if let Some(path) = url.strip_prefix("script://") {
            UpstreamKind::Script(path.into())
        } else if let Some(path) = url.strip_prefix("replay://") {
            UpstreamKind::Replay(path.into())
        } else {
            UpstreamKind::Http(url.to_owned())
        }
    }
}

/// The proxy between agents and model.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct LitellmProxy {
    /// The port it listens on; 0: any free one.
    pub port: u16,
    /// The address it listens on. Null: loopback, plus the container bridge when trials run in Docker.
    pub host: Option<String>,
    /// Key for calls that are routed by header. Empty: only trial keys work.
    pub master_key: Option<Secret>,
    /// The faces shown to agents; `anthropic_compatible` is accepted, not used yet.
    pub protocols: Vec<ProxyProtocol>,
    /// What becomes of an upstream call whose agent hung up.
    pub on_disconnect: OnDisconnect,
    /// The largest request body taken, MiB.
    pub max_body_mb: u64,
    /// Ask the upstream for token ids and log-probabilities, and record them; accepted, not used yet.
    pub collect_token_ids: bool,
    /// Of LiteLLM-based deployments: accepted, but not used.
    pub config_template: Option<String>,
}

impl Default for LitellmProxy {
    fn default() -> Self {
        Self {
            port: 4001,
            host: None,
            master_key: None,
            protocols: vec![ProxyProtocol::OpenAi],
            on_disconnect: OnDisconnect::Finish,
            max_body_mb: 64,
            collect_token_ids: false,
            config_template: None,
        }
    }
}

/// Where the tasks are.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields, extend("required" = ["dataset_name"]))]
pub struct TaskSource {
    /// Who has them.
    pub provider: Provider,
    /// A folder or archive (local, relative to the block), or `owner/name` (huggingface).
    pub dataset_name: String,
    /// The split, for providers that have splits.
    pub split: Option<String>,
}

impl Default for TaskSource {
    fn default() -> Self {
        Self { provider: Provider::Local, dataset_name: String::new(), split: None }
    }
}

impl TaskSource {
    /// The data set's short name: the last component of `dataset_name`.
    #[must_use]
    pub fn dataset(&self) -> &str {
        self.dataset_name.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&self.dataset_name)
    }
}

/// Where trials run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct EnvironmentConfig {
    /// The kind of environment.
    pub r#type: EnvironmentType,
    /// What tasks that say nothing may reach during agent set-up and run.
    pub network: NetworkPolicy,
    /// What they may reach during verification. Null: everything under Docker, loopback only under the sandbox.
    pub verifier_network: Option<NetworkPolicy>,
    /// CPUs, fractions allowed; overrides the task's figure.
    pub cpus: Option<f64>,
    /// Memory, MiB; overrides the task's figure.
    pub memory_mb: Option<u64>,
    /// Space for what is written, MiB; overrides the task's figure.
    pub storage_mb: Option<u64>,
    /// Limit of processes and threads.
    pub pids: u64,
    /// For environments of type docker.
    pub docker: DockerConfig,
    /// For environments of type slurm; not in use yet.
    pub slurm: Guarded<Map<String, Value>>,
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        Self {
            r#type: EnvironmentType::Auto,
            network: NetworkPolicy::ModelOnly,
            verifier_network: None,
            cpus: None,
            memory_mb: None,
            storage_mb: None,
            pids: 4096,
            docker: DockerConfig::default(),
            slurm: Guarded::default(),
        }
    }
}

/// For environments of type docker.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct DockerConfig {
    /// The engine's address (`unix://…`, `tcp://…`). Null: `DOCKER_HOST`, else the usual socket.
    pub host: Option<SecretUrl>,
    /// The platform of images (`linux/amd64`). Null: the engine's own.
    pub platform: Option<String>,
    /// GPUs of a trial; overrides the task's figure.
    pub gpus: Option<u32>,
    /// Space that built images may take before the oldest are removed, GB.
    pub image_cache_gb: f64,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self { host: None, platform: None, gpus: None, image_cache_gb: 50.0 }
    }
}

/// Who solves the tasks.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields, extend("required" = ["name"]))]
pub struct AgentConfig {
    /// The agent's name: `terminus-2`, `oracle`, `nop`, or an installed scaffold (`claude-code`, `opencode`, …).
    pub name: String,
    /// The version to install; accepted, not used yet. Null: the one trajgen pins.
    pub version: Option<String>,
    /// Picks the `llm_api` entries with that `model`. Null: all entries, which then must name one model.
    pub model_name: Option<String>,
    /// An image to take the agent's program from; accepted, not used yet.
    pub runtime_image: Option<String>,
    /// A folder of this host to take the agent's program from; accepted, not used yet.
    pub runtime_host_path: Option<PathBuf>,
    /// The most turns of one trial; null: no limit. Short for `kwargs.max_turns`.
    pub max_turns: Option<u32>,
    /// Sampling temperature; null: whatever the agent sends. Short for `kwargs.temperature`.
    pub temperature: Option<f64>,
    /// Nucleus sampling; null: whatever the agent sends. Short for `kwargs.top_p`.
    pub top_p: Option<f64>,
    /// Further options of the agent, by its own names.
    pub kwargs: Guarded<Map<String, Value>>,
    /// Variables for the agent's program.
    pub env: Guarded<BTreeMap<String, String>>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: None,
            model_name: None,
            runtime_image: None,
            runtime_host_path: None,
            max_turns: Some(80),
            temperature: Some(0.7),
            top_p: None,
            kwargs: Guarded::default(),
            env: Guarded::default(),
        }
    }
}

impl AgentConfig {
    /// False for the agents that call no model: oracle and nop.
    #[must_use]
    pub fn calls_model(&self) -> bool {
        !matches!(self.name.as_str(), "oracle" | "nop")
    }
}

/// Making SFT data of a job's trajectories.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct SftConversion {
    /// Convert at the end of every run.
    pub enabled: bool,
    /// Whose trajectories they are.
    pub scaffold: Scaffold,
    /// Where the data goes: one folder per job in it.
    pub out_dir: PathBuf,
    /// The most trials to convert, from the first on. Null: all.
    pub max_instances: Option<u64>,
    /// A file with one `owner/repo` a line whose tasks give no data. Null: the repositories of the SWE-bench test splits; `""`: none.
    pub exclude_repos_file: Option<PathBuf>,
    /// Which trials are converted.
    pub instance_status: InstanceStatus,
    /// Convert trials with at least this reward instead.
    pub min_reward: Option<f64>,
    /// A tokenizer's folder or Hugging Face id, for its chat template and token counts. Null: a built-in template.
    pub tokenizer: Option<String>,
    /// What scores the records.
    pub scorer: Scorer,
}

impl Default for SftConversion {
    fn default() -> Self {
        Self {
            enabled: false,
            scaffold: Scaffold::Auto,
            out_dir: "artifacts/sft_data".into(),
            max_instances: None,
            exclude_repos_file: None,
            instance_status: InstanceStatus::Resolved,
            min_reward: None,
            tokenizer: None,
            scorer: Scorer::V5,
        }
    }
}
