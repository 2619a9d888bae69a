//! What is wrong with a flow file, where, and what to do about it. How it is drawn on a screen is not decided here.

use std::fmt;
use std::ops::Range;

use aura_core::limits;

/// One mistake in a flow file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The bytes of the file that it is about.
    pub span: Range<usize>,
    /// The place within the flow, such as `nodes[2].with.url`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub suggestion: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a flow file, in the order of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// The mistakes, at most [`limits::FLOW_PROBLEMS`] of them.
    pub problems: Vec<Diagnostic>,
    /// How many more were found.
    pub omitted: usize,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let newline = if at > 0 { "\n" } else { "" };
            write!(f, "{newline}{problem}")?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// A mistake on its way to becoming a [`Diagnostic`]: it has no line yet.
#[derive(Debug)]
pub(super) struct Finding {
    span: Range<usize>,
    path: String,
    message: String,
    suggestion: Option<String>,
}

impl Finding {
    /// The same, with what to do.
    pub(super) fn suggest(&mut self, suggestion: impl Into<String>) {
        self.suggestion = Some(suggestion.into());
    }

    /// The same, with what to do unless it says so already.
    pub(super) fn suggest_else(&mut self, suggestion: &str) {
        self.suggestion.get_or_insert_with(|| suggestion.to_owned());
    }

    /// The same, with what to do if somebody knows.
    pub(super) fn suggest_maybe(&mut self, suggestion: Option<String>) {
        if suggestion.is_some() {
            self.suggestion = suggestion;
        }
    }
}

/// Collects mistakes while a file is read. Kept within bounds however broken the file is.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
}

/// Findings kept before they are sorted and cut.
const KEPT: usize = limits::FLOW_VALUES;

/// Findings after which nobody looks for what is costly to find.
const CROWD: usize = 3 * limits::FLOW_PROBLEMS;

impl Findings {
    /// Adds one.
    pub(super) fn add(
        &mut self,
        span: &Range<usize>,
        path: &str,
        message: impl Into<String>,
    ) -> &mut Finding {
        if self.list.len() >= KEPT {
            self.list.pop();
        }
        let at = self.list.len();
        self.list.push(Finding {
            span: span.clone(),
            path: path.to_owned(),
            message: message.into(),
            suggestion: None,
        });
        &mut self.list[at]
    }

    /// Whether there are so many that more would help nobody.
    pub(super) fn is_crowded(&self) -> bool {
        self.list.len() >= CROWD
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The first that was added after there were `known`.
    pub(super) fn since(&mut self, known: usize) -> Option<&mut Finding> {
        self.list.get_mut(known)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Sorts by place, drops what is said twice, and gives each its line and column.
    pub(super) fn finish(mut self, source: &str) -> Diagnostics {
        self.list.sort_by(|a, b| {
            (a.span.start, a.span.end, &a.message).cmp(&(b.span.start, b.span.end, &b.message))
        });
        self.list.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        let omitted = self.list.len().saturating_sub(limits::FLOW_PROBLEMS);
        self.list.truncate(limits::FLOW_PROBLEMS);
        let problems = self.list.into_iter().map(|finding| place(finding, source)).collect();
        Diagnostics { problems, omitted }
    }
}

fn place(finding: Finding, source: &str) -> Diagnostic {
    let start = source.floor_char_boundary(finding.span.start);
    let end = source.ceil_char_boundary(finding.span.end).max(start);
    let before = &source[..start];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Diagnostic {
        line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: before[line_start..].chars().filter(|c| *c != '\u{feff}').count() + 1,
        span: start..end,
        path: finding.path,
        message: finding.message,
        suggestion: finding.suggestion,
    }
}
