//! `trajgen config show|schema`: what the config says, and what it may say.

use crate::block::BlockArgs;
use crate::exit::Failure;
use crate::terminal;
use trajgen_contract::config::{self, Severity};

/// Show the config and what it may hold
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the config as it is read: references replaced, defaults filled in, credentials left out
    Show(ShowArgs),
    /// Print the JSON Schema of config.yaml, for editors
    Schema,
}

/// What to show.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    #[command(flatten)]
    block: BlockArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// As [`show`].
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Show(args) => show(args),
        What::Schema => {
            schema();
            Ok(())
        }
    }
}

/// Prints the resolved config on standard output and everything wrong with it on standard error.
///
/// # Errors
/// When the block is no directory, or the config cannot be used.
pub fn show(args: &ShowArgs) -> Result<(), Failure> {
    let path = args.block.config_path(&args.block.open()?);
    let loaded = config::load(&path, |name| std::env::var(name).ok());
    for problem in &loaded.problems {
        match problem.severity {
            Severity::Warning => terminal::warning(problem),
            Severity::Error => terminal::error(problem),
        }
    }
    let Some(config) = loaded.config else {
        return Err(Failure::bad_input(format!("{} cannot be used; see above", path.display())));
    };
    if args.json {
        terminal::out_json(&config);
    } else {
        terminal::out(config::redacted(&config).map_err(Failure::failed)?.trim_end());
    }
    Ok(())
}

/// Prints the JSON Schema of config.yaml.
pub fn schema() {
    terminal::out_json(&config::schema());
}
