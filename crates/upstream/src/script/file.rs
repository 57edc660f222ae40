//! The shape of script files, and reading them.

use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A script that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be read.
    #[error("cannot read the script {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what a script is.
    #[error("{}:{line}: {place}{problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Which track and turn, with a colon and a space behind it; empty for the file as a whole.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// Neither the task's own script nor a default.
    #[error("no script for the task `{task_id}`; expected {task_id}.yaml or default.yaml in {}", folder.display())]
    Missing {
        /// Whose.
        task_id: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
}

/// All scripts of an upstream.
#[derive(Debug)]
pub(super) struct Scripts {
    /// `script/<folder or file name>`.
    pub(super) model: String,
    source: PathBuf,
    /// By task id.
    by_task: HashMap<String, Arc<Script>>,
    /// For tasks without one of their own.
    default: Option<Arc<Script>>,
}

/// What a model answers in one task.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Asked in this order.
    pub(super) tracks: Vec<Track>,
    /// For calls that no track takes.
    pub(super) default: Option<String>,
    pub(super) when_exhausted: WhenExhausted,
}

/// A row of turns for the calls that match.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) name: String,
    pub(super) matcher: Matcher,
    pub(super) turns: Vec<Turn>,
}

/// What a call must be like; what is absent does not matter.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    pub(super) tools: Option<bool>,
    pub(super) system: Option<Regex>,
    pub(super) last: Option<Regex>,
    pub(super) model: Option<Regex>,
}

/// What follows a track's last turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WhenExhausted {
    #[default]
    Error,
    RepeatLast,
    Default,
}

/// One answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Turn {
    pub(super) text: Option<String>,
    pub(super) reasoning: Option<String>,
    pub(super) tool_calls: Vec<Call>,
    /// The content, as agents want it that speak a protocol of their own in text.
    pub(super) raw: Option<String>,
    #[serde(deserialize_with = "milliseconds")]
    pub(super) delay_ms: Duration,
    #[serde(deserialize_with = "milliseconds")]
    pub(super) chunk_ms: Duration,
    pub(super) finish_reason: Option<String>,
    pub(super) usage: Option<Map<String, Value>>,
    pub(super) fail: Option<Fail>,
    /// Short for `fail: drop_mid_stream`.
    pub(super) drop_mid_stream: bool,
    /// How many calls `fail` answers.
    pub(super) times: Option<u32>,
}

/// A call of a tool.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) name: String,
    /// Written as JSON unless it is text already.
    #[serde(default)]
    pub(super) arguments: Value,
}

/// A failure to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fail {
    TooMany,
    Broken,
    Timeout,
    DropMidStream,
    Garbage,
}

impl<'de> Deserialize<'de> for Fail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(match text.as_str() {
            "429" => Self::TooMany,
            "500" => Self::Broken,
            "timeout" => Self::Timeout,
            "drop_mid_stream" => Self::DropMidStream,
            "garbage" => Self::Garbage,
            other => {
                return Err(D::Error::custom(format!(
                    "fail: `{other}` is none of 429, 500, timeout, drop_mid_stream, garbage"
                )));
            }
        })
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Duration::from_millis(u64::deserialize(deserializer)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShape {
    #[serde(default)]
    tracks: Vec<Spanned<TrackShape>>,
    #[serde(default)]
    default: Option<DefaultShape>,
    #[serde(default)]
    when_exhausted: WhenExhausted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrackShape {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "match")]
    matcher: MatcherShape,
    #[serde(default)]
    turns: Vec<Spanned<Value>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MatcherShape {
    tools: Option<bool>,
    system: Option<String>,
    last: Option<String>,
    model: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultShape {
    text: String,
}

impl Scripts {
    /// Reads a script file, or all of a folder.
    pub(super) fn read(path: &Path) -> Result<Self, ScriptError> {
        let unreadable = |source| ScriptError::Read { path: path.to_owned(), source };
        let name = path.canonicalize().map_err(unreadable)?;
        let model = format!("script/{}", name.file_name().unwrap_or_default().to_string_lossy());
        let mut scripts = Self { model, source: path.to_owned(), by_task: HashMap::new(), default: None };
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let file = entry.map_err(unreadable)?.path();
                if file.extension().is_some_and(|extension| extension == "yaml") {
                    let task = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    scripts.by_task.insert(task, Arc::new(Script::read(&file)?));
                }
            }
            scripts.default = scripts.by_task.remove("default");
        } else {
            scripts.default = Some(Arc::new(Script::read(path)?));
        }
        Ok(scripts)
    }

    /// The script of a task.
    pub(super) fn of(&self, task_id: &str) -> Result<Arc<Script>, ScriptError> {
        let script = self.by_task.get(task_id).or(self.default.as_ref()).cloned();
        script
            .ok_or_else(|| ScriptError::Missing { task_id: task_id.to_owned(), folder: self.source.clone() })
    }
}

