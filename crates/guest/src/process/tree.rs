//! Ending processes: one command's tree, or everything.

use super::Reaper;
use super::table::{Entry, entries};
use crate::protocol::{Failure, FailureKind, Process};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

/// How long ending everything may take before it is given up, and said.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// The wait between two looks at processes that were killed and are not gone yet.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

fn send(entry: &Entry, signal: Signal) {
    // A process that has just ended needs no signal.
    let _ = Pid::from_raw(entry.pid).map(|pid| kill_process(pid, signal));
}

/// Kills the process `root`, a warden, with all its descendants. Should the warden have been ended from inside,
/// they are known by their session or by `variable`, which every process of the tree was started with.
///
/// The tree is stopped first, until no new member appears, so that none can start another unseen.
pub(crate) fn kill_tree(root: i32, variable: &str) {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let mut stopped = HashSet::new();
        loop {
            let fresh: Vec<_> = members(root, variable, &others())
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
        let doomed = members(root, variable, &others());
        if doomed.is_empty() || Instant::now() > deadline {
            return;
        }
        // The root goes last: it is the warden, to whom orphans come.
        let all = doomed.iter().all(|entry| entry.pid == root);
        for entry in doomed.iter().filter(|entry| all || entry.pid != root) {
            send(entry, Signal::KILL);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The processes of a tree among `all`.
fn members(root: i32, variable: &str, all: &[Entry]) -> Vec<Entry> {
    let own_session = rustix::process::getsid(None).ok().map(|session| session.as_raw_nonzero().get());
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
            if !found.contains(entry) && (belongs || entry.has_variable(variable)) {
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
    found
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Everything that runs because of the helper, itself left out. As process 1 that is all there is; else it
/// is the helper's descendants, none of which can leave it, as it adopts orphans. What an image's own first
/// process started, or anything else outside, is never listed and never ended.
fn others() -> Vec<Entry> {
    let own = own_pid();
    let mut all = entries();
    all.retain(|entry| entry.pid != own);
    if own != 1 {
        all = descendants(own, all);
    }
    all.retain(|entry| !entry.zombie);
    all
}

fn descendants(root: i32, all: Vec<Entry>) -> Vec<Entry> {
    let mut family = HashSet::from([root]);
    loop {
        let before = family.len();
        let children = all.iter().filter(|entry| family.contains(&entry.parent));
        let children: Vec<_> = children.map(|entry| entry.pid).collect();
        family.extend(children);
        if family.len() == before {
            break;
        }
    }
    all.into_iter().filter(|entry| entry.pid != root && family.contains(&entry.pid)).collect()
}

/// What runs, wardens left out.
pub(crate) fn processes(reaper: &Reaper) -> Vec<Process> {
    let wardens = reaper.wardens();
    let shown = others().into_iter().filter(|entry| !wardens.contains(&entry.pid));
    shown.map(|entry| Process { pid: entry.pid, command: entry.command() }).collect()
}

/// Sends `signal` to everything once, wardens left out.
pub(crate) fn signal_all(reaper: &Reaper, signal: i32) -> Result<(), Failure> {
    let signal = Signal::from_named_raw(signal).ok_or_else(|| {
        Failure::new(FailureKind::Refused, format!("{signal} is not the number of a signal"))
    })?;
    let wardens = reaper.wardens();
    for entry in others().iter().filter(|entry| !wardens.contains(&entry.pid)) {
        send(entry, signal);
    }
    Ok(())
}

/// Kills everything until nothing is left.
pub(crate) fn kill_all() -> Result<(), Failure> {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let all = others();
        if all.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let left: Vec<_> = all.iter().map(|entry| format!("{} {}", entry.pid, entry.command())).collect();
            return Err(Failure::new(
                FailureKind::System,
                format!("after {KILL_LIMIT:?} of killing these still run: {}", left.join(", ")),
            ));
        }
        // First stop all, so that a process that keeps starting others does not win the race.
        for signal in [Signal::STOP, Signal::KILL] {
            for entry in others() {
                send(&entry, signal);
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Does what needs a new process or thread of the helper's own. When the inside has used up all it may have, all of
/// it is ended: the helper must go on, and what comes next is not the fault of the host.
pub(crate) fn with_room<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        match start() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                // What cannot be ended is tried again, as is what has ended and was not collected yet.
                let _ = kill_all();
                std::thread::sleep(LOOK_AGAIN);
            }
            other => return other,
        }
    }
}
