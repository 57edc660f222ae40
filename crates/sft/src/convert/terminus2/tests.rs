use super::*;

#[test]
fn analysis_and_plan_are_told_apart() {
    let split = analysis_and_plan;
    let expect = |a: &str, p: &str| (a.to_owned(), p.to_owned());
    assert_eq!(split("Analysis: a\nb\nPlan: c\nd"), expect("a\nb", "c\nd"));
    assert_eq!(split("Analysis: a. Plan: c"), expect("a.", "c"));
    assert_eq!(split("Analysis: my Plan: x\nPlan: c"), expect("my Plan: x", "c"));
    assert_eq!(split("Analysis: only"), expect("only", ""));
    assert_eq!(split("Plan: only"), expect("", "only"));
    assert_eq!(split("Analysis: NoPlan:here"), expect("NoPlan:here", ""));
    assert_eq!(split("  I said: Plan: x"), expect("I said: Plan: x", ""));
    assert_eq!(split(""), expect("", ""));
}

fn reply_of(step: &Value) -> Value {
    serde_json::from_str(&reply(step).unwrap()).unwrap()
}

#[test]
fn commands_are_rebuilt_from_calls() {
    let step = json!({"message": "Analysis: a\nPlan: b", "tool_calls": [
        {"function_name": "bash_command", "arguments": {"keystrokes": "ls", "duration": 1.0}},
        {"function_name": "bash", "arguments": {"command": "make"}},
        {"function_name": "bash", "arguments": "{\"keystrokes\": \"x\\n\", \"duration\": null}"},
        {"function_name": "other", "arguments": {}},
        {"function_name": "other"},
        7,
    ]});
    assert_eq!(
        reply_of(&step),
        json!({"analysis": "a", "plan": "b", "commands": [
            {"keystrokes": "ls", "duration": 1.0}, {"keystrokes": "make\n"}, {"keystrokes": "x\n"},
        ]})
    );
}

#[test]
fn completion_sets_the_flag() {
    let step = json!({"message": "raw text", "tool_calls": [{"function_name": "mark_task_complete", "arguments": {}}]});
    assert_eq!(
        reply_of(&step),
        json!({"analysis": "raw text", "plan": "", "commands": [], "task_complete": true})
    );
}

#[test]
fn reasoning_comes_first_and_blank_reasoning_not_at_all() {
    let step = |reasoning: Value| json!({"message": "é", "reasoning_content": reasoning});
    let body = "{\n  \"analysis\": \"é\",\n  \"plan\": \"\",\n  \"commands\": []\n}";
    assert_eq!(reply(&step(json!(" r\n"))).unwrap(), format!("<think>\nr\n</think>\n\n{body}"));
    assert_eq!(reply(&step(json!("  \n"))).unwrap(), body);
    assert_eq!(reply(&step(Value::Null)).unwrap(), body);
}

#[test]
fn documents_of_all_shapes_are_read() {
    let steps = json!([{"source": "user", "message": "x"}]);
    let one = json!({"steps": steps});
    let wrapped = json!({"trajectory": {"steps": steps}});
    for (document, n) in [
        (one.clone(), 1),
        (wrapped.clone(), 1),
        (json!([one, wrapped]), 2),
        (json!({"data": [wrapped, one, one]}), 3),
        (json!([]), 0),
    ] {
        assert_eq!(trajectories(&document).unwrap().len(), n, "{document}");
    }
    for document in [json!({}), json!(7), json!({"steps": 7}), json!([one, 7]), json!({"data": {}})] {
        assert_eq!(trajectories(&document).unwrap_err().reason, Reason::BadTrajectory, "{document}");
    }
}

#[test]
fn only_a_system_step_that_refers_to_subagents_hands_over() {
    let step = |source: &str| json!({"source": source, "message": "m"});
    let summary = json!({"source": "system", "message": "", "observation": {"results": [{"subagent_trajectory_ref": [{}]}]}});
    let steps = [step("user"), step("agent"), step("system"), step("user"), step("agent")];
    assert_eq!(segments(&steps).len(), 1);
    let steps =
        [step("user"), step("agent"), summary.clone(), step("user"), step("agent"), summary, step("user")];
    let found = segments(&steps);
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].handover.as_deref(), Some("m"));
    assert_eq!(found[1].steps.len(), 1);
}
