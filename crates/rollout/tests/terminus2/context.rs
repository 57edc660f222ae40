//! Conversations that outgrow the model.

use crate::model::{fails, reply, says, with_usage};
use crate::{Bench, without_times};
use serde_json::json;
use trajgen_contract::atif::{Source, Trajectory};
use trajgen_contract::outcome::ErrorType;

fn idle() -> String {
    reply(&[("true\n", 0.0)], false)
}

const PARTS: [&str; 3] = ["summary", "questions", "answers"];

#[tokio::test]
async fn a_conversation_is_summarised_before_it_is_too_long() {
    let bench = Bench::new(
        json!({"max_turns": 3, "model_info": {"max_input_tokens": 20_000}}),
        [
            with_usage(idle(), 1_000, 10),
            with_usage(idle(), 11_990, 10),
            says("the summary"),
            says("the questions"),
            says("the answers"),
            says(idle()),
        ],
    )
    .await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.metadata["summarization_count"], 1);
    assert_eq!(bench.model.left(), 0);

    let asked = bench.model.asked();
    let lengths: Vec<usize> = asked.iter().map(|body| body["messages"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [1, 3, 5, 1, 7, 4]);
    let after = &asked[5]["messages"];
    assert_eq!(after[0], asked[0]["messages"][0]);
    assert_eq!(after[1], asked[3]["messages"][0]);
    assert_eq!(after[2], json!({"role": "assistant", "content": "the questions"}));
    let told = bench.model.last_messages();
    assert!(told[2].contains("Greet the world."), "{}", told[2]);
    for part in ["Greet the world.", "the summary", "$ true"] {
        assert!(told[3].contains(part), "{}", told[3]);
    }
    assert!(told[4].contains("the questions") && told[5].contains("the answers"));

    let record = bench.record();
    let sources: Vec<Source> = record.steps.iter().map(|step| step.source).collect();
    assert_eq!(
        sources,
        [Source::User, Source::Agent, Source::Agent, Source::System, Source::User, Source::Agent]
    );
    let references =
        record.steps[3].observation.as_ref().unwrap().results[0].subagent_trajectory_ref.as_ref();
    let named: Vec<_> =
        references.unwrap().iter().map(|reference| reference.trajectory_path.clone().unwrap()).collect();
    assert_eq!(named, PARTS.map(|part| format!("trajectory.summarization-1-{part}.json")));
    insta::assert_json_snapshot!("summarised", without_times(&record));
    for part in PARTS {
        let part_of =
            Trajectory::read(&bench.file(&format!("trajectory.summarization-1-{part}.json"))).unwrap();
        insta::assert_json_snapshot!(format!("summarised_{part}"), without_times(&part_of));
    }
}

#[tokio::test]
async fn an_early_summary_that_fails_changes_nothing() {
    let bench = Bench::new(
        json!({"max_turns": 2, "model_info": {"max_input_tokens": 20_000}}),
        [with_usage(idle(), 15_000, 10), says("the summary"), fails(503, ""), says(idle())],
    )
    .await;
    bench.run().await.unwrap();
    let told = bench.model.last_messages();
    assert!(told[3].starts_with("New Terminal Output:"), "{}", told[3]);
    assert_eq!(bench.record().steps.len(), 3);
}

#[tokio::test]
async fn what_concerns_money_or_the_record_is_not_passed_over() {
    for (code, kind) in
        [("trial_limit", ErrorType::TrialLimitError), (trajgen_proxy::CAPTURE_ERROR, ErrorType::CaptureError)]
    {
        let answers = [with_usage(idle(), 15_000, 10), fails(500, code), says(idle())];
        let bench = Bench::new(json!({"model_info": {"max_input_tokens": 20_000}}), answers).await;
        assert_eq!(bench.run().await.unwrap_err().kind, kind);
        assert_eq!(bench.model.left(), 1);
    }
}

