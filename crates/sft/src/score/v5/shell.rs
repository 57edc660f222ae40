//! What v5 reads out of shell commands and paths: written files, removed files, test runs.
//!
//! These are the score's own text rules, not a shell parser; their oddities are part of the score.

use super::text::{finds, is_blank, pattern, words};
use regex::Regex;
use std::sync::LazyLock;

static RUNS_TESTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"(?ix)
        \b(?: pytest | py\.test | unittest | nosetests | ctest | gtest_filter | jest | mocha | vitest
            | (?: go | cargo | gradlew? ) [\s\x1c-\x1f]+ test
            | mvn [\s\x1c-\x1f]+ (?: test | verify | surefire )
            | (?: npm | yarn | pnpm ) [\s\x1c-\x1f]+ (?: run [\s\x1c-\x1f]+ )? test
            | make [\s\x1c-\x1f]+ (?: test | check )
        )\b
        | \./ [^\s\x1c-\x1f]* (?: _test | test_ )",
    )
});

/// Whether a command runs tests.
pub(super) fn runs_tests(command: &str) -> bool {
    finds(&RUNS_TESTS, command)
}

static CAT: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"\bcat[\s\x1c-\x1f]+[^|]*>[\s\x1c-\x1f]*([^\s\x1c-\x1f]+)"));
static ECHO: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"\b(?:echo|printf)\b"));
static REDIRECT: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r">[\s\x1c-\x1f]*([^\s\x1c-\x1f]+)"));
static TEE: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"\btee[\s\x1c-\x1f]+(?:-[A-Za-z]+[\s\x1c-\x1f]+)*([^\s\x1c-\x1f]+)"));
static SED: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"(?s)\bsed[\s\x1c-\x1f]+-i(?:\.[^\s\x1c-\x1f]+)?[\s\x1c-\x1f]+(.+)"));
static PATCH: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"\bpatch[\s\x1c-\x1f]+(?:-[^\s\x1c-\x1f]*[\s\x1c-\x1f]+)*([^\s\x1c-\x1f]+)"));
static RM: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"\brm[\s\x1c-\x1f]+(.+)"));

fn captured<'a>(pattern: &Option<Regex>, text: &'a str) -> Option<&'a str> {
    pattern.as_ref()?.captures(text)?.get(1).map(|m| m.as_str())
}

/// The files a command writes, as raw tokens.
pub(super) fn written(command: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    if let Some(target) = captured(&CAT, command) {
        targets.push(target);
    } else if finds(&ECHO, command) {
        targets.extend(captured(&REDIRECT, command));
    }
    targets.extend(captured(&TEE, command));
    if let Some(rest) = captured(&SED, command) {
        targets.extend(sed_targets(rest));
    }
    targets.extend(captured(&PATCH, command));
    targets
}

/// What follows the expression of `sed -i`.
fn sed_targets(rest: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    let mut seen_expression = false;
    let mut tokens = words(rest);
    while let Some(token) = tokens.next() {
        if token.starts_with('-') {
            if token == "-e" || token == "-E" {
                tokens.next();
            }
        } else if seen_expression {
            targets.push(token);
        } else {
            seen_expression = token.starts_with(['\'', '"', 's']);
        }
    }
    targets
}

/// The files a command removes, as raw tokens.
pub(super) fn removed(command: &str) -> Vec<&str> {
    captured(&RM, command)
        .map(|rest| words(rest).filter(|t| !t.starts_with('-')).collect())
        .unwrap_or_default()
}

/// The name an action of a text-protocol agent goes by: the first word of its keystrokes without path.
pub(super) fn command_name(keystrokes: &str) -> Option<&str> {
    let word = keystrokes.trim_start_matches(is_blank).split(is_blank).next().filter(|w| !w.is_empty())?;
    word.rsplit('/').next()
}

const PREFIXES: [&str; 4] = ["/workspace/", "/testbed/", "/repo/", "/home/swe-bench/"];

/// A path without its leading work folder, in POSIX normal form.
pub(super) fn normal_path(path: &str) -> String {
    let path = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
    let root = match path.bytes().take_while(|&b| b == b'/').count() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if part != ".." || (root.is_empty() && parts.last().is_none_or(|last| *last == "..")) {
            parts.push(part);
        } else {
            parts.pop();
        }
    }
    let normal = format!("{root}{}", parts.join("/"));
    if normal.is_empty() { ".".to_owned() } else { normal }
}

static TEST_FILE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"(?ix) (?: ^ | / ) (?:
              test_[^/]*\.py | [^/]*_test\.py | tests/[^/]+\.py | conftest\.py
            | [^/]*_test\.go
            | [^/]*_test\.(?: cc | cpp | c ) | test_[^/]*\.(?: cc | cpp | c )
            | tests/[^/]+\.rs | test_[^/]*\.rs
            | [^/]*Test\.java | [^/]*Tests\.java | [^/]*IT\.java
            | [^/]*\.(?: test | spec )\.(?: js | ts | jsx | tsx | mjs | cjs )
        ) $",
    )
});

/// Whether a path has a test file's name.
pub(super) fn is_test_file(path: &str) -> bool {
    finds(&TEST_FILE, path)
}

#[cfg(test)]
mod tests;
