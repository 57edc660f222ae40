//! A sandbox with everything that belongs to it on the host.

use super::cgroup::{Group, Limits};
use super::launch::{Program, Running};
use super::maps::Maps;
use super::watch::{Watch, Watched};
use super::{SCRATCH, SandboxProvider, lost, scratch};
use crate::environment::{EnvironmentError, Network};
use crate::guest::{Defaults, Guest};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_guest::sandbox::{Bind, Room, Upper};

/// How long an end waits for files to be removed; after that they are removed beside what comes next.
const REMOVAL_WAIT: Duration = Duration::from_millis(500);
/// Processes that are just being killed may still write into what is removed.
const REMOVAL_TRIES: u32 = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);
/// A file system with less room than this, or than this part of its size, is full.
const FULL_BYTES: u64 = 1 << 20;
const FULL_PART: u64 = 200;

/// What is wanted of a sandbox.
pub(super) struct Plan<'a> {
    pub(super) network: Network,
    /// The proxy's socket on the host.
    pub(super) socket: Option<&'a Path>,
    /// The image, by its folder's name.
    pub(super) image: Option<&'a str>,
    pub(super) limits: Limits,
    /// Bytes that may be written.
    pub(super) storage: Option<u64>,
    /// Folders to make, and their modes.
    pub(super) folders: Vec<(String, u32)>,
    pub(super) defaults: Defaults,
}

/// A sandbox that runs. Dropped, it is killed, and what it leaves is removed by a thread.
pub(super) struct Live {
    watch: Option<Watch>,
    running: Running,
    leftovers: Leftovers,
    limit: Option<u64>,
    memory: Option<u64>,
}

/// What is on the host for a sandbox, apart from its processes.
struct Leftovers {
    group: Option<Group>,
    scratch: Option<PathBuf>,
    program: Arc<Program>,
    maps: Option<Maps>,
}

impl SandboxProvider {
    /// Starts a sandbox.
    pub(super) async fn open(&self, plan: Plan<'_>) -> Result<Live, EnvironmentError> {
        let name = self.owner.fresh_name();
        let mut leftovers = Leftovers {
            group: None,
            scratch: None,
            program: Arc::clone(&self.program),
            maps: self.maps.clone(),
        };
        if let Some(cgroups) = &self.cgroups {
            let group = cgroups.group(&name, plan.limits);
            leftovers.group = Some(group.map_err(|e| lost("cannot make the sandbox's control group", &e))?);
        }
        let folder = scratch::make(&self.cache.join(SCRATCH), &name)
            .map_err(|e| lost("cannot make the sandbox's scratch folder", &e))?;
        leftovers.scratch = Some(folder.clone());
        let (storage, limit) = (self.storage.clone(), plan.storage);
        let place = move || storage.place(&folder, limit);
        let placed = match limit {
            // Making a file system runs a program.
            Some(_) => tokio::task::spawn_blocking(place)
                .await
                .map_err(|e| lost("cannot prepare the sandbox's storage", &io::Error::other(e)))?,
            None => place(),
        };
        let on_disk = placed.upper == Upper::Folder;
        let room = self.room(&plan, &name, placed.upper);
        let group = leftovers.group.as_ref();
        let running = Running::start(&self.program, self.maps.as_ref(), &room, group, plan.defaults).await?;
        drop(placed.device);
        let watched = Watched {
            first_pid: running.first_pid(),
            memory: plan.limits.memory.filter(|_| self.cgroups.is_none()),
            processes: self.cgroups.is_none().then_some(plan.limits.pids),
            storage: plan.storage.filter(|_| !placed.enforced),
            folder: leftovers.scratch.clone().unwrap_or_default().join("s"),
            unlimited: plan.storage.is_none() && on_disk,
            program: Arc::clone(&self.program),
            maps: self.maps.clone(),
        };
        let watch = Watch::start(watched, running.guest().clone());
        Ok(Live {
            watch,
            running,
            leftovers,
            limit: plan.storage.filter(|_| placed.enforced),
            memory: plan.limits.memory,
        })
    }

    fn room(&self, plan: &Plan<'_>, name: &str, upper: Upper) -> Room {
        let shown = self.userland.toolchains.iter().flat_map(|t| t.shown.iter());
        let binds: Vec<Bind> = shown
            .filter_map(|path| path.to_str())
            .map(|path| Bind { source: path.to_owned(), target: path.to_owned() })
            .collect();
        Room {
            base: self.cache.to_string_lossy().into_owned(),
            scratch: format!("{SCRATCH}/{name}"),
            upper,
            layers: self.userland.layers(&self.cache, super::IMAGES, plan.image),
            binds,
            socket: plan.socket.map(|socket| socket.to_string_lossy().into_owned()),
            user: self.maps.is_some(),
            many_ids: self.maps.as_ref().is_none_or(Maps::many),
            network: plan.network != Network::Public,
            folders: plan.folders.clone(),
            process_limit: self.cgroups.is_none().then_some(plan.limits.pids),
        }
    }
}

