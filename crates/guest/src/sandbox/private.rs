//! A view of files that only some commands share: `/logs/verifier` there is a folder of its own.
//!
//! Mounts belong to threads: one is started before process 1 gives up its power, and waits. With its first job it
//! parts from the mounts of all others, places the folder, gives up its power as process 1 has, and works. What it
//! starts shares its view. Jobs get the folder itself, however paths were changed meanwhile.

use super::{PRIVATE_PLACE, SandboxError, confine, mounts};
use rustix::fs::{Mode, OFlags};
use rustix::thread::UnshareFlags;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc;

/// A job; it gets a path to the folder, or why there is none.
type Job = Box<dyn FnOnce(Result<&str, &SandboxError>) + Send>;

/// The thread, as others see it.
#[derive(Clone)]
pub(crate) struct Private(mpsc::Sender<Job>);

impl Private {
    /// Starts the thread, which must still have all its power.
    pub(super) fn start(folder: OwnedFd, host_network: bool) -> Result<Self, SandboxError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        crate::spawn("private", move || {
            let mut jobs = queue.into_iter();
            let Some(first) = jobs.next() else { return };
            let opened = part(&folder, host_network);
            let place = opened.as_ref().map(|opened| format!("/proc/self/fd/{}/.", opened.as_raw_fd()));
            for job in std::iter::once(first).chain(jobs) {
                job(place.as_ref().map(String::as_str).map_err(|error| *error));
            }
        })
        .map_err(SandboxError::at("cannot start the thread of the private view"))?;
        Ok(Self(jobs))
    }

    /// Runs `job` after those before it. False when the thread is gone.
    pub(crate) fn run(&self, job: impl FnOnce(Result<&str, &SandboxError>) + Send + 'static) -> bool {
        self.0.send(Box::new(job)).is_ok()
    }
}

/// Whatever fails, nothing is started with more power than process 1 has: jobs do not run then.
fn part(folder: &OwnedFd, host_network: bool) -> Result<OwnedFd, SandboxError> {
    #[expect(unsafe_code, reason = "unsharing descriptors could mix up owners; namespaces cannot")]
    // SAFETY: the flag separates mounts, working directory and umask of this thread, no descriptors.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(SandboxError::at("cannot make a private view of files"))?;
    mounts::place(folder, PRIVATE_PLACE)?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(folder, c".", flags, Mode::empty())
        .map_err(SandboxError::at("cannot open the private folder"))?;
    confine::drop_capabilities(host_network)?;
    confine::filter_system_calls()?;
    Ok(opened)
}
