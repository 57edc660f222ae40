//! `trajgen check`: everything that could fail later, in one pass.

use crate::block::{self, BlockArgs, EnvironmentArgs};
use crate::exit::{Code, Failure};
use crate::run::{self, Found, Work, load_config};
use crate::terminal;
use serde::Serialize;
use trajgen_contract::config::{Severity, UpstreamKind};
use trajgen_contract::layout::Block;
use trajgen_contract::ledger::Ledger;
use trajgen_rollout::environment::Network;

/// Check config, tasks, environment, port, disk and upstream, and run nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    block: BlockArgs,
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    says: String,
    #[serde(skip)]
    code: Option<Code>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, outcome: Result<String, Failure>) {
        let (verdict, says, code) = match outcome {
            Ok(says) => (Verdict::Pass, says, None),
            Err(failure) => (Verdict::Fail, failure.message, Some(failure.code)),
        };
        self.0.push(Finding { what, verdict, says, code });
    }
    fn warn(&mut self, what: &'static str, says: String) {
        self.0.push(Finding { what, verdict: Verdict::Warn, says, code: None });
    }
}

/// Runs the command. The exit code is that of the first failure.
pub async fn run(args: &Args) -> Result<i32, Failure> {
    let block = args.block.open()?;
    let mut findings = Findings::default();
    everything(args, &block, &mut findings).await;
    let code = findings.0.iter().find_map(|f| f.code).map_or(0, |c| c as i32);
    if args.json {
        terminal::out_json(&findings.0);
    } else {
        for finding in &findings.0 {
            let verdict = format!("{:?}", finding.verdict).to_uppercase();
            terminal::out(format_args!("{verdict:<4}  {:<11}  {}", finding.what, finding.says));
        }
    }
    Ok(code)
}

async fn everything(args: &Args, block: &Block, findings: &mut Findings) {
    let path = args.block.config_path(block);
    let loaded = match load_config(&path) {
        Ok(loaded) => loaded,
        Err(failure) => return findings.add("config", Err(failure)),
    };
    let warnings = trajgen_contract::config::load(&path, |name| std::env::var(name).ok())
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Warning)
        .count();
    if warnings == 0 {
        findings.add("config", Ok(format!("{} is valid", path.display())));
    } else {
        findings.warn("config", format!("{} is valid, with {warnings} warnings", path.display()));
    }
    let config = &loaded.config;
    if let Err(failure) = run::check_host(config) {
        findings.add("host", Err(failure));
    }
    if block::is_in_use(block) {
        findings.warn("block", "a run is in progress here".into());
    } else {
        let lock = block::lock(block).map(drop);
        findings.add("block", lock.map(|()| "writable and not in use".into()));
    }
    findings.add("disk", run::check_disk(block).map(|free| format!("{} free", size(free))));
    let ledger = Ledger::load(block).map_err(Failure::from);
    let n = ledger.as_ref().map(|l| l.entries().len()).unwrap_or(0);
    let provider = run::provider_of(block, &args.environment);
    let capabilities = provider.as_ref().map(|p| {
        let c = p.capabilities();
        format!(
            "{}: limits by {}, users {}, networks {}",
            p.kind(),
            if c.hard_limits { "the kernel" } else { "a watchdog" },
            if c.users { "yes" } else { "one only" },
            c.networks.iter().map(|network| word(*network)).collect::<Vec<_>>().join(", ")
        )
    });
    findings
        .add("environment", capabilities.map_err(|e| Failure { code: e.code, message: e.message.clone() }));
    let mut policies = Vec::new();
    if let (Ok(ledger), Ok(provider)) = (&ledger, &provider)
        && !block::is_in_use(block)
    {
        let jobs_dir = block.root().join(&config.runtime_info.input.harbor_job.jobs_dir);
        let work = Work::find(
            &run::Args::dry(args.block.clone(), args.environment.clone()),
            block,
            &loaded,
            &jobs_dir,
            ledger,
        );
        let says = work.and_then(|work| match work {
            Found::Nothing(nothing) => Ok(nothing.says),
            Found::Work(work) => {
                policies = run::policies(&work);
                let refused: Vec<String> = work
                    .planned
                    .iter()
                    .filter_map(|p| {
                        run::refusal(&p.spec, &**provider).map(|why| format!("{}: {why}", p.spec.task_id))
                    })
                    .collect();
                // A model that cannot be connected to is a finding of its own.
                let upstream =
                    run::upstream_of(block, config, work.model()).ok().filter(|_| work.calls_model());
                let answers = upstream.map_or(Ok(()), |upstream| run::check_answers(&work, &*upstream));
                if let (true, Err(failure)) = (refused.is_empty(), answers) {
                    Err(failure)
                } else if refused.is_empty() {
                    Ok(format!("{} trials would run", work.n_open()))
                } else {
                    Err(Failure::bad_input(refused.join("; ")))
                }
            }
        });
        findings.add("tasks", says);
    }
    if let Ok(ledger) = &ledger {
        exclusions(config, ledger, findings);
    }
    findings.add("ledger", ledger.map(|_| format!("{n} entries")));
    port(config, findings);
    upstream(block, config, findings).await;
    let network = &config.runtime_info.input.environment;
    let silent = format!(
        "tasks that say nothing reach: agent {}, verifier {}",
        network.network,
        network.verifier_network.map_or_else(|| "loopback only".into(), |n| n.to_string())
    );
    findings.add("network", Ok([vec![silent], policies].concat().join("; ")));
}

