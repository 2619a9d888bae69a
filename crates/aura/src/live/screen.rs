//! The lower lines of a terminal, drawn over again and again.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::output::Output;

/// The shortest time between two drawings that nobody asked for.
const PACE: Duration = Duration::from_millis(50);

/// Lines that are on the screen now, above which the cursor stands.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    drawn: usize,
    last: Option<Instant>,
}

impl Screen {
    /// Whether enough time has gone by to draw again.
    pub(crate) fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= PACE)
    }

    /// Puts `above` where it stays, and `lines` below it in place of what was drawn before. No line may be wider than
    /// the screen: one that wraps could not be taken off again.
    pub(crate) fn draw(&mut self, out: &Output, above: &[String], lines: &[String]) {
        self.last = Some(Instant::now());
        if self.drawn == 0 && above.is_empty() && lines.is_empty() {
            return;
        }
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\r\x1b[{}A\x1b[J", self.drawn);
        }
        for line in above.iter().chain(lines) {
            text.push_str(line);
            text.push('\n');
        }
        // One write, so that no half of it is ever seen.
        out.write(text);
        self.drawn = lines.len();
    }

    /// Takes off what is drawn.
    pub(crate) fn clear(&mut self, out: &Output) {
        self.draw(out, &[], &[]);
    }
}
