use super::*;
use crate::environment::{Capabilities, EnvironmentError, Network};
use crate::trial::testing;
use std::path::Path;
use tokio::sync::Notify;

/// Builds only when it is told to, and starts nothing.
#[derive(Default)]
struct Slow {
    building: Notify,
    go_on: Notify,
}

#[async_trait]
impl EnvironmentProvider for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }
    fn capabilities(&self) -> Capabilities {
        let networks = &[Network::None];
        Capabilities { mounts: false, networks, hard_limits: false, users: false, images: false }
    }
    fn refuse(&self, _spec: &EnvironmentSpec) -> Option<String> {
        None
    }
    async fn build(&self, _spec: &EnvironmentSpec, _log: &Path) -> Result<Duration, EnvironmentError> {
        self.building.notify_one();
        self.go_on.notified().await;
        Ok(Duration::ZERO)
    }
    async fn start(&self, _spec: &EnvironmentSpec) -> Result<Box<dyn Environment>, EnvironmentError> {
        Err(EnvironmentError::new(ErrorType::HealthcheckError, "it got as far as this"))
    }
    async fn sweep(&self) -> Result<usize, EnvironmentError> {
        Ok(0)
    }
}

fn placement(provider: Arc<Slow>, folder: &Path) -> LocalPlacement {
    let (events, _stream) = EventSink::new();
    LocalPlacement(Arc::new(Tools {
        provider,
        proxy: None,
        events,
        builds: Semaphore::new(1),
        verifiers: Semaphore::new(1),
        scratch: folder.to_owned(),
    }))
}

fn task(spec: &TrialSpec) {
    for (path, text) in [
        ("task.toml", "version = \"1.0\"\n[environment]\nbuild_timeout_sec = 0.000001\n"),
        ("instruction.md", "Do nothing.\n"),
        ("environment/Dockerfile", "FROM debian:12\n"),
        ("tests/test.sh", "true\n"),
    ] {
        let path = spec.task_dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn waiting_for_the_builds_of_others_is_no_time_of_a_trial() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Arc::new(Slow::default());
    let placement = placement(slow.clone(), dir.path());
    let specs = [testing::spec(dir.path(), "a1"), testing::spec(dir.path(), "b1")];
    specs.iter().for_each(task);
    let trial = |spec| placement.submit(spec, 1, CancellationToken::new());
    let others = async {
        for _ in &specs {
            slow.building.notified().await;
            slow.go_on.notify_one();
        }
    };
    let (first, second, ()) = tokio::join!(trial(&specs[0]), trial(&specs[1]), others);
    for end in [first, second] {
        let error = end.error.unwrap();
        assert_eq!((error.kind, &*error.message), (ErrorType::HealthcheckError, "it got as far as this"));
    }
}

#[tokio::test]
async fn a_trial_without_a_task_has_its_config_and_its_story() {
    let dir = tempfile::tempdir().unwrap();
    let spec = testing::spec(dir.path(), "a1");
    let end = placement(Arc::default(), dir.path()).submit(&spec, 1, CancellationToken::new()).await;
    assert_eq!(end.error.unwrap().kind, ErrorType::EnvironmentBuildError);
    let read = |name: &str| std::fs::read_to_string(spec.trial_dir.join(name)).unwrap();
    assert!(read("config.json").contains("\"trial_name\": \"a1__1\""), "{}", read("config.json"));
    assert!(read("trial.log").contains(" -- preparation\n"), "{}", read("trial.log"));
}
