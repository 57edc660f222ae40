//! What people see on a terminal, by an emulator of one.

use crate::support::{Small, command, typing, write};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

struct Watched {
    code: i32,
    /// Every screen that was to be seen, in order.
    screens: Vec<String>,
    /// The last one, with what had scrolled off before it.
    last: String,
}

/// Runs the binary on a terminal of eighty columns, at which somebody has typed.
fn watch(dir: &Path, args: &[&str], typed: &str) -> Watched {
    let (rows, columns) = (50, 80);
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = std::ffi::OsString::from_vec(ptsname(&master, Vec::new()).unwrap().into_bytes());
    let slave = File::options().read(true).write(true).open(name).unwrap();
    let mut command = command(dir, args);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
    let mut child = command.spawn().unwrap();
    // The child alone holds the other side now, so that its end is the end of what is read.
    drop(command);
    let mut parser = vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0);
    let mut screens: Vec<String> = Vec::new();
    let mut master = File::from(master);
    master.write_all(typed.as_bytes()).unwrap();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = master.read(&mut buffer) {
        parser.process(&buffer[..n]);
        let screen = shown(&parser);
        if screens.last() != Some(&screen) {
            screens.push(screen);
        }
    }
    let code = child.wait().unwrap().code().unwrap();
    Watched { code, screens, last: shown(&parser) }
}

/// The rows of a screen. (Its `contents` are joined where a row is full.)
fn shown(parser: &vt100::Parser) -> String {
    let (_, columns) = parser.screen().size();
    let rows: Vec<_> = parser.screen().rows(0, columns.into()).collect();
    rows.join("\n")
}

/// The figures below the bar, wherever they were to be seen whole.
fn figures(screens: &[String]) -> Vec<(String, String)> {
    let of = |screen: &String| {
        let lines: Vec<_> = screen.lines().collect();
        let at = lines.iter().position(|line| line.contains(" running, "))?;
        let bar = lines.get(at.checked_sub(1)?)?;
        let spent = lines.get(at + 1)?;
        let whole = bar.contains('/') && spent.contains("ETA");
        whole.then(|| (lines[at].trim().to_owned(), spent.trim().to_owned()))
    };
    screens.iter().filter_map(of).collect()
}

#[test]
fn a_live_view_shows_how_the_job_stands() {
    let small = Small::with(&["alpha", "beta", "gamma"]);
    small.configured(&[
        ("harbor_job.n_concurrent", "1"),
        ("llm_api.input_cost_per_token", "0.01"),
        ("llm_api.output_cost_per_token", "0.01"),
    ]);
    write(&small.source().join("beta/tests/test.sh"), "#!/bin/bash\ntrue\n");
    let mut model = typing(&["touch done"]);
    // Long enough for each trial to be seen.
    model["tracks"][0]["turns"][1]["delay_ms"] = 1500.into();
    small.plays("default", &model);
    let seen = watch(small.path(), &["run"], "");
    assert_eq!(seen.code, 0, "{}", seen.last);

    let figures = figures(&seen.screens);
    let trials: Vec<_> = figures.iter().map(|(trials, _)| trials.as_str()).collect();
    for stand in [
        "1 running, 0 done, 0 failed, mean reward -",
        "1 running, 1 done, 0 failed, mean reward 1.00",
        "1 running, 2 done, 1 failed, mean reward 0.50",
    ] {
        assert!(trials.contains(&stand), "'{stand}' is not among {trials:#?}");
    }
    let (_, first) = &figures[0];
    assert!(first.ends_with("ETA -"), "{first}");
    let (_, last) = figures.last().unwrap();
    let [tokens, cost, eta] = last.split(", ").collect::<Vec<_>>()[..] else { panic!("{last}") };
    assert!(tokens.ends_with("k tokens"), "{last}");
    assert!(cost.starts_with("cost ") && cost.ends_with(" USD") && cost != "cost 0.00 USD", "{last}");
    assert!(eta.starts_with("ETA ") && eta.ends_with(" s"), "{last}");

    // At the end: what ended stays, the bar is gone, and a table says where everything is.
    assert!(!seen.last.contains("ETA"), "{}", seen.last);
    for part in [
        "ended after",
        "RewardFileNotFoundError",
        "trials  3 of 3 over, 1 errored",
        "mean reward  0.667 (2 resolved)",
        "trajectories  artifacts/jobs/mini-terminus-2-",
        "training data  artifacts/sft_data/mini-terminus-2-",
        "report  artifacts/archives/run_001/monitor.md",
    ] {
        assert!(seen.last.contains(part), "'{part}' is not in\n{}", seen.last);
    }
    let widest = seen.screens.iter().flat_map(|screen| screen.lines()).map(|l| l.chars().count()).max();
    assert!(widest <= Some(80));
}

#[test]
fn a_pipe_gets_plain_lines() {
    let small = Small::with(&["alpha"]);
    let ended = small.trajgen(&["run"]).well();
    ended.complains("run_001 runs job mini-terminus-2-").complains("[1/1] alpha__");
    assert!(!ended.err.contains('\u{1b}') && !ended.err.contains('\r') && !ended.out.contains('\u{1b}'));
    for line in ended.err.lines().filter(|line| line.contains("alpha__")) {
        assert!(line.as_bytes()[2] == b':' && line.as_bytes()[5] == b':', "{line}");
    }
    // With --json, standard output is the closing report and nothing else.
    let report = small.trajgen(&["run", "--rerun", "all", "--json"]).well().json();
    assert_eq!((&report["run"], &report["exit_code"]), (&"run_002".into(), &0.into()));
    assert_eq!(report["results"]["mean_reward"], 1.0);
    for field in ["job_dir", "sft_dir", "archive"] {
        assert!(Path::new(report[field].as_str().unwrap()).is_dir(), "{report}");
    }
}

#[test]
fn a_purge_asks_twice() {
    let small = Small::with(&["alpha"]);
    small.trajgen(&["prepare"]).well();
    let before = small.tree();
    for typed in ["n\n", "y\nn\n", "\n"] {
        let seen = watch(small.path(), &["clean", "--purge"], typed);
        assert_eq!(seen.code, 2, "{}", seen.last);
        assert!(seen.last.contains("not confirmed; nothing was removed"), "{}", seen.last);
        assert_eq!(small.tree(), before);
    }
    let seen = watch(small.path(), &["clean", "--purge"], "y\ny\n");
    assert_eq!(seen.code, 0, "{}", seen.last);
    assert_eq!(seen.last.matches("[y/N]").count(), 2, "{}", seen.last);
    assert_eq!(crate::support::names(&small.path().join("artifacts")), [".lock"]);
}
