//! The sandbox from outside: what is seen, what can be done, what is left.

mod support;

use support::{Room, spec};
use trajgen_rollout::environment::{EnvironmentProvider as _, ExecStatus};

#[tokio::test]
async fn a_command_runs_on_the_hosts_userland() {
    let room = Room::new();
    let sandbox = room.provider.start(&spec(room.context())).await.unwrap();
    let ended = sandbox.exec(support::sh("id -u; pwd; bash --version | head -1; ls /")).await.unwrap();
    assert_eq!(ended.status, ExecStatus::Exited(0), "{}", ended.text());
    let text = ended.text();
    assert!(text.starts_with("0\n/\nGNU bash"), "{text}");
    assert!(!text.lines().any(|line| line == "work"), "{text}");
    sandbox.stop().await.unwrap();
    assert_eq!(room.leftovers(), Vec::<String>::new());
}
