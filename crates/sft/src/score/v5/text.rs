//! Text rules of v5 that its parts share: blanks, words, error patterns, keywords.
//!
//! The rules were set by a Python program: `\s` and `split()` there also take U+001C to U+001F for blank.

use indexmap::IndexMap;
use regex::Regex;
use std::collections::HashSet;
use std::sync::LazyLock;

/// How many characters of an observation are searched for errors.
const ERROR_WINDOW: usize = 3000;
/// How many characters keywords are taken from.
const KEYWORD_WINDOW: usize = 5000;

/// A pattern of this module. All are literals that a test compiles, so a wrong one cannot ship.
pub(super) fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

/// Whether the pattern is found; a pattern that did not compile finds nothing.
pub(super) fn finds(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|p| p.is_match(text))
}

/// The first `n` characters.
pub(super) fn head(text: &str, n: usize) -> &str {
    text.char_indices().nth(n).map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

/// What separates words.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Blank-separated words.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_blank).filter(|w| !w.is_empty())
}

static HARD_ERROR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"command not found|Permission denied|(?i:exit code)[:\s\x1c-\x1f]+[1-9]|returned non-zero exit status|<tool_use_error>|The arguments provided to the tool are invalid",
    )
});

static SOFT_ERROR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"Traceback \(most recent call last\)|\b(?:(?:Syntax|Type|Value|Key|Index|Attribute|Import|ModuleNotFound|FileNotFound|Name|Runtime|OS|IO|Permission|ZeroDivision|NotImplemented|Recursion|Assertion|UnicodeDecode)Error|StopIteration)\b|No such file or directory|\bFAILED\b",
    )
});

/// Whether an observation is an error; soft patterns count only when its call did not run tests.
pub(super) fn is_error(observation: &str, ran_tests: bool) -> bool {
    let text = head(observation, ERROR_WINDOW);
    finds(&HARD_ERROR, text) || (!ran_tests && finds(&SOFT_ERROR, text))
}

const STOP_LIST: &str = "this that with from were been being have does will would could should might your each \
every some more most other into over such than very just about also then them they their there these those what \
which whom when where true false none null return import class self print file line name type function value string \
number args kwargs param result output input default config options settings";

static STOP: LazyLock<HashSet<&'static str>> = LazyLock::new(|| STOP_LIST.split(' ').collect());

static IDENTIFIER: LazyLock<Option<Regex>> = LazyLock::new(|| pattern("[A-Za-z_][A-Za-z0-9_]{3,}"));

/// The `most` most frequent keywords of the text's first 5000 characters, ties by first appearance.
pub(super) fn keywords(text: &str, most: usize) -> Vec<String> {
    let mut counts: IndexMap<String, usize> = IndexMap::new();
    if let Some(identifier) = IDENTIFIER.as_ref() {
        for found in identifier.find_iter(head(text, KEYWORD_WINDOW)) {
            let word = found.as_str().to_ascii_lowercase();
            if !STOP.contains(word.as_str()) {
                *counts.entry(word).or_default() += 1;
            }
        }
    }
    counts.sort_by(|_, a, _, b| b.cmp(a));
    counts.into_keys().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert!(HARD_ERROR.is_some() && SOFT_ERROR.is_some() && IDENTIFIER.is_some());
    }

    #[test]
    fn hard_errors_count_whatever_the_call_did() {
        for text in [
            "bash: foo: command not found",
            "Permission denied",
            "EXIT CODE: 1",
            "exit code \n: 2",
            "Exit code:9",
            "returned non-zero exit status",
            "<tool_use_error>x",
            "The arguments provided to the tool are invalid",
        ] {
            assert!(is_error(text, true), "{text}");
        }
        for text in ["exit code 0", "exit code1", "exit code: 01", "permission denied", "Exit code = 1"] {
            assert!(!is_error(text, false), "{text}");
        }
    }

    #[test]
    fn soft_errors_do_not_count_when_tests_ran() {
        for text in [
            "Traceback (most recent call last):",
            "ValueError: x",
            "builtins.KeyError",
            "StopIteration",
            "No such file or directory",
            "2 FAILED",
        ] {
            assert!(is_error(text, false), "{text}");
            assert!(!is_error(text, true), "{text}");
        }
        for text in ["MyValueError", "ValueErrors", "FAILED_x", "failed", "ConnectionError", "valueerror"] {
            assert!(!is_error(text, false), "{text}");
        }
    }

    #[test]
    fn errors_beyond_3000_characters_are_not_seen() {
        let text = format!("{}Permission denied", "é".repeat(3000 - 17));
        assert!(is_error(&text, false));
        assert!(!is_error(&format!("x{text}"), false));
    }

    #[test]
    fn keywords_are_runs_without_word_boundary_and_ties_keep_their_order() {
        assert_eq!(keywords("9foo_bar Zeta_1 zeta_1 abc éabcd this", 10), ["zeta_1", "foo_bar", "abcd"]);
        assert_eq!(keywords("bbbb aaaa bbbb cccc aaaa", 2), ["bbbb", "aaaa"]);
    }

    #[test]
    fn keywords_come_from_the_first_5000_characters() {
        assert_eq!(keywords(&format!("{}word", "é".repeat(4996)), 9), ["word"]);
        assert_eq!(keywords(&format!("{}word", "é".repeat(4997)), 9), Vec::<String>::new());
    }
}
