//! Everything that is printed: lines, notes, JSON documents, tables, problems, and how times and ids look.
//!
//! Standard output carries what was asked for, standard error what is said about it. A reader that has gone away
//! (`aura runs | head`) ends the printing quietly.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::time::Millis;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

/// Blanks after a column of a table.
const PADDING: u16 = 2;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Names and headings.
    Strong,
    /// What stands aside.
    Faint,
    /// Ended well.
    Good,
    /// Failed.
    Bad,
    /// Needs somebody.
    Warn,
    /// In work.
    Busy,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warn => "33",
            Self::Busy => "36",
        }
    }
}

/// Where a command prints.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about two streams")]
pub(crate) struct Output {
    /// Whether the person asked for JSON.
    pub(crate) json: bool,
    /// Whether standard output is a terminal.
    pub(crate) terminal: bool,
    /// What was asked for.
    pub(crate) choice: ColorChoice,
    color: bool,
    note_color: bool,
    closed: AtomicBool,
}

/// Standard output for bytes.
pub(crate) struct Stream<'a> {
    out: std::io::StdoutLock<'static>,
    closed: &'a AtomicBool,
}

impl Stream<'_> {
    fn seen<T>(&self, done: std::io::Result<T>) -> std::io::Result<T> {
        if let Err(error) = &done
            && error.kind() == std::io::ErrorKind::BrokenPipe
        {
            self.closed.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes);
        self.seen(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.out.flush();
        self.seen(flushed)
    }
}

