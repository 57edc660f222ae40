//! The schema of config.yaml: one function per section, one line per key.

use super::block::{
    Config, DeploymentEnvironment, MetaInfo, Output, RawTrajectories, Resources, RuntimeInfo, SftData, Status,
};
use super::choices::ProxyProtocol;
use super::input::{
    AgentConfig, DockerConfig, EnvironmentConfig, Input, LitellmProxy, LlmApi, SftConversion, TaskSource,
    UpstreamKind,
};
use super::job::{HarborJob, JobLimits, Retry, TrialLimits};
use super::problem::Severity;
use super::reader::Section;
use super::words::Bound;
use crate::secret::{Guarded, Secret, SecretUrl, Taken};
use serde_json::Value;
use std::path::Path;

/// The version of the format that this reader knows.
const VERSION: u32 = 1;

/// The whole file. `None` when it is of another version, which is then the only problem.
pub(super) fn config(mut s: Section<'_>) -> Option<Config> {
    if !s.has("version") {
        s.report(Severity::Warning, "version", "this key is missing: add `version: 1`");
    }
    let version = s.int("version", VERSION, 0..);
    if version != VERSION {
        s.error(
            "version",
            format!("this file is of version {version}, and this trajgen reads version {VERSION}: use the trajgen it was written for"),
        );
        return None;
    }
    let config = Config {
        version,
        meta_info: meta_info(s.section("meta_info")),
        runtime_info: runtime_info(s.section("runtime_info")),
        environment: deployment_environment(s.section("environment")),
        status: status(s.section("status").ours()),
    };
    Some(s.done(config))
}

fn meta_info(mut s: Section<'_>) -> MetaInfo {
    let d = MetaInfo::default();
    let resources = |mut s: Section<'_>| {
        let resources = Resources { ip: s.opt_text("ip") };
        s.done(resources)
    };
    let meta_info = MetaInfo {
        name: s.text("name", d.name),
        label: s.text("label", d.label),
        description: s.text("description", d.description),
        parent: s.opt_text("parent"),
        dependencies: s.text_table("dependencies"),
        resources: resources(s.section("resources")),
    };
    s.done(meta_info)
}

fn runtime_info(mut s: Section<'_>) -> RuntimeInfo {
    let info = RuntimeInfo { input: input(s.section("input")), output: output(s.section("output").ours()) };
    s.done(info)
}

fn input(mut s: Section<'_>) -> Input {
    let deployments = s.sections("llm_api");
    let places: Vec<_> = deployments.iter().map(|section| (section.path.clone(), section.at)).collect();
    let (llm_api, older_protocols): (Vec<_>, Vec<_>) = deployments.into_iter().map(llm_api).unzip();
    let input = Input {
        litellm_proxy: litellm_proxy(
            s.section("litellm_proxy"),
            older_protocols.into_iter().flatten().next(),
        ),
        task_source: task_source(s.section("task_source")),
        harbor_job: harbor_job(s.section("harbor_job")),
        environment: environment(s.section("environment")),
        agent: s.sections("agent").into_iter().map(agent).collect(),
        sft_conversion: sft_conversion(s.section("sft_conversion")),
        llm_api,
    };
    for (n, api) in input.llm_api.iter().enumerate() {
        let first = input.llm_api.iter().position(|other| other.model_name() == api.model_name());
        if let Some(first) = first.filter(|first| *first < n && !api.model_name().is_empty()) {
            let message = format!(
                "several deployments of a model are accepted, not used yet: all calls of {} go to llm_api[{first}], none to llm_api[{n}]",
                api.model_name()
            );
            match places.get(n) {
                Some((path, at)) => s.document.report(Severity::Warning, *at, path, message),
                None => s.report(Severity::Warning, "llm_api", message),
            }
        }
    }
    if input.agent.is_empty() {
        s.error("agent", "this key is required: add for example `agent: {name: terminus-2}`");
    }
    if input.llm_api.iter().all(|api| !api.model_name().is_empty()) {
        check_models(&s, &input);
    }
    s.done(input)
}

