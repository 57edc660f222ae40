//! User ids of an ordinary user's sandboxes (user_namespaces(7), subuid(5)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Fewer ids than this are not a userland's.
const ENOUGH: u32 = 65_536;

/// Who is who inside. Root needs none: its sandboxes have no user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Maps {
    uid: u32,
    gid: u32,
    ranges: Option<Ranges>,
}

/// Further ids that the host grants, and the programs that map them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranges {
    uids: (u32, u32),
    gids: (u32, u32),
    newuidmap: PathBuf,
    newgidmap: PathBuf,
}

impl Maps {
    /// What this user can have; `None` for root.
    pub(super) fn find() -> Option<Self> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        (!uid.is_root()).then(|| Self { uid: uid.as_raw(), gid: gid.as_raw(), ranges: ranges(uid.as_raw()) })
    }

    /// Whether there are users beside root inside.
    pub(super) fn many(&self) -> bool {
        self.ranges.is_some()
    }

    /// Maps root inside to this user, and the granted ids to those from 1 on.
    pub(super) fn write(&self, porter: u32) -> io::Result<()> {
        if let Some(ranges) = &self.ranges {
            run(&ranges.newuidmap, porter, self.uid, ranges.uids)?;
            return run(&ranges.newgidmap, porter, self.gid, ranges.gids);
        }
        let folder = PathBuf::from(format!("/proc/{porter}"));
        fs::write(folder.join("setgroups"), "deny")?;
        fs::write(folder.join("uid_map"), format!("0 {} 1\n", self.uid))?;
        fs::write(folder.join("gid_map"), format!("0 {} 1\n", self.gid))
    }
}

fn run(program: &Path, porter: u32, own: u32, (start, count): (u32, u32)) -> io::Result<()> {
    let numbers = [porter, 0, own, 1, 1, start, count].map(|number| number.to_string());
    let output = Command::new(program).args(numbers).env_clear().stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", program.display(), said.trim())))
}

fn ranges(uid: u32) -> Option<Ranges> {
    let name = fs::read_to_string("/etc/passwd").ok().and_then(|text| name_of(&text, uid));
    let range = |file: &str| granted(&fs::read_to_string(file).ok()?, name.as_deref(), uid);
    let program = |name: &str| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    Some(Ranges {
        uids: range("/etc/subuid")?,
        gids: range("/etc/subgid")?,
        newuidmap: program("newuidmap")?,
        newgidmap: program("newgidmap")?,
    })
}

fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| (*fields.first().unwrap_or(&"")).to_owned())
    })
}

/// Lines are `name or id:first:count`.
fn granted(text: &str, name: Option<&str>, uid: u32) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let who = fields.next()?;
        let range = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        let ours = Some(who) == name || who.parse() == Ok(uid);
        (ours && range.1 >= ENOUGH).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_granted_by_name_or_number() {
        let text = "bob:1:65536\nann:100000:10\nann:200000:65536\n1001:300000:65536\n";
        assert_eq!(granted(text, Some("ann"), 1000), Some((200_000, 65_536)));
        assert_eq!(granted(text, None, 1001), Some((300_000, 65_536)));
        assert_eq!(granted(text, Some("eve"), 1002), None);
        assert_eq!(name_of("root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:\n", 1000), Some("ann".into()));
    }
}
