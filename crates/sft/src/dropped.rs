//! Why something of a job does not come out as training data: a closed list, counted in the stats.

/// Defines the reasons with their names in reports and stats.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// One reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant),+ }
        impl Reason {
            /// Its name in reports and stats.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

reasons! {
    /// The selection wants 0 or 1, and the reward is neither.
    FractionalReward = "fractional_reward",
    /// A reward key that is no number.
    UnreadableReward = "unreadable_reward",
    /// The task's repository is on the exclude list.
    ExcludedRepo = "excluded_repo",
    /// The trial's folder is not there.
    MissingTrial = "missing_trial",
    /// A trial's name that is no plain name.
    BadTrialName = "bad_trial_name",
    /// No task on record.
    NoTaskId = "no_task_id",
    /// Its result lists integrity findings, and such trials are to be left out.
    IntegrityFinding = "integrity_finding",
    /// `agent/trajectory.json` is not there.
    NoTrajectory = "no_trajectory",
    /// `agent/litellm-trajectory.jsonl` is not there, or holds no call.
    NoCalls = "no_calls",
    /// A file of the trial cannot be read.
    Unreadable = "unreadable_file",
    /// A file of the trial is a link that leads out of the job.
    LinkOutsideJob = "link_outside_job",
    /// `agent/trajectory.json` is not a document of steps.
    BadTrajectory = "bad_trajectory",
    /// No user or no assistant turn.
    NoTurns = "no_turns",
    /// User and assistant do not alternate.
    RolesDoNotAlternate = "roles_do_not_alternate",
    /// An assistant's body is no JSON.
    BodyNotJson = "body_not_json",
    /// The call that followed a summary is not in the captured calls.
    HandoverNotCaptured = "handover_not_captured",
    /// Roles follow one another as they must not.
    BadRoleOrder = "bad_role_order",
    /// An assistant message other than the last has no tool calls.
    MissingToolCalls = "missing_tool_calls",
    /// Too few assistant messages have reasoning.
    TooLittleReasoning = "too_little_reasoning",
    /// Only out of `lf.json`: a message holds a turn marker of the template.
    TurnMarkerInText = "lf_turn_marker_in_text",
    /// Only out of `lf.json`: the template could not render it.
    NotRendered = "lf_not_rendered",
}

/// A trial left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Why, for counting.
    pub reason: Reason,
    /// What exactly, for a warning.
    pub detail: String,
}

impl Dropped {
    /// A trial left out for `reason`.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}
