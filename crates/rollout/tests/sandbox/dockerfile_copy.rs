//! `COPY` and `ADD`, and what `.dockerignore` leaves out.

use crate::support::Room;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

#[tokio::test]
async fn files_folders_and_globs_are_copied() {
    let room = Room::with(
        "FROM x\nWORKDIR /w\nCOPY one.txt renamed.txt\nCOPY one.txt dir/\nCOPY one.txt two.txt many/\n\
         COPY tree /t\nCOPY tree/*.c /c/\nCOPY [\"with blank.txt\", \"/blank dir/\"]\nCOPY ./tree/sub/ .\n\
         ENV NAME=one\nCOPY ${NAME}.txt /filled\nCOPY . /all/\n",
    );
    for (name, text) in [
        ("one.txt", "1"),
        ("two.txt", "2"),
        ("with blank.txt", "b"),
        ("tree/a.c", "a"),
        ("tree/b.c", "b"),
        ("tree/sub/deep.txt", "d"),
    ] {
        room.file(name, text);
    }
    std::os::unix::fs::symlink("a.c", room.context().join("tree/link")).unwrap();
    let shown =
        room.shows("find /w /t /c '/blank dir' /filled -type f | sort; readlink /t/link; ls /all").await;
    assert_eq!(
        shown,
        "/blank dir/with blank.txt\n/c/a.c\n/c/b.c\n/filled\n/t/a.c\n/t/b.c\n/t/sub/deep.txt\n/w/deep.txt\n\
         /w/dir/one.txt\n/w/many/one.txt\n/w/many/two.txt\n/w/renamed.txt\na.c\nDockerfile\none.txt\ntree\ntwo.txt\n\
         with blank.txt\n"
    );
}

#[tokio::test]
async fn owners_and_modes_are_given() {
    let room = Room::with(
        "FROM x\nRUN useradd -u 1234 app\nCOPY --chown=app:daemon tree /owned\nCOPY --chown=55 --chmod=640 f /f\n\
         COPY --chmod=755 f /usr/local/bin/\nCOPY --chown=app f /etc/\nCOPY f /plain\nCOPY script /script\n\
         ADD --chown=app:app tree/a /added\n",
    );
    room.file("f", "f");
    room.file("tree/a", "a");
    room.file("tree/s/b", "b");
    room.file("script", "#!/bin/sh\necho ran\n");
    let mode = |name: &str, mode| {
        std::fs::set_permissions(room.context().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("script", 0o755);
    mode("f", 0o644);
    let line = "stat -c '%n %u:%g %a' /owned /owned/a /owned/s/b /f /usr/local/bin/f /etc/f /etc /plain /added; /script";
    let shown = room.shows(line).await;
    assert_eq!(
        shown,
        "/owned 1234:1 755\n/owned/a 1234:1 644\n/owned/s/b 1234:1 644\n/f 55:55 640\n/usr/local/bin/f 0:0 755\n\
         /etc/f 1234:1234 644\n/etc 0:0 755\n/plain 0:0 644\n/added 1234:1234 644\nran\n"
    );
}

#[tokio::test]
async fn folders_that_are_there_keep_their_modes() {
    let room = Room::with("FROM x\nCOPY rootfs /\nCOPY rootfs/tmp /tmp\n");
    room.file("rootfs/tmp/x", "x");
    room.file("rootfs/new/y", "y");
    let path = room.context().join("rootfs");
    for (name, mode) in [("tmp", 0o700), ("new", 0o750), ("", 0o700)] {
        std::fs::set_permissions(path.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(room.shows("stat -c %a / /tmp /new; cat /tmp/x").await, "755\n1777\n750\nx");
}

#[tokio::test]
async fn links_inside_are_followed_on_the_way_to_the_target() {
    let room = Room::with(
        "FROM x\nRUN mkdir /real && ln -s /real /link && ln -s real /link2\nCOPY f /link/\nCOPY d /\n",
    );
    room.file("f", "f");
    room.file("d/link2/g", "g");
    assert_eq!(room.shows("cat /real/f /real/g; readlink /link /link2").await, "fg/real\nreal\n");
}

#[tokio::test]
async fn what_is_ignored_stays_out() {
    let room = Room::with("FROM x\nCOPY . /c\n");
    room.file(
        ".dockerignore",
        "# none of these\n*.log\nsecret\n**/cache\n!keep.log\nDockerfile\n.dockerignore\n",
    );
    for name in ["a.log", "keep.log", "secret/x", "d/cache/y", "d/z", "sub/a.log"] {
        room.file(name, "");
    }
    assert_eq!(room.shows("cd /c; find . -type f | sort").await, "./d/z\n./keep.log\n./sub/a.log\n");
    let room = Room::with("FROM x\nCOPY secret /c\n");
    room.file(".dockerignore", "secret\n");
    room.file("secret", "");
    let error = room.build().await.unwrap_err();
    assert!(error.message.contains("line 2") && error.message.contains("ignored"), "{error}");
}

#[tokio::test]
async fn archives_are_unpacked_by_add_alone() {
    let room = Room::with(
        "FROM x\nADD a.tar.gz /added/\nCOPY a.tar.gz /copied/\nADD plain.gz /plain/\nADD a.tar.xz f /mixed/\n",
    );
    room.file("src/in/file", "content");
    room.file("f", "f");
    for (flags, name) in [("-czf", "a.tar.gz"), ("-cJf", "a.tar.xz")] {
        let tar =
            Command::new("tar").args([flags, name, "-C", "src", "in"]).current_dir(room.context()).status();
        assert!(tar.unwrap().success());
    }
    let gzip = Command::new("gzip").args(["-c", "f"]).current_dir(room.context()).output().unwrap();
    room.file("plain.gz", gzip.stdout);
    let shown = room.shows("find /added /copied /plain /mixed -type f | sort; cat /added/in/file").await;
    let expected = "/added/in/file\n/copied/a.tar.gz\n/mixed/f\n/mixed/in/file\n/plain/plain.gz\ncontent";
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn nothing_is_taken_from_outside_the_context() {
    for (line, problem) in [
        ("COPY ../task.toml /x", "leaves the task's environment folder"),
        ("COPY out /x", "leads out of the task's environment folder"),
        ("COPY missing /x", "there is no missing"),
        ("ADD out /x", "leads out of the task's environment folder"),
    ] {
        let room = Room::with(&format!("FROM x\n{line}\n"));
        std::fs::write(room.dir.path().join("task/task.toml"), "t").unwrap();
        std::os::unix::fs::symlink("/etc/shadow", room.context().join("out")).unwrap();
        let error = room.build().await.unwrap_err();
        assert!(error.message.contains(problem) && error.message.contains("line 2"), "{error}");
    }
}
