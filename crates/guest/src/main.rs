//! The guest helper: serves its client over standard input and output.

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use trajgen_guest::sandbox;

fn main() -> ExitCode {
    trajgen_guest::use_default_signals();
    let task = std::env::args().nth(1).unwrap_or_default();
    if task == sandbox::PORTER {
        return sandbox::porter();
    }
    let served = own_streams().and_then(|(input, output)| match task.as_str() {
        sandbox::PROCESS_ONE => sandbox::process_one(input, output),
        _ => trajgen_guest::serve(input, output),
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Standard error is all that is left to say it on.
            let _ = writeln!(std::io::stderr(), "trajgen-guest: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes standard input and output for the connection and leaves `/dev/null` in their place, so that
/// nothing started from here can reach it.
fn own_streams() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok((input, output))
}
