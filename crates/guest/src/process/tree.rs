//! Ending processes: one command's tree, or everything.

use super::table::{Entry, entries};
use crate::protocol::{Failure, FailureKind, Process};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How long ending everything may take before it is given up, and said.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// The wait between two looks at processes that were killed and are not gone yet.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

fn send(entry: &Entry, signal: Signal) {
    // A process that has just ended needs no signal.
    let _ = Pid::from_raw(entry.pid).map(|pid| kill_process(pid, signal));
}

/// Kills the process `root` with all its descendants, also those whose parents have ended: they are
/// known by their session or by `variable`, which every process of the tree was started with.
///
/// The tree is stopped first, until no new member appears, so that none can start another unseen.
pub(crate) fn kill_tree(root: i32, variable: &str) {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let mut stopped = HashSet::new();
        loop {
            let fresh: Vec<_> = members(root, variable, &entries())
                .into_iter()
                .filter(|entry| stopped.insert((entry.pid, entry.started)))
                .collect();
            for entry in &fresh {
                send(entry, Signal::STOP);
            }
            if fresh.is_empty() || Instant::now() > deadline {
                break;
            }
        }
        let doomed = members(root, variable, &entries());
        if doomed.is_empty() || Instant::now() > deadline {
            return;
        }
        for entry in &doomed {
            send(entry, Signal::KILL);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The living processes of a tree, this process left out.
fn members(root: i32, variable: &str, all: &[Entry]) -> Vec<Entry> {
    let own = own_pid();
    let own_session = all.iter().find(|entry| entry.pid == own).map(|entry| entry.session);
    let mut pids = HashSet::from([root]);
    let mut sessions = HashSet::from([root]);
    let mut found: Vec<Entry> = Vec::new();
    loop {
        let before = found.len();
        for entry in all {
            let belongs = pids.contains(&entry.pid)
                || pids.contains(&entry.parent)
                || sessions.contains(&entry.session)
                || pids.contains(&entry.group);
            if entry.pid != own && !found.contains(entry) && (belongs || entry.has_variable(variable)) {
                pids.insert(entry.pid);
                // A child that has not called setsid yet is still in the helper's own session.
                if own_session != Some(entry.session) {
                    sessions.insert(entry.session);
                }
                found.push(entry.clone());
            }
        }
        if found.len() == before {
            break;
        }
    }
    found.retain(|entry| !entry.zombie);
    found
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The helper itself and what ran before it came (a container's first process): never listed, never ended.
pub(crate) struct Bystanders {
    known: HashSet<(i32, u64)>,
}

impl Bystanders {
    /// Everything that runs now.
    pub(crate) fn now() -> Self {
        Self { known: entries().into_iter().map(|entry| (entry.pid, entry.started)).collect() }
    }

    fn others(&self) -> Vec<Entry> {
        let own = own_pid();
        let mut all = entries();
        all.retain(|entry| {
            entry.pid != own && !entry.zombie && !self.known.contains(&(entry.pid, entry.started))
        });
        all
    }

    /// What runs, the bystanders left out.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.others().iter().map(|entry| Process { pid: entry.pid, command: entry.command() }).collect()
    }

    /// Sends `signal` to each once.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), Failure> {
        let signal = Signal::from_named_raw(signal).ok_or_else(|| {
            Failure::new(FailureKind::Refused, format!("{signal} is not the number of a signal"))
        })?;
        for entry in self.others() {
            send(&entry, signal);
        }
        Ok(())
    }

    /// Kills until nothing is left.
    pub(crate) fn kill_all(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + KILL_LIMIT;
        loop {
            let all = self.others();
            if all.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let left: Vec<_> = all.iter().map(|e| format!("{} {}", e.pid, e.command())).collect();
                return Err(Failure::new(
                    FailureKind::System,
                    format!("after {KILL_LIMIT:?} of killing these still run: {}", left.join(", ")),
                ));
            }
            // First stop all, so that a process that keeps starting others does not win the race.
            for signal in [Signal::STOP, Signal::KILL] {
                for entry in self.others() {
                    send(&entry, signal);
                }
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}