/// A network as the config writes it.
fn word(network: Network) -> &'static str {
    match network {
        Network::None => "none",
        Network::ModelOnly => "model-only",
        Network::Allowlist => "allowlist",
        Network::Public => "public",
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    if bytes < GIB { format!("{} MiB", bytes >> 20) } else { format!("{:.1} GiB", bytes as f64 / GIB as f64) }
}

/// A hand-kept list is not needed beside the ledger; where there is one, it may have grown old.
fn exclusions(config: &trajgen_contract::config::Config, ledger: &Ledger, findings: &mut Findings) {
    const WHAT: &str = "exclusions";
    if config.excluded_by_environment().is_empty() {
        return;
    }
    let dataset = config.runtime_info.input.task_source.dataset();
    let differences = match trajgen_rollout::job::exclusion_differences(config, ledger, dataset) {
        Ok(differences) => differences,
        Err(e) => return findings.add(WHAT, Err(Failure::bad_input(e))),
    };
    let named = [
        ("excluded, but not consumed", differences.only_listed),
        ("consumed, but not in the list (the ledger leaves them out)", differences.only_consumed),
    ];
    let parts: Vec<String> = named
        .iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(what, ids)| format!("{what}: {}", ids.join(", ")))
        .collect();
    if parts.is_empty() {
        findings.add(WHAT, Ok("HARBOR_EXCLUDE_TASKS and the ledger agree".into()));
    } else {
        findings.warn(WHAT, format!("HARBOR_EXCLUDE_TASKS and the ledger differ; {}", parts.join("; ")));
    }
}

fn port(config: &trajgen_contract::config::Config, findings: &mut Findings) {
    let proxy = &config.runtime_info.input.litellm_proxy;
    let host = proxy.host.as_deref().unwrap_or("127.0.0.1");
    let says = std::net::TcpListener::bind((host, proxy.port))
        .map(|_| if proxy.port == 0 { "any free one".into() } else { format!("{} is free", proxy.port) })
        .map_err(|e| {
            Failure::missing(format!(
                "cannot listen on {host}:{}: {e}; end what listens there, or set litellm_proxy.port to 0",
                proxy.port
            ))
        });
    findings.add("port", says);
}

async fn upstream(block: &Block, config: &trajgen_contract::config::Config, findings: &mut Findings) {
    for api in &config.runtime_info.input.llm_api {
        let model = api.model_name();
        let outcome = match run::upstream_of(block, config, Some(model)) {
            Ok(upstream) => upstream
                .check()
                .await
                .map(|()| match api.upstream() {
                    UpstreamKind::Http(_) => format!("'{model}' answers"),
                    _ => format!("'{model}' needs no network"),
                })
                .map_err(|e| Failure::missing(format!("'{model}' does not answer: {e}"))),
            Err(failure) => Err(failure),
        };
        findings.add("upstream", outcome);
    }
}
