//! Dockerfiles: what instructions mean, what is kept, what fails how.

use crate::support::{Room, run};
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_rollout::environment::EnvironmentProvider as _;

async fn fails(dockerfile: &str) -> String {
    let error = Room::with(dockerfile).build().await.unwrap_err();
    assert_eq!(error.kind, ErrorType::EnvironmentBuildError, "{error}");
    error.message
}

#[tokio::test]
async fn variables_are_set_and_filled_in() {
    let room = Room::with(
        "ARG GLOBAL=g\nARG UNUSED=u\nFROM ubuntu:24.04\nARG GLOBAL\nARG LOCAL=\"l $GLOBAL\"\n\
         ENV A=1 B=\"two $A words\" C='$A'\nENV D=${A}-${NONE:-none}\nENV E old style\nENV A=changed\n\
         WORKDIR /srv/$A\nRUN echo \"$A|$B|$C|$D|$E|$GLOBAL|$LOCAL|$UNUSED\" > built\n",
    );
    let shown = room.shows("pwd; cat built; echo \"$A|$B|$C|$D|$E|$GLOBAL|$LOCAL|$UNUSED\"").await;
    // What ENV sets in one line is filled in before any of it is set; arguments end with the build.
    let values = "changed|two  words|$A|1-none|old style";
    assert!(shown.starts_with("/srv/changed\n"), "{shown}");
    let built = format!("{values}|g|l g|\n");
    assert!(shown.contains(&built), "{shown}");
    assert!(shown.ends_with(&format!("{values}|||\n")), "{shown}");
}

#[tokio::test]
async fn the_path_can_be_added_to() {
    let room = Room::with(
        "FROM x\nENV PATH=/app/bin:$PATH\nENV PATH=\"/root/.local/bin:${PATH}\"\nRUN mkdir -p /app/bin && \
         printf '#!/bin/sh\\necho mine\\n' > /app/bin/mine && chmod +x /app/bin/mine && mine\n",
    );
    let shown = room.shows("mine; echo $PATH").await;
    assert!(shown.starts_with("mine\n/root/.local/bin:/app/bin:"), "{shown}");
    assert!(shown.contains(":/usr/bin:"), "{shown}");
}

#[tokio::test]
async fn automatic_arguments_name_this_machine() {
    let room = Room::with("FROM x\nARG TARGETARCH\nARG TARGETOS\nRUN echo $TARGETOS/$TARGETARCH > /p\n");
    let expected = if cfg!(target_arch = "x86_64") { "linux/amd64\n" } else { "linux/arm64\n" };
    assert_eq!(room.shows("cat /p").await, expected);
}

#[tokio::test]
async fn workdirs_are_made_and_relative() {
    let room = Room::with("FROM x\nWORKDIR /a/b\nWORKDIR c\nRUN pwd > /seen\nWORKDIR ../d\n");
    assert_eq!(
        room.shows("pwd; cat /seen; stat -c %a:%U /a /a/b/d").await,
        "/a/b/d\n/a/b/c\n755:root\n755:root\n"
    );
    // Also when nothing is run.
    assert_eq!(Room::with("FROM x\nWORKDIR /made\n").shows("pwd").await, "/made\n");
}

#[tokio::test]
async fn commands_run_in_all_their_forms() {
    let room = Room::with(
        "FROM x\nRUN echo $0 > /sh\nSHELL [\"/bin/bash\", \"-ec\"]\nRUN echo $0 > /bash; [[ a == a ]]\n\
         RUN [\"/bin/sh\", \"-c\", \"echo exec form > /exec\"]\n\
         RUN echo one \\\n    # a comment between\n    && echo two > /two\n\
         RUN <<EOF\nset -e\nX=doc\necho here $X > /doc\nEOF\n\
         RUN <<EOF\n#!/usr/bin/env perl\nopen(F, '>', '/perl'); print F \"perl\\n\";\nEOF\n",
    );
    let shown = room.shows("cat /sh /bash /exec /two /doc /perl").await;
    assert_eq!(shown, "/bin/sh\n/bin/bash\nexec form\ntwo\nhere doc\nperl\n");
}

