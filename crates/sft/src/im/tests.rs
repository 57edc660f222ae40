use super::*;

#[test]
fn messages_begin_with_a_system_message_and_keep_known_keys_only() {
    let (messages, _) = complete_messages(vec![
        json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "x": 1}),
        json!({"role": "assistant", "content": null, "tool_calls": [], "weight": 0, "refusal": null}),
        json!("no message"),
    ]);
    assert_eq!(
        messages,
        [
            json!({"role": "system", "content": ""}),
            json!({"role": "user", "content": "a\nb"}),
            json!({"role": "assistant", "content": "", "weight": 0, "reasoning_content": ""}),
        ]
    );
    let (messages, _) = complete_messages(vec![json!({"role": "system", "content": "s"})]);
    assert_eq!(messages.len(), 1);
}

#[test]
fn a_think_block_fills_the_field_only_when_that_is_not_there() {
    let reasoning = |message: Value| {
        let (messages, conflicts) = complete_messages(vec![message]);
        let text = |key: &str| messages[1][key].as_str().unwrap().to_owned();
        (text("reasoning_content"), text("content"), conflicts)
    };
    let block = "<think>\nt\n</think>\n\nc";
    let expect = |r: &str, c: &str, n: usize| (r.to_owned(), c.to_owned(), n);
    assert_eq!(reasoning(json!({"role": "assistant", "content": block})), expect("t", "c", 0));
    assert_eq!(
        reasoning(json!({"role": "assistant", "content": block, "reasoning_content": null})),
        expect("t", "c", 0)
    );
    assert_eq!(
        reasoning(json!({"role": "assistant", "content": block, "reasoning_content": "t"})),
        expect("t", "c", 0)
    );
    assert_eq!(
        reasoning(json!({"role": "assistant", "content": block, "reasoning_content": "other"})),
        expect("other", "c", 1)
    );
    let empty = "<think>\n\n</think>c";
    assert_eq!(reasoning(json!({"role": "assistant", "content": empty})), expect("", empty, 0));
    let (messages, _) = complete_messages(vec![json!({"role": "user", "content": block})]);
    assert_eq!(messages[1], json!({"role": "user", "content": block}));
}

#[test]
fn calls_get_ids_and_string_arguments() {
    let call =
        |id: Value, arguments: Value| json!({"id": id, "function": {"name": "f", "arguments": arguments}});
    let (messages, _) = complete_messages(vec![
        json!({"role": "assistant", "tool_calls": [
            call(json!("own"), json!({"b": 1, "a": "é"})), call(Value::Null, json!("{}")), call(json!(""), Value::Null),
        ]}),
        json!({"role": "tool", "content": "1"}),
        json!({"role": "tool", "content": "2", "tool_call_id": "theirs"}),
        json!({"role": "tool", "content": "3"}),
        json!({"role": "assistant", "tool_calls": [call(Value::Null, json!([1]))]}),
    ]);
    let calls = &messages[1]["tool_calls"];
    let ids: Vec<&Value> = (0..3).map(|n| &calls[n]["id"]).collect();
    assert_eq!(ids, [&json!("own"), &json!("theirs"), &json!("call_000001")]);
    assert_eq!(calls[0]["function"]["arguments"], "{\"b\":1,\"a\":\"é\"}");
    assert_eq!(calls[2]["function"]["arguments"], "{}");
    let answered: Vec<&Value> = (2..5).map(|n| &messages[n]["tool_call_id"]).collect();
    assert_eq!(answered, [&json!("own"), &json!("theirs"), &json!("call_000001")]);
    assert_eq!(messages[5]["tool_calls"][0]["id"], "call_000002");
}

#[test]
fn language_is_that_of_the_first_user_text() {
    let of = |texts: &[&str]| {
        language(&texts.iter().map(|t| json!({"role": "user", "content": t})).collect::<Vec<_>>())
    };
    assert_eq!(of(&["", " ", "Fix 修复"]), "zh");
    assert_eq!(of(&["Fix", "修复"]), "en");
    assert_eq!(of(&["ひらがな"]), "en");
    assert_eq!(of(&["\u{3400}"]), "zh");
    assert_eq!(of(&["\u{9fff}"]), "zh");
    assert_eq!(of(&["\u{33ff}\u{a000}"]), "en");
    assert_eq!(of(&[]), "en");
}

#[test]
fn a_model_loses_only_the_protocol() {
    assert_eq!(without_protocol("openai/MiniMax-M2.7"), "MiniMax-M2.7");
    assert_eq!(without_protocol("anthropic/org/m"), "org/m");
    assert_eq!(without_protocol("script/example"), "script/example");
}

#[test]
fn both_shapes_are_read() {
    let flat = json!({"_instance_id": "a"});
    let nested = json!({"meta_info": {"unique_info": {"_instance_id": "b"}}});
    assert_eq!(info(&flat, "_instance_id"), Some(&json!("a")));
    assert_eq!(info(&nested, "_instance_id"), Some(&json!("b")));
    assert_eq!(info(&nested, "_score"), None);
}

#[test]
fn think_blocks_go_back_where_they_were() {
    let original = json!({"role": "assistant", "content": "<think>\n a \n</think>\n\n{}"});
    let (messages, _) = complete_messages(vec![original.clone()]);
    assert_eq!(with_think_blocks(&messages)[1]["content"], original["content"]);
}