/// Every agent that calls a model must have exactly one.
fn check_models(s: &Section<'_>, input: &Input) {
    let calling = input.agent.iter().enumerate().filter(|(_, agent)| agent.calls_model());
    for (n, agent) in calling {
        if input.llm_api.is_empty() {
            s.error(
                "llm_api",
                "this key is required: add for example `llm_api: {api_base_url: https://host/v1, api_key: \"${LLM_API_KEY}\", model: openai/NAME}`",
            );
            return;
        }
        let mut models: Vec<_> = input.deployments(agent).into_iter().map(LlmApi::model_name).collect();
        models.sort_unstable();
        models.dedup();
        let message = match (&agent.model_name, models.as_slice()) {
            (_, [_]) => continue,
            (Some(name), []) => {
                let known: Vec<_> = input.llm_api.iter().map(|api| api.model.as_str()).collect();
                format!("no llm_api entry has the model {name:?} (there are: {})", known.join(", "))
            }
            _ => format!(
                "the llm_api entries name several models ({}): say with agent[{n}].model_name which one this agent uses",
                models.join(", ")
            ),
        };
        s.error("agent", message);
    }
}

/// One deployment, and the proxy's `protocols`, which older configs have here.
fn llm_api(mut s: Section<'_>) -> (LlmApi, Option<Vec<ProxyProtocol>>) {
    let d = LlmApi::default();
    let older_protocols = s.opt_choices("protocols");
    let mut api = LlmApi {
        api_base_url: SecretUrl::new(s.required_text("api_base_url", "https://host/v1")),
        api_key: s.opt_secret("api_key"),
        api_key_file: s.opt_path("api_key_file"),
        model: s.required_text("model", "openai/NAME"),
        input_cost_per_token: s.opt_number("input_cost_per_token", Bound::NotNegative),
        output_cost_per_token: s.opt_number("output_cost_per_token", Bound::NotNegative),
        cached_cost_per_token: s.opt_number("cached_cost_per_token", Bound::NotNegative),
        max_input_tokens: s.opt_int("max_input_tokens", 1..),
        max_output_tokens: s.opt_int("max_output_tokens", 1..),
        request_timeout_sec: s.number("request_timeout_sec", d.request_timeout_sec, Bound::Limit),
        max_retries: s.int("max_retries", d.max_retries, 0..),
        max_in_flight: s.opt_int("max_in_flight", 1..),
        drop_params: s.texts("drop_params"),
    };
    check_url(&s, &api);
    if !api.model.is_empty() && api.model_name().is_empty() {
        s.error("model", format!("expected a name behind the protocol, found {:?}", api.model));
    }
    read_key_file(&s, &mut api);
    (s.done(api), older_protocols)
}

fn check_url(s: &Section<'_>, api: &LlmApi) {
    if api.api_base_url.expose().is_empty() {
        return;
    }
    let rest = match api.upstream() {
        UpstreamKind::Script(path) | UpstreamKind::Replay(path) => path.to_string_lossy().into_owned(),
        UpstreamKind::Http(url) => match url.split_once("://") {
            Some((scheme, host)) if matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") => {
                host.trim_start_matches('/').to_owned()
            }
            _ => String::new(),
        },
    };
    if rest.is_empty() {
        s.error(
            "api_base_url",
            format!(
                "expected http(s)://HOST…, script://PATH or replay://PATH, found {:?}",
                api.api_base_url.to_string()
            ),
        );
    }
}

fn read_key_file(s: &Section<'_>, api: &mut LlmApi) {
    let Some(file) = &api.api_key_file else { return };
    if api.api_key.is_some() {
        s.report(Severity::Warning, "api_key", "api_key_file is given too and wins: remove one of them");
    }
    let path = s.document.file.parent().unwrap_or(Path::new("")).join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => {
            s.error("api_key_file", format!("expected a key in {}, found nothing", path.display()));
        }
        Ok(text) => api.api_key = Some(Secret::new(text.trim())),
        Err(error) => s.error("api_key_file", format!("cannot read {}: {error}", path.display())),
    }
}

