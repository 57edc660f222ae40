//! `trajgen run`: prepare → check → run → convert → archive.

mod closing;
mod dead;
mod drive;
mod forecast;
mod live;
mod monitor;
mod session;
mod settle;
mod setup;
mod signals;

pub use dead::archive_dead_runs;
pub use drive::{check_answers, check_disk, policies, refusal};
pub use monitor::JobFigures;
pub use setup::{Found, Work, check_host, config_at_hand, load_config, provider_of, upstream_of};

use crate::block::{self, BlockArgs, EnvironmentArgs};
use crate::exit::{Code, Failure};
use crate::terminal;
use session::Session;
use std::path::Path;
use trajgen_contract::config::Config;
use trajgen_contract::layout::Block;
use trajgen_contract::ledger::Ledger;
use trajgen_rollout::job::Rerun;

/// Run the whole pipeline: prepare, check, run, convert, archive
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub block: BlockArgs,
    #[command(flatten)]
    pub environment: EnvironmentArgs,
    /// Go on with an interrupted job (the latest, or this one); finished trials are not repeated
    #[arg(long, value_name = "JOB", num_args = 0..=1, default_missing_value = "")]
    pub resume: Option<String>,
    /// Run consumed tasks again: all, failed, or task ids
    #[arg(long, value_name = "all|failed|ID", num_args = 1.., conflicts_with = "resume")]
    pub rerun: Vec<String>,
    /// Replace prepared tasks whose source has changed
    #[arg(long)]
    pub overwrite: bool,
    /// An invalid task ends the run before it starts
    #[arg(long)]
    pub strict: bool,
    /// Print what would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Exit with 4 when a trial ended in an error
    #[arg(long)]
    pub fail_on_error: bool,
    /// Print the closing report as JSON
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// A run of `block` with no flags.
    pub fn of(block: BlockArgs) -> Self {
        Self {
            block,
            environment: EnvironmentArgs { any_image: false },
            resume: None,
            rerun: Vec::new(),
            overwrite: false,
            strict: false,
            dry_run: false,
            fail_on_error: false,
            json: false,
        }
    }

    /// A dry run of `block`.
    pub fn dry(block: BlockArgs, environment: EnvironmentArgs) -> Self {
        Self { environment, dry_run: true, ..Self::of(block) }
    }

    fn rerun(&self) -> Rerun {
        match self.rerun.as_slice() {
            [] => Rerun::No,
            [one] if one == "all" => Rerun::All,
            [one] if one == "failed" => Rerun::Failed,
            ids => Rerun::Ids(ids.to_vec()),
        }
    }
}

/// Runs the command; gives the exit code of a run that got as far as having one.
pub async fn run(args: &Args) -> Result<i32, Failure> {
    run_in_block(args).await.map_err(|failure| {
        // Whatever could not be written, a full disk is what there is to know.
        let full = args.block.open().ok().and_then(|block| drive::full_disk(&block));
        match full {
            Some(full) if failure.code == Code::Missing => {
                Failure::missing(format!("{}\n{full}", failure.message))
            }
            _ => failure,
        }
    })
}

async fn run_in_block(args: &Args) -> Result<i32, Failure> {
    let block = args.block.open()?;
    let config_path = args.block.config_path(&block);
    let loaded = load_config(&config_path)?;
    setup::check_host(&loaded.config)?;
    // A dry run leaves nothing, not even the lock's file in a block that nothing has run in.
    let _lock = if args.dry_run && !block.artifacts().exists() { None } else { Some(block::lock(&block)?) };
    let jobs_dir = block.root().join(&loaded.config.runtime_info.input.harbor_job.jobs_dir);
    let mut ledger = Ledger::load(&block)?;
    for warning in ledger.warnings() {
        terminal::warning(warning);
    }
    if !args.dry_run {
        bury_dead_runs(args, &block, &config_path, &loaded.config, &jobs_dir).await?;
        settle::settle(&block, &jobs_dir, &mut ledger)?;
        ledger.fold()?;
    }

    let work = match Work::find(args, &block, &loaded, &jobs_dir, &ledger)? {
        Found::Work(work) => work,
        Found::Nothing(nothing) => {
            nothing.print(args.json);
            return Ok(0);
        }
    };
    // Whether it answers is checked by the run; what can never work is no run at all.
    if work.calls_model() {
        let upstream = upstream_of(&block, &loaded.config, work.model())?;
        check_answers(&work, &*upstream)?;
    }
    let forecast = forecast::forecast(&work, &loaded.config);
    if args.dry_run {
        work.print(forecast.as_ref(), args.json);
        return Ok(0);
    }
    let signals = signals::Signals::listen();
    let mut session = Session::begin(&block, &config_path, &loaded.config)?;
    session.job(&work.dir.name(), work.plan.trials.len());
    for note in &work.notes {
        session.log.say(note);
    }
    terminal::note(format_args!("{} runs job {} ({} trials)", session.id(), work.dir.name(), work.n_open()));
    if let Some(forecast) = &forecast {
        terminal::note(forecast);
        session.log.say(forecast);
    }
    let outcome = drive::drive(&mut session, &work, &loaded, &block, &mut ledger, &signals).await;
    let folded = ledger.fold().map_err(Failure::from);
    let (exit_code, problem) = match outcome.and_then(|done| folded.map(|()| done)) {
        Ok(done) if signals.code().is_none() && args.fail_on_error && done.n_errors > 0 => {
            (Code::TrialErrors as i32, Some(format!("{} trials ended in errors", done.n_errors)))
        }
        Ok(_) => match signals.code() {
            Some(code) => (code, Some("interrupted by a signal".to_owned())),
            None => (0, None),
        },
        Err(failure) => (signals.code().unwrap_or(failure.code as i32), Some(failure.message)),
    };
    let archive = session.end(&jobs_dir, exit_code, problem.as_deref())?;
    closing::print(&block, &work, &archive, exit_code, problem.as_deref(), args.json);
    Ok(exit_code)
}

/// Archives runs that died, and removes what they left running.
async fn bury_dead_runs(
    args: &Args,
    block: &Block,
    config_path: &Path,
    config: &Config,
    jobs_dir: &Path,
) -> Result<(), Failure> {
    let dead = dead::archive_dead_runs(block, config_path, config, jobs_dir)?;
    for (id, status) in &dead {
        terminal::note(format_args!("{id} had died; it is archived as {status}"));
    }
    if !dead.is_empty()
        && let Ok(provider) = provider_of(block, &args.environment)
        && let Err(e) = provider.sweep().await
    {
        terminal::warning(format_args!("what dead runs left could not be removed: {e}"));
    }
    Ok(())
}
