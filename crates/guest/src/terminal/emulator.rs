//! Bytes of a program's output, parsed and applied to the screen, with the answers they ask for.

use super::screen::{Part, Screen};
use vte::{Params, Parser, Perform};

/// How many bytes of answers wait for whoever takes them; a program that asks on and on gets no more.
const ANSWERS: usize = 64 * 1024;

/// A terminal of fixed size, fed with bytes.
pub(super) struct Emulator {
    parser: Parser,
    /// A character whose last bytes are still to come.
    begun: Vec<u8>,
    state: State,
}

struct State {
    screen: Screen,
    answers: Vec<u8>,
    /// What comes is a window's name (`ESC k`), up to the next escape.
    naming: bool,
}

impl Emulator {
    pub(super) fn new(columns: u16, rows: u16) -> Self {
        let (columns, rows) = (usize::from(columns.max(1)), usize::from(rows.max(2)));
        let state = State { screen: Screen::new(columns, rows), answers: Vec::new(), naming: false };
        Self { parser: Parser::new(), begun: Vec::new(), state }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut joined = std::mem::take(&mut self.begun);
        let bytes = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        // The parser is given whole characters: it loses some of those that follow one it was given in parts.
        let (whole, begun) = bytes.split_at(bytes.len() - incomplete(bytes));
        self.parser.advance(&mut self.state, whole);
        self.begun.extend_from_slice(begun);
    }

    /// What the program is to read in answer to its questions.
    pub(super) fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.state.answers)
    }

    pub(super) fn text(&self, history: bool) -> String {
        self.state.screen.text(history)
    }

    /// Asserts that nothing is larger than it may be.
    #[cfg(test)]
    pub(super) fn check(&self, columns: usize, rows: usize) {
        assert!(self.begun.len() < 4 && self.state.answers.len() <= ANSWERS);
        self.state.screen.check(columns, rows);
    }

    pub(super) fn application_cursor_keys(&self) -> bool {
        self.state.screen.application_cursor_keys()
    }
}

/// How many bytes at the end begin a character that is not whole.
fn incomplete(bytes: &[u8]) -> usize {
    let lead = bytes.iter().rev().take(3).position(|byte| byte & 0xc0 == 0xc0);
    let Some(tail) = lead.map(|after| after + 1) else { return 0 };
    match std::str::from_utf8(&bytes[bytes.len() - tail..]) {
        Err(error) if error.error_len().is_none() => tail,
        _ => 0,
    }
}

impl State {
    fn answer(&mut self, answer: &str) {
        if self.answers.len() + answer.len() <= ANSWERS {
            self.answers.extend_from_slice(answer.as_bytes());
        }
    }

    /// DSR.
    fn report(&mut self, what: usize) {
        match what {
            5 => self.answer("\x1b[0n"),
            6 => {
                let (row, column) = self.screen.position();
                self.answer(&format!("\x1b[{row};{column}R"));
            }
            _ => {}
        }
    }

