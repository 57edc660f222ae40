use crate::call::{Answer, AnswerBody, Call, EventKind, Upstream};
use crate::chat::{Accumulator, Completion};
use crate::connect::{UpstreamConfig, connect};
use crate::failure::{Failure, FailureKind};
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;

struct Model {
    upstream: Arc<dyn Upstream>,
    _folder: tempfile::TempDir,
}

impl Model {
    fn new(script: &str, max_retries: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.yaml"), script).unwrap();
        let upstream = connect(UpstreamConfig {
            api_base_url: "script://model.yaml".to_owned(),
            max_retries,
            base_dir: folder.path().to_owned(),
            ..UpstreamConfig::default()
        })
        .unwrap();
        Self { upstream, _folder: folder }
    }

    async fn answer(&self, trial: &str, body: Value) -> Result<Answer, Failure> {
        let stream = body.get("stream") == Some(&json!(true));
        let call = Call {
            body: body.to_string().into(),
            stream,
            requested_model: None,
            task_id: Some("task".into()),
            trial: Some(trial.into()),
        };
        self.upstream.call(call).await
    }

    async fn whole(&self, trial: &str, body: Value) -> Result<Completion, Failure> {
        match self.answer(trial, body).await?.body {
            AnswerBody::Whole(_, completion) => Ok(*completion),
            AnswerBody::Events(_) => panic!("a stream nobody asked for"),
        }
    }

    async fn text(&self, trial: &str, body: Value) -> String {
        let completion = self.whole(trial, body).await.unwrap();
        completion.choices[0].message.content.clone().unwrap_or_default()
    }
}

fn user(text: &str) -> Value {
    json!({"model": "any", "messages": [{"role": "system", "content": "You name sessions."}, {"role": "user", "content": text}]})
}

#[tokio::test]
async fn every_trial_and_every_try_starts_afresh() {
    let model = Model::new("tracks: [{turns: [{text: one}, {text: two}]}]", 0);
    assert_eq!(model.text("a", user("x")).await, "one");
    assert_eq!(model.text("b", user("x")).await, "one");
    assert_eq!(model.text("a", user("x")).await, "two");
    model.upstream.begin_trial("task", "a").unwrap();
    assert_eq!(model.text("a", user("x")).await, "one");
    assert_eq!(model.upstream.info().model, "script/model.yaml");
}

