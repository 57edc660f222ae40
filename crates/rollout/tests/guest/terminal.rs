use crate::helper::start;
use std::collections::BTreeMap;
use trajgen_contract::outcome::ErrorType;
use trajgen_rollout::environment::{Exec, Terminal, TerminalSpec};
use trajgen_rollout::guest::Guest;

async fn open(guest: &Guest, argv: &[&str]) -> Box<dyn Terminal> {
    let env = [("TERM", "xterm-256color"), ("PS1", "$ "), ("LC_ALL", "C.UTF-8")];
    let spec = TerminalSpec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        user: None,
        cwd: Some("/usr".into()),
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        size: (160, 40),
    };
    guest.terminal(spec).await.unwrap()
}

const SHELL: [&str; 3] = ["bash", "--norc", "--noprofile"];

/// Waits until the screen holds `text`; fails with what it shows when that takes forever.
async fn until(terminal: &dyn Terminal, text: &str) -> String {
    let began = std::time::Instant::now();
    loop {
        let screen = terminal.screen().await.unwrap();
        if screen.contains(text) {
            return screen;
        }
        assert!(began.elapsed().as_secs() < 60, "no {text:?} in {}", screen.trim_end());
    }
}

#[tokio::test]
async fn a_shell_is_driven_by_keys() {
    let helper = start().await;
    let terminal = open(&helper.guest, &SHELL).await;
    until(&*terminal, "$\n").await;
    terminal.send_keys("pwd; tty; stty size; echo $TERM $HOME\n").await.unwrap();
    let screen = until(&*terminal, "xterm-256color /root").await;
    assert!(screen.contains("\n/usr\n/dev/pts/") && screen.contains("\n40 160\n"), "{screen}");
    assert_eq!(screen.matches('\n').count(), 40);
    terminal.send_keys("echo ready; cat").await.unwrap();
    terminal.send_keys("Enter").await.unwrap();
    // From here on the line is edited by the terminal, no longer by the shell.
    until(&*terminal, "\nready\n").await;
    terminal.send_keys("Enter the text\n").await.unwrap();
    until(&*terminal, "Enter the text\nEnter the text\n").await;
    terminal.send_keys("C-c").await.unwrap();
    until(&*terminal, "^C\n$").await;
    terminal.send_keys("seq 1 100\n").await.unwrap();
    let screen = until(&*terminal, "\n100\n$").await;
    assert!(!screen.contains("\n50\n"));
    assert!(terminal.history().await.unwrap().contains("\n50\n51\n"));
    assert!(terminal.is_alive().await.unwrap());
    terminal.send_keys("exit\n").await.unwrap();
    while terminal.is_alive().await.unwrap() {}
    assert!(terminal.send_keys("more").await.is_err());
    assert!(terminal.screen().await.unwrap().contains("exit"));
}

#[tokio::test]
async fn a_frozen_terminal_takes_no_keys_and_stays_open() {
    let helper = start().await;
    let marker = helper.folder.path().join("goes-on");
    {
        let terminal = open(&helper.guest, &SHELL).await;
        let line = format!("(until [ -e {0}.go ]; do sleep 0.01; done; echo x > {0}) &\n", marker.display());
        terminal.send_keys(&line).await.unwrap();
        until(&*terminal, "[1]").await;
        terminal.freeze().await.unwrap();
        let error = terminal.send_keys("echo hello\n").await.unwrap_err();
        assert!(error.message.contains("no more keys"), "{error}");
        assert!(terminal.is_alive().await.unwrap());
    }
    std::fs::write(marker.with_extension("go"), "").unwrap();
    while !marker.exists() {
        helper.guest.exec(Exec::shell("true")).await.unwrap();
    }
}

#[tokio::test]
async fn a_flood_in_a_terminal_blocks_nobody_and_is_bounded() {
    let helper = start().await;
    let terminal = open(&helper.guest, &SHELL).await;
    terminal.send_keys("yes 0123456789 | head -n 2000000; echo the flood is over\n").await.unwrap();
    for _ in 0..5 {
        assert!(helper.guest.exec(Exec::shell("true")).await.unwrap().success());
    }
    until(&*terminal, "\nthe flood is over\n").await;
    let history = terminal.history().await.unwrap();
    assert!((9_000..=10_040).contains(&history.lines().count()), "{}", history.lines().count());
}

#[tokio::test]
async fn arrow_keys_follow_the_programs_mode_and_questions_are_answered() {
    let helper = start().await;
    let line = "stty raw -echo; printf 'ask\\033[6n'; head -c 6 | od -An -c; printf '\\033[?1happ'; \
        head -c 3 | od -An -c; printf '\\033[?1lnorm'; head -c 3 | od -An -c; echo done";
    let terminal = open(&helper.guest, &["bash", "-c", line]).await;
    until(&*terminal, "app").await;
    terminal.send_keys("Up").await.unwrap();
    until(&*terminal, "norm").await;
    terminal.send_keys("Up").await.unwrap();
    let screen = until(&*terminal, "done").await;
    for answer in ["033   [   1   ;   4   R", "033   O   A", "033   [   A"] {
        assert!(screen.contains(answer), "{answer} in {screen}");
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_said() {
    let helper = start().await;
    let spec = TerminalSpec {
        argv: vec!["no-such-shell".into()],
        user: None,
        cwd: None,
        env: BTreeMap::new(),
        size: (80, 24),
    };
    let error = helper.guest.terminal(spec).await.err().unwrap();
    assert_eq!(error.kind, ErrorType::EnvironmentBuildError);
    assert!(error.message.contains("no-such-shell"), "{error}");
}

#[tokio::test]
async fn a_terminal_runs_as_the_user_asked_for_and_owns_its_device() {
    let helper = start().await;
    let spec = TerminalSpec {
        argv: vec!["bash".into(), "-c".into(), "id -u; echo ok > $(tty); read".into()],
        user: Some("daemon".into()),
        cwd: None,
        env: BTreeMap::new(),
        size: (80, 24),
    };
    let terminal = helper.guest.terminal(spec).await.unwrap();
    let screen = until(&*terminal, "ok").await;
    assert!(screen.starts_with("1\nok\n"), "{screen}");
}
