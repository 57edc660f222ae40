use super::*;
use serde_json::json;

fn rendered(messages: &Value, tools: &Value) -> String {
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    ChatTemplate::built_in().unwrap().render(&list(messages), &list(tools)).unwrap()
}

#[test]
fn a_plain_exchange() {
    let text = rendered(
        &json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "<b>&\"é\""},
            {"role": "assistant", "content": "Yes.", "reasoning_content": "\nHm.\n"},
        ]),
        &json!([]),
    );
    assert_eq!(
        text,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<b>&\"é\"<|im_end|>\n<|im_start|>assistant\n<think>\nHm.\n</think>\n\nYes.<|im_end|>\n"
    );
}

#[test]
fn calls_and_answers() {
    let text = rendered(
        &json!([
            {"role": "user", "content": "Go."},
            {"role": "assistant", "content": "Both:", "reasoning_content": "r", "tool_calls": [
                {"type": "function", "function": {"name": "read", "arguments": "{\"path\": \"é\", \"n\": [1]}"}},
                {"type": "function", "function": {"name": "list", "arguments": "{}"}},
            ]},
            {"role": "tool", "content": "one"},
            {"role": "tool", "content": "two"},
            {"role": "assistant", "content": "Done.", "reasoning_content": ""},
        ]),
        &json!([{"type": "function", "function": {"name": "read", "parameters": {}}}]),
    );
    let found = turns(&text);
    let roles: Vec<&str> = found.iter().map(|(role, _)| *role).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    assert!(found[0].1.starts_with("# Tools\n\n"), "{}", found[0].1);
    assert!(found[0].1.contains(
        "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"read\", \"parameters\": {}}}\n</tools>"
    ));
    assert_eq!(
        found[2].1,
        "<think>\nr\n</think>\n\nBoth:\n<tool_call>\n{\"name\": \"read\", \"arguments\": {\"path\": \"é\", \"n\": [1]}}\n</tool_call>\n<tool_call>\n{\"name\": \"list\", \"arguments\": {}}\n</tool_call>"
    );
    assert_eq!(found[3].1, "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response>");
    assert_eq!(found[4].1, "<think>\n\n</think>\n\nDone.");
}

#[test]
fn reasoning_before_the_last_question_is_not_shown() {
    let text = rendered(
        &json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "reasoning_content": "old"},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d", "reasoning_content": "new"},
        ]),
        &json!([]),
    );
    assert!(!text.contains("old") && text.contains("<think>\nnew\n</think>"), "{text}");
}

#[test]
fn a_call_without_text_stands_at_the_start() {
    let text = rendered(
        &json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "x", "arguments": "not json"}}, {"function": {"name": "y", "arguments": "[1]"}},
            ]},
            {"role": "tool", "content": "b"},
            {"role": "assistant", "content": "c"},
        ]),
        &json!([]),
    );
    assert_eq!(
        turns(&text)[1].1,
        "<tool_call>\n{\"name\": \"x\", \"arguments\": not json}\n</tool_call>\n<tool_call>\n{\"name\": \"y\", \"arguments\": [1]}\n</tool_call>"
    );
}

#[test]
fn turns_are_exactly_what_lies_between() {
    assert_eq!(
        turns("junk<|im_start|>user\n  a \n<|im_end|>x<|im_start|>assistant\n<|im_end|><|im_start|>torn\nb"),
        [("user", "  a \n"), ("assistant", "")]
    );
}

#[test]
fn templates_as_others_write_them_run() {
    let template = ChatTemplate::compile(
        "{%- for m in messages %}\n    {%- if loop.index0 > 1 %}{% break %}{% endif %}\n{{ '<|im_start|>' ~ m['role'] }}\n{{ m.content|tojson(indent=1) }}<|im_end|>\n{% endfor %}",
    )
    .unwrap();
    let text = template.render(&[json!({"role": "user", "content": [1]})], &[]).unwrap();
    assert_eq!(turns(&text), [("user", "[\n 1\n]")]);
}
