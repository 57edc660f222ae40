//! The words of messages: what was found, what is expected, what may have been meant.

use super::choices::Choice;
use super::tree::Data;

/// Texts up to this many characters are quoted in messages.
const LONGEST_QUOTE: usize = 60;

/// What a number must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    /// 0 or more.
    NotNegative,
    /// More than 0.
    Positive,
    /// Seconds of a limit: more than 0.
    Limit,
    /// Seconds to wait: 0 or more.
    Wait,
    /// 0 to 1.
    Share,
    /// Any number.
    Finite,
}

/// Ten years, in seconds: what takes longer is a slip, and would overflow in arithmetic with times.
const LONGEST: f64 = 315_360_000.0;

impl Bound {
    pub(super) fn admits(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Self::NotNegative => value >= 0.0,
                Self::Positive => value > 0.0,
                Self::Limit => value > 0.0 && value <= LONGEST,
                Self::Wait => (0.0..=LONGEST).contains(&value),
                Self::Share => (0.0..=1.0).contains(&value),
                Self::Finite => true,
            }
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::NotNegative => "a number from 0",
            Self::Positive => "a number above 0",
            Self::Limit => "a number of seconds above 0, at most 315360000 (ten years)",
            Self::Wait => "a number of seconds from 0 to 315360000 (ten years)",
            Self::Share => "a number from 0 to 1",
            Self::Finite => "a number",
        }
    }
}

/// What `word` stands for in a closed list.
pub(super) fn word_of<T: Choice>(word: &str) -> Option<T> {
    T::ALL.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
}

/// What a value is, for people.
pub(super) fn found(data: &Data) -> String {
    match data {
        Data::Null => "null".to_owned(),
        Data::Bool(value) => value.to_string(),
        Data::Int(value) => format!("the number {value}"),
        // With an exponent where it would be long.
        Data::Float(value) => format!("the number {value:?}"),
        Data::Text(text) if text.chars().count() > LONGEST_QUOTE => "a long text".to_owned(),
        Data::Text(text) => format!("the text {text:?}"),
        Data::List(_) => "a list".to_owned(),
        Data::Map(_) => "a table".to_owned(),
    }
}

/// `; did you mean "x"?` when a known word is near, else nothing.
pub(super) fn did_you_mean<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> String {
    /// Words that share less than this are not alike (Jaro-Winkler, 0 to 1).
    const ALIKE: f64 = 0.8;
    known
        .map(|candidate| (strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}
