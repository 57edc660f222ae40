//! The processes of this pid namespace, read from `/proc`.

use std::fs;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// In clock ticks since boot; with `pid` it names a process for good.
    pub(crate) started: u64,
    /// Ended, not yet collected.
    pub(crate) zombie: bool,
    /// The program's short name.
    pub(crate) name: String,
}

impl Entry {
    /// The command line, cut to 200 characters; the short name in brackets when there is none.
    pub(crate) fn command(&self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let line = words.join(" ");
        match line.trim_end() {
            "" => format!("[{}]", self.name),
            line => line.chars().take(200).collect(),
        }
    }

    /// True when the process's environment holds exactly `variable` (`NAME=value`).
    pub(crate) fn has_variable(&self, variable: &str) -> bool {
        // One that may not be read, or has ended, has none.
        let bytes = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        bytes.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    }
}

/// All processes, in order of their numbers. Empty when `/proc` is not there.
pub(crate) fn entries() -> Vec<Entry> {
    let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<_> = folder
        .flatten()
        .filter_map(|item| item.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?))
        .collect();
    found.sort_by_key(|entry| entry.pid);
    found
}

/// Reads a line of `/proc/PID/stat` (proc(5)): `pid (name) state ppid pgrp session …`. The name is chosen
/// by the process and may hold anything, so the fields are counted from its last parenthesis.
fn parse(pid: i32, line: &[u8]) -> Option<Entry> {
    let line = String::from_utf8_lossy(line);
    let (head, tail) = line.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<_> = tail.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    let small = |index: usize| i32::try_from(number(index)?).ok();
    Some(Entry {
        pid,
        name,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: small(1)?,
        group: small(2)?,
        session: small(3)?,
        started: u64::try_from(number(19)?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let line = b"7 (x) Z 9 9 (9) S 3 5 6 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let entry = parse(7, line).unwrap();
        assert_eq!((entry.parent, entry.group, entry.session, entry.started), (3, 5, 6, 12345));
        assert_eq!((entry.name.as_str(), entry.zombie), ("x) Z 9 9 (9", false));
        assert!(parse(7, b"7 (x Z").is_none());
    }

    #[test]
    fn this_process_is_in_the_table() {
        let own = i32::try_from(std::process::id()).unwrap();
        let entry = entries().into_iter().find(|entry| entry.pid == own).unwrap();
        assert!(!entry.zombie);
        assert!(!entry.command().is_empty());
    }
}
