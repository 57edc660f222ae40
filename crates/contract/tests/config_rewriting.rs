//! What trajgen writes into a user's config.yaml, and that it writes nothing else.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use proptest::prelude::*;
use std::path::PathBuf;
use trajgen_contract::config::{
    Output, RewriteError, State, Status, default_config, load, rewrite_output, rewrite_status,
};

struct File {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        Self { path, _dir: dir }
    }
    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }
}

fn running() -> Status {
    Status {
        state: State::Running,
        run_id: Some("run_001".to_owned()),
        job: Some("py-cc-terminus-2".to_owned()),
        n_done: Some(3),
        mean_reward: Some(0.5),
        last_error: Some("\"quoted\": # {not} a comment\nü".to_owned()),
        ..Status::default()
    }
}

fn rewritten(text: &str, status: &Status) -> String {
    let file = File::new(text);
    rewrite_status(&file.path, status).unwrap();
    file.text()
}

#[test]
fn values_are_replaced_where_they_stand() {
    let text = "version: 1\nstatus:    # how it stands\n  # first\n  run_id:   null   # which\n\n  state: 'idle'    # what\n  n_running: 5\n\n# the end\n";
    insta::assert_snapshot!(rewritten(text, &running()), @r#"
    version: 1
    status:    # how it stands
      # first
      run_id:   run_001   # which

      state: running    # what
      n_running: null
      job: py-cc-terminus-2
      n_done: 3
      mean_reward: 0.5
      last_error: "\"quoted\": # {not} a comment\nü"

    # the end
    "#);
}

#[test]
fn every_way_to_write_a_status_works() {
    let small = Status { state: State::Failed, ..Status::default() };
    let block = "status:\n  state: failed\n  run_id: null\n  job: null\n";
    for (before, after) in [
        ("a: 1\n", format!("a: 1\n{block}")),
        ("a: 1", format!("a: 1\n{}", block.trim_end())),
        ("a: 1\r\n", format!("a: 1\n{block}").replace('\n', "\r\n")),
        ("a: 1 # c\n\n# the end\n", format!("a: 1 # c\n\n# the end\n{block}")),
        ("a: 1\n# the end", format!("a: 1\n# the end\n{}", block.trim_end())),
        ("a: |\n  text\n", format!("a: |\n  text\n{block}")),
        ("---\na: 1\n...\n", format!("---\na: 1\n{block}...\n")),
        ("status:\na: 1\n", format!("{block}a: 1\n")),
        ("status: # c\na: 1\n", format!("{}a: 1\n", block.replacen(':', ": # c", 1))),
        ("status: ~\na: 1\n", format!("{block}a: 1\n")),
        ("status: idle # c\na: 1\n", format!("{block}a: 1\n").replace("failed", "failed # c")),
        ("status: {}\na: 1\n", "status: {state: failed, run_id: null, job: null}\na: 1\n".to_owned()),
        ("status: {state: idle} # c\n", "status: {state: failed, run_id: null, job: null} # c\n".to_owned()),
        (
            "status: {\n  state: idle, # c\n}\n",
            "status: {\n  state: failed, run_id: null, job: null, # c\n}\n".to_owned(),
        ),
        ("{a: 1}\n", "{a: 1, status: {state: failed, run_id: null, job: null}}\n".to_owned()),
        (
            "{\"a\":1,\"status\":{\"state\":\"idle\",\"job\":\"x\"}}",
            "{\"a\":1,\"status\":{\"state\": failed,\"job\": null, run_id: null}}".to_owned(),
        ),
        (
            "status:\n  state:\n    idle\n  job: >\n    folded\n    text\n\na: 1\n",
            "status:\n  state: failed\n  job: null\n  run_id: null\n\na: 1\n".to_owned(),
        ),
        (
            "status:\n    state: &s idle\na: 1\n",
            "status:\n    state: failed\n    run_id: null\n    job: null\na: 1\n".to_owned(),
        ),
        ("\u{feff}a: 1\n", format!("\u{feff}a: 1\n{block}")),
        (
            "größe: '🦀' # ü\nstatus: {state: idle}\n",
            "größe: '🦀' # ü\nstatus: {state: failed, run_id: null, job: null}\n".to_owned(),
        ),
    ] {
        let result = rewritten(before, &small);
        assert_eq!(result, after, "{before:?}");
        assert_eq!(rewritten(&result, &small), result, "a second time: {before:?}");
    }
}

#[test]
fn outputs_are_written_in_their_place() {
    let text = "runtime_info:\n  input: {a: 1} # mine\nstatus: {state: idle}\n";
    let file = File::new(text);
    rewrite_output(&file.path, &Output::of("elsewhere/jobs", "sft")).unwrap();
    insta::assert_snapshot!(file.text(), @r"
    runtime_info:
      input: {a: 1} # mine
      output:
        raw_trajectories_dir:
          path: elsewhere/jobs
          job_layout: elsewhere/jobs/<job>/<trial>/
          trajectory_format: elsewhere/jobs/<job>/<trial>/agent/litellm-trajectory.jsonl
          results_summary_format: elsewhere/jobs/<job>/result.json
        sft_data_dir:
          path: sft
          lf_format: sft/<job>/lf.json
    status: {state: idle}
    ");
    let default = File::new(default_config());
    rewrite_output(&default.path, &Output::default()).unwrap();
    assert_eq!(default.text(), default_config(), "what is right already is not touched");
}

#[test]
fn a_link_stays_a_link() {
    let file = File::new("status: {state: idle}\n");
    let link = file.path.with_file_name("link.yaml");
    std::os::unix::fs::symlink("config.yaml", &link).unwrap();
    rewrite_status(&link, &running()).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(file.text().contains("state: running"));
}

#[test]
fn the_default_config_takes_a_status_and_gives_it_back() {
    let file = File::new(default_config());
    rewrite_status(&file.path, &running()).unwrap();
    let before = default_config().split("status:").next().unwrap();
    assert!(file.text().starts_with(before));
    let loaded = load(&file.path, |_| Some("key".to_owned()));
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.config.unwrap().status, running());
}

#[test]
fn what_cannot_be_done_without_damage_is_refused() {
    for text in [
        "a: [1, 2\n",
        "- a\n",
        "",
        "a: 1\na: 2\n",
        "status: {state: &s idle}\nother: *s\n",
        "base: &b {state: idle}\nstatus:\n  <<: *b\n",
        "base: &b {state: idle}\nstatus: [*b]\n",
    ] {
        let file = File::new(text);
        let result = rewrite_status(&file.path, &running());
        assert!(result.is_err(), "{text:?} became {:?}", file.text());
        assert_eq!(file.text(), text);
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = rewrite_status(&dir.path().join("config.yaml"), &running());
    assert!(matches!(missing, Err(RewriteError::File(_))), "{missing:?}");
}

/// A comment line, an empty line, or nothing.
fn filler() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => "#[ -~äé🦀]{0,20}".prop_map(|comment| comment + "\n"),
        1 => " {0,4}".prop_map(|blanks| blanks + "\n"),
    ]
}

