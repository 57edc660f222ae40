//! The agent that does nothing: what the task's tests say of the untouched environment.

use super::{Agent, AgentContext, AgentFailure, AgentReport};
use async_trait::async_trait;

/// Does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nop;

#[async_trait]
impl Agent for Nop {
    fn name(&self) -> &str {
        "nop"
    }

    fn version(&self) -> String {
        "1.0.0".to_owned()
    }

    fn calls_model(&self) -> bool {
        false
    }

    async fn set_up(&self, _context: &AgentContext) -> Result<(), AgentFailure> {
        Ok(())
    }

    async fn run(&self, _context: &AgentContext) -> Result<AgentReport, AgentFailure> {
        Ok(AgentReport { exit_reason: "nothing_to_do".to_owned(), ..AgentReport::default() })
    }

    async fn disarm(&self, _context: &AgentContext) {}
}
