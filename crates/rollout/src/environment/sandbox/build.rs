//! Building an image: one instruction of a Dockerfile after the other, in a sandbox of its own.

use super::context::{self, Ignore};
use super::dockerfile::{DockerfileError, Instruction, Run, Step, Transfer, Vars, expand};
use super::image::{Image, Recipe, build_error, resolve};
use super::live::Live;
use super::lost;
use crate::environment::{EnvironmentError, Exec, ExecResult, ExecStatus};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trajgen_contract::outcome::ErrorType;

/// How much of a failed step's output its error shows, in bytes.
const SHOWN_OUTPUT: usize = 2000;
/// Where an archive waits to be unpacked, and what was in it to be given to its owner.
const ARCHIVE: &str = "/run/trajgen-add";
const UNPACKED: &str = "/run/trajgen-added";
/// Runs a here-document that names its own interpreter.
const SCRIPT: &str = "script=$(mktemp) && cat > \"$script\" && chmod 700 \"$script\" && { \"$script\" < /dev/null; \
    code=$?; rm -f \"$script\"; exit $code; }";

/// The build's log in the trial's folder.
pub(super) struct Log {
    path: PathBuf,
    file: fs::File,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Self, EnvironmentError> {
        let opened = fs::File::options().create(true).append(true).open(path);
        let file =
            opened.map_err(|e| lost(&format!("cannot write the build's log {}", path.display()), &e))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(super) fn say(&mut self, line: &str) -> Result<(), EnvironmentError> {
        let said = writeln!(self.file, "{line}");
        said.map_err(|e| lost(&format!("cannot write the build's log {}", self.path.display()), &e))
    }
}

/// A build in progress.
pub(super) struct Build<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) context: &'a Path,
    pub(super) deadline: Option<Instant>,
    pub(super) log: Log,
    pub(super) log_to: &'a Path,
    pub(super) live: Option<Live>,
    /// `PATH` before any `ENV`.
    pub(super) path: String,
    /// Arguments from before `FROM`, which count after it only when named again.
    pub(super) global: Vars,
    pub(super) args: Vars,
    pub(super) shell: Vec<String>,
    pub(super) image: Image,
    pub(super) staged: usize,
    /// For an ordinary user.
    pub(super) ordinary: bool,
    /// Owners other than root can be.
    pub(super) many_ids: bool,
}