    fn control(&mut self, parameters: &Params, action: char) {
        let number = |index: usize| -> usize {
            parameters.iter().nth(index).and_then(|group| group.first().copied()).unwrap_or(0).into()
        };
        let count = number(0).max(1);
        let part = match number(0) {
            0 => Some(Part::ToEnd),
            1 => Some(Part::ToStart),
            2 => Some(Part::All),
            _ => None,
        };
        if action == 'b' {
            self.screen.repeat(count);
            return;
        }
        self.screen.forget_last();
        match action {
            'A' => self.screen.up(count),
            'B' => self.screen.down(count),
            'C' => self.screen.right(count),
            'D' => self.screen.left(count),
            'E' => {
                self.screen.carriage_return();
                self.screen.down(count);
            }
            'F' => {
                self.screen.carriage_return();
                self.screen.up(count);
            }
            'G' | '`' => self.screen.set_column(count - 1),
            'H' | 'f' => self.screen.move_to(count - 1, number(1).max(1) - 1),
            'd' => self.screen.set_row(count - 1),
            'J' if number(0) == 3 => self.screen.clear_history(),
            'J' => part.into_iter().for_each(|part| self.screen.clear_screen(part)),
            'K' => part.into_iter().for_each(|part| self.screen.clear_line(part)),
            'L' => self.screen.insert_lines(count),
            'M' => self.screen.delete_lines(count),
            'P' => self.screen.delete_characters(count),
            '@' => self.screen.insert_characters(count),
            'X' => self.screen.erase_characters(count),
            'S' => self.screen.scroll_up(count),
            'T' => self.screen.scroll_down(count),
            'Z' => self.screen.back_tabs(count),
            'g' => match number(0) {
                0 => self.screen.clear_tabs(false),
                3 => self.screen.clear_tabs(true),
                _ => {}
            },
            'h' | 'l' => {
                for mode in parameters.iter().filter_map(|group| group.first()) {
                    self.screen.set_mode(*mode, action == 'h');
                }
            }
            'r' => {
                let bottom = match number(1) {
                    0 => usize::MAX,
                    bottom => bottom - 1,
                };
                self.screen.set_region(count - 1, bottom);
            }
            's' => self.screen.save(),
            'u' => self.screen.restore(),
            'n' => self.report(number(0)),
            'c' if number(0) == 0 => self.answer("\x1b[?1;2c"),
            't' if number(0) == 18 => {
                let (columns, rows) = self.screen.size();
                self.answer(&format!("\x1b[8;{rows};{columns}t"));
            }
            _ => {}
        }
    }
}

impl Perform for State {
    fn print(&mut self, character: char) {
        // What is no UTF-8 leaves nothing, as under tmux.
        if !self.naming && character != char::REPLACEMENT_CHARACTER && character != '\x7f' {
            self.screen.print(character);
        }
    }

    fn execute(&mut self, byte: u8) {
        if self.naming {
            self.naming = !matches!(byte, 0x18 | 0x1a);
            return;
        }
        self.screen.forget_last();
        match byte {
            0x08 => self.screen.backspace(),
            b'\t' => self.screen.tab(),
            b'\n' | 0x0b | 0x0c => self.screen.line_feed(),
            b'\r' => self.screen.carriage_return(),
            _ => {}
        }
    }

    fn hook(&mut self, _: &Params, _: &[u8], _: bool, _: char) {
        self.naming = false;
    }

    fn osc_dispatch(&mut self, _: &[&[u8]], _: bool) {
        self.naming = false;
    }

    fn csi_dispatch(&mut self, parameters: &Params, intermediates: &[u8], ignored: bool, action: char) {
        self.naming = false;
        if ignored {
            return;
        }
        match (intermediates, action) {
            ([], _) => self.control(parameters, action),
            ([b'?'], 'h' | 'l') => {
                self.screen.forget_last();
                for mode in parameters.iter().filter_map(|group| group.first()) {
                    self.screen.set_private_mode(*mode, action == 'h');
                }
            }
            ([b'>'], 'c') => self.answer("\x1b[>84;0;0c"),
            ([b'>'], 'q') => self.answer("\x1bP>|tmux 3.3a\x1b\\"),
            _ => self.screen.forget_last(),
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignored: bool, byte: u8) {
        self.naming = (intermediates, byte) == (&[], b'k');
        if ignored {
            return;
        }
        self.screen.forget_last();
        match (intermediates, byte) {
            ([], b'7') => self.screen.save(),
            ([], b'8') => self.screen.restore(),
            ([], b'c') => self.screen.reset(),
            ([], b'D') => self.screen.line_feed(),
            ([], b'E') => {
                self.screen.carriage_return();
                self.screen.line_feed();
            }
            ([], b'H') => self.screen.set_tab(),
            ([], b'M') => self.screen.reverse_index(),
            ([b'#'], b'8') => self.screen.alignment_test(),
            // Character sets too: a capture shows the letters of line drawing as they were sent.
            _ => {}
        }
    }
}
