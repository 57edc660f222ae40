//! The terminal's state: cursor, modes, scroll region, and what control functions do to them.

use super::grid::Grid;
use super::width::width;

/// What a mode switches.
#[derive(Debug, Clone, Copy)]
struct Modes {
    /// DECAWM.
    wrap: bool,
    /// IRM.
    insert: bool,
    /// DECOM.
    origin: bool,
    /// DECCKM: arrow keys send application sequences.
    cursor_keys: bool,
}

const DEFAULT_MODES: Modes = Modes { wrap: true, insert: false, origin: false, cursor_keys: false };

/// Zero width joiner.
const JOINER: char = '\u{200d}';

#[derive(Debug, Clone, Copy, Default)]
struct Saved {
    column: usize,
    row: usize,
    origin: bool,
}

/// Which part of a line or screen is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    ToEnd,
    ToStart,
    All,
}

/// A screen of fixed size.
#[derive(Debug)]
pub(super) struct Screen {
    grid: Grid,
    /// The cursor's column; one past the last when the next character wraps.
    column: usize,
    row: usize,
    /// First and last row of the scroll region.
    region: (usize, usize),
    tabs: Vec<bool>,
    modes: Modes,
    /// DECSC's.
    saved: Saved,
    /// The alternate screen's.
    before_alternate: Option<(usize, usize)>,
    /// The next character but ASCII joins the one before it.
    joins: bool,
    /// For REP: what was printed last, if nothing came since.
    last: Option<char>,
}