fn litellm_proxy(mut s: Section<'_>, older_protocols: Option<Vec<ProxyProtocol>>) -> LitellmProxy {
    let d = LitellmProxy::default();
    if s.has("protocols") && older_protocols.is_some() {
        s.report(
            Severity::Warning,
            "protocols",
            "llm_api has protocols too, which are not used: remove them there",
        );
    }
    let proxy = LitellmProxy {
        port: s.int("port", d.port, 0..),
        host: s.opt_text("host"),
        master_key: s.opt_secret("master_key"),
        protocols: s.opt_choices("protocols").or(older_protocols).unwrap_or(d.protocols),
        on_disconnect: s.choice("on_disconnect", d.on_disconnect),
        max_body_mb: s.int("max_body_mb", d.max_body_mb, 1..),
        collect_token_ids: s.flag("collect_token_ids", d.collect_token_ids),
        config_template: s.opt_text("config_template"),
    };
    if proxy.config_template.is_some() {
        s.report(
            Severity::Warning,
            "config_template",
            "this is of LiteLLM-based deployments and not used: set it to null",
        );
    }
    if proxy.collect_token_ids {
        s.not_used_yet("collect_token_ids");
    }
    if s.has("protocols") && proxy.protocols.contains(&ProxyProtocol::Anthropic) {
        s.report(
            Severity::Warning,
            "protocols",
            "anthropic_compatible is accepted, not used yet: agents are shown openai_compatible only",
        );
    }
    if proxy.protocols.is_empty() {
        s.error(
            "protocols",
            "expected at least one of openai_compatible, anthropic_compatible; found an empty list",
        );
    }
    s.done(proxy)
}

fn task_source(mut s: Section<'_>) -> TaskSource {
    let d = TaskSource::default();
    let source = TaskSource {
        provider: s.choice("provider", d.provider),
        dataset_name: s.required_text("dataset_name", "path/to/tasks"),
        split: s.opt_text("split"),
    };
    if matches!(source.dataset(), "." | "..") {
        let message = "expected a path that ends in a name, which becomes the data set's";
        s.error("dataset_name", format!("{message}; found {:?}", source.dataset_name));
    }
    s.done(source)
}

fn harbor_job(mut s: Section<'_>) -> HarborJob {
    let d = HarborJob::default();
    let job = HarborJob {
        jobs_dir: s.path("jobs_dir", d.jobs_dir),
        job_name_prefix: s.opt_text("job_name_prefix"),
        n_tasks: s.opt_int("n_tasks", 1..),
        include_tasks: globs(&mut s, "include_tasks"),
        exclude_tasks: globs(&mut s, "exclude_tasks"),
        n_attempts: s.int("n_attempts", d.n_attempts, 1..),
        n_concurrent: s.int("n_concurrent", d.n_concurrent, 1..),
        n_concurrent_builds: s.int("n_concurrent_builds", d.n_concurrent_builds, 1..),
        n_concurrent_verifiers: s.opt_int("n_concurrent_verifiers", 1..),
        max_retries: s.int("max_retries", d.max_retries, 0..),
        retry: retry(s.section("retry")),
        timeout_multiplier: s.number("timeout_multiplier", d.timeout_multiplier, Bound::Positive),
        agent_timeout_multiplier: s.opt_number("agent_timeout_multiplier", Bound::Positive),
        verifier_timeout_multiplier: s.opt_number("verifier_timeout_multiplier", Bound::Positive),
        agent_setup_timeout_multiplier: s.opt_number("agent_setup_timeout_multiplier", Bound::Positive),
        environment_build_timeout_multiplier: s
            .opt_number("environment_build_timeout_multiplier", Bound::Positive),
        agent_timeout_sec: s.opt_number("agent_timeout_sec", Bound::Limit),
        verifier_timeout_sec: s.opt_number("verifier_timeout_sec", Bound::Limit),
        max_agent_timeout_sec: s.opt_number("max_agent_timeout_sec", Bound::Limit),
        limits: job_limits(s.section("limits")),
        trial_limits: trial_limits(s.section("trial_limits")),
        stop_leftovers: s.flag("stop_leftovers", d.stop_leftovers),
        integrity: s.choice("integrity", d.integrity),
        keep_environments: s.flag("keep_environments", d.keep_environments),
    };
    s.done(job)
}

