//! Dockerfiles, as far as they can be run on the host's userland: `FROM`, `WORKDIR`, `ENV`, `COPY`, `ADD`, `RUN`,
//! `USER`, `ARG`, `SHELL`. Everything else is refused by name, never skipped.
//!
//! Meanings follow Docker's Dockerfile reference.

mod lines;
mod words;

pub(super) use words::{Vars, expand};

use lines::Line;
use std::path::{Path, PathBuf};

/// What is wrong with a Dockerfile, or not possible in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, line {line}: {problem}", path.display())]
pub(super) struct DockerfileError {
    path: PathBuf,
    line: usize,
    problem: String,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Where it starts, from 1.
    pub(super) line: usize,
    /// As written, on one line, for messages.
    pub(super) text: String,
    /// What it says; variables are not yet filled in.
    pub(super) instruction: Instruction,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Instruction {
    /// Whatever image is named, the host's userland stands for it.
    From,
    Workdir(String),
    Env(Vec<(String, String)>),
    /// Names and default values.
    Arg(Vec<(String, Option<String>)>),
    Copy(Transfer),
    Run(Run),
    User(String),
    Shell(Vec<String>),
}

/// A `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transfer {
    /// Local archives are unpacked.
    pub(super) add: bool,
    pub(super) sources: Vec<String>,
    pub(super) target: String,
    pub(super) chown: Option<String>,
    /// Octal.
    pub(super) chmod: Option<u32>,
    /// In the JSON form words stand for themselves, apart from variables.
    pub(super) json: bool,
}

/// A `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    /// A line for the shell.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
    /// A program whose first line names its interpreter.
    Script(String),
}

impl DockerfileError {
    pub(super) fn new(path: &Path, line: usize, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, problem: problem.into() }
    }
}

/// Reads a Dockerfile's text; `path` is for messages.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<Step>, DockerfileError> {
    let mut steps: Vec<Step> = Vec::new();
    let mut from = false;
    for line in lines::split(text).map_err(|(line, problem)| DockerfileError::new(path, line, problem))? {
        let step = step(&line).map_err(|problem| DockerfileError::new(path, line.number, problem))?;
        let problem = match &step.instruction {
            Instruction::From if from => Some(
                "a second FROM makes a multi-stage build, which the sandbox cannot do: use Docker".to_owned(),
            ),
            Instruction::From => {
                from = true;
                None
            }
            Instruction::Arg(_) => None,
            _ if !from => Some(format!("the first instruction must be FROM, found: {}", step.text)),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(DockerfileError::new(path, line.number, problem));
        }
        steps.push(step);
    }
    if from { Ok(steps) } else { Err(DockerfileError::new(path, 1, "there is no FROM instruction")) }
}

fn step(line: &Line) -> Result<Step, String> {
    let (keyword, rest) = line.text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((&line.text, ""));
    let rest = rest.trim();
    let name = keyword.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(format!("{name} says nothing: expected something after it"));
    }
    if line.heredoc.is_some() && name != "RUN" {
        return Err(format!("{name} with a here-document (<<) cannot be done by the sandbox: use Docker"));
    }
    let instruction = match name.as_str() {
        "FROM" => from(rest)?,
        "WORKDIR" => Instruction::Workdir(rest.to_owned()),
        "USER" => Instruction::User(rest.to_owned()),
        "ENV" => Instruction::Env(words::pairs(rest)?),
        "ARG" => Instruction::Arg(arguments(rest)?),
        "SHELL" => match json(rest) {
            Some(shell) if !shell.is_empty() => Instruction::Shell(shell),
            _ => return Err(format!("SHELL takes a JSON list such as [\"bash\", \"-c\"], found: {rest}")),
        },
        "RUN" => Instruction::Run(run(rest, line.heredoc.as_deref())?),
        "COPY" => Instruction::Copy(transfer("COPY", rest)?),
        "ADD" => Instruction::Copy(transfer("ADD", rest)?),
        _ => return Err(refused(&name)),
    };
    Ok(Step { line: line.number, text: line.text.clone(), instruction })
}

fn refused(name: &str) -> String {
    const KNOWN: [&str; 9] = [
        "CMD",
        "ENTRYPOINT",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "STOPSIGNAL",
        "VOLUME",
    ];
    if KNOWN.contains(&name) {
        format!("the sandbox does not take {name}: leave it out, or use Docker")
    } else {
        format!(
            "unknown instruction {name}: the sandbox takes FROM, WORKDIR, ENV, COPY, ADD, RUN, USER, ARG and SHELL"
        )
    }
}

