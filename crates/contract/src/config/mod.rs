//! config.yaml, the one input of a block: its types, a reader that reports every problem in one pass,
//! and writers that leave what is the user's byte for byte.
//!
//! The types are strict: field names are those of the file, what the file leaves out has its default,
//! `llm_api` and `agent` are always lists. docs/config.md is generated from their doc comments.

mod block;
mod choices;
mod expand;
mod input;
mod job;
mod parse;
mod problem;
mod reader;
mod rewrite;
mod show;
mod tree;
mod words;

pub use block::{
    Config, DeploymentEnvironment, MetaInfo, Output, RawTrajectories, Resources, RuntimeInfo, SftData, Status,
};
pub use choices::{
    EnvironmentType, InstanceStatus, Integrity, NetworkPolicy, OnDisconnect, OnLimit, Provider,
    ProxyProtocol, Scaffold, Scorer, State,
};
pub use input::{
    AgentConfig, DockerConfig, EnvironmentConfig, Input, LitellmProxy, LlmApi, SftConversion, TaskSource,
    UpstreamKind, WireProtocol,
};
pub use job::{HarborJob, JobLimits, Retry, TrialLimits};
pub use problem::{Problem, Severity};
pub use rewrite::{RewriteError, rewrite_output, rewrite_status};

pub use show::{redact_text, redacted, schema};

pub use crate::secret::{Guarded, Secret, SecretUrl, Taken};
use reader::{Document, Section};
use std::path::Path;
use tree::{Data, Position};

/// What reading a config.yaml gave.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The config; none when any problem is an error.
    pub config: Option<Config>,
    /// Everything wrong with it, by line.
    pub problems: Vec<Problem>,
}

/// Reads the config at `path`, with `env` as the environment that `${VAR}` is taken from.
///
/// Nothing is fatal by itself: unreadable files and broken YAML are problems like all others. An
/// `api_key_file` is read here; relative ones are looked up in the config's folder.
#[must_use]
pub fn load(path: &Path, env: impl Fn(&str) -> Option<String>) -> Loaded {
    load_document(Document::new(path, &env))
}

/// As [`load`], for what calls no model and so needs no keys: variables that are not set and have no default are empty.
#[must_use]
pub fn load_without_secrets(path: &Path, env: impl Fn(&str) -> Option<String>) -> Loaded {
    load_document(Document { unset_is_empty: true, ..Document::new(path, &env) })
}

fn load_document(document: Document<'_>) -> Loaded {
    let path = document.file;
    let whole = |message: String| document.report(Severity::Error, Position::default(), "", message);
    let config = match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => read(&document, &text),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = error.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
                let at = Position { line, column: 1 };
                document.report(
                    Severity::Error,
                    at,
                    "",
                    "this line is not UTF-8 text: save the file as UTF-8",
                );
                None
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            whole("there is no such file: `trajgen init` writes a commented one".to_owned());
            None
        }
        Err(error) => {
            whole(format!("cannot be read: {error}"));
            None
        }
    };
    let mut problems = document.problems.into_inner();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let usable = problems.iter().all(|problem| problem.severity == Severity::Warning);
    Loaded { config: config.filter(|_| usable), problems }
}

/// The commented config that `trajgen init` writes: every key with its default.
#[must_use]
pub fn default_config() -> &'static str {
    include_str!("default.yaml")
}

fn read(document: &Document<'_>, text: &str) -> Option<Config> {
    let mut flaws = Vec::new();
    let tree = tree::parse(text, &mut flaws);
    let (tree, broken) = match tree {
        Ok(tree) => (tree, None),
        Err(flaw) => (None, Some(flaw)),
    };
    let is_broken = broken.is_some();
    for flaw in flaws.into_iter().chain(broken) {
        document.report(Severity::Error, flaw.at, "", flaw.message);
    }
    match tree {
        _ if is_broken => None,
        Some(node) if !matches!(node.data, Data::Null) => {
            let root = Section::new(document, String::new(), Some(&node), node.at);
            if root.is_broken() { None } else { parse::config(root) }
        }
        _ => {
            let message = "the file is empty: `trajgen init` writes a commented one";
            document.report(Severity::Error, Position::default(), "", message);
            None
        }
    }
}
