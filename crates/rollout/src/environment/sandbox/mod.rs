//! The embedded sandbox: namespaces and overlays over the host's own userland. No daemon, no image.
//!
//! What it guarantees and what it does not: `docs/design/sandbox.md`.

mod cgroup;
mod launch;
mod running;
mod scratch;
mod toolchain;
mod userland;

use super::{Capabilities, Environment, EnvironmentError, EnvironmentProvider, EnvironmentSpec, Network};
use crate::guest::Defaults;
use async_trait::async_trait;
use cgroup::{Cgroups, Limits};
use launch::{Maps, Program, Running};
use running::Sandbox;
use scratch::Owner;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use trajgen_contract::outcome::ErrorType;
use trajgen_guest::sandbox::{Bind, Room, Upper};
use userland::Userland;

/// Where images and the base lie in the cache, and where scratch folders do.
const IMAGES: &str = "sandbox";
const SCRATCH: &str = "scratch";
/// Where the proxy's socket is seen inside.
const PROXY_SOCKET: &str = "/run/trajgen/proxy.sock";
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
    program: Program,
    userland: Userland,
    cgroups: Option<Cgroups>,
    /// For ordinary users.
    maps: Option<Maps>,
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
        let root = rustix::process::geteuid().is_root();
        let maps = (!root).then(|| Maps {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        });
        let userland = Userland::prepare(&cache.join(IMAGES), maps.is_some())
            .map_err(at("cannot prepare the sandboxes' view of the host below"))?;
        let provider = Self {
            any_image: options.any_image,
            owner: Owner::this().map_err(at("cannot find out who owns"))?,
            program: Program::load().map_err(|e| lost("cannot load the guest helper", &e))?,
            userland,
            cgroups: None,
            maps,
            cache,
        };
        provider.check_hidden("the cache folder", &provider.cache)?;
        Ok(Self { cgroups: Cgroups::find(provider.owner), ..provider })
    }

    /// Nothing of the block or of a task may be in what sandboxes see.
    fn check_hidden(&self, what: &str, path: &Path) -> Result<(), EnvironmentError> {
        match userland::seen_below(&self.userland, path) {
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

    fn env(&self, spec: &EnvironmentSpec) -> BTreeMap<String, String> {
        let toolchains = &self.userland.toolchains;
        let bins = toolchains.iter().flat_map(|t| t.path.iter().map(String::as_str));
        let path = bins.chain([SYSTEM_PATH]).collect::<Vec<_>>().join(":");
        let mut env = BTreeMap::from([("PATH".to_owned(), path), ("LANG".to_owned(), "C.UTF-8".to_owned())]);
        env.extend(toolchains.iter().flat_map(|t| t.env.clone()));
        env.extend(spec.env.clone());
        env
    }

    fn room(&self, spec: &EnvironmentSpec, scratch: &str) -> Room {
        let shown = self.userland.toolchains.iter().flat_map(|t| t.shown.iter());
        let mut binds: Vec<Bind> = shown
            .filter_map(|path| path.to_str())
            .map(|path| Bind { source: path.to_owned(), target: path.to_owned() })
            .collect();
        if let (Network::ModelOnly, Some(socket)) = (spec.network, &spec.proxy_socket) {
            binds.push(Bind {
                source: socket.to_string_lossy().into_owned(),
                target: PROXY_SOCKET.to_owned(),
            });
        }
        Room {
            base: self.cache.to_string_lossy().into_owned(),
            scratch: scratch.to_owned(),
            upper: Upper::Folder,
            layers: self.userland.layers(&self.cache, IMAGES, None),
            binds,
            user: self.maps.is_some(),
            many_ids: self.maps.is_none(),
            network: spec.network != Network::Public,
            folders: ["agent", "verifier", "artifacts"].map(|name| (format!("/logs/{name}"), 0o777)).into(),
            process_limit: self.cgroups.is_none().then_some(spec.pids),
        }
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
            users: self.maps.is_none(),
            images: self.any_image,
        }
    }

    fn refuse(&self, spec: &EnvironmentSpec) -> Option<String> {
        if spec.network == Network::Allowlist {
            return Some("the sandbox cannot limit the network to named hosts yet: use Docker".to_owned());
        }
        if let (Some(image), false) = (&spec.docker_image, self.any_image) {
            return Some(format!(
                "the task's image {image} is not the host's userland, which is all that the sandbox has: use Docker, \
                 or --any-image to run it on the host's userland all the same"
            ));
        }
        self.check_hidden("the task's environment", &spec.context).err().map(|error| error.message)
    }

    async fn build(&self, _spec: &EnvironmentSpec, _log_to: &Path) -> Result<(), EnvironmentError> {
        Ok(())
    }

    async fn start(&self, spec: &EnvironmentSpec) -> Result<Box<dyn Environment>, EnvironmentError> {
        if let Some(reason) = self.refuse(spec) {
            return Err(EnvironmentError::new(ErrorType::EnvironmentBuildError, reason));
        }
        let name = self.owner.fresh_name();
        let limits = Limits {
            memory: spec.memory_mb.map(|mb| mb.saturating_mul(1 << 20)),
            pids: spec.pids,
            cpus: spec.cpus,
        };
        let group = match &self.cgroups {
            Some(cgroups) => Some(
                cgroups
                    .group(&name, limits)
                    .map_err(|e| lost("cannot make the sandbox's control group", &e))?,
            ),
            None => None,
        };
        let scratch = scratch::make(&self.cache.join(SCRATCH), &name)
            .map_err(|e| lost("cannot make the sandbox's scratch folder", &e))?;
        let room = self.room(spec, &format!("{SCRATCH}/{name}"));
        let workdir = spec.workdir.clone().unwrap_or_else(|| "/".to_owned());
        let defaults = Defaults { user: None, workdir: Some(workdir.clone()), env: self.env(spec) };
        let running = Running::start(&self.program, self.maps, &room, group.as_ref(), defaults).await?;
        Ok(Box::new(Sandbox::new(running, group, scratch, workdir, None)))
    }

    async fn sweep(&self) -> Result<usize, EnvironmentError> {
        let swept = scratch::sweep(&self.cache.join(SCRATCH))
            .map_err(|e| lost("cannot sweep the scratch folder", &e))?;
        Ok(swept + self.cgroups.as_ref().map_or(0, Cgroups::sweep))
    }
}
