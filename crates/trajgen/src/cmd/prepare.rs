//! `trajgen prepare`: copies verified tasks into the block.

use crate::block::{self, BlockArgs};
use crate::exit::Failure;
use crate::run::load_config;
use crate::terminal;
use std::path::PathBuf;
use trajgen_contract::config::Provider;
use trajgen_contract::layout::Block;
use trajgen_rollout::source::{self, PrepareError, PrepareOptions, Prepared};

/// Copy the data set's verified tasks into artifacts/tasks/
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    block: BlockArgs,
    /// A folder or archive of tasks, instead of the config's task_source
    #[arg(long, value_name = "PATH")]
    source: Option<PathBuf>,
    /// Replace prepared tasks whose source has changed
    #[arg(long)]
    overwrite: bool,
    /// Refuse to go on when any task is invalid
    #[arg(long)]
    strict: bool,
    /// Print what was prepared as JSON
    #[arg(long)]
    json: bool,
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::File(file) => file.into(),
            other => Self::bad_input(other),
        }
    }
}

/// Prints what people should know of a preparation.
pub fn report(prepared: &Prepared) {
    for warning in &prepared.warnings {
        terminal::warning(warning);
    }
    for skipped in &prepared.skipped {
        terminal::error(skipped);
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let block = args.block.open()?;
    let (provider, source, dataset) = task_source(args, &block)?;
    let _lock = block::lock(&block)?;
    let options = PrepareOptions { overwrite: args.overwrite, strict: args.strict };
    let target = block.tasks(&dataset);
    let prepared = source::prepare(provider, &source, &dataset, &target, &options)?;
    report(&prepared);
    if args.json {
        terminal::out_json(&serde_json::json!({
            "dataset": dataset,
            "source": source,
            "path": block.relative(&target),
            "prepared": prepared,
        }));
        return Ok(());
    }
    let (n, copied, changed) = (prepared.tasks.len(), prepared.copied.len(), prepared.changed.len());
    let mut parts = vec![format!("{copied} copied")];
    for (n, what) in [
        (n - copied - changed, "unchanged"),
        (changed, "changed at their source but kept"),
        (prepared.skipped.len(), "invalid"),
        (prepared.missing.len(), "missing"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    let tasks = if n == 1 { "task" } else { "tasks" };
    let path = block.relative(&target).display().to_string();
    terminal::out(format_args!("{dataset}: {n} {tasks} in {path} ({})", parts.join(", ")));
    Ok(())
}

/// The provider, the source and the data set's name.
fn task_source(args: &Args, block: &Block) -> Result<(Provider, PathBuf, String), Failure> {
    if let Some(source) = &args.source {
        let real = source.canonicalize().unwrap_or_else(|_| source.clone());
        let dataset = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok((Provider::Local, source.clone(), dataset));
    }
    let loaded = load_config(&args.block.config_path(block))?;
    let task_source = &loaded.config.runtime_info.input.task_source;
    let source = block.root().join(&task_source.dataset_name);
    Ok((task_source.provider, source, task_source.dataset().to_owned()))
}
