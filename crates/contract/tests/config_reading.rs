//! What config.yaml may say, and what is said about it when it is wrong.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use proptest::prelude::*;
use std::path::Path;
use trajgen_contract::config::{
    Config, EnvironmentType, Loaded, NetworkPolicy, OnLimit, ProxyProtocol, Severity, State, UpstreamKind,
    WireProtocol, default_config, load, redact_text,
};
use trajgen_contract::outcome::ErrorType;

const SMALLEST: &str = "version: 1
runtime_info:
  input:
    llm_api: {api_base_url: 'https://host/v1', model: openai/m}
    task_source: {dataset_name: tasks}
    agent: {name: terminus-2}
";

fn load_bytes(bytes: &[u8], env: &[(&str, &str)]) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, bytes).unwrap();
    let mut loaded = load(&path, |name| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
    for problem in &mut loaded.problems {
        problem.file = "config.yaml".into();
    }
    loaded
}

fn load_text(text: &str) -> Loaded {
    load_bytes(text.as_bytes(), &[("NUMBER", "7"), ("WORD", "seven"), ("YES", "true"), ("EMPTY", "")])
}

#[track_caller]
fn good(text: &str) -> Config {
    let loaded = load_text(text);
    assert!(loaded.problems.is_empty(), "{}", shown(&loaded));
    loaded.config.unwrap()
}

fn shown(loaded: &Loaded) -> String {
    loaded.problems.iter().map(|problem| format!("{}: {problem}\n", problem.severity)).collect()
}

/// The smallest config with lines added below `input`.
fn with_input(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("{SMALLEST}{indented}")
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = good(SMALLEST);
    let mut expected = Config::default();
    expected.runtime_info.input = config.runtime_info.input.clone();
    assert_eq!(config, expected);
    let input = config.runtime_info.input;
    assert_eq!(input.llm_api[0].protocol(), WireProtocol::OpenAi);
    assert_eq!(input.llm_api[0].model_name(), "m");
    assert_eq!(input.llm_api[0].request_timeout_sec, 600.0);
    assert_eq!(input.litellm_proxy.port, 4001);
    assert_eq!(input.harbor_job.n_concurrent, 8);
    assert_eq!((input.agent[0].max_turns, input.agent[0].temperature), (Some(80), Some(0.7)));
}

#[test]
fn the_default_config_says_every_default_without_a_warning() {
    let loaded = load_bytes(default_config().as_bytes(), &[("LLM_API_KEY", "k")]);
    assert_eq!(shown(&loaded), "");
    let config = loaded.config.unwrap();
    let mut expected = good(SMALLEST);
    let api = &mut expected.runtime_info.input.llm_api[0];
    api.api_key = config.runtime_info.input.llm_api[0].api_key.clone();
    api.model = "openai/MODEL".to_owned();
    expected.runtime_info.input.task_source.dataset_name = "path/to/tasks".to_owned();
    expected.meta_info.label = "Trajectory generation".to_owned();
    expected.meta_info.resources.ip = Some("local".to_owned());
    expected.environment = config.environment.clone();
    expected.runtime_info.input.llm_api[0].api_base_url =
        config.runtime_info.input.llm_api[0].api_base_url.clone();
    assert_eq!(config, expected);
}

#[test]
fn the_default_config_holds_every_key_of_the_schema() {
    let text = default_config();
    let full = serde_json::to_value(Config::default()).unwrap();
    let mut keys = Vec::new();
    fn collect(value: &serde_json::Value, keys: &mut Vec<String>) {
        for (key, value) in value.as_object().into_iter().flatten() {
            keys.push(key.clone());
            collect(value, keys);
        }
    }
    collect(&full, &mut keys);
    for key in keys {
        assert!(text.contains(&format!("{key}:")), "{key}");
    }
}

#[test]
fn the_shipped_config_needs_no_network_and_no_variable() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.yaml");
    let loaded = load(&path, |_| None);
    assert_eq!(shown(&loaded), "");
    let input = loaded.config.unwrap().runtime_info.input;
    assert_eq!(input.llm_api[0].upstream(), UpstreamKind::Script("examples/scripts".into()));
    assert_eq!(input.environment.r#type, EnvironmentType::Sandbox);
}

