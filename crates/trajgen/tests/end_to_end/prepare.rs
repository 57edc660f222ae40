//! `prepare`: from a source to the block's tasks.

use crate::support::{Small, names, tree, write, write_task};
use std::path::Path;
use std::process::Command;

fn prepared(small: &Small) -> Vec<String> {
    let folders = names(&small.path().join("artifacts/tasks/mini"));
    folders.into_iter().filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn it_copies_what_the_manifest_names_once() {
    let small = Small::with(&["beta", "alpha"]);
    write_task(&small.source(), "unlisted");
    small.trajgen(&["prepare"]).well().says("mini: 2 tasks in artifacts/tasks/mini (2 copied)");
    assert_eq!(prepared(&small), ["alpha", "beta"]);
    let source = tree(&small.source().join("alpha"));
    let target = small.path().join("artifacts/tasks/mini/alpha");
    assert_eq!(tree(&target), source);

    small.trajgen(&["prepare"]).well().says("(0 copied, 2 unchanged)");
    write(&small.source().join("alpha/instruction.md"), "Changed.\n");
    let kept = small.trajgen(&["prepare"]).well();
    kept.says("1 changed at their source but kept").complains("task 'alpha': its source has changed");
    assert_eq!(tree(&target), source);
    let report = small.trajgen(&["prepare", "--overwrite", "--json"]).well().json();
    assert_eq!(report["prepared"]["copied"], serde_json::json!(["alpha"]));
    assert_eq!(report["prepared"]["tasks"], serde_json::json!(["beta", "alpha"]));
    assert_eq!(tree(&target), tree(&small.source().join("alpha")));
}

#[test]
fn manifests_with_holes_without_entries_and_none() {
    let small = Small::with(&["alpha"]);
    let manifest = small.source().join("verifiable_tasks.txt");
    write(&manifest, "# the good ones\nalpha # a remark\n\nnowhere\n");
    let said = small.trajgen(&["prepare"]).well();
    said.says("1 missing").complains("warning").complains("nowhere");
    write(&manifest, "nowhere\n");
    small.trajgen(&["prepare"]).with(2).complains("nowhere");
    write(&manifest, "# none yet\n");
    small.trajgen(&["prepare"]).with(2).complains("verifiable_tasks.txt");
    small.trajgen(&["run"]).with(2).complains("verifiable_tasks.txt");
    assert_eq!(small.runs(), [""; 0]);
    std::fs::remove_file(&manifest).unwrap();
    small.trajgen(&["prepare"]).well().complains("verifiable_tasks.txt");
}

#[test]
fn an_invalid_task_is_left_out_or_ends_it() {
    let small = Small::with(&["alpha", "broken"]);
    std::fs::remove_file(small.source().join("broken/tests/test.sh")).unwrap();
    let said = small.trajgen(&["prepare"]).well();
    said.says("1 invalid").complains("error: task 'broken' is skipped").complains("tests/test.sh");
    assert_eq!(prepared(&small), ["alpha"]);
    small.trajgen(&["prepare", "--strict"]).with(2).complains("broken");
    small.trajgen(&["run", "--strict"]).with(2).complains("broken");
    small.trajgen(&["run"]).well().says("1 of 1 over");
    // What people should know of a run stands in its log, too.
    let log = crate::support::read(&small.path().join("artifacts/archives/run_001/session.log"));
    assert!(log.contains("1 tasks of 'mini' are prepared"), "{log}");
    assert!(log.contains("error: task 'broken' is skipped"), "{log}");
}

fn tar(path: &Path, members: impl Fn(&mut tar::Builder<std::fs::File>)) {
    let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
    members(&mut builder);
    builder.finish().unwrap();
}

#[test]
fn archives_hold_a_data_set_or_one_task() {
    let small = Small::with(&["alpha", "beta"]);
    let archive = small.path().join("mini.tar");
    tar(&archive, |tar| tar.append_dir_all("mini", small.source()).unwrap());
    let report = small.trajgen(&["prepare", "--source", "mini.tar", "--json"]).well().json();
    assert_eq!(report["prepared"]["tasks"], serde_json::json!(["alpha", "beta"]));
    let path = report["path"].as_str().unwrap().to_owned();
    assert_eq!(tree(&small.path().join(path).join("alpha")), tree(&small.source().join("alpha")));

    let archive = small.path().join("solo.tar");
    tar(&archive, |tar| tar.append_dir_all("", small.source().join("alpha")).unwrap());
    let report = small.trajgen(&["prepare", "--source", "solo.tar", "--json"]).well().json();
    assert_eq!(report["prepared"]["tasks"], serde_json::json!(["solo"]));
}

#[test]
fn archives_are_packed_in_any_of_four_ways() {
    let small = Small::with(&["alpha", "beta"]);
    let data = small.path().join("data");
    // Made by the tools that people use.
    let packers: [(&str, &str, &[&str]); 4] = [
        ("plain.tar", "tar", &["-cf", "../plain.tar", "mini"]),
        ("packed.tar.gz", "tar", &["-czf", "../packed.tar.gz", "mini"]),
        ("short.tgz", "tar", &["-czf", "../short.tgz", "mini"]),
        ("zipped.zip", "python3", &["-m", "zipfile", "-c", "../zipped.zip", "mini"]),
    ];
    for (archive, packer, args) in packers {
        let packed = Command::new(packer).args(args).current_dir(&data).status().unwrap();
        assert!(packed.success(), "{archive}");
        let report = small.trajgen(&["prepare", "--source", archive, "--json"]).well().json();
        assert_eq!(report["prepared"]["tasks"], serde_json::json!(["alpha", "beta"]), "{archive}");
        let path = small.path().join(report["path"].as_str().unwrap());
        for id in ["alpha", "beta"] {
            assert_eq!(tree(&path.join(id)), tree(&small.source().join(id)), "{archive}");
        }
        let again = small.trajgen(&["prepare", "--source", archive]).well();
        again.says("(0 copied, 2 unchanged)");

        // And as the source of a run.
        let config = crate::support::read(&small.path().join("config.yaml"));
        let named = config.replace("dataset_name: data/mini", &format!("dataset_name: {archive}"));
        write(&small.path().join("config.yaml"), &named);
        let plan = small.trajgen(&["run", "--dry-run", "--json"]).well().json();
        assert_eq!(plan["trials"].as_array().unwrap().len(), 2, "{archive}");
        write(&small.path().join("config.yaml"), &config);
    }
    write(&small.path().join("torn.tgz"), "no archive");
    small.trajgen(&["prepare", "--source", "torn.tgz"]).with(2).complains("torn.tgz");
    write(&small.path().join("tasks.rar"), "no archive");
    small.trajgen(&["prepare", "--source", "tasks.rar"]).with(2).complains(".tar.gz, .tgz, .tar or .zip");
}

/// A member that tar's own writer would refuse: this is what another tool may write.
fn member(name: &str, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_link_name("/etc/passwd").unwrap();
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    header
}

#[test]
fn a_hostile_archive_is_refused_whole() {
    use tar::EntryType as T;
    let small = Small::with(&["alpha"]);
    let hostile = [
        ("up", member("set/../../../../escaped", T::Regular)),
        ("absolute", member("/tmp/trajgen-escaped", T::Regular)),
        ("symbolic", member("set/alpha/link", T::Symlink)),
        ("hard", member("set/alpha/link", T::Link)),
        ("device", member("set/alpha/link", T::Char)),
        ("pipe", member("set/alpha/link", T::Fifo)),
    ];
    for (name, header) in hostile {
        let archive = format!("{name}.tar");
        tar(&small.path().join(&archive), |tar| {
            tar.append_dir_all("set", small.source()).unwrap();
            tar.append(&header, std::io::empty()).unwrap();
        });
        small.trajgen(&["prepare", "--source", &archive]).with(2).complains(&archive);
        assert!(
            !small.path().join("escaped").exists() && !Path::new("/tmp/trajgen-escaped").exists(),
            "{name}"
        );
    }
    assert_eq!(names(&small.path().join("artifacts/tasks")), [""; 0]);
}
