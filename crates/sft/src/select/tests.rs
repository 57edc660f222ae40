use super::*;
use serde_json::json;

fn options() -> ConvertOptions {
    ConvertOptions::new(Path::new("job"), Path::new("out"))
}

fn names(options: &ConvertOptions, evals: &Value) -> Result<Vec<(String, Option<f64>)>, ConvertError> {
    rewards(options, Path::new("result.json"), &json!({"stats": {"evals": evals}}))
}

#[test]
fn trials_come_in_file_order_from_every_eval() {
    let evals = json!({
        "b": {"reward_stats": {"reward": {"1.0": ["t3", "t1"], "0": ["t2"]}}},
        "a": {"reward_stats": {"reward": {"1": ["t4", 7]}}},
        "c": {"reward_stats": {}},
        "d": {},
    });
    let found = names(&options(), &evals).unwrap();
    let expected = [("t3", 1.0), ("t1", 1.0), ("t2", 0.0), ("t4", 1.0)];
    assert_eq!(found, expected.map(|(name, r)| (name.to_owned(), Some(r))));
}

#[test]
fn the_reward_that_counts() {
    let several = |keys: &[&str]| {
        let stats: serde_json::Map<String, Value> =
            keys.iter().map(|k| ((*k).to_owned(), json!({"1.0": [*k]}))).collect();
        json!({"e": {"reward_stats": stats}})
    };
    let counted = |key: Option<&str>, keys: &[&str]| {
        let options = ConvertOptions { reward_key: key.map(str::to_owned), ..options() };
        names(&options, &several(keys)).map(|found| found[0].0.clone())
    };
    assert_eq!(counted(None, &["a", "reward"]).unwrap(), "reward");
    assert_eq!(counted(None, &["a"]).unwrap(), "a");
    assert_eq!(counted(Some("b"), &["a", "b"]).unwrap(), "b");
    // A name only decides where nothing else does.
    assert_eq!(counted(Some("a"), &["a", "reward"]).unwrap(), "reward");
    assert_eq!(counted(Some("z"), &["a"]).unwrap(), "a");
    let error = counted(None, &["a", "b"]).unwrap_err().to_string();
    assert!(error.contains("--reward-key") && error.contains("a, b"), "{error}");
    let error = counted(Some("z"), &["a", "b"]).unwrap_err().to_string();
    assert!(error.contains("there is no 'z'"), "{error}");
}

#[test]
fn a_file_without_evals_is_refused() {
    for result in [json!({}), json!([]), json!({"stats": {"evals": []}})] {
        let error = rewards(&options(), Path::new("x/result.json"), &result).unwrap_err().to_string();
        assert!(error.contains("x/result.json") && error.contains("stats.evals"), "{error}");
    }
}

#[test]
fn rewards_are_read_however_they_are_written() {
    for (text, value) in
        [("1.0", 1.0), ("1", 1.0), ("0", 0.0), ("-0.0", 0.0), ("0.5", 0.5), ("True", 1.0), ("False", 0.0)]
    {
        assert_eq!(reward_of(text), Some(value), "{text}");
    }
    for text in ["", "nan", "inf", "x"] {
        assert_eq!(reward_of(text), None, "{text}");
    }
}

#[test]
fn a_least_reward_replaces_the_status() {
    let takes = |options: &ConvertOptions, reward| match wanted(options, Some(reward)) {
        Wanted::Yes => "yes",
        Wanted::No => "no",
        Wanted::Counted(reason) => reason.as_str(),
    };
    let status = |instance_status| ConvertOptions { instance_status, ..options() };
    let rewards = [1.0, 0.5, 0.0, -1.0];
    let all = |o: &ConvertOptions| rewards.map(|r| takes(o, r));
    assert_eq!(
        all(&status(InstanceStatus::Resolved)),
        ["yes", "fractional_reward", "no", "fractional_reward"]
    );
    assert_eq!(
        all(&status(InstanceStatus::Unresolved)),
        ["no", "fractional_reward", "yes", "fractional_reward"]
    );
    assert_eq!(all(&status(InstanceStatus::All)), ["yes"; 4]);
    assert_eq!(all(&ConvertOptions { min_reward: Some(0.5), ..options() }), ["yes", "yes", "no", "no"]);
}

#[test]
fn only_plain_names_are_trials() {
    for name in ["t", "a b", "..x", "a__b"] {
        assert!(is_plain_name(name), "{name}");
    }
    for name in ["", ".", "..", "/etc", "a/b", "a/", "../a", "./a"] {
        assert!(!is_plain_name(name), "{name}");
    }
}

#[test]
fn the_scaffold_comes_from_the_record_the_name_or_the_config() {
    let find = |job: &str, result: Value, config: Option<Value>, configured: Option<&str>| {
        let options = ConvertOptions { configured_agent: configured.map(str::to_owned), ..options() };
        JobScaffolds::find(&options, &JobDir::new(job), &result, config.as_ref())
            .map(|s| s.of_trial(Some("codex")))
    };
    let evals = json!({"stats": {"evals": {"openhands-sdk__m__d": {}}}});
    let agents = |names: &[&str]| {
        Some(json!({"agents": names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()}))
    };
    assert_eq!(find("terminus-2", evals.clone(), agents(&["opencode"]), None).unwrap(), Scaffold::OpenCode);
    assert_eq!(
        find("terminus-2", evals, Some(json!({"agents": [{"name": null}]})), None).unwrap(),
        Scaffold::OpenhandsSdk
    );
    assert_eq!(find("x/py-terminus-2-1", json!({}), None, Some("codex")).unwrap(), Scaffold::Terminus2);
    assert_eq!(find("x/nightly", json!({}), None, Some("codex")).unwrap(), Scaffold::Generic);
    assert_eq!(
        find("x", json!({}), agents(&["terminus-2", "mini-swe-agent"]), None).unwrap(),
        Scaffold::Generic
    );
    for configured in [None, Some(""), Some(" ")] {
        let error = find("x/nightly", json!({}), agents(&[]), configured).unwrap_err();
        assert!(matches!(error, ConvertError::NoAgent { .. }));
    }
}

#[test]
fn findings_are_seen() {
    assert!(has_findings(&json!({"agent_result": {"metadata": {"findings": ["tests changed"]}}})));
    assert!(!has_findings(&json!({"agent_result": {"metadata": {"findings": []}}})));
    assert!(!has_findings(&json!({"agent_result": null})));
}
