use crate::helper::{start, start_ignoring_signals, start_with};
use std::collections::BTreeMap;
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_rollout::environment::{Exec, ExecStatus};
use trajgen_rollout::guest::Defaults;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn output_comes_in_order_with_the_exit_code() {
    let helper = start().await;
    let line = "echo out; echo err >&2; echo out again; exit 3";
    let result = helper.guest.exec(Exec::shell(line)).await.unwrap();
    assert_eq!(result.status, ExecStatus::Exited(3));
    assert_eq!(result.text(), "out\nerr\nout again\n");
    assert_eq!(result.output_bytes, 18);
    let killed = helper.guest.exec(Exec::shell("kill -TERM $$")).await.unwrap();
    assert_eq!(killed.status, ExecStatus::Signalled(15));
}

#[tokio::test]
async fn environment_and_folder_are_those_asked_for() {
    let defaults = Defaults {
        user: None,
        workdir: Some("/usr".into()),
        env: env(&[("BOTH", "environment"), ("ONE", "1")]),
    };
    let helper = start_with(defaults).await;
    let line = "pwd; echo $BOTH $ONE $HOME $USER; env | grep -c CARGO";
    let exec = Exec { env: env(&[("BOTH", "command")]), ..Exec::shell(line) };
    assert_eq!(helper.guest.exec(exec).await.unwrap().text(), "/usr\ncommand 1 /root root\n0\n");
    let elsewhere = Exec { cwd: Some("/etc".into()), ..Exec::shell("pwd") };
    assert_eq!(helper.guest.exec(elsewhere).await.unwrap().text(), "/etc\n");
    let nowhere = Exec { cwd: Some("/no/such".into()), ..Exec::shell("pwd") };
    let error = helper.guest.exec(nowhere).await.unwrap_err();
    assert_eq!(error.kind, ErrorType::EnvironmentBuildError);
    assert!(error.message.contains("/no/such"), "{error}");
}

#[tokio::test]
async fn commands_run_as_the_user_asked_for() {
    let helper = start().await;
    let line = "id -u; id -g; id -G; echo $HOME $USER";
    let named = helper.guest.exec(Exec::shell(line).user(Some("daemon"))).await.unwrap();
    assert_eq!(named.text(), "1\n1\n1\n/usr/sbin daemon\n");
    let number = helper.guest.exec(Exec::shell(line).user(Some("4242:17"))).await.unwrap();
    assert_eq!(number.text(), "4242\n17\n17\n/ 4242\n");
    let error = helper.guest.exec(Exec::shell(line).user(Some("nobody-here"))).await.unwrap_err();
    assert_eq!(error.kind, ErrorType::EnvironmentBuildError);
    assert!(error.message.contains("nobody-here"), "{error}");
}

#[tokio::test]
async fn a_missing_program_ends_as_under_a_shell() {
    let helper = start().await;
    for (program, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let exec = Exec { argv: vec![program.into()], ..Exec::default() };
        let result = helper.guest.exec(exec).await.unwrap();
        assert_eq!(result.status, ExecStatus::Exited(code));
        assert!(result.text().contains(program), "{}", result.text());
    }
}

#[tokio::test]
async fn stdin_arrives_whole_and_unread_stdin_does_no_harm() {
    let helper = start().await;
    let stdin: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n as u8).to_le_bytes()).collect();
    let exec = Exec { stdin: stdin.clone(), keep_output: Some(4_000_000), ..Exec::shell("cat") };
    assert_eq!(helper.guest.exec(exec).await.unwrap().output, stdin);
    let deaf = Exec { stdin, ..Exec::shell("echo deaf") };
    assert_eq!(helper.guest.exec(deaf).await.unwrap().text(), "deaf\n");
    let nothing = helper.guest.exec(Exec::shell("cat")).await.unwrap();
    assert_eq!(nothing.text(), "");
}

#[tokio::test]
async fn a_flood_is_bounded_and_blocks_nobody() {
    let helper = start().await;
    let log = helper.folder.path().join("flood.log");
    let guest = helper.guest.clone();
    let flood = Exec { log_to: Some(log.clone()), ..Exec::shell("head -c 200000000 /dev/zero") };
    let flood = tokio::spawn(async move { guest.exec(flood).await.unwrap() });
    for _ in 0..20 {
        let beside = helper.guest.exec(Exec::shell("echo beside")).await.unwrap();
        assert_eq!(beside.text(), "beside\n");
    }
    let result = flood.await.unwrap();
    assert_eq!(result.output_bytes, 200_000_000);
    assert!(result.output.len() < 70_000);
    assert!(result.text().contains("bytes of output left out"));
    let logged = std::fs::metadata(&log).unwrap().len();
    assert!((64 * 1024 * 1024..65 * 1024 * 1024).contains(&logged), "{logged}");
    let resident = std::fs::read_to_string(format!("/proc/{}/statm", helper.process.id().unwrap())).unwrap();
    let pages: u64 = resident.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(pages * 4096 < 32 << 20, "{pages} pages");
}

