//! The emulator and a real tmux are given the same bytes and the same keys, and have to agree.

use super::emulator::Emulator;
use super::{keys, samples};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use rustix::fs::{CWD, Mode, OFlags};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::process::Command;

const COLUMNS: u16 = 160;
const ROWS: u16 = 40;

/// What is set as title after a stream: when tmux has seen it, it has seen all before it.
const END: &[u8] = b"\x1b]2;end of the stream\x1b\\";

/// How often tmux is asked for the title before it is given up on; the first answers come before it is set.
const QUESTIONS: usize = 10_000;

/// Writes a file to the terminal as it is, and END; then what tmux sends goes to a pipe.
const PROGRAM: &str = "exec 3>sent && stty raw -echo && cat stream && exec cat >&3";

/// The history is as long as the emulator's.
const OPTIONS: &str = "
set-option -g history-limit 10000
set-option -g status off
";

/// A tmux server of its own, with one pane.
struct Tmux {
    folder: tempfile::TempDir,
    sent: File,
}

impl Tmux {
    /// Returns when tmux has read all of `stream`.
    fn show(stream: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("stream"), [stream, END].concat()).unwrap();
        std::fs::write(folder.path().join("options"), OPTIONS).unwrap();
        let pipe = folder.path().join("sent");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        // Opened before there is a writer, and read when there is one.
        let sent = rustix::fs::open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        let tmux = Self { folder, sent: File::from(sent) };
        let (columns, rows) = (COLUMNS.to_string(), ROWS.to_string());
        tmux.run(&["new-session", "-d", "-x", &columns, "-y", &rows, "sh", "-c", PROGRAM]);
        // Should the program fail, its session ends, the server with it, and there is no answer.
        let title = || tmux.run(&["display-message", "-p", "#{pane_title}"]);
        let ended = (0..QUESTIONS).any(|_| title() == "end of the stream\n");
        assert!(ended, "tmux does not come to the end of the stream");
        let flags = rustix::fs::fcntl_getfl(&tmux.sent).unwrap();
        rustix::fs::fcntl_setfl(&tmux.sent, flags - OFlags::NONBLOCK).unwrap();
        tmux
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        command.args(["-u", "-f", "options", "-S", "socket"]);
        command
    }

    fn run(&self, words: &[&str]) -> String {
        let done = self.command().args(words).output().expect("tmux must be installed");
        assert!(done.status.success(), "tmux: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn text(&self, history: bool) -> String {
        if history { self.run(&["capture-pane", "-p", "-S", "-"]) } else { self.run(&["capture-pane", "-p"]) }
    }

    /// What the program is sent, up to `end`, which is left out.
    fn sent_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        while !sent.ends_with(end) {
            let mut byte = [0];
            self.sent.read_exact(&mut byte).unwrap();
            sent.extend(byte);
        }
        sent.truncate(sent.len() - end.len());
        sent
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Without a server there is nothing to end.
        let _ = self.command().arg("kill-server").output();
    }
}

fn emulator(stream: &[u8]) -> Emulator {
    let mut emulator = Emulator::new(COLUMNS, ROWS);
    emulator.feed(stream);
    emulator.feed(END);
    emulator
}

/// Where two texts first differ.
fn difference(ours: &str, theirs: &str) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.lines().collect(), theirs.lines().collect());
    let mut told = format!("{} lines, tmux has {}\n", ours.len(), theirs.len());
    let line = (0..).find(|&line| ours.get(line) != theirs.get(line))?;
    for (who, lines) in [("trajgen", &ours), ("tmux", &theirs)] {
        let _ = writeln!(told, "{:>9} line {line}: {:?}", who, lines.get(line));
    }
    Some(told)
}

/// The differences between what the emulator and tmux make of a stream.
fn compare(name: &str, stream: &[u8]) -> Vec<String> {
    let mut tmux = Tmux::show(stream);
    let mut ours = emulator(stream);
    let mut differences = Vec::new();
    for (what, history) in [("screen", false), ("history", true)] {
        let found = difference(&ours.text(history), &tmux.text(history));
        differences.extend(found.map(|difference| format!("{name}, {what}: {difference}")));
    }
    tmux.run(&["send-keys", "-l", "<end>"]);
    let (answers, theirs) = (ours.take_answers(), tmux.sent_until(b"<end>"));
    // tmux 3.3 gives its size the wrong way round.
    let theirs = String::from_utf8_lossy(&theirs).replace("[8;160;40t", "[8;40;160t").into_bytes();
    if answers != theirs {
        let (ours, theirs) = (answers.escape_ascii(), theirs.escape_ascii());
        differences.push(format!("{name}, answers: {ours}\n{:>9} {theirs}\n", "tmux"));
    }
    differences
}

