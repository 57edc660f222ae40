//! The only place that writes to standard output and standard error.
#![expect(clippy::print_stderr, reason = "this is where the program speaks")]

use std::io::IsTerminal;

/// Prints a line of results to standard output. A closed pipe ends the program quietly.
pub fn out(text: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints a value as JSON, for `--json`.
pub fn out_json<T: serde::Serialize>(value: &T) {
    out(serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Prints a note to people on standard error.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Prints an error to people.
pub fn error(text: impl std::fmt::Display) {
    eprintln!("error: {text}");
}

/// Prints a warning to people.
pub fn warning(text: impl std::fmt::Display) {
    eprintln!("warning: {text}");
}

/// Whether people watch.
pub fn is_live() -> bool {
    std::io::stderr().is_terminal()
}
