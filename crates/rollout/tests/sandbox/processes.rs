//! Ending: a command's whole tree, and everything.

use crate::support::{Room, on_the_host, run, sh, token};
use std::time::Duration;
use trajgen_rollout::environment::{Environment, Exec, ExecStatus, TerminalSpec};

/// Starts `line` with a limit; it prints `ready` when all it is to start has been started.
async fn times_out(sandbox: &dyn Environment, line: &str, user: Option<&str>) {
    let exec = Exec::shell(line).timeout(Some(Duration::from_secs(2))).user(user);
    let ended = sandbox.exec(exec).await.unwrap();
    assert_eq!(ended.status, ExecStatus::TimedOut);
    assert_eq!(ended.text(), "ready\n");
}

/// A daemon as hard to find as can be: ignores signals, in a session of its own, its parents ended, its environment
/// cleared.
fn daemon(mark: &str) -> String {
    format!(
        "(env -i setsid bash -c \"(trap '' TERM HUP INT; exec -a {mark} sleep 1000) & exit\" >/dev/null 2>&1 </dev/null &) ; \
         until cat /proc/[0-9]*/cmdline 2>/dev/null | grep -qa {mark}; do :; done; echo ready; exec sleep 1000"
    )
}

#[tokio::test]
async fn a_timeout_ends_daemons_too() {
    let room = Room::new();
    let sandbox = room.start().await;
    // What another command has left stays.
    run(&*sandbox, "setsid sleep 1001 >/dev/null 2>&1 &").await;
    for user in [None, Some("daemon")] {
        let mark = token("daemon");
        times_out(&*sandbox, &daemon(&mark), user).await;
        assert_eq!(on_the_host(&mark), Vec::<String>::new(), "{user:?}");
    }
    let left: Vec<_> = sandbox.processes().await.unwrap().into_iter().map(|p| p.command).collect();
    assert_eq!(left, ["sleep 1001"]);
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn a_timeout_ends_daemons_beside_a_terminal() {
    let room = Room::new();
    let sandbox = room.start().await;
    let spec = TerminalSpec {
        argv: vec!["bash".into(), "--norc".into()],
        user: None,
        cwd: None,
        env: [("TERM".to_owned(), "xterm".to_owned())].into(),
        size: (80, 24),
    };
    let terminal = sandbox.terminal(spec).await.unwrap();
    terminal.send_keys("setsid -f sleep 1002\n").await.unwrap();
    while !sandbox.processes().await.unwrap().iter().any(|p| p.command == "sleep 1002") {}
    let mark = token("daemon");
    times_out(&*sandbox, &daemon(&mark), None).await;
    let mut left: Vec<_> = sandbox.processes().await.unwrap().into_iter().map(|p| p.command).collect();
    left.sort();
    assert_eq!(left, ["bash --norc", "sleep 1002"]);
    assert!(terminal.is_alive().await.unwrap());
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn what_a_command_leaves_goes_on() {
    let room = Room::new();
    let sandbox = room.start().await;
    let ended = sandbox.exec(sh("(setsid sleep 1003 &); kill -INT $$")).await.unwrap();
    assert_eq!(ended.status, ExecStatus::Signalled(2));
    while !sandbox.processes().await.unwrap().iter().any(|p| p.command == "sleep 1003") {}
    let parent = "for s in /proc/[0-9]*/stat; do grep -q '(sleep)' $s && cut -d' ' -f4 $s; done; true";
    assert_eq!(run(&*sandbox, parent).await, "1\n");
    sandbox.kill_all().await.unwrap();
    assert_eq!(sandbox.processes().await.unwrap(), []);
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn nothing_outlives_a_stop() {
    let room = Room::new();
    let sandbox = room.start().await;
    let mark = token("left");
    let pending = sandbox.exec(Exec::shell(daemon(&mark)));
    let mut pending = std::pin::pin!(pending);
    while on_the_host(&mark).iter().all(|line| line.contains("bash")) {
        tokio::select! {
            _ = &mut pending => panic!("it ended"),
            () = tokio::task::yield_now() => {}
        }
    }
    room.stop(&*sandbox).await;
    assert!(pending.await.is_err());
    assert_eq!(on_the_host(&mark), Vec::<String>::new());
    // Once stopped, nothing can be had, and stopping again is no error.
    assert!(sandbox.exec(sh("true")).await.is_err());
    sandbox.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_sandbox_is_removed() {
    let room = Room::new();
    let mark = token("dropped");
    let sandbox = room.start().await;
    run(&*sandbox, &format!("exec -a {mark} sleep 1000 >/dev/null 2>&1 &")).await;
    drop(sandbox);
    while !on_the_host(&mark).is_empty() || !room.leftovers().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_first_process_cannot_be_ended_from_inside() {
    let room = Room::new();
    let sandbox = room.start().await;
    run(&*sandbox, "kill -9 1; kill -TERM 1; kill -STOP 1; kill -SEGV 1; true").await;
    assert_eq!(run(&*sandbox, "echo still").await, "still\n");
    // Not even looked into by root.
    let look = "readlink /proc/1/fd/* /proc/1/cwd /proc/1/exe; ls /proc/1/cwd/ /proc/1/root/ 2>/dev/null; cat /proc/1/environ /proc/1/mem 2>&1 | \
        grep -vE 'Permission|Operation'; true";
    assert_eq!(run(&*sandbox, look).await, "");
    room.stop(&*sandbox).await;
}
