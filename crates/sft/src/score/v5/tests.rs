//! A worked example of every part, and the rules that decide where a reader of the formulas would guess.

use super::*;
use proptest::prelude::*;

/// A tool call.
fn call(name: &str, arguments: Value) -> Value {
    json!({"function": {"name": name, "arguments": arguments.to_string()}})
}

fn bash(command: &str) -> Value {
    call("bash", json!({"command": command}))
}

fn assistant(text: &str, calls: &[Value]) -> Value {
    json!({"role": "assistant", "content": text, "tool_calls": calls})
}

fn tool(text: &str) -> Value {
    json!({"role": "tool", "content": text})
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn tools(names: &[&str]) -> Vec<Value> {
    names.iter().map(|n| json!({"type": "function", "function": {"name": n}})).collect()
}

/// A terminus2 reply.
fn reply(keystrokes: &[&str]) -> Value {
    let commands: Vec<Value> = keystrokes.iter().map(|k| json!({"keystrokes": k})).collect();
    assistant(&json!({"analysis": "", "plan": "", "commands": commands}).to_string(), &[])
}

/// The score of an OpenCode record with the tools `bash`, `edit`, `read` and `write`.
fn score(messages: &[Value]) -> Map<String, Value> {
    scored(messages, &["bash", "edit", "read", "write"], 0.0)
}

/// The score of a terminus2 record.
fn terminal_score(messages: &[Value]) -> Map<String, Value> {
    scored(messages, &[], 0.0)
}

fn scored(messages: &[Value], names: &[&str], median: f64) -> Map<String, Value> {
    let tools = tools(names);
    let record = Scored { messages, tools: &tools, agent_type: "main" };
    composed(&Conversation::read(record), median)
}

fn of(score: &Map<String, Value>, key: &str) -> f64 {
    score[key].as_f64().unwrap()
}

#[test]
fn a1_counts_cycles_beyond_chance() {
    // Three acting turns; names bash, bash, edit: Σp² = (2/3)² + (1/3)² = 5/9.
    // Turn 1 fails and turn 2 uses bash again: a cycle. Turn 2 fails and turn 3 does not. Two error turns.
    // adj = max(0, 1 − 2·5/9) = 0 → A1 = 1.
    let messages = [
        assistant("", &[bash("a")]),
        tool("bash: a: command not found"),
        assistant("", &[bash("b")]),
        tool("Permission denied"),
        assistant("", &[call("edit", json!({}))]),
        tool("ok"),
    ];
    let found = score(&messages);
    assert_eq!((of(&found, "error_retry_cycles"), of(&found, "a1_error_retry")), (1.0, 1.0));

    // Without the second error: adj = 1 − 5/9 = 4/9 → A1 = 1 − 0.0444 = 0.9556.
    let mut messages = messages;
    messages[3] = tool("ok");
    assert_eq!(of(&score(&messages), "a1_error_retry"), 0.9556);
}

#[test]
fn a1_ignores_an_error_in_the_last_acting_turn_and_takes_names_raw() {
    let with = |second: Value, last: &str| {
        score(&[
            assistant("", &[bash("a")]),
            tool("Permission denied"),
            assistant("words only", &[]),
            assistant("", &[second]),
            tool(last),
            assistant("end", &[]),
        ])
    };
    // Two names, Σp² = 1/2, but `Bash` is not `bash`: no cycle.
    assert_eq!(of(&with(call("Bash", json!({})), "ok"), "error_retry_cycles"), 0.0);
    // One name, Σp² = 1: adj = 1 − 1 = 0, and the last turn's error adds no second error turn.
    let found = with(bash("b"), "Permission denied");
    assert_eq!((of(&found, "error_retry_cycles"), of(&found, "a1_error_retry")), (1.0, 1.0));
}

#[test]
fn a1_without_actions_or_observations_is_one() {
    assert_eq!(of(&score(&[assistant("x", &[])]), "a1_error_retry"), 1.0);
    assert_eq!(of(&score(&[assistant("", &[bash("a")])]), "a1_error_retry"), 1.0);
    assert_eq!(of(&score(&[]), "a1_error_retry"), 1.0);
}

#[test]
fn a2_compares_steps_with_the_median() {
    assert_eq!(step_ratio(10, 10.0), 0.8);
    assert_eq!(step_ratio(1, 10.0), 1.0);
    assert_eq!(step_ratio(40, 10.0), 0.0);
    assert_eq!(step_ratio(10, 0.0), 1.0);
    assert_eq!(rounded_4(step_ratio(14, 10.0)), 0.64);
}

fn rounded_4(value: f64) -> f64 {
    crate::number::rounded(value, 4)
}

#[test]
fn a2_takes_main_records_of_the_same_scaffold_only() {
    let (main, terminal) = (vec![assistant("", &[]); 4], vec![reply(&[]); 9]);
    let tools = tools(&["bash"]);
    let mut facts = DatasetFacts::default();
    V5.observe(Scored { messages: &main, tools: &tools, agent_type: "main" }, &mut facts);
    V5.observe(Scored { messages: &terminal, tools: &tools, agent_type: "subagent" }, &mut facts);
    V5.observe(Scored { messages: &terminal, tools: &[], agent_type: "main" }, &mut facts);
    assert_eq!((facts.median_steps("opencode"), facts.median_steps("terminus2")), (4.0, 9.0));
    assert!(V5.score(Scored { messages: &main, tools: &tools, agent_type: "subagent" }, &facts).is_none());
}

#[test]
fn b1_is_entropy_over_that_of_the_declared_tools() {
    // Names bash ×2, read, edit: H = ½·1 + 2·¼·2 = 1.5 bits; four tools declared: 1.5 / 2 = 0.75.
    let calls = [bash("a"), bash("b"), call("read", json!({})), call("edit", json!({}))];
    assert_eq!(of(&score(&[assistant("", &calls)]), "b1_action_diversity"), 0.75);
    assert_eq!(of(&score(&[assistant("", &calls[..2])]), "b1_action_diversity"), 0.0);
    // One declared tool: over the distinct names used.
    let found = scored(&[assistant("", &[bash("a"), call("Bash", json!({}))])], &["bash"], 0.0);
    assert_eq!(of(&found, "b1_action_diversity"), 1.0);
}

#[test]
fn b1_of_terminus2_is_over_18_and_not_clipped() {
    let names: Vec<String> = (0..36).map(|n| format!("tool{n}")).collect();
    let keystrokes: Vec<&str> = names.iter().map(String::as_str).collect();
    // H = log2(36), over log2(18): 1 + 1/log2(18) = 1.2398.
    assert_eq!(of(&terminal_score(&[reply(&keystrokes)]), "b1_action_diversity"), 1.2398);
}

#[test]
fn b2_is_the_share_of_keywords_taken_up() {
    // Keywords of the first observation: alpha_x, beta_x, gamma_x; the next message has two of them.
    // The second has none (stop words), the third has no next message.
    let found = score(&[
        assistant("", &[bash("a"), bash("b")]),
        tool("alpha_x beta_x gamma_x"),
        tool("this that None"),
        assistant("see ALPHA_X", &[call("read", json!({"path": "src/beta_x.py"}))]),
        tool("alpha_x"),
    ]);
    assert_eq!(of(&found, "b2_observation_utilization"), 0.6667);
}

#[test]
fn b2_reads_content_and_values_but_neither_keys_nor_reasoning() {
    let with = |next: Value| {
        of(&score(&[assistant("", &[bash("a")]), tool("needle"), next]), "b2_observation_utilization")
    };
    assert_eq!(with(assistant("needle", &[])), 1.0);
    assert_eq!(with(assistant("", &[call("read", json!({"x": {"needle": 1}}))])), 1.0);
    assert_eq!(with(assistant("", &[call("read", json!({"needle": 1}))])), 0.0);
    assert_eq!(with(json!({"role": "assistant", "content": "x", "reasoning_content": "needle"})), 0.0);
    // Nothing said at all does not count, and then there is no mean.
    assert_eq!(with(assistant("", &[])), 0.0);
    let found = score(&[
        assistant("", &[bash("a")]),
        tool("needle"),
        assistant("", &[call("read", json!({}))]),
        tool("needle"),
        assistant("needle", &[]),
    ]);
    assert_eq!(of(&found, "b2_observation_utilization"), 1.0);
}

#[test]
fn c1_is_the_share_of_observations_without_error() {
    let messages = [
        assistant("", &[bash("ls"), bash("pytest"), bash("pytest")]),
        tool("No such file or directory"),
        tool("2 FAILED"),
        tool("bash: pytest: command not found"),
        assistant("", &[bash("x")]),
        tool("ok"),
    ];
    // Soft errors do not count for the call that ran tests: 2 of 4.
    assert_eq!(of(&score(&messages), "c1_tool_success_rate"), 0.5);
    assert_eq!(of(&score(&[assistant("x", &[])]), "c1_tool_success_rate"), 1.0);
}

#[test]
fn c1_of_terminus2_counts_commands_of_answered_turns() {
    let odd = json!({"commands": [{"keystrokes": ""}, 7, {"keystrokes": "ls"}]}).to_string();
    let messages = [
        reply(&["a", "b"]),
        user("Permission denied"),
        assistant(&odd, &[]),
        user("ok"),
        assistant("not json", &[]),
        user("Permission denied"),
        reply(&["c", "d", "e"]),
    ];
    // 2 + 3 + 1 commands were answered, two answers are errors: 1 − 2/6.
    let found = terminal_score(&messages);
    assert_eq!(of(&found, "c1_tool_success_rate"), 0.6667);
    // Blank and odd commands are no actions: a, b, ls, c, d, e.
    assert_eq!(of(&found, "total_tool_calls"), 6.0);
    // C2: (2 + 3 + 3)/3 commands per turn that has any: (8/3 − 1)/4.
    assert_eq!(of(&found, "c2_tool_parallelism"), 0.4167);
}

#[test]
fn c2_is_calls_per_calling_turn() {
    let calls = vec![bash("a"); 3];
    let found = score(&[assistant("", &calls), assistant("", &calls[..1]), assistant("x", &[])]);
    assert_eq!(of(&found, "c2_tool_parallelism"), 0.25);
    assert_eq!(of(&score(&[assistant("", &vec![bash("a"); 9])]), "c2_tool_parallelism"), 1.0);
    assert_eq!(of(&score(&[]), "c2_tool_parallelism"), 0.0);
}

#[test]
fn d1_is_how_the_scaffold_ends() {
    let d1 =
        |messages: &[Value], names: &[&str]| of(&scored(messages, names, 0.0), "d1_submission_completeness");
    let words = assistant("done", &[]);
    let finish = assistant("", &[call("Finish", json!({}))]);
    for names in [&["terminal", "finish"][..], &["finish", "custom"]] {
        assert_eq!(d1(std::slice::from_ref(&finish), names), 1.0);
        assert_eq!(d1(&[finish.clone(), tool("ok")], names), 1.0);
        assert_eq!(d1(&[finish.clone(), words.clone()], names), 0.5);
        assert_eq!(d1(&[words.clone(), user("?")], names), 0.0);
        assert_eq!(d1(&[assistant("", &[bash("x")])], names), 0.0);
    }
    assert_eq!(d1(std::slice::from_ref(&words), &["bash"]), 1.0);
    assert_eq!(d1(&[words, user("?")], &["bash"]), 0.0);
    assert_eq!(d1(&[finish], &["bash"]), 0.0);
    let complete =
        |value: Value| assistant(&json!({"commands": [], "task_complete": value}).to_string(), &[]);
    assert_eq!(d1(&[complete(json!(true)), user("sure?"), reply(&[])], &[]), 1.0);
    assert_eq!(d1(&[complete(json!(false))], &[]), 0.0);
}

#[test]
fn d2_is_half_writing_and_half_running_tests() {
    let d2 = |call: Value| of(&score(&[assistant("", &[call])]), "d2_test_verification");
    assert_eq!(d2(call("Write", json!({"filePath": "/testbed/tests/x.py"}))), 0.5);
    assert_eq!(d2(call("edit", json!({"file_path": "", "path": "a_test.go"}))), 0.5);
    assert_eq!(d2(call("read", json!({"path": "a_test.go"}))), 0.0);
    assert_eq!(d2(call("file_editor", json!({"command": "view", "path": "a_test.go"}))), 0.0);
    assert_eq!(d2(call("file_editor", json!({"command": "create", "path": "a_test.go"}))), 0.5);
    assert_eq!(d2(bash("pytest -q")), 0.5);
    assert_eq!(d2(call("grep", json!({"command": "pytest"}))), 0.0);
    // Shell writes count for terminus2 only.
    assert_eq!(d2(bash("cat > test_a.py")), 0.0);
    let found = terminal_score(&[reply(&["cat > test_a.py <<E\n", "pytest\n"])]);
    assert_eq!(of(&found, "d2_test_verification"), 1.0);
}

#[test]
fn e1_is_edits_per_file() {
    // Three edits of one file under two spellings, one of another: 4/2 edits per file, 1 − (2 − 1)/4.
    let found = score(&[assistant(
        "",
        &[
            call("edit", json!({"file_path": "/testbed/src/a.py"})),
            call("str_replace_editor", json!({"command": "insert", "path": "src/./a.py"})),
            bash("sed -i 's/x/y/' src/a.py"),
            call("write", json!({"path": "b.py"})),
            call("edit", json!({"text": "no path"})),
        ],
    )]);
    assert_eq!(of(&found, "e1_file_edit_concentration"), 0.75);
    assert_eq!(of(&score(&[]), "e1_file_edit_concentration"), 1.0);
}

#[test]
fn e2_is_writing_what_was_removed() {
    let e2 = |commands: &[&str]| {
        let calls: Vec<Value> = commands.iter().map(|c| bash(c)).collect();
        of(&score(&[assistant("", &calls)]), "e2_delete_then_modify")
    };
    assert_eq!(e2(&["rm /repo/a", "echo x > a", "echo y > a"]), 0.3333);
    // A command's removals come before its own writes.
    assert_eq!(e2(&["echo x > a\nrm a"]), 0.6667);
    assert_eq!(e2(&["echo x > a", "rm a"]), 1.0);
    assert_eq!(e2(&["rm b", "echo x > a"]), 1.0);
    assert_eq!(e2(&["rm a", "echo > a", "echo > a", "echo > a", "echo > a"]), 0.0);
}

#[test]
fn the_scaffold_is_told_by_tools_and_system_message() {
    let of = |names: &[&str], system: &str| {
        let tools = tools(names);
        let messages = [json!({"role": "system", "content": system})];
        V5.scaffold(Scored { messages: &messages, tools: &tools, agent_type: "main" })
    };
    assert_eq!(of(&[], ""), "terminus2");
    assert_eq!(of(&["terminal", "finish"], ""), "openhands_sdk");
    assert_eq!(of(&["Terminal", "finish"], ""), "openhands");
    assert_eq!(of(&["terminal", "custom"], ""), "openhands");
    assert_eq!(of(&["BASH"], "You are Claude Code"), "claudecode");
    assert_eq!(of(&["custom", "EnterWorktree"], "by ANTHROPIC"), "claudecode");
    assert_eq!(of(&["bash"], "You are opencode"), "opencode");
    assert_eq!(of(&["bash"], &format!("{}claude code", "é".repeat(489))), "claudecode");
    assert_eq!(of(&["bash"], &format!("{}claude code", "é".repeat(490))), "opencode");
}

#[test]
fn the_composite_is_the_weighted_sum() {
    // A record without anything: A1 = A2 = C1 = E1 = E2 = 1, the rest 0.
    let found = terminal_score(&[reply(&[])]);
    for (key, value) in [
        ("efficiency_score", 1.0),
        ("style_score", 0.0),
        ("tool_mastery_score", 0.9),
        ("completion_score", 0.0),
        ("precision_score", 1.0),
        ("composite_score_v3", 0.5),
        // 0.3·1 + 0.2·0 + 0.2·½ + 0.15·0 + 0.15·1
        ("composite_score_v4", 0.55),
        // 0.2·1 + 0.15·0 + 0.25·0.9 + 0.25·0 + 0.15·1
        ("composite_score", 0.575),
    ] {
        assert_eq!(of(&found, key), value, "{key}");
    }
    assert_eq!(found["scorer"], "v5");
    assert_eq!(found.len(), 23);
}

fn any_message() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,40}",
        "\\PC{0,20}",
        Just("Permission denied".to_owned()),
        Just("{\"commands\": [{\"keystrokes\": \"rm a\\n\"}, {\"keystrokes\": \"echo x > a\"}]}".to_owned()),
        Just("<think>a".to_owned()),
    ];
    let name = prop_oneof![Just("bash"), Just("edit"), Just("finish"), Just("")];
    let command = prop_oneof![
        "[ -~]{0,40}",
        Just("pytest".to_owned()),
        Just("rm a && cat > a".to_owned()),
        Just("sed -i s/a/b/ a b".to_owned()),
    ];
    let call = (name, command).prop_map(|(n, c)| call(n, json!({"command": c, "path": c})));
    let role = prop_oneof![Just("user"), Just("assistant"), Just("tool"), Just("system")];
    prop_oneof![
        9 => (role, text, prop::collection::vec(call, 0..4))
            .prop_map(|(r, t, calls)| json!({"role": r, "content": t, "tool_calls": calls})),
        1 => prop_oneof![
            Just(json!(null)),
            Just(json!({"role": 7})),
            Just(json!({"role": "assistant", "content": [1, {"text": "x"}], "tool_calls": [null, {"function": 3}]})),
        ],
    ]
}