#[tokio::test]
async fn a_slow_reader_does_not_hold_up_others() {
    let helper = start().await;
    // Nobody takes the first command's output: it fills its window and waits.
    let mut stalled = Box::pin(helper.guest.exec(Exec::shell("yes")));
    assert!(futures::poll!(&mut stalled).is_pending());
    let result = helper.guest.exec(Exec::shell("echo free")).await.unwrap();
    assert_eq!(result.text(), "free\n");
}

#[tokio::test]
async fn a_timeout_kills_the_whole_tree() {
    let helper = start().await;
    let line = "(setsid sleep 1001 &) ; nohup sleep 1002 >/dev/null 2>&1 & \
        setsid bash -c 'sleep 1003 & exec sleep 1004' & echo started; sleep 1005";
    let exec = Exec::shell(line).timeout(Some(Duration::from_millis(700)));
    let result = helper.guest.exec(exec).await.unwrap();
    assert_eq!(result.status, ExecStatus::TimedOut);
    assert_eq!(result.text(), "started\n");
    assert_eq!(helper.guest.processes().await.unwrap(), []);
}

#[tokio::test]
async fn what_a_command_leaves_running_goes_on_and_is_not_waited_for() {
    let helper = start().await;
    let line = "(while :; do echo still; sleep 0.01; done) & echo done";
    let result = helper.guest.exec(Exec::shell(line)).await.unwrap();
    assert!(result.text().contains("done\n"));
    let processes = helper.guest.processes().await.unwrap();
    assert!(processes.iter().any(|process| process.command.contains("still")), "{processes:?}");
}

#[tokio::test]
async fn a_dropped_command_is_killed() {
    let helper = start().await;
    let exec = helper.guest.exec(Exec::shell("echo $$; exec sleep 1006"));
    let _ = tokio::time::timeout(Duration::from_millis(300), exec).await.unwrap_err();
    while !helper.guest.processes().await.unwrap().is_empty() {}
}

#[tokio::test]
async fn a_lost_helper_fails_pending_and_later_requests() {
    let mut helper = start().await;
    let guest = helper.guest.clone();
    let pending = tokio::spawn(async move { guest.exec(Exec::shell("sleep 1007")).await });
    while helper.guest.processes().await.unwrap().is_empty() {}
    helper.guest.kill_all().await.unwrap();
    assert_eq!(pending.await.unwrap().unwrap().status, ExecStatus::Signalled(9));

    let guest = helper.guest.clone();
    let pending =
        tokio::spawn(async move { guest.exec(Exec::shell("exec tail -f /dev/null --pid=$PPID")).await });
    while helper.guest.processes().await.unwrap().is_empty() {}
    helper.process.kill().await.unwrap();
    assert_eq!(pending.await.unwrap().unwrap_err().kind, ErrorType::EnvironmentLostError);
    let later = helper.guest.exec(Exec::shell("true")).await.unwrap_err();
    assert_eq!(later.kind, ErrorType::EnvironmentLostError);
    assert_eq!(helper.guest.lost().await.kind, ErrorType::EnvironmentLostError);
}

#[tokio::test]
async fn nothing_inside_inherits_the_connection() {
    let helper = start().await;
    let result =
        helper.guest.exec(Exec::shell("ls /proc/self/fd | wc -l; ls -l /proc/$PPID/fd")).await.unwrap();
    // Three standard streams and the folder that ls reads.
    assert!(result.text().starts_with("4\n"), "{}", result.text());
    let other = Exec::shell("ls /proc/$PPID/fd && echo readable").user(Some("daemon"));
    assert!(!helper.guest.exec(other).await.unwrap().text().contains("readable"));
}

#[tokio::test]
async fn a_peer_that_is_no_helper_is_refused() {
    let (near, far) = tokio::io::duplex(1024);
    let (reader, writer) = tokio::io::split(near);
    let (mut theirs, mut out) = tokio::io::split(far);
    let talk = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut out, b"bash: trajgen-guest: not found\n").await.unwrap();
        tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await
    });
    let error =
        trajgen_rollout::guest::Guest::connect(reader, writer, Defaults::default()).await.err().unwrap();
    assert_eq!(error.kind, ErrorType::EnvironmentLostError);
    talk.abort();
}

#[tokio::test]
async fn what_runs_inside_can_be_interrupted_however_trajgen_was_started() {
    let helper = start_ignoring_signals().await;
    for (name, number) in [("INT", 2), ("QUIT", 3), ("TERM", 15), ("HUP", 1)] {
        let line = format!("sh -c 'kill -{name} $$; echo goes on'; exit $?");
        let result = helper.guest.exec(Exec::shell(line)).await.unwrap();
        assert_eq!(result.status, ExecStatus::Exited(128 + number), "{name}: {}", result.text());
    }
}