#[test]
fn all_problems_come_in_one_pass_each_with_its_place() {
    let loaded = load_text(
        "version: 1
meta_inf: {}
runtime_info:
  input:
    llm_api:
      - api_base_url: ftp://host
        model: openai/
        max_retrys: 4
      - {api_base_url: 'http://h', model: m, request_timeout_sec: 0, max_retries: -1}
    task_source: {provider: lokal}
    harbor_job:
      n_concurrent: many
      n_attempts: 0
      include_tasks: [good*, 'bad[', 3]
      retry: {exclude: [AgentTimeout]}
      limits: 5
      stop_leftovers: 'yes'
      integrity: ~
    environment: {type: dockr, pids: 1.5, cpus: .inf}
    litellm_proxy: {port: 70000, protocols: openai_compatible, config_template: x}
    agent:
      name: [terminus-2]
      temperature: hot
      max_turns: 9
      kwargs: {max_turns: 5}
",
    );
    insta::assert_snapshot!(shown(&loaded));
    assert!(loaded.config.is_none());
}

#[test]
fn a_file_that_is_no_config_gives_one_clear_error() {
    let mut all = String::new();
    for text in [
        "",
        "# only a comment\n",
        "null\n",
        "- a\n- list\n",
        "word\n",
        "version: 1\na: [1, 2\nb: 3\n",
        "version: 1\nmeta_info:\n\tname: x\n",
        "version: 1\nmeta_info: {name: x}\n  b: 2\n",
        "version: 2\nwhatever: [1]\n",
        "version: one\n",
        "version: 1\n---\nversion: 1\n",
        "version: 1\nx: *nowhere\n",
        "version: !!int one\n",
        "? {a: 1}\n: 2\n",
    ] {
        all += &format!("{text:?}\n{}\n", shown(&load_text(text)));
        assert!(load_text(text).config.is_none(), "{text}");
    }
    let latin1 = load_bytes(b"version: 1\n# caf\xe9\n", &[]);
    all += &format!("latin-1\n{}\n", shown(&latin1));
    let missing = load(Path::new("nowhere/config.yaml"), |_| None);
    all += &format!("missing\n{}", shown(&missing));
    insta::assert_snapshot!(all);
}

#[test]
fn a_key_given_twice_is_an_error_that_names_both_lines() {
    let loaded = load_text(&with_input("harbor_job: {n_tasks: 1}\nharbor_job: {n_tasks: 2}"));
    assert_eq!(
        shown(&loaded),
        "error: config.yaml:8:5: the key runtime_info.input.harbor_job is here for the second time (first in line 7): remove one of them\n"
    );
}

#[test]
fn references_are_replaced_and_read_as_what_is_wanted() {
    let config = load_text(
        "version: 1
meta_info: {name: 'x-${WORD}-${NOPE:-d}'}
runtime_info:
  input:
    llm_api: {api_base_url: 'http://${WORD}:${NUMBER}/v1', model: '${WORD}', api_key: '${EMPTY}'}
    task_source: {dataset_name: '${WORD}/tasks/'}
    harbor_job: {n_concurrent: '${NUMBER}', stop_leftovers: '${YES}', n_tasks: '${NOPE:-}', include_tasks: ['a${NUMBER}*'],
      limits: {max_usd: '${NUMBER}.5', on_limit: '${NOPE:-cancel}'}}
    agent: {name: terminus-2, version: '${NUMBER}', env: {X: '${NUMBER}', Y: 3, Z: yes}, kwargs: {deep: [{x: '${WORD}'}]}}
",
    )
    .config
    .unwrap();
    let input = config.runtime_info.input;
    assert_eq!(config.meta_info.name, "x-seven-d");
    assert_eq!(input.llm_api[0].api_base_url.expose(), "http://seven:7/v1");
    assert_eq!(input.llm_api[0].api_key, None);
    assert_eq!(input.task_source.dataset(), "tasks");
    assert_eq!((input.harbor_job.n_concurrent, input.harbor_job.stop_leftovers), (7, true));
    assert_eq!((input.harbor_job.n_tasks, input.harbor_job.limits.max_usd), (None, Some(7.5)));
    assert_eq!(input.harbor_job.limits.on_limit, OnLimit::Cancel);
    assert_eq!(input.harbor_job.include_tasks, ["a7*"]);
    assert_eq!(input.agent[0].version.as_deref(), Some("7"));
    let env: Vec<_> = input.agent[0].env.values().map(String::as_str).collect();
    assert_eq!(env, ["7", "3", "yes"]);
    assert_eq!(input.agent[0].kwargs["deep"][0]["x"], "seven");
}

