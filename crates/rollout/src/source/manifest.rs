//! Which folders of a source are its tasks, and in which order.

use super::{PrepareError, Prepared, count};
use std::io;
use std::path::{Path, PathBuf};
use trajgen_contract::files::FileError;

/// The list of a source's verified tasks.
const MANIFEST: &str = "verifiable_tasks.txt";
/// How many ids a message names before it only counts.
const NAMED: usize = 10;

/// The tasks' ids and folders: the manifest's in its order, else all by id. What is missing goes to
/// `prepared`.
pub(super) fn tasks(
    source: &Path,
    tasks_in: &Path,
    prepared: &mut Prepared,
) -> Result<Vec<(String, PathBuf)>, PrepareError> {
    let no_tasks = |problem: String| PrepareError::NoTasks { path: source.to_owned(), problem };
    let path = tasks_in.join(MANIFEST);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let all = all_tasks(tasks_in)?;
            if all.is_empty() {
                return Err(no_tasks(format!("has neither a {MANIFEST} nor a folder with a task.toml")));
            }
            prepared.warnings.push(format!(
                "{} has no {MANIFEST}: every task in it is taken, verified or not ({})",
                source.display(),
                all.len()
            ));
            return Ok(all);
        }
        Err(e) => return Err(FileError::at("read", &path)(e).into()),
    };
    // What is listed goes to terminals.
    let (ids, doubled) = entries(&text.replace(|c: char| c.is_control() && !c.is_whitespace(), "\u{fffd}"));
    if ids.is_empty() {
        return Err(no_tasks(format!("its {MANIFEST} names no task; put one id on each line")));
    }
    for id in doubled {
        prepared.warnings.push(format!("{MANIFEST}: '{id}' stands there more than once; it is taken once"));
    }
    let n_entries = ids.len();
    let (found, missing): (Vec<String>, Vec<String>) =
        ids.into_iter().partition(|id| is_plain_name(id) && tasks_in.join(id).join("task.toml").exists());
    if !missing.is_empty() {
        let named = missing.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if missing.len() > NAMED { ", …" } else { "" };
        let entries = count(n_entries, "entry has", "entries have");
        let problem =
            format!("{MANIFEST}: {} of {entries} no folder with a task.toml: {named}{more}", missing.len());
        if found.is_empty() {
            return Err(no_tasks(problem));
        }
        prepared.warnings.push(problem);
        prepared.missing = missing;
    }
    Ok(found.into_iter().map(|id| (id.clone(), tasks_in.join(id))).collect())
}

/// The manifest's ids, each once, and those that stand there more than once.
fn entries(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut ids, mut doubled): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashSet::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim();
        // A `#` inside an id is part of it.
        let comment = line.match_indices('#').find(|(at, _)| {
            line.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with(char::is_whitespace))
        });
        let id = comment.and_then(|(at, _)| line.get(..at)).unwrap_or(line).trim();
        if id.is_empty() {
            continue;
        }
        if seen.insert(id.to_owned()) {
            ids.push(id.to_owned());
        } else if !doubled.iter().any(|known| known == id) {
            doubled.push(id.to_owned());
        }
    }
    (ids, doubled)
}

/// All folders with a `task.toml`, by id. Hidden ones are none of ours.
fn all_tasks(tasks_in: &Path) -> Result<Vec<(String, PathBuf)>, FileError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(tasks_in).map_err(FileError::at("read the folder", tasks_in))? {
        let path = entry.map_err(FileError::at("read the folder", tasks_in))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if is_plain_name(name) && path.join("task.toml").exists() {
            found.push((name.to_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether `name` can be a folder's name here: not hidden, no path, nothing a terminal acts on.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.chars().any(|c| c == '/' || c == '\\' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_ids_without_comments_and_once() {
        let (ids, doubled) =
            entries("\u{feff}# head\n b \r\n\na#1\na # because\na\n\t# tail\nb\nb\n#c\nd\t#x");
        assert_eq!(ids, ["b", "a#1", "a", "d"]);
        assert_eq!(doubled, ["a", "b"]);
    }

    #[test]
    fn names_stay_in_the_folder() {
        for name in ["a", "owner__repo-1", "a b", "ü", "a..b"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "/a", "a\\b", "a\nb", "a\u{1b}[31m"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }
}
