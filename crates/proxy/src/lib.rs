//! The model proxy: keys, routes, streaming and capture.
//!
//! One [`Proxy`] per job stands between agents and the model. Each trial gets a key of its own
//! ([`Proxy::issue_key`]), which alone decides where its calls are written; when the trial is over
//! ([`Proxy::close_trial`]) the key dies, calls under way are given some time, and the log is on disk.

mod auth;
mod capture;
mod drive;
mod error;
mod listen;
mod proxy;
mod record;
mod redact;
mod request;
mod resolved;
mod route;
mod server;
mod trial;

pub use error::{CAPTURE_ERROR, TRIAL_LIMIT};
pub use proxy::{OnDisconnect, Proxy, ProxyConfig, ProxyError, RecordedHook};
pub use resolved::resolved_config_yaml;
pub use server::RESPONSE_COST;
pub use trial::{ModelFailure, Recorded, Route, TrialKey, TrialLimits, TrialUsage};
