//! Control groups, version 2 or 1: limits of memory, processes and CPU below the group this process is in.

use super::scratch::Owner;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "trajgen-";
/// CPU time is dealt out per this many microseconds.
const PERIOD: u64 = 100_000;
/// A group is busy for a moment after its last process has ended.
const REMOVE_TRIES: u32 = 200;
const REMOVE_WAIT: Duration = Duration::from_millis(5);

/// Where groups can be made on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cgroups {
    /// One tree; new groups are children of this folder.
    Unified(PathBuf),
    /// One tree per controller.
    Split {
        /// Of the memory controller.
        memory: PathBuf,
        /// Of the pids controller.
        pids: PathBuf,
        /// Of the CPU controller.
        cpu: Option<PathBuf>,
    },
}

/// What a group may use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) memory: Option<u64>,
    pub(super) pids: u64,
    pub(super) cpus: Option<f64>,
}

/// A group, for all processes of one sandbox.
#[derive(Debug)]
pub(super) struct Group {
    folders: Vec<PathBuf>,
    memory: PathBuf,
    unified: bool,
}

impl Cgroups {
    /// Finds a place where groups with a memory and a process limit can be made; none is no error.
    pub(super) fn find(owner: Owner) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let places = [Self::split(&own, &mounts), Self::unified(&own, &mounts)];
        // A place that looks right may still be read-only or delegated to nobody.
        places.into_iter().flatten().find(|place| {
            let limits = Limits { memory: Some(64 << 20), pids: 16, cpus: None };
            place.group(&owner.fresh_name(), limits).is_ok_and(|group| group.remove().is_ok())
        })
    }

    fn split(own: &str, mounts: &str) -> Option<Self> {
        let place = |controller: &str| {
            let path = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':');
                let _hierarchy = fields.next()?;
                fields.next()?.split(',').any(|c| c == controller).then_some(fields.next()?)
            })?;
            mounted(mounts, "cgroup", Some(controller), path)
        };
        Some(Self::Split { memory: place("memory")?, pids: place("pids")?, cpu: place("cpu") })
    }

    fn unified(own: &str, mounts: &str) -> Option<Self> {
        let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let own = mounted(mounts, "cgroup2", None, path)?;
        let able = |folder: &Path| {
            let enabled = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
            ["memory", "pids"].iter().all(|c| enabled.split_whitespace().any(|e| e == *c))
        };
        if !able(&own) {
            // Works in the root of the tree and where this process has no group to itself.
            let _ = fs::write(own.join("cgroup.subtree_control"), "+memory +pids +cpu");
        }
        // A group with processes of its own cannot limit children: then the new group is our neighbour.
        if able(&own) {
            return Some(Self::Unified(own));
        }
        own.parent().filter(|parent| able(parent)).map(|parent| Self::Unified(parent.to_owned()))
    }

    /// Makes a group.
    pub(super) fn group(&self, name: &str, limits: Limits) -> io::Result<Group> {
        let name = format!("{PREFIX}{name}");
        let mut group = Group { folders: Vec::new(), memory: PathBuf::new(), unified: false };
        let made = match self {
            Self::Unified(place) => {
                group.unified = true;
                group.add(place, &name).and_then(|folder| {
                    group.memory.clone_from(&folder);
                    limits.apply_unified(&folder)
                })
            }
            Self::Split { memory, pids, cpu } => group.add(memory, &name).and_then(|folder| {
                group.memory.clone_from(&folder);
                limits.apply_memory(&folder)?;
                let folder = group.add(pids, &name)?;
                fs::write(folder.join("pids.max"), limits.pids.to_string())?;
                let Some(cpu) = cpu.as_ref().filter(|_| limits.cpus.is_some()) else { return Ok(()) };
                let folder = group.add(cpu, &name)?;
                limits.apply_cpu(&folder)
            }),
        };
        match made {
            Ok(()) => Ok(group),
            Err(error) => {
                // The first error is the one to know.
                let _ = group.remove();
                Err(error)
            }
        }
    }

    /// Removes groups whose owners are dead, with all that still runs in them; says how many there were.
    pub(super) fn sweep(&self) -> usize {
        let (places, unified) = match self {
            Self::Unified(place) => (vec![place], true),
            Self::Split { memory, pids, cpu } => {
                ([Some(memory), Some(pids), cpu.as_ref()].into_iter().flatten().collect(), false)
            }
        };
        let mut swept = 0;
        for place in places {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(Owner::of);
                if owner.is_none_or(Owner::lives) {
                    continue;
                }
                let group = Group { folders: vec![entry.path()], memory: entry.path(), unified };
                group.kill();
                // What cannot be removed now is found again by the next sweep.
                swept += usize::from(group.remove().is_ok());
            }
        }
        swept
    }
}

