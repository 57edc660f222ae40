//! Images: what a Dockerfile makes of the host's userland, kept as overlay layers by digest.

use super::cgroup::Limits;
use super::context::{self, Ignore};
use super::dockerfile::{self, DockerfileError, Instruction, Run, Step, Transfer, Vars, expand};
use super::live::{Live, Plan};
use super::{IMAGES, SandboxProvider, lost};
use crate::environment::{EnvironmentError, EnvironmentSpec, Exec, ExecResult, ExecStatus, Network};
use crate::guest::Defaults;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trajgen_contract::files;
use trajgen_contract::outcome::ErrorType;

/// Changes whenever images of before must not be taken for ones of now.
const FORMAT: u32 = 1;
/// The description beside an image's layers.
const DESCRIPTION: &str = "image.json";
/// How much of a failed step's output its error shows, in bytes.
const SHOWN_OUTPUT: usize = 2000;
/// Where an archive waits to be unpacked.
const ARCHIVE: &str = "/run/trajgen-add";

/// What commands in an image start with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Image {
    pub(super) workdir: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) user: Option<String>,
}

impl Default for Image {
    fn default() -> Self {
        Self { workdir: "/".to_owned(), env: BTreeMap::new(), user: None }
    }
}

/// A Dockerfile that was read, and the digest of what it makes.
pub(super) struct Recipe {
    path: PathBuf,
    steps: Vec<Step>,
    pub(super) digest: String,
}

fn build_error(message: impl Into<String>) -> EnvironmentError {
    EnvironmentError::new(ErrorType::EnvironmentBuildError, message)
}

impl From<DockerfileError> for EnvironmentError {
    fn from(error: DockerfileError) -> Self {
        build_error(error.to_string())
    }
}

impl SandboxProvider {
    /// The task's Dockerfile; none when it has none, or a prebuilt image wins over it.
    pub(super) fn recipe(&self, spec: &EnvironmentSpec) -> Result<Option<Recipe>, EnvironmentError> {
        let path = spec.context.join("Dockerfile");
        if spec.docker_image.is_some() || !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(|e| build_error(format!("{}: {e}", path.display())))?;
        let steps = dockerfile::parse(&text, &path)?;
        self.check_ids(&steps, &path)?;
        let digest = self.digest(&spec.context)?;
        Ok(Some(Recipe { path, steps, digest }))
    }

    /// What needs more user ids than an ordinary user has.
    fn check_ids(&self, steps: &[Step], path: &Path) -> Result<(), DockerfileError> {
        if self.maps.as_ref().is_none_or(super::maps::Maps::many) {
            return Ok(());
        }
        for step in steps {
            let what = match &step.instruction {
                Instruction::User(user) if !matches!(user.split(':').next(), Some("root" | "0")) => "USER",
                Instruction::Copy(Transfer { chown: Some(_), .. }) => "--chown",
                _ => continue,
            };
            return Err(DockerfileError::new(
                path,
                step.line,
                format!(
                    "{what} needs more user ids than this ordinary user has: grant ranges in /etc/subuid and \
                     /etc/subgid (with newuidmap installed), run as root, or use Docker"
                ),
            ));
        }
        Ok(())
    }

    /// The digest of a context, read again only when something in it has changed.
    fn digest(&self, context: &Path) -> Result<String, EnvironmentError> {
        let unreadable = |e: io::Error| build_error(format!("{}: {e}", context.display()));
        let stamp = context::stamp(context).map_err(unreadable)?;
        let mut known = super::lock(&self.digests);
        if let Some((_, digest)) = known.get(context).filter(|(known, _)| *known == stamp) {
            return Ok(digest.clone());
        }
        let seed = format!("{FORMAT} {}", self.userland.fingerprint);
        let digest = context::digest(context, &seed).map_err(unreadable)?;
        known.insert(context.to_owned(), (stamp, digest.clone()));
        Ok(digest)
    }

