//! Talking to a model: protocol shapes, one client with retries and limits, http and script upstreams.
//!
//! An [`Upstream`] takes a request body and gives back an answer: whole, or as a stream of events. Every
//! implementation is a [`client::Transport`] (one try) inside the same [`client::Client`] (retries,
//! limits, the look at the first event before anything is promised to the caller).

pub mod call;
pub mod chat;
pub mod client;
mod connect;
pub mod failure;
pub mod http;
pub mod json;
pub mod limit;
pub mod script;
pub mod sse;
pub mod usage;

pub use call::{Answer, AnswerBody, Call, Event, EventKind, EventStream, Upstream, UpstreamInfo};
pub use connect::{ConnectError, UpstreamConfig, connect};
pub use failure::{Failure, FailureKind};
pub use script::ScriptError;
pub use usage::Prices;
