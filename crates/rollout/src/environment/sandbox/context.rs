//! A task's `environment/` folder as Docker's build context: what is ignored, what a `COPY` takes, its digest.

use super::dockerfile::Transfer;
use globset::{GlobBuilder, GlobMatcher};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

/// The rules of a `.dockerignore`: the last that matches a path or a folder above it decides.
#[derive(Debug, Default)]
pub(super) struct Ignore(Vec<(GlobMatcher, bool)>);

impl Ignore {
    /// Reads the context's `.dockerignore`; none ignores nothing.
    pub(super) fn read(context: &Path) -> Result<Self, String> {
        let path = context.join(".dockerignore");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Self::parse(&text).map_err(|problem| format!("{}: {problem}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (again, pattern) =
                line.strip_prefix('!').map_or((false, line), |pattern| (true, pattern.trim()));
            let pattern = pattern.trim_start_matches("./").trim_matches('/');
            if !pattern.is_empty() {
                rules.push((glob(pattern)?, !again));
            }
        }
        Ok(Self(rules))
    }

    /// Whether the path, relative to the context, is left out.
    pub(super) fn ignores(&self, path: &Path) -> bool {
        let decides = |matcher: &GlobMatcher| path.ancestors().any(|part| matcher.is_match(part));
        self.0.iter().rev().find(|(matcher, _)| decides(matcher)).is_some_and(|(_, ignored)| *ignored)
    }
}

fn glob(pattern: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.to_string())
}

/// What a `COPY` takes, copied to a folder of its own.
#[derive(Debug)]
pub(super) struct Staged {
    /// Holds what goes into the target folder.
    pub(super) folder: PathBuf,
    /// Paths within `folder`, parents first.
    pub(super) entries: Vec<PathBuf>,
    /// It is one file, which may itself become the target.
    pub(super) one_file: Option<PathBuf>,
}

/// One `COPY`'s way through the context.
pub(super) struct Stager<'a> {
    context: PathBuf,
    ignore: &'a Ignore,
    chmod: Option<u32>,
    staged: Staged,
}

/// Copies what `transfer`, whose variables are filled in, takes of `context` into the new folder `into`.
pub(super) fn stage(
    context: &Path,
    ignore: &Ignore,
    transfer: &Transfer,
    into: &Path,
) -> Result<Staged, String> {
    let shown = |error: io::Error| format!("{}: {error}", context.display());
    let context = context.canonicalize().map_err(shown)?;
    fs::create_dir(into).map_err(|error| format!("{}: {error}", into.display()))?;
    let staged = Staged { folder: into.to_owned(), entries: Vec::new(), one_file: None };
    let mut stager = Stager { context, ignore, chmod: transfer.chmod, staged };
    let mut files = 0;
    let mut folders = 0;
    for source in &transfer.sources {
        let matches = stager.matches(source)?;
        if matches.is_empty() {
            return Err(format!("there is no {source} in {}, or it is ignored", stager.context.display()));
        }
        for relative in matches {
            let path = stager.inside(&relative)?;
            if path.is_dir() {
                folders += 1;
                stager.folder(&path, &relative, Path::new(""))?;
            } else {
                files += 1;
                let name = relative.file_name().map(PathBuf::from).unwrap_or_default();
                stager.file(&path, &name)?;
            }
        }
    }
    if files == 1 && folders == 0 && !transfer.target.ends_with('/') {
        stager.staged.one_file = stager.staged.entries.first().cloned();
    }
    Ok(stager.staged)
}

/// The path within the context that a source names.
fn clean(source: &str) -> Result<PathBuf, String> {
    let mut path = PathBuf::new();
    for part in Path::new(source).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!("{source} leaves the task's environment folder"));
            }
        }
    }
    Ok(path)
}

