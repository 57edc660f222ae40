//! Who a command runs as: names of the inside's own `/etc/passwd` and `/etc/group`.

use crate::protocol::{Failure, FailureKind};
use std::path::Path;

/// A user as the kernel and a program's environment see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// For `USER`; the number when there is no name.
    pub(crate) name: String,
    /// For `HOME`; `/` when unknown.
    pub(crate) home: String,
    /// For `SHELL`.
    pub(crate) shell: Option<String>,
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let _comment = fields.next();
        let home = fields.next().filter(|home| !home.is_empty()).unwrap_or("/");
        Some(Passwd { name, uid, gid, home, shell: fields.next().unwrap_or("") })
    })
}

/// Name, number and members of each group.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some((name, fields.next()?.parse().ok()?, fields.next().unwrap_or("")))
    })
}

/// Resolves `spec` (`name`, `uid`, either with `:group` or `:gid`), or `current` when there is none.
///
/// As Docker does: an unknown number is taken as it is, with group 0; a named user brings its supplementary
/// groups unless a group is given.
pub(crate) fn resolve(spec: Option<&str>, current: (u32, u32), etc: &Path) -> Result<User, Failure> {
    // Missing files are an image without accounts: numbers still work.
    let accounts = std::fs::read_to_string(etc.join("passwd")).unwrap_or_default();
    let group_file = std::fs::read_to_string(etc.join("group")).unwrap_or_default();
    let Some(spec) = spec else {
        let (uid, gid) = current;
        let known = passwd(&accounts).find(|entry| entry.uid == uid);
        return Ok(user(uid, gid, known, Vec::new()));
    };
    let (who, group) = match spec.split_once(':') {
        Some((who, group)) => (who, Some(group)),
        None => (spec, None),
    };
    let by_name = passwd(&accounts).find(|entry| entry.name == who);
    let (uid, known) = match (by_name, who.parse::<u32>()) {
        (Some(entry), _) => (entry.uid, Some(entry)),
        (None, Ok(uid)) => (uid, passwd(&accounts).find(|entry| entry.uid == uid)),
        (None, Err(_)) => {
            return Err(Failure::new(
                FailureKind::NotFound,
                format!("there is no user {who:?} in the environment's /etc/passwd"),
            ));
        }
    };
    let gid = match group {
        None => known.as_ref().map_or(0, |entry| entry.gid),
        Some(group) => match groups(&group_file).find(|(name, ..)| *name == group) {
            Some((_, gid, _)) => gid,
            None => group.parse().map_err(|_| {
                Failure::new(
                    FailureKind::NotFound,
                    format!("there is no group {group:?} in the environment's /etc/group"),
                )
            })?,
        },
    };
    let mut supplementary = Vec::new();
    if let (Some(entry), None) = (&known, group) {
        supplementary = groups(&group_file)
            .filter(|(_, _, members)| members.split(',').any(|member| member == entry.name))
            .map(|(_, gid, _)| gid)
            .collect();
    }
    if !supplementary.contains(&gid) {
        supplementary.insert(0, gid);
    }
    Ok(user(uid, gid, known, supplementary))
}

fn user(uid: u32, gid: u32, known: Option<Passwd<'_>>, groups: Vec<u32>) -> User {
    let (name, home, shell) = match known {
        Some(entry) => {
            (entry.name.to_owned(), entry.home.to_owned(), Some(entry.shell).filter(|s| !s.is_empty()))
        }
        None => (uid.to_string(), "/".to_owned(), None),
    };
    User { uid, gid, groups, name, home, shell: shell.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etc() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("passwd"),
            "root:x:0:0:root:/root:/bin/bash\n# broken\nann:x:1000:1001::/home/ann:/bin/sh\nnohome:x:7:7:::\n",
        )
        .unwrap();
        std::fs::write(
            dir.path().join("group"),
            "root:x:0:\nann:x:1001:\nwheel:x:10:bob,ann\nvid:x:44:annabel\n",
        )
        .unwrap();
        dir
    }

    #[test]
    fn names_bring_home_and_groups() {
        let etc = etc();
        let ann = resolve(Some("ann"), (0, 0), etc.path()).unwrap();
        assert_eq!((ann.uid, ann.gid, ann.groups.as_slice()), (1000, 1001, [1001, 10].as_slice()));
        assert_eq!((ann.name.as_str(), ann.home.as_str()), ("ann", "/home/ann"));
        assert_eq!(resolve(Some("nohome"), (0, 0), etc.path()).unwrap().home, "/");
    }

    #[test]
    fn numbers_need_no_account() {
        let etc = etc();
        let by_number = resolve(Some("1000"), (0, 0), etc.path()).unwrap();
        assert_eq!((by_number.gid, by_number.name.as_str()), (1001, "ann"));
        let unknown = resolve(Some("4242"), (0, 0), etc.path()).unwrap();
        assert_eq!((unknown.uid, unknown.gid, unknown.home.as_str()), (4242, 0, "/"));
        let both = resolve(Some("4242:17"), (0, 0), etc.path()).unwrap();
        assert_eq!((both.uid, both.gid, both.groups.as_slice()), (4242, 17, [17].as_slice()));
        assert_eq!(resolve(Some("ann:wheel"), (0, 0), etc.path()).unwrap().gid, 10);
    }

    #[test]
    fn unknown_names_are_said() {
        let etc = etc();
        assert!(resolve(Some("eve"), (0, 0), etc.path()).unwrap_err().message.contains("\"eve\""));
        assert!(resolve(Some("ann:eves"), (0, 0), etc.path()).unwrap_err().message.contains("\"eves\""));
        assert!(resolve(Some(""), (0, 0), etc.path()).is_err());
    }

    #[test]
    fn no_spec_is_the_helpers_own_user() {
        let etc = etc();
        let own = resolve(None, (1000, 5), etc.path()).unwrap();
        assert_eq!((own.uid, own.gid, own.home.as_str()), (1000, 5, "/home/ann"));
    }
}