proptest! {
    #[test]
    fn every_part_is_in_its_range(
        messages in prop::collection::vec(any_message(), 0..12),
        with_tools: bool,
        median in 0.0..50.0f64,
    ) {
        let names: &[&str] = if with_tools { &["bash", "edit", "finish", "x"] } else { &[] };
        let score = scored(&messages, names, median);
        for (key, value) in &score {
            let part = key.as_bytes().get(2) == Some(&b'_') || key.contains("composite") || key.ends_with("_score");
            if part && !["b1_action_diversity", "style_score"].contains(&key.as_str()) {
                let value = value.as_f64().unwrap();
                prop_assert!((0.0..=1.0).contains(&value), "{} = {}", key, value);
            }
        }
        prop_assert!(of(&score, "b1_action_diversity") >= 0.0);
    }

    #[test]
    fn scores_do_not_depend_on_the_order_of_records(
        mut records in prop::collection::vec(prop::collection::vec(any_message(), 0..6), 1..6),
    ) {
        let all = |records: &[Vec<Value>]| {
            let mut facts = DatasetFacts::default();
            let of = |messages: &[Value]| messages.to_vec();
            for messages in records {
                V5.observe(Scored { messages, tools: &[], agent_type: "main" }, &mut facts);
            }
            let mut scores: Vec<String> = records
                .iter()
                .map(|messages| {
                    let score = V5.score(Scored { messages: &of(messages), tools: &[], agent_type: "main" }, &facts);
                    format!("{score:?}")
                })
                .collect();
            scores.sort();
            scores
        };
        let forwards = all(&records);
        records.reverse();
        prop_assert_eq!(forwards, all(&records));
    }
}
