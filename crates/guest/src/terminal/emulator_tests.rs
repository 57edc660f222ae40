//! What holds for the emulator whatever it is fed with.

use super::emulator::Emulator;
use super::samples;
use proptest::prelude::*;

/// Text and screen of what was fed whole.
fn fed<'a>(size: (u16, u16), parts: impl IntoIterator<Item = &'a [u8]>) -> (Emulator, String) {
    let mut emulator = Emulator::new(size.0, size.1);
    parts.into_iter().for_each(|part| emulator.feed(part));
    let text = emulator.text(true);
    (emulator, text)
}

#[test]
fn where_a_stream_is_cut_makes_no_difference() {
    for (name, stream) in samples::recorded() {
        let (mut whole, text) = fed((160, 40), [stream.as_slice()]);
        let answers = whole.take_answers();
        for size in [1, 2, 3, 7] {
            let (mut cut, cut_text) = fed((160, 40), stream.chunks(size));
            assert!(cut_text == text, "{name} in parts of {size} bytes");
            assert_eq!(cut.text(false), whole.text(false), "{name} in parts of {size} bytes");
            assert_eq!(cut.take_answers(), answers, "{name} in parts of {size} bytes");
        }
    }
}

/// Nothing is larger than it may be.
fn check(emulator: &Emulator, (columns, rows): (u16, u16)) {
    let (columns, rows) = (usize::from(columns.max(1)), usize::from(rows.max(2)));
    emulator.check(columns, rows);
    let screen = emulator.text(false);
    assert_eq!(screen.lines().count(), rows);
    assert!(emulator.text(true).ends_with(&screen));
}

/// Without an end: lines, one line, marks on one character, a title, a device string, parameters, questions.
#[test]
fn endless_output_takes_bounded_room() {
    for (begin, part) in [
        ("", "line\r\n"),
        ("", "text"),
        ("e", "\u{301}"),
        ("e", "\u{200d}\u{1f469}"),
        ("\x1b]2;", "title;"),
        ("\x1bP", "q#0"),
        ("\x1b[", "1;"),
        ("", "\x1b[6n"),
        ("\x1bk", "name"),
        ("", "\x1b[?1049h\x1b[?1049lx\n\x1b[2J"),
    ] {
        let mut emulator = Emulator::new(20, 4);
        emulator.feed(begin.as_bytes());
        for _ in 0..50 {
            emulator.feed(part.repeat(1000).as_bytes());
        }
        check(&emulator, (20, 4));
    }
}

fn size() -> impl Strategy<Value = (u16, u16)> {
    prop_oneof![(0..8_u16, 0..8_u16), Just((160, 40))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_it(size in size(), bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let (emulator, text) = fed(size, [bytes.as_slice()]);
        check(&emulator, size);
        prop_assert!(fed(size, bytes.chunks(1)).1 == text);
    }

    #[test]
    fn no_sequences_break_it(size in size(), sequences in samples::sequences()) {
        let bytes = sequences.concat().into_bytes();
        let (emulator, text) = fed(size, [bytes.as_slice()]);
        check(&emulator, size);
        prop_assert!(fed(size, bytes.chunks(1)).1 == text);
    }
}
