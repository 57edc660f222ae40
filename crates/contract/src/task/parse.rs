//! From the text of `task.toml` to a [`Definition`].

use super::definition::{
    AgentSection, Artifact, Author, CollectHook, Definition, EnvironmentSection, Healthcheck, MAIN_SERVICE,
    McpServer, McpTransport, MinReward, Package, RewardStrategy, StepSection, Tpu, VerifierMode,
    VerifierSection,
};
use super::network::{NetworkMode, NetworkPolicy, normalize_host};
use super::section::{Problem, Report, Section};
use regex::Regex;
use toml::de::DeTable;

/// Reads `text`. A definition comes with warnings, or there are errors.
pub(super) fn parse(text: &str) -> Result<(Definition, Vec<Problem>), Vec<Problem>> {
    let report = Report::new(text);
    let document = DeTable::parse(text).map_err(|e| {
        let message = format!("is no TOML: {}", e.message());
        vec![report.problem(e.span().map(|span| span.start), "", message)]
    })?;
    let mut definition = definition(&Section::new(document.get_ref(), None, String::new(), &report));
    definition.unknown = report.unknown.take();
    let (mut errors, mut warnings) = (report.errors.take(), report.warnings.take());
    warnings.sort_by_key(|problem| problem.line);
    if errors.is_empty() {
        return Ok((definition, warnings));
    }
    // A misspelt key often explains a missing one.
    errors.extend(warnings);
    errors.sort_by_key(|problem| problem.line);
    Err(errors)
}

fn definition(top: &Section<'_>) -> Definition {
    // Both spellings are asked for, so that neither is unknown.
    let (older, newer) = (top.string("version"), top.string("schema_version"));
    let definition = Definition {
        schema_version: newer.or(older).unwrap_or_else(|| "1.4".into()),
        package: top.section("task").and_then(package),
        metadata: top.free_table("metadata"),
        source: top.string("source"),
        artifacts: artifacts(top),
        agent: top.section("agent").map(agent).unwrap_or_default(),
        verifier: top.section("verifier").map(verifier).unwrap_or_default(),
        environment: top.section("environment").map(environment).unwrap_or_default(),
        solution_env: top.section("solution").map(solution_env).unwrap_or_default(),
        steps: steps(top),
        reward_strategy: top
            .choice(
                "multi_step_reward_strategy",
                &[("mean", RewardStrategy::Mean), ("final", RewardStrategy::Final)],
            )
            .unwrap_or_default(),
        unknown: Default::default(),
    };
    top.warn_unknown();
    definition
}

