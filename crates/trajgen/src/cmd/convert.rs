//! `trajgen convert`: a job's trajectories into training data.

use crate::block::BlockArgs;
use crate::exit::Failure;
use crate::terminal;
use indicatif::ProgressBar;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trajgen_contract::config::{self, Config, Integrity, Severity, SftConversion};
use trajgen_contract::layout::{Block, JobDir, SftDir};
use trajgen_sft::{
    ConvertError, ConvertOptions, ConvertReport, ExcludeList, InstanceStatus, ReasoningCheck, Scaffold,
    ScaffoldChoice,
};

/// Turn a job's trajectories into training data
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    block: BlockArgs,
    /// The job, by its name in the jobs folder [default: latest]
    #[arg(long, value_name = "NAME|latest", conflicts_with = "job_dir")]
    job: Option<String>,
    /// The job, by its folder; Harbor's own do as well
    #[arg(long, value_name = "PATH")]
    job_dir: Option<PathBuf>,
    /// Whose trajectories: auto, claude_code, open_code, openhands_sdk, terminus2 or generic
    #[arg(long)]
    scaffold: Option<ScaffoldChoice>,
    /// Where the data goes, in a folder named as the job
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// The most trials to convert
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_instances: Option<u64>,
    /// A file with one owner/repo a line that gives no data; "" for none [default: public evaluation sets]
    #[arg(long, value_name = "FILE")]
    exclude_repos_file: Option<String>,
    /// Which trials: resolved, unresolved or all
    #[arg(long)]
    instance_status: Option<InstanceStatus>,
    /// Every trial with at least this reward, instead
    #[arg(long, value_name = "X")]
    min_reward: Option<f64>,
    /// Which reward counts, when there are several and none is named `reward`
    #[arg(long, value_name = "KEY")]
    reward_key: Option<String>,
    /// A tokenizer's folder or Hugging Face id, for its chat template and token counts
    #[arg(long, value_name = "DIR|HF-ID")]
    tokenizer: Option<String>,
    /// How much reasoning a record that has some must have
    #[arg(long, value_name = "adaptive|strict", value_parser = ["adaptive", "strict"], default_value = "adaptive")]
    reasoning_check: String,
    /// The least share of assistant messages with reasoning, for `adaptive`
    #[arg(long, value_name = "RATIO", default_value_t = 0.2)]
    reasoning_ratio: f64,
    /// Do nothing when the data stands and was made from the same trials in the same way
    #[arg(long)]
    skip_unchanged: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::File(file) => file.into(),
            ConvertError::Template { .. } => Self::failed(error),
            other => Self::bad_input(other),
        }
    }
}

/// The conversion that a block's config asks for. A path in the config is seen from the block.
pub fn options_of(block: &Block, config: &Config, job_dir: &Path, out_dir: &Path) -> ConvertOptions {
    let input = &config.runtime_info.input;
    let mut options = ConvertOptions {
        configured_agent: input.agent.first().map(|agent| agent.name.clone()),
        exclude_findings: input.harbor_job.integrity == Integrity::Exclude,
        ..conversion_of(&input.sft_conversion, job_dir, out_dir)
    };
    if let ExcludeList::File(path) = &options.exclude {
        options.exclude = ExcludeList::File(block.root().join(path));
    }
    if let Some(tokenizer) = &mut options.tokenizer {
        // Else it is the name of one in the cache.
        let folder = block.root().join(&tokenizer);
        if folder.is_dir() {
            *tokenizer = folder.to_string_lossy().into_owned();
        }
    }
    options
}

fn conversion_of(c: &SftConversion, job_dir: &Path, out_dir: &Path) -> ConvertOptions {
    let exclude = c.exclude_repos_file.as_ref().map(|path| path.to_string_lossy());
    ConvertOptions {
        scaffold: match c.scaffold {
            config::Scaffold::Auto => ScaffoldChoice::Auto,
            config::Scaffold::ClaudeCode => ScaffoldChoice::Is(Scaffold::ClaudeCode),
            config::Scaffold::OpenCode => ScaffoldChoice::Is(Scaffold::OpenCode),
            config::Scaffold::OpenHandsSdk => ScaffoldChoice::Is(Scaffold::OpenhandsSdk),
            config::Scaffold::Terminus2 => ScaffoldChoice::Is(Scaffold::Terminus2),
            config::Scaffold::Generic => ScaffoldChoice::Is(Scaffold::Generic),
        },
        max_instances: c.max_instances.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        exclude: ExcludeList::from_setting(exclude.as_deref()),
        instance_status: match c.instance_status {
            config::InstanceStatus::Resolved => InstanceStatus::Resolved,
            config::InstanceStatus::Unresolved => InstanceStatus::Unresolved,
            config::InstanceStatus::All => InstanceStatus::All,
        },
        min_reward: c.min_reward,
        tokenizer: c.tokenizer.clone(),
        ..ConvertOptions::new(job_dir, out_dir)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let block = args.block.open()?;
    let config = config(args, &block)?;
    let jobs_dir =
        config.as_ref().map_or(Path::new("artifacts/jobs"), |c| &c.runtime_info.input.harbor_job.jobs_dir);
    let job = job(args, &block.root().join(jobs_dir))?;
    let mut options = options(args, &block, config.as_ref(), &job);
    let bar = (terminal::is_live() && !args.json).then(|| ProgressBar::new(0));
    if let Some(bar) = bar.clone() {
        options.progress = Some(Arc::new(move |progress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
        }));
    }
    let converted = trajgen_sft::convert(&options);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let report = converted?;
    if args.json {
        terminal::out_json(&report);
    } else {
        print(&job, &report);
    }
    Ok(())
}

