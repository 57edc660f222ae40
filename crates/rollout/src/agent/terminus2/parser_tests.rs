use super::*;
use proptest::prelude::*;

fn accepted(text: &str) -> Parsed {
    parse(text).unwrap_or_else(|error| panic!("{text} was refused: {error}"))
}

fn refused(text: &str) -> String {
    match parse(text) {
        Ok(parsed) => panic!("{text} was accepted as {parsed:?}"),
        Err(error) => error.message,
    }
}

fn command(keystrokes: &str, duration: f64) -> Command {
    Command { keystrokes: keystrokes.to_owned(), duration }
}

/// A reply with these `commands` and further fields, both as JSON.
fn reply(commands: &str, more: &str) -> String {
    format!(r#"{{"analysis": "a", "plan": "p", "commands": {commands}{more}}}"#)
}

const LS: &str = r#"[{"keystrokes": "ls\n", "duration": 0.1}]"#;

#[test]
fn a_plain_reply_has_no_warnings() {
    let parsed = accepted(&reply(LS, r#", "task_complete": false"#));
    let expected = Parsed {
        commands: vec![command("ls\n", 0.1)],
        analysis: "a".into(),
        plan: "p".into(),
        task_complete: false,
        warnings: vec![],
    };
    assert_eq!(parsed, expected);
}

#[test]
fn keystrokes_are_taken_as_they_are() {
    let text = reply(r#"[{"keystrokes": "  C-c \t\u00e9\\n{\"}\n", "duration": 1}]"#, "");
    assert_eq!(accepted(&text).commands, [command("  C-c \té\\n{\"}\n", 1.0)]);
}

#[test]
fn what_is_put_right_is_said() {
    let whole = reply(LS, "");
    let open = whole.strip_suffix('}').unwrap();
    let cases = [
        (format!("Sure!\n{whole}"), vec!["Extra text before the JSON object"]),
        (format!("{whole}\nDone."), vec!["Extra text after the JSON object"]),
        (
            format!("```json\n{whole}\n```"),
            vec!["Extra text before the JSON object", "Extra text after the JSON object"],
        ),
        (format!("{whole}}}}}"), vec!["Extra text after the JSON object"]),
        (open.to_owned(), vec!["AUTO-CORRECTED: closed an object that was left open"]),
        (
            open.strip_suffix(']').unwrap().to_owned(),
            vec!["AUTO-CORRECTED: closed an object that was left open"],
        ),
        (format!("{open},"), vec!["AUTO-CORRECTED: closed an object that was left open"]),
        (
            format!("```json\n{open}\n```"),
            vec!["AUTO-CORRECTED: closed an object that was left open", "Extra text before the JSON object"],
        ),
        (
            format!("I put it in {{braces}}: {whole}"),
            vec![
                "AUTO-CORRECTED: took the JSON object out of mixed text",
                "Extra text before the JSON object",
            ],
        ),
        (
            format!("An empty {{}} first, then {whole} and more"),
            vec![
                "AUTO-CORRECTED: took the JSON object out of mixed text",
                "Extra text before the JSON object",
                "Extra text after the JSON object",
            ],
        ),
    ];
    for (text, warnings) in cases {
        let parsed = accepted(&text);
        assert_eq!(parsed.warnings, warnings, "{text}");
        assert_eq!(parsed.commands, [command("ls\n", 0.1)], "{text}");
    }
}

#[test]
fn of_two_replies_the_first_counts() {
    let text = format!("{}\n{}", reply(LS, ""), reply("[]", ""));
    let parsed = accepted(&text);
    assert_eq!(parsed.commands.len(), 1);
    assert_eq!(parsed.warnings, ["Extra text after the JSON object"]);
}

#[test]
fn fields_of_a_wrong_type_are_warned_about() {
    let cases = [
        (
            r#"{"analysis": ["x"], "plan": "p", "commands": []}"#,
            "[\"x\"]",
            "p",
            "'analysis' should be a string",
        ),
        (r#"{"analysis": null, "plan": "p", "commands": []}"#, "", "p", "'analysis' should be a string"),
        (r#"{"analysis": "a", "plan": 7, "commands": []}"#, "a", "7", "'plan' should be a string"),
    ];
    for (text, analysis, plan, warning) in cases {
        let parsed = accepted(text);
        assert_eq!((parsed.analysis.as_str(), parsed.plan.as_str()), (analysis, plan));
        assert_eq!(parsed.warnings.len(), 1);
        assert!(parsed.warnings[0].contains(warning), "{:?}", parsed.warnings);
    }
}

#[test]
fn task_complete_in_all_its_spellings() {
    let cases = [
        ("true", true, 0),
        ("false", false, 0),
        ("null", false, 0),
        (r#""true""#, true, 0),
        (r#""Yes""#, true, 0),
        (r#""1""#, true, 0),
        (r#""no""#, false, 0),
        (r#""""#, false, 0),
        ("1", true, 1),
        ("0", false, 1),
        ("0.0", false, 1),
        ("[]", false, 1),
        ("{}", false, 1),
        ("[0]", true, 1),
    ];
    for (value, complete, warnings) in cases {
        let parsed = accepted(&reply("[]", &format!(r#", "task_complete": {value}"#)));
        assert_eq!(parsed.task_complete, complete, "{value}");
        assert_eq!(parsed.warnings.len(), warnings, "{value}: {:?}", parsed.warnings);
    }
}

#[test]
fn durations() {
    let cases = [
        (r#", "duration": 0"#, 0.0, 0),
        (r#", "duration": 0.05"#, 0.05, 0),
        (r#", "duration": 12"#, 12.0, 0),
        (r#", "duration": 60"#, 60.0, 0),
        (r#", "duration": 61"#, 60.0, 0),
        (r#", "duration": 1e300"#, 60.0, 0),
        (r#", "duration": -3"#, 0.0, 0),
        ("", 1.0, 1),
        (r#", "duration": "5""#, 1.0, 1),
        (r#", "duration": null"#, 1.0, 1),
        (r#", "duration": true"#, 1.0, 1),
        (r#", "duration": [2]"#, 1.0, 1),
    ];
    for (field, duration, warnings) in cases {
        let parsed = accepted(&reply(&format!(r#"[{{"keystrokes": "ls\n"{field}}}]"#), ""));
        assert_eq!(parsed.commands, [command("ls\n", duration)], "{field}");
        assert_eq!(parsed.warnings.len(), warnings, "{field}");
        assert!(parsed.warnings.iter().all(|warning| warning.contains("Command 1: 'duration'")));
    }
}

#[test]
fn unknown_command_fields_are_named() {
    let parsed = accepted(&reply(r#"[{"keystrokes": "x\n", "duration": 1, "cwd": "/", "why": ""}]"#, ""));
    assert_eq!(parsed.warnings, ["Command 1: unknown fields: cwd, why"]);
}

#[test]
fn fields_out_of_order_are_warned_about() {
    let parsed = accepted(r#"{"plan": "p", "commands": [], "analysis": "\"plan\": x"}"#);
    assert_eq!(
        parsed.warnings,
        ["Fields are out of order: found plan, commands, analysis, expected analysis, plan, commands"]
    );
    assert!(
        accepted(r#"{"task_complete": false, "analysis": "", "plan": "", "commands": []}"#)
            .warnings
            .is_empty()
    );
}

#[test]
fn a_missing_newline_matters_only_before_another_command() {
    let text = reply(
        r#"[{"keystrokes": "a", "duration": 1}, {"keystrokes": "", "duration": 1}, {"keystrokes": "b", "duration": 1}]"#,
        "",
    );
    let parsed = accepted(&text);
    assert_eq!(parsed.warnings.len(), 1);
    assert!(parsed.warnings[0].starts_with("Command 1 does not end with a newline"), "{:?}", parsed.warnings);
}

#[test]
fn empty_keystrokes_and_empty_lists_just_wait() {
    assert_eq!(accepted(&reply("[]", "")).commands, []);
    let parsed = accepted(&reply(r#"[{"keystrokes": "", "duration": 10.0}]"#, ""));
    assert_eq!(parsed.commands, [command("", 10.0)]);
    assert!(parsed.warnings.is_empty());
}

#[test]
fn what_cannot_be_understood_is_an_error() {
    let cases = [
        (String::new(), "No JSON object found"),
        ("Let me think about it.".to_owned(), "No JSON object found"),
        ("[1, 2]".to_owned(), "No JSON object found"),
        ("{}".to_owned(), "Missing required fields: analysis, plan, commands"),
        (r#"{"analysis": "a", "commands": []}"#.to_owned(), "Missing required fields: plan"),
        ("{'analysis': 'a'}".to_owned(), "Invalid JSON"),
        (reply(r#"{"keystrokes": "ls\n"}"#, ""), "'commands' must be an array"),
        (reply("null", ""), "'commands' must be an array"),
        (reply(r#"["ls\n"]"#, ""), "Command 1 must be an object"),
        (reply(r#"[{"keystrokes": "a\n"}, 7]"#, ""), "Command 2 must be an object"),
        (reply(r#"[{"duration": 1}]"#, ""), "Command 1: the required field 'keystrokes' is missing"),
        (reply(r#"[{"keystrokes": ["ls"]}]"#, ""), "Command 1: 'keystrokes' must be a string"),
        // Where a string was cut off nobody knows what it would have said.
        (
            r#"{"analysis": "a", "plan": "p", "commands": [{"keystrokes": "rm -rf /tm"#.to_owned(),
            "Invalid JSON",
        ),
        // A raw newline inside a string.
        (reply("[{\"keystrokes\": \"ls\n\"}]", ""), "Invalid JSON"),
    ];
    for (text, expected) in cases {
        let message = refused(&text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn with_task_complete_a_bad_command_is_only_a_warning() {
    let complete = r#", "task_complete": true"#;
    for commands in [r#"[{"duration": 1}]"#, r#"[{"keystrokes": 7}]"#] {
        let parsed = accepted(&reply(commands, complete));
        assert!(parsed.task_complete && parsed.commands.is_empty());
        assert!(parsed.warnings[0].contains("no command was run"), "{:?}", parsed.warnings);
    }
    for commands in ["7", "null", r#""ls""#, "[7]", r#"["ls"]"#] {
        refused(&reply(commands, complete));
    }
}

#[test]
fn the_error_is_about_the_object_that_was_meant() {
    let text = format!("An example: {{\"x\": 1}}. Mine: {}", reply("7", ""));
    assert!(refused(&text).contains("'commands' must be an array"));
    let error = parse(&format!("Well: {}", reply("7", ""))).unwrap_err();
    assert_eq!(error.message, "Field 'commands' must be an array");
}

#[test]
fn a_cut_reply_is_used_only_when_an_object_in_it_is_whole() {
    let whole = reply(LS, "");
    assert_eq!(
        salvage(&format!("{whole}\n{{\"analysis\": \"and th")).unwrap().commands,
        [command("ls\n", 0.1)]
    );
    assert!(salvage(whole.strip_suffix('}').unwrap()).is_none());
    assert!(salvage("").is_none());
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    refused(&"{\"a\":".repeat(100_000));
    refused(&"[".repeat(100_000));
    refused(&"{".repeat(100_000));
    refused(&format!("{{\"a\": {}", "[".repeat(50_000)));
}

proptest! {
    #[test]
    fn nothing_crashes_it(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = salvage(&text);
    }

    #[test]
    fn nothing_like_a_reply_crashes_it(text in r#"[{}\[\]":,\\a \n0-9é]{0,120}"#) {
        let _ = parse(&text);
    }

    #[test]
    fn no_part_of_a_reply_crashes_it(from in 0usize..300, to in 0usize..300, insert in "[\"{}\\[\\],]{0,3}") {
        let text = reply(r#"[{"keystrokes": "echo \"é}\"\n", "duration": 0.5}, {"keystrokes": ""}]"#, r#", "task_complete": "yes""#);
        let (from, to) = (from.min(text.len()), to.min(text.len()));
        if let (Some(head), Some(tail)) = (text.get(..from), text.get(to..)) {
            let _ = parse(&format!("{head}{insert}{tail}"));
        }
    }

    #[test]
    fn a_whole_reply_is_read_whatever_it_says(
        analysis in "\\PC{0,40}", plan in "\\PC{0,40}", keystrokes in "\\PC{0,40}", duration in 0.0f64..60.0,
        before in "[^{]{0,20}", after in "\\PC{0,20}",
    ) {
        let object = serde_json::json!({
            "analysis": analysis, "plan": plan,
            "commands": [{"keystrokes": keystrokes, "duration": duration}],
        });
        let parsed = parse(&format!("{before}{object}{after}")).unwrap();
        prop_assert_eq!(parsed.analysis, analysis);
        prop_assert_eq!(parsed.plan, plan);
        prop_assert_eq!(&parsed.commands[0].keystrokes, &keystrokes);
        prop_assert!((parsed.commands[0].duration - duration).abs() < 1e-9);
    }
}