    /// Reads an image's description; none when it is not built.
    pub(super) fn image(&self, digest: &str) -> Result<Option<Image>, EnvironmentError> {
        let path = self.cache.join(IMAGES).join(digest).join(DESCRIPTION);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(lost(&format!("cannot read {}", path.display()), &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|e| lost(&format!("{}", path.display()), &e.into()))
    }

    /// Builds the image, unless it is there; waits when another task is just building it.
    pub(super) async fn make_image(
        &self,
        recipe: &Recipe,
        spec: &EnvironmentSpec,
        log_to: &Path,
    ) -> Result<(), EnvironmentError> {
        let turn = super::lock(&self.building).entry(recipe.digest.clone()).or_default().clone();
        let _turn = turn.lock().await;
        let mut log = Log::open(log_to)?;
        if self.image(&recipe.digest)?.is_some() {
            return log.say(&format!("image {} is in the cache", recipe.digest));
        }
        log.say(&format!("building image {} from {}", recipe.digest, recipe.path.display()))?;
        let writes =
            recipe.steps.iter().any(|s| matches!(s.instruction, Instruction::Run(_) | Instruction::Copy(_)));
        let mut build = Build {
            recipe,
            context: &spec.context,
            deadline: Instant::now().checked_add(spec.build_timeout),
            log,
            log_to,
            live: None,
            args: Vars::new(),
            shell: vec!["/bin/sh".to_owned(), "-c".to_owned()],
            image: Image::default(),
            staged: 0,
            many_ids: self.maps.is_none(),
        };
        if writes {
            if !self.storage.keeps_layers() {
                return Err(build_error(format!(
                    "the cache folder {} lies on a file system that cannot keep images (an overlay, or a network's): \
                     put the block on a disk of its own (a volume), or use Docker",
                    self.cache.display()
                )));
            }
            build.live = Some(self.open(self.build_plan()).await?);
        }
        let ended = build.run().await;
        let Build { live, image, mut log, .. } = build;
        if let Err(error) = ended {
            log.say(&error.message)?;
            if let Some(mut live) = live {
                live.end().await?;
                live.remove().await?;
            }
            return Err(error);
        }
        self.keep(&recipe.digest, live, &image).await?;
        log.say("built")
    }

    fn build_plan(&self) -> Plan<'static> {
        Plan {
            network: Network::Public,
            socket: None,
            image: None,
            limits: Limits { memory: None, pids: super::BUILD_PIDS, cpus: None },
            storage: None,
            folders: Vec::new(),
            defaults: Defaults { user: None, workdir: Some("/".to_owned()), env: self.base_env() },
        }
    }

    /// Makes an image of what the build's sandbox has written.
    async fn keep(&self, digest: &str, live: Option<Live>, image: &Image) -> Result<(), EnvironmentError> {
        let doing = |e: io::Error| lost("cannot keep the image in the cache", &e);
        let images = self.cache.join(IMAGES);
        let work = tempfile::Builder::new().prefix(".image-").tempdir_in(&images).map_err(doing)?;
        let file = |e: files::FileError| lost("cannot keep the image in the cache", &io::Error::other(e));
        files::replace_json(&work.path().join(DESCRIPTION), image).map_err(file)?;
        let mut ended = None;
        if let Some(mut live) = live {
            live.end().await?;
            let layers = live.scratch().map(|scratch| scratch.join("s/u")).unwrap_or_default();
            for entry in fs::read_dir(layers).map_err(doing)? {
                let entry = entry.map_err(doing)?;
                fs::rename(entry.path(), work.path().join(entry.file_name())).map_err(doing)?;
            }
            ended = Some(live);
        }
        // An image found after the machine was cut off must be whole.
        let folder = fs::File::open(work.path()).map_err(doing)?;
        let on_disk = tokio::task::spawn_blocking(move || rustix::fs::syncfs(&folder)).await;
        on_disk
            .map_err(io::Error::other)
            .and_then(|synced| synced.map_err(io::Error::from))
            .map_err(doing)?;
        fs::rename(work.keep(), images.join(digest)).map_err(doing)?;
        match ended {
            Some(live) => live.remove().await,
            None => Ok(()),
        }
    }
}

