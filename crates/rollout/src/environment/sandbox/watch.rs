//! Limits where the kernel does not enforce them: a task that looks, and kills what is over.

use super::launch::Program;
use super::live::storage_limit;
use super::maps::Maps;
use crate::environment::EnvironmentError;
use crate::guest::Guest;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinHandle;
use trajgen_contract::outcome::ErrorType;

/// Between two looks at processes; at files one look in so many.
const INTERVAL: Duration = Duration::from_millis(200);
const FILES_EVERY: u32 = 5;
/// With less than this left on the host's disk, a sandbox without a limit that has written more is ended.
const FLOOR: u64 = 256 << 20;

/// What is watched.
pub(super) struct Watched {
    /// Process 1 inside, as numbered on the host.
    pub(super) first_pid: i32,
    /// Bytes of memory.
    pub(super) memory: Option<u64>,
    /// Processes and threads.
    pub(super) processes: Option<u64>,
    /// Bytes of files below the folder.
    pub(super) storage: Option<u64>,
    pub(super) folder: PathBuf,
    /// Nothing limits the files, and they lie on the host's disk.
    pub(super) unlimited: bool,
    /// What measures them.
    pub(super) program: Arc<Program>,
    pub(super) maps: Option<Maps>,
}

/// The task; it ends when this is dropped.
pub(super) struct Watch {
    task: JoinHandle<()>,
    broken: Arc<OnceLock<(ErrorType, String)>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Starts looking; nothing when there is nothing to look for.
    pub(super) fn start(watched: Watched, guest: Guest) -> Option<Self> {
        let limits = watched.memory.or(watched.processes).or(watched.storage);
        if limits.is_none() && !watched.unlimited {
            return None;
        }
        let broken = Arc::new(OnceLock::new());
        let tell = Arc::clone(&broken);
        let task = tokio::spawn(async move {
            let watched = Arc::new(watched);
            for look in 0u32.. {
                tokio::time::sleep(INTERVAL).await;
                let own = Arc::clone(&watched);
                let files = look % FILES_EVERY == 0;
                let Ok(verdict) = tokio::task::spawn_blocking(move || own.look(files)).await else { return };
                match verdict {
                    Verdict::Fine => {}
                    Verdict::TooMany => drop(guest.kill_all().await),
                    Verdict::Over(error, doomed) => {
                        // Told first: who sees a process end may ask why. Only the first limit counts.
                        let _ = tell.set((error.kind, error.message));
                        match doomed {
                            // It may just have ended by itself, as the sandbox may.
                            Some(pid) => drop(kill_process(pid, Signal::KILL)),
                            None => drop(guest.kill_all().await),
                        }
                    }
                }
            }
        });
        Some(Self { task, broken })
    }

    /// The limit that was broken.
    pub(super) fn broken(&self) -> Option<EnvironmentError> {
        self.broken.get().map(|(kind, message)| EnvironmentError::new(*kind, message.clone()))
    }
}

enum Verdict {
    Fine,
    /// More processes than may be: all are ended.
    TooMany,
    /// A limit was broken: this process is ended, or all are.
    Over(EnvironmentError, Option<Pid>),
}

struct Process {
    pid: i32,
    parent: i32,
    threads: u64,
    /// Bytes of its own: resident without what is shared.
    memory: u64,
}

impl Watched {
    fn look(&self, files: bool) -> Verdict {
        if self.memory.is_some() || self.processes.is_some() {
            let inside = descendants(self.first_pid, processes());
            if self.processes.is_some_and(|most| inside.iter().map(|p| p.threads).sum::<u64>() > most) {
                return Verdict::TooMany;
            }
            let used = inside.iter().map(|p| p.memory).sum::<u64>();
            let biggest = inside.iter().max_by_key(|p| p.memory);
            if let (Some(limit), Some(biggest)) = (self.memory.filter(|limit| used > *limit), biggest) {
                let error = EnvironmentError::new(
                    ErrorType::OutOfMemoryError,
                    format!(
                        "the sandbox ran out of its memory of {} MiB: its biggest process was killed; give the task \
                         more with memory_mb",
                        limit >> 20
                    ),
                );
                // As the kernel does when memory runs out.
                return Verdict::Over(error, Pid::from_raw(biggest.pid));
            }
        }
        // One that cannot be measured now is measured again soon.
        let size = || self.program.measure(self.maps.as_ref(), &self.folder).unwrap_or(0);
        match self.storage.filter(|limit| files && size() > *limit) {
            Some(limit) => Verdict::Over(storage_limit(limit), None),
            None if files && self.unlimited && self.host_is_full() && size() > FLOOR => {
                let error = EnvironmentError::new(
                    ErrorType::StorageLimitError,
                    format!(
                        "the sandbox has no limit of storage, and with less than {} MiB left on the host's disk it had \
                         written more than that: give the task a storage_mb, or make room",
                        FLOOR >> 20
                    ),
                );
                Verdict::Over(error, None)
            }
            None => Verdict::Fine,
        }
    }

    fn host_is_full(&self) -> bool {
        rustix::fs::statvfs(&self.folder).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < FLOOR)
    }
}

/// Everything that runs on the host and can be seen.
fn processes() -> Vec<Process> {
    let page = rustix::param::page_size() as u64;
    let read = |pid: i32| {
        let stat = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let pages: Vec<u64> = statm.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect();
        let own = pages.get(1)?.saturating_sub(*pages.get(2)?);
        // proc(5): the parent is field 4, the number of threads field 20, counted from the name.
        Some(Process {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            threads: fields.get(17)?.parse().ok()?,
            memory: own * page,
        })
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Those that descend from `first`, itself left out: orphans inside become its children.
fn descendants(first: i32, all: Vec<Process>) -> Vec<Process> {
    let parents: HashMap<i32, i32> = all.iter().map(|process| (process.pid, process.parent)).collect();
    let inside = |process: &Process| {
        let mut at = process.parent;
        // No chain is longer than there are processes.
        for _ in 0..parents.len() {
            if at == first {
                return true;
            }
            match parents.get(&at) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        false
    };
    all.into_iter().filter(|process| inside(process)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descendants_count() {
        let process = |pid, parent| Process { pid, parent, threads: 1, memory: 1 };
        let all = vec![process(10, 1), process(11, 10), process(12, 11), process(13, 1), process(14, 14)];
        let found: Vec<_> = descendants(10, all).iter().map(|process| process.pid).collect();
        assert_eq!(found, [11, 12]);
    }

    #[test]
    fn this_process_is_seen_with_its_memory() {
        let own = i32::try_from(std::process::id()).unwrap();
        let found = processes().into_iter().find(|process| process.pid == own).unwrap();
        assert!(found.threads > 0 && found.memory > 0);
    }
}
