//! The embedded sandbox: namespaces and overlays over the host's own userland. No daemon, no image.
//!
//! What it guarantees and what it does not: `docs/design/sandbox.md`.

mod build;
mod cgroup;
mod context;
mod dockerfile;
mod image;
mod launch;
mod live;
mod maps;
mod phases;
mod running;
mod scratch;
mod storage;
mod toolchain;
mod userland;
mod watch;

use super::{Capabilities, Environment, EnvironmentError, EnvironmentProvider, EnvironmentSpec, Network};
use crate::guest::Defaults;
use async_trait::async_trait;
use cgroup::{Cgroups, Limits};
use image::Image;
use launch::Program;
use live::Plan;
use maps::Maps;
use running::Sandbox;
use scratch::Owner;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::Storage;
use trajgen_contract::outcome::ErrorType;
use userland::Userland;

/// Where images and the base lie in the cache, and where scratch folders do.
const IMAGES: &str = "sandbox";
const SCRATCH: &str = "scratch";
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Processes and threads of a build, which the task says nothing about.
const BUILD_PIDS: u64 = 4096;
/// Folders of the trial inside, which every user may write.
const LOGS: [&str; 3] = ["/logs/agent", "/logs/verifier", "/logs/artifacts"];

/// What a provider is made of.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The block's cache folder; made when missing.
    pub cache: PathBuf,
    /// Takes the host's userland for a task's prebuilt image instead of refusing the task.
    pub any_image: bool,
}

/// Makes sandboxes.
pub struct SandboxProvider {
    cache: PathBuf,
    any_image: bool,
    owner: Owner,
    program: Arc<Program>,
    userland: Userland,
    storage: Storage,
    cgroups: Option<Cgroups>,
    /// For ordinary users.
    maps: Option<Maps>,
    /// Digests of contexts, each with the stamp that it is good for.
    digests: Mutex<HashMap<PathBuf, (String, String)>>,
    /// Whoever builds an image holds its turn.
    building: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A panic while such a lock was held has left the table whole: entries go in at once.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of the host's.
fn lost(doing: &str, error: &io::Error) -> EnvironmentError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorType::DiskFullError,
        _ => ErrorType::EnvironmentLostError,
    };
    EnvironmentError::new(kind, format!("{doing}: {error}"))
}

fn failed(message: &str) -> EnvironmentError {
    EnvironmentError::new(ErrorType::EnvironmentLostError, message)
}

impl SandboxProvider {
    /// Looks at the host and prepares the cache folder.
    ///
    /// # Errors
    /// The cache folder cannot be used, or lies in what sandboxes see of the host.
    pub fn new(options: SandboxOptions) -> Result<Self, EnvironmentError> {
        let at = |doing: &str| {
            let doing = format!("{doing} {}", options.cache.display());
            move |error: io::Error| lost(&doing, &error)
        };
        for folder in [options.cache.clone(), options.cache.join(IMAGES), options.cache.join(SCRATCH)] {
            std::fs::create_dir_all(&folder).map_err(at("cannot make the cache folder"))?;
        }
        let cache = options.cache.canonicalize().map_err(at("cannot find the cache folder"))?;
        let maps = Maps::find();
        let userland = Userland::prepare(&cache.join(IMAGES), maps.is_some())
            .map_err(at("cannot prepare the sandboxes' view of the host below"))?;
        let storage = Storage::find(&cache.join(SCRATCH), maps.is_none())
            .map_err(at("cannot look at the file system of"))?;
        let owner = Owner::this().map_err(at("cannot find out who owns"))?;
        let provider = Self {
            any_image: options.any_image,
            owner,
            program: Arc::new(Program::load().map_err(|e| lost("cannot load the guest helper", &e))?),
            userland,
            storage,
            cgroups: Cgroups::find(owner),
            maps,
            cache,
            digests: Mutex::default(),
            building: Mutex::default(),
        };
        provider.check_hidden("the cache folder", &provider.cache)?;
        Ok(provider)
    }

