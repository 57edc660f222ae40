//! From job to trials: queue, environments, agents, verifier, events.

pub mod agent;
pub mod environment;
pub mod guest;