/// Something the user wrote: a top-level entry in one style or another.
fn entry(n: usize) -> impl Strategy<Value = String> {
    let comment = prop_oneof![Just(String::new()), " #[ -~ü]{0,15}"];
    let value = prop_oneof![
        "[a-z]{1,8}",
        "'[a-z #:{}]{0,8}'",
        "\"[a-z #:{}]{0,8}\"",
        Just("{a: [1, 'x'], b: }".to_owned()),
        Just("[]".to_owned()),
        Just(String::new()),
        "-?[0-9]{1,5}",
    ];
    let nested = prop_oneof![
        Just(String::new()),
        Just(
            "\n  deep:\n      deeper: 1 # c\n      list:\n      - a\n      -   b: 1\n          c: 2"
                .to_owned()
        ),
        Just(" |\n   literal # no comment\n\n   text".to_owned()),
        Just(" >-\n  folded\n  text".to_owned()),
        Just("\n- item\n-  - nested\n   - list".to_owned()),
    ];
    prop_oneof![
        (value, comment).prop_map(move |(value, comment)| format!("k{n}: {value}{comment}\n")),
        nested.prop_map(move |nested| format!("k{n}:{nested}\n")),
    ]
}

fn entries(first: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(0..1usize, 0..4).prop_flat_map(move |list| {
        let parts: Vec<_> = (0..list.len()).map(|n| (filler(), entry(first + n), filler())).collect();
        parts.prop_map(|parts| parts.into_iter().map(|(a, b, c)| a + &b + &c).collect::<String>())
    })
}

