//! Colours for a person at a terminal, and none for anybody else.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A heading.
    Strong,
    /// What stands aside.
    Faint,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
}

/// The text in its colour, where standard output shows colours.
pub(crate) fn paint(tone: Tone, text: impl Display) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !io::stdout().is_terminal() {
        return text.to_string();
    }
    let code = match tone {
        Tone::Strong => "1;36",
        Tone::Faint => "2",
        Tone::Good => "1;32",
        Tone::Bad => "1;31",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
