//! `terminal: tmux`: a real tmux, which the image must bring, in place of the built-in terminal.

use crate::environment::{
    Environment, EnvironmentError, Exec, ExecResult, ExecStatus, Terminal, TerminalSpec,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use trajgen_contract::outcome::ErrorType;

/// Lines of scroll-back, as many as anybody will print.
const SCROLL_BACK: &str = "10000000";
/// What is read of a capture, bytes.
const MAX_CAPTURE: usize = 64 << 20;
/// Longer keystrokes go through a paste buffer: tmux refuses commands of more than 16 KiB.
const MAX_TYPED: usize = 8 << 10;
/// What a shell exits with when there is no such program.
const NOT_FOUND: i32 = 127;

/// A tmux session, with a server of its own.
pub(super) struct Tmux {
    environment: Arc<dyn Environment>,
    user: Option<String>,
    session: String,
    frozen: AtomicBool,
}

impl Tmux {
    /// Starts a server and in it what `spec` says.
    pub(super) async fn open(
        environment: Arc<dyn Environment>,
        spec: &TerminalSpec,
    ) -> Result<Self, EnvironmentError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let session = format!("trajgen-{}-{number}", std::process::id());
        let tmux = Self { environment, user: spec.user.clone(), session, frozen: AtomicBool::new(false) };
        let (columns, rows) = (spec.size.0.to_string(), spec.size.1.to_string());
        let mut start: Vec<&str> = vec![
            "start-server",
            ";",
            "set-option",
            "-g",
            "history-limit",
            SCROLL_BACK,
            ";",
            "set-option",
            "-g",
            "status",
            "off",
            ";",
            "new-session",
            "-d",
            "-s",
            &tmux.session,
            "-x",
            &columns,
            "-y",
            &rows,
        ];
        // tmux would set TERM itself for what runs in it.
        let variables: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        start.push("env");
        start.extend(variables.iter().map(String::as_str));
        start.extend(spec.argv.iter().map(String::as_str));
        let mut exec = tmux.command(&start);
        // Through a shell, so that a missing program is an exit code in every environment.
        exec.argv.splice(..0, ["bash", "-c", "exec \"$@\"", "bash"].map(str::to_owned));
        exec.cwd = spec.cwd.clone();
        exec.env = spec.env.clone();
        let started = tmux.environment.exec(exec).await?;
        if started.success() {
            return Ok(tmux);
        }
        let hint = match started.status {
            ExecStatus::Exited(NOT_FOUND) => {
                "tmux is not in the image: install it there, or leave out `terminal: tmux`"
            }
            _ => "tmux could not be started",
        };
        Err(EnvironmentError::new(
            ErrorType::AgentSetupError,
            format!("agent.kwargs.terminal: {hint}; it said: {}", started.text().trim()),
        ))
    }

    fn command(&self, words: &[&str]) -> Exec {
        let tmux = ["tmux", "-u", "-f", "/dev/null", "-L", &self.session];
        Exec {
            argv: tmux.iter().chain(words).map(|&word| word.to_owned()).collect(),
            user: self.user.clone(),
            keep_output: Some(MAX_CAPTURE),
            ..Exec::default()
        }
    }

    async fn run(&self, words: &[&str]) -> Result<ExecResult, EnvironmentError> {
        self.environment.exec(self.command(words)).await
    }

    /// Runs a command that must succeed.
    async fn must(&self, exec: Exec) -> Result<ExecResult, EnvironmentError> {
        let done = self.environment.exec(exec).await?;
        if done.success() {
            return Ok(done);
        }
        Err(EnvironmentError::new(ErrorType::AgentError, format!("tmux: {}", done.text().trim())))
    }

    async fn capture(&self, more: &[&str]) -> Result<String, EnvironmentError> {
        let words = [&["capture-pane", "-p", "-t", self.session.as_str()], more].concat();
        Ok(self.must(self.command(&words)).await?.text())
    }
}

#[async_trait]
impl Terminal for Tmux {
    async fn send_keys(&self, keys: &str) -> Result<(), EnvironmentError> {
        if self.frozen.load(Ordering::SeqCst) {
            return Err(EnvironmentError::new(
                ErrorType::AgentError,
                "the terminal takes no more keys: the agent's time is over",
            ));
        }
        if keys.len() > MAX_TYPED {
            let mut load = self.command(&["load-buffer", "-b", "keys", "-"]);
            load.stdin = keys.as_bytes().to_vec();
            self.must(load).await?;
            self.must(self.command(&["paste-buffer", "-d", "-b", "keys", "-t", &self.session])).await?;
            return Ok(());
        }
        // At the end of a word tmux takes a semicolon for the end of the command.
        let escaped = keys.strip_suffix(';').map(|start| format!("{start}\\;"));
        let keys = escaped.as_deref().unwrap_or(keys);
        self.must(self.command(&["send-keys", "-t", &self.session, "--", keys])).await?;
        Ok(())
    }

    async fn screen(&self) -> Result<String, EnvironmentError> {
        self.capture(&[]).await
    }

    async fn history(&self) -> Result<String, EnvironmentError> {
        self.capture(&["-S", "-"]).await
    }

    async fn is_alive(&self) -> Result<bool, EnvironmentError> {
        Ok(self.run(&["has-session", "-t", &self.session]).await?.success())
    }

    async fn freeze(&self) -> Result<(), EnvironmentError> {
        self.frozen.store(true, Ordering::SeqCst);
        Ok(())
    }
}
