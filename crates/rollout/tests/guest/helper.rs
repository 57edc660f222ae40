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
    let mut process =
        Command::new(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let guest = Guest::connect(stdout, stdin, defaults).await.unwrap();
    Helper { guest, process, folder }
}
