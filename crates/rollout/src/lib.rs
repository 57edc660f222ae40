//! From job to trials: queue, environments, agents, verifier, events.

pub mod agent;
pub mod clock;
pub mod environment;
pub mod events;
pub mod guest;
pub mod job;
pub mod placement;
pub mod source;
pub mod trial;
