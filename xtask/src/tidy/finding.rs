//! What a check has to say.

use std::fmt;

/// How serious it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Worth knowing.
    Note,
    /// Must be put right.
    Error,
}

/// One thing in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// The file or folder, from the root.
    pub(super) path: String,
    /// The line, from 1.
    pub(super) line: usize,
    /// How serious it is.
    pub(super) level: Level,
    /// What it is, and what to do.
    pub(super) text: String,
}

impl Finding {
    pub(super) fn error(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, level: Level::Error, text: text.into() }
    }

    pub(super) fn note(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::error(path, line, text) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Note => "note",
            Level::Error => "error",
        };
        write!(f, "{}:{}: {level}: {}", self.path, self.line, self.text)
    }
}
