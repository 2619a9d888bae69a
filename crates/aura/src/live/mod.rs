//! What a person sees of a run while it goes on.
//!
//! The model is built from events; a view shows it: lines that scroll by for files and pipes, a tree that is drawn
//! again and again for a terminal. Both cost the same memory however long the run gets.

pub(crate) mod model;
pub(crate) mod plain;
mod screen;
pub(crate) mod streams;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

use aura_core::error::Problem;
use aura_core::event::Event;
use aura_core::time::Millis;

use self::model::Model;
use self::tree::Tree;
use crate::context::Context;

/// How a run is shown.
#[derive(Debug)]
pub(crate) enum View {
    /// Not at all.
    Nothing,
    /// As lines.
    Plain,
    /// As a tree.
    Tree(Box<Tree>),
}

impl View {
    /// The view that fits where the output goes.
    pub(crate) fn fitting(context: &Context) -> Self {
        match (context.out.json || context.quiet, context.out.terminal) {
            (true, _) => Self::Nothing,
            (false, false) => Self::Plain,
            (false, true) => Self::Tree(Box::default()),
        }
    }

    /// Something happened; the model does not know it yet.
    pub(crate) fn before(&mut self, context: &Context, model: &Model, at: Millis, event: &Event) {
        if let Self::Plain = self {
            plain::line(context, model, at, event);
        }
    }

    /// Draws what is drawn again and again, if it is time to.
    pub(crate) fn draw(&mut self, context: &Context, model: &mut Model, now: Millis) {
        match self {
            Self::Tree(tree) if tree.is_due() => tree.draw(context, model, now),
            Self::Tree(_) => {}
            Self::Nothing | Self::Plain => model.finished.clear(),
        }
    }

    /// Draws what ended, and takes what is in work off the screen, so that something else can be printed there.
    pub(crate) fn settle(&mut self, context: &Context, model: &mut Model, now: Millis) {
        if let Self::Tree(tree) = self {
            tree.draw(context, model, now);
            tree.clear(context);
        }
    }

    /// Takes what is in work off the screen.
    pub(crate) fn clear(&mut self, context: &Context) {
        if let Self::Tree(tree) = self {
            tree.clear(context);
        }
    }

    /// Says something about the run, beside what is drawn.
    pub(crate) fn say(&mut self, context: &Context, text: &str) {
        self.clear(context);
        match self {
            Self::Tree(_) | Self::Plain => context.out.line(text),
            Self::Nothing if context.quiet => {}
            Self::Nothing => context.out.note(text),
        }
    }

    /// Tells of a problem that may pass.
    pub(crate) fn warn(&mut self, context: &Context, problem: &Problem) {
        self.clear(context);
        context.out.note(format_args!("warning[{}]: {}", problem.code, problem.what));
    }
}
