//! Streams that the emulator is tested with.

use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Path;

/// The recorded streams, by the names of their files.
pub(super) fn recorded() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams");
    let mut streams: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    streams.sort();
    assert!(streams.len() > 30, "the recorded streams are missing");
    streams
}

/// Text, controls and sequences that programs use, in any order and with any parameters.
pub(super) fn sequences() -> impl Strategy<Value = Vec<String>> {
    vec(sequence(), 1..60)
}

fn sequence() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z ]{1,12}",
        1 => "[a-z]{100,200}",
        2 => vec(prop::sample::select(TEXTS), 1..8).prop_map(|texts| texts.concat()),
        1 => (prop::sample::select(TEXTS), 30..90_usize).prop_map(|(text, count)| text.repeat(count)),
        2 => Just("\r\n".to_owned()),
        1 => (1..50_usize).prop_map(|count| "line\r\n".repeat(count)),
        2 => prop::sample::select(CONTROLS).prop_map(str::to_owned),
        4 => (1..42_u16, prop_oneof![1..162_u16, 155..162_u16])
            .prop_map(|(row, column)| format!("\x1b[{row};{column}H")),
        1 => (1..42_u16, 1..42_u16).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r")),
        4 => (prop_oneof![0..4_u16, 0..200_u16], prop::sample::select(FINALS))
            .prop_map(|(number, last)| format!("\x1b[{number}{last}")),
        2 => (prop::sample::select(MODES), prop::sample::select(&["h", "l"][..]))
            .prop_map(|(mode, last)| format!("\x1b[{mode}{last}")),
    ]
}

/// Wide characters, combining ones, and such as join to one.
const TEXTS: &[&str] = &[
    "\u{6f22}",
    "\u{5b57}",
    "\u{1f389}",
    "e\u{301}",
    "\u{301}",
    "x\u{336}\u{334}",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{2764}\u{fe0f}",
    "\u{1f1e9}\u{1f1ea}",
    "\u{1f44d}\u{1f3fd}",
    "\u{ac00}",
    "\u{1112}\u{1161}",
    "\u{2500}",
    "\u{2588}",
    "\u{a0}",
    "\u{ad}",
    "\u{200b}",
    "\u{85}",
    "\u{e000}",
    "\u{ff21}",
    "a",
    "Z",
];

const CONTROLS: &[&str] = &[
    "\n",
    "\r",
    "\t",
    "\x08",
    "\x0b",
    "\x0c",
    "\x07",
    "\x0e",
    "\x0f",
    "\x1bD",
    "\x1bE",
    "\x1bH",
    "\x1bM",
    "\x1b7",
    "\x1b8",
    "\x1b=",
    "\x1b>",
    "\x1b(0",
    "\x1b(B",
    "\x1bc",
    "\x1b#8",
    "\x1bkname\x1b\\",
    "\x1b]0;title\x07",
    "\x1bP+q544e\x1b\\",
    "\x1b_apc\x1b\\",
    "\x1b[s",
    "\x1b[u",
    "\x1b[!p",
    "\x1b[31;1m",
    "\x1b[38;2;1;2;3m",
    "\x1b[44m",
    "\x1b[m",
    "\x1b[6n",
    "\x1b[c",
];

/// The last letters of control sequences with a number.
const FINALS: &[&str] = &[
    "A", "B", "C", "D", "E", "F", "G", "`", "d", "a", "e", "J", "K", "L", "M", "P", "@", "X", "S", "T", "Z",
    "I", "g", "b", "q", "i",
];

const MODES: &[&str] = &[
    "?1", "?3", "?6", "?7", "?25", "?47", "?1047", "?1048", "?1049", "?2004", "?2026", "4", "20", "?5", "?69",
];
