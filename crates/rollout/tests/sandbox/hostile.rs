//! What root inside cannot do.

use crate::support::{Room, run};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use trajgen_rollout::environment::Network;

/// Calls a system call by number and prints its errno.
fn call(number: i64, arguments: &str) -> String {
    format!(
        "perl -e '@a = ({arguments}); $r = syscall({number}, @a); print $r == -1 ? $!+0 : q(ok), qq(\\n)'"
    )
}

#[tokio::test]
async fn privileges_are_dockers() {
    let room = Room::new();
    let status = room.shows("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status").await;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    // chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot,
    // mknod, audit_write, setfcap.
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(set), "00000000a80425fb", "{set}");
    }
    for set in ["CapInh:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1", "2"));
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn system_calls_are_refused_as_docker_does() {
    let room = Room::new();
    let sandbox = room.start().await;
    const EPERM: &str = "1\n";
    for (name, number, arguments) in [
        ("mount", 165, "q(none), q(/mnt), q(tmpfs), 0, 0"),
        ("umount2", 166, "q(/proc), 2"),
        ("unshare user", 272, "0x10000000"),
        ("unshare mount", 272, "0x20000"),
        ("clone user", 56, "0x10000011, 0, 0, 0, 0"),
        ("keyctl", 250, "0, -3, 0, 0, 0"),
        ("add_key", 248, "q(user), q(x), q(y), 1, -3"),
        ("bpf", 321, "0, 0, 0"),
        ("perf_event_open", 298, "0, 0, 0, 0, 0"),
        ("setns", 308, "0, 0"),
        ("pivot_root", 155, "q(/), q(/)"),
        ("open_by_handle_at", 304, "0, 0, 0"),
        ("fsopen", 430, "q(tmpfs), 0"),
        ("open_tree", 428, "-100, q(/), 1"),
        ("move_mount", 429, "0, q(), 0, q(), 0"),
        ("io_uring_setup", 425, "1, 0"),
        ("userfaultfd", 323, "0"),
        ("init_module", 175, "0, 0, q()"),
        ("kexec_load", 246, "0, 0, 0, 0"),
        ("reboot", 169, "0, 0, 0, 0"),
        ("swapon", 167, "q(/x), 0"),
        ("sethostname", 170, "q(x), 1"),
        ("settimeofday", 164, "0, 0"),
        ("quotactl", 179, "0, 0, 0, 0"),
        ("socket alg", 41, "38, 5, 0"),
        ("socket vsock", 41, "40, 1, 0"),
        ("x32 mount", 0x4000_0000 + 165, "q(none), q(/mnt), q(tmpfs), 0, 0"),
    ] {
        assert_eq!(run(&*sandbox, &call(number, arguments)).await, EPERM, "{name}");
    }
    // As a call that does not exist, so that programs take the older one.
    assert_eq!(run(&*sandbox, &call(435, "0, 0")).await, "38\n");
    // Debuggers work on what is one's own, not on the helper.
    let trace = "perl -e '@a = (16, 1, 0, 0); print syscall(101, @a) == -1 ? $!+0 : q(ok)'; sleep 1000 & \
        perl -e '@a = (16, $ARGV[0]+0, 0, 0); print q( ), syscall(101, @a) == -1 ? $!+0 : q(ok)' $!; kill -9 $!";
    assert_eq!(run(&*sandbox, trace).await, "1 ok");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn the_kernels_files_are_hidden_or_read_only() {
    let room = Room::new();
    let sandbox = room.start().await;
    let writes = "for f in /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/irq/default_smp_affinity \
        /sys/kernel/mm/transparent_hugepage/enabled /sys/power/state; do [ -e $f ] && (echo 1 > $f) 2>/dev/null && echo $f; done; \
        chmod 777 /proc/sys/kernel/hostname 2>/dev/null && echo chmod; true";
    assert_eq!(run(&*sandbox, writes).await, "");
    let hidden = "cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | wc -c; \
        ls -A /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v ':$' | grep . ; cat /proc/kmsg 2>/dev/null | head -c 1; dmesg 2>/dev/null | head -c 1; true";
    assert_eq!(run(&*sandbox, hidden).await, "0\n");
    let options = "grep -vE ' /(dev|proc)(/| )' /proc/self/mounts | cut -d' ' -f2,4 | grep -vE 'nosuid.*nodev|nodev.*nosuid' || true";
    assert_eq!(run(&*sandbox, options).await, "");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn device_nodes_cannot_be_used() {
    let room = Room::new();
    let sandbox = room.start().await;
    for place in ["/", "/tmp", "/dev", "/dev/shm", "/usr", "/opt", "/run", "/home"] {
        let line = format!(
            "cd {place}; mknod zz-null c 1 3 && head -c 1 zz-null; mknod zz-mem c 1 1 && head -c 1 zz-mem"
        );
        let ended = sandbox.exec(crate::support::sh(&line)).await.unwrap();
        assert!(!ended.success() && !ended.text().is_empty(), "{place}: {}", ended.text());
    }
    let line = "mknod /dev/pts/x c 1 3 2>&1; find / -xdev -perm /6000 -type f 2>/dev/null | head -3 >/dev/null; \
        for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo missing $d; done; echo x > /dev/null; \
        head -c 3 /dev/zero | od -An -tx1; exec 3<>/dev/ptmx && echo pty";
    let shown = run(&*sandbox, line).await;
    assert!(shown.ends_with(" 00 00 00\npty\n") && !shown.contains("missing"), "{shown}");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn the_hosts_devices_and_files_stay_as_they_are() {
    let paths = ["/dev/null", "/dev/urandom", "/dev/tty", "/usr/bin/bash", "/usr", "/opt", "/etc/passwd"];
    let look = || {
        paths.map(|path| {
            let found = std::fs::metadata(path).unwrap();
            (found.permissions().mode(), found.uid(), found.mtime(), found.size())
        })
    };
    let before = look();
    let room = Room::new();
    let sandbox = room.start().await;
    let line = "chmod 600 /dev/null /dev/urandom; chown 1 /dev/tty; chmod 777 /usr /opt /usr/bin/bash; echo >> /etc/passwd; \
        echo x >> /usr/bin/bash; touch -d 2001-01-01 /dev/null /usr/bin/bash; setfattr -n trusted.x -v y /dev/null; true";
    run(&*sandbox, line).await;
    assert_eq!(look(), before);
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn toolchains_and_the_proxys_socket_cannot_be_written() {
    let room = Room::new();
    let socket = room.dir.path().join("proxy.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut spec = room.spec();
    (spec.network, spec.proxy_socket) = (Network::ModelOnly, Some(socket.clone()));
    let sandbox = room.start_as(&spec).await;
    let line = "for d in $(echo $PATH | tr : ' '); do case $d in /root/*) touch $d/x 2>/dev/null && echo $d;; esac; done; \
        find /run -type s -exec chmod 777 {} + 2>/dev/null; true";
    assert_eq!(run(&*sandbox, line).await, "");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn an_image_that_rearranges_its_folders_gains_nothing() {
    for (line, works) in [
        ("rm -rf /logs; ln -s /etc /logs", true),
        ("rm -rf /dev 2>/dev/null; rm -rf /run; ln -s /usr /run", true),
        ("mkdir -p /logs && ln -s /proc/self /logs/agent", false),
        ("mv /home /h && ln -s /proc /home", true),
    ] {
        let room = Room::with(&format!("FROM x\nRUN {line}; true\n"));
        room.build().await.unwrap();
        use trajgen_rollout::environment::EnvironmentProvider as _;
        match room.provider.start(&room.spec()).await {
            Ok(sandbox) => {
                assert!(works, "{line}");
                run(&*sandbox, "true").await;
                room.stop(&*sandbox).await;
            }
            Err(error) => assert!(!works, "{line}: {error}"),
        }
        room.all_gone().await;
    }
}

#[tokio::test]
async fn folders_of_any_depth_go_at_the_end() {
    let room = Room::new();
    let sandbox = room.start().await;
    run(&*sandbox, "perl -e 'for (1..3000) { mkdir q(d) or die $!; chdir q(d) or die $! }'").await;
    let copy = room.dir.path().join("copy");
    // What is too deep is left out; the rest comes.
    run(&*sandbox, "mkdir -p /kept; echo x > /kept/file; mkdir -p /kept/$(printf 'd/%.0s' {1..300})").await;
    let workdir = sandbox.workdir().to_owned();
    assert!(sandbox.download(&workdir, &copy.join("deep"), &[]).await.unwrap());
    assert!(sandbox.download("/kept", &copy.join("kept"), &[]).await.unwrap());
    assert_eq!(std::fs::read_to_string(copy.join("kept/file")).unwrap(), "x\n");
    assert!(!copy.join("kept").join("d/".repeat(250)).exists());
    assert_eq!(run(&*sandbox, "echo lives").await, "lives\n");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn private_commands_have_a_folder_of_their_own_and_no_more_power() {
    let room = Room::new();
    let sandbox = room.start().await;
    run(&*sandbox, "(while :; do echo planted > /logs/verifier/reward.json; done) > /dev/null 2>&1 &").await;
    let mut tests = crate::support::sh(
        "grep -E '^(CapEff|Seccomp:)' /proc/self/status; umask; ls -A /logs/verifier; echo 1 > /logs/verifier/reward.txt",
    );
    tests.private = true;
    let ended = sandbox.exec(tests.clone()).await.unwrap();
    assert_eq!(ended.text(), "CapEff:\t00000000a80425fb\nSeccomp:\t2\n0022\n", "{:?}", ended.status);
    // Whoever moves the place away loses it, and wins nothing.
    run(&*sandbox, "mv /logs /old; mkdir -p /logs/verifier; echo planted > /logs/verifier/reward.txt").await;
    let target = room.dir.path().join("verifier");
    assert!(sandbox.download_private(&target, &[]).await.unwrap());
    assert_eq!(crate::support::names(&target), ["reward.txt"]);
    assert_eq!(std::fs::read_to_string(target.join("reward.txt")).unwrap(), "1\n");
    let mounts = crate::support::sh("cat /proc/self/mountinfo");
    let ended = sandbox.exec(trajgen_rollout::environment::Exec { private: true, ..mounts }).await.unwrap();
    assert!(!ended.text().contains(room.dir.path().to_str().unwrap()), "{}", ended.text());
    room.stop(&*sandbox).await;
}
