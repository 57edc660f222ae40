//! The workspace against its state before the agent: `artifacts/workspace.diff`.

use crate::environment::Environment;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A workspace larger than this is not compared, KiB.
const MAX_KIB: u64 = 64 * 1024;
/// A diff longer than this is cut, bytes.
const MAX_DIFF: usize = 4 << 20;
/// A changed file longer than this is named, not shown, bytes.
const MAX_FILE: usize = 1 << 20;
/// What no reader of a diff wants to see.
const EXCLUDED: [&str; 5] =
    [".git/**", "**/node_modules/**", "**/__pycache__/**", "**/target/**", "**/.venv/**"];

/// The workspace's state at one moment, as a folder on the host that goes away with this value.
#[derive(Debug)]
pub struct Snapshot(tempfile::TempDir);

/// Copies the workspace out. `Err` says why it was not done, for the trial's log.
///
/// # Errors
/// A workspace that is the whole file system or larger than 64 MiB, or one that cannot be read.
pub async fn snapshot(environment: &dyn Environment, scratch: &Path) -> Result<Snapshot, String> {
    let workdir = environment.workdir();
    if workdir == "/" {
        return Err("the workdir is /".into());
    }
    let folder =
        tempfile::Builder::new().prefix("workspace-").tempdir_in(scratch).map_err(|e| e.to_string())?;
    let excluded: Vec<String> = EXCLUDED.iter().map(|&e| e.to_owned()).collect();
    // Nothing inside is asked for sizes: programs there are the agent's, and files may be longer than they are big.
    let fetched = environment.download_at_most(workdir, folder.path(), &excluded, MAX_KIB << 10).await;
    if fetched.map_err(|e| e.message)?.cut {
        return Err(format!("it holds more than {MAX_KIB} KiB; workspaces up to that are compared"));
    }
    Ok(Snapshot(folder))
}

/// What changed from `before` to `after`, as a unified diff with paths relative to the workspace. Empty when
/// nothing did.
#[must_use]
pub fn diff(before: &Snapshot, after: &Snapshot) -> String {
    diff_folders(before.0.path(), after.0.path())
}

fn diff_folders(before: &Path, after: &Path) -> String {
    let mut paths = BTreeSet::new();
    list(before, Path::new(""), &mut paths);
    list(after, Path::new(""), &mut paths);
    let mut text = String::new();
    for path in paths {
        let old = std::fs::read(before.join(&path)).ok();
        let new = std::fs::read(after.join(&path)).ok();
        if old == new {
            continue;
        }
        let mut one = String::new();
        one_file(&mut one, &path.to_string_lossy(), old.as_deref(), new.as_deref());
        if text.len() + one.len() > MAX_DIFF {
            text.push_str("# The diff was cut here: it is longer than 4 MiB.\n");
            break;
        }
        text.push_str(&one);
    }
    text
}

fn one_file(text: &mut String, name: &str, old: Option<&[u8]>, new: Option<&[u8]>) {
    let from = if old.is_some() { format!("a/{name}") } else { "/dev/null".into() };
    let to = if new.is_some() { format!("b/{name}") } else { "/dev/null".into() };
    let _ = writeln!(text, "diff --git a/{name} b/{name}");
    if old.is_none() {
        text.push_str("new file mode 100644\n");
    }
    if new.is_none() {
        text.push_str("deleted file mode 100644\n");
    }
    if [old, new].into_iter().flatten().any(|content| content.len() > MAX_FILE) {
        let _ = writeln!(text, "Files {from} and {to} differ, and are too long to be shown");
        return;
    }
    let (old, new) =
        (std::str::from_utf8(old.unwrap_or_default()), std::str::from_utf8(new.unwrap_or_default()));
    let (Ok(old), Ok(new)) = (old, new) else {
        let _ = writeln!(text, "Binary files {from} and {to} differ");
        return;
    };
    let difference = similar::TextDiff::configure().timeout(Duration::from_secs(2)).diff_lines(old, new);
    let _ = write!(text, "{}", difference.unified_diff().header(&from, &to));
}

fn list(root: &Path, below: &Path, into: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(root.join(below)) else { return };
    for entry in entries.flatten() {
        let path = below.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list(root, &path, into),
            Ok(kind) if kind.is_file() => {
                into.insert(path);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_long_diffs_are_cut() {
        let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(after.path().join("a-sparse"), "").unwrap();
        std::fs::File::options()
            .write(true)
            .open(after.path().join("a-sparse"))
            .unwrap()
            .set_len(8 << 20)
            .unwrap();
        for n in 0..9 {
            std::fs::write(after.path().join(format!("b-{n}")), "line\n".repeat(150_000)).unwrap();
        }
        let text = diff_folders(before.path(), after.path());
        assert!(text.len() <= MAX_DIFF + 100, "{}", text.len());
        assert!(text.contains("b/a-sparse differ, and are too long to be shown"));
        assert!(text.contains("b/b-0\n") && text.ends_with("longer than 4 MiB.\n"));
    }

    #[test]
    fn a_diff_names_changed_new_and_removed_files() {
        let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (dir, name, text) in [
            (&before, "same.txt", "x\n"),
            (&after, "same.txt", "x\n"),
            (&before, "src/a.py", "one\ntwo\n"),
            (&after, "src/a.py", "one\nthree\n"),
            (&before, "gone.txt", "bye\n"),
            (&after, "new.txt", "hi\n"),
            (&before, "blob", "\u{0}"),
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::write(after.path().join("blob"), [0xff, 0xfe]).unwrap();
        let text = diff_folders(before.path(), after.path());
        insta::assert_snapshot!(text);
    }
}
