//! Waiting for children, ours and adopted ones.
//!
//! The helper is process 1 or a child subreaper, so it must wait for processes it did not start. One
//! thread waits for all. It learns first that one has ended without collecting it, then takes the lock
//! under which children are started, and collects: so an ending is never seen before its child is known,
//! and a start that fails can collect its own child.

use crate::connection::lock;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions};
use std::collections::{HashMap, HashSet};
use std::io;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Exited(i32),
    Signalled(i32),
}

type Notify = Box<dyn FnOnce(Ending) + Send>;

struct Child {
    notify: Notify,
    /// It is a [`super::warden`].
    warden: bool,
}

#[derive(Default)]
pub(crate) struct Reaper {
    children: Mutex<HashMap<Pid, Child>>,
    started: Condvar,
}

impl Reaper {
    /// Starts the thread that waits.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let reaper = Arc::new(Self::default());
        let own = Arc::clone(&reaper);
        crate::spawn("reaper", move || own.run())?;
        Ok(reaper)
    }

    /// Starts `command`, behind a warden or not as it was prepared; `notify` is called once, from the reaper's
    /// thread, when it ends.
    pub(crate) fn spawn(
        &self,
        command: &mut Command,
        warden: bool,
        notify: impl FnOnce(Ending) + Send + 'static,
    ) -> io::Result<(Pid, std::process::Child)> {
        let mut children = lock(&self.children);
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        children.insert(pid, Child { notify: Box::new(notify), warden });
        self.started.notify_all();
        Ok((pid, child))
    }

    /// The wardens that stand now.
    pub(crate) fn wardens(&self) -> HashSet<i32> {
        let children = lock(&self.children);
        let wardens = children.iter().filter(|(_, child)| child.warden);
        wardens.map(|(pid, _)| pid.as_raw_nonzero().get()).collect()
    }

    fn run(&self) {
        loop {
            match rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) => self.collect(),
                Err(rustix::io::Errno::CHILD) => {
                    // Nobody is left. Descendants of ours can only come from children of ours, so the
                    // next one to wait for is one we start.
                    let children = lock(&self.children);
                    if children.is_empty() {
                        drop(self.started.wait(children).unwrap_or_else(PoisonError::into_inner));
                    }
                }
                _ => {}
            }
        }
    }

    fn collect(&self) {
        let mut children = lock(&self.children);
        let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) else { return };
        let ending = match status.exit_status() {
            Some(code) => Ending::Exited(code),
            None => Ending::Signalled(status.terminating_signal().unwrap_or(0)),
        };
        if let Some(child) = children.remove(&pid) {
            drop(children);
            (child.notify)(ending);
        }
    }
}