#[test]
fn recorded_streams_give_the_captures_of_tmux() {
    let mut differences = Vec::new();
    for (name, stream) in samples::recorded() {
        differences.extend(compare(&name, &stream));
    }
    assert!(differences.is_empty(), "{}", differences.concat());
}

/// The same sequences in every run.
#[test]
fn made_up_streams_give_the_captures_of_tmux() {
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let chance = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, chance);
    let checked = runner.run(&samples::sequences(), |sequences| {
        let differences = compare("made up", sequences.concat().as_bytes());
        if differences.is_empty() { Ok(()) } else { Err(TestCaseError::fail(differences.concat())) }
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// As many lines as make the history drop its oldest ones.
#[test]
fn a_full_history_is_cut_as_in_tmux() {
    for count in [10_038, 10_039, 10_040, 11_500] {
        let lines: String = (0..count).map(|line| format!("line {line}\r\n")).collect();
        assert_eq!(compare(&format!("{count} lines"), lines.as_bytes()), Vec::<String>::new());
    }
}

/// A semicolon at the end of a word would end tmux's command.
fn escaped(word: &str) -> String {
    word.strip_suffix(';').map_or_else(|| word.to_owned(), |start| format!("{start}\\;"))
}

#[test]
fn keys_are_sent_as_tmux_sends_them() {
    let plain = "Up Down Left Right Home End IC Insert DC Delete PPage PageUp PgUp NPage PageDown PgDn \
        F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 BTab Tab Enter Escape BSpace Space";
    let keypad = "KP/ KP* KP- KP+ KPEnter KP. KP0 KP1 KP2 KP3 KP4 KP5 KP6 KP7 KP8 KP9";
    let with: Vec<String> =
        ["C-", "M-", "S-", "C-M-", "M-C-", "C-S-", "M-S-", "C-M-S-", "^", "c-", "m-", "s-"]
            .iter()
            .flat_map(|modifier| {
                let characters =
                    (' '..='~').map(String::from).chain(["\u{e9}".to_owned(), "\u{65e5}".to_owned()]);
                let names = plain.split_whitespace().chain(keypad.split_whitespace()).map(str::to_owned);
                characters.chain(names).map(move |key| format!("{modifier}{key}"))
            })
            .collect();
    let text = "C- M- C-cc C-Entr C-M X-c enter ENTER cTrl-c ^ ^^ - -- C-- C-M-- hello UP up F0 F13 F20 Any None \
        Entera \u{65e5}\u{672c} C-^ KP KPA Mouse";
    let with = with.iter().map(String::as_str);
    let names: Vec<&str> = plain
        .split_whitespace()
        .chain(keypad.split_whitespace())
        .chain(with)
        .chain(text.split_whitespace())
        .collect();
    for (mode, application) in [("\x1b[?1l", false), ("\x1b[?1h", true)] {
        let mut tmux = Tmux::show(mode.as_bytes());
        assert_eq!(emulator(mode.as_bytes()).application_cursor_keys(), application);
        let mut differences = String::new();
        for some in names.chunks(100) {
            // Between two keys a text that is none.
            let typed: Vec<String> =
                some.iter().flat_map(|name| [escaped(name), "<end>".to_owned()]).collect();
            let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
            tmux.run(&[&["send-keys", "--"], typed.as_slice()].concat());
            for name in some {
                let (ours, theirs) = (keys::encode(name, application), tmux.sent_until(b"<end>"));
                if ours != theirs {
                    let (ours, theirs) = (ours.escape_ascii(), theirs.escape_ascii());
                    let _ = writeln!(differences, "{name}, {application}: trajgen {ours}, tmux {theirs}");
                }
            }
        }
        assert!(differences.is_empty(), "{differences}");
    }
}
