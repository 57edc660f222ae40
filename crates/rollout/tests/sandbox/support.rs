//! What the sandbox's tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trajgen_rollout::environment::sandbox::{SandboxOptions, SandboxProvider};
use trajgen_rollout::environment::{
    Environment, EnvironmentError, EnvironmentProvider as _, EnvironmentSpec, Exec, Network,
};

/// A block with a cache, a task beside it, and a provider for them.
pub struct Room {
    pub dir: tempfile::TempDir,
    pub provider: SandboxProvider,
}

impl Room {
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// In a new folder of `parent`.
    pub fn below(parent: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("sandbox-test-").tempdir_in(parent).unwrap();
        std::fs::create_dir_all(dir.path().join("task/environment")).unwrap();
        std::fs::create_dir(dir.path().join("block")).unwrap();
        let provider = provider(&dir.path().join("block/cache"));
        Self { provider, dir }
    }

    /// A task with this Dockerfile.
    pub fn with(dockerfile: &str) -> Self {
        let room = Self::new();
        room.file("Dockerfile", dockerfile);
        room
    }

    pub fn context(&self) -> PathBuf {
        self.dir.path().join("task/environment")
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("block/cache")
    }

    /// Writes a file of the task's environment.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.context().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn spec(&self) -> EnvironmentSpec {
        spec(self.context())
    }

    pub fn log(&self) -> PathBuf {
        self.dir.path().join("build.log")
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }

    pub async fn build(&self) -> Result<(), EnvironmentError> {
        self.provider.build(&self.spec(), &self.log()).await.map(drop)
    }

    /// Builds and starts.
    pub async fn start(&self) -> Box<dyn Environment> {
        self.start_as(&self.spec()).await
    }

    pub async fn start_as(&self, spec: &EnvironmentSpec) -> Box<dyn Environment> {
        self.provider.build(spec, &self.log()).await.unwrap();
        self.provider.start(spec).await.unwrap()
    }

    /// Builds, starts, and says what `line` prints.
    pub async fn shows(&self, line: &str) -> String {
        let sandbox = self.start().await;
        let shown = run(&*sandbox, line).await;
        self.stop(&*sandbox).await;
        shown
    }

    /// Stops, and looks for what is left on the host.
    pub async fn stop(&self, sandbox: &dyn Environment) {
        let groups: Vec<_> = self.leftovers().iter().flat_map(|name| groups(name)).collect();
        sandbox.stop().await.unwrap();
        self.all_gone().await;
        for group in groups {
            assert!(!group.exists(), "{}", group.display());
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "{mounts}");
    }

    /// Waits until the scratch folder is empty: an end does not wait for long removals.
    pub async fn all_gone(&self) {
        let began = std::time::Instant::now();
        while !self.leftovers().is_empty() {
            assert!(began.elapsed().as_secs() < 120, "{:?} stay", self.leftovers());
            tokio::task::yield_now().await;
        }
    }

    /// What lies in the scratch folder.
    pub fn leftovers(&self) -> Vec<String> {
        names(&self.cache().join("scratch"))
    }

    /// Images in the cache.
    pub fn images(&self) -> Vec<String> {
        let all = names(&self.cache().join("sandbox"));
        all.into_iter().filter(|name| !name.starts_with("base-")).collect()
    }
}

pub fn provider(cache: &Path) -> SandboxProvider {
    SandboxProvider::new(SandboxOptions { cache: cache.to_owned(), any_image: false }).unwrap()
}

pub fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// The control groups of a sandbox, by its scratch folder's name.
pub fn groups(name: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let trees = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let mut found = Vec::new();
    for tree in trees.filter_map(|line| line.split(' ').nth(4)) {
        find(Path::new(tree), &format!("trajgen-{name}"), 3, &mut found);
    }
    found
}

fn find(folder: &Path, name: &str, depth: u32, found: &mut Vec<PathBuf>) {
    // Groups of other tests come and go.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str() == Some(name) {
            found.push(entry.path());
        } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&entry.path(), name, depth - 1, found);
        }
    }
}

/// Processes of this host whose command line holds `text`.
pub fn on_the_host(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|l| l.contains(text)).collect()
}

/// Something that is nowhere else.
pub fn token(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::new_v4().simple())
}

pub fn spec(context: PathBuf) -> EnvironmentSpec {
    EnvironmentSpec {
        trial: "job/trial".into(),
        context,
        docker_image: None,
        workdir: None,
        env: BTreeMap::new(),
        setup_network: None,
        verifier_network: Network::None,
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
    Exec::shell(line).timeout(Some(Duration::from_secs(300)))
}

/// What `line` prints; it must succeed.
pub async fn run(sandbox: &dyn Environment, line: &str) -> String {
    run_as(sandbox, None, line).await
}

pub async fn run_as(sandbox: &dyn Environment, user: Option<&str>, line: &str) -> String {
    let ended = sandbox.exec(sh(line).user(user)).await.unwrap();
    assert!(ended.success(), "{line}: {:?}: {}", ended.status, ended.text());
    ended.text()
}
