//! The warden: a process between the helper and one command, which adopts what the command's processes leave behind.
//!
//! So everything a command starts stays below its warden for as long as the command runs, whatever it does with
//! sessions, users, parents and its environment; a time limit finds it there. The warden ends as the command does;
//! what is left then becomes the helper's.

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::io;

/// Turns this process, a child of the helper that is about to start a command, into the warden and goes on in a
/// child of its own. Makes system calls only.
pub(super) fn stand_between() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Without the helper nobody watches over the command any more. The thread that starts it waits for its end.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    #[expect(unsafe_code, reason = "no safe function starts a process without starting a program")]
    // SAFETY: this process has one thread, and neither branch allocates, locks or returns to other code than the
    // caller's, which is written for the time between fork and exec.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        child => watch(child),
    }
}

/// Waits for the command, and for whoever comes to it, then ends as the command did.
fn watch(command: i32) -> ! {
    close_all();
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == Pid::from_raw(command) => end_as(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => exit(1),
        }
    }
}

fn end_as(status: WaitStatus) -> ! {
    if let Some(signal) = status.terminating_signal() {
        #[expect(unsafe_code, reason = "the handlers that the helper was started with must not catch it")]
        // SAFETY: both calls take numbers only; the signal ends this process.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::kill(libc::getpid(), signal);
        }
        exit(128 + signal);
    }
    exit(status.exit_status().unwrap_or(1))
}

fn exit(code: i32) -> ! {
    #[expect(unsafe_code, reason = "the standard library's exit runs what belongs to the helper")]
    // SAFETY: ends the process without running anything in it.
    unsafe {
        libc::_exit(code)
    }
}

/// The pipes are the command's, and would never end; the last of them tells the helper that the start went well.
fn close_all() {
    #[expect(unsafe_code, reason = "the copies of a parent's descriptors have no owner to close them")]
    // SAFETY: nothing in this process uses a descriptor any more. A kernel that does not know the call (before 5.9)
    // does not know the mounts of sandboxes either.
    unsafe {
        libc::close_range(0, libc::c_uint::MAX, 0);
    }
}
