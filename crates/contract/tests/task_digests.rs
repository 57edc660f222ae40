//! Digests of tasks against those of the real tools (`tests/harbor/task_digests.py` fills them in).
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use trajgen_contract::task::digest::{lock_digest, task_checksum};

#[derive(Deserialize)]
struct Tree {
    name: String,
    files: BTreeMap<String, String>,
    #[serde(default)]
    links: BTreeMap<String, String>,
    #[serde(default)]
    folders: Vec<String>,
    /// None: the tool refuses it.
    dirhash: Option<String>,
    lock: String,
}

fn build(root: &Path, tree: &Tree) {
    for folder in &tree.folders {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (name, content) in &tree.files {
        std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        std::fs::write(root.join(name), content).unwrap();
    }
    for (name, target) in &tree.links {
        std::os::unix::fs::symlink(target, root.join(name)).unwrap();
    }
}

#[test]
fn digests_are_those_of_the_real_tools() {
    let trees: Vec<Tree> = serde_json::from_str(include_str!("golden/trees.json")).unwrap();
    for tree in trees {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path(), &tree);
        assert_eq!(task_checksum(dir.path()).ok(), tree.dirhash, "{}", tree.name);
        assert_eq!(lock_digest(dir.path()).unwrap(), tree.lock, "{}", tree.name);
    }
}

#[test]
fn an_empty_folder_has_no_checksum() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let error = task_checksum(dir.path()).unwrap_err().to_string();
    assert!(error.contains("no file in it"), "{error}");
}
