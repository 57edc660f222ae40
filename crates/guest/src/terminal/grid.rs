//! Lines of cells, and the lines that left the screen.
//!
//! Where tmux's behaviour can be told from a capture it is followed, also in its oddities; the names of
//! the operations are those of ECMA-48 and the VT manuals.

use std::collections::VecDeque;

/// How many lines that left the screen are kept.
const HISTORY: usize = 10_000;

/// How many of the oldest lines go at once when the history is full.
const TRIM: usize = HISTORY / 10;

/// The most bytes one cell holds, with its combining characters.
const CELL_BYTES: usize = 21;

/// What one cell holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// The character; a blank when nothing was written.
    character: char,
    /// Combining characters on it.
    marks: Option<Box<str>>,
    /// 1 or 2; 0 for the second half of a wide character.
    width: u8,
}

impl Cell {
    const BLANK: Self = Self { character: ' ', marks: None, width: 1 };
    const PADDING: Self = Self { character: ' ', marks: None, width: 0 };

    fn is_padding(&self) -> bool {
        self.width == 0
    }
}

#[derive(Debug, Clone)]
struct Line {
    cells: Vec<Cell>,
    /// The next line continues it.
    wrapped: bool,
    /// Something was written to it since it was last cleared as a whole.
    used: bool,
}

impl Line {
    fn new(columns: usize) -> Self {
        Self { cells: vec![Cell::BLANK; columns], wrapped: false, used: false }
    }

    /// The line as text, without blanks at its end.
    fn text(&self) -> String {
        let mut text = String::new();
        for cell in self.cells.iter().filter(|cell| !cell.is_padding()) {
            text.push(cell.character);
            text.push_str(cell.marks.as_deref().unwrap_or_default());
        }
        text.truncate(text.trim_end_matches(' ').len());
        text
    }
}

/// The cells of a screen. Rows and columns count from 0; callers keep them inside.
#[derive(Debug)]
pub(super) struct Grid {
    columns: usize,
    lines: Vec<Line>,
    history: VecDeque<Box<str>>,
    /// Lines that leave go to the history (not on the alternate screen).
    keeps_history: bool,
    /// The primary screen's lines while the alternate one is shown.
    saved: Option<Vec<Line>>,
}