#[tokio::test]
async fn early_summaries_can_be_turned_off() {
    for kwargs in [
        json!({"max_turns": 2, "enable_summarize": false, "model_info": {"max_input_tokens": 20_000}}),
        json!({"max_turns": 2, "proactive_summarization_threshold": 0, "model_info": {"max_input_tokens": 20_000}}),
    ] {
        let bench = Bench::new(kwargs, [with_usage(idle(), 19_000, 10), says(idle())]).await;
        bench.run().await.unwrap();
        assert_eq!(bench.model.asked().len(), 2);
    }
}

#[tokio::test]
async fn a_conversation_that_is_too_long_loses_its_end_and_is_summarised() {
    let bench = Bench::new(
        json!({"max_turns": 5}),
        [
            with_usage(idle(), 1_000, 10),
            with_usage(idle(), 30_000, 10),
            with_usage(idle(), 32_000, 10),
            fails(400, "context_length_exceeded"),
            says("the summary"),
            says("the questions"),
            says("the answers"),
            with_usage(idle(), 26_000, 10),
            says(idle()),
        ],
    )
    .await;
    bench.run().await.unwrap();
    let asked = bench.model.asked();
    let lengths: Vec<usize> = asked.iter().map(|body| body["messages"].as_array().unwrap().len()).collect();
    // 32,010 tokens and the prompt do not fit; without the latest two exchanges 4,000 are free.
    // What was learned about the model's size then leads to no early summary later.
    assert_eq!(lengths, [1, 3, 5, 7, 3, 1, 5, 4, 6]);
    let summary = Trajectory::read(&bench.file("trajectory.summarization-1-summary.json")).unwrap();
    let copied = summary.steps.iter().filter(|step| step.is_copied_context == Some(true)).count();
    assert_eq!((copied, summary.steps.len()), (2, 4));
}

#[tokio::test]
async fn when_the_summary_fails_a_short_one_and_then_none_will_do() {
    let too_long = || fails(400, "context_length_exceeded");
    let cases = [
        (vec![too_long(), says("In short, all is well.")], "In short, all is well."),
        (vec![too_long(), fails(500, "")], "The end of the terminal's screen:"),
        (vec![says("  "), fails(500, "")], "The end of the terminal's screen:"),
    ];
    for (between, expected) in cases {
        let mut answers = vec![says(idle()), too_long()];
        answers.extend(between);
        answers.push(says(idle()));
        let bench = Bench::new(json!({"max_turns": 2}), answers).await;
        bench.run().await.unwrap();
        let told = bench.model.last_messages();
        let last = told.last().unwrap();
        assert!(last.contains("Greet the world.") && last.contains(expected), "{last}");
        let record = bench.record();
        assert_eq!(record.steps[2].message.text(), *last);
        assert_eq!(record.steps.len(), 4);
    }
}

#[tokio::test]
async fn a_conversation_that_is_still_too_long_is_begun_anew() {
    let too_long = || fails(400, "context_length_exceeded");
    let answers = [
        with_usage(idle(), 1_000, 10),
        with_usage(idle(), 30_000, 10),
        too_long(),
        too_long(),
        too_long(),
        too_long(),
        says(idle()),
    ];
    let bench = Bench::new(json!({"max_turns": 3}), answers).await;
    bench.run().await.unwrap();
    let last = bench.model.asked().pop().unwrap();
    assert_eq!(last["messages"].as_array().unwrap().len(), 2);

    let bench = Bench::new(json!({}), (0..9).map(|_| too_long())).await;
    let failure = bench.run().await.unwrap_err();
    assert_eq!(failure.kind, ErrorType::AgentError);
    assert!(failure.message.contains("does not fit the model"), "{failure}");
    assert_eq!(bench.model.left(), 7);
}

#[tokio::test]
async fn without_summaries_a_conversation_that_is_too_long_is_an_error() {
    let answers = [says(idle()), fails(400, "context_length_exceeded"), says(idle())];
    let bench = Bench::new(json!({"enable_summarize": false}), answers).await;
    assert_eq!(bench.run().await.unwrap_err().kind, ErrorType::AgentError);
    assert_eq!((bench.model.left(), bench.files()), (1, vec!["trajectory.json".to_owned()]));
}
