//! The closed lists of words that config.yaml knows.

use crate::outcome::ErrorType;
use schemars::JsonSchema;
use serde::Serialize;

/// A closed list of words.
pub(super) trait Choice: Copy + 'static {
    /// Every word with what it stands for.
    const ALL: &'static [(&'static str, Self)];
}

/// Declares enums with the words they are written as: `Name { Variant = "word", … }`.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl Choice for $name {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    )+};
}

choices! {
    /// Where tasks come from.
    Provider {
        /// A folder on this host.
        Local = "local",
        /// A data set of the Hugging Face hub.
        HuggingFace = "huggingface",
    }
    /// A face the proxy shows to agents.
    ProxyProtocol {
        /// OpenAI Chat Completions.
        OpenAi = "openai_compatible",
        /// Anthropic Messages.
        Anthropic = "anthropic_compatible",
    }
    /// What becomes of an upstream call whose agent hung up.
    OnDisconnect {
        /// It is driven to its end, so that what was paid for is on record.
        Finish = "finish",
        /// It is stopped, and recorded as failed with what had arrived.
        Cancel = "cancel",
    }
    /// What happens when a limit of the whole job is reached.
    OnLimit {
        /// No new trials; those that run finish.
        Drain = "drain",
        /// Running trials are cancelled too.
        Cancel = "cancel",
    }
    /// What a finding of the integrity checks does.
    Integrity {
        /// It is reported.
        Report = "report",
        /// It is reported, and the trial gives no SFT data.
        Exclude = "exclude",
        /// Nothing is checked.
        Off = "off",
    }
    /// Where trials run.
    EnvironmentType {
        /// Docker when an engine answers, else the sandbox.
        Auto = "auto",
        /// Containers of a Docker engine.
        Docker = "docker",
        /// Namespaces of this host, no image needed.
        Sandbox = "sandbox",
        /// Nodes of a Slurm cluster.
        Slurm = "slurm",
    }
    /// What can be reached from inside an environment.
    NetworkPolicy {
        /// The model proxy only.
        ModelOnly = "model-only",
        /// Loopback only.
        None = "none",
        /// Everything.
        Public = "public",
    }
    /// Whose trajectories are converted, and how.
    Scaffold {
        /// From the job's recorded agent.
        Auto = "auto",
        /// Claude Code.
        ClaudeCode = "claude_code",
        /// OpenCode.
        OpenCode = "open_code",
        /// OpenHands SDK.
        OpenHandsSdk = "openhands_sdk",
        /// Terminus 2.
        Terminus2 = "terminus2",
        /// The captured calls as they are.
        Generic = "generic",
    }
    /// Which trials are converted.
    InstanceStatus {
        /// Reward 1.
        Resolved = "resolved",
        /// Reward 0.
        Unresolved = "unresolved",
        /// Every trial with a reward.
        All = "all",
    }
    /// What scores a record.
    Scorer {
        /// The rule score, version 5.
        V5 = "v5",
    }
    /// What a block is doing.
    State {
        /// Nothing has run yet.
        Idle = "idle",
        /// Tasks are being prepared and checked.
        Preparing = "preparing",
        /// Trials run.
        Running = "running",
        /// Trajectories are being converted.
        Converting = "converting",
        /// The last run ended well.
        Completed = "completed",
        /// The last run failed.
        Failed = "failed",
        /// The last run was interrupted.
        Interrupted = "interrupted",
    }
}

/// The error types as a closed list of words: their names.
macro_rules! error_types {
    ($($name:ident)+) => {
        impl Choice for ErrorType {
            const ALL: &'static [(&'static str, Self)] = &[$((stringify!($name), Self::$name)),+];
        }

        /// Fails to compile when an error type is missing above.
        const _: fn(ErrorType) = |error| match error { $(ErrorType::$name => {})+ };
    };
}

error_types! {
    AgentTimeoutError
    TrialLimitError
    NonZeroAgentExitCodeError
    AgentError
    AgentSafetyRefusalError
    AgentSetupTimeoutError
    AgentSetupError
    EnvironmentBuildError
    EnvironmentStartTimeoutError
    HealthcheckError
    OutOfMemoryError
    StorageLimitError
    EnvironmentLostError
    DiskFullError
    ModelUnavailableError
    ApiUsageLimitError
    AgentAuthenticationError
    ModelNotFoundError
    VerifierTimeoutError
    RewardFileNotFoundError
    RewardFileEmptyError
    VerifierOutputParseError
    AddTestsDirError
    CaptureError
    CancelledError
}
