//! The `trajgen` binary: one module per subcommand.

mod block;
mod cmd;
mod exit;
mod run;
mod terminal;

use clap::{CommandFactory, Parser, Subcommand};
use exit::{Code, Failure};
use std::process::ExitCode;

/// Turns verified software-engineering tasks into agent trajectories worth training on.
#[derive(Debug, Parser)]
#[command(name = "trajgen", version, about, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 completed; 1 the run failed; 2 bad usage, config or task input; 3 something needed is \
missing or not reachable; 4 trials errored and --fail-on-error was given; 5 the block is in use; 130, 143 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Prepare(cmd::prepare::Args),
    Validate(cmd::validate::Args),
    Check(cmd::check::Args),
    Convert(cmd::convert::Args),
    Status(cmd::status::Args),
    Archive(cmd::archive::Args),
    Clean(cmd::clean::Args),
    Init(cmd::init::Args),
    Config(cmd::config::Args),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder
    Man {
        /// The folder
        dir: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    // Two TLS providers cannot be told apart by the libraries below; ours is the one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(Code::BadInput as u8) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(&cli.command) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(failure) => {
            terminal::error(&failure.message);
            ExitCode::from(failure.code as u8)
        }
    }
}

fn dispatch(command: &Command) -> Result<i32, Failure> {
    match command {
        Command::Run(args) => runtime()?.block_on(run::run(args)),
        Command::Prepare(args) => cmd::prepare::run(args).map(done),
        Command::Validate(args) => runtime()?.block_on(cmd::validate::run(args)),
        Command::Check(args) => runtime()?.block_on(cmd::check::run(args)),
        Command::Convert(args) => cmd::convert::run(args).map(done),
        Command::Status(args) => cmd::status::run(args).map(done),
        Command::Archive(args) => cmd::archive::run(args).map(done),
        Command::Clean(args) => cmd::clean::run(args).map(done),
        Command::Init(args) => runtime()?.block_on(cmd::init::run(args)),
        Command::Config(args) => cmd::config::run(args).map(done),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "trajgen", &mut script);
            terminal::out(String::from_utf8_lossy(&script).trim_end());
            Ok(0)
        }
        Command::Man { dir } => {
            std::fs::create_dir_all(dir)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
                .map_err(|e| Failure::missing(format!("{}: {e}", dir.display())))?;
            Ok(0)
        }
    }
}

fn done((): ()) -> i32 {
    0
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format!("cannot start: {e}")))
}
