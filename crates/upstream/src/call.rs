//! The port: a call and its answer.

use crate::chat::{ChatChunk, Completion};
use crate::failure::Failure;
use crate::script::ScriptError;
use crate::usage::Prices;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::sync::Arc;
use trajgen_contract::record::{Deployment, UpstreamTry, WireProtocol};

/// A model, as the proxy and the judges see it.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// What it is and what it takes; fixed for its life.
    fn info(&self) -> &UpstreamInfo;

    /// A try of a trial begins: whatever is kept per trial starts afresh.
    ///
    /// # Errors
    /// When the upstream has nothing to answer that task with (a script that is missing or wrong).
    fn begin_trial(&self, task_id: &str, trial: &str) -> Result<(), ScriptError>;

    /// A try of a trial is over: what was kept for it can go.
    fn end_trial(&self, trial: &str);

    /// One call, tried as often as the configuration allows. A streamed answer is given back when its
    /// first event is there; after that nothing is tried again. Dropping the future or the stream
    /// gives the call up.
    ///
    /// # Errors
    /// The last try's failure, with the earlier tries in it.
    async fn call(&self, call: Call) -> Result<Answer, Failure>;

    /// Whether the upstream can be reached now; costs no tokens.
    ///
    /// # Errors
    /// Why not.
    async fn check(&self) -> Result<(), Failure>;
}

/// What an upstream is and takes.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamInfo {
    /// The name sent to it and written to records.
    pub model: String,
    /// Its address, for records: without users, passwords and query values.
    pub api_base: String,
    /// The protocol spoken to it.
    pub protocol: WireProtocol,
    /// What tokens cost.
    pub prices: Prices,
    /// Request fields it does not take.
    pub drop_params: Vec<String>,
}

impl UpstreamInfo {
    /// For records.
    #[must_use]
    pub fn deployment(&self) -> Deployment {
        Deployment { model: self.model.clone(), api_base: self.api_base.clone() }
    }

    /// Whether the request field `name` may be sent.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        !self.drop_params.iter().any(|dropped| dropped == name)
    }
}

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// The JSON body in the upstream's protocol, its `model` already the upstream's.
    pub body: Bytes,
    /// Whether `body` asks for a stream.
    pub stream: bool,
    /// The model the caller asked for by its own name.
    pub requested_model: Option<String>,
    /// The task the call belongs to.
    pub task_id: Option<Arc<str>>,
    /// The trial the call belongs to.
    pub trial: Option<Arc<str>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The answer itself.
    pub body: AnswerBody,
    /// Tries that failed before this one.
    pub tries: Vec<UpstreamTry>,
}

/// An answer, whole or in pieces.
pub enum AnswerBody {
    /// The bytes as they came, and what they say.
    Whole(Bytes, Box<Completion>),
    /// Events as they come; the first one is there already.
    Events(EventStream),
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes, _) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Events(_) => f.write_str("Events"),
        }
    }
}

/// Ends after [`EventKind::Done`], after the last event of an answer that was whole without it, or
/// with one failure.
pub type EventStream = BoxStream<'static, Result<Event, Failure>>;

/// One server-sent event.
#[derive(Debug, Clone)]
pub struct Event {
    /// The bytes as they came, the blank line at the end included.
    pub raw: Bytes,
    /// What they say.
    pub kind: EventKind,
}

/// What a server-sent event says.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// A piece of the answer.
    Chunk(Box<ChatChunk>),
    /// `[DONE]`.
    Done,
    /// A comment or an event without data: a sign of life.
    Silent,
}
