//! Files in and out, against whatever was planted on either side.

use crate::support::{Room, names, run};
use std::os::unix::fs::symlink;
use trajgen_rollout::environment::Environment;

async fn download(sandbox: &dyn Environment, room: &Room, source: &str) -> std::path::PathBuf {
    let target = room.dir.path().join(crate::support::token("out"));
    assert!(sandbox.download(source, &target, &[]).await.unwrap());
    target
}

#[tokio::test]
async fn only_regular_files_come_out() {
    let room = Room::new();
    let sandbox = room.start().await;
    let line = "mkdir -p /o/sub && cd /o && echo x > file && ln -s /etc/passwd link && ln -s / root && mkfifo pipe && \
        mknod null c 1 3 && mknod disk b 8 0 && perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => q(sock), Listen => 1)' && \
        echo y > sub/file && ln sub/file hard && printf x > '..evil' && mkdir -m 0 closed && truncate -s 20 sparse && \
        printf z > $'new\\nline' && printf b > $'bad\\xff'";
    run(&*sandbox, line).await;
    let out = download(&*sandbox, &room, "/o").await;
    let mut found = names(&out);
    found.sort();
    assert_eq!(found, ["..evil", "closed", "file", "hard", "new\nline", "sparse", "sub"]);
    assert_eq!(std::fs::read_to_string(out.join("sub/file")).unwrap(), "y\n");
    assert_eq!(std::fs::metadata(out.join("sparse")).unwrap().len(), 20);
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn a_download_writes_over_nothing_and_through_nothing() {
    let room = Room::new();
    let sandbox = room.start().await;
    run(
        &*sandbox,
        "mkdir -p /o/way && echo theirs | tee /o/ours /o/way/x /o/link >/dev/null && echo new > /o/new",
    )
    .await;
    let (target, outside) = (room.dir.path().join("t"), room.dir.path().join("outside"));
    std::fs::create_dir(&target).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(target.join("ours"), "ours").unwrap();
    symlink(&outside, target.join("way")).unwrap();
    symlink(outside.join("planted"), target.join("link")).unwrap();
    assert!(sandbox.download("/o", &target, &[]).await.unwrap());
    assert_eq!(std::fs::read_to_string(target.join("ours")).unwrap(), "ours");
    assert_eq!(std::fs::read_to_string(target.join("new")).unwrap(), "new\n");
    assert_eq!(names(&outside), Vec::<String>::new());
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn a_link_is_not_what_it_points_at() {
    let room = Room::new();
    let sandbox = room.start().await;
    run(&*sandbox, "ln -s /etc /o; ln -s /etc/passwd /p; mkfifo /f").await;
    for source in ["/o", "/p", "/f"] {
        let target = room.dir.path().join("x");
        let _ = sandbox.download(source, &target, &[]).await;
        assert!(!target.exists(), "{source}");
    }
    assert!(!sandbox.download("/nothing", &room.dir.path().join("x"), &[]).await.unwrap());
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn globs_leave_out_folders_and_files() {
    let room = Room::new();
    let sandbox = room.start().await;
    run(&*sandbox, "mkdir -p /o/a/b && touch /o/x.log /o/y.txt /o/a/b/z.log /o/a/w").await;
    let target = room.dir.path().join("t");
    sandbox.download("/o", &target, &["*.log".into(), "a/b".into()]).await.unwrap();
    let mut found = names(&target);
    found.sort();
    assert_eq!((found, names(&target.join("a"))), (vec!["a".into(), "y.txt".into()], vec!["w".into()]));
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn files_that_change_meanwhile_do_no_harm() {
    let room = Room::new();
    let sandbox = room.start().await;
    let line = "mkdir /o; cd /o; for n in {1..200}; do echo x > f$n; done; \
        (while :; do for n in {1..200}; do rm -rf f$n; ln -s /etc/passwd f$n; rm f$n; mkfifo f$n; rm f$n; echo y > f$n; \
        done; done >/dev/null 2>&1 &)";
    run(&*sandbox, line).await;
    for _ in 0..5 {
        let out = download(&*sandbox, &room, "/o").await;
        for name in names(&out) {
            assert!(std::fs::read_to_string(out.join(name)).unwrap().len() < 3);
        }
    }
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn an_upload_stays_inside() {
    let room = Room::new();
    let sandbox = room.start().await;
    let (source, outside) = (room.dir.path().join("s"), room.dir.path().join("outside"));
    std::fs::create_dir_all(source.join("sub")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(source.join("sub/f"), "new").unwrap();
    std::fs::write(source.join("g"), "new").unwrap();
    let host = outside.display();
    run(
        &*sandbox,
        &format!("mkdir -p /t; ln -s {host} /t/sub; ln -s /etc/passwd /t/g; ln -s {host}/x /single"),
    )
    .await;
    // Refused or written inside, but never the host's, and never through a link to a file.
    let _ = sandbox.upload(&source, "/t").await;
    sandbox.upload(&source.join("g"), "/single").await.unwrap();
    assert_eq!(names(&outside), Vec::<String>::new());
    assert_eq!(run(&*sandbox, "head -c 4 /etc/passwd; cat /single").await, "rootnew");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let room = Room::new();
    let sandbox = room.start().await;
    let source = room.dir.path().join("s");
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
    std::fs::write(source.join("deep/er/big"), &bytes).unwrap();
    std::fs::write(source.join("ümläut name"), "u").unwrap();
    std::fs::write(source.join("n".repeat(200)), "long").unwrap();
    sandbox.upload(&source, "/in").await.unwrap();
    let out = download(&*sandbox, &room, "/in").await;
    assert_eq!(std::fs::read(out.join("deep/er/big")).unwrap(), bytes);
    assert_eq!(names(&out).len(), 3);
    room.stop(&*sandbox).await;
}
