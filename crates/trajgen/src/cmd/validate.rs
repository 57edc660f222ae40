//! `trajgen validate`: proves each task the way a task generator does: doing nothing gives 0, the solution gives 1.

use crate::block::{self, BlockArgs, EnvironmentArgs};
use crate::exit::Failure;
use crate::run::provider_of;
use crate::terminal;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trajgen_contract::config::Provider;
use trajgen_contract::files::FileError;
use trajgen_rollout::environment::Network;
use trajgen_rollout::events::EventSink;
use trajgen_rollout::job::trial_name;
use trajgen_rollout::placement::Placement;
use trajgen_rollout::source::{self, PrepareOptions};
use trajgen_rollout::trial::{
    AgentSpec, EnvironmentFigures, LocalPlacement, SpendingLimits, Timeouts, Tools, TrialSpec, TryEnd,
};

/// Prove tasks: `nop` must give 0 and `oracle` 1
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A task's folder, a folder or archive of tasks (those of its manifest, when it has one)
    tasks: PathBuf,
    #[command(flatten)]
    block: BlockArgs,
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Trials at a time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    n_concurrent: u32,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Proof {
    task_id: String,
    valid: bool,
    nop: Side,
    oracle: Side,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Side {
    reward: Option<f64>,
    error: Option<String>,
    log: PathBuf,
}

/// Runs the command. Exit code 2 when a task is not proved.
pub async fn run(args: &Args) -> Result<i32, Failure> {
    let block = args.block.open()?;
    let _lock = block::lock(&block)?;
    let folder = block.cache().join("validate");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(FileError::at("clear", &folder))?;
    }
    let source = args
        .tasks
        .canonicalize()
        .map_err(|e| Failure::bad_input(format!("{}: {e}; expected tasks", args.tasks.display())))?;
    let dataset = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let options = PrepareOptions { overwrite: true, strict: false };
    let tasks_dir = folder.join("tasks");
    let prepared = source::prepare(Provider::Local, &source, &dataset, &tasks_dir, &options)?;
    super::prepare::report(&prepared);
    let proofs = prove(args, &block, &folder, &tasks_dir, &dataset, &prepared.tasks).await?;
    let failed = proofs.iter().filter(|p| !p.valid).count() + prepared.skipped.len();
    if args.json {
        terminal::out_json(
            &serde_json::json!({"tasks": proofs, "skipped": prepared.skipped, "failed": failed}),
        );
    } else {
        for proof in &proofs {
            terminal::out(line(proof));
        }
        terminal::out(format_args!(
            "{} of {} tasks are proved",
            proofs.len() - proofs.iter().filter(|p| !p.valid).count(),
            proofs.len() + prepared.skipped.len()
        ));
    }
    Ok(if failed == 0 { 0 } else { 2 })
}

fn line(proof: &Proof) -> String {
    let shown = |side: &Side| match (&side.reward, &side.error) {
        (Some(reward), None) => format!("{reward}"),
        (Some(reward), Some(error)) => format!("{reward} ({error})"),
        (None, Some(error)) => error.clone(),
        (None, None) => "nothing".into(),
    };
    let mut text = format!(
        "{}  {}: nop {}, oracle {}",
        if proof.valid { "ok  " } else { "FAIL" },
        proof.task_id,
        shown(&proof.nop),
        shown(&proof.oracle)
    );
    if !proof.valid {
        text.push_str(&format!("\n      see {} and {}", proof.nop.log.display(), proof.oracle.log.display()));
    }
    text
}

async fn prove(
    args: &Args,
    block: &trajgen_contract::layout::Block,
    folder: &Path,
    tasks_dir: &Path,
    dataset: &str,
    ids: &[String],
) -> Result<Vec<Proof>, Failure> {
    let (events, _stream) = EventSink::new();
    let provider = provider_of(block, &args.environment)?;
    provider.sweep().await.map_err(Failure::missing)?;
    let n_concurrent = args.n_concurrent as usize;
    let scratch = block.comparisons();
    if scratch.exists() {
        // Of a validation that was killed.
        std::fs::remove_dir_all(&scratch).map_err(FileError::at("clear", &scratch))?;
    }
    std::fs::create_dir_all(&scratch).map_err(FileError::at("create the folder", &scratch))?;
    let tools = Tools {
        provider,
        proxy: None,
        events,
        builds: Semaphore::new(n_concurrent),
        verifiers: Semaphore::new(n_concurrent),
        scratch,
    };
    let placement = Arc::new(LocalPlacement(Arc::new(tools)));
    let permits = Arc::new(Semaphore::new(n_concurrent));
    let mut trials: JoinSet<(usize, bool, TryEnd, PathBuf)> = JoinSet::new();
    for (index, id) in ids.iter().enumerate() {
        for agent in ["nop", "oracle"] {
            let spec = spec_of(folder, tasks_dir, dataset, id, agent);
            let (placement, permits) = (placement.clone(), permits.clone());
            trials.spawn(async move {
                let _permit = permits.acquire().await;
                let end = placement.submit(&spec, 1, CancellationToken::new()).await;
                (index, spec.agent.name == "oracle", end, spec.trial_dir.join("trial.log"))
            });
        }
    }
    let mut sides: Vec<(Side, Side)> = vec![Default::default(); ids.len()];
    while let Some(joined) = trials.join_next().await {
        let (index, is_oracle, end, log) =
            joined.map_err(|e| Failure::failed(format!("a trial panicked: {e}")))?;
        let side = Side {
            reward: end.reward(),
            error: end.error.map(|e| format!("{}: {}", e.kind, e.message)),
            log,
        };
        if let Some(pair) = sides.get_mut(index) {
            if is_oracle { pair.1 = side } else { pair.0 = side }
        }
    }
    Ok(ids
        .iter()
        .zip(sides)
        .map(|(id, (nop, oracle))| Proof {
            task_id: id.clone(),
            valid: nop.reward == Some(0.0)
                && nop.error.is_none()
                && oracle.reward == Some(1.0)
                && oracle.error.is_none(),
            nop,
            oracle,
        })
        .collect())
}

fn spec_of(folder: &Path, tasks_dir: &Path, dataset: &str, id: &str, agent: &str) -> TrialSpec {
    let trial = trial_name(id);
    TrialSpec {
        job: "validate".into(),
        job_id: uuid::Uuid::new_v4().to_string(),
        trial_id: uuid::Uuid::new_v4().to_string(),
        trial_dir: folder.join(agent).join(&trial),
        trial,
        task_id: id.to_owned(),
        task_dir: tasks_dir.join(id),
        dataset: dataset.to_owned(),
        attempt: 1,
        agent: AgentSpec {
            name: agent.to_owned(),
            version: None,
            model: None,
            max_input_tokens: None,
            max_output_tokens: None,
            kwargs: serde_json::Map::new(),
            env: std::collections::BTreeMap::new(),
            env_taken: std::collections::BTreeMap::new(),
        },
        environment: EnvironmentFigures {
            kind: "sandbox".into(),
            network: Network::None,
            verifier_network: None,
            cpus: None,
            memory_mb: None,
            storage_mb: None,
            pids: 4096,
        },
        timeouts: Timeouts {
            multiplier: 1.0,
            agent_multiplier: None,
            verifier_multiplier: None,
            agent_setup_multiplier: None,
            environment_multiplier: None,
            agent_sec: None,
            verifier_sec: None,
            max_agent_sec: None,
        },
        stop_leftovers: false,
        integrity: true,
        keep_environments: false,
        limits: SpendingLimits::default(),
    }
}
