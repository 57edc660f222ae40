//! A helper to talk to: the one this library carries, started as any process of this host.

use std::process::Stdio;
use tokio::process::{Child, Command};
use trajgen_rollout::guest::{Defaults, Guest, binary};

pub struct Helper {
    pub guest: Guest,
    pub process: Child,
    pub folder: tempfile::TempDir,
}

pub async fn start() -> Helper {
    start_with(Defaults::default()).await
}

pub async fn start_with(defaults: Defaults) -> Helper {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trajgen-guest");
    binary::install(&path).unwrap();
    start_by(Command::new(&path), folder, defaults).await
}

/// A helper whose ancestors ignore signals, as `nohup` and background jobs of scripts do.
pub async fn start_ignoring_signals() -> Helper {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trajgen-guest");
    binary::install(&path).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT QUIT TERM; exec \"$0\""]).arg(&path);
    start_by(command, folder, Defaults::default()).await
}

async fn start_by(mut command: Command, folder: tempfile::TempDir, defaults: Defaults) -> Helper {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let guest = Guest::connect(stdout, stdin, defaults).await.unwrap();
    Helper { guest, process, folder }
}
