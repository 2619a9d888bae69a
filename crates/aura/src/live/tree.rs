//! A tree that is drawn again and again: what is in work moves at the bottom, what ended stays above it.

use aura_core::path::StepPath;
use aura_core::time::{Millis, Span};

use super::model::{Finished, Model, Stage, Step};
use super::screen::Screen;
use crate::context::Context;
use crate::output::{Output, Tone, plain};

const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Lines for steps in work; more are only counted.
const MOST_LINES: usize = 24;
/// Steps shown of a node that works on many things at once.
const MOST_OF_MANY: usize = 5;
/// Width of the column of step names.
const NAMES: usize = 26;

/// The tree on its screen.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    screen: Screen,
    frame: usize,
}

impl Tree {
    /// Whether it is time to draw again.
    pub(crate) fn is_due(&self) -> bool {
        self.screen.is_due()
    }

    /// Prints what ended, and draws what is in work.
    pub(crate) fn draw(&mut self, context: &Context, model: &mut Model, now: Millis) {
        let out = &context.out;
        let (height, width) = console::Term::stdout().size();
        let (height, width) = (usize::from(height), usize::from(width));
        let ended = model.finished.drain(..);
        let above: Vec<_> = ended.map(|step| fit(&ended_line(out, &step), width)).collect();
        self.frame = (self.frame + 1) % FRAMES.len();
        let most = MOST_LINES.min(height.saturating_sub(2)).max(1);
        let canvas = Canvas { out, model, now, frame: FRAMES[self.frame] };
        let lines: Vec<_> = canvas.lines(most).iter().map(|line| fit(line, width)).collect();
        self.screen.draw(out, &above, &lines);
    }

    /// Takes the tree off the screen.
    pub(crate) fn clear(&mut self, context: &Context) {
        self.screen.clear(&context.out);
    }
}

/// A line that does not wrap: a wrapped one could not be taken off the screen again.
fn fit(line: &str, width: usize) -> String {
    console::truncate_str(line, width.saturating_sub(1), "…").into_owned()
}

/// The line of a step that ended.
pub(crate) fn ended_line(out: &Output, finished: &Finished) -> String {
    let Finished { path, step, took, note } = finished;
    let (tone, mark) = match step.stage {
        Stage::Completed => (Tone::Good, '✓'),
        Stage::Skipped => (Tone::Faint, '–'),
        Stage::Passed => (Tone::Warn, '✗'),
        _ => (Tone::Bad, '✗'),
    };
    let what = describe(step);
    let mut line = format!("{} {} {}", out.paint(tone, mark), name(path.as_str(), NAMES), what);
    if step.stage != Stage::Skipped {
        line.push_str(&out.paint(Tone::Faint, format_args!("  {}", Span(*took))));
    }
    if step.attempt > 1 {
        line.push_str(&out.paint(Tone::Warn, format_args!("  {} attempts", step.attempt)));
    }
    if let Some(note) = note {
        let first = plain(note.lines().next().unwrap_or_default());
        line.push_str(&out.paint(tone, format_args!("  {first}")));
    }
    line
}

/// What a step is, with its counts.
fn describe(step: &Step) -> String {
    let what = plain(&step.what);
    match (step.total, step.done) {
        (Some(total), done) => {
            let failed =
                if step.failed > 0 { format!(", {} failed", step.failed) } else { String::new() };
            format!("{what} {done}/{total}{failed}")
        }
        (None, done) if step.counted => format!("{what} {done}"),
        (None, _) => what,
    }
}

fn name(text: &str, width: usize) -> String {
    let text = plain(text);
    let cut = console::truncate_str(&text, width, "…");
    console::pad_str(&cut, width, console::Alignment::Left, None).into_owned()
}

/// What the lines of steps in work are made from.
pub(crate) struct Canvas<'a> {
    pub(crate) out: &'a Output,
    pub(crate) model: &'a Model,
    pub(crate) now: Millis,
    pub(crate) frame: char,
}

impl Canvas<'_> {
    /// At most `most` lines.
    pub(crate) fn lines(&self, most: usize) -> Vec<String> {
        let mut lines = Vec::new();
        self.below(None, 0, &mut lines);
        if lines.len() > most {
            let hidden = lines.len() - most + 1;
            lines.truncate(most - 1);
            lines.push(self.out.paint(Tone::Faint, format_args!("  … {hidden} more lines")));
        }
        lines
    }

    fn below(&self, parent: Option<(&StepPath, &Step)>, depth: usize, lines: &mut Vec<String>) {
        let steps = self.model.below(parent.map(|(path, _)| path));
        let many = parent.is_some_and(|(_, step)| step.counted);
        let most = if many { MOST_OF_MANY } else { MOST_LINES };
        for (path, step) in steps.iter().take(most) {
            lines.push(self.line(parent.map(|(path, _)| path), path, step, depth));
            self.below(Some((path, step)), depth + 1, lines);
        }
        if steps.len() > most {
            let indent = "  ".repeat(depth);
            let more = steps.len() - most;
            lines.push(self.out.paint(Tone::Faint, format_args!("{indent}  … {more} more")));
        }
    }

    fn line(
        &self,
        parent: Option<&StepPath>,
        path: &StepPath,
        step: &Step,
        depth: usize,
    ) -> String {
        let (tone, mark, state) = self.state(step);
        // Below its parent a step needs only the rest of its path.
        let rest = parent.and_then(|parent| path.as_str().strip_prefix(parent.as_str()));
        let indent = "  ".repeat(depth);
        let width = NAMES.saturating_sub(indent.len()).max(8);
        let label = name(rest.unwrap_or(path.as_str()), width);
        let mut line = format!("{indent}{} {label} {}", self.out.paint(tone, mark), describe(step));
        if !state.is_empty() {
            line.push_str(&self.out.paint(tone, format_args!("  {state}")));
        }
        let took = Span(self.now.since(step.began));
        line.push_str(&self.out.paint(Tone::Faint, format_args!("  {took}")));
        line
    }

    fn state(&self, step: &Step) -> (Tone, char, String) {
        let until = |due: Millis| Span(due.since(self.now));
        match step.stage {
            Stage::Working if step.attempt > 1 => {
                (Tone::Busy, self.frame, format!("attempt {}", step.attempt))
            }
            Stage::Sleeping(due) => (Tone::Busy, '⏾', format!("{} left", until(due))),
            Stage::Retrying(due) => {
                (Tone::Warn, '↻', format!("attempt {} in {}", step.attempt, until(due)))
            }
            Stage::Waiting => (Tone::Warn, '◌', String::new()),
            Stage::Asking => (Tone::Warn, '?', "asks a person".to_owned()),
            Stage::InDoubt => (Tone::Bad, '!', "in doubt".to_owned()),
            _ => (Tone::Busy, self.frame, String::new()),
        }
    }
}