fn fits(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn package(section: Section<'_>) -> Option<Package> {
    let name = section.required_string("name");
    if let Some(name) = &name {
        let shape = r"\A[a-zA-Z0-9][a-zA-Z0-9._-]*/[a-zA-Z0-9][a-zA-Z0-9._-]*\z";
        if !fits(shape, name) || name.contains("..") {
            section.error(
                "name",
                format!("found '{name}', expected 'org/name' of letters, digits, '.', '_' and '-'"),
            );
        }
    }
    let version = section.string("version");
    if version.as_deref() == Some("") {
        section.error("version", "is empty; leave it out or give a version");
    }
    let authors = section.sections("authors").into_iter().filter_map(|author| {
        let read = author.required_string("name").map(|name| Author { name, email: author.string("email") });
        author.string("email");
        author.finish();
        read
    });
    let authors = authors.collect();
    let (description, keywords) = (section.string("description"), section.strings("keywords"));
    section.finish();
    Some(Package {
        name: name?,
        version,
        description: description.unwrap_or_default(),
        authors,
        keywords: keywords.unwrap_or_default(),
    })
}

/// `network_mode` and `allowed_hosts`; none when the section has neither. In the section of a phase even
/// an empty list needs the mode, as in Harbor.
fn network(section: &Section<'_>, is_phase: bool) -> Option<NetworkPolicy> {
    let modes = [
        ("public", NetworkMode::Public),
        ("no-network", NetworkMode::NoNetwork),
        ("allowlist", NetworkMode::Allowlist),
    ];
    let (mode, hosts) = (section.choice("network_mode", &modes), section.strings("allowed_hosts"));
    let listed = hosts.as_ref().is_some_and(|hosts| !hosts.is_empty());
    let silent = !section.has("network_mode");
    let needs_mode = silent && (listed || (is_phase && hosts.is_some()));
    let other_mode = listed && mode.is_some_and(|mode| mode != NetworkMode::Allowlist);
    if needs_mode || other_mode {
        section.error(
            "allowed_hosts",
            "holds only with network_mode = \"allowlist\"; set that, or remove the list",
        );
    }
    let mut allowed_hosts = Vec::new();
    for host in hosts.unwrap_or_default() {
        match normalize_host(&host) {
            Ok(host) => allowed_hosts.push(host),
            Err(why) => section.error("allowed_hosts", why),
        }
    }
    mode.map(|mode| NetworkPolicy { mode, allowed_hosts })
}

fn agent(section: Section<'_>) -> AgentSection {
    let read = AgentSection {
        timeout_sec: section.positive("timeout_sec"),
        user: section.user("user"),
        network: network(&section, true),
    };
    section.finish();
    read
}

fn verifier(section: Section<'_>) -> VerifierSection {
    let defaults = VerifierSection::default();
    let modes = [("shared", VerifierMode::Shared), ("separate", VerifierMode::Separate)];
    let read = VerifierSection {
        timeout_sec: section.positive("timeout_sec").unwrap_or(defaults.timeout_sec),
        env: section.string_table("env"),
        user: section.user("user"),
        network: network(&section, true),
        environment_mode: section.choice("environment_mode", &modes),
        environment: section.section("environment").map(environment),
        collect: section.sections("collect").into_iter().filter_map(collect_hook).collect(),
        stop_leftovers: section.flag("stop_leftovers"),
    };
    if read.environment_mode == Some(VerifierMode::Shared) && read.environment.is_some() {
        section.error(
            "environment_mode",
            "is 'shared', but there is a [verifier.environment]; remove one of the two",
        );
    }
    section.finish();
    read
}

fn collect_hook(section: Section<'_>) -> Option<CollectHook> {
    let command = section.required_string("command");
    let read = command.map(|command| CollectHook {
        command,
        service: service(&section),
        timeout_sec: section.positive("timeout_sec").unwrap_or(60.0),
        user: section.user("user"),
    });
    for key in ["service", "timeout_sec", "user"] {
        section.has(key);
    }
    section.finish();
    read
}

fn service(section: &Section<'_>) -> String {
    let Some(name) = section.string("service") else { return MAIN_SERVICE.into() };
    let name = name.trim();
    if !fits(r"\A[a-zA-Z0-9][a-zA-Z0-9_.-]*\z", name) {
        section.error("service", format!("'{name}' is no name of a compose service"));
    }
    name.to_owned()
}

fn environment(section: Section<'_>) -> EnvironmentSection {
    let defaults = EnvironmentSection::default();
    let cpus = section.limit("cpus");
    if cpus.is_some_and(|cpus| cpus.fract() != 0.0) {
        section.warn("cpus", "Harbor takes whole CPUs only");
    }
    let read = EnvironmentSection {
        build_timeout_sec: section.positive("build_timeout_sec").unwrap_or(defaults.build_timeout_sec),
        docker_image: section.string("docker_image").filter(|image| !image.is_empty()),
        cpus,
        memory_mb: size(&section, "memory_mb", "memory"),
        storage_mb: size(&section, "storage_mb", "storage"),
        gpus: section.count("gpus"),
        gpu_types: section.strings("gpu_types").unwrap_or_default(),
        tpu: section.section("tpu").and_then(tpu),
        env: section.string_table("env"),
        workdir: section.string("workdir"),
        network: network(&section, false).or_else(|| older_network(&section)),
        skills_dir: section.string("skills_dir"),
        healthcheck: section.section("healthcheck").and_then(healthcheck),
        mcp_servers: section.sections("mcp_servers").into_iter().filter_map(mcp_server).collect(),
    };
    section.has("allow_internet");
    if let Some(os) = section.string("os") {
        match os.to_ascii_lowercase().as_str() {
            "linux" => {}
            "windows" => section.error("os", "is 'windows'; only 'linux' tasks run here"),
            _ => section.error("os", format!("found '{os}', expected 'linux'")),
        }
    }
    section.finish();
    read
}

/// `allow_internet`, which `network_mode` and `allowed_hosts` overrule.
fn older_network(section: &Section<'_>) -> Option<NetworkPolicy> {
    let allowed = section.flag("allow_internet")?;
    section.warn("allow_internet", "is an older spelling; write network_mode = \"public\" or \"no-network\"");
    if section.has("network_mode") || section.has("allowed_hosts") {
        return None;
    }
    let mode = if allowed { NetworkMode::Public } else { NetworkMode::NoNetwork };
    Some(NetworkPolicy { mode, allowed_hosts: Vec::new() })
}

/// MiB, from `key` or from its older spelling: `"2G"`, `"512M"`, `"1024K"`.
fn size(section: &Section<'_>, key: &'static str, older: &'static str) -> Option<u64> {
    let size = section.limit(key);
    if size.is_some_and(|size| size.fract() != 0.0) {
        section.error(key, "is no whole number of MiB");
    }
    let size = size.map(|size| size as u64);
    if !section.is_string(older) {
        if section.has(older) {
            section.warn(older, format!("is an older spelling and no string, ignored; write {key} (MiB)"));
        }
        return size;
    }
    let Some(text) = section.string(older) else { return size };
    section.warn(older, format!("is an older spelling; write {key} (MiB)"));
    let upper = text.trim().to_ascii_uppercase();
    let unit = upper.chars().last();
    let factor = match unit {
        Some('G') => 1024.0,
        Some('M') => 1.0,
        Some('K') => 1.0 / 1024.0,
        _ => 0.0,
    };
    let number: f64 = upper.trim_end_matches(['G', 'M', 'K']).parse().unwrap_or(f64::NAN);
    let mib = (number * factor).floor();
    if !(1.0..=1e12).contains(&mib) {
        section.error(older, format!("found '{text}', expected a size from 1M, like '2G' or '512M'"));
        return size;
    }
    let mib = mib as u64;
    if size.is_some_and(|size| size != mib) {
        section.error(older, format!("'{text}' is {mib} MiB, but {key} says otherwise; keep {key} only"));
    }
    Some(mib)
}

fn tpu(section: Section<'_>) -> Option<Tpu> {
    let (kind, topology) = (section.required_string("type"), section.required_string("topology"));
    if kind.as_deref() == Some("") {
        section.error("type", "is empty; expected a type like 'v6e'");
    }
    if let Some(topology) = &topology
        && !fits(r"\A[1-9]\d*(x[1-9]\d*)+\z", topology.trim())
    {
        section.error("topology", format!("found '{topology}', expected dimensions like '2x4'"));
    }
    section.finish();
    Some(Tpu { kind: kind?, topology: topology?.trim().to_owned() })
}

fn healthcheck(section: Section<'_>) -> Option<Healthcheck> {
    let command = section.required_string("command");
    let interval_sec = section.not_negative("interval_sec").unwrap_or(5.0);
    let timeout_sec = section.positive("timeout_sec").unwrap_or(30.0);
    let start_period_sec = section.not_negative("start_period_sec").unwrap_or(0.0);
    let start_interval_sec = section.not_negative("start_interval_sec").unwrap_or(5.0);
    let retries = section.count("retries").unwrap_or(3);
    section.finish();
    Some(Healthcheck {
        command: command?,
        interval_sec,
        timeout_sec,
        start_period_sec,
        start_interval_sec,
        retries,
    })
}

fn mcp_server(section: Section<'_>) -> Option<McpServer> {
    let name = section.required_string("name");
    let (url, command) = (section.string("url"), section.string("command"));
    let args = section.strings("args").unwrap_or_default();
    let kind = section.string("transport").unwrap_or_else(|| "sse".into());
    let url = url.filter(|url| !url.is_empty());
    let command = command.filter(|command| !command.is_empty());
    let transport = match kind.as_str() {
        "sse" => url.map(McpTransport::Sse),
        "http" | "streamable-http" => url.map(McpTransport::StreamableHttp),
        "stdio" => command.map(|command| McpTransport::Stdio { command, args }),
        _ => {
            section
                .error("transport", format!("found '{kind}', expected 'sse', 'streamable-http' or 'stdio'"));
            section.finish();
            return None;
        }
    };
    if transport.is_none() {
        let wanted = if kind == "stdio" { "command" } else { "url" };
        section.error(wanted, format!("is missing; transport '{kind}' needs it"));
    }
    section.finish();
    Some(McpServer { name: name?, transport: transport? })
}

fn solution_env(section: Section<'_>) -> std::collections::BTreeMap<String, String> {
    let env = section.string_table("env");
    section.finish();
    env
}

fn artifacts(section: &Section<'_>) -> Vec<Artifact> {
    let expected = "a path or a table with 'source'";
    let mut artifacts = Vec::new();
    for (path, item) in section.items("artifacts", "a list of paths or tables") {
        let read = if let Some(source) = item.get_ref().as_str() {
            let plain = Artifact {
                source: source.to_owned(),
                destination: None,
                exclude: Vec::new(),
                service: MAIN_SERVICE.into(),
            };
            if source.is_empty() || climbs(source) {
                section.item_mistyped(&path, item, "a path inside, without '..'");
            }
            Some(plain)
        } else if let Some(table) = section.item_section(path.clone(), item) {
            artifact(table)
        } else {
            section.item_mistyped(&path, item, expected);
            None
        };
        artifacts.extend(read);
    }
    artifacts
}

fn climbs(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

fn artifact(section: Section<'_>) -> Option<Artifact> {
    let source = section.required_string("source");
    let destination = section.string("destination").filter(|path| !path.is_empty());
    let exclude = section.strings("exclude").unwrap_or_default();
    let service = service(&section);
    if let Some(source) = &source {
        if source.is_empty() || climbs(source) {
            section.error("source", format!("found '{source}', expected a path inside, without '..'"));
        } else if service != MAIN_SERVICE && !source.starts_with('/') {
            section.error(
                "source",
                format!("found '{source}', expected an absolute path, as it is of service '{service}'"),
            );
        }
    }
    if let Some(path) = &destination {
        let named = path.split('/').any(|part| !part.is_empty() && part != ".");
        if path.starts_with('/') || path.contains('\\') || climbs(path) || !named {
            section.error(
                "destination",
                format!("found '{path}', expected a relative path with '/' and without '..'"),
            );
        } else if path.trim_end_matches('/') == "manifest.json" {
            section.error(
                "destination",
                "'manifest.json' is the name of the list of what was collected; take another",
            );
        }
    }
    section.finish();
    Some(Artifact { source: source?, destination, exclude, service })
}

fn steps(top: &Section<'_>) -> Vec<StepSection> {
    let mut steps: Vec<StepSection> = Vec::new();
    for section in top.sections("steps") {
        let name = section.required_string("name");
        if let Some(name) = &name {
            if let Some(why) = unfit_name(name) {
                section.error("name", format!("'{name}' {why}; expected a name for a folder under steps/"));
            } else if steps.iter().any(|step| step.name.to_lowercase() == name.to_lowercase()) {
                section.error("name", format!("'{name}' is also another step's name (case aside)"));
            }
        }
        let min_reward = if section.is_table("min_reward") {
            Some(MinReward::ByName(section.number_table("min_reward")))
        } else {
            section.number("min_reward").map(MinReward::Reward)
        };
        let step = StepSection {
            name: name.unwrap_or_default(),
            agent: section.section("agent").map(agent).unwrap_or_default(),
            verifier: section.section("verifier").map(verifier).unwrap_or_default(),
            min_reward,
            healthcheck: section.section("healthcheck").and_then(healthcheck),
            artifacts: artifacts(&section),
        };
        section.finish();
        steps.push(step);
    }
    steps
}

/// Why a step's name is no portable name of a folder.
fn unfit_name(name: &str) -> Option<&'static str> {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    if name.trim().is_empty() {
        Some("is empty")
    } else if name == "." || name == ".." || name.ends_with(['.', ' ']) {
        Some("is or ends in what some systems drop")
    } else if name.chars().any(|c| c.is_control() || "<>:\"/\\|?*".contains(c)) {
        Some("holds a character that names of folders cannot have everywhere")
    } else if fits(r"(?i)\A(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[1-9¹²³])\z", stem) {
        Some("is a device's name on Windows")
    } else if name.len() > 255 {
        Some("is longer than 255 bytes")
    } else {
        None
    }
}
