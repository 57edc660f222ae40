use super::*;
use serde_json::json;

fn ending(status: u16, body: &str) -> String {
    match refused(status, body.as_bytes()) {
        CallError::ContextLength(_) => "ContextLength".to_owned(),
        CallError::Failed(failure) => failure.kind.to_string(),
    }
}

#[test]
fn every_failure_leads_to_its_ending() {
    let coded = |code: &str| json!({"error": {"message": "no", "type": "x", "code": code}}).to_string();
    let said = |message: &str| json!({"error": {"message": message, "type": "x", "code": 400}}).to_string();
    let cases = [
        (401, coded("invalid_api_key"), "AgentAuthenticationError"),
        (403, String::new(), "AgentAuthenticationError"),
        (402, String::new(), "ApiUsageLimitError"),
        (429, coded("insufficient_quota"), "ApiUsageLimitError"),
        (404, String::new(), "ModelNotFoundError"),
        (400, coded("model_not_found"), "ModelNotFoundError"),
        (429, coded("trial_limit"), "TrialLimitError"),
        (403, coded("trial_limit"), "TrialLimitError"),
        (500, coded(trajgen_proxy::CAPTURE_ERROR), "CaptureError"),
        (507, coded(trajgen_proxy::CAPTURE_ERROR), "CaptureError"),
        (400, coded("content_filter"), "AgentSafetyRefusalError"),
        (400, coded("context_length_exceeded"), "ContextLength"),
        (500, coded("context_length_exceeded"), "ContextLength"),
        (413, String::new(), "ContextLength"),
        (
            400,
            said("This model's maximum context length is 4096 tokens. However, you requested 5000"),
            "ContextLength",
        ),
        (400, said("the request exceeds the available context size, try increasing it"), "ContextLength"),
        (
            400,
            said("The decoder prompt (length 9) is longer than the maximum model length of 8."),
            "ContextLength",
        ),
        (400, said("prompt is too long: 210000 tokens > 200000 maximum"), "ContextLength"),
        (
            400,
            said("The input (9 tokens) is longer than the model's context length (8 tokens)."),
            "ContextLength",
        ),
        (
            400,
            json!({"error": {"code": 400, "message": "x", "type": "exceed_context_size_error"}}).to_string(),
            "ContextLength",
        ),
        (400, said("temperature must not be negative"), "AgentError"),
        (422, String::new(), "AgentError"),
        (408, String::new(), "ModelUnavailableError"),
        (429, String::new(), "ModelUnavailableError"),
        (500, "<html>".to_owned(), "ModelUnavailableError"),
        (503, json!({"error": "overloaded"}).to_string(), "ModelUnavailableError"),
        (529, String::new(), "ModelUnavailableError"),
    ];
    for (status, body, expected) in cases {
        assert_eq!(ending(status, &body), expected, "{status} {body}");
    }
}

#[test]
fn a_failure_says_what_the_server_said() {
    let CallError::Failed(failure) = refused(500, br#"{"error": {"message": "out of cheese"}}"#) else {
        panic!("not a failure");
    };
    assert_eq!(failure.message, "HTTP 500: out of cheese");
    let CallError::Failed(failure) = refused(502, b"") else { panic!("not a failure") };
    assert_eq!(failure.message, "HTTP 502: (empty)");
}

fn answer(choice: &Value, usage: &Value) -> Vec<u8> {
    json!({"id": "1", "model": "m", "choices": [choice], "usage": usage}).to_string().into_bytes()
}

#[test]
fn an_answer_is_read_with_its_figures() {
    let bytes = answer(
        &json!({"message": {"role": "assistant", "content": "hi", "reasoning_content": "hm"}, "finish_reason": "stop"}),
        &json!({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}, "cost": 0.5}),
    );
    let reply = read_reply(&bytes, false).unwrap();
    let expected = Reply {
        text: "hi".into(),
        reasoning: Some("hm".into()),
        model: Some("m".into()),
        usage: Some(Usage { prompt: 10, completion: 2, cached: 4, cost: Some(0.5) }),
        ..Reply::default()
    };
    assert_eq!(reply, expected);
}

#[test]
fn token_ids_are_kept_only_when_they_were_asked_for() {
    let bytes = json!({
        "prompt_token_ids": [1, 2],
        "choices": [{
            "message": {"content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}], "reasoning": "r"},
            "finish_reason": "length", "token_ids": [3],
            "logprobs": {"content": [{"token": "hi", "logprob": -0.25}]},
        }],
    })
    .to_string()
    .into_bytes();
    let reply = read_reply(&bytes, true).unwrap();
    assert_eq!((reply.text.as_str(), reply.reasoning.as_deref(), reply.cut), ("hi", Some("r"), true));
    assert_eq!(reply.prompt_token_ids, Some(vec![1, 2]));
    assert_eq!(reply.completion_token_ids, Some(vec![3]));
    assert_eq!(reply.logprobs, Some(vec![-0.25]));
    let reply = read_reply(&bytes, false).unwrap();
    assert_eq!((reply.prompt_token_ids, reply.completion_token_ids, reply.logprobs), (None, None, None));
    assert_eq!(reply.usage, None);
}

#[test]
fn refusals_and_nonsense_are_failures() {
    let kind = |bytes: &[u8]| match read_reply(bytes, false) {
        Err(CallError::Failed(failure)) => failure.kind,
        other => panic!("{other:?}"),
    };
    let filtered =
        answer(&json!({"message": {"content": ""}, "finish_reason": "content_filter"}), &Value::Null);
    assert_eq!(kind(&filtered), ErrorType::AgentSafetyRefusalError);
    let refusal = answer(&json!({"message": {"content": null, "refusal": "I will not"}}), &Value::Null);
    assert_eq!(kind(&refusal), ErrorType::AgentSafetyRefusalError);
    assert_eq!(kind(b"<html>"), ErrorType::ModelUnavailableError);
    assert_eq!(kind(br#"{"choices": []}"#), ErrorType::ModelUnavailableError);
}

#[test]
fn only_what_was_configured_is_sent() {
    let endpoint = ModelEndpoint {
        base_url: "http://127.0.0.1:1/".into(),
        api_key: "k".into(),
        model: "m".into(),
        max_input_tokens: None,
        max_output_tokens: None,
    };
    let client = Client::new(endpoint.clone(), Sampling::default()).unwrap();
    assert_eq!(client.url, "http://127.0.0.1:1/v1/chat/completions");
    let messages = [Message::user("u"), Message::assistant("a")];
    assert_eq!(
        client.body(&messages),
        json!({"model": "m", "messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]})
    );
    let all = Sampling { temperature: Some(0.7), top_p: Some(0.9), rollout_details: true };
    let body = Client::new(endpoint, all).unwrap().body(&[]);
    assert_eq!(
        body,
        json!({"model": "m", "messages": [], "temperature": 0.7, "top_p": 0.9, "logprobs": true, "return_token_ids": true})
    );
}
