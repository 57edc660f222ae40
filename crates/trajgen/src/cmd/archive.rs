//! `trajgen archive list|show`: reads archived runs.

use crate::block::BlockArgs;
use crate::exit::Failure;
use crate::terminal;
use trajgen_contract::archive::{self, ArchiveDir};
use trajgen_contract::files::FileError;

/// Read archived runs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List all runs
    List {
        #[command(flatten)]
        block: BlockArgs,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one run's report
    Show {
        /// Its id, as `run_001` or `1`
        run: String,
        #[command(flatten)]
        block: BlockArgs,
        /// Print its metadata as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::List { block, json } => list(block, *json),
        What::Show { run, block, json } => show(run, block, *json),
    }
}

fn list(block: &BlockArgs, json: bool) -> Result<(), Failure> {
    let runs = archive::read_index(&block.open()?)?;
    if json {
        terminal::out_json(&runs);
    } else if runs.is_empty() {
        terminal::out("no runs yet");
    }
    if !json {
        for run in runs {
            terminal::out(format_args!(
                "{}  {}  {:<11}  {}",
                run.id,
                run.started_at,
                run.status.to_string(),
                run.notes
            ));
        }
    }
    Ok(())
}

fn show(run: &str, block: &BlockArgs, json: bool) -> Result<(), Failure> {
    let block = block.open()?;
    let id = run.parse::<u32>().map_or_else(|_| run.to_owned(), |n| format!("run_{n:03}"));
    let runs = archive::read_index(&block)?;
    if !runs.iter().any(|r| r.id == id) {
        let known: Vec<&str> = runs.iter().map(|r| r.id.as_str()).collect();
        return Err(Failure::bad_input(format!(
            "no run '{run}' in the index; there are: {}",
            known.join(", ")
        )));
    }
    let archive = ArchiveDir::of(&block, &id);
    if json {
        terminal::out_json(&archive::read_metadata(&archive)?);
    } else {
        let path = archive.monitor();
        let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
        terminal::out(text.trim_end());
    }
    Ok(())
}