impl Output {
    pub(crate) fn new(json: bool, choice: ColorChoice) -> Self {
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = |terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !plain,
        };
        Self {
            json,
            terminal: out,
            choice,
            color: color(out),
            note_color: color(err),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether standard error takes colours.
    pub(crate) fn note_color(&self) -> bool {
        self.note_color
    }

    /// Whether whoever read standard output has gone away.
    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Prints a line.
    pub(crate) fn line(&self, text: impl Display) {
        self.write(format_args!("{text}\n"));
    }

    /// Prints text as it is.
    pub(crate) fn write(&self, text: impl Display) {
        if self.closed() {
            return;
        }
        let mut out = std::io::stdout().lock();
        if write!(out, "{text}").and_then(|()| out.flush()).is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    /// Standard output for bytes; a reader that goes away is noted as for lines, and ends the writing.
    pub(crate) fn stream(&self) -> Stream<'_> {
        Stream { out: std::io::stdout().lock(), closed: &self.closed }
    }

    /// Says something about the command, on standard error.
    #[expect(clippy::unused_self, reason = "who may print holds the output")]
    pub(crate) fn note(&self, text: impl Display) {
        // Where standard error is gone there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Says what to type next, on standard error.
    pub(crate) fn next(&self, command: impl Display) {
        self.note(format_args!("  {} {command}", painted(self.note_color, Tone::Strong, "next:")));
    }

    /// The same, where it is a part of what was asked for.
    pub(crate) fn line_next(&self, command: impl Display) {
        self.line(format_args!("  {} {command}", self.paint(Tone::Strong, "next:")));
    }

    /// Tells how far the command is, in one line of a terminal's standard error that the next takes the place of.
    #[expect(clippy::unused_self, reason = "who may print holds the output")]
    pub(crate) fn progress(&self, text: impl Display) {
        // Where standard error is gone there is nobody to tell.
        let _ = write!(std::io::stderr().lock(), "\r\x1b[K{text}");
    }

    /// Prints the one JSON document of a command.
    pub(crate) fn document(&self, value: &impl Serialize) {
        // Values of ours have string keys only, so that this can't fail.
        self.line(serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// Prints one JSON document of a stream, on a line of its own.
    pub(crate) fn record(&self, value: &impl Serialize) {
        self.line(serde_json::to_string(value).unwrap_or_default());
    }

    /// Text for standard output in a tone.
    pub(crate) fn paint(&self, tone: Tone, text: impl Display) -> String {
        painted(self.color, tone, text)
    }

    /// An empty table with these headings.
    pub(crate) fn table(&self, headings: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(if self.terminal {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        });
        if self.color {
            table.enforce_styling();
        }
        table.set_header(headings.iter().map(|text| self.cell(Tone::Faint, text)));
        for column in table.column_iter_mut() {
            column.set_padding((0, PADDING));
        }
        table
    }

    /// A table as it fits. Where it is too wide for the terminal, columns that are spared go first, in that order;
    /// those that are firm are never cut.
    pub(crate) fn fitted(&self, mut table: Table, firm: &[&str], spared: &[&str]) -> String {
        if let Some(width) = table.width().filter(|_| self.terminal) {
            fit(&mut table, width, firm, spared);
        }
        table.trim_fmt()
    }

    /// A cell of a table in a tone; the table counts what is seen, not what colours it.
    pub(crate) fn cell(&self, tone: Tone, text: impl Display) -> Cell {
        let cell = Cell::new(text);
        if !self.color {
            return cell;
        }
        match tone {
            Tone::Strong => cell.add_attribute(Attribute::Bold),
            Tone::Faint => cell.add_attribute(Attribute::Dim),
            Tone::Good => cell.fg(Color::Green),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Warn => cell.fg(Color::Yellow),
            Tone::Busy => cell.fg(Color::Cyan),
        }
    }

    /// Prints a problem: for people on standard error, with `--json` as one document on standard output.
    pub(crate) fn problem(&self, problem: &Problem) {
        if self.json {
            self.document(&serde_json::json!({ "error": problem }));
            return;
        }
        let paint = |tone, text: &str| painted(self.note_color, tone, text);
        let head = paint(Tone::Bad, &format!("error[{}]:", problem.code));
        self.note(format_args!("{head} {}", problem.what));
        if let Some(kept) = &problem.kept {
            self.note(format_args!("  {} {kept}", paint(Tone::Faint, "kept:")));
        }
        if let Some(next) = &problem.next {
            self.next(next);
        }
    }
}

fn fit(table: &mut Table, width: u16, firm: &[&str], spared: &[&str]) {
    let headings = table.header().map(|row| row.cell_iter().map(Cell::content).collect());
    let headings: Vec<String> = headings.unwrap_or_default();
    let place = |name: &&str| headings.iter().position(|heading| heading == name);
    let widths = table.column_max_content_widths();
    let wide = |width: u16| u32::from(width) + u32::from(PADDING);
    let mut needed: u32 = widths.iter().copied().map(wide).sum();
    for column in spared.iter().filter_map(place) {
        // The blanks after the last column may be cut.
        if needed <= wide(width) {
            break;
        }
        needed -= wide(widths[column]);
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
    for column in firm.iter().filter_map(place) {
        if let Some(column) = table.column_mut(column).filter(|column| !column.is_hidden()) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

fn painted(color: bool, tone: Tone, text: impl Display) -> String {
    if color { format!("\x1b[{}m{text}\x1b[0m", tone.code()) } else { text.to_string() }
}

/// The start of an id that a person can type; enough to tell runs apart that did not start in one millisecond.
pub(crate) fn short(run: RunId) -> String {
    run.to_string()[..13].to_owned()
}

/// A point in time with its day, in the local zone: `2026-11-21 14:03:22`.
pub(crate) fn local_time(at: Millis) -> String {
    zoned(at, "%Y-%m-%d %H:%M:%S")
}

/// A point in time of today, in the local zone: `14:03:22.120`.
pub(crate) fn clock_time(at: Millis) -> String {
    zoned(at, "%H:%M:%S%.3f")
}

fn zoned(at: Millis, format: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string(),
        Err(_) => format!("{} ms", at.0),
    }
}

/// Text without what could move a cursor or change a colour: texts of strangers are shown, not obeyed.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Text cut to a number of characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(most.saturating_sub(1)).collect();
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_table_goes_without_columns_before_it_cuts_what_is_typed() {
        let drawn = |width: u16| {
            let mut out = Output::new(false, ColorChoice::Never);
            out.terminal = true;
            let mut table = out.table(&["RUN", "FLOW", "STATUS", "STARTED", "LABELS"]);
            let text = "a flow with words in its name";
            let run = "0198c2d1-5b2f-7c44";
            table.add_row([run, text, "completed", "2026-11-21 14:03:22", "team=pay"]);
            table.set_width(width);
            out.fitted(table, &["RUN", "STATUS"], &["LABELS", "STARTED"])
        };
        let gone = |text: &str| {
            let headings = ["RUN", "FLOW", "STATUS", "STARTED", "LABELS"];
            headings.into_iter().filter(|name| !text.contains(name)).collect::<Vec<_>>()
        };
        assert_eq!(gone(&drawn(120)), [""; 0]);
        assert_eq!(gone(&drawn(90)), ["LABELS"]);
        assert_eq!(gone(&drawn(70)), ["STARTED", "LABELS"]);
        for width in [40, 50, 60, 70, 80, 120] {
            let drawn = drawn(width);
            assert!(drawn.contains("0198c2d1-5b2f-7c44"), "{drawn}");
            assert!(drawn.contains("completed"), "{drawn}");
            assert!(drawn.lines().all(|line| line.len() <= usize::from(width)), "{drawn}");
        }
    }
}