fn globs(s: &mut Section<'_>, key: &'static str) -> Vec<String> {
    let globs = s.texts(key);
    check_globs(s, key, globs.iter().map(String::as_str));
    globs
}

fn check_globs<'g>(s: &Section<'_>, key: &str, globs: impl Iterator<Item = &'g str>) {
    for glob in globs {
        if let Err(error) = globset::Glob::new(glob) {
            s.error(key, format!("{glob:?} is not a glob: {}", error.kind()));
        }
    }
}

fn retry(mut s: Section<'_>) -> Retry {
    let d = Retry::default();
    let retry = Retry {
        min_wait_sec: s.number("min_wait_sec", d.min_wait_sec, Bound::Wait),
        wait_multiplier: s.number("wait_multiplier", d.wait_multiplier, Bound::Positive),
        max_wait_sec: s.number("max_wait_sec", d.max_wait_sec, Bound::Wait),
        include: s.opt_choices("include").unwrap_or_default(),
        exclude: s.opt_choices("exclude").unwrap_or_default(),
    };
    s.done(retry)
}

fn job_limits(mut s: Section<'_>) -> JobLimits {
    let limits = JobLimits {
        max_usd: s.opt_number("max_usd", Bound::NotNegative),
        max_tokens: s.opt_int("max_tokens", 0..),
        max_calls: s.opt_int("max_calls", 0..),
        on_limit: s.choice("on_limit", JobLimits::default().on_limit),
    };
    s.done(limits)
}

fn trial_limits(mut s: Section<'_>) -> TrialLimits {
    let limits = TrialLimits {
        max_usd: s.opt_number("max_usd", Bound::NotNegative),
        max_tokens: s.opt_int("max_tokens", 0..),
        max_calls: s.opt_int("max_calls", 0..),
    };
    s.done(limits)
}

fn environment(mut s: Section<'_>) -> EnvironmentConfig {
    let d = EnvironmentConfig::default();
    let docker = |mut s: Section<'_>| {
        let docker = DockerConfig {
            host: s.opt_text("host").map(SecretUrl::new),
            platform: s.opt_text("platform"),
            gpus: s.opt_int("gpus", 0..),
            image_cache_gb: s.number("image_cache_gb", d.docker.image_cache_gb, Bound::NotNegative),
        };
        s.done(docker)
    };
    let environment = EnvironmentConfig {
        r#type: s.choice("type", d.r#type),
        network: s.choice("network", d.network),
        verifier_network: s.opt_choice("verifier_network"),
        cpus: s.opt_number("cpus", Bound::Positive),
        memory_mb: s.opt_int("memory_mb", 1..),
        storage_mb: s.opt_int("storage_mb", 1..),
        pids: s.int("pids", d.pids, 1..),
        docker: docker(s.section("docker")),
        slurm: Guarded::new(s.table("slurm"), s.taken("slurm")),
    };
    s.done(environment)
}

fn agent(mut s: Section<'_>) -> AgentConfig {
    let d = AgentConfig::default();
    let mut kwargs = s.section("kwargs");
    for key in ["max_turns", "temperature", "top_p"] {
        if s.has(key) && kwargs.has(key) {
            s.report(
                Severity::Warning,
                key,
                format!("kwargs.{key} is given too and wins: remove one of them"),
            );
        }
    }
    // What the file says, null included, else the default; kwargs first.
    let max_turns = pick(&mut s, &mut kwargs, "max_turns", d.max_turns, |s, key| s.opt_int(key, 1..));
    let temperature = pick(&mut s, &mut kwargs, "temperature", d.temperature, |s, key| {
        s.opt_number(key, Bound::NotNegative)
    });
    let top_p = pick(&mut s, &mut kwargs, "top_p", d.top_p, |s, key| s.opt_number(key, Bound::Share));
    let agent = AgentConfig {
        name: s.required_text("name", "terminus-2"),
        version: s.opt_text("version"),
        model_name: s.opt_text("model_name"),
        runtime_image: s.opt_text("runtime_image"),
        runtime_host_path: s.opt_path("runtime_host_path"),
        max_turns,
        temperature,
        top_p,
        kwargs: Guarded::new(kwargs.rest(), Taken::new()),
        env: Guarded::new(s.text_table("env"), s.taken("env")),
    };
    let given = [
        ("version", agent.version.is_some()),
        ("runtime_image", agent.runtime_image.is_some()),
        ("runtime_host_path", agent.runtime_host_path.is_some()),
    ];
    for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
        s.not_used_yet(key);
    }
    s.done(agent)
}