impl Stager<'_> {
    /// Paths, relative to the context, that `source` stands for.
    fn matches(&self, source: &str) -> Result<Vec<PathBuf>, String> {
        let path = clean(source)?;
        if !source.contains(['*', '?', '[']) {
            let there = fs::symlink_metadata(self.context.join(&path)).is_ok();
            let taken = there && (path.as_os_str().is_empty() || self.takes_any(&path));
            return Ok(if taken { vec![path] } else { Vec::new() });
        }
        let matcher = glob(&path.to_string_lossy())?;
        let mut found = Vec::new();
        self.search(Path::new(""), &matcher, path.components().count(), &mut found)?;
        found.sort();
        Ok(found)
    }

    fn search(
        &self,
        below: &Path,
        matcher: &GlobMatcher,
        depth: usize,
        found: &mut Vec<PathBuf>,
    ) -> Result<(), String> {
        for (name, is_folder) in self.list(below)? {
            let path = below.join(name);
            if matcher.is_match(&path) && self.takes_any(&path) {
                found.push(path);
            } else if is_folder && depth > 1 {
                self.search(&path, matcher, depth - 1, found)?;
            }
        }
        Ok(())
    }

    fn list(&self, below: &Path) -> Result<Vec<(PathBuf, bool)>, String> {
        let folder = self.context.join(below);
        let shown = |error: io::Error| format!("{}: {error}", folder.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(shown)? {
            let entry = entry.map_err(shown)?;
            names.push((PathBuf::from(entry.file_name()), entry.file_type().map_err(shown)?.is_dir()));
        }
        names.sort();
        Ok(names)
    }

    /// Whether the path, or something below it, is not ignored.
    fn takes_any(&self, path: &Path) -> bool {
        if !self.ignore.ignores(path) {
            return true;
        }
        let is_folder = fs::symlink_metadata(self.context.join(path)).is_ok_and(|found| found.is_dir());
        is_folder
            && self
                .list(path)
                .is_ok_and(|names| names.iter().any(|(name, _)| self.takes_any(&path.join(name))))
    }

    /// Follows links, but not out of the context.
    fn inside(&self, relative: &Path) -> Result<PathBuf, String> {
        let path = self.context.join(relative);
        let end = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        if end.starts_with(&self.context) {
            Ok(end)
        } else {
            Err(format!("{} leads out of the task's environment folder", path.display()))
        }
    }

    fn folder(&mut self, path: &Path, relative: &Path, target: &Path) -> Result<(), String> {
        let shown = |error: io::Error| format!("{}: {error}", path.display());
        for entry in fs::read_dir(path).map_err(shown)? {
            let entry = entry.map_err(shown)?;
            let (below, to) = (relative.join(entry.file_name()), target.join(entry.file_name()));
            if !self.takes_any(&below) {
                continue;
            }
            let kind = entry.file_type().map_err(shown)?;
            if kind.is_dir() {
                self.make(&to, &entry.path())?;
                self.folder(&entry.path(), &below, &to)?;
            } else if kind.is_symlink() {
                let link = fs::read_link(entry.path()).map_err(shown)?;
                let place = self.staged.folder.join(&to);
                symlink(link, &place).map_err(|error| format!("{}: {error}", place.display()))?;
                self.staged.entries.push(to);
            } else if kind.is_file() {
                self.file(&entry.path(), &to)?;
            }
        }
        Ok(())
    }

    fn make(&mut self, to: &Path, like: &Path) -> Result<(), String> {
        let place = self.staged.folder.join(to);
        let shown = |error: io::Error| format!("{}: {error}", place.display());
        if !place.is_dir() {
            fs::create_dir(&place).map_err(shown)?;
            self.staged.entries.push(to.to_owned());
        }
        let mode = fs::metadata(like).map_err(shown)?.permissions().mode() & 0o7777;
        fs::set_permissions(&place, fs::Permissions::from_mode(self.chmod.unwrap_or(mode))).map_err(shown)
    }

    fn file(&mut self, path: &Path, to: &Path) -> Result<(), String> {
        let place = self.staged.folder.join(to);
        let shown = |error: io::Error| format!("{}: {error}", path.display());
        fs::copy(path, &place).map_err(shown)?;
        if let Some(mode) = self.chmod {
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).map_err(shown)?;
        }
        self.staged.entries.push(to.to_owned());
        Ok(())
    }
}

/// Whether the file begins like an archive that `ADD` unpacks: tar, gzip, bzip2, xz, zstd.
pub(super) fn looks_packed(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(512).read_to_end(&mut head));
    let marks: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    read.is_ok() && (marks.iter().any(|mark| head.starts_with(mark)) || head.get(257..262) == Some(b"ustar"))
}

