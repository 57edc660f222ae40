//! How many cells a character takes: as the C library says, which tmux asks.
//!
//! Both follow Unicode's tables, but read them differently for the characters here. Characters that the C library
//! does not know yet are dropped by tmux; they are as wide as Unicode says.

use unicode_width::UnicodeWidthChar as _;

/// Vowel signs that stand beside their letter, and signs that hold a number or a word; sorted.
const NARROW: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{605}', '\u{605}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{9be}', '\u{9be}'),
    ('\u{9d7}', '\u{9d7}'),
    ('\u{b3e}', '\u{b3e}'),
    ('\u{b57}', '\u{b57}'),
    ('\u{bbe}', '\u{bbe}'),
    ('\u{bd7}', '\u{bd7}'),
    ('\u{cc0}', '\u{cc0}'),
    ('\u{cc2}', '\u{cc2}'),
    ('\u{cc7}', '\u{cc8}'),
    ('\u{cca}', '\u{ccb}'),
    ('\u{cd5}', '\u{cd6}'),
    ('\u{d3e}', '\u{d3e}'),
    ('\u{d4e}', '\u{d4e}'),
    ('\u{d57}', '\u{d57}'),
    ('\u{dcf}', '\u{dcf}'),
    ('\u{ddf}', '\u{ddf}'),
    ('\u{1715}', '\u{1715}'),
    ('\u{1734}', '\u{1734}'),
    ('\u{17a4}', '\u{17a4}'),
    ('\u{17d8}', '\u{17d8}'),
    ('\u{1b35}', '\u{1b35}'),
    ('\u{1b3b}', '\u{1b3b}'),
    ('\u{1b3d}', '\u{1b3d}'),
    ('\u{1b43}', '\u{1b44}'),
    ('\u{1baa}', '\u{1baa}'),
    ('\u{1bf2}', '\u{1bf3}'),
    ('\u{a8fa}', '\u{a8fa}'),
    ('\u{a953}', '\u{a953}'),
    ('\u{a9c0}', '\u{a9c0}'),
    ('\u{ffa0}', '\u{ffa0}'),
];

/// Circled numbers on black squares, tone marks and the filler of Hangul; sorted.
const WIDE: &[(char, char)] = &[('\u{302e}', '\u{302f}'), ('\u{3164}', '\u{3164}'), ('\u{3248}', '\u{324f}')];

/// Nothing for characters that are not shown at all.
pub(super) fn width(character: char) -> Option<usize> {
    if character.is_ascii() {
        return character.width();
    }
    if matches!(character, '\u{2028}' | '\u{2029}') {
        return None;
    }
    if contains(NARROW, character) {
        return Some(1);
    }
    if contains(WIDE, character) {
        return Some(2);
    }
    character.width()
}

fn contains(ranges: &[(char, char)], character: char) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= character);
    after > 0 && character <= ranges[after - 1].1
}
