//! Starting the server.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server that ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) base_url: String,
    pub(crate) model: String,
}

impl Server {
    /// Starts it; none when this is not a full run.
    pub(crate) fn start() -> Option<Self> {
        let is_full = std::env::var("TRAJGEN_TEST_FULL").is_ok_and(|full| full == "1");
        let python = match std::env::var("TRAJGEN_TEST_LLAMA") {
            Ok(python) => python,
            Err(_) if is_full => panic!("TRAJGEN_TEST_LLAMA is not set: run scripts/test.sh --full"),
            Err(_) => return None,
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/llama/serve.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(["--context", "4096", "--parallel", "2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let ready: Value = serde_json::from_str(&ready).expect("the server did not start");
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Some(Self { child, base_url: text("base_url"), model: text("model") })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
