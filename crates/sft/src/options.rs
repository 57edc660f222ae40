//! What a conversion is asked to do.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// A name that is none of those a setting knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{found}'; known: {known}")]
pub struct UnknownName {
    /// What was being named.
    pub what: &'static str,
    /// What was given.
    pub found: String,
    /// What is accepted, comma-separated.
    pub known: String,
}

/// Makes a closed set of names with `as_str`, `Display`, `FromStr` and `ALL`.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The name as it is written in files and on the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|n| n.as_str() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    found: text.to_owned(),
                    known: Self::ALL.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

names! {
    /// Which converter reads a trial.
    Scaffold, "scaffold", {
        /// Claude Code.
        ClaudeCode = "claude_code",
        /// OpenCode.
        OpenCode = "open_code",
        /// The OpenHands SDK runner.
        OpenhandsSdk = "openhands_sdk",
        /// terminus-2.
        Terminus2 = "terminus2",
        /// Any other agent: its captured calls as they are.
        Generic = "generic",
    }
}

names! {
    /// Which trials, by reward.
    InstanceStatus, "instance status", {
        /// Reward 1.
        Resolved = "resolved",
        /// Reward 0.
        Unresolved = "unresolved",
        /// Every trial that has a reward.
        All = "all",
    }
}

names! {
    /// The scorer that fills `_score`.
    ScorerName, "scorer", {
        /// Rule score v5.
        V5 = "v5",
    }
}

/// The scaffold asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScaffoldChoice {
    /// From the job's recorded agent, its folder's name, or the configured agent.
    #[default]
    Auto,
    /// This one.
    Is(Scaffold),
}

impl FromStr for ScaffoldChoice {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse()
            .map(Self::Is)
            .map_err(|e: UnknownName| UnknownName { known: format!("auto, {}", e.known), ..e })
    }
}

/// Which repositories never enter training data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExcludeList {
    /// The shipped list: the repositories of public evaluation sets.
    #[default]
    Default,
    /// A file with one `owner/repo` per line, `#` comments.
    File(PathBuf),
    /// No filter.
    Disabled,
}

impl ExcludeList {
    /// As in `exclude_repos_file`: nothing given is the shipped list, an empty string is no filter.
    #[must_use]
    pub fn from_setting(setting: Option<&str>) -> Self {
        match setting {
            None => Self::Default,
            Some("") => Self::Disabled,
            Some(path) => Self::File(PathBuf::from(path)),
        }
    }
}

/// How much reasoning a record that has some must have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReasoningCheck {
    /// On at least this share of assistant messages (0 to 1).
    Adaptive {
        /// The least share.
        ratio: f64,
    },
    /// On every assistant message.
    Strict,
}

impl Default for ReasoningCheck {
    fn default() -> Self {
        Self::Adaptive { ratio: 0.2 }
    }
}

/// How far a conversion is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Trials done with, dropped ones included.
    pub done: usize,
    /// Trials selected.
    pub total: usize,
    /// The trial just done with.
    pub trial: String,
}

/// Called after every trial, in input order, from the thread that called [`crate::convert()`].
pub type ProgressFn = Arc<dyn Fn(&Progress) + Send + Sync>;

/// What to convert, and how.
#[derive(Clone)]
pub struct ConvertOptions {
    /// The job's folder (`artifacts/jobs/<job>`), ours or one that Harbor wrote.
    pub job_dir: PathBuf,
    /// The folder that `im.jsonl`, `lf.json` and their companions are written into (`artifacts/sft_data/<job>`).
    pub out_dir: PathBuf,
    /// Which converter.
    pub scaffold: ScaffoldChoice,
    /// `agent.name` of the config: the last resort of [`ScaffoldChoice::Auto`].
    pub configured_agent: Option<String>,
    /// At most this many selected trials, from the first on.
    pub max_instances: Option<usize>,
    /// Repositories left out.
    pub exclude: ExcludeList,
    /// Which trials, by reward.
    pub instance_status: InstanceStatus,
    /// Every trial with at least this reward, instead of `instance_status`.
    pub min_reward: Option<f64>,
    /// Which reward counts when a job has several and none is named `reward`.
    pub reward_key: Option<String>,
    /// A folder or model id whose chat template and tokenizer are used; none: the built-in template.
    pub tokenizer: Option<String>,
    /// How much reasoning a record must have.
    pub reasoning: ReasoningCheck,
    /// Who scores.
    pub scorer: ScorerName,
    /// Leave trials out whose result lists integrity findings (`harbor_job.integrity: exclude`).
    pub exclude_findings: bool,
    /// Return at once when the outputs stand and were made from the same inputs.
    pub skip_unchanged: bool,
    /// Trials converted at a time; none: one per core.
    pub parallelism: Option<usize>,
    /// Told after every trial.
    pub progress: Option<ProgressFn>,
}

impl ConvertOptions {
    /// The default conversion of `job_dir` into `out_dir`.
    #[must_use]
    pub fn new(job_dir: &Path, out_dir: &Path) -> Self {
        Self {
            job_dir: job_dir.to_owned(),
            out_dir: out_dir.to_owned(),
            scaffold: ScaffoldChoice::Auto,
            configured_agent: None,
            max_instances: None,
            exclude: ExcludeList::Default,
            instance_status: InstanceStatus::Resolved,
            min_reward: None,
            reward_key: None,
            tokenizer: None,
            reasoning: ReasoningCheck::default(),
            scorer: ScorerName::V5,
            exclude_findings: false,
            skip_unchanged: false,
            parallelism: None,
            progress: None,
        }
    }
}

impl std::fmt::Debug for ConvertOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConvertOptions")
            .field("job_dir", &self.job_dir)
            .field("out_dir", &self.out_dir)
            .field("scaffold", &self.scaffold)
            .field("instance_status", &self.instance_status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_a_wrong_one_lists_the_right_ones() {
        for scaffold in Scaffold::ALL {
            assert_eq!(scaffold.as_str().parse::<Scaffold>().unwrap(), *scaffold);
        }
        assert_eq!("auto".parse::<ScaffoldChoice>().unwrap(), ScaffoldChoice::Auto);
        let error = "terminus".parse::<ScaffoldChoice>().unwrap_err().to_string();
        assert!(error.contains("'terminus'") && error.contains("auto, claude_code"), "{error}");
    }

    #[test]
    fn an_empty_exclude_setting_disables_the_filter() {
        assert_eq!(ExcludeList::from_setting(None), ExcludeList::Default);
        assert_eq!(ExcludeList::from_setting(Some("")), ExcludeList::Disabled);
        assert_eq!(ExcludeList::from_setting(Some("x.txt")), ExcludeList::File("x.txt".into()));
    }
}
