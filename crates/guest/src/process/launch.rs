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
    /// A [`super::warden`] stands between the helper and the process.
    pub(crate) warden: bool,
}

/// Whether an id exists in this user namespace (user_namespaces(7)).
fn mapped(id: u32, map: &str) -> bool {
    // Without /proc there is nothing to go by; the system says so itself then.
    let Ok(text) = std::fs::read_to_string(format!("/proc/self/{map}")) else { return true };
    text.lines().any(|line| {
        let fields: Vec<u64> = line.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect();
        matches!(fields[..], [first, _, count] if (first..first + count).contains(&u64::from(id)))
    })
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
    if !mapped(user.uid, "uid_map") || user.groups.iter().any(|gid| !mapped(*gid, "gid_map")) {
        return Err(Failure::new(
            FailureKind::Refused,
            format!(
                "user {} (id {}) or a group of it is none of the ids this environment has, which belongs to an ordinary \
                 user of the host: run trajgen as root, or use Docker",
                user.name, user.uid
            ),
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

    // With one id nobody can be in other groups, nor be taken out of them.
    let set_groups = std::fs::read("/proc/self/setgroups").is_ok_and(|may| may.starts_with(b"allow"));
    let groups: Vec<_> = user.groups.iter().map(|gid| rustix::process::Gid::from_raw(*gid)).collect();
    let (uid, gid) = (rustix::process::Uid::from_raw(user.uid), rustix::process::Gid::from_raw(user.gid));
    let (terminal, warden) = (launch.terminal, launch.warden);
    let before_exec = move || -> io::Result<()> {
        if warden {
            super::warden::stand_between()?;
        }
        rustix::process::setsid()?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        if become_user {
            // These are the plain system calls: they change this thread, and after a fork there is only one.
            if set_groups {
                rustix::thread::set_thread_groups(&groups)?;
            }
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
