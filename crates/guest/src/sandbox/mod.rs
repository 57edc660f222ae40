//! The inside half of the sandbox: from a plain child of trajgen to process 1 of a closed room.
//!
//! Two processes, as a pid namespace only holds for children. The *porter* ([`porter`]) makes the namespaces,
//! starts the second and waits for it. The second, process 1 ([`process_one`]), builds the view of files, gives
//! up what power is not needed and serves. Both talk to trajgen over the same two streams, one JSON line each
//! way per step (see [`Door`], [`Room`], [`Ready`]); after the last line the streams carry the helper's protocol.

mod confine;
mod lines;
mod mounts;
mod network;
mod porter;
mod private;
mod room;
mod spec;

pub use porter::porter;
pub(crate) use private::Private;
pub use room::process_one;
pub use spec::{Bind, Door, Errand, Layer, Ready, Room, Upper};

/// What the porter is called with.
pub const PORTER: &str = "sandbox";
/// What process 1 is called with.
pub const PROCESS_ONE: &str = "sandbox-room";

/// Where the private folder is seen by those that share its view.
const PRIVATE_PLACE: &str = "/logs/verifier";

/// What keeps a sandbox from being set up: what was tried, on what, and the system's answer.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct SandboxError {
    doing: String,
    source: std::io::Error,
}

impl SandboxError {
    fn at<E: Into<std::io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self { doing, source: source.into() }
    }
}
