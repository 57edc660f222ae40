//! What a killed run leaves is gone at the next start; what lives stays.

use crate::roles;
use crate::support::{Room, groups, names, on_the_host, run, run_as, token};
use std::io::BufRead as _;
use std::path::PathBuf;
use trajgen_rollout::environment::EnvironmentProvider as _;

/// Starts a sandbox in the cache of the folder `words[0]`, with the mark `words[1]` and files of the user `words[2]`,
/// says so, and waits to be killed.
pub async fn victim(words: &[String]) {
    let root = PathBuf::from(&words[0]);
    let provider = crate::support::provider(&root.join("block/cache"));
    let mut spec = crate::support::spec(root.join("task/environment"));
    (spec.storage_mb, spec.memory_mb) = (Some(64), Some(256));
    let sandbox = provider.start(&spec).await.unwrap();
    let mark = &words[1];
    let line =
        format!("(setsid bash -c 'exec -a {mark} sleep 1000' >/dev/null 2>&1 &); mkdir -m 777 /closed");
    run(&*sandbox, &line).await;
    run_as(&*sandbox, Some(&words[2]), "cd /closed; mkdir -p x/y; touch x/y/z; chmod 0 x/y; chmod 500 x")
        .await;
    roles::say("ready");
    std::future::pending::<()>().await;
}

pub fn until_ready(victim: &mut std::process::Child) {
    let output = std::io::BufReader::new(victim.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "ready"));
}

#[tokio::test]
async fn what_a_killed_run_leaves_is_swept_and_what_lives_stays() {
    let room = Room::new();
    let (mark, root) = (token("victim"), room.dir.path().to_str().unwrap());
    let live = room.start().await;
    let mut victim = roles::start(roles::command("victim"), &[root, &mark, "nobody"]);
    until_ready(&mut victim);
    assert_eq!(room.leftovers().len(), 2);
    let own = format!("{}-", std::process::id());
    let theirs = room.leftovers().into_iter().find(|name| !name.starts_with(&own)).unwrap();
    assert!(!groups(&theirs).is_empty());
    // Nothing of a live one is swept. (Groups of dead ones may be, from anywhere on this host.)
    room.provider.sweep().await.unwrap();
    assert_eq!(room.leftovers().len(), 2);
    assert!(!on_the_host(&mark).is_empty() && !groups(&theirs).is_empty());

    victim.kill().unwrap();
    victim.wait().unwrap();
    // Its processes end by themselves.
    while !on_the_host(&mark).is_empty() {
        tokio::task::yield_now().await;
    }
    // What a build was just making, too.
    let half = room.cache().join(format!("sandbox/.image-{theirs}"));
    std::fs::create_dir(&half).unwrap();
    assert!(room.provider.sweep().await.unwrap() > 0);
    assert!(groups(&theirs).is_empty() && !half.exists());
    assert_eq!(room.leftovers().len(), 1);
    assert_eq!(run(&*live, "echo lives").await, "lives\n");
    let loops = names(std::path::Path::new("/sys/block")).into_iter().filter(|name| name.starts_with("loop"));
    for name in loops {
        let file =
            std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
        assert!(!file.contains(root), "{file}");
    }
    room.stop(&*live).await;
}
