//! Sandboxes of an ordinary user: with ranges of ids that the host grants, and with one id.
//!
//! The user is thrown away: it exists in a mount namespace of the process that plays it, not on the host.

use crate::roles;
use crate::support::{Room, run, run_as, sh, token};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_rollout::environment::{EnvironmentProvider as _, Exec, Network};

const UID: u32 = 64_321;
const RANGE: &str = "trajgentest:3200000000:65536\n";

/// Plays `scene` as an ordinary user, to whom the host grants ranges or not.
fn play(scene: &str, ranges: bool) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let account = format!("trajgentest:x:{UID}:{UID}::/nonexistent:/bin/sh\n");
    write("passwd", &(std::fs::read_to_string("/etc/passwd").unwrap() + &account));
    write("subid", if ranges { RANGE } else { "" });
    std::fs::copy(std::env::current_exe().unwrap(), dir.path().join("program")).unwrap();
    let set_up = format!(
        "set -e; cd {root}; for f in subuid subgid; do [ -e /etc/$f ] || touch /etc/$f; mount --bind subid /etc/$f; done; \
         mount --bind passwd /etc/passwd; mkdir home; chown {UID}:{UID} home; chmod 711 .; export TMPDIR={root}/home; \
         exec setpriv --reuid={UID} --regid={UID} --clear-groups {root}/program \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &set_up, "sh"]);
    roles::prepare(&mut command, "ordinary");
    let done = roles::play(command, &[scene]);
    assert!(done.contains(&format!("played {scene}")), "{done}");
}

/// Where [`play`] leads.
pub async fn ordinary(words: &[String]) {
    assert!(!rustix::process::geteuid().is_root());
    match words[0].as_str() {
        "basics" => basics().await,
        "many users" => many_users().await,
        "one user" => one_user().await,
        "limits" => limits().await,
        "network" => network().await,
        "storage of others" => storage_of_others().await,
        "sweep" => sweep().await,
        other => panic!("there is no scene {other}"),
    }
    roles::say(&format!("played {}", words[0]));
}

#[test]
fn a_task_can_be_built_and_run_with_ranges() {
    play("basics", true);
}

#[test]
fn a_task_can_be_built_and_run_with_one_id() {
    play("basics", false);
}

#[test]
fn users_work_with_ranges() {
    play("many users", true);
}

#[test]
fn users_are_refused_by_name_with_one_id() {
    play("one user", false);
}

#[test]
fn limits_are_watched_with_ranges() {
    play("limits", true);
}

#[test]
fn limits_are_watched_with_one_id() {
    play("limits", false);
}

#[test]
fn the_network_is_closed_with_ranges() {
    play("network", true);
}

#[test]
fn the_network_is_closed_with_one_id() {
    play("network", false);
}

#[test]
fn storage_of_other_users_counts() {
    play("storage of others", true);
}

#[test]
fn leftovers_of_other_users_are_swept() {
    play("sweep", true);
}

async fn basics() {
    let room = Room::with(
        "FROM x\nWORKDIR /app\nCOPY data data\nADD data /etc/added/\nRUN echo built > /app/f && mkdir /opt/made && \
         touch /usr/local/mine 2>/dev/null; id -u > id\n",
    );
    room.file("data/x", "x");
    let sandbox = room.start().await;
    assert_eq!(sandbox.workdir(), "/app");
    assert_eq!(run(&*sandbox, "id -u; cat id f data/x /etc/added/x; pwd").await, "0\n0\nbuilt\nxx/app\n");
    run_as(&*sandbox, Some("root"), "touch /root/x /logs/agent/x /var/x /home/x /tmp/x").await;
    let status = run(&*sandbox, "grep -E '^(CapBnd|NoNewPrivs|Seccomp:)' /proc/self/status").await;
    assert!(status.contains("00000000a80425fb") && status.contains("NoNewPrivs:\t1"), "{status}");
    assert_eq!(
        run(&*sandbox, "echo x > /dev/null; head -c 1 /dev/zero | wc -c; cat /etc/hostname").await,
        "1\nsandbox\n"
    );
    let target = room.dir.path().join("out");
    assert!(sandbox.download("/app", &target, &[]).await.unwrap());
    assert_eq!(std::fs::read_to_string(target.join("f")).unwrap(), "built\n");
    sandbox.upload(&room.context(), "/tests").await.unwrap();
    assert_eq!(run(&*sandbox, "ls /tests").await, "Dockerfile\ndata\n");
    let exec =
        Exec::shell("(setsid sleep 1000 &); echo ready; sleep 1000").timeout(Some(Duration::from_secs(2)));
    assert_eq!(sandbox.exec(exec).await.unwrap().text(), "ready\n");
    assert_eq!(sandbox.processes().await.unwrap(), []);
    room.stop(&*sandbox).await;
    // What only the host's root can change is said with the failure.
    room.file("Dockerfile", "FROM x\nRUN touch /usr/bin/new\n");
    let error = room.build().await.unwrap_err();
    assert!(error.message.contains("line 2") && error.message.contains("use Docker"), "{error}");
    room.all_gone().await;
}

async fn many_users() {
    let room = Room::with(
        "FROM x\nRUN useradd -m -u 1234 app\nWORKDIR /work\nCOPY --chown=app:daemon data .\nUSER app\nRUN id -un > ~/who\n",
    );
    room.file("data", "d");
    assert!(room.provider.capabilities().users && !room.provider.capabilities().hard_limits);
    let sandbox = room.start().await;
    let line =
        "id -un; cat ~/who; stat -c %U:%G data ~/who; mkdir -p -m 700 ~/closed/deep; touch ~/closed/deep/x";
    assert_eq!(run(&*sandbox, line).await, "app\napp\napp:daemon\napp:app\n");
    assert_eq!(run_as(&*sandbox, Some("nobody"), "id -un").await, "nobody\n");
    assert_eq!(
        run_as(&*sandbox, Some("root"), "su app -c 'id -un'; chown nobody /work/data; stat -c %U data").await,
        "app\nnobody\n"
    );
    // Another user's files, which trajgen itself may not remove, go too.
    room.stop(&*sandbox).await;
}

