//! Processes of their own that tests start: this test program again, with a role to play.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

const ROLE: &str = "TRAJGEN_SANDBOX_ROLE";

/// Not a test of its own: where [`start`] leads.
#[test]
fn role() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    let mut lines = std::io::stdin().lines().map(Result::unwrap);
    let words: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let play = async {
        match role.to_str().unwrap() {
            "searcher" => crate::view::searcher(&words).await,
            "victim" => crate::sweep::victim(&words).await,
            "ordinary" => crate::ordinary_user::ordinary(&words).await,
            other => panic!("there is no role {other}"),
        }
    };
    tokio::runtime::Runtime::new().unwrap().block_on(play);
}

/// Says something to who started this process, on lines of its own.
#[expect(clippy::print_stdout, reason = "there is no other way out of a test")]
pub fn say(text: &str) {
    println!("\n{text}");
}

/// Prepares a process that plays `role`.
pub fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    prepare(&mut command, role);
    command
}

pub fn prepare(command: &mut Command, role: &str) {
    command.args(["--exact", "roles::role", "--nocapture"]).env(ROLE, role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
}

/// Starts it and tells it `words`.
pub fn start(mut command: Command, words: &[&str]) -> Child {
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}\n", words.join("\n")).unwrap();
    child.stdin = Some(input);
    child
}

/// Lets it play to its end, which must be a good one.
pub fn play(command: Command, words: &[&str]) -> String {
    let output = start(command, words).wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}
