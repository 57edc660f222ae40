//! Converters: a trial's folder to conversations.

mod terminus2;

use crate::dropped::Dropped;
use crate::select::Trial;
use crate::{ConvertError, Scaffold};
use serde_json::Value;

/// One conversation that a converter made of a trial, in OpenAI shape, before [`crate::im`] completes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// `main` or `subagent`.
    pub agent_type: AgentType,
    /// The declared tools.
    pub tools: Vec<Value>,
    /// The messages.
    pub messages: Vec<Value>,
}

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AgentType {
    /// The agent itself.
    #[default]
    Main,
    /// One it started.
    Subagent,
}

impl AgentType {
    /// Its name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Subagent => "subagent",
        }
    }
}

/// Reads one scaffold's trials.
pub trait Converter: Send + Sync {
    /// The scaffolds it reads.
    fn scaffolds(&self) -> &'static [Scaffold];

    /// The conversations of one trial, in the order they began; at least one.
    ///
    /// # Errors
    /// When the trial gives no training data, with the reason.
    fn convert(&self, trial: &Trial) -> Result<Vec<Conversation>, Dropped>;

    /// Whether its assistants act by tool calls, so that the rules for those hold for its records.
    fn has_tool_calls(&self) -> bool {
        true
    }
}

/// The converters there are.
static CONVERTERS: [&dyn Converter; 1] = [&terminus2::Terminus2];

/// The converter of a scaffold, if it is there.
pub(crate) fn for_scaffold(scaffold: Scaffold) -> Option<&'static dyn Converter> {
    CONVERTERS.into_iter().find(|c| c.scaffolds().contains(&scaffold))
}

/// Says that a scaffold has no converter, and which have.
pub(crate) fn unsupported(scaffold: Scaffold) -> ConvertError {
    let supported: Vec<&str> = CONVERTERS.iter().flat_map(|c| c.scaffolds()).map(|s| s.as_str()).collect();
    ConvertError::UnsupportedScaffold { scaffold: scaffold.as_str(), supported: supported.join(", ") }
}
