//! The same agent on a real tmux.

use crate::Bench;
use crate::model::{Answer, reply, says};
use serde_json::json;
use trajgen_contract::outcome::ErrorType;

fn types(keys: &str) -> Answer {
    says(reply(&[(keys, 0.02)], false))
}

#[tokio::test]
async fn a_session_in_tmux_from_prompt_to_exit() {
    let long = format!("cat > long <<'END'\n{}END\necho wrote $((40 + 2))\n", "0123456789\n".repeat(2_000));
    let bench = Bench::new(
        json!({"terminal": "tmux"}),
        [
            types("stty size; echo $TERM\n"),
            Answer::AfterSeeing("40 160\nxterm-256color\n"),
            types("sleep 1000\n"),
            types("C-c"),
            Answer::AfterSeeing("^C"),
            types("echo semi;"),
            types("Enter"),
            Answer::AfterSeeing("\nsemi\n"),
            types(&long),
            Answer::AfterSeeing("wrote 42"),
            types("exit\n"),
            says("the run should be over"),
        ],
    )
    .await;
    let mut exits = bench.run().await.unwrap().exit_reason;
    // The shell may take longer to end than the last turn waits.
    if exits != "session_gone" {
        exits = format!("{exits}: {:?}", bench.model.last_messages().last());
    }
    assert_eq!(exits, "session_gone");
    let long = std::fs::read_to_string(bench.folder.path().join("home/long")).unwrap();
    assert_eq!(long, "0123456789\n".repeat(2_000));
    let told = bench.model.last_messages();
    assert!(told[0].contains("Current Terminal Screen:\n$\n"), "{}", told[0]);
    bench.record();
}

#[tokio::test]
async fn a_frozen_session_takes_no_keys() {
    let bench =
        Bench::new(json!({"terminal": "tmux", "max_turns": 1}), [types("true\n"), types("exit\n")]).await;
    bench.run().await.unwrap();
    bench.agent.disarm(&bench.context).await;
    let failure = bench.agent.run(&bench.context).await.unwrap_err();
    assert_eq!(failure.kind, ErrorType::AgentError);
    assert!(failure.message.contains("no more keys"), "{failure}");
}
