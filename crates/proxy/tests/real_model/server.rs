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
    /// Starts it with further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let python = std::env::var("TRAJGEN_TEST_LLAMA").expect(
            "TRAJGEN_TEST_LLAMA names no Python with an inference server: scripts/test.sh installs one and sets it",
        );
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/llama/serve.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let ready: Value = serde_json::from_str(&ready).expect("the server did not start");
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Self { child, base_url: text("base_url"), model: text("model") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
