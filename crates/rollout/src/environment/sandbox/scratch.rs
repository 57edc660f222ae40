//! Folders of running sandboxes, named after their owner so that leftovers of dead ones can be told.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A process, named so that no other ever has the same name: its number and its start in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    started: u64,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> io::Result<Self> {
        let pid = std::process::id();
        let started = started(pid).ok_or_else(|| io::Error::other("/proc/self/stat cannot be read"))?;
        Ok(Self { pid, started })
    }

    /// The owner of something called `<pid>-<start>-…`, or `.<what>-<pid>-<start>-…` while it is being made.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.strip_prefix('.').map_or(Some(name), |name| Some(name.split_once('-')?.1))?;
        let mut fields = name.split('-');
        let pid = fields.next()?.parse().ok()?;
        Some(Self { pid, started: fields.next()?.parse().ok()? })
    }

    /// Whether it still runs.
    pub(super) fn lives(self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// A name that nothing else has: `<pid>-<start>-<n>`.
    pub(super) fn fresh_name(self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("{}-{}-{}", self.pid, self.started, NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Field 22 of `/proc/PID/stat` (proc(5)), counted from the name's closing parenthesis.
fn started(pid: u32) -> Option<u64> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let line = String::from_utf8_lossy(&line);
    let fields: Vec<_> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // A zombie has ended, its parent just has not looked.
    if matches!(*fields.first()?, "Z" | "X") { None } else { fields.get(19)?.parse().ok() }
}

/// Makes the folder of one sandbox, which only its owner may enter.
pub(super) fn make(root: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = root.join(name);
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder.create(&folder)?;
    for part in ["m", "s"] {
        builder.create(folder.join(part))?;
    }
    Ok(folder)
}

/// Removes the folders of owners that are dead, by `remove`; says how many there were. One that cannot be removed
/// is told, and keeps neither the others nor what comes next.
pub(super) fn sweep(root: &Path, remove: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<usize> {
    let mut swept = 0;
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let dead = name.to_str().and_then(Owner::of).is_some_and(|owner| !owner.lives());
        if dead {
            match remove(&entry.path()) {
                Ok(()) => swept += 1,
                Err(error) => tracing::warn!(
                    "what a dead run left at {} cannot be removed: {error}; remove it by hand",
                    entry.path().display()
                ),
            }
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trajgen_guest::files::remove_tree;

    #[test]
    fn only_leftovers_of_the_dead_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let own = Owner::this().unwrap().fresh_name();
        make(dir.path(), &own).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = format!("{}-1-0", child.id());
        child.wait().unwrap();
        make(dir.path(), &dead).unwrap();
        fs::write(dir.path().join("not-ours"), "").unwrap();
        assert_eq!(sweep(dir.path(), &remove_tree).unwrap(), 1);
        assert!(dir.path().join(own).exists());
        assert!(!dir.path().join(dead).exists());
        assert!(dir.path().join("not-ours").exists());
    }

    #[test]
    fn what_cannot_be_removed_keeps_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        for n in 0..3 {
            make(dir.path(), &format!("{dead}-1-{n}")).unwrap();
        }
        let stubborn = |tree: &Path| match tree.ends_with(format!("{dead}-1-1")) {
            true => Err(io::Error::other("no")),
            false => remove_tree(tree),
        };
        assert_eq!(sweep(dir.path(), &stubborn).unwrap(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_tell_their_owner() {
        let own = Owner::this().unwrap();
        assert_eq!(Owner::of(&own.fresh_name()), Some(own));
        assert!(own.lives());
        assert_ne!(own.fresh_name(), own.fresh_name());
        assert_eq!(Owner::of(&format!(".image-{}", own.fresh_name())), Some(own));
        assert_eq!(
            (Owner::of("base"), Owner::of("base-0123456789abcdef"), Owner::of(".x")),
            (None, None, None)
        );
    }
}