/// Everything in the context that says when a file last changed, without reading any.
pub(super) fn stamp(context: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    walk(context, Path::new(""), &mut |path, found, _| {
        let times = (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
        hash.update(format!("{path:?} {times:?} {} {} {:o}\n", found.ino(), found.size(), found.mode()));
        Ok(())
    })?;
    Ok(hex(hash))
}

/// The contents of the context, modes included, times and owners not.
pub(super) fn digest(context: &Path, seed: &str) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(seed);
    walk(context, Path::new(""), &mut |path, found, full| {
        hash.update(format!("\n{path:?} {:o} ", found.mode()));
        if found.is_symlink() {
            hash.update(format!("{:?}", fs::read_link(full)?));
        } else if found.is_file() {
            hash.update(format!("{} ", found.size()));
            io::copy(&mut fs::File::open(full)?, &mut HashWriter(&mut hash))?;
        }
        Ok(())
    })?;
    Ok(hex(hash))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

type Visit<'a> = dyn FnMut(&Path, &fs::Metadata, &Path) -> io::Result<()> + 'a;

fn walk(root: &Path, below: &Path, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut names: Vec<_> =
        fs::read_dir(root.join(below))?.map(|e| Ok(e?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let path = below.join(name);
        let full = root.join(&path);
        let found = fs::symlink_metadata(&full)?;
        visit(&path, &found, &full)?;
        if found.is_dir() {
            walk(root, &path, visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(sources: &[&str], target: &str) -> Transfer {
        Transfer {
            add: false,
            sources: sources.iter().map(|s| (*s).to_owned()).collect(),
            target: target.into(),
            chown: None,
            chmod: None,
            json: false,
        }
    }

    fn context() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("a.txt", "a"), ("b.txt", "b"), ("d/c.txt", "c"), ("d/deep/x.log", "x")] {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn entries(context: &Path, ignore: &str, sources: &[&str], target: &str) -> Result<Vec<String>, String> {
        let into = tempfile::tempdir().unwrap();
        let ignore = Ignore::parse(ignore).unwrap();
        let staged = stage(context, &ignore, &transfer(sources, target), &into.path().join("s"))?;
        let mut names: Vec<_> = staged.entries.iter().map(|path| path.display().to_string()).collect();
        names.sort();
        Ok(names)
    }

    #[test]
    fn folders_give_their_contents_and_files_themselves() {
        let dir = context();
        assert_eq!(entries(dir.path(), "", &["d"], "/t").unwrap(), ["c.txt", "deep", "deep/x.log"]);
        assert_eq!(entries(dir.path(), "", &["*.txt"], "/t/").unwrap(), ["a.txt", "b.txt"]);
        assert_eq!(entries(dir.path(), "", &["d/*.txt", "./a.txt"], "/t/").unwrap(), ["a.txt", "c.txt"]);
        assert!(entries(dir.path(), "", &["none"], "/t").unwrap_err().contains("no none in"));
    }

    #[test]
    fn one_file_may_become_the_target() {
        let dir = context();
        let into = tempfile::tempdir().unwrap();
        let staged = |target: &str, name: &str| {
            stage(dir.path(), &Ignore::default(), &transfer(&["a.txt"], target), &into.path().join(name))
                .unwrap()
        };
        assert_eq!(staged("/t", "1").one_file.unwrap(), Path::new("a.txt"));
        assert!(staged("/t/", "2").one_file.is_none());
    }

    #[test]
    fn ignored_files_stay_out_and_exceptions_come_in() {
        let dir = context();
        let ignore = "# c\n*.txt\n!b.txt\nd\n!d/deep\n**/*.log\n";
        assert_eq!(entries(dir.path(), ignore, &["."], "/t").unwrap(), ["b.txt", "d", "d/deep"]);
        assert!(entries(dir.path(), "a.txt", &["a.txt"], "/t").is_err());
    }

    #[test]
    fn nothing_outside_the_context_is_taken() {
        let dir = context();
        let outside = tempfile::NamedTempFile::new().unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        assert!(entries(dir.path(), "", &["out"], "/t").unwrap_err().contains("leads out of"));
        assert!(entries(dir.path(), "", &["../x"], "/t").unwrap_err().contains("leaves"));
        // Within a folder a link is copied as a link.
        fs::rename(dir.path().join("out"), dir.path().join("d/out")).unwrap();
        assert!(entries(dir.path(), "", &["d"], "/t").unwrap().contains(&"out".to_owned()));
    }

    #[test]
    fn the_digest_knows_contents_and_modes_but_no_times() {
        let dir = context();
        let first = digest(dir.path(), "s").unwrap();
        let stamped = stamp(dir.path()).unwrap();
        fs::write(dir.path().join("a.txt"), "a").unwrap();
        assert_eq!(digest(dir.path(), "s").unwrap(), first);
        assert_ne!(stamp(dir.path()).unwrap(), stamped);
        fs::set_permissions(dir.path().join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(digest(dir.path(), "s").unwrap(), first);
        assert_ne!(digest(dir.path(), "other").unwrap(), first);
    }
}
