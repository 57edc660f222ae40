//! The process between trajgen and process 1: makes the namespaces, starts process 1, ends with it.

use super::{Door, Errand, PROCESS_ONE, Ready, SandboxError, lines};
use rustix::stdio::{stdin, stdout};
use rustix::thread::UnshareFlags;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Runs the porter: standard input and output are the connection to trajgen.
#[must_use]
pub fn porter() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // When trajgen is gone there is nobody to tell.
            let _ = lines::write(stdout(), &Ready::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, SandboxError> {
    close_on_exec()?;
    let door: Door = lines::read(stdin())?;
    if door.user {
        unshare(UnshareFlags::NEWUSER, "a user namespace")?;
        lines::write(stdout(), &Ready::Maps)?;
        let () = lines::read(stdin())?;
    }
    if let Some(errand) = door.errand {
        let done = match errand {
            Errand::Measure(tree) => crate::files::tree_size(Path::new(&tree)),
            Errand::Remove(tree) => crate::files::remove_tree(Path::new(&tree))
                .map(|()| 0)
                .map_err(SandboxError::at(format!("cannot remove {tree}")))?,
        };
        lines::write(stdout(), &Ready::Done(done))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if door.network {
        flags |= UnshareFlags::NEWNET;
    }
    unshare(flags, "the namespaces")?;
    // The first child is process 1 of the new pid namespace. Its command line can be seen inside: it says nothing.
    let mut child = Command::new("/proc/self/exe")
        .arg(PROCESS_ONE)
        .env_clear()
        .current_dir("/")
        .spawn()
        .map_err(SandboxError::at("cannot start the sandbox's first process"))?;
    let status = child.wait().map_err(SandboxError::at("cannot wait for the sandbox's first process"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unshare(flags: UnshareFlags, what: &str) -> Result<(), SandboxError> {
    #[expect(unsafe_code, reason = "unsharing descriptors could mix up owners; namespaces cannot")]
    // SAFETY: none of the flags separates this thread's table of descriptors from another thread's.
    unsafe { rustix::thread::unshare_unsafe(flags) }
        .map_err(SandboxError::at(format!("cannot make {what} of the sandbox")))
}

/// Descriptors that trajgen itself was started with must not get inside.
fn close_on_exec() -> Result<(), SandboxError> {
    let doing = "cannot list the open descriptors";
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(SandboxError::at(doing))? {
        let name = entry.map_err(SandboxError::at(doing))?.file_name();
        open.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()).filter(|fd| *fd > 2));
    }
    for fd in open {
        #[expect(unsafe_code, reason = "inherited descriptors have no owner in this process")]
        // SAFETY: the descriptor was just listed; nothing in this single-threaded process closes one meanwhile but
        // the listing its own, which then fails harmlessly.
        let fd = unsafe { rustix::fd::BorrowedFd::borrow_raw(fd) };
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
    }
    Ok(())
}