/// The build's log in the trial's folder.
struct Log {
    path: PathBuf,
    file: fs::File,
}

impl Log {
    fn open(path: &Path) -> Result<Self, EnvironmentError> {
        let opened = fs::File::options().create(true).append(true).open(path);
        let file =
            opened.map_err(|e| lost(&format!("cannot write the build's log {}", path.display()), &e))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn say(&mut self, line: &str) -> Result<(), EnvironmentError> {
        let said = writeln!(self.file, "{line}");
        said.map_err(|e| lost(&format!("cannot write the build's log {}", self.path.display()), &e))
    }
}

/// A build in progress.
struct Build<'a> {
    recipe: &'a Recipe,
    context: &'a Path,
    deadline: Option<Instant>,
    log: Log,
    log_to: &'a Path,
    live: Option<Live>,
    args: Vars,
    shell: Vec<String>,
    image: Image,
    staged: usize,
    many_ids: bool,
}

impl Build<'_> {
    async fn run(&mut self) -> Result<(), EnvironmentError> {
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
        let mut vars = self.args.clone();
        vars.extend(self.image.env.clone());
        vars
    }

    fn fill(&self, step: &Step, text: &str) -> Result<String, EnvironmentError> {
        expand(text, &self.vars()).map_err(|problem| self.wrong(step, problem))
    }

    async fn step(&mut self, step: &Step) -> Result<(), EnvironmentError> {
        match &step.instruction {
            Instruction::From => Ok(()),
            Instruction::Env(pairs) => {
                // All are filled in before any is set.
                let filled: Result<Vec<_>, EnvironmentError> =
                    pairs.iter().map(|(name, value)| Ok((name.clone(), self.fill(step, value)?))).collect();
                self.image.env.extend(filled?);
                Ok(())
            }
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    if let Some(default) = default {
                        let value = self.fill(step, default)?;
                        self.args.insert(name.clone(), value);
                    }
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
        };
        let exec = Exec {
            argv,
            user: self.image.user.clone(),
            cwd: Some(self.image.workdir.clone()),
            env: self.vars(),
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
        if !self.many_ids {
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
        let is_archive = self.exec(own(&["tar", "-tf", ARCHIVE])).await?.success();
        if is_archive {
            self.must(step, ["mkdir", "-p", "--", &transfer.target]).await?;
            let owner = transfer.chown.as_deref().unwrap_or_default();
            let (user, group) = owner.split_once(':').unwrap_or((owner, owner));
            let (user, group) = (format!("--owner={user}"), format!("--group={group}"));
            let mut argv = vec!["tar", "-xpf", ARCHIVE, "-C", &transfer.target];
            if !owner.is_empty() {
                argv.extend([user.as_str(), group.as_str()]);
            } else if !self.many_ids {
                argv.push("--no-same-owner");
            }
            let ended = self.exec(own(&argv)).await?;
            self.check(step, &ended)?;
        }
        self.must(step, ["rm", "-f", "--", ARCHIVE]).await?;
        Ok(is_archive)
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

/// `path` as seen from `workdir`, without `.`, `..` and doubled slashes.
pub(super) fn resolve(workdir: &str, path: &str) -> String {
    let start = if path.starts_with('/') { "" } else { workdir };
    let mut parts: Vec<&str> = Vec::new();
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_from_the_workdir() {
        for (workdir, path, expected) in [
            ("/", "app", "/app"),
            ("/a", "b/c", "/a/b/c"),
            ("/a", "../b", "/b"),
            ("/a", "/b//c/.", "/b/c"),
            ("/", "../..", "/"),
        ] {
            assert_eq!(resolve(workdir, path), expected, "{workdir} {path}");
        }
    }
}