#[tokio::test]
async fn tracks_take_calls_by_their_matchers() {
    let script = "
tracks:
- {name: titles, match: {tools: false, system: 'name sessions'}, turns: [{text: a title}]}
- {name: named, match: {model: '^haiku'}, turns: [{text: small}]}
- {name: main, match: {tools: true, last: 'go'}, turns: [{tool_calls: [{name: bash, arguments: {command: ls}}]}, {text: done}]}
default: {text: nothing}
";
    let model = Model::new(script, 0);
    let main = json!({"model": "m", "tools": [{"type": "function"}], "messages": [{"role": "user", "content": [{"type": "text", "text": "go on"}]}]});
    let called = model.whole("t", main.clone()).await.unwrap();
    let calls = called.choices[0].message.tool_calls.as_ref().unwrap();
    assert_eq!(
        (calls[0].function.name.as_str(), calls[0].function.arguments.as_str()),
        ("bash", "{\"command\":\"ls\"}")
    );
    assert_eq!(called.choices[0].finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!(called.choices[0].message.content, None);
    assert_eq!(model.text("t", user("x")).await, "a title");
    assert_eq!(model.text("t", json!({"model": "haiku-9", "messages": []})).await, "small");
    assert_eq!(model.text("t", json!({"model": "m", "messages": []})).await, "nothing");
    assert_eq!(model.text("t", main).await, "done", "side calls eat no turn");
}

#[tokio::test]
async fn what_follows_the_last_turn() {
    let script = |when: &str| {
        format!(
            "tracks: [{{name: main, turns: [{{text: last}}]}}]\nwhen_exhausted: {when}\ndefault: {{text: other}}"
        )
    };
    for (when, then) in [("repeat_last", Some("last")), ("default", Some("other")), ("error", None)] {
        let model = Model::new(&script(when), 2);
        assert_eq!(model.text("t", user("x")).await, "last");
        match then {
            Some(text) => assert_eq!(model.text("t", user("x")).await, text, "{when}"),
            None => {
                let failure = model.whole("t", user("x")).await.unwrap_err();
                assert_eq!(failure.kind, FailureKind::Request);
                assert_eq!(failure.message, "all 1 turns of the track `main` are used up");
                assert_eq!(failure.tries, [], "a used-up script is not asked again");
            }
        }
    }
}

#[tokio::test]
async fn failures_answer_calls_without_taking_the_turn() {
    for (fail, error_type, status) in [
        ("429", "RateLimitError", Some(429)),
        ("500", "InternalServerError", Some(500)),
        ("timeout", "Timeout", None),
        ("garbage", "APIResponseValidationError", None),
        ("drop_mid_stream", "APIConnectionError", None),
    ] {
        let script = format!("tracks: [{{turns: [{{text: after all, fail: {fail}, times: 2}}]}}]");
        let patient = Model::new(&script, 2);
        let answer = patient.answer("t", user("x")).await.unwrap();
        let tries: Vec<_> = answer.tries.iter().map(|t| (t.error_type.as_str(), t.status_code)).collect();
        assert_eq!(tries, [(error_type, status); 2], "{fail}");

        let hasty = Model::new(&script, 1);
        let failure = hasty.whole("t", user("x")).await.unwrap_err();
        assert_eq!((failure.error_type(), failure.tries.len()), (error_type, 1), "{fail}");
        assert_eq!(hasty.text("t", user("x")).await, "after all", "{fail}");
    }
}

#[tokio::test]
async fn a_failure_without_an_answer_is_followed_by_the_next_turn() {
    let model = Model::new("tracks: [{turns: [{fail: 500}, {text: next}]}]", 1);
    assert_eq!(model.text("t", user("x")).await, "next");
}

#[tokio::test]
async fn a_stream_says_the_same_as_the_whole_answer() {
    let script = "tracks: [{turns: [{text: Some text that takes more than a chunk to say., reasoning: because, tool_calls: [{name: f, arguments: '{}'}], usage: {prompt_tokens: 7, completion_tokens: 3, prompt_tokens_details: {cached_tokens: 5}}}]}]\nwhen_exhausted: repeat_last";
    let model = Model::new(script, 0);
    let whole = model.whole("t", user("x")).await.unwrap();
    let mut asked = user("x");
    asked["stream"] = json!(true);
    asked["stream_options"] = json!({"include_usage": true});
    let AnswerBody::Events(mut events) = model.answer("u", asked).await.unwrap().body else { panic!() };
    let mut gathered = Accumulator::default();
    let mut is_done = false;
    while let Some(event) = events.next().await {
        match event.unwrap().kind {
            EventKind::Chunk(chunk) => gathered.add(&chunk),
            EventKind::Done => is_done = true,
            EventKind::Silent => {}
        }
    }
    assert!(is_done);
    let gathered = gathered.finish();
    assert_eq!(gathered.choices[0].message, whole.choices[0].message);
    assert_eq!(gathered.usage, whole.usage);
    assert_eq!(gathered.token_usage().unwrap().total_tokens, 10);
}

#[tokio::test]
async fn a_stream_that_drops_has_said_something_first() {
    let model = Model::new(
        "tracks: [{turns: [{text: A text of more than one chunk of a stream, fail: drop_mid_stream}]}]",
        3,
    );
    let mut asked = user("x");
    asked["stream"] = json!(true);
    let answer = model.answer("t", asked).await.unwrap();
    assert_eq!(answer.tries, []);
    let AnswerBody::Events(events) = answer.body else { panic!() };
    let events: Vec<_> = events.collect().await;
    let (last, said) = events.split_last().unwrap();
    assert_eq!(last.as_ref().unwrap_err().kind, FailureKind::Dropped);
    assert!(said.len() > 1 && said.iter().all(Result::is_ok));
}

#[tokio::test]
async fn without_usage_tokens_are_a_quarter_of_the_bytes() {
    let model = Model::new("tracks: [{turns: [{text: 12345}]}]".replace("12345", "'12345'").as_str(), 0);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    let usage = model.whole("t", body.clone()).await.unwrap().token_usage().unwrap();
    assert_eq!(usage.prompt_tokens as usize, body["messages"].to_string().len().div_ceil(4));
    assert_eq!(usage.completion_tokens, 2);
}
