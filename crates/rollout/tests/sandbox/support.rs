//! What the sandbox's tests share.

#![expect(clippy::unwrap_used, reason = "preparations of tests: what fails fails the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trajgen_rollout::environment::sandbox::{SandboxOptions, SandboxProvider};
use trajgen_rollout::environment::{EnvironmentSpec, Exec, Network};

/// A block's cache and an empty task, and a provider for them.
pub struct Room {
    pub dir: tempfile::TempDir,
    pub provider: SandboxProvider,
}

impl Room {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("environment")).unwrap();
        let options = SandboxOptions { cache: dir.path().join("cache"), any_image: false };
        Self { provider: SandboxProvider::new(options).unwrap(), dir }
    }

    pub fn context(&self) -> PathBuf {
        self.dir.path().join("environment")
    }

    /// What lies in the scratch folder.
    pub fn leftovers(&self) -> Vec<String> {
        names(&self.dir.path().join("cache/scratch"))
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

pub fn spec(context: PathBuf) -> EnvironmentSpec {
    EnvironmentSpec {
        trial: "job/trial".into(),
        context,
        docker_image: None,
        workdir: None,
        env: BTreeMap::new(),
        network: Network::None,
        cpus: None,
        memory_mb: None,
        storage_mb: None,
        pids: 512,
        proxy_socket: None,
        build_timeout: Duration::from_secs(600),
    }
}

pub fn sh(line: &str) -> Exec {
    Exec::shell(line).timeout(Some(Duration::from_secs(120)))
}
