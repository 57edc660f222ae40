//! Where a whole trial runs: the port between queue and trial.

use crate::trial::{TrialSpec, TryEnd};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

/// Runs whole tries somewhere.
#[async_trait]
pub trait Placement: Send + Sync {
    /// Runs one try of a trial to its ending; every way it can end is an ending, not an error. When
    /// `cancelled` is set the try ends soon, with `CancelledError`, everything it used removed.
    async fn submit(&self, spec: &TrialSpec, n_try: u32, cancelled: CancellationToken) -> TryEnd;
}
