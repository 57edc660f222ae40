//! What of the terminal is shown to the model.

use crate::environment::{EnvironmentError, Terminal};

/// The most of the terminal that is shown at once, in bytes.
pub const MAX_SHOWN: usize = 10_000;

/// Follows a terminal and tells what is new on it.
#[derive(Debug, Default)]
pub struct Follower {
    last: Option<String>,
}

impl Follower {
    /// What is new since the last call, headed `New Terminal Output:`; the visible screen, headed
    /// `Current Terminal Screen:`, the first time and when what is new cannot be told. At most
    /// [`MAX_SHOWN`] bytes and a note.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub async fn look(&mut self, terminal: &dyn Terminal) -> Result<String, EnvironmentError> {
        let now = terminal.history().await?;
        let new = self.last.as_deref().and_then(|last| news(last, &now)).map(str::to_owned);
        self.last = Some(now);
        let shown = match new {
            Some(new) => format!("New Terminal Output:\n{new}"),
            None => format!("Current Terminal Screen:\n{}", terminal.screen().await?),
        };
        Ok(limit(&shown, MAX_SHOWN))
    }
}

/// The part of `now` from the last line of `last` on (the prompt that was typed at belongs to what
/// follows). None when `last` is no longer in it, or there is nothing but blanks.
pub fn news<'a>(last: &str, now: &'a str) -> Option<&'a str> {
    let last = last.trim();
    let at = now.find(last)?;
    let line = last.rfind('\n').map_or(0, |newline| newline + 1);
    let new = &now[at + line..];
    (!new.trim().is_empty()).then_some(new)
}

/// `text` when it has at most `max` bytes; else its first and last `max / 2` bytes, cut on character
/// borders, with a note between them of how many bytes are missing.
#[must_use]
pub fn limit(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let half = max / 2;
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    let missing = text.len() - head.len() - tail.len();
    format!("{head}\n[... only {max} bytes are shown; {missing} bytes left out here ...]\n{tail}")
}

/// The last `count` characters of `text`.
#[must_use]
pub fn last_chars(text: &str, count: usize) -> &str {
    match text.char_indices().rev().nth(count.saturating_sub(1)) {
        Some((at, _)) if count > 0 => &text[at..],
        None => text,
        Some(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_new_starts_at_the_line_that_was_typed_at() {
        let last = "$ ls\na b\n$ \n\n\n";
        let now = "$ ls\na b\n$ pwd\n/w\n$ \n\n";
        assert_eq!(news(last, now), Some("$ pwd\n/w\n$ \n\n"));
    }

    #[test]
    fn a_single_line_is_found_too() {
        assert_eq!(news("$ ", "$ true\n$ \n"), Some("$ true\n$ \n"));
    }

    #[test]
    fn a_cleared_terminal_cannot_be_compared() {
        assert_eq!(news("$ ls\na b\n$ ", "$ \n\n"), None);
    }

    #[test]
    fn a_blank_terminal_has_no_news() {
        assert_eq!(news("\n\n", "\n\n\n"), None);
        assert_eq!(news("", "hello\n"), Some("hello\n"));
    }

    #[test]
    fn repeated_content_is_taken_from_its_first_place() {
        assert_eq!(news("$", "$ a\n$ a\n$"), Some("$ a\n$ a\n$"));
    }

    #[test]
    fn short_text_stays_whole() {
        assert_eq!(limit(&"x".repeat(10_000), 10_000).len(), 10_000);
    }

    #[test]
    fn long_text_keeps_both_ends_and_counts_what_is_missing() {
        let text = format!("{}{}", "a".repeat(6_000), "b".repeat(6_000));
        let cut = limit(&text, 10_000);
        assert!(cut.starts_with(&"a".repeat(5_000)) && cut.ends_with(&"b".repeat(5_000)));
        assert!(cut.contains("; 2000 bytes left out"), "{cut}");
    }

    #[test]
    fn cuts_fall_on_character_borders() {
        let text = "é".repeat(6_000);
        let text = format!("x{text}");
        let cut = limit(&text, 10_000);
        assert!(cut.contains("; 2002 bytes left out"), "{}", &cut[4_990..5_080]);
    }

    #[test]
    fn the_last_characters_are_counted_as_characters() {
        assert_eq!(last_chars("aéü", 2), "éü");
        assert_eq!(last_chars("a", 5), "a");
        assert_eq!(last_chars("a", 0), "");
        assert_eq!(last_chars("", 3), "");
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_is_invented(text in ".{0,400}", max in 2usize..300) {
            let cut = limit(&text, max);
            if text.len() > max {
                let (head, rest) = cut.split_once("\n[... only").unwrap();
                let tail = rest.split_once("...]\n").unwrap().1;
                prop_assert!(text.starts_with(head) && text.ends_with(tail));
                prop_assert!(head.len() + tail.len() <= max);
            } else {
                prop_assert_eq!(cut, text);
            }
        }

        #[test]
        fn news_end_where_the_terminal_ends(last in "[ab\n ]{0,30}", now in "[ab\n ]{0,60}") {
            if let Some(new) = news(&last, &now) {
                prop_assert!(now.ends_with(new));
            }
        }
    }
}