/// A key of the agent that may stand in its `kwargs`, which win.
fn pick<'a, T>(
    agent: &mut Section<'a>,
    kwargs: &mut Section<'a>,
    key: &'static str,
    default: Option<T>,
    read: impl Fn(&mut Section<'a>, &'static str) -> Option<T>,
) -> Option<T> {
    let (in_agent, in_kwargs) = (agent.has(key), kwargs.has(key));
    let (short, long) = (read(agent, key), read(kwargs, key));
    match (in_kwargs, in_agent) {
        (true, _) => long,
        (false, true) => short,
        (false, false) => default,
    }
}

fn sft_conversion(mut s: Section<'_>) -> SftConversion {
    let d = SftConversion::default();
    let conversion = SftConversion {
        enabled: s.flag("enabled", d.enabled),
        scaffold: s.choice("scaffold", d.scaffold),
        out_dir: s.path("out_dir", d.out_dir),
        max_instances: s.opt_int("max_instances", 1..),
        exclude_repos_file: s.opt_text_even_empty("exclude_repos_file").map(Into::into),
        instance_status: s.choice("instance_status", d.instance_status),
        min_reward: s.opt_number("min_reward", Bound::Finite),
        tokenizer: s.opt_text("tokenizer"),
        scorer: s.choice("scorer", d.scorer),
    };
    s.done(conversion)
}

fn output(mut s: Section<'_>) -> Output {
    let d = Output::default();
    let trajectories = |mut s: Section<'_>| {
        let d = d.raw_trajectories_dir.clone();
        let trajectories = RawTrajectories {
            path: s.text("path", d.path),
            job_layout: s.text("job_layout", d.job_layout),
            trajectory_format: s.text("trajectory_format", d.trajectory_format),
            results_summary_format: s.text("results_summary_format", d.results_summary_format),
        };
        s.done(trajectories)
    };
    let sft_data = |mut s: Section<'_>| {
        let d = d.sft_data_dir.clone();
        let sft_data = SftData { path: s.text("path", d.path), lf_format: s.text("lf_format", d.lf_format) };
        s.done(sft_data)
    };
    let output = Output {
        raw_trajectories_dir: trajectories(s.section("raw_trajectories_dir")),
        sft_data_dir: sft_data(s.section("sft_data_dir")),
    };
    s.done(output)
}

fn deployment_environment(mut s: Section<'_>) -> DeploymentEnvironment {
    let extra = s.table("extra");
    let mut taken = s.taken("extra");
    // Task ids are no secret, whatever they come from.
    taken.remove("HARBOR_EXCLUDE_TASKS");
    match extra.get("HARBOR_EXCLUDE_TASKS") {
        None | Some(Value::Null) => {}
        Some(Value::String(ids)) => check_globs(&s, "extra", ids.split_whitespace()),
        Some(_) => {
            s.error("extra", "expected HARBOR_EXCLUDE_TASKS to be a text: task ids, separated by spaces");
        }
    }
    s.done(DeploymentEnvironment { extra: Guarded::new(extra, taken) })
}

fn status(mut s: Section<'_>) -> Status {
    let status = Status {
        state: s.choice("state", Status::default().state),
        run_id: s.opt_text("run_id"),
        job: s.opt_text("job"),
        n_tasks: s.opt_int("n_tasks", 0..),
        n_running: s.opt_int("n_running", 0..),
        n_done: s.opt_int("n_done", 0..),
        n_errored: s.opt_int("n_errored", 0..),
        mean_reward: s.opt_number("mean_reward", Bound::Finite),
        started_at: s.opt_text("started_at"),
        updated_at: s.opt_text("updated_at"),
        last_error: s.opt_text("last_error"),
    };
    s.done(status)
}
