//! What is seen inside: the host's userland, and nothing of its secrets.

use crate::roles;
use crate::support::{Room, on_the_host, run, sh, token};
use std::path::PathBuf;
use trajgen_rollout::environment::{Environment, EnvironmentProvider as _, Network};

/// Prints the files that hold one of the words on standard input, of all that can be read.
const SEARCH: &str = r"
set -f; export LC_ALL=C
words=/dev/shm/words; cat > $words
grep -rslF -D skip -f $words --exclude=words / --exclude-dir=proc --exclude-dir=sys
grep -rslF -D skip -f $words /sys
for kind in environ cmdline mountinfo mounts maps comm cgroup status; do
  for file in $(find /proc -maxdepth 4 -name $kind); do grep -slF -f $words $file; done
done
grep -rslF -D skip -f $words --exclude-dir='[0-9]*' --exclude-dir=self --exclude-dir=thread-self --exclude=kmsg /proc
find / -xdev 2>/dev/null | grep -F -f $words
true";

async fn search(sandbox: &dyn Environment, words: &[&str]) -> String {
    let mut exec = sh(SEARCH);
    exec.stdin = words.join("\n").into_bytes();
    exec.keep_output = Some(1 << 20);
    let ended = sandbox.exec(exec).await.unwrap();
    assert!(ended.success(), "{}", ended.text());
    ended.text()
}

/// Plants a file on the host and takes it away again.
struct Planted(PathBuf);

