//! docs/commands.md is what the binary itself says.

#![expect(clippy::unwrap_used, reason = "preparations of tests: what fails fails the test")]

use std::process::Command;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");
const HOW: &str = "UPDATE_DOCS=1 cargo test -p trajgen --test commands_reference";

fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_trajgen"))
        .args(words)
        .arg("--help")
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names below a `Commands:` heading.
fn commands(help: &str) -> Vec<&str> {
    let (_, rest) = help.split_once("\nCommands:\n").unwrap_or_default();
    let listed = rest.lines().take_while(|line| !line.is_empty());
    // Further lines of a description are indented deeper.
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

fn section(text: &mut String, words: &[&str]) {
    let help = help(words);
    let name = ["trajgen"].iter().chain(words).copied().collect::<Vec<_>>().join(" ");
    text.push_str(&format!("\n## {name}\n\n```\n{}\n```\n", help.trim_end()));
    for command in commands(&help) {
        let below: Vec<&str> = words.iter().copied().chain([command]).collect();
        section(text, &below);
    }
}

#[test]
fn the_reference_of_commands_is_current() {
    let mut text = format!("# Commands\n\n<!-- Generated from the binary's own help: {HOW} -->\n");
    section(&mut text, &[]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, &text).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(written == text, "docs/commands.md is not what the binary says: {HOW}");
}