impl Screen {
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self {
            grid: Grid::new(columns, rows),
            column: 0,
            row: 0,
            region: (0, rows - 1),
            tabs: default_tabs(columns),
            modes: DEFAULT_MODES,
            saved: Saved::default(),
            before_alternate: None,
            joins: false,
            last: None,
        }
    }

    pub(super) fn text(&self, history: bool) -> String {
        self.grid.text(history)
    }

    pub(super) fn application_cursor_keys(&self) -> bool {
        self.modes.cursor_keys
    }

    #[cfg(test)]
    pub(super) fn check(&self, columns: usize, rows: usize) {
        assert_eq!(self.size(), (columns, rows));
        assert!(self.column <= columns && self.row < rows && self.region.1 < rows, "{self:?}");
        self.grid.check(rows);
    }

    /// Row and column as DSR reports them, from 1.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.row + 1, self.column + 1)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.grid.columns(), self.grid.rows())
    }

    fn columns(&self) -> usize {
        self.grid.columns()
    }

    /// Says that something else than a character came.
    pub(super) fn forget_last(&mut self) {
        self.last = None;
    }

    pub(super) fn print(&mut self, character: char) {
        let Some(width) = width(character) else { return };
        if character == JOINER {
            self.last = None;
            self.joins = true;
            return;
        }
        if self.joins && !character.is_ascii() {
            self.joins = false;
            self.combine(JOINER);
            self.combine(character);
            return;
        }
        if width == 0 {
            self.combine(character);
            return;
        }
        self.last = Some(character).filter(char::is_ascii);
        let columns = self.columns();
        if width > columns {
            return;
        }
        let fits = self.column + width <= columns;
        if !self.modes.wrap && width > 1 && self.column != columns && !fits {
            return;
        }
        if self.modes.insert && fits {
            self.grid.insert_cells(self.row, self.column, width);
        }
        if self.modes.wrap && !fits {
            self.grid.set_wrapped(self.row, true);
            self.down_or_scroll();
            self.column = 0;
        }
        if self.column + width > columns {
            return;
        }
        let in_run = character.is_ascii() && self.modes.wrap && !self.modes.insert;
        self.grid.put(self.row, self.column, character, u8::try_from(width).unwrap_or(1), in_run);
        self.column += width;
        if !self.modes.wrap {
            // Without wrapping the last column is written again and again.
            self.column = self.column.min(columns - 1);
        }
    }

    /// Adds a character to the one before the cursor.
    fn combine(&mut self, character: char) {
        self.last = None;
        self.grid.combine(self.row, self.column.min(self.columns()), character);
    }

    /// REP.
    pub(super) fn repeat(&mut self, count: usize) {
        let Some(character) = self.last.take() else { return };
        for _ in 0..count.min(self.columns().saturating_sub(self.column)) {
            self.print(character);
        }
        self.last = None;
    }

    fn down_or_scroll(&mut self) {
        if self.row == self.region.1 {
            self.grid.scroll_up(self.region.0, self.region.1);
        } else if self.row + 1 < self.grid.rows() {
            self.row += 1;
        }
    }

    /// LF, VT, FF, IND.
    pub(super) fn line_feed(&mut self) {
        self.grid.set_wrapped(self.row, false);
        self.down_or_scroll();
    }

    /// RI.
    pub(super) fn reverse_index(&mut self) {
        if self.row == self.region.0 {
            self.grid.insert_lines(self.region.0, self.region.1, 1);
        } else {
            self.row = self.row.saturating_sub(1);
        }
    }

    pub(super) fn carriage_return(&mut self) {
        self.column = 0;
    }

    /// Goes back to the line above where that was wrapped.
    pub(super) fn backspace(&mut self) {
        if self.column > 0 {
            self.column -= 1;
        } else if self.row > 0 && self.grid.is_wrapped(self.row - 1) {
            self.row -= 1;
            self.column = self.columns() - 1;
        }
    }

    pub(super) fn tab(&mut self) {
        let last = self.columns() - 1;
        while self.column < last {
            self.column += 1;
            if self.tabs[self.column] {
                break;
            }
        }
    }

    /// CBT.
    pub(super) fn back_tabs(&mut self, count: usize) {
        self.column = self.column.min(self.columns() - 1);
        for _ in 0..count {
            while self.column > 0 {
                self.column -= 1;
                if self.tabs[self.column] {
                    break;
                }
            }
        }
    }

    /// HTS.
    pub(super) fn set_tab(&mut self) {
        if let Some(tab) = self.tabs.get_mut(self.column) {
            *tab = true;
        }
    }

    /// TBC: the one at the cursor, or all.
    pub(super) fn clear_tabs(&mut self, all: bool) {
        if all {
            self.tabs.fill(false);
        } else if let Some(tab) = self.tabs.get_mut(self.column) {
            *tab = false;
        }
    }

    fn leave_wrap_column(&mut self) {
        self.column = self.column.min(self.columns() - 1);
    }

    pub(super) fn up(&mut self, count: usize) {
        let top = if self.row < self.region.0 { 0 } else { self.region.0 };
        self.leave_wrap_column();
        self.row = self.row.saturating_sub(count).max(top);
    }

    pub(super) fn down(&mut self, count: usize) {
        let bottom = if self.row > self.region.1 { self.grid.rows() - 1 } else { self.region.1 };
        self.leave_wrap_column();
        self.row = (self.row + count).min(bottom);
    }

    pub(super) fn right(&mut self, count: usize) {
        self.column = (self.column + count).min(self.columns() - 1);
    }

    pub(super) fn left(&mut self, count: usize) {
        self.column = self.column.saturating_sub(count);
    }

    /// CHA, HPA.
    pub(super) fn set_column(&mut self, column: usize) {
        self.column = column.min(self.columns() - 1);
    }

    /// VPA.
    pub(super) fn set_row(&mut self, row: usize) {
        let row = if self.modes.origin { (self.region.0 + row).min(self.region.1) } else { row };
        self.row = row.min(self.grid.rows() - 1);
        self.leave_wrap_column();
    }

    /// CUP.
    pub(super) fn move_to(&mut self, row: usize, column: usize) {
        self.set_row(row);
        self.set_column(column);
    }

    /// DECSC.
    pub(super) fn save(&mut self) {
        self.saved = Saved { column: self.column, row: self.row, origin: self.modes.origin };
    }

    /// DECRC.
    pub(super) fn restore(&mut self) {
        self.modes.origin = self.saved.origin;
        self.row = self.saved.row.min(self.grid.rows() - 1);
        self.set_column(self.saved.column);
    }

    /// EL.
    pub(super) fn clear_line(&mut self, part: Part) {
        let columns = self.columns();
        match part {
            Part::ToEnd => self.clear_to_end(),
            Part::ToStart => self.grid.clear(self.row, 0, (self.column + 1).min(columns)),
            Part::All => self.grid.clear(self.row, 0, columns),
        }
    }

    fn clear_to_end(&mut self) {
        if self.column < self.columns() {
            self.grid.clear(self.row, self.column, self.columns());
        }
    }

    /// ED.
    pub(super) fn clear_screen(&mut self, part: Part) {
        match part {
            Part::All => self.grid.clear_screen(),
            Part::ToEnd if (self.row, self.column) == (0, 0) && self.grid.keeps_history() => {
                self.grid.clear_screen();
            }
            Part::ToEnd => {
                self.clear_to_end();
                self.grid.clear_rows(self.row + 1, self.grid.rows());
            }
            Part::ToStart => {
                self.grid.clear_rows(0, self.row);
                self.clear_line(Part::ToStart);
            }
        }
    }

    /// ED 3.
    pub(super) fn clear_history(&mut self) {
        self.grid.clear_history();
    }

    /// ICH.
    pub(super) fn insert_characters(&mut self, count: usize) {
        if self.column < self.columns() {
            self.grid.insert_cells(self.row, self.column, count);
        }
    }

    /// DCH.
    pub(super) fn delete_characters(&mut self, count: usize) {
        if self.column < self.columns() {
            self.grid.delete_cells(self.row, self.column, count);
        }
    }

    /// ECH.
    pub(super) fn erase_characters(&mut self, count: usize) {
        if self.column < self.columns() {
            let end = (self.column + count).min(self.columns());
            self.grid.clear(self.row, self.column, end);
        }
    }

    /// The last row that inserting and deleting lines moves.
    fn bottom(&self) -> usize {
        if (self.region.0..=self.region.1).contains(&self.row) { self.region.1 } else { self.grid.rows() - 1 }
    }

    /// IL.
    pub(super) fn insert_lines(&mut self, count: usize) {
        if (self.region.0..=self.region.1).contains(&self.row) {
            self.grid.insert_lines(self.row, self.region.1, count);
        } else {
            self.grid.push_lines_down(self.row, count);
        }
    }

    /// DL.
    pub(super) fn delete_lines(&mut self, count: usize) {
        self.grid.delete_lines(self.row, self.bottom(), count);
    }

    /// SU.
    pub(super) fn scroll_up(&mut self, count: usize) {
        for _ in 0..count.min(self.region.1 + 1 - self.region.0) {
            self.grid.scroll_up(self.region.0, self.region.1);
        }
    }

    /// SD.
    pub(super) fn scroll_down(&mut self, count: usize) {
        self.grid.insert_lines(self.region.0, self.region.1, count);
    }

    /// DECSTBM; a region of less than two rows is ignored.
    pub(super) fn set_region(&mut self, top: usize, bottom: usize) {
        let last = self.grid.rows() - 1;
        let (top, bottom) = (top.min(last), bottom.min(last));
        if top < bottom {
            self.region = (top, bottom);
            (self.row, self.column) = (0, 0);
        }
    }

    /// DECALN.
    pub(super) fn alignment_test(&mut self) {
        self.region = (0, self.grid.rows() - 1);
        (self.row, self.column) = (0, 0);
        self.grid.fill();
    }

    /// RIS: all but the saved origin mode and the history, to which the screen's content goes.
    pub(super) fn reset(&mut self) {
        self.tabs = default_tabs(self.columns());
        self.region = (0, self.grid.rows() - 1);
        self.modes = DEFAULT_MODES;
        self.saved = Saved { origin: self.saved.origin, ..Saved::default() };
        self.grid.clear_screen();
        (self.row, self.column) = (0, 0);
    }

    /// SM and RM.
    pub(super) fn set_mode(&mut self, mode: u16, on: bool) {
        if mode == 4 {
            self.modes.insert = on;
        }
    }

    /// DECSET and DECRST.
    pub(super) fn set_private_mode(&mut self, mode: u16, on: bool) {
        match mode {
            1 => self.modes.cursor_keys = on,
            3 => {
                self.move_to(0, 0);
                self.grid.clear_screen();
            }
            6 => {
                self.modes.origin = on;
                self.move_to(0, 0);
            }
            7 => self.modes.wrap = on,
            47 | 1047 => self.alternate(on, false),
            1049 => self.alternate(on, true),
            _ => {}
        }
    }

    fn alternate(&mut self, on: bool, with_cursor: bool) {
        if on {
            let cursor = (self.row, self.column);
            if self.grid.enter_alternate() && with_cursor {
                self.before_alternate = Some(cursor);
            }
            return;
        }
        if with_cursor && let Some(cursor) = self.before_alternate {
            (self.row, self.column) = cursor;
        }
        self.grid.leave_alternate();
        self.leave_wrap_column();
    }
}

/// Every eighth column.
fn default_tabs(columns: usize) -> Vec<bool> {
    (0..columns).map(|column| column > 0 && column % 8 == 0).collect()
}