impl Build<'_> {
    /// Runs all steps.
    pub(super) async fn run(&mut self) -> Result<(), EnvironmentError> {
        let recipe = self.recipe;
        for (index, step) in recipe.steps.iter().enumerate() {
            self.log.say(&format!("step {}/{}: {}", index + 1, recipe.steps.len(), step.text))?;
            self.step(step).await?;
        }
        Ok(())
    }

    fn wrong(&self, step: &Step, problem: impl Into<String>) -> EnvironmentError {
        DockerfileError::new(&self.recipe.path, step.line, problem).into()
    }

    /// Variables that an instruction may name: arguments, and what ENV says over them.
    fn vars(&self) -> Vars {
        let mut vars = Vars::from([("PATH".to_owned(), self.path.clone())]);
        vars.extend(self.args.clone());
        vars.extend(self.image.env.clone());
        vars
    }

    fn fill(&self, step: &Step, text: &str) -> Result<String, EnvironmentError> {
        expand(text, &self.vars()).map_err(|problem| self.wrong(step, problem))
    }

    async fn step(&mut self, step: &Step) -> Result<(), EnvironmentError> {
        match &step.instruction {
            Instruction::From => {
                self.global = std::mem::take(&mut self.args);
                Ok(())
            }
            Instruction::Env(pairs) => {
                // All are filled in before any is set.
                let filled: Result<Vec<_>, EnvironmentError> =
                    pairs.iter().map(|(name, value)| Ok((name.clone(), self.fill(step, value)?))).collect();
                self.image.env.extend(filled?);
                Ok(())
            }
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    let value = match default {
                        Some(default) => Some(self.fill(step, default)?),
                        None => self.global.get(name).cloned().or_else(|| automatic(name)),
                    };
                    self.args.extend(value.map(|value| (name.clone(), value)));
                }
                Ok(())
            }
            Instruction::User(user) => {
                self.image.user = Some(self.fill(step, user)?);
                Ok(())
            }
            Instruction::Shell(shell) => {
                self.shell.clone_from(shell);
                Ok(())
            }
            Instruction::Workdir(path) => {
                let path = self.fill(step, path)?;
                self.image.workdir = resolve(&self.image.workdir, &path);
                if self.live.is_some() {
                    let folder = self.image.workdir.clone();
                    self.must(step, ["mkdir", "-p", "--", &folder]).await?;
                }
                Ok(())
            }
            Instruction::Run(run) => self.run_step(step, run).await,
            Instruction::Copy(transfer) => self.copy_step(step, transfer).await,
        }
    }

    async fn run_step(&mut self, step: &Step, run: &Run) -> Result<(), EnvironmentError> {
        let argv = match run {
            Run::Shell(line) => self.shell.iter().cloned().chain([line.clone()]).collect(),
            Run::Exec(argv) => argv.clone(),
            Run::Script(_) => ["/bin/sh", "-c", SCRIPT].map(str::to_owned).into(),
        };
        let exec = Exec {
            argv,
            user: self.image.user.clone(),
            cwd: Some(self.image.workdir.clone()),
            env: self.vars(),
            stdin: if let Run::Script(text) = run { text.clone().into_bytes() } else { Vec::new() },
            log_to: Some(self.log_to.to_owned()),
            ..Exec::default()
        };
        let ended = self.exec(exec).await?;
        self.check(step, &ended)
    }

    /// Runs a command of our own as root; it must succeed.
    async fn must<const N: usize>(&self, step: &Step, argv: [&str; N]) -> Result<(), EnvironmentError> {
        let ended = self.exec(own(&argv)).await?;
        self.check(step, &ended)
    }

    async fn exec(&self, mut exec: Exec) -> Result<ExecResult, EnvironmentError> {
        let live = self.live.as_ref().ok_or_else(|| build_error("this build has no sandbox"))?;
        exec.timeout = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if exec.timeout == Some(Duration::ZERO) {
            exec.timeout = Some(Duration::from_millis(1));
        }
        live.guest().exec(exec).await
    }

    fn check(&self, step: &Step, ended: &ExecResult) -> Result<(), EnvironmentError> {
        let how = match ended.status {
            ExecStatus::Exited(0) => return Ok(()),
            ExecStatus::Exited(code) => format!("failed with exit code {code}"),
            ExecStatus::Signalled(signal) => format!("was ended by signal {signal}"),
            ExecStatus::TimedOut => {
                return Err(EnvironmentError::new(
                    ErrorType::EnvironmentStartTimeoutError,
                    format!("{}: the build's time was over", self.place(step)),
                ));
            }
        };
        let text = ended.text();
        let text = text.trim_end();
        let start = text.len().saturating_sub(SHOWN_OUTPUT);
        let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let mut message = format!("{} {how}; its last output:\n{}", self.place(step), &text[start..]);
        if self.ordinary {
            message.push_str(
                "\n(this sandbox belongs to an ordinary user: what the host's root owns, such as /usr, cannot be \
                 changed in it; run trajgen as root or use Docker for that)",
            );
        }
        Err(build_error(message))
    }

    fn place(&self, step: &Step) -> String {
        format!("{}, line {}: {}", self.recipe.path.display(), step.line, step.text)
    }

    async fn copy_step(&mut self, step: &Step, transfer: &Transfer) -> Result<(), EnvironmentError> {
        let mut filled = transfer.clone();
        for text in filled.sources.iter_mut().chain([&mut filled.target]).chain(filled.chown.as_mut()) {
            // In the JSON form quotes and backslashes stand for themselves.
            let source = if transfer.json {
                text.replace('\\', "\\\\").replace(['"', '\''], "\\$0")
            } else {
                text.clone()
            };
            *text = self.fill(step, &source)?;
        }
        let folder_target =
            filled.target.ends_with('/') || filled.target.ends_with("/.") || filled.target == ".";
        filled.target = resolve(&self.image.workdir, &filled.target);
        if filled.add {
            self.unpack_archives(step, &mut filled).await?;
            if filled.sources.is_empty() {
                return Ok(());
            }
        }
        let target = filled.target.clone();
        if folder_target && !filled.target.ends_with('/') {
            filled.target.push('/');
        }
        let ignore = Ignore::read(self.context).map_err(|problem| self.wrong(step, problem))?;
        let live = self.live.as_ref().ok_or_else(|| build_error("this build has no sandbox"))?;
        self.staged += 1;
        let into = live.scratch().unwrap_or(Path::new("")).join(format!("copy-{}", self.staged));
        let context = self.context.to_owned();
        let staged = tokio::task::spawn_blocking(move || {
            let staged = context::stage(&context, &ignore, &filled, &into);
            (staged, filled)
        });
        let (staged, filled) = staged.await.map_err(|e| build_error(e.to_string()))?;
        let staged = staged.map_err(|problem| self.wrong(step, problem))?;
        let new = !self.exec(own(&["test", "-e", &target])).await?.success();
        let source = match &staged.one_file {
            Some(file) => staged.folder.join(file),
            None => staged.folder.clone(),
        };
        let live = self.live.as_ref().ok_or_else(|| build_error("this build has no sandbox"))?;
        live.guest().upload(&source, &target).await?;
        if let Some(owner) = &filled.chown {
            self.own(step, owner, &staged, &target, new).await?;
        }
        // The copy has served; an error only costs room until the build's end.
        let _ = fs::remove_dir_all(&staged.folder);
        Ok(())
    }

    /// Gives what a `COPY` has brought to its owner.
    async fn own(
        &self,
        step: &Step,
        owner: &str,
        staged: &context::Staged,
        target: &str,
        new: bool,
    ) -> Result<(), EnvironmentError> {
        let owner = &whole_owner(owner);
        if let Some(file) = &staged.one_file {
            let name = file.to_string_lossy();
            let line = "if [ -d \"$2\" ]; then set -- \"$1\" \"$2/$3\"; fi; chown -h -- \"$1\" \"$2\"";
            return self.must(step, ["/bin/sh", "-c", line, "sh", owner, target, &name]).await;
        }
        let mut names: Vec<u8> = Vec::new();
        for path in
            new.then_some(Path::new(".")).into_iter().chain(staged.entries.iter().map(PathBuf::as_path))
        {
            names.extend(std::os::unix::ffi::OsStrExt::as_bytes(Path::new("./").join(path).as_os_str()));
            names.push(0);
        }
        let mut exec = own(&["xargs", "-0", "-r", "chown", "-h", "--", owner]);
        exec.cwd = Some(target.to_owned());
        exec.stdin = names;
        let ended = self.exec(exec).await?;
        self.check(step, &ended)
    }

    /// Unpacks the sources that are archives, inside, and takes them off the list.
    async fn unpack_archives(&self, step: &Step, transfer: &mut Transfer) -> Result<(), EnvironmentError> {
        let mut rest = Vec::new();
        for source in std::mem::take(&mut transfer.sources) {
            let path = self.context.join(source.trim_start_matches('/'));
            let inside = path.canonicalize().ok().zip(self.context.canonicalize().ok());
            let packed = inside.is_some_and(|(path, context)| {
                path.starts_with(&context) && path.is_file() && context::looks_packed(&path)
            });
            if !packed || !self.unpack(step, &path, transfer).await? {
                rest.push(source);
            }
        }
        transfer.sources = rest;
        Ok(())
    }

    /// `Ok(false)` when it is no archive after all.
    async fn unpack(&self, step: &Step, path: &Path, transfer: &Transfer) -> Result<bool, EnvironmentError> {
        let live = self.live.as_ref().ok_or_else(|| build_error("this build has no sandbox"))?;
        live.guest().upload(path, ARCHIVE).await?;
        let listed = self.exec(own(&["tar", "-tf", ARCHIVE])).await?;
        // What is only packed is listed as an archive of nothing.
        let is_archive = listed.success() && listed.output_bytes > 0;
        if is_archive {
            let target = &transfer.target;
            self.must(step, ["mkdir", "-p", "--", target]).await?;
            let place = if transfer.chown.is_some() { UNPACKED } else { target.as_str() };
            self.must(step, ["mkdir", "-p", "--", place]).await?;
            let owners = if self.many_ids { "--same-owner" } else { "--no-same-owner" };
            self.must(step, ["tar", "-xpf", ARCHIVE, owners, "-C", place]).await?;
            if let Some(owner) = &transfer.chown {
                let line = "chown -hR -- \"$1\" \"$2\" && find \"$2\" -mindepth 1 -maxdepth 1 -exec cp -a -t \"$3\" {} +";
                self.must(step, ["/bin/sh", "-c", line, "sh", &whole_owner(owner), place, target]).await?;
                self.must(step, ["rm", "-rf", "--", place]).await?;
            }
        }
        self.must(step, ["rm", "-f", "--", ARCHIVE]).await?;
        Ok(is_archive)
    }
}

/// What an argument that only has a name is set to by itself: what is built for, and on, this machine.
fn automatic(name: &str) -> Option<String> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    match name.strip_prefix("TARGET").or_else(|| name.strip_prefix("BUILD"))? {
        "ARCH" => Some(arch.to_owned()),
        "OS" => Some("linux".to_owned()),
        "PLATFORM" => Some(format!("linux/{arch}")),
        _ => None,
    }
}

/// A user without a group has its own group, a number the group of the same number.
fn whole_owner(owner: &str) -> String {
    match (owner.contains(':'), owner.parse::<u32>()) {
        (true, _) => owner.to_owned(),
        (false, Ok(number)) => format!("{number}:{number}"),
        (false, Err(_)) => format!("{owner}:"),
    }
}

/// A command of our own: as root, with nothing of the image's settings.
fn own(argv: &[&str]) -> Exec {
    Exec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        user: Some("0:0".to_owned()),
        cwd: Some("/".to_owned()),
        ..Exec::default()
    }
}