/// The folder of the group `path` in the mounted tree of `kind`, and of `controller` in version 1.
fn mounted(mounts: &str, kind: &str, controller: Option<&str>, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        // proc(5): id parent device root mountpoint options… - kind source options
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let found = right.next()? == kind;
        let options = right.nth(1).unwrap_or("");
        if !found || controller.is_some_and(|c| !options.split(',').any(|option| option == c)) {
            return None;
        }
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        // Inside a container the tree's root may be our own group.
        let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
        let folder = Path::new(point).join(below.trim_start_matches('/'));
        folder.is_dir().then_some(folder)
    })
}

impl Limits {
    fn apply_unified(self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("pids.max"), self.pids.to_string())?;
        if let Some(memory) = self.memory {
            fs::write(folder.join("memory.max"), memory.to_string())?;
            // Absent without swap.
            let _ = fs::write(folder.join("memory.swap.max"), "0");
        }
        match self.cpus {
            Some(cpus) => fs::write(folder.join("cpu.max"), format!("{} {PERIOD}", quota(cpus))),
            None => Ok(()),
        }
    }

    fn apply_memory(self, folder: &Path) -> io::Result<()> {
        let Some(memory) = self.memory else { return Ok(()) };
        fs::write(folder.join("memory.limit_in_bytes"), memory.to_string())?;
        // Memory and swap together; absent when the kernel does not account swap.
        let _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), memory.to_string());
        Ok(())
    }

    fn apply_cpu(self, folder: &Path) -> io::Result<()> {
        let Some(cpus) = self.cpus else { return Ok(()) };
        fs::write(folder.join("cpu.cfs_period_us"), PERIOD.to_string())?;
        fs::write(folder.join("cpu.cfs_quota_us"), quota(cpus).to_string())
    }
}

/// Microseconds of CPU per period; the kernel takes no less than a millisecond.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded on both sides just before"
)]
fn quota(cpus: f64) -> u64 {
    (cpus * PERIOD as f64).clamp(1000.0, 1e12) as u64
}

impl Group {
    fn add(&mut self, place: &Path, name: &str) -> io::Result<PathBuf> {
        let folder = place.join(name);
        fs::create_dir(&folder)?;
        self.folders.push(folder.clone());
        Ok(folder)
    }

    /// Puts a process, and thereby all it will start, into the group.
    pub(super) fn admit(&self, pid: u32) -> io::Result<()> {
        self.folders.iter().try_for_each(|folder| fs::write(folder.join("cgroup.procs"), pid.to_string()))
    }

    /// How many processes the kernel killed as memory ran out.
    pub(super) fn out_of_memory_kills(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.memory.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or_default()
    }

    fn kill(&self) {
        for folder in &self.folders {
            let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
                // One that has just ended needs no signal.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Removes the group, whose processes have ended.
    pub(super) fn remove(self) -> io::Result<()> {
        let mut result = Ok(());
        for folder in &self.folders {
            result = result.and(remove(folder));
        }
        result
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < REMOVE_TRIES => {
                tries += 1;
                std::thread::sleep(REMOVE_WAIT);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 23 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
32 23 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n";

    #[test]
    fn a_mount_is_found_by_kind_and_controller() {
        let dir = tempfile::tempdir().unwrap();
        let point = dir.path().display();
        fs::create_dir(dir.path().join("a")).unwrap();
        let mounts = format!("{MOUNTS}40 1 0:9 / {point} rw - cgroup2 cgroup2 rw\n");
        assert_eq!(mounted(&mounts, "cgroup2", None, "/a"), Some(dir.path().join("a")));
        assert_eq!(mounted(&mounts, "cgroup2", None, "/b"), None);
        let inside = format!("40 1 0:9 /docker/x {point} rw - cgroup2 cgroup2 rw\n");
        assert_eq!(mounted(&inside, "cgroup2", None, "/docker/x/a"), Some(dir.path().join("a")));
        assert_eq!(mounted(MOUNTS, "cgroup", Some("pids"), "/"), None);
    }

    #[test]
    fn quotas_are_parts_of_a_period() {
        assert_eq!(quota(1.5), 150_000);
        assert_eq!(quota(0.0), 1000);
        assert_eq!(quota(f64::INFINITY), 1_000_000_000_000);
    }
}
