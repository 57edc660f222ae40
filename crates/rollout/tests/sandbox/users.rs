//! Users inside, as root on the host.

use crate::support::{Room, run, run_as};

#[tokio::test]
async fn users_can_be_made_become_and_given_files() {
    let room = Room::new();
    let sandbox = room.start().await;
    run(
        &*sandbox,
        "groupadd staffers && useradd -m -s /bin/bash -G staffers ann && echo 'ann:secret' | chpasswd",
    )
    .await;
    assert_eq!(run(&*sandbox, "su ann -c 'id -un; cd; pwd'").await, "ann\n/home/ann\n");
    assert_eq!(run(&*sandbox, "su - ann -c 'id -Gn'").await, "ann staffers\n");
    assert_eq!(run(&*sandbox, "setpriv --reuid=ann --regid=ann --init-groups id -un").await, "ann\n");
    assert_eq!(
        run_as(&*sandbox, Some("ann"), "id -un; echo $HOME; touch ~/f; stat -c %U ~/f").await,
        "ann\n/home/ann\nann\n"
    );
    run(&*sandbox, "touch /x && chown ann:staffers /x /usr/bin/id && chmod 640 /x").await;
    assert_eq!(run(&*sandbox, "stat -c %U:%G /x /usr/bin/id").await, "ann:staffers\nann:staffers\n");
    let denied = sandbox.exec(crate::support::sh("cat /etc/shadow").user(Some("ann"))).await.unwrap();
    assert!(!denied.success(), "{}", denied.text());
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn nobody_becomes_root() {
    let room = Room::new();
    let sandbox = room.start().await;
    // Programs with set-user-id or capabilities give nothing.
    run(&*sandbox, "cp /usr/bin/id /usr/bin/rootid && chmod 4755 /usr/bin/rootid && cp /usr/bin/id /tmp/rootid && chmod 4755 /tmp/rootid").await;
    let ids = run_as(&*sandbox, Some("nobody"), "/usr/bin/rootid -u; /tmp/rootid -u").await;
    assert_eq!(ids, "65534\n65534\n");
    let status = run_as(&*sandbox, Some("nobody"), "grep -E '^Cap(Eff|Prm)' /proc/self/status").await;
    assert_eq!(status.matches("0000000000000000").count(), 2, "{status}");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn the_trials_folders_can_be_written_by_all() {
    let room = Room::new();
    let sandbox = room.start().await;
    for folder in ["/logs/agent", "/logs/verifier", "/logs/artifacts", "/tmp", "/var/tmp", "/dev/shm"] {
        run_as(&*sandbox, Some("nobody"), &format!("touch {folder}/x")).await;
    }
    room.stop(&*sandbox).await;
}
