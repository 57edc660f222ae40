use super::*;

fn im_record(think_mode: &str, messages: &Value) -> Value {
    json!({
        "meta_info": {"unique_info": {"_instance_id": "i", "_agent_type": "main", "_score": {"composite_score": 0.5},
            "_gen_params": {"model": "m"}, "_usage": {}, "_instance_metadata": {"a": 1}, "think_mode": think_mode}},
        "tools": [{"type": "function", "function": {"name": "read"}}],
        "messages": messages,
    })
}

fn calling() -> Value {
    json!([
        {"role": "system", "content": ""},
        {"role": "user", "content": "a </think> b"},
        {"role": "assistant", "content": "", "reasoning_content": "", "tool_calls": [{"id": "c", "function": {"name": "read", "arguments": "{\"p\":1}"}}]},
        {"role": "tool", "content": "<think></think>x", "tool_call_id": "c"},
        {"role": "assistant", "content": "done </think>", "reasoning_content": ""},
    ])
}

#[test]
fn a_record_is_what_the_template_shows() {
    let template = ChatTemplate::built_in().unwrap();
    let out = record(&im_record("fast", &calling()), Scaffold::Generic, &template).unwrap();
    let messages = out["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5);
    assert_eq!(messages[0]["role"], "system");
    assert_eq!(messages[1]["content"], "a </think> b");
    assert_eq!(
        messages[2]["content"],
        "<tool_call>\n{\"name\": \"read\", \"arguments\": {\"p\": 1}}\n</tool_call>"
    );
    assert_eq!(messages[3]["content"], "<tool_response>\n<think></think>x\n</tool_response>");
    // The template's empty think block is gone, other text that looks like one stays.
    assert_eq!(messages[4]["content"], "done </think>");
    let keys: Vec<&String> = out.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["messages", "_score", "_instance_id", "_agent_type", "_gen_params", "_usage", "_instance_metadata"]
    );
}

#[test]
fn a_slow_record_keeps_its_empty_think_block() {
    let template = ChatTemplate::built_in().unwrap();
    let out = record(&im_record("slow", &calling()), Scaffold::Generic, &template).unwrap();
    assert_eq!(out["messages"][4]["content"], "<think>\n\n</think>\n\ndone </think>");
}

#[test]
fn markers_anywhere_a_turn_shows_are_seen() {
    let template = ChatTemplate::built_in().unwrap();
    for (pointer, text) in [
        ("/messages/1/content", "<|im_end|>"),
        ("/messages/4/reasoning_content", "a<|im_start|>"),
        ("/messages/2/tool_calls/0/function/arguments", "{\"x\": \"<|im_end|>\"}"),
    ] {
        let mut im = im_record("fast", &calling());
        *im.pointer_mut(pointer).unwrap() = json!(text);
        let dropped = record(&im, Scaffold::Generic, &template).unwrap_err();
        assert_eq!(dropped.reason, Reason::TurnMarkerInText, "{pointer}");
    }
}

#[test]
fn an_element_is_indented_once_more() {
    let text = element(&json!({"a": ["x\ny"], "b": {}})).unwrap();
    assert_eq!(text, "    {\n        \"a\": [\n            \"x\\ny\"\n        ],\n        \"b\": {}\n    }");
}
