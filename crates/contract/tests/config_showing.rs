//! What is shown of a config.yaml: never a credential.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

use trajgen_contract::config::{Config, default_config, load, redact_text, redacted, schema};

fn read(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let env = |name: &str| match name {
        "LLM_API_KEY" => Some("sk-from-environment".to_owned()),
        "HOST" => Some("https://me:pw-from-environment@host/v1".to_owned()),
        _ => None,
    };
    let loaded = load(&path, env);
    let shown: String = loaded.problems.iter().map(|problem| format!("{problem}\n")).collect();
    loaded.config.expect(&shown)
}

const SECRETS: &str = r##"version: 1
# api_key: sk-old-1 and "x_token": 'sk-old-2', api_key: null, Authorization: Bearer sk-old-3
runtime_info:
  input:
    llm_api:   # the key is sk-literal-key, see https://me:sk-in-comment@host
    - api_base_url: https://user:sk-password@host/v1?a=b
      api_key: sk-literal-key   # sk-literal-key
      model: openai/m
      input_cost_per_token: 0.000001
    - {api_base_url: "http://u:sk-pass-2@h", api_key: '', model: m, api_key: }
    - api_base_url: ${HOST}
      api_key: |
        sk-block-key
      model: m
    - {api_base_url: 'http://h', model: m, api_key: *shared}
    - {api_base_url: 'http://h', model: m, api_key: "${LLM_API_KEY}", drop_params: [ "say sk-literal-key" ]}
    litellm_proxy: {master_key: sk-master, port: 0}
    task_source: {dataset_name: tasks, split: &shared sk-shared-key}
    agent:
      name: nop
      kwargs: {tokens: 5, deep: [{client_secret: 12345}], authorization: [sk-a, {b: sk-b}]}
      env: {HF_TOKEN: !!str sk-hf, NAME: shown}
status: {last_error: "401 for sk-literal-key"} # sk-master
"##;

#[test]
fn a_text_keeps_everything_but_its_credentials() {
    // A key given twice is an error, an alias must come after its anchor: the text is made right here.
    let text = SECRETS.replace(", api_key: }", "}");
    let text = text
        .replace("*shared", "&shared sk-shared-key")
        .replace("split: &shared sk-shared-key", "split: *shared");
    let config = read(&text);
    let shown = redact_text(&text, &config);
    assert!(!shown.contains("sk-"), "{shown}");
    insta::assert_snapshot!(shown);
    let again = read(&shown);
    assert_eq!(again.runtime_info.input.llm_api.len(), 5);
    assert_eq!(again.runtime_info.input.agent[0].env["NAME"], "shown");
    assert_eq!(redact_text(&shown, &again), shown, "there is nothing left to redact");
}

#[test]
fn a_text_without_credentials_stays_as_it_is() {
    let text =
        default_config().replace("\"${LLM_API_KEY}\"", "\"\"").replace("\"${TRAJGEN_MASTER_KEY:-}\"", "null");
    assert_eq!(redact_text(&text, &read(&text)), text);
    let odd = "version: 1\r\n# größe: token = \"\"\r\nruntime_info: {input: {agent: {name: nop}, task_source: {dataset_name: 'a''b # c'}}}";
    assert_eq!(redact_text(odd, &read(odd)), odd);
    assert_eq!(
        redact_text("not: [yaml # api_key: x", &Config::default()),
        "not: [yaml # api_key: [REDACTED]"
    );
}

#[test]
fn the_resolved_config_reads_as_itself_and_hides_what_is_secret() {
    let text = SECRETS.replace(", api_key: }", "}").replace("api_key: *shared", "api_key: x");
    let config = read(&text);
    let shown = redacted(&config).unwrap();
    let shown = shown
        .replace("401 for sk-literal-key", "")
        .replace("say sk-literal-key", "")
        .replace("sk-shared-key", "");
    assert!(!shown.contains("sk-") && !shown.contains("pw-from"), "{shown}");
    assert!(shown.contains("https://[REDACTED]@host/v1"), "{shown}");

    let config = read(&text.replace("https://user:sk-password@", "https://"));
    let again = read(&redacted(&config).unwrap());
    let mut shown = [serde_json::to_value(&config).unwrap(), serde_json::to_value(&again).unwrap()];
    for config in &mut shown {
        // `[REDACTED]` in place of a number is a text.
        config["runtime_info"]["input"]["agent"][0]["kwargs"] = serde_json::Value::Null;
    }
    assert_eq!(shown[0], shown[1]);
}

