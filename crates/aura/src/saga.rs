//! What became of the compensations of a run, for people.

use aura_core::saga::{SagaEnd, Uncompensated};
use aura_graph::Run;

use crate::describe;
use crate::output::plain;

/// Steps that are named; more are counted.
const NAMED: usize = 5;
/// Characters of why one was not undone.
const WHY: usize = 160;

/// What became of the compensations of a run that runs or ran them.
pub(crate) fn end(run: &Run) -> Option<&SagaEnd> {
    run.saga.as_ref().filter(|saga| saga.begun).map(|saga| &*saga.end)
}

/// How many steps were undone: `3 steps`, `2 of 3 steps`.
pub(crate) fn undone(end: &SagaEnd) -> String {
    if end.failed == 0 {
        return describe::count(end.compensated, "step");
    }
    let all = describe::count(end.compensated + end.failed, "step");
    format!("{} of {all}", end.compensated)
}

/// A line for each step that could not be undone.
pub(crate) fn left(end: &SagaEnd) -> Vec<String> {
    let line = |left: &Uncompensated| {
        let why = describe::one_line(&left.error.to_string(), WHY);
        format!("{}: {why}", plain(left.step.as_str()))
    };
    let mut lines: Vec<_> = end.uncompensated.iter().take(NAMED).map(line).collect();
    let hidden = end.failed.saturating_sub(lines.len() as u64);
    if hidden > 0 {
        lines.push(format!("… {hidden} more"));
    }
    lines
}

/// All of it in one line.
pub(crate) fn told(end: &SagaEnd) -> String {
    let left = left(end);
    let not = if left.is_empty() { String::new() } else { format!("; not {}", left.join(", ")) };
    format!("undone {}{not}", undone(end))
}
