//! From a plan to a finished job.

mod board;
mod book;
mod budget;
mod exclusions;
mod files;
mod plan;
mod queue;
mod retry;
mod stop;

pub use board::{Board, Watcher, listen, mean_reward, sentence};
pub use book::{LedgerBook, key_of};
pub use budget::Budget;
pub use exclusions::{ExclusionDifferences, exclusion_differences};
pub use files::write_job_files;
pub use plan::{
    Plan, PlanError, Planned, PlannedTrial, Rerun, Selection, TaskDir, agents_of, changed_tasks, differences,
    job_name, left_out, meaning_of, plan, select, specs, trial_name,
};
pub use queue::{Book, QueueOptions, Queued, run};
pub use retry::RetryPolicy;
pub use stop::{Stop, StopLevel};