impl Grid {
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            lines: vec![Line::new(columns); rows],
            history: VecDeque::new(),
            keeps_history: true,
            saved: None,
        }
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The screen's lines, with those of the history before them if asked for.
    pub(super) fn text(&self, history: bool) -> String {
        let mut text = String::new();
        for line in self.history.iter().filter(|_| history) {
            text.push_str(line);
            text.push('\n');
        }
        for line in &self.lines {
            text.push_str(&line.text());
            text.push('\n');
        }
        text
    }

    /// Puts a character of `width` cells at a place; the caller made sure that it fits.
    ///
    /// Over the second half of a wide character it also blanks the first; in a run of plain characters (`in_run`)
    /// not in the first column, and only if it is a wide one still.
    pub(super) fn put(&mut self, row: usize, column: usize, character: char, width: u8, in_run: bool) {
        let line = &mut self.lines[row];
        line.used = true;
        let end = column + usize::from(width);
        let mut start = column;
        while start > 0 && line.cells[start].is_padding() {
            line.cells[start] = Cell::BLANK;
            start -= 1;
        }
        let stays = in_run && (start == 0 || line.cells[start].width < 2);
        if start != column && !stays {
            line.cells[start] = Cell::BLANK;
        }
        for cell in line.cells[end..].iter_mut().take_while(|cell| cell.is_padding()) {
            *cell = Cell::BLANK;
        }
        line.cells[column] = Cell { character, marks: None, width };
        line.cells[column + 1..end].fill(Cell::PADDING);
    }

    /// Adds a combining character to the character left of a place, if there is one and it has room.
    pub(super) fn combine(&mut self, row: usize, column: usize, mark: char) {
        let line = &mut self.lines[row];
        let before = line.cells[..column].iter_mut().rev();
        let Some(cell) = before.into_iter().find(|cell| !cell.is_padding()) else { return };
        line.used = true;
        let mut marks = cell.marks.take().map(String::from).unwrap_or_default();
        if cell.character.len_utf8() + marks.len() + mark.len_utf8() <= CELL_BYTES {
            marks.push(mark);
        }
        cell.marks = Some(marks.into_boxed_str());
    }

    pub(super) fn set_wrapped(&mut self, row: usize, wrapped: bool) {
        self.lines[row].wrapped = wrapped;
    }

    pub(super) fn is_wrapped(&self, row: usize) -> bool {
        self.lines[row].wrapped
    }

    /// Blanks the cells `from..to` of a row.
    pub(super) fn clear(&mut self, row: usize, from: usize, to: usize) {
        if from == 0 && to == self.columns {
            self.lines[row] = Line::new(self.columns);
        } else {
            self.lines[row].cells[from..to].fill(Cell::BLANK);
        }
    }

    /// Blanks the rows `from..to`.
    pub(super) fn clear_rows(&mut self, from: usize, to: usize) {
        for line in &mut self.lines[from..to] {
            *line = Line::new(self.columns);
        }
    }

    /// Blanks the screen; what was on it goes to the history, down to its last used line.
    pub(super) fn clear_screen(&mut self) {
        let used = self.lines.iter().rposition(|line| line.used).map_or(0, |last| last + 1);
        if self.keeps_history {
            for row in 0..used {
                self.remember(row);
            }
        }
        self.clear_rows(0, self.rows());
    }

    pub(super) fn clear_history(&mut self) {
        self.history.clear();
    }

    pub(super) fn keeps_history(&self) -> bool {
        self.keeps_history
    }

    fn remember(&mut self, row: usize) {
        if self.history.len() >= HISTORY {
            self.history.drain(..TRIM);
        }
        self.history.push_back(self.lines[row].text().into_boxed_str());
    }

    /// Moves the rows `top..=bottom` up by one; the first goes to the history, wherever the region is.
    pub(super) fn scroll_up(&mut self, top: usize, bottom: usize) {
        if self.keeps_history {
            self.remember(top);
        }
        self.delete_lines(top, bottom, 1);
    }

    /// Deletes `count` rows at `top`; those below, down to `bottom`, move up.
    pub(super) fn delete_lines(&mut self, top: usize, bottom: usize, count: usize) {
        let count = count.min(bottom + 1 - top);
        self.lines[top..=bottom].rotate_left(count);
        self.clear_rows(bottom + 1 - count, bottom + 1);
    }

    /// Inserts `count` blank rows at `top`; those below move down, and out at `bottom`.
    pub(super) fn insert_lines(&mut self, top: usize, bottom: usize, count: usize) {
        let count = count.min(bottom + 1 - top);
        self.lines[top..=bottom].rotate_right(count);
        self.clear_rows(top, top + count);
    }

    /// Inserts `count` blank rows at `top` as tmux does outside of the scroll region: only the rows that moved
    /// away leave blanks.
    pub(super) fn push_lines_down(&mut self, top: usize, count: usize) {
        let lines = &mut self.lines[top..];
        let moved = lines.len().saturating_sub(count);
        for from in (0..moved).rev() {
            lines[from + count] = std::mem::replace(&mut lines[from], Line::new(self.columns));
        }
    }

    /// Inserts `count` blanks; the rest of the row moves right, and out. Only cells that moved away are blanked.
    pub(super) fn insert_cells(&mut self, row: usize, column: usize, count: usize) {
        let line = &mut self.lines[row];
        let cells = &mut line.cells[column..];
        if cells.len() == 1 {
            cells[0] = Cell::BLANK;
            return;
        }
        let count = count.min(cells.len());
        let moved = cells.len() - count;
        line.used |= moved > 0;
        for from in (0..moved).rev() {
            cells[from + count] = std::mem::replace(&mut cells[from], Cell::BLANK);
        }
    }

    /// Deletes `count` cells; the rest of the row moves left.
    pub(super) fn delete_cells(&mut self, row: usize, column: usize, count: usize) {
        let line = &mut self.lines[row];
        let cells = &mut line.cells[column..];
        let count = count.min(cells.len());
        line.used |= count < cells.len();
        cells.rotate_left(count);
        let kept = cells.len() - count;
        cells[kept..].fill(Cell::BLANK);
    }

    /// Fills the screen with `E` (DECALN).
    pub(super) fn fill(&mut self) {
        for line in &mut self.lines {
            line.cells.fill(Cell { character: 'E', ..Cell::BLANK });
            line.used = true;
        }
    }

    /// Asserts that nothing is larger than it may be.
    #[cfg(test)]
    pub(super) fn check(&self, rows: usize) {
        assert_eq!(self.lines.len(), rows);
        assert!(self.history.len() <= HISTORY);
        let most = self.columns * CELL_BYTES;
        assert!(self.history.iter().all(|line| line.len() <= most));
        for line in self.lines.iter().chain(self.saved.iter().flatten()) {
            assert_eq!(line.cells.len(), self.columns);
            assert!(line.text().len() <= most);
        }
    }

    /// Shows an empty screen without history; false when it is shown already.
    pub(super) fn enter_alternate(&mut self) -> bool {
        if self.saved.is_some() {
            return false;
        }
        let empty = vec![Line::new(self.columns); self.rows()];
        self.saved = Some(std::mem::replace(&mut self.lines, empty));
        self.keeps_history = false;
        true
    }

    pub(super) fn leave_alternate(&mut self) {
        if let Some(lines) = self.saved.take() {
            self.lines = lines;
            self.keeps_history = true;
        }
    }
}
