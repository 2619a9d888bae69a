//! Runs that belong together, as they are read from the store: the children below a run, what they need, and the run
//! that goes on in the place of another.

use std::fmt::Write as _;

use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Clock, RunQuery, RunRow, RunStatus, Store};
use aura_core::time::Span;
use aura_engine::open_history;
use aura_graph::Run;
use serde_json::{Value, json};

use crate::describe;
use crate::needs::{Need, needs};
use crate::output::{Output, Tone, plain};
use crate::queries;
use crate::resolve::unreadable;
use crate::wire::SystemClock;

/// Children that are shown or asked what they need; more are counted.
const SHOWN: usize = 50;
/// Runs of a chain that are followed before somebody must ask again.
const CHAIN: usize = 1_000_000;

/// The row of a run.
pub(crate) fn row(store: &dyn Store, run: RunId) -> Result<Option<RunRow>, Problem> {
    let query = RunQuery { id_prefix: Some(run.to_string()), ..RunQuery::default() };
    Ok(store.runs(&query).map_err(|e| unreadable(&e))?.pop())
}

/// The run at the top of the tree of a run: whoever performs that performs this one.
pub(crate) fn root(store: &dyn Store, run: RunId) -> Result<RunId, Problem> {
    Ok(row(store, run)?.and_then(|row| row.root).unwrap_or(run))
}

/// The run above a child that is paused, the nearest one; `None` where none is.
pub(crate) fn paused_above(store: &dyn Store, child: &RunRow) -> Result<Option<RunId>, Problem> {
    let mut at = child.clone();
    // What is nested deeper is refused when it starts.
    for _ in 0..=limits::CHILD_DEPTH {
        let parent = at.parent.filter(|_| at.root.is_some());
        let Some(above) = parent.map(|parent| row(store, parent)).transpose()?.flatten() else {
            return Ok(None);
        };
        if above.status == RunStatus::Paused {
            return Ok(Some(above.run));
        }
        at = above;
    }
    Ok(None)
}

/// The last of the runs that go on in the place of this one: this one, where there is none.
pub(crate) fn last(store: &dyn Store, run: RunId) -> Result<RunId, Problem> {
    let mut last = run;
    for _ in 0..CHAIN {
        match row(store, last)?.and_then(|row| row.next) {
            Some(next) => last = next,
            None => break,
        }
    }
    Ok(last)
}

/// Runs below this one that have not ended.
pub(crate) fn open_below(store: &dyn Store, run: RunId) -> Result<Vec<RunRow>, Problem> {
    let query = RunQuery { root: Some(run), ..queries::open() };
    store.runs(&query).map_err(|e| unreadable(&e))
}

/// What a run and those below it need somebody to do.
pub(crate) fn needs_of_tree(store: &dyn Store, run: &Run) -> Result<Vec<Need>, Problem> {
    let mut all = needs(run);
    if run.children.is_empty() {
        return Ok(all);
    }
    for row in open_below(store, run.root_run())?.iter().take(SHOWN) {
        if let Some(history) = open_history(store, row.run)? {
            all.extend(needs(&history.run));
        }
    }
    Ok(all)
}

/// The children of a run with theirs, for programs.
pub(crate) fn document(store: &dyn Store, run: RunId) -> Result<Value, Problem> {
    let children = children(store, run)?.into_iter().map(|row| {
        let mut document = crate::commands::runs::document(&row);
        document["children"] = document_of(store, &row)?;
        Ok(document)
    });
    children.collect::<Result<Vec<_>, Problem>>().map(Value::from)
}

/// Child runs are nested only so deep, so this may recurse.
fn document_of(store: &dyn Store, row: &RunRow) -> Result<Value, Problem> {
    if row.root.is_some() { document(store, row.run) } else { Ok(json!([])) }
}

/// The children of a run with theirs, a line each.
pub(crate) fn lines(store: &dyn Store, out: &Output, run: RunId) -> Result<Vec<String>, Problem> {
    let mut lines = Vec::new();
    draw(store, out, (run, 0), &mut lines)?;
    Ok(lines)
}

fn draw(
    store: &dyn Store,
    out: &Output,
    (run, depth): (RunId, usize),
    lines: &mut Vec<String>,
) -> Result<(), Problem> {
    let children = children(store, run)?;
    let indent = "  ".repeat(depth);
    for row in children.iter().take(SHOWN) {
        let status = out.paint(describe::tone(row.status), row.status.as_str());
        let end = if row.status.closed() { row.updated } else { SystemClock.now() };
        let took = out.paint(Tone::Faint, Span(end.since(row.started)));
        let mut line = format!("{indent}{}  {}  {status}  {took}", row.run, plain(&row.flow));
        if let Some(error) = row.error {
            let _ = write!(line, "  {}", out.paint(Tone::Bad, error));
        }
        if let Some(next) = row.next {
            let _ = write!(line, "  → {next}");
        }
        if row.root.is_none() {
            line.push_str("  detached");
        }
        lines.push(line);
        // A detached child has a tree of its own.
        if row.root.is_some() {
            draw(store, out, (row.run, depth + 1), lines)?;
        }
    }
    if children.len() > SHOWN {
        let more = children.len() - SHOWN;
        lines.push(format!("{indent}… {more} more: aura runs --where parent={run}"));
    }
    Ok(())
}

/// The runs that a run started, in the order in which they started.
fn children(store: &dyn Store, run: RunId) -> Result<Vec<RunRow>, Problem> {
    let query = RunQuery { parent: Some(run), ..queries::all() };
    let mut rows = store.runs(&query).map_err(|e| unreadable(&e))?;
    rows.reverse();
    Ok(rows)
}
