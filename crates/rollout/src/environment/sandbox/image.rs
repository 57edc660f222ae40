//! Images: what a Dockerfile makes of the host's userland, kept as overlay layers by digest.

use super::build::{Build, Log};
use super::cgroup::Limits;
use super::context;
use super::dockerfile::{self, DockerfileError, Instruction, Step, Transfer, Vars};
use super::live::{Live, Plan};
use super::{IMAGES, SandboxProvider, lost};
use crate::environment::{EnvironmentError, EnvironmentSpec, Network};
use crate::guest::Defaults;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trajgen_contract::files;
use trajgen_contract::outcome::ErrorType;

/// Changes whenever images of before must not be taken for ones of now.
const FORMAT: u32 = 2;
/// How long a build whose time is over may take to end its step and say which it was.
const ENDING: Duration = Duration::from_secs(10);
/// The description beside an image's layers.
const DESCRIPTION: &str = "image.json";

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
    pub(super) path: PathBuf,
    pub(super) steps: Vec<Step>,
    pub(super) digest: String,
}

pub(super) fn build_error(message: impl Into<String>) -> EnvironmentError {
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

    /// Builds the image, unless it is there; waits when another task is just building it. Gives the time it took
    /// without that wait.
    pub(super) async fn make_image(
        &self,
        recipe: &Recipe,
        spec: &EnvironmentSpec,
        log_to: &Path,
    ) -> Result<Duration, EnvironmentError> {
        let turn = super::lock(&self.building).entry(recipe.digest.clone()).or_default().clone();
        let _turn = turn.lock().await;
        let began = Instant::now();
        let limit = spec.build_timeout.saturating_add(ENDING);
        match tokio::time::timeout(limit, self.make_image_now(recipe, spec, log_to)).await {
            Ok(made) => made.map(|()| began.elapsed()),
            Err(_) => Err(EnvironmentError::new(
                ErrorType::EnvironmentStartTimeoutError,
                format!("{}: the build's time was over", recipe.path.display()),
            )),
        }
    }

    async fn make_image_now(
        &self,
        recipe: &Recipe,
        spec: &EnvironmentSpec,
        log_to: &Path,
    ) -> Result<(), EnvironmentError> {
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
            path: self.base_env().get("PATH").cloned().unwrap_or_default(),
            global: Vars::new(),
            args: Vars::new(),
            shell: vec!["/bin/sh".to_owned(), "-c".to_owned()],
            image: Image::default(),
            staged: 0,
            ordinary: self.maps.is_some(),
            many_ids: self.maps.as_ref().is_none_or(super::maps::Maps::many),
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
        let prefix = format!(".image-{}-", self.owner.fresh_name());
        let work = tempfile::Builder::new().prefix(&prefix).tempdir_in(&images).map_err(doing)?;
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
        match fs::rename(work.path(), images.join(digest)) {
            Ok(()) => drop(work.keep()),
            // Another run has just made the same.
            Err(_) if images.join(digest).join(DESCRIPTION).is_file() => {
                self.remove(work.path()).map_err(doing)?;
            }
            Err(error) => return Err(doing(error)),
        }
        match ended {
            Some(live) => live.remove().await,
            None => Ok(()),
        }
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