#[tokio::test]
async fn users_hold_for_what_follows_and_for_the_task() {
    let room = Room::with(
        "FROM x\nRUN useradd -m -u 1234 app\nWORKDIR /home/app/work\nRUN chown app /home/app/work\nUSER app\n\
         RUN id -un > who && echo $HOME >> who\nCOPY note .\nUSER 1234:7\nRUN id -g >> who\nUSER app\n",
    );
    room.file("note", "n");
    let shown = room.shows("id -un; cat who; stat -c %U who note; touch /etc/x || true").await;
    assert!(shown.starts_with("app\napp\n/home/app\n7\napp\nroot\n"), "{shown}");
    assert!(shown.contains("Permission denied"), "{shown}");
}

#[tokio::test]
async fn system_folders_can_be_written() {
    let room = Room::with(
        "FROM x\nRUN rm /usr/bin/env && touch /usr/bin/new /opt/new /etc/new /var/lib/dpkg/new && mv /usr/bin/new \
         /usr/bin/newer\n",
    );
    let shown =
        room.shows("ls /usr/bin/env /usr/bin/newer /opt/new /etc/new /var/lib/dpkg/new 2>&1; true").await;
    assert!(shown.contains("cannot access '/usr/bin/env'"), "{shown}");
    assert_eq!(shown.matches("new").count(), 4, "{shown}");
    assert!(std::path::Path::new("/usr/bin/env").exists());
    for path in ["/usr/bin/newer", "/opt/new", "/etc/new", "/var/lib/dpkg/new"] {
        assert!(!std::path::Path::new(path).exists(), "{path}");
    }
}

#[tokio::test]
async fn packages_can_be_installed() {
    let control = "Package: trajgen-probe\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n";
    let room = Room::with(
        "FROM x\nCOPY control /b/DEBIAN/control\nRUN mkdir -p /b/usr/bin && echo 'echo probe' > /b/usr/bin/probe && \
         chmod 755 /b/usr/bin/probe && dpkg-deb -b /b /b.deb && dpkg -i /b.deb\n",
    );
    room.file("control", control);
    let shown = room.shows("probe; dpkg -s trajgen-probe | grep Status").await;
    assert_eq!(shown, "probe\nStatus: install ok installed\n");
}

#[tokio::test]
async fn an_image_is_built_once_and_again_when_something_changed() {
    let room = Room::with("FROM x\nCOPY data /data\nRUN cat /proc/sys/kernel/random/uuid > /id\n");
    room.file("data", "1");
    let first = room.shows("cat /id").await;
    assert_eq!(room.shows("cat /id").await, first);
    assert!(room.logged().contains("is in the cache"));
    assert_eq!(room.images().len(), 1);
    // A provider of another run finds it too.
    let other = crate::support::provider(&room.cache());
    other.build(&room.spec(), &room.log()).await.unwrap();
    assert_eq!(room.images().len(), 1);
    room.file("data", "2");
    assert_ne!(room.shows("cat /id").await, first);
    room.file("unused", "counts as well: it is in the context");
    room.build().await.unwrap();
    assert_eq!(room.images().len(), 3);
    room.file("data", "1");
    std::fs::remove_file(room.context().join("unused")).unwrap();
    assert_eq!(room.shows("cat /id").await, first);
}

#[tokio::test]
async fn concurrent_builds_of_one_digest_build_once() {
    let room = Room::with("FROM x\nRUN cat /proc/sys/kernel/random/uuid > /id\n");
    let same = crate::support::provider(&room.cache());
    let spec = room.spec();
    let logs: Vec<_> = (0..6).map(|n| room.dir.path().join(format!("log-{n}"))).collect();
    let builds = logs.iter().enumerate().map(|(n, log)| {
        // Also two providers, as two runs have, may meet; then either's image is good.
        let provider = if n % 2 == 0 { &room.provider } else { &same };
        provider.build(&spec, log)
    });
    for built in futures::future::join_all(builds).await {
        built.unwrap();
    }
    let all: String = logs.iter().map(|log| std::fs::read_to_string(log).unwrap()).collect();
    assert!((1..=2).contains(&all.matches("building image").count()), "{all}");
    assert_eq!(room.images().len(), 1);
    room.all_gone().await;
}

