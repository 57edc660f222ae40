//! Making a command ready to start: user, folder, environment, session.

use super::user;
use crate::protocol::{Failure, FailureKind};
use rustix::process::{getegid, geteuid};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Where programs are looked for when the request does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a request says about the process to start.
pub(crate) struct Launch<'a> {
    pub(crate) argv: &'a [String],
    pub(crate) user: Option<&'a str>,
    pub(crate) cwd: Option<&'a str>,
    pub(crate) env: &'a BTreeMap<String, String>,
    /// The new session's controlling terminal is its standard input.
    pub(crate) terminal: bool,
}

/// A command that starts in a session of its own as the user asked for; its standard streams are still to be set.
pub(crate) fn prepare(launch: &Launch<'_>) -> Result<Command, Failure> {
    let [program, arguments @ ..] = launch.argv else {
        return Err(Failure::new(FailureKind::Refused, "the command has no program: its argv is empty"));
    };
    let own = (geteuid().as_raw(), getegid().as_raw());
    let user = user::resolve(launch.user, own, Path::new("/etc"))?;
    let become_user = launch.user.is_some() && (own.0 == 0 || (user.uid, user.gid) != own);
    if become_user && own.0 != 0 {
        return Err(Failure::new(
            FailureKind::Refused,
            format!("the environment runs as user {}, it cannot run commands as {}", own.0, user.name),
        ));
    }
    let cwd = launch.cwd.unwrap_or("/");
    if !Path::new(cwd).is_dir() {
        return Err(Failure::new(
            FailureKind::NotFound,
            format!("the working directory {cwd} is no directory in the environment"),
        ));
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(cwd).env_clear();
    command.env("PATH", DEFAULT_PATH).env("HOME", &user.home).env("USER", &user.name);
    if launch.terminal {
        command.env("LOGNAME", &user.name).env("SHELL", user.shell.as_deref().unwrap_or("/bin/sh"));
    }
    command.envs(launch.env);

    let groups: Vec<_> = user.groups.iter().map(|gid| rustix::process::Gid::from_raw(*gid)).collect();
    let (uid, gid) = (rustix::process::Uid::from_raw(user.uid), rustix::process::Gid::from_raw(user.gid));
    let terminal = launch.terminal;
    let before_exec = move || -> io::Result<()> {
        rustix::process::setsid()?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        if become_user {
            // These are the plain system calls: they change this thread, and after a fork there is only one.
            rustix::thread::set_thread_groups(&groups)?;
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "supplementary groups and the controlling terminal have no safe setter")]
    // SAFETY: between fork and exec the closure only makes system calls; it neither allocates nor locks.
    unsafe {
        command.pre_exec(before_exec);
    }
    Ok(command)
}
