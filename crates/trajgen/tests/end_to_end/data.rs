//! `convert`: which trials become training data, and where.

use crate::example::ran;
use crate::support::{Small, names, only, read_json, read_lines, trajgen};
use std::fs;
use std::path::Path;

const FILES: [&str; 5] = [".convert_sig.json", "dataset_info.json", "im.jsonl", "lf.json", "lf.stats.json"];

/// Converts the example's job into a folder of its own; the ids of the records, in order.
fn ids(args: &[&str]) -> Vec<String> {
    let out = tempfile::tempdir().unwrap();
    let to = out.path().to_str().unwrap();
    let report =
        trajgen(&ran().block, &[&["convert", "--json", "--out-dir", to], args].concat()).well().json();
    let folder = only(out.path());
    assert_eq!(names(&folder), FILES);
    let records = read_lines_or_none(&folder.join("im.jsonl"));
    assert_eq!(report["im_records"], records.len());
    assert_eq!(read_json(&folder.join("lf.json")).as_array().unwrap().len(), records.len());
    let id = |record: &serde_json::Value| {
        record["meta_info"]["unique_info"]["_instance_id"].as_str().unwrap().to_owned()
    };
    records.iter().map(id).collect()
}

fn read_lines_or_none(path: &Path) -> Vec<serde_json::Value> {
    if fs::metadata(path).unwrap().len() == 0 { Vec::new() } else { read_lines(path) }
}

#[test]
fn the_status_chooses_trials() {
    assert_eq!(ids(&[]).len(), 7);
    assert_eq!(ids(&["--job", "latest"]).len(), 7);
    assert_eq!(ids(&["--instance-status", "resolved"]).len(), 7);
    assert_eq!(ids(&["--instance-status", "unresolved"]), ["kestrel-labs__ttlcache-42"]);
    assert_eq!(ids(&["--instance-status", "all"]).len(), 8);
    assert_eq!(ids(&["--min-reward", "0"]).len(), 8);
    assert_eq!(ids(&["--min-reward", "0.5"]).len(), 7);
    assert_eq!(ids(&["--max-instances", "2"]).len(), 2);
}

#[test]
fn repos_can_be_left_out() {
    let list = tempfile::NamedTempFile::new().unwrap();
    fs::write(list.path(), "# not these\nPinecove/QueryKit\noxbow/ringlog\n").unwrap();
    let kept = ids(&["--exclude-repos-file", list.path().to_str().unwrap()]);
    assert_eq!(kept.len(), 5);
    assert!(kept.iter().all(|id| !id.starts_with("pinecove") && !id.starts_with("oxbow")));
    assert_eq!(ids(&["--exclude-repos-file", ""]).len(), 7);
}

#[test]
fn unchanged_data_stands() {
    let ran = ran();
    let out = tempfile::tempdir().unwrap();
    let to = out.path().to_str().unwrap();
    let convert = |args: &[&str]| trajgen(&ran.block, &[&["convert", "--out-dir", to], args].concat()).well();
    convert(&[]).says("7 of 7 trials converted into 7 records, mean score 0.").says("lf.json");
    let folder = only(out.path());
    let made = |name: &str| fs::metadata(folder.join(name)).unwrap().modified().unwrap();
    let before: Vec<_> = FILES.map(made).into();
    convert(&["--skip-unchanged"]).says("unchanged, 7 records");
    assert_eq!(Vec::from(FILES.map(made)), before);
    assert_eq!(convert(&["--skip-unchanged", "--json"]).json()["skipped_unchanged"], true);
    // Another question is another answer.
    convert(&["--skip-unchanged", "--max-instances", "3"]).says("3 of 3 trials converted");
    fs::remove_file(folder.join("lf.json")).unwrap();
    convert(&["--skip-unchanged", "--max-instances", "3"]).says("3 of 3 trials converted");
}

#[test]
fn a_job_is_named_or_pointed_at() {
    let ran = ran();
    let name = ran.job().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(ids(&["--job", &name]).len(), 7);
    trajgen(&ran.block, &["convert", "--job", "nowhere"])
        .with(2)
        .complains("--job nowhere: there is no such job");
    trajgen(&ran.block, &["convert", "--job", "../jobs"]).with(2).complains("there is no such job");

    // Without a block: any job's folder, Harbor's own included.
    let dir = tempfile::tempdir().unwrap();
    trajgen(dir.path(), &["convert"]).with(2).complains("there is no job");
    let job = ran.job();
    trajgen(dir.path(), &["convert", "--job-dir", job.to_str().unwrap(), "--out-dir", "out"]).well();
    assert_eq!(names(dir.path()), ["out"]);
    assert_eq!(names(&dir.path().join("out").join(&name)), FILES);
    trajgen(dir.path(), &["convert", "--job-dir", "nowhere"]).with(2).complains("--job-dir nowhere");
}

#[test]
fn a_scaffold_is_known_or_refused() {
    assert_eq!(ids(&["--scaffold", "terminus2"]).len(), 7);
    assert_eq!(ids(&["--reasoning-check", "strict"]).len(), 7);
    trajgen(&ran().block, &["convert", "--scaffold", "nobody"]).with(2).complains("nobody");
    trajgen(&ran().block, &["convert", "--reasoning-check", "lax"]).with(2).complains("adaptive, strict");
}

#[test]
fn a_list_that_is_not_there_is_bad_input() {
    let gone = trajgen(&ran().block, &["convert", "--exclude-repos-file", "gone.txt"]).with(2);
    gone.complains("exclude_repos_file: gone.txt: No such file");
    trajgen(&ran().block, &["convert", "--exclude-repos-file", "."]).with(2).complains("exclude_repos_file");
}

#[test]
fn a_conversion_that_cannot_be_done_is_refused_before_anything_runs() {
    let small = Small::with(&["alpha"]);
    for (key, value, says) in [
        ("tokenizer", "Qwen/Qwen3-8B", "tokenizer: 'Qwen/Qwen3-8B': tokenizers are not supported yet"),
        ("scaffold", "claude_code", "scaffold 'claude_code' is not supported yet; supported: terminus2"),
        ("exclude_repos_file", "gone.txt", "gone.txt: No such file"),
    ] {
        small.configured(&[(&format!("sft_conversion.{key}"), value)]);
        for args in [&["run"][..], &["run", "--dry-run"]] {
            let refused = small.trajgen(args).with(2);
            refused.complains("error: runtime_info.input.sft_conversion: ").complains(says);
        }
        small.trajgen(&["check"]).with(2).says(says);
        assert_eq!(names(&small.path().join("artifacts/jobs")), [""; 0]);
        assert_eq!(small.runs(), [""; 0]);
    }
}