    /// Nothing of the block or of a task may be in what sandboxes see.
    fn check_hidden(&self, what: &str, path: &Path) -> Result<(), EnvironmentError> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match userland::seen_below(&self.userland, &path) {
            None => Ok(()),
            Some(seen) => Err(EnvironmentError::new(
                ErrorType::EnvironmentBuildError,
                format!(
                    "{what} {} lies in {seen}, which sandboxes see: move it elsewhere, or use Docker",
                    path.display()
                ),
            )),
        }
    }

    /// Removes a tree that a sandbox has written.
    fn remove(&self, tree: &Path) -> io::Result<()> {
        self.program.remove(self.maps.as_ref(), tree)
    }

    /// What commands see beside what the image and the task say.
    fn base_env(&self) -> BTreeMap<String, String> {
        let toolchains = &self.userland.toolchains;
        let bins = toolchains.iter().flat_map(|t| t.path.iter().map(String::as_str));
        let path = bins.chain([SYSTEM_PATH]).collect::<Vec<_>>().join(":");
        let mut env = BTreeMap::from([("PATH".to_owned(), path), ("LANG".to_owned(), "C.UTF-8".to_owned())]);
        env.extend(toolchains.iter().flat_map(|t| t.env.clone()));
        env
    }
}

#[async_trait]
impl EnvironmentProvider for SandboxProvider {
    fn kind(&self) -> &'static str {
        "sandbox"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            mounts: false,
            networks: &[Network::None, Network::ModelOnly, Network::Public],
            hard_limits: self.cgroups.is_some(),
            users: self.maps.as_ref().is_none_or(Maps::many),
            images: self.any_image,
        }
    }

    fn refuse(&self, spec: &EnvironmentSpec) -> Option<String> {
        if let Some(why) = phases::refuse(spec.setup_network, spec.network, spec.verifier_network) {
            return Some(why);
        }
        if let (Some(image), false) = (&spec.docker_image, self.any_image) {
            return Some(format!(
                "the task's image {image} is not the host's userland, which is all that the sandbox has: use Docker, \
                 or --any-image to run it on the host's userland all the same"
            ));
        }
        self.check_hidden("the task's environment", &spec.context).err().map(|error| error.message)
    }

    async fn build(&self, spec: &EnvironmentSpec, log_to: &Path) -> Result<Duration, EnvironmentError> {
        match self.recipe(spec)? {
            Some(recipe) => self.make_image(&recipe, spec, log_to).await,
            None => Ok(Duration::ZERO),
        }
    }

    async fn start(&self, spec: &EnvironmentSpec) -> Result<Box<dyn Environment>, EnvironmentError> {
        if let Some(reason) = self.refuse(spec) {
            return Err(EnvironmentError::new(ErrorType::EnvironmentBuildError, reason));
        }
        let recipe = self.recipe(spec)?;
        let digest = recipe.as_ref().map(|recipe| recipe.digest.as_str());
        let image = match digest {
            Some(digest) => self.image(digest)?.ok_or_else(|| failed("the task's image was not built"))?,
            None => Image::default(),
        };
        let mut folders: Vec<(String, u32)> = LOGS.map(|name| (name.to_owned(), 0o777)).into();
        let workdir = match &spec.workdir {
            Some(workdir) => image::resolve(&image.workdir, workdir),
            None => image.workdir,
        };
        if workdir != "/" {
            folders.push((workdir.clone(), 0o755));
        }
        let mut env = self.base_env();
        env.extend(image.env);
        env.extend(spec.env.clone());
        let socket = spec.proxy_socket.as_deref().filter(|_| spec.network == Network::ModelOnly);
        let plan = Plan {
            network: spec.network,
            socket,
            image: digest,
            limits: Limits {
                memory: spec.memory_mb.map(|mb| mb.saturating_mul(1 << 20)),
                pids: spec.pids,
                cpus: spec.cpus,
            },
            storage: spec.storage_mb.map(|mb| mb.saturating_mul(1 << 20)),
            folders,
            defaults: Defaults { user: image.user, workdir: Some(workdir.clone()), env },
        };
        let live = self.open(plan).await?;
        if digest.is_none() {
            // Without a Dockerfile the folder's files are what the workdir starts with.
            live.guest().upload(&spec.context, &workdir).await?;
        }
        let proxy_url = live.forward().await?.map(|port| format!("http://127.0.0.1:{port}"));
        Ok(Box::new(Sandbox::new(live, workdir, proxy_url)))
    }

    async fn sweep(&self) -> Result<usize, EnvironmentError> {
        // First the groups: what still runs in them is ended.
        let groups = self.cgroups.as_ref().map_or(0, Cgroups::sweep);
        let mut swept = 0;
        for folder in [SCRATCH, IMAGES] {
            swept += scratch::sweep(&self.cache.join(folder), &|tree| self.remove(tree))
                .map_err(|e| lost(&format!("cannot sweep the folder {folder} of the cache"), &e))?;
        }
        Ok(swept + groups)
    }
}
