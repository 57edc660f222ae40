//! The two digests of a task: Harbor's `task_checksum` and the one of its lock files.

use crate::files::FileError;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// PyPI `dirhash` of the folder with SHA-256: links are followed, empty folders do not count.
///
/// A folder's digest is that of its entries' descriptors, sorted and joined by two NULs; a descriptor
/// is `data:<digest>` or `dirhash:<digest>`, a NUL, and `name:<name>`.
///
/// # Errors
/// When something cannot be read, has a name that is not UTF-8, or links to a folder it lies in, and
/// for a folder without any file.
pub fn task_checksum(dir: &Path) -> Result<String, FileError> {
    match dirhash(dir, &mut Vec::new())? {
        Some(digest) => Ok(digest),
        None => Err(invalid(dir, "there is no file in it")),
    }
}

fn dirhash(dir: &Path, parents: &mut Vec<PathBuf>) -> Result<Option<String>, FileError> {
    let real = dir.canonicalize().map_err(FileError::at("resolve", dir))?;
    if parents.contains(&real) {
        return Err(invalid(dir, "it is a link to a folder it lies in"));
    }
    parents.push(real);
    let mut descriptors = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(FileError::at("read the folder", dir))? {
        let path = entry.map_err(FileError::at("read the folder", dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(invalid(&path, "its name is not UTF-8"));
        };
        // A link to nothing and a special file count for nothing, as in Python.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            if let Some(digest) = dirhash(&path, parents)? {
                descriptors.push(format!("dirhash:{digest}\0name:{name}"));
            }
        } else if metadata.is_file() {
            descriptors.push(format!("data:{}\0name:{name}", file_digest(&path)?));
        }
    }
    parents.pop();
    if descriptors.is_empty() {
        return Ok(None);
    }
    descriptors.sort();
    Ok(Some(hex(&Sha256::digest(descriptors.join("\0\0")))))
}

/// What of a task's root goes into its lock's digest, as in Harbor's packages.
const FILES: [&str; 4] = ["task.toml", "instruction.md", "README.md", "trajectory.json"];
const FOLDERS: [&str; 4] = ["environment", "tests", "solution", "steps"];
/// What is left out of a task without a `.gitignore`, as in Harbor's packages.
const IGNORED: [&str; 6] = ["__pycache__/", "*.pyc", ".DS_Store", "*.swp", "*.swo", "*~"];

/// The task digest of `lock.json`: `sha256:` and the digest of the lines
/// `relpath NUL sha256(file) newline` over the task's files, sorted, what the task's `.gitignore`
/// names left out.
///
/// # Errors
/// When something cannot be read, or `.gitignore` holds a line that is no pattern.
pub fn lock_digest(dir: &Path) -> Result<String, FileError> {
    let mut names: Vec<String> = Vec::new();
    for name in FILES {
        if dir.join(name).is_file() {
            names.push(name.to_owned());
        }
    }
    for name in FOLDERS {
        if dir.join(name).is_dir() {
            files_below(dir, name, &mut names)?;
        }
    }
    let ignored = Patterns::read(dir)?;
    names.retain(|name| !ignored.hide(name));
    names.sort();
    let mut digest = Sha256::new();
    for name in names {
        let line = format!("{name}\0{}\n", file_digest(&dir.join(&name))?);
        digest.update(line);
    }
    Ok(format!("sha256:{}", hex(&digest.finalize())))
}

/// Files below `folder`, through links to files but not to folders.
fn files_below(root: &Path, folder: &str, names: &mut Vec<String>) -> Result<(), FileError> {
    let dir = root.join(folder);
    for entry in std::fs::read_dir(&dir).map_err(FileError::at("read the folder", &dir))? {
        let entry = entry.map_err(FileError::at("read the folder", &dir))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { return Err(invalid(&entry.path(), "its name is not UTF-8")) };
        let name = format!("{folder}/{name}");
        let kind = entry.file_type().map_err(FileError::at("look at", &entry.path()))?;
        if kind.is_dir() {
            files_below(root, &name, names)?;
        } else if root.join(&name).is_file() {
            names.push(name);
        }
    }
    Ok(())
}

/// Patterns of which the last that fits decides.
struct Patterns(Vec<Gitignore>);

impl Patterns {
    fn read(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join(".gitignore");
        let lines: Vec<String> = match std::fs::read_to_string(&path) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => IGNORED.map(str::to_owned).into(),
            Err(e) => return Err(FileError::at("read", &path)(e)),
        };
        let one = |line: &String| {
            let mut builder = GitignoreBuilder::new("");
            builder.add_line(None, line).and_then(|builder| builder.build())
        };
        let patterns: Result<Vec<Gitignore>, ignore::Error> = lines.iter().map(one).collect();
        patterns.map(Self).map_err(|e| invalid(&path, &e.to_string()))
    }

    fn hide(&self, name: &str) -> bool {
        let fits = |pattern: &Gitignore| match pattern.matched_path_or_any_parents(name, false) {
            ignore::Match::None => None,
            ignore::Match::Ignore(_) => Some(true),
            ignore::Match::Whitelist(_) => Some(false),
        };
        self.0.iter().rev().find_map(fits).unwrap_or(false)
    }
}

fn file_digest(path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::at("read", path))?;
    let mut digest = Sha256::new();
    let mut block = vec![0u8; 64 * 1024];
    loop {
        let n = file.read(&mut block).map_err(FileError::at("read", path))?;
        if n == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(block.get(..n).unwrap_or_default());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn invalid(path: &Path, why: &str) -> FileError {
    FileError::at("take the digest of", path)(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()))
}