#[test]
fn keys_in_the_query_of_an_address_are_hidden_wherever_they_stand() {
    let text = "version: 1\n# once https://h/v1?key=commented and sk-first-key\nruntime_info:\n  input:\n    llm_api: {api_base_url: 'https://h/v1?key=sk-first-key&token=sk-2&sk-3#a=sk-4', model: m}\n    task_source: {dataset_name: t}\n    agent: {name: nop, kwargs: {note: sk-first-key}}\n";
    let config = read(text);
    let shown = redact_text(text, &config);
    assert!(!shown.contains("sk-") && !shown.contains("commented"), "{shown}");
    assert!(
        shown.contains("https://h/v1?key=[REDACTED]&token=[REDACTED]&[REDACTED]#a=[REDACTED]"),
        "{shown}"
    );
    assert_eq!(redact_text(&shown, &read(&shown)), shown);
    let resolved = redacted(&config).unwrap().replace("note: sk-first-key", "");
    assert!(!resolved.contains("sk-"), "{resolved}");
}

#[test]
fn variables_are_hidden_by_their_names_and_by_where_they_come_from() {
    let text = "version: 1
# DB_PASSWORD: sk-commented, and sk-database
runtime_info:
  input:
    task_source: {dataset_name: t}
    agent:
      name: nop
      kwargs: {max_tokens: 5, db_password: sk-kwarg}
      env: {DB_PASSWORD: sk-database, MAX_TOKENS: '400', GH_PAT: '${LLM_API_KEY}', URL: 'x-${LLM_API_KEY}', EMPTY: '${LLM:-}', MODE: plain}
environment: {extra: {PASSWORD: 12345, PAT: ['${LLM_API_KEY}'], NOTE: seen, HARBOR_EXCLUDE_TASKS: '${TASKS:-a b}'}}
";
    let config = read(text);
    assert_eq!(config.runtime_info.input.agent[0].env["GH_PAT"], "sk-from-environment");
    assert_eq!(config.excluded_by_environment(), ["a", "b"]);
    for shown in [redacted(&config).unwrap(), redact_text(text, &config), format!("{config:?}")] {
        assert!(!shown.contains("sk-") && !shown.contains("12345"), "{shown}");
        for seen in ["400", "plain", "seen", "a b"] {
            assert!(shown.contains(seen), "{seen}: {shown}");
        }
    }
    let snapshot = redact_text(text, &config);
    assert!(snapshot.contains("GH_PAT: '${LLM_API_KEY}', URL: 'x-${LLM_API_KEY}'"), "{snapshot}");
    assert_eq!(redact_text(&snapshot, &read(&snapshot)), snapshot);
}

#[test]
fn debugging_output_hides_what_is_secret() {
    let text = SECRETS.replace(", api_key: }", "}").replace("api_key: *shared", "api_key: x");
    let shown = format!("{:?}", read(&text).runtime_info.input.llm_api);
    assert!(!shown.replace("say sk-literal-key", "").contains("sk-"), "{shown}");
}

#[test]
fn every_key_has_a_description_and_required_keys_are_marked() {
    fn check(schema: &serde_json::Value, path: &str) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{path}.{key} has no description");
        }
    }
    let schema = schema();
    check(&schema, "");
    for (name, part) in schema["$defs"].as_object().unwrap() {
        check(part, name);
    }
    assert_eq!(schema["$defs"]["LlmApi"]["required"], serde_json::json!(["api_base_url", "model"]));
    assert_eq!(schema["$defs"]["HarborJob"]["properties"]["n_concurrent"]["default"], 8);
}