/// The block's config; none when it has none. A conversion calls no model, so it needs no keys: variables that
/// are not set are empty.
fn config(args: &Args, block: &Block) -> Result<Option<Config>, Failure> {
    let path = args.block.config_path(block);
    if args.block.config.is_none() && !path.exists() {
        return Ok(None);
    }
    let loaded = config::load_without_secrets(&path, |name| std::env::var(name).ok());
    for problem in loaded.problems.iter().filter(|p| p.severity == Severity::Error) {
        terminal::error(problem);
    }
    match loaded.config {
        Some(config) => Ok(Some(config)),
        None => Err(Failure::bad_input(format!("{} cannot be used; nothing was converted", path.display()))),
    }
}

/// The job's folder.
fn job(args: &Args, jobs_dir: &Path) -> Result<JobDir, Failure> {
    if let Some(path) = &args.job_dir {
        // By its real path, so that `.` has a name.
        let real = path.canonicalize().ok().filter(|p| p.is_dir());
        return real.map(JobDir::new).ok_or_else(|| {
            Failure::bad_input(format!("--job-dir {}: expected an existing folder", path.display()))
        });
    }
    match args.job.as_deref() {
        None | Some("latest") => latest(jobs_dir).ok_or_else(|| {
            Failure::bad_input(format!("there is no job with a result.json in {}", jobs_dir.display()))
        }),
        Some(name) => {
            let plain = !name.is_empty() && !name.contains('/') && name != ".." && name != ".";
            let dir = JobDir::new(jobs_dir.join(name));
            if plain && dir.path().is_dir() {
                Ok(dir)
            } else {
                Err(Failure::bad_input(format!(
                    "--job {name}: there is no such job in {}",
                    jobs_dir.display()
                )))
            }
        }
    }
}

/// The job that started last.
fn latest(jobs_dir: &Path) -> Option<JobDir> {
    let started = |dir: &JobDir| -> Option<String> {
        let result: Value = serde_json::from_slice(&std::fs::read(dir.result()).ok()?).ok()?;
        Some(result["started_at"].as_str().unwrap_or_default().to_owned())
    };
    let jobs = std::fs::read_dir(jobs_dir).ok()?.flatten().map(|entry| JobDir::new(entry.path()));
    jobs.filter_map(|dir| started(&dir).map(|at| (at, dir.name(), dir)))
        .max_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)))
        .map(|(_, _, dir)| dir)
}

/// What to do: the config's conversion, with what the flags say instead.
fn options(args: &Args, block: &Block, config: Option<&Config>, job: &JobDir) -> ConvertOptions {
    let defaults = SftConversion::default();
    let conversion = config.map_or(&defaults, |c| &c.runtime_info.input.sft_conversion);
    let out_dir = args.out_dir.clone().unwrap_or_else(|| block.root().join(&conversion.out_dir));
    let out = SftDir::new(out_dir.join(job.name()));
    let mut options = match config {
        Some(config) => options_of(block, config, job.path(), out.path()),
        None => conversion_of(&defaults, job.path(), out.path()),
    };
    // A path on the command line is seen from where the command runs.
    if let Some(list) = &args.exclude_repos_file {
        options.exclude = ExcludeList::from_setting(Some(list));
    }
    if let Some(status) = args.instance_status {
        options.instance_status = status;
        options.min_reward = None;
    }
    options.scaffold = args.scaffold.unwrap_or(options.scaffold);
    options.max_instances =
        args.max_instances.map(|n| usize::try_from(n).unwrap_or(usize::MAX)).or(options.max_instances);
    options.min_reward = args.min_reward.or(options.min_reward);
    options.tokenizer = args.tokenizer.clone().or(options.tokenizer);
    options.reward_key.clone_from(&args.reward_key);
    options.skip_unchanged = args.skip_unchanged;
    options.reasoning = match args.reasoning_check.as_str() {
        "strict" => ReasoningCheck::Strict,
        _ => ReasoningCheck::Adaptive { ratio: args.reasoning_ratio },
    };
    options
}

fn print(job: &JobDir, report: &ConvertReport) {
    if report.skipped_unchanged {
        terminal::out(format_args!("{}: unchanged, {} records", job.name(), report.lf_records));
    } else {
        let score = report.mean_score.map_or(String::new(), |s| format!(", mean score {s:.4}"));
        terminal::out(format_args!(
            "{}: {} of {} trials converted into {} records{score}",
            job.name(),
            report.converted,
            report.selected,
            report.im_records,
        ));
    }
    for (reason, n) in &report.dropped {
        terminal::out(format_args!("  left out: {n} {reason}"));
    }
    terminal::out(report.lf_path.display());
}