#[test]
fn a_variable_that_is_not_set_or_not_a_number_is_an_error() {
    let loaded = load_text(&with_input(
        "harbor_job: {n_concurrent: '${WORD}', n_tasks: '${NOPE}', n_attempts: '2'}\nenvironment: {slurm: {a: ['${GONE}']}}",
    ));
    insta::assert_snapshot!(shown(&loaded), @r#"
    error: config.yaml:7:32: runtime_info.input.harbor_job.n_concurrent: expected a whole number from 1, found the text "seven"
    error: config.yaml:7:52: runtime_info.input.harbor_job.n_tasks: the variable NOPE is not set: set it, or write ${NOPE:-default}
    error: config.yaml:7:75: runtime_info.input.harbor_job.n_attempts: expected a whole number from 1, found the text "2"
    error: config.yaml:8:31: runtime_info.input.environment.slurm.a[0]: the variable GONE is not set: set it, or write ${GONE:-default}
    "#);
}

#[test]
fn what_trajgen_writes_is_read_as_it_is_and_never_fatal() {
    let loaded =
        load_text(&format!("{SMALLEST}status: {{state: lost, last_error: 'cost ${{NOPE}}', n_tasks: x}}\n"));
    assert!(loaded.problems.iter().all(|p| p.severity == Severity::Warning), "{}", shown(&loaded));
    let status = loaded.config.unwrap().status;
    assert_eq!((status.state, status.last_error.as_deref()), (State::Idle, Some("cost ${NOPE}")));
}

#[test]
fn keys_may_stand_in_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "sk-from-file\n").unwrap();
    let path = dir.path().join("config.yaml");
    let read = |entry: &str| {
        std::fs::write(&path, SMALLEST.replace("model: openai/m", &format!("model: m, {entry}"))).unwrap();
        load(&path, |_| None)
    };
    let loaded = read("api_key_file: key");
    assert_eq!(shown(&loaded), "");
    let key = loaded.config.unwrap().runtime_info.input.llm_api[0].api_key.clone().unwrap();
    assert_eq!(key.expose(), "sk-from-file");
    assert!(shown(&read("api_key_file: nowhere")).contains("llm_api.api_key_file: cannot read"));
    let both = read("api_key_file: key, api_key: other");
    assert!(shown(&both).contains(": runtime_info.input.llm_api.api_key: api_key_file is given too"));
}

#[test]
fn messages_never_show_a_key() {
    let text = SMALLEST.replace("model: openai/m", "model: m, api_key: [sk-hidden]");
    let text = text.replace("https://host/v1", "htps://me:sk-hidden@host/v1");
    let text = format!("{text}    litellm_proxy: {{master_key: {{k: sk-hidden}}}}\n");
    let loaded = load_text(&text);
    assert_eq!(loaded.problems.len(), 3, "{}", shown(&loaded));
    assert!(!shown(&loaded).contains("sk-hidden"), "{}", shown(&loaded));
}

