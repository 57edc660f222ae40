//! Toolchains that the host's `PATH` points at and that live outside `/usr` and `/opt`: rustup's, pyenv's, nvm's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One toolchain, seen read-only inside at the same path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Toolchain {
    /// Its folders on the host, without what it logs in with.
    pub(super) shown: Vec<PathBuf>,
    /// What goes into `PATH`.
    pub(super) path: Vec<String>,
    /// What it needs to find itself.
    pub(super) env: BTreeMap<String, String>,
}

/// Looks through this process's `PATH`.
pub(super) fn find() -> Vec<Toolchain> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
    find_in(std::env::split_paths(&path), &var)
}

fn find_in(path: impl Iterator<Item = PathBuf>, var: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<Toolchain> {
    let mut found: Vec<Toolchain> = Vec::new();
    for entry in path.filter(|entry| entry.is_absolute() && entry.is_dir()) {
        let Some(one) = recognise(&entry, var) else { continue };
        match found.iter_mut().find(|known| known.shown == one.shown) {
            // The same toolchain under several entries.
            Some(known) => known
                .path
                .extend(one.path.into_iter().filter(|bin| !known.path.contains(bin)).collect::<Vec<_>>()),
            None => found.push(one),
        }
    }
    found
}

fn recognise(entry: &Path, var: &dyn Fn(&str) -> Option<PathBuf>) -> Option<Toolchain> {
    let bin = entry.to_str()?.to_owned();
    let named = |path: Option<&Path>, name: &str| path.and_then(Path::file_name).is_some_and(|n| n == name);
    if entry.join("rustup").exists() && named(Some(entry), "bin") {
        // Its programs are stand-ins for those of the toolchains. The folder above holds the registry's tokens.
        let home = var("RUSTUP_HOME").or_else(|| Some(entry.parent()?.parent()?.join(".rustup")))?;
        let env = [("RUSTUP_HOME".to_owned(), home.to_str()?.to_owned())].into();
        return Some(Toolchain { shown: vec![entry.to_owned(), home], path: vec![bin], env });
    }
    let pyenv = entry.ancestors().find(|a| a.join("bin/pyenv").exists() || a.join("libexec/pyenv").exists());
    if let Some(root) = pyenv {
        let env = [("PYENV_ROOT".to_owned(), root.to_str()?.to_owned())].into();
        return Some(Toolchain { shown: vec![root.to_owned()], path: vec![bin], env });
    }
    let version = entry.parent()?;
    if named(Some(entry), "bin") && named(version.parent(), "node") && version.starts_with(nvm(version)?) {
        return Some(Toolchain { shown: vec![version.to_owned()], path: vec![bin], env: BTreeMap::new() });
    }
    None
}

/// The folder of nvm above a version of node.
fn nvm(version: &Path) -> Option<&Path> {
    version.ancestors().find(|ancestor| ancestor.join("nvm.sh").exists())
}
