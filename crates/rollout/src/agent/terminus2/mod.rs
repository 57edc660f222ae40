//! terminus-2: drives a terminal by keystrokes that the model writes as JSON.
//!
//! The loop is in `turns`, what a reply means in `parser`, what is shown of the terminal in
//! `screen`, what happens when the conversation grows too long in `context`. See
//! `docs/design/terminus2.md`.

mod context;
mod conversation;
mod model;
pub(super) mod options;
pub mod parser;
mod prompt;
mod record;
pub mod screen;
mod tmux;
mod turns;

pub use options::{Options, TerminalKind};

use super::{Agent, AgentContext, AgentFailure, AgentReport, cancelled};
use crate::environment::{Terminal, TerminalSpec};
use async_trait::async_trait;
use screen::Follower;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tmux::Tmux;
use trajgen_contract::outcome::ErrorType;

/// Columns and rows.
const SIZE: (u16, u16) = (160, 40);
/// How long a new terminal may stay blank before the run starts all the same.
const PROMPT_WAIT: Duration = Duration::from_secs(3);
/// How often a new terminal is looked at meanwhile.
const PROMPT_POLL: Duration = Duration::from_millis(20);

/// The agent, for one trial.
pub struct Terminus2 {
    options: Options,
    /// Every terminal that was opened, the one in use last. They are kept until the end: a terminal
    /// that is closed ends what runs in it.
    terminals: Mutex<Vec<Arc<dyn Terminal>>>,
    follower: tokio::sync::Mutex<Follower>,
}

impl Terminus2 {
    /// With these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, terminals: Mutex::default(), follower: tokio::sync::Mutex::default() }
    }

    fn terminal(&self) -> Option<Arc<dyn Terminal>> {
        self.terminals.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    async fn open(&self, context: &AgentContext) -> Result<(), AgentFailure> {
        let mut env = context.env.clone();
        // The terminal's own, which what is read from it depends on.
        env.insert("TERM".to_owned(), "xterm-256color".to_owned());
        let spec = TerminalSpec {
            argv: vec!["bash".to_owned(), "--login".to_owned()],
            user: context.user.clone(),
            cwd: None,
            env,
            size: SIZE,
        };
        let terminal: Arc<dyn Terminal> = match self.options.terminal {
            TerminalKind::Builtin => Arc::from(context.environment.terminal(spec).await?),
            TerminalKind::Tmux => Arc::new(Tmux::open(context.environment.clone(), &spec).await?),
        };
        self.terminals.lock().unwrap_or_else(PoisonError::into_inner).push(terminal.clone());
        *self.follower.lock().await = Follower::default();
        // A blank screen would be the first thing the model sees. A shell may also have no prompt.
        let shown = tokio::time::timeout(PROMPT_WAIT, first_output(terminal.as_ref())).await;
        if terminal.is_alive().await? {
            return shown.unwrap_or(Ok(()));
        }
        let last = terminal.screen().await.unwrap_or_default();
        Err(AgentFailure::new(
            ErrorType::AgentSetupError,
            format!(
                "trial {}: `bash --login` ended as soon as it was started; the environment's login scripts may be at fault. It printed: {:?}",
                context.trial_name,
                last.trim()
            ),
        ))
    }
}

/// Returns when something stands on the screen or the program has ended.
async fn first_output(terminal: &dyn Terminal) -> Result<(), AgentFailure> {
    while terminal.screen().await?.trim().is_empty() && terminal.is_alive().await? {
        tokio::time::sleep(PROMPT_POLL).await;
    }
    Ok(())
}

#[async_trait]
impl Agent for Terminus2 {
    fn name(&self) -> &str {
        "terminus-2"
    }

    fn version(&self) -> String {
        "2.0.0".to_owned()
    }

    fn calls_model(&self) -> bool {
        true
    }

    async fn set_up(&self, context: &AgentContext) -> Result<(), AgentFailure> {
        context.cancelled.run_until_cancelled(self.open(context)).await.unwrap_or_else(|| Err(cancelled()))
    }

    async fn run(&self, context: &AgentContext) -> Result<AgentReport, AgentFailure> {
        let Some(terminal) = self.terminal() else {
            return Err(AgentFailure::new(
                ErrorType::AgentSetupError,
                format!(
                    "trial {}: terminus-2 was run without a terminal; it must be set up first",
                    context.trial_name
                ),
            ));
        };
        let mut follower = self.follower.lock().await;
        let work = async {
            let mut run =
                turns::Run::new(context, &self.options, self.version(), terminal.as_ref(), &mut follower)?;
            run.work().await
        };
        context.cancelled.run_until_cancelled(work).await.unwrap_or_else(|| Err(cancelled()))
    }

    async fn disarm(&self, context: &AgentContext) {
        let terminals = self.terminals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for terminal in terminals {
            if let Err(error) = terminal.freeze().await {
                tracing::warn!(trial = context.trial_name, %error, "cannot freeze the agent's terminal");
            }
        }
    }
}