#[tokio::test]
async fn what_one_trial_writes_no_other_sees() {
    let room = Room::with("FROM x\nRUN echo built > /file\n");
    let (one, two) = (room.start().await, room.start().await);
    run(&*one, "echo one > /file; rm -rf /usr/share/doc; echo one > /usr/one").await;
    assert_eq!(
        run(&*two, "cat /file; ls -d /usr/share/doc; ls /usr/one || true").await.lines().next(),
        Some("built")
    );
    assert!(run(&*two, "ls -d /usr/share/doc").await.contains("doc"));
    one.stop().await.unwrap();
    room.stop(&*two).await;
    assert_eq!(room.shows("cat /file").await, "built\n");
}

#[tokio::test]
async fn a_failing_command_says_where_and_what_it_printed() {
    let message = fails("FROM x\n\nRUN echo first; \\\n  echo last words >&2; exit 7\n").await;
    assert!(message.contains("environment/Dockerfile, line 3: RUN echo first;"), "{message}");
    assert!(message.contains("exit code 7") && message.contains("last words"), "{message}");
    let long = fails("FROM x\nRUN seq 1 100000; echo the end; false\n").await;
    assert!(long.len() < 4000 && long.trim_end().ends_with("the end"), "{}", long.len());
}

#[tokio::test]
async fn a_failed_build_leaves_nothing() {
    let room = Room::with("FROM x\nRUN sleep 1000 & touch /usr/x; false\n");
    room.build().await.unwrap_err();
    assert_eq!(room.images(), Vec::<String>::new());
    room.all_gone().await;
    assert!(room.logged().contains("exit code 1"));
    // It can be tried again.
    room.file("Dockerfile", "FROM x\nRUN true\n");
    room.build().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_done_points_to_docker() {
    for (line, named) in [
        ("VOLUME /x", "VOLUME"),
        ("CMD [\"x\"]", "CMD"),
        ("ENTRYPOINT x", "ENTRYPOINT"),
        ("EXPOSE 80", "EXPOSE"),
        ("HEALTHCHECK NONE", "HEALTHCHECK"),
        ("FROM y", "multi-stage"),
        ("COPY --from=x /a /b", "--from"),
        ("RUN --mount=type=cache,target=/x true", "--mount"),
        ("ADD https://example.org/x /x", "https://example.org/x"),
        ("COPY <<EOF /x\nEOF", "here-document"),
    ] {
        let message = fails(&format!("FROM x\n{line}\n")).await;
        assert!(message.contains("Dockerfile, line 2") && message.contains("Docker"), "{message}");
        assert!(message.contains(named) && message.contains("use Docker"), "{message}");
    }
    let message = fails("FROM x\nWOKRDIR /x\n").await;
    assert!(message.contains("unknown instruction WOKRDIR"), "{message}");
}

#[tokio::test]
async fn a_build_has_its_time() {
    let room = Room::with("FROM x\nRUN echo begun; sleep 1000\n");
    let mut spec = room.spec();
    spec.build_timeout = Duration::from_millis(1500);
    let error = room.provider.build(&spec, &room.log()).await.unwrap_err();
    assert_eq!(error.kind, ErrorType::EnvironmentStartTimeoutError, "{error}");
    assert!(error.message.contains("line 2") && error.message.contains("time"), "{error}");
    room.all_gone().await;
    assert_eq!(room.images(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_build_leaves_nothing_and_blocks_nobody() {
    let room = Room::with("FROM x\nRUN echo begun > /x; sleep 1000\n");
    {
        let build = room.build();
        let mut build = std::pin::pin!(build);
        while !room.log().exists() || !room.logged().contains("step 2/2") {
            tokio::select! {
                _ = &mut build => panic!("it ended"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    room.file("Dockerfile", "FROM x\nRUN true\n");
    room.build().await.unwrap();
    room.all_gone().await;
}