#[test]
fn lists_and_single_entries_are_the_same() {
    let config = load_text(
        "version: 1
runtime_info:
  input:
    llm_api:
      - &base {api_base_url: 'https://a/v1', model: anthropic/big, max_retries: 9}
      - {<<: *base, api_base_url: 'https://b/v1'}
      - api_base_url: replay://old
        model: org/small
    task_source: {dataset_name: tasks}
    agent:
      - {name: claude-code, model_name: anthropic/big}
      - {name: terminus-2, model_name: org/small, temperature: null, kwargs: {max_turns: 3, parser_name: json}}
      - {name: oracle}
",
    )
    .config
    .unwrap();
    let input = config.runtime_info.input;
    let urls: Vec<_> = input.llm_api.iter().map(|api| api.api_base_url.expose()).collect();
    assert_eq!(urls, ["https://a/v1", "https://b/v1", "replay://old"]);
    assert_eq!((input.llm_api[1].max_retries, input.llm_api[1].protocol()), (9, WireProtocol::Anthropic));
    assert_eq!(input.deployments(&input.agent[0]).len(), 2);
    let small = input.deployments(&input.agent[1]);
    assert_eq!((small.len(), small[0].model_name()), (1, "org/small"));
    assert_eq!((input.agent[1].max_turns, input.agent[1].temperature), (Some(3), None));
    assert_eq!(input.agent[1].kwargs.keys().collect::<Vec<_>>(), ["parser_name"]);
}

#[test]
fn an_agent_must_have_exactly_one_model() {
    let two = "llm_api: [{api_base_url: 'http://a', model: x}, {api_base_url: 'http://a', model: y}]";
    let text = |agent: &str| {
        format!(
            "version: 1\nruntime_info:\n  input:\n    {two}\n    task_source: {{dataset_name: t}}\n    agent: {agent}\n"
        )
    };
    assert!(shown(&load_text(&text("{name: terminus-2}"))).contains("several models (x, y)"));
    assert!(shown(&load_text(&text("{name: terminus-2, model_name: z}"))).contains("has the model \"z\""));
    good(&text("{name: terminus-2, model_name: openai/y}").replace("model: y", "model: openai/y"));
    good(&text("{name: nop}"));
    good(&text("{name: oracle}").replace(two, ""));
    assert!(
        shown(&load_text(&text("{name: codex}").replace(two, ""))).contains("llm_api: this key is required")
    );
}

#[test]
fn what_is_accepted_and_not_used_is_said() {
    let text = "version: 1
runtime_info:
  input:
    llm_api:
    - {api_base_url: 'https://a/v1', model: openai/m}
    - {api_base_url: 'https://b/v1', model: m}
    litellm_proxy: {collect_token_ids: true, protocols: [openai_compatible, anthropic_compatible]}
    task_source: {dataset_name: t}
    agent: {name: terminus-2, version: '1', runtime_image: x, runtime_host_path: y}
";
    let loaded = load_bytes(text.as_bytes(), &[]);
    let said = shown(&loaded);
    for (line, key) in [
        (6, "llm_api[1]"),
        (7, "litellm_proxy.collect_token_ids"),
        (7, "litellm_proxy.protocols"),
        (9, "agent.version"),
        (9, "agent.runtime_image"),
        (9, "agent.runtime_host_path"),
    ] {
        let is_said = said.lines().any(|said| {
            said.contains(&format!(":{line}:"))
                && said.contains(key)
                && said.contains("accepted, not used yet")
        });
        assert!(is_said, "{key}: {said}");
    }
    assert!(said.contains("all calls of m go to llm_api[0]"), "{said}");
    assert!(loaded.config.is_some(), "{said}");
}

#[test]
fn the_older_place_of_protocols_is_known() {
    let older = SMALLEST.replace("model: openai/m", "model: m, protocols: [anthropic_compatible]");
    assert_eq!(good(&older).runtime_info.input.litellm_proxy.protocols, [ProxyProtocol::Anthropic]);
    let both = format!("{older}    litellm_proxy: {{protocols: [openai_compatible]}}\n");
    let loaded = load_text(&both);
    assert!(
        shown(&loaded).contains(": runtime_info.input.litellm_proxy.protocols: llm_api"),
        "{}",
        shown(&loaded)
    );
    assert_eq!(loaded.config.unwrap().runtime_info.input.litellm_proxy.protocols, [ProxyProtocol::OpenAi]);
}

