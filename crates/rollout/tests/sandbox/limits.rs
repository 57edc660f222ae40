//! Limits: what breaks them ends, is named, and harms nobody else.

use crate::support::{Room, run, sh};
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_rollout::environment::{Exec, ExecStatus};

#[tokio::test]
async fn memory_that_runs_out_is_named() {
    let room = Room::new();
    let mut spec = room.spec();
    spec.memory_mb = Some(64);
    let sandbox = room.start_as(&spec).await;
    run(&*sandbox, "true").await;
    assert!(sandbox.broken_limit().await.is_none());
    let ended = sandbox.exec(sh("perl -e '$x = q(x) x (200 << 20); print length $x'")).await.unwrap();
    assert!(!ended.success(), "{}", ended.text());
    let error = sandbox.broken_limit().await.unwrap();
    assert_eq!(error.kind, ErrorType::OutOfMemoryError);
    assert!(error.message.contains("64 MiB") && error.message.contains("memory_mb"), "{error}");
    // The rest goes on.
    run(&*sandbox, "true").await;
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn many_small_processes_do_not_take_the_helper_down() {
    let room = Room::new();
    let mut spec = room.spec();
    (spec.memory_mb, spec.pids) = (Some(48), 400);
    let sandbox = room.start_as(&spec).await;
    let line = "for n in {1..300}; do perl -e '$x = q(x) x (1 << 18); sleep 1000' & done; \
        until grep -qv '^oom_kill 0' /dev/null; do sleep 0.2; done";
    let exec = Exec::shell(line).timeout(Some(Duration::from_secs(5)));
    // Whatever becomes of the command.
    let _ = sandbox.exec(exec).await;
    sandbox.kill_all().await.unwrap();
    run(&*sandbox, "true").await;
    assert_eq!(sandbox.broken_limit().await.unwrap().kind, ErrorType::OutOfMemoryError);
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn a_fork_bomb_ends() {
    let room = Room::new();
    let mut spec = room.spec();
    spec.pids = 64;
    let sandbox = room.start_as(&spec).await;
    let bomb =
        Exec::shell("bomb() { bomb | bomb & }; bomb; sleep 1000").timeout(Some(Duration::from_secs(3)));
    let ended = sandbox.exec(bomb).await.unwrap();
    assert_ne!(ended.status, ExecStatus::Exited(0));
    let count = sandbox.processes().await.unwrap().len();
    assert!(count <= 64, "{count}");
    sandbox.kill_all().await.unwrap();
    assert_eq!(run(&*sandbox, "echo alive").await, "alive\n");
    // And one that is still going off when the sandbox stops.
    let bomb = sh("(setsid bash -c 'bomb() { bomb | bomb & }; bomb; sleep 1000' >/dev/null 2>&1 &)");
    let _ = sandbox.exec(bomb).await;
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn a_sandbox_without_a_limit_leaves_the_hosts_disk_some_room() {
    let disk = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| {
        let status = std::process::Command::new(args[0]).args(&args[1..]).arg(disk.path()).status().unwrap();
        assert!(status.success(), "{args:?}");
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs"]);
    let room = Room::below(disk.path());
    let greedy = room.start().await;
    let modest = room.start().await;
    // It writes on and on, and waits to be ended.
    let ended = greedy.exec(sh("head -c 500000000 /dev/zero > /big; sleep 1000")).await.unwrap();
    assert_eq!(ended.status, ExecStatus::Signalled(9), "{}", ended.text());
    let error = greedy.broken_limit().await.unwrap();
    assert_eq!(error.kind, ErrorType::StorageLimitError);
    assert!(error.message.contains("256 MiB left on the host's disk"), "{error}");
    assert_eq!(run(&*modest, "echo small > /file; cat /file").await, "small\n");
    assert!(modest.broken_limit().await.is_none());
    greedy.stop().await.unwrap();
    room.stop(&*modest).await;
    drop(room);
    mount(&["umount"]);
}

#[tokio::test]
async fn storage_that_is_full_is_named() {
    let room = Room::with("FROM x\nWORKDIR /app\nRUN echo built > f\n");
    let mut spec = room.spec();
    spec.storage_mb = Some(20);
    let sandbox = room.start_as(&spec).await;
    assert_eq!(run(&*sandbox, "head -c 5000000 /dev/zero > a; cat f").await, "built\n");
    assert!(sandbox.broken_limit().await.is_none());
    let ended = sandbox.exec(sh("head -c 50000000 /dev/zero > /usr/b")).await.unwrap();
    assert!(!ended.success() && ended.text().contains("No space left"), "{}", ended.text());
    let error = sandbox.broken_limit().await.unwrap();
    assert_eq!(error.kind, ErrorType::StorageLimitError);
    assert!(error.message.contains("20 MiB") && error.message.contains("storage_mb"), "{error}");
    // Room was made: no longer broken.
    run(&*sandbox, "rm /usr/b").await;
    room.stop(&*sandbox).await;
    let loops = std::fs::read_dir("/sys/block").unwrap().flatten();
    let files =
        loops.filter_map(|entry| std::fs::read_to_string(entry.path().join("loop/backing_file")).ok());
    let folder = room.dir.path().to_str().unwrap();
    assert_eq!(files.filter(|file| file.contains(folder)).count(), 0);
}

#[tokio::test]
async fn an_upload_that_does_not_fit_is_named() {
    let room = Room::new();
    let mut spec = room.spec();
    spec.storage_mb = Some(16);
    let sandbox = room.start_as(&spec).await;
    let big = room.dir.path().join("big");
    std::fs::write(&big, vec![1; 40 << 20]).unwrap();
    let error = sandbox.upload(&big, "/big").await.unwrap_err();
    assert_eq!(error.kind, ErrorType::StorageLimitError, "{error}");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn processor_time_is_dealt_out() {
    let room = Room::new();
    let mut spec = room.spec();
    spec.cpus = Some(0.25);
    let sandbox = room.start_as(&spec).await;
    let name = room.leftovers().remove(0);
    let throttled = |name: &str| {
        let stats = crate::support::groups(name).into_iter().map(|group| group.join("cpu.stat"));
        let texts = stats.filter_map(|path| std::fs::read_to_string(path).ok());
        texts
            .filter_map(|text| {
                text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok())
            })
            .max()
    };
    let _ = sandbox.exec(Exec::shell("while :; do :; done").timeout(Some(Duration::from_secs(1)))).await;
    assert!(throttled(&name).unwrap() > 0);
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn a_gigabyte_of_output_is_bounded() {
    let room = Room::new();
    let sandbox = room.start().await;
    let log = room.dir.path().join("output.log");
    let mut exec = sh("head -c 1000000000 /dev/zero; echo; echo the end");
    exec.log_to = Some(log.clone());
    let ended = sandbox.exec(exec).await.unwrap();
    assert!(ended.success());
    assert_eq!(ended.output_bytes, 1_000_000_009);
    assert!(ended.output.len() < 70_000 && ended.text().ends_with("the end\n"));
    assert!(std::fs::metadata(log).unwrap().len() < 65 << 20);
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn who_uses_up_all_processes_does_not_stop_the_helper() {
    let room = Room::new();
    let mut spec = room.spec();
    spec.pids = 64;
    let sandbox = room.start_as(&spec).await;
    // They leave nothing for others, and nothing of theirs ends by itself.
    let hoard = "perl -e 'while (1) { my $p = fork; last unless defined $p; if (!$p) { sleep 1000; exit } }'";
    let _ = sandbox.exec(sh(hoard)).await.unwrap();
    assert!(sandbox.processes().await.unwrap().len() > 40);
    assert_eq!(run(&*sandbox, "echo alive").await, "alive\n");
    let target = room.dir.path().join("out");
    assert!(sandbox.download("/etc/passwd", &target, &[]).await.unwrap());
    room.stop(&*sandbox).await;
}