impl Script {
    fn read(path: &Path) -> Result<Self, ScriptError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScriptError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|Wrong { line, place, problem }| ScriptError::Wrong {
            path: path.to_owned(),
            line,
            place,
            problem,
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let shape: FileShape = serde_saphyr::from_str(text).map_err(|error| {
            let error = error.without_snippet();
            let line = error.location().map_or(1, |location| location.line());
            Wrong { line, place: String::new(), problem: error.to_string() }
        })?;
        let tracks = shape.tracks.into_iter().enumerate().map(|(n, track)| read_track(n + 1, track));
        Ok(Self {
            tracks: tracks.collect::<Result<_, _>>()?,
            default: shape.default.map(|default| default.text),
            when_exhausted: shape.when_exhausted,
        })
    }
}

/// What is wrong, before the file's name is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    line: u64,
    place: String,
    problem: String,
}

fn read_track(number: usize, shape: Spanned<TrackShape>) -> Result<Track, Wrong> {
    let line = shape.referenced.line();
    let TrackShape { name, matcher, turns } = shape.value;
    let name = name.unwrap_or_else(|| number.to_string());
    let pattern = |key: &str, text: Option<String>| {
        text.map(|text| {
            Regex::new(&text).map_err(|error| Wrong {
                line,
                place: format!("track `{name}`: "),
                problem: format!("match.{key}: {error}"),
            })
        })
        .transpose()
    };
    let matcher = Matcher {
        tools: matcher.tools,
        system: pattern("system", matcher.system)?,
        last: pattern("last", matcher.last)?,
        model: pattern("model", matcher.model)?,
    };
    let turns = turns.into_iter().enumerate().map(|(n, turn)| {
        let line = turn.referenced.line();
        read_turn(turn.value).map_err(|problem| Wrong {
            line,
            place: format!("track `{name}`, turn {}: ", n + 1),
            problem,
        })
    });
    let turns = turns.collect::<Result<_, _>>()?;
    Ok(Track { name, matcher, turns })
}

fn read_turn(value: Value) -> Result<Turn, String> {
    let mut turn: Turn = serde_json::from_value(value).map_err(|error| error.to_string())?;
    if turn.drop_mid_stream {
        if turn.fail.is_some() {
            return Err("both fail and drop_mid_stream; keep one".to_owned());
        }
        turn.fail = Some(Fail::DropMidStream);
    }
    if turn.raw.is_some() && turn.text.is_some() {
        return Err("both text and raw; keep one".to_owned());
    }
    if turn.times.is_some() && turn.fail.is_none() {
        return Err("times without fail: it says how many calls the failure answers".to_owned());
    }
    if turn.fail.is_none() && !turn.says_something() {
        return Err("nothing to say; expected text, raw, reasoning, tool_calls or fail".to_owned());
    }
    Ok(turn)
}

impl Turn {
    /// Whether there is an answer in it, and not only a failure.
    pub(super) fn says_something(&self) -> bool {
        self.text.is_some() || self.raw.is_some() || self.reasoning.is_some() || !self.tool_calls.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let Wrong { line, place, problem } = Script::parse(text).unwrap_err();
        format!("{line}: {place}{problem}")
    }

    #[test]
    fn errors_name_line_track_and_turn() {
        let unknown = problem("tracks:\n- name: main\n  turns:\n  - text: a\n  - txt: b\n");
        assert!(unknown.starts_with("5: track `main`, turn 2: unknown field `txt`"), "{unknown}");
        let fail = problem("tracks:\n- turns:\n  - fail: 404\n");
        assert!(fail.starts_with("3: track `1`, turn 1: fail: `404` is none of"), "{fail}");
        let pattern = problem("tracks:\n- name: x\n  match: {system: '('}\n");
        assert!(pattern.starts_with("2: track `x`: match.system: "), "{pattern}");
        let both = problem("tracks:\n- turns:\n  - {text: a, raw: b}\n");
        assert!(both.contains("turn 1: both text and raw"), "{both}");
        let nothing = problem("tracks:\n- turns:\n  - {delay_ms: 3}\n");
        assert!(nothing.contains("nothing to say"), "{nothing}");
        let top = problem("tracks: []\nwhen_exhausted: never\n");
        assert!(top.starts_with("2: ") && top.contains("never"), "{top}");
        let yaml = problem("tracks: [\n");
        assert!(yaml.contains(": "), "{yaml}");
    }

    #[test]
    fn a_folder_has_a_script_per_task_and_a_default() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("scripts");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a__b-1.yaml"), "default: {text: own}").unwrap();
        let scripts = Scripts::read(&folder).unwrap();
        assert_eq!(scripts.model, "script/scripts");
        assert_eq!(scripts.of("a__b-1").unwrap().default.as_deref(), Some("own"));
        let missing = scripts.of("other").unwrap_err().to_string();
        assert!(missing.contains("expected other.yaml or default.yaml in "), "{missing}");
        std::fs::write(folder.join("default.yaml"), "default: {text: any}").unwrap();
        assert_eq!(Scripts::read(&folder).unwrap().of("other").unwrap().default.as_deref(), Some("any"));
    }

    #[test]
    fn one_file_serves_all_tasks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("solve.yaml");
        std::fs::write(&path, "default: {text: any}").unwrap();
        let scripts = Scripts::read(&path).unwrap();
        assert_eq!(scripts.model, "script/solve.yaml");
        scripts.of("whatever").unwrap();
        let missing = Scripts::read(&dir.path().join("none.yaml")).unwrap_err().to_string();
        assert!(missing.contains("none.yaml"), "{missing}");
    }
}