impl Live {
    pub(super) fn guest(&self) -> &Guest {
        self.running.guest()
    }

    /// Opens a port inside that leads to the plan's socket, if it has one; says which.
    pub(super) async fn forward(&self) -> Result<Option<u16>, EnvironmentError> {
        match self.running.socket() {
            Some(socket) => self.guest().forward(0, socket).await.map(Some),
            None => Ok(None),
        }
    }

    /// The sandbox's folder on the host.
    pub(super) fn scratch(&self) -> Option<&Path> {
        self.leftovers.scratch.as_deref()
    }

    /// A limit that was broken.
    pub(super) fn broken_limit(&self) -> Option<EnvironmentError> {
        let kills = self.leftovers.group.as_ref().map_or(0, Group::out_of_memory_kills);
        if kills > 0 {
            let limit = self.memory.map_or_else(String::new, |limit| format!(" of {} MiB", limit >> 20));
            return Some(EnvironmentError::new(
                ErrorType::OutOfMemoryError,
                format!(
                    "the sandbox ran out of its memory{limit}: the kernel killed {kills} of its processes; give the \
                     task more with memory_mb"
                ),
            ));
        }
        if let Some(error) = self.watch.as_ref().and_then(Watch::broken) {
            return Some(error);
        }
        let limit = self.limit?;
        // The root inside is an overlay, which answers for the file system of its upper layer.
        let found = rustix::fs::statvfs(format!("/proc/{}/root", self.running.first_pid())).ok()?;
        let (free, size) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize);
        (free < FULL_BYTES.max(size / FULL_PART)).then(|| storage_limit(limit))
    }

    /// Kills everything; returns when no process is left.
    pub(super) async fn end(&mut self) -> Result<(), EnvironmentError> {
        self.watch = None;
        self.running.end().await
    }

    /// Removes what an ended sandbox leaves; gives up waiting, not removing, when that takes long.
    pub(super) async fn remove(mut self) -> Result<(), EnvironmentError> {
        let mut leftovers = self.leftovers.take();
        drop(self);
        let removal = tokio::task::spawn_blocking(move || {
            let result = leftovers.remove();
            if let Err(error) = &result {
                tracing::warn!("what is left of a sandbox could not be removed: {error}");
            }
            result
        });
        match tokio::time::timeout(REMOVAL_WAIT, removal).await {
            Ok(Ok(result)) => result.map_err(|e| lost("cannot remove what is left of the sandbox", &e)),
            Ok(Err(error)) => {
                Err(lost("cannot remove what is left of the sandbox", &io::Error::other(error)))
            }
            Err(_) => Ok(()),
        }
    }
}

/// The error for a sandbox that has written more than it may.
pub(super) fn storage_limit(limit: u64) -> EnvironmentError {
    EnvironmentError::new(
        ErrorType::StorageLimitError,
        format!("the sandbox filled its storage of {} MiB; give the task more with storage_mb", limit >> 20),
    )
}

impl Leftovers {
    /// Leaves nothing behind here.
    fn take(&mut self) -> Self {
        Self {
            group: self.group.take(),
            scratch: self.scratch.take(),
            program: Arc::clone(&self.program),
            maps: self.maps.clone(),
        }
    }

    fn remove(&mut self) -> io::Result<()> {
        let group = self.group.take().map_or(Ok(()), Group::remove);
        let Some(folder) = self.scratch.take() else { return group };
        let mut tries = 0;
        let removed = loop {
            match self.remove_folder(&folder) {
                Err(_) if tries < REMOVAL_TRIES => {
                    tries += 1;
                    std::thread::sleep(REMOVAL_PAUSE);
                }
                other => break other,
            }
        };
        group.and(removed)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.program.remove(self.maps.as_ref(), folder)
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if self.group.is_none() && self.scratch.is_none() {
            return;
        }
        let mut own = self.take();
        // Without a thread the next sweep removes it.
        let _ = std::thread::Builder::new().name("sandbox leftovers".into()).spawn(move || {
            if let Err(error) = own.remove() {
                tracing::warn!("what is left of a sandbox could not be removed: {error}");
            }
        });
    }
}