/// `FROM [--platform=…] image [AS name]`.
fn from(rest: &str) -> Result<Instruction, String> {
    let (flags, rest) = flags(rest);
    if let Some((name, _)) = flags.iter().find(|(name, _)| *name != "platform") {
        return Err(format!("FROM has no flag --{name}"));
    }
    let words: Vec<_> = rest.split_ascii_whitespace().collect();
    match words.as_slice() {
        [_] => Ok(Instruction::From),
        [_, as_word, _] if as_word.eq_ignore_ascii_case("as") => Ok(Instruction::From),
        _ => Err(format!("FROM takes an image and perhaps AS and a name, found: {rest}")),
    }
}

/// `ARG name[=default] …`.
fn arguments(rest: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut arguments = Vec::new();
    for word in words::split(rest)? {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (word, None),
        };
        if !words::is_name(&name) {
            return Err(format!("ARG takes names, {name:?} is none"));
        }
        arguments.push((name, default));
    }
    Ok(arguments)
}

fn run(rest: &str, heredoc: Option<&str>) -> Result<Run, String> {
    let (flags, rest) = flags(rest);
    if let Some((name, _)) = flags.first() {
        return Err(format!("RUN --{name} cannot be done by the sandbox: use Docker"));
    }
    if let Some(body) = heredoc {
        let body = body.to_owned();
        return Ok(if body.starts_with("#!") { Run::Script(body) } else { Run::Shell(body) });
    }
    match json(rest) {
        Some(argv) if !argv.is_empty() => Ok(Run::Exec(argv)),
        _ => Ok(Run::Shell(rest.to_owned())),
    }
}

fn transfer(name: &str, rest: &str) -> Result<Transfer, String> {
    let (flags, rest) = flags(rest);
    let (mut chown, mut chmod) = (None, None);
    for (flag, value) in flags {
        match (flag, value) {
            ("chown", Some(value)) => chown = Some(value.to_owned()),
            ("chmod", Some(value)) => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                chmod = Some(mode.ok_or_else(|| {
                    format!("{name} --chmod takes an octal number such as 755 in the sandbox, found: {value}")
                })?);
            }
            // Only says how layers are stored.
            ("link", _) => {}
            ("from", _) => {
                return Err(format!(
                    "{name} --from takes from another image, which the sandbox has not: use Docker"
                ));
            }
            _ => return Err(format!("{name} --{flag} cannot be done by the sandbox: use Docker")),
        }
    }
    let (mut paths, is_json) = match json(rest) {
        Some(paths) => (paths, true),
        None => (words::split(rest)?, false),
    };
    let target = paths.pop().filter(|_| !paths.is_empty());
    let target =
        target.ok_or_else(|| format!("{name} takes at least one source and a target, found: {rest}"))?;
    if let Some(source) = paths.iter().find(|source| source.contains("://") || source.starts_with("git@")) {
        return Err(format!(
            "{name} {source} takes from the network, which the sandbox does not: use RUN with a download, or use Docker"
        ));
    }
    Ok(Transfer { add: name == "ADD", sources: paths, target, chown, chmod, json: is_json })
}

/// Leading `--name[=value]` words, and the rest.
fn flags(mut rest: &str) -> (Vec<(&str, Option<&str>)>, &str) {
    let mut flags = Vec::new();
    while let Some(flag) = rest.strip_prefix("--") {
        let (word, after) = flag.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((flag, ""));
        flags.push(match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        });
        rest = after.trim_start();
    }
    (flags, rest)
}