impl Planted {
    fn new(path: PathBuf, text: &str) -> Self {
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_planted_secret_is_nowhere_to_be_found() {
    let token = token("secret");
    let room = Room::new();
    let root = room.dir.path();
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let name = token.replace("secret", ".trajgen-test");
    let _home = Planted::new(home.join(&name), &token);
    let _etc = Planted::new(format!("/etc/trajgen-secret{name}").into(), &token);
    for (place, text) in [
        ("block/config.yaml", "api_key: "),
        ("task/task.toml", "# "),
        ("task/tests/test.sh", "# "),
        ("task/solution/solve.sh", "# "),
    ] {
        std::fs::create_dir_all(root.join(place).parent().unwrap()).unwrap();
        std::fs::write(root.join(place), format!("{text}{token}\n")).unwrap();
    }
    let shadow = std::fs::read_to_string("/etc/shadow").unwrap();
    let hashes: Vec<_> = shadow.lines().filter_map(|line| line.split(':').nth(1)).collect();
    let hashes: Vec<_> = hashes.into_iter().filter(|hash| hash.len() > 8).collect();

    let mut command = roles::command("searcher");
    command.env("TRAJGEN_TEST_API_KEY", &token);
    let mut words = vec![root.to_str().unwrap(), token.as_str()];
    words.extend(hashes);
    let found = roles::play(command, &words);
    // What is put in on purpose is found: the search works.
    assert!(found.contains("/control-file"), "{found}");
    let others: Vec<_> = found.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!(others, ["/control-file"]);
}

/// Searches a sandbox for `words[1..]` and for the name of the folder `words[0]` that holds block and task.
pub async fn searcher(words: &[String]) {
    let root = PathBuf::from(&words[0]);
    let provider = crate::support::provider(&root.join("block/cache"));
    let mut spec = crate::support::spec(root.join("task/environment"));
    // As much of the host as a sandbox can have to do with.
    let socket = root.join("block/proxy.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    (spec.network, spec.proxy_socket) = (Network::ModelOnly, Some(socket));
    (spec.storage_mb, spec.memory_mb) = (Some(64), Some(512));
    let sandbox = provider.start(&spec).await.unwrap();
    let control = root.join("control");
    std::fs::write(&control, &words[1]).unwrap();
    sandbox.upload(&control, "/control-file").await.unwrap();
    let folder = root.file_name().unwrap().to_str().unwrap();
    let words: Vec<_> = std::iter::once(folder).chain(words[1..].iter().map(String::as_str)).collect();
    roles::say(&search(&*sandbox, &words).await);
    sandbox.stop().await.unwrap();
}

#[tokio::test]
async fn only_the_userland_is_seen() {
    let room = Room::new();
    let seen = room.shows("id -u; pwd; bash --version | head -1; ls /; hostname; cat /etc/hostname").await;
    assert!(seen.starts_with("0\n/\nGNU bash"), "{seen}");
    assert!(seen.ends_with("sandbox\nsandbox\n"), "{seen}");
    let known = [
        "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "logs", "media", "mnt",
        "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
    ];
    for name in seen.lines().skip(3).take_while(|line| *line != "sandbox") {
        assert!(known.contains(&name), "{name}");
    }
    let empty = "ls -A /home /tmp /var/tmp /mnt /media /srv /run/user 2>/dev/null | grep -v ':$' | grep .";
    assert_eq!(room.shows(&format!("{empty} || echo nothing")).await, "nothing\n");
}

#[tokio::test]
async fn the_hosts_name_is_not_seen() {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let room = Room::new();
    let seen = room.shows("hostname; uname -n; cat /etc/hosts /etc/hostname /proc/sys/kernel/hostname").await;
    let words: Vec<_> = seen.split_whitespace().collect();
    assert!(!words.contains(&name.trim()), "{seen}");
    assert!(words.contains(&"localhost") && words.contains(&"sandbox"), "{seen}");
}

#[tokio::test]
async fn no_process_of_the_host_is_seen() {
    let room = Room::new();
    let seen = room.shows("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls -d /proc/[0-9]* | wc -l").await;
    assert!(!seen.contains("cargo") && !seen.contains("deps/sandbox"), "{seen}");
    let count: u32 = seen.lines().last().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count < 10, "{seen}");
    let sandbox = room.start().await;
    let mark = token("sleep");
    let line = format!("exec -a {mark} sleep 1000 & echo; until grep -q {mark} /proc/$!/cmdline; do :; done");
    run(&*sandbox, &line).await;
    assert_eq!(on_the_host(&mark).len(), 1);
    room.stop(&*sandbox).await;
    assert_eq!(on_the_host(&mark), Vec::<String>::new());
}

#[tokio::test]
async fn mounts_name_nothing_of_the_block() {
    let room = Room::with("FROM x\nRUN echo > /made\nCOPY . /usr/local/task\n");
    let mut spec = room.spec();
    let socket = room.dir.path().join("proxy.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    (spec.network, spec.proxy_socket) = (Network::ModelOnly, Some(socket));
    for storage in [None, Some(64)] {
        spec.storage_mb = storage;
        let sandbox = room.start_as(&spec).await;
        let mounts = run(&*sandbox, "cat /proc/self/mountinfo /proc/1/mounts /proc/self/mountstats").await;
        let folder = room.dir.path().file_name().unwrap().to_str().unwrap();
        assert!(!mounts.contains(folder) && !mounts.contains(".sock"), "{mounts}");
        room.stop(&*sandbox).await;
    }
}

#[tokio::test]
async fn tests_and_solutions_come_when_they_are_uploaded() {
    let room = Room::new();
    for name in ["tests/test.sh", "solution/solve.sh"] {
        let path = room.dir.path().join("task").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "true").unwrap();
    }
    let sandbox = room.start().await;
    assert_eq!(run(&*sandbox, "ls -d /tests /solution 2>/dev/null || echo none").await, "none\n");
    sandbox.upload(&room.dir.path().join("task/tests"), "/tests").await.unwrap();
    assert_eq!(run(&*sandbox, "ls /tests").await, "test.sh\n");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn without_a_dockerfile_the_folder_is_what_the_workdir_starts_with() {
    let room = Room::new();
    room.file("data/x.txt", "x");
    let mut spec = room.spec();
    spec.workdir = Some("/work/place".into());
    let sandbox = room.start_as(&spec).await;
    assert_eq!(sandbox.workdir(), "/work/place");
    assert_eq!(run(&*sandbox, "pwd; cat data/x.txt").await, "/work/place\nx");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn a_cache_in_what_sandboxes_see_is_refused() {
    let dir = tempfile::tempdir_in("/opt").unwrap();
    let options = trajgen_rollout::environment::sandbox::SandboxOptions {
        cache: dir.path().join("cache"),
        any_image: false,
    };
    let error = trajgen_rollout::environment::sandbox::SandboxProvider::new(options).err().unwrap();
    assert!(error.message.contains("/opt") && error.message.contains("Docker"), "{error}");
    let room = Room::new();
    let mut spec = room.spec();
    spec.context = room.dir.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &spec.context).unwrap();
    assert!(room.provider.refuse(&spec).unwrap().contains("/opt"));
    spec.docker_image = Some("some/image".into());
    spec.context = room.context();
    assert!(room.provider.refuse(&spec).unwrap().contains("some/image"));
}
