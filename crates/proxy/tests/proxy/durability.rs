//! What a `kill -9` leaves.

use crate::support::{body, client, scripted, wait_until};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use trajgen_contract::layout::JobDir;
use trajgen_contract::record::read_log;
use trajgen_proxy::{Proxy, ProxyConfig, Route, TrialLimits};

const FOLDER: &str = "TRAJGEN_TEST_PROXY_FOLDER";
const N_AGENTS: usize = 8;

/// The proxy's side, in a process of its own; does nothing in an ordinary run.
#[tokio::test]
async fn serves_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let upstream = scripted("tracks: [{turns: [{text: hello}]}]\nwhen_exhausted: repeat_last");
    let proxy = Proxy::start(ProxyConfig::new(folder, "job", upstream)).await.unwrap();
    let route = Route {
        job: "job".to_owned(),
        trial: "t".to_owned(),
        task_id: "task".to_owned(),
        log_path: JobDir::new(folder.join("job")).trial("t").trajectory_log(),
        limits: TrialLimits::default(),
    };
    let key = proxy.issue_key(route).unwrap().key;
    std::fs::write(folder.join("ready.part"), format!("{} {key}", proxy.base_url())).unwrap();
    std::fs::rename(folder.join("ready.part"), folder.join("ready")).unwrap();
    std::future::pending::<()>().await;
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_kill_loses_no_answered_call() {
    let dir = tempfile::tempdir().unwrap();
    let server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::serves_until_it_is_killed"])
        .env(FOLDER, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Killed(server);
    let ready = dir.path().join("ready");
    wait_until(|| ready.exists()).await;
    let ready = std::fs::read_to_string(ready).unwrap();
    let (url, key) = ready.split_once(' ').unwrap();

    let n_answered = AtomicUsize::new(0);
    let client = client();
    let agents = (0..N_AGENTS).map(|_| async {
        let ask = || {
            client.post(format!("{url}/v1/chat/completions")).bearer_auth(key).body(body("hi").to_string())
        };
        while let Ok(response) = ask().send().await {
            match response.text().await {
                Ok(text) if text.contains("hello") => n_answered.fetch_add(1, Ordering::SeqCst),
                _ => break,
            };
        }
    });
    let kill = async {
        wait_until(|| n_answered.load(Ordering::SeqCst) > 50).await;
        server.0.kill().unwrap();
    };
    futures::future::join(futures::future::join_all(agents), kill).await;

    let n_answered = n_answered.load(Ordering::SeqCst);
    let log = read_log(&JobDir::new(dir.path().join("job")).trial("t").trajectory_log()).unwrap();
    assert!(log.skipped.len() <= 1, "{:?}", log.skipped);
    let n_records = log.records.len();
    assert!((n_answered..=n_answered + N_AGENTS).contains(&n_records), "{n_records} of {n_answered}");
}
