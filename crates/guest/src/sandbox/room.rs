//! Process 1: builds the room, locks it from inside, serves.

use super::{Private, Ready, Room, SandboxError, confine, lines, mounts, network};
use rustix::process::{Resource, Rlimit, Signal};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

/// Runs process 1 over `input` and `output` until trajgen closes them.
///
/// # Errors
/// The room cannot be built; trajgen has then been told why over `output`.
pub fn process_one(input: OwnedFd, output: OwnedFd) -> std::io::Result<()> {
    match build(&input) {
        Ok((pid, found, private)) => {
            let socket = found.as_ref().map(|found| format!("/proc/self/fd/{}", found.as_raw_fd()));
            lines::write(&output, &Ready::Closed { pid, socket }).map_err(std::io::Error::other)?;
            let served = crate::serve::serve_with(input, output, Some(private));
            drop(found);
            served
        }
        Err(error) => {
            // When trajgen is gone there is nobody to tell.
            let _ = lines::write(&output, &Ready::Failed(error.to_string()));
            Err(std::io::Error::other(error))
        }
    }
}

/// Process 1's number on the host, the host's socket, and the private view.
fn build(input: &OwnedFd) -> Result<(i32, Option<OwnedFd>, Private), SandboxError> {
    die_with_the_porter()?;
    let room: Room = lines::read(input)?;
    let pid = own_number_outside()?;
    rustix::process::umask(rustix::fs::Mode::empty());
    rustix::system::sethostname(b"sandbox").map_err(SandboxError::at("cannot set the host name"))?;
    if room.network {
        network::loopback_up().map_err(SandboxError::at("cannot bring up the loopback network"))?;
    }
    let view = mounts::build(&room)?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    limit(&room)?;
    let private = Private::start(view.private, !room.network)?;
    confine::drop_capabilities(!room.network)?;
    confine::filter_system_calls()?;
    // A change of credentials clears it.
    die_with_the_porter()?;
    Ok((pid, view.socket, private))
}

fn die_with_the_porter() -> Result<(), SandboxError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(SandboxError::at("cannot ask to be ended with trajgen"))
}

/// This process's number as trajgen sees it: the host's `/proc` is still mounted.
fn own_number_outside() -> Result<i32, SandboxError> {
    let doing = "cannot find out the own process number";
    let link = std::fs::read_link(Path::new("/proc/self")).map_err(SandboxError::at(doing))?;
    link.to_str()
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| SandboxError::at(doing)(std::io::Error::from(std::io::ErrorKind::InvalidData)))
}

fn limit(room: &Room) -> Result<(), SandboxError> {
    let set = |resource, most: u64, what: &str| {
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(SandboxError::at(format!("cannot limit {what}")))
    };
    // A core file would be written by the host's handler, outside every limit.
    set(Resource::Core, 0, "core files")?;
    if let Some(most) = room.process_limit {
        set(Resource::Nproc, most, "processes")?;
    }
    Ok(())
}