/// A status block as people and trajgen may have left it.
fn status_block() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("status:\n".to_owned()),
        Just("status: {}\n".to_owned()),
        Just("status: {job: null, state: 'idle'} # c\n".to_owned()),
        Just("status: {\n    state: idle, # c\n    mine: [1]\n  }\n".to_owned()),
        ("[ -~]{0,12}", "( {1,4})", filler()).prop_map(|(comment, indent, filler)| format!(
            "status: #{comment}\n{filler}{indent}state: idle #{comment}\n{filler}{indent}mine: {{a: 1}}\n"
        )),
    ]
}

fn any_status() -> impl Strategy<Value = Status> {
    let text = || proptest::option::of("\\PC{0,30}|[a-z\n\t\"'\\\\#:]{0,20}|null|true|1e3|- x");
    (text(), text(), proptest::option::of(0u64..1_000_000), proptest::option::of(0.0f64..1.0)).prop_map(
        |(job, last_error, n_done, mean_reward)| Status {
            state: State::Running,
            job: job.filter(|text| !text.is_empty()),
            last_error: last_error.filter(|text| !text.is_empty()),
            n_done,
            mean_reward,
            ..Status::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_outside_the_status_survives(
        before in entries(0),
        status in proptest::option::of(status_block()),
        after in entries(10),
        crlf: bool,
        final_newline: bool,
        new in any_status(),
        newer in any_status(),
    ) {
        let ends = |text: &str| if crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
        let (before, block, after) = (ends(&before), ends(&status.clone().unwrap_or_default()), ends(&after));
        let mut text = format!("{before}{block}{after}");
        if !final_newline {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        // Without any entry there is no table to add a status to.
        prop_assume!(status.is_some() || text.contains("k0:") || text.contains("k10:"));
        // A block scalar that the file's end cuts off would become another one by a line end behind it.
        prop_assume!(final_newline || status.is_some() || !text.contains(['|', '>']));
        let file = File::new(&text);
        for status in [&new, &newer] {
            rewrite_status(&file.path, status).unwrap();
            let result = file.text();
            if block.is_empty() {
                prop_assert!(result.starts_with(&text), "{text:?}\n{result:?}");
            } else {
                let kept = text.get(before.len() + block.len()..).unwrap_or_default();
                prop_assert!(result.starts_with(&before) && result.ends_with(kept), "{text:?}\n{result:?}");
                for comment in block.lines().filter_map(|line| line.split_once('#')) {
                    prop_assert!(result.contains(comment.1), "{text:?}\n{result:?}");
                }
            }
            prop_assert_eq!(load_status(&result), status.clone(), "{}", result);
            rewrite_status(&file.path, status).unwrap();
            prop_assert_eq!(file.text(), result, "writing the same again changes nothing");
        }
    }
}

/// The status of a text that need not be a config otherwise, read by another YAML reader.
fn load_status(text: &str) -> Status {
    let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
    let text = |key: &str| value["status"][key].as_str().map(str::to_owned);
    Status {
        state: if value["status"]["state"] == "running" { State::Running } else { State::Idle },
        job: text("job"),
        last_error: text("last_error"),
        n_done: value["status"]["n_done"].as_u64(),
        mean_reward: value["status"]["mean_reward"].as_f64(),
        ..Status::default()
    }
}
