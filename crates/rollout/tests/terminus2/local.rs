//! An environment that is a folder of this host, with a real bash on a real PTY.

use async_trait::async_trait;
use rustix::pty::OpenptFlags;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use trajgen_contract::outcome::ErrorType;
use trajgen_rollout::environment::{
    Environment, EnvironmentError, Exec, ExecResult, ExecStatus, Fetched, ProcessInfo, Terminal, TerminalSpec,
};

/// The prompt of the shells in here: a terminal that ends in it has nothing left to do.
const PROMPT: &str = "$ ";

/// A folder as an environment.
pub struct Local {
    root: PathBuf,
    /// The terminal that was opened last.
    pub frozen: Arc<AtomicBool>,
}

impl Local {
    pub fn new(root: &Path) -> Self {
        std::fs::write(root.join(".bash_profile"), format!("PS1='{PROMPT}'\nunset PROMPT_COMMAND\n"))
            .unwrap();
        Self { root: root.to_owned(), frozen: Arc::default() }
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

impl Drop for Local {
    /// Ends the tmux servers that were started in here.
    fn drop(&mut self) {
        let folders = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let folders = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("tmux-"));
        for socket in folders.flat_map(|folder| std::fs::read_dir(folder.path())).flatten().flatten() {
            let _ = Command::new("tmux").arg("-S").arg(socket.path()).arg("kill-server").output();
        }
    }
}

fn lost(error: impl std::fmt::Display) -> EnvironmentError {
    EnvironmentError::new(ErrorType::EnvironmentLostError, error.to_string())
}

#[async_trait]
impl Environment for Local {
    fn workdir(&self) -> &str {
        "/"
    }

    async fn exec(&self, exec: Exec) -> Result<ExecResult, EnvironmentError> {
        let argv = exec.argv.iter().map(|word| match word.strip_prefix("/solution") {
            Some(rest) => format!("{}/solution{rest}", self.root.display()),
            None => word.clone(),
        });
        let argv: Vec<String> = argv.collect();
        let mut child = Command::new(&argv[0])
            .args(&argv[1..])
            .current_dir(&self.root)
            .env("HOME", &self.root)
            .env("TMUX_TMPDIR", &self.root)
            .envs(&exec.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(lost)?;
        child.stdin.take().unwrap().write_all(&exec.stdin).map_err(lost)?;
        let ended = child.wait_with_output().map_err(lost)?;
        let output = [ended.stdout, ended.stderr].concat();
        if let Some(log) = &exec.log_to {
            std::fs::write(log, &output).map_err(lost)?;
        }
        let status = ExecStatus::Exited(ended.status.code().unwrap_or(-1));
        let output_bytes = output.len() as u64;
        Ok(ExecResult { status, output, output_bytes })
    }

    async fn upload(&self, source: &Path, target: &str) -> Result<(), EnvironmentError> {
        let copied =
            Command::new("cp").arg("-r").arg(source).arg(self.inside(target)).status().map_err(lost)?;
        assert!(copied.success());
        Ok(())
    }

    async fn download(&self, _: &str, _: &Path, _: &[String]) -> Result<bool, EnvironmentError> {
        Ok(false)
    }

    async fn download_at_most(
        &self,
        _: &str,
        _: &Path,
        _: &[String],
        _: u64,
    ) -> Result<Fetched, EnvironmentError> {
        Ok(Fetched { found: false, cut: false })
    }

    async fn terminal(&self, spec: TerminalSpec) -> Result<Box<dyn Terminal>, EnvironmentError> {
        Ok(Box::new(Pty::open(&self.root, &spec, self.frozen.clone()).map_err(lost)?))
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>, EnvironmentError> {
        Ok(Vec::new())
    }

    async fn kill_all(&self) -> Result<(), EnvironmentError> {
        Ok(())
    }

    async fn broken_limit(&self) -> Option<EnvironmentError> {
        None
    }

    fn proxy_url(&self) -> Option<String> {
        None
    }

    async fn stop(&self) -> Result<(), EnvironmentError> {
        Ok(())
    }
}

/// A PTY whose history is what was printed, escape sequences left out.
struct Pty {
    controller: File,
    printed: Arc<Mutex<Vec<u8>>>,
    child: Mutex<Child>,
    frozen: Arc<AtomicBool>,
    rows: usize,
}

impl Pty {
    fn open(root: &Path, spec: &TerminalSpec, frozen: Arc<AtomicBool>) -> std::io::Result<Self> {
        let controller: OwnedFd = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        rustix::pty::grantpt(&controller)?;
        rustix::pty::unlockpt(&controller)?;
        let name = rustix::pty::ptsname(&controller, Vec::new())?;
        let size =
            rustix::termios::Winsize { ws_col: spec.size.0, ws_row: spec.size.1, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&controller, size)?;
        let end = File::options().read(true).write(true).open(name.to_str().unwrap())?;
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .args(&spec.argv)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", root)
            .envs(&spec.env)
            .current_dir(root)
            .stdin(Stdio::from(end.try_clone()?))
            .stdout(Stdio::from(end.try_clone()?))
            .stderr(Stdio::from(end))
            .spawn()?;
        let controller = File::from(controller);
        let printed: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut from, to) = (controller.try_clone()?, printed.clone());
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut block) {
                to.lock().unwrap().extend_from_slice(&block[..count]);
            }
        });
        Ok(Self { controller, printed, child: Mutex::new(child), frozen, rows: spec.size.1.into() })
    }

    fn text(&self) -> String {
        plain(&String::from_utf8_lossy(&self.printed.lock().unwrap()))
    }

    fn alive(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    /// Waits until the shell is ready for more, so that no test depends on how fast it is.
    async fn settle(&self) {
        let limit = Instant::now() + Duration::from_secs(20);
        while self.alive() && !self.text().ends_with(PROMPT) {
            assert!(Instant::now() < limit, "the shell does not come back: {:?}", self.text());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[async_trait]
impl Terminal for Pty {
    async fn send_keys(&self, keys: &str) -> Result<(), EnvironmentError> {
        if self.frozen.load(Ordering::SeqCst) {
            return Err(lost("the terminal is frozen"));
        }
        self.settle().await;
        let before = self.text().len();
        (&self.controller).write_all(keys.as_bytes()).map_err(lost)?;
        if keys == "exit\n" {
            let gone = || !self.alive();
            while !gone() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            return Ok(());
        }
        // Until the shell has begun with it, the old prompt would pass for the new one.
        while keys.ends_with('\n') && self.alive() && self.text().len() <= before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn screen(&self) -> Result<String, EnvironmentError> {
        self.settle().await;
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(self.rows)..].join("\n"))
    }

    async fn history(&self) -> Result<String, EnvironmentError> {
        self.settle().await;
        Ok(self.text())
    }

    async fn is_alive(&self) -> Result<bool, EnvironmentError> {
        Ok(self.alive())
    }

    async fn freeze(&self) -> Result<(), EnvironmentError> {
        self.frozen.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Text without control sequences and carriage returns.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next() == Some('[') => {
                chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
            '\u{1b}' | '\r' | '\u{7}' => {}
            c => plain.push(c),
        }
    }
    plain
}