/// The JSON form of an instruction, if this is one.
fn json(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[').then(|| serde_json::from_str(rest).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instructions(text: &str) -> Vec<Instruction> {
        parse(text, Path::new("Dockerfile")).unwrap().into_iter().map(|step| step.instruction).collect()
    }

    fn problem(text: &str) -> String {
        parse(text, Path::new("d/Dockerfile")).unwrap_err().to_string()
    }

    #[test]
    fn each_instruction_is_read() {
        let found = instructions(
            "# syntax=docker/dockerfile:1\nARG V=1\nfrom ubuntu:$V AS base\nWORKDIR /app\nENV A=1 B=\"x y\"\n\
             ENV C two words\nARG X Y=2\nUSER app:staff\nSHELL [\"bash\", \"-ec\"]\nRUN echo $A\n\
             RUN [\"ls\", \"-l\"]\nCOPY --chown=a:b --chmod=640 x y /dst/\nADD [\"a b\", \"/c\"]\n",
        );
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert_eq!(found[0], Instruction::Arg(vec![("V".into(), Some("1".into()))]));
        assert_eq!(found[1], Instruction::From);
        assert_eq!(found[2], Instruction::Workdir("/app".into()));
        assert_eq!(found[3], Instruction::Env(vec![pair("A", "1"), pair("B", "\"x y\"")]));
        assert_eq!(found[4], Instruction::Env(vec![pair("C", "two words")]));
        assert_eq!(found[5], Instruction::Arg(vec![("X".into(), None), ("Y".into(), Some("2".into()))]));
        assert_eq!(found[6], Instruction::User("app:staff".into()));
        assert_eq!(found[7], Instruction::Shell(texts(&["bash", "-ec"])));
        assert_eq!(found[8], Instruction::Run(Run::Shell("echo $A".into())));
        assert_eq!(found[9], Instruction::Run(Run::Exec(texts(&["ls", "-l"]))));
        let Instruction::Copy(copy) = &found[10] else { panic!("{:?}", found[10]) };
        assert_eq!((copy.chown.as_deref(), copy.chmod, copy.add), (Some("a:b"), Some(0o640), false));
        assert_eq!((copy.sources.clone(), copy.target.as_str()), (texts(&["x", "y"]), "/dst/"));
        let Instruction::Copy(add) = &found[11] else { panic!("{:?}", found[11]) };
        assert_eq!((add.sources.clone(), add.add, add.json), (texts(&["a b"]), true, true));
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let found = instructions("FROM x\nRUN a && \\\n  # why\n\n  b \\  \n  c\n# end\nRUN d");
        assert_eq!(found[1], Instruction::Run(Run::Shell("a &&   b   c".into())));
        assert_eq!(found[2], Instruction::Run(Run::Shell("d".into())));
    }

    #[test]
    fn a_simple_here_document_is_a_script() {
        let found = instructions(
            "FROM x\nRUN <<EOF\nset -e\n# kept\necho \\\n  a\nEOF\nRUN <<-'END'\n\tb\n\tEND\nUSER u",
        );
        assert_eq!(found[1], Instruction::Run(Run::Shell("set -e\n# kept\necho \\\n  a\n".into())));
        assert_eq!(found[2], Instruction::Run(Run::Shell("b\n".into())));
        assert_eq!(found[3], Instruction::User("u".into()));
    }

    #[test]
    fn what_cannot_be_done_is_named_with_its_place() {
        for (text, expected) in [
            (
                "FROM a\nCMD x",
                "d/Dockerfile, line 2: the sandbox does not take CMD: leave it out, or use Docker",
            ),
            ("FROM a\n\nFROM b", "line 3: a second FROM makes a multi-stage build"),
            ("FROM a\nRUN --mount=type=cache,target=/x y", "line 2: RUN --mount cannot be done"),
            ("FROM a\nCOPY --from=b /x /y", "line 2: COPY --from"),
            (
                "FROM a\nADD https://example.org/x /y",
                "line 2: ADD https://example.org/x takes from the network",
            ),
            ("FROM a\nCOPY <<EOF /x\nhi\nEOF", "line 2: COPY with a here-document"),
            ("FROM a\nRUN cat <<EOF > /x\nhi\nEOF", "line 2: only a here-document that is the whole RUN"),
            ("FROM a\nRUN <<EOF\nhi", "line 2: the here-document has no end: expected a line EOF"),
            ("FROM a\nFETCH x", "line 2: unknown instruction FETCH"),
            ("FROM a\nCOPY x", "line 2: COPY takes at least one source and a target"),
            ("FROM a\nCOPY --chmod=u+x x y", "line 2: COPY --chmod takes an octal number"),
            ("RUN x", "line 1: the first instruction must be FROM"),
            ("", "line 1: there is no FROM instruction"),
            ("FROM a\nENV X", "line 2: ENV takes NAME=value"),
            ("FROM a\nRUN", "line 2: RUN says nothing"),
            ("# escape=`\nFROM a", "line 1: the escape character"),
        ] {
            let found = problem(text);
            assert!(found.contains(expected), "{text:?}: {found}");
        }
    }
}