#[test]
fn free_tables_are_free() {
    let config = good(&format!(
        "{SMALLEST}environment:\n  extra: {{HARBOR_EXCLUDE_TASKS: \" a__b-1\\tc* \", ANYTHING: {{goes: [1]}}}}\n"
    ));
    assert_eq!(config.excluded_by_environment(), ["a__b-1", "c*"]);
    assert_eq!(config.environment.extra["ANYTHING"]["goes"][0], 1);
    let loaded = load_text(&format!("{SMALLEST}environment: {{extra: {{HARBOR_EXCLUDE_TASKS: [a]}}}}\n"));
    assert!(shown(&loaded).contains("HARBOR_EXCLUDE_TASKS"));
    let loaded = load_text(&format!("{SMALLEST}environment: {{extra: {{HARBOR_EXCLUDE_TASKS: 'a b['}}}}\n"));
    assert!(shown(&loaded).contains("\"b[\" is not a glob"), "{}", shown(&loaded));
}

#[test]
fn a_data_set_must_have_a_name() {
    for name in ["..", "../..", "tasks/."] {
        let loaded = load_text(&SMALLEST.replace("dataset_name: tasks", &format!("dataset_name: {name}")));
        assert!(shown(&loaded).contains("ends in a name"), "{}", shown(&loaded));
    }
    let config = good(&SMALLEST.replace("dataset_name: tasks", "dataset_name: ../swe/py-cc/"));
    assert_eq!(config.runtime_info.input.task_source.dataset(), "py-cc");
}

#[test]
fn odd_spellings_are_understood() {
    let crlf = SMALLEST.replace('\n', "\r\n");
    assert_eq!(good(&crlf), good(SMALLEST));
    assert_eq!(good(&format!("\u{feff}{SMALLEST}")), good(SMALLEST));
    assert_eq!(good(&format!("%YAML 1.2\n---\n{SMALLEST}...\n")), good(SMALLEST));
    let config = good(&with_input("harbor_job:\nenvironment: {network: none, verifier_network: public}"));
    assert_eq!(config.runtime_info.input.environment.network, NetworkPolicy::None);
    let retry = good(&with_input("harbor_job: {retry: {include: [CaptureError]}}"));
    assert_eq!(retry.runtime_info.input.harbor_job.retry.include, [ErrorType::CaptureError]);
}

#[test]
fn a_place_behind_wide_characters_is_counted_in_characters() {
    let loaded = load_text(&format!("{SMALLEST}# größe 🦀\nstatüs: {{'ü': 1}} # 🦀\n"));
    let warning = &loaded.problems[0];
    assert_eq!((warning.line, warning.column, warning.key.as_str()), (8, 1, "statüs"));
    assert!(warning.message.contains("did you mean `status`?"), "{warning}");
}

/// What YAML is made of.
const PIECES: &str = r##"[-:?,&*!|>'"%#@`{}\[\] \t\n\r\\a-c<0~.$ü🦀\u{feff}\u{85}]{0,40}"##;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_a_file_is_read_or_refused(text in PIECES, at in 0usize..8000, cut in 0usize..5) {
        let mut damaged = default_config().to_owned();
        let start = damaged.floor_char_boundary(at.min(damaged.len()));
        let end = damaged.floor_char_boundary((start + cut).min(damaged.len()));
        damaged.replace_range(start..end.max(start), &text);
        for text in [&text, &damaged] {
            let loaded = load_text(text);
            prop_assert!(loaded.config.is_some() || !loaded.problems.is_empty());
            for problem in &loaded.problems {
                prop_assert!(problem.line <= text.matches(['\n', '\r']).count() + 2, "{problem}");
            }
            let shown = redact_text(text, &Config::default());
            prop_assert_eq!(redact_text(&shown, &Config::default()), shown);
        }
    }
}

#[test]
fn hostile_nesting_is_refused() {
    let deep = format!("version: 1\nx: {}\n", "[".repeat(5000));
    assert!(load_text(&deep).config.is_none());
    let mut bomb = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let previous = format!("*a{}", n - 1);
        bomb += &format!("a{n}: &a{n} [{}]\n", [previous.as_str(); 10].join(", "));
    }
    assert!(shown(&load_text(&bomb)).contains("too many values"));
}