async fn one_user() {
    let room = Room::new();
    assert!(!room.provider.capabilities().users);
    for (line, named) in [("USER app", "USER"), ("COPY --chown=app:app . /x", "--chown")] {
        room.file("Dockerfile", format!("FROM x\n{line}\n"));
        let error = room.build().await.unwrap_err();
        assert_eq!(error.kind, ErrorType::EnvironmentBuildError);
        let message = &error.message;
        assert!(
            message.contains("line 2") && message.contains(named) && message.contains("use Docker"),
            "{message}"
        );
    }
    room.file("Dockerfile", "FROM x\nUSER root\nRUN id -un > /who\nUSER 0:0\n");
    let sandbox = room.start().await;
    assert_eq!(run(&*sandbox, "cat /who").await, "root\n");
    let error = sandbox.exec(sh("true").user(Some("nobody"))).await.unwrap_err();
    assert_eq!(error.kind, ErrorType::EnvironmentBuildError, "{error}");
    assert!(error.message.contains("nobody") && error.message.contains("Docker"), "{error}");
    room.stop(&*sandbox).await;
}

async fn limits() {
    let room = Room::new();
    let mut spec = room.spec();
    (spec.memory_mb, spec.pids, spec.storage_mb) = (Some(100), 60, Some(20));
    let sandbox = room.start_as(&spec).await;
    let ended = sandbox.exec(sh("perl -e '$x = q(x) x (300 << 20); sleep 100'")).await.unwrap();
    assert!(!ended.success());
    let error = sandbox.broken_limit().await.unwrap();
    assert!(error.kind == ErrorType::OutOfMemoryError && error.message.contains("100 MiB"), "{error}");
    room.stop(&*sandbox).await;

    let sandbox = room.start_as(&spec).await;
    let bomb =
        Exec::shell("bomb() { bomb | bomb & }; bomb; sleep 1000").timeout(Some(Duration::from_secs(2)));
    let _ = sandbox.exec(bomb).await;
    sandbox.kill_all().await.unwrap();
    assert_eq!(run(&*sandbox, "echo alive").await, "alive\n");
    room.stop(&*sandbox).await;

    let sandbox = room.start_as(&spec).await;
    let ended = sandbox.exec(sh("head -c 50000000 /dev/zero > /b; sleep 2")).await.unwrap();
    let error = sandbox.broken_limit().await.unwrap();
    assert!(
        error.kind == ErrorType::StorageLimitError && error.message.contains("20 MiB"),
        "{error} {}",
        ended.text()
    );
    room.stop(&*sandbox).await;
}

async fn network() {
    let room = Room::new();
    let port = crate::network::host_service();
    let path = room.dir.path().join("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    crate::network::greet(move || listener.accept().map(|(stream, _)| stream));
    let mut spec = room.spec();
    (spec.network, spec.proxy_socket) = (Network::ModelOnly, Some(path));
    let sandbox = room.start_as(&spec).await;
    let url = sandbox.proxy_url().unwrap();
    let proxy = url.strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
    assert_eq!(run(&*sandbox, &crate::network::ask("127.0.0.1", proxy)).await, "hello\n");
    assert_eq!(run(&*sandbox, &crate::network::ask("127.0.0.1", port)).await, "unreachable\n");
    room.stop(&*sandbox).await;
    (spec.network, spec.verifier_network, spec.proxy_socket) = (Network::Public, Network::Public, None);
    let sandbox = room.start_as(&spec).await;
    assert_eq!(run(&*sandbox, &crate::network::ask("127.0.0.1", port)).await, "hello\n");
    room.stop(&*sandbox).await;
}

async fn storage_of_others() {
    let room = Room::new();
    let mut spec = room.spec();
    // More than memory may hold, so that the folder is watched.
    let total = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total: u64 = total.split_whitespace().nth(1).unwrap().parse().unwrap();
    spec.storage_mb = Some(total / 1024 / 4 + 1);
    let sandbox = room.start_as(&spec).await;
    let line = "mkdir -m 700 /tmp/closed && cd /tmp/closed && fallocate -l $1 big && sleep 1000";
    let mut exec = sh(line).user(Some("nobody"));
    exec.argv.extend(["sh".into(), (total * 1024 / 4 + (2 << 20)).to_string()]);
    let ended = sandbox.exec(exec).await.unwrap();
    let error = sandbox.broken_limit().await;
    assert_eq!(
        error.map(|error| error.kind),
        Some(ErrorType::StorageLimitError),
        "{:?} {}",
        ended.status,
        ended.text()
    );
    room.stop(&*sandbox).await;
}

async fn sweep() {
    let room = Room::new();
    let mark = token("victim");
    let root = room.dir.path().to_str().unwrap();
    let mut victim = roles::start(roles::command("victim"), &[root, &mark, "nobody"]);
    crate::sweep::until_ready(&mut victim);
    victim.kill().unwrap();
    victim.wait().unwrap();
    while !crate::support::on_the_host(&mark).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(room.leftovers().len(), 1);
    assert!(Path::new(root).exists());
    room.provider.sweep().await.unwrap();
    room.all_gone().await;
}
