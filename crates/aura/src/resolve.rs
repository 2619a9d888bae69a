//! From what a person types to a run.

use std::fmt::Write;

use aura_core::error::{Code, Problem};
use aura_core::ports::{RunQuery, RunRow, Store};

use crate::output::local_time;

/// Candidates that an ambiguous prefix lists.
const CANDIDATES: usize = 10;

/// The run whose id starts with `prefix`.
pub(crate) fn run(store: &dyn Store, prefix: &str) -> Result<RunRow, Problem> {
    let wrong = prefix.is_empty() || !prefix.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let not_found = || {
        Problem::new(Code::RunNotFound, format!("no run has an id that starts with '{prefix}'"))
            .next("aura runs")
    };
    if wrong {
        return Err(not_found());
    }
    let query = RunQuery {
        id_prefix: Some(prefix.to_ascii_lowercase()),
        limit: CANDIDATES + 1,
        ..RunQuery::default()
    };
    let mut rows = store.runs(&query).map_err(|e| unreadable(&e))?;
    if rows.len() > 1 {
        return Err(ambiguous(prefix, &rows));
    }
    rows.pop().ok_or_else(not_found)
}

fn ambiguous(prefix: &str, rows: &[RunRow]) -> Problem {
    let mut what = format!("several runs have an id that starts with '{prefix}':");
    for row in rows.iter().take(CANDIDATES) {
        let (status, at) = (row.status.as_str(), local_time(row.started));
        let _ = write!(what, "\n  {}  {}  {status}  {at}", row.run, row.flow);
    }
    if rows.len() > CANDIDATES {
        what.push_str("\n  …");
    }
    Problem::new(Code::AmbiguousId, what).next("type more of the id")
}

/// What a store that can't be read means to the person at the command.
pub(crate) fn unreadable(error: &aura_core::ports::StoreError) -> Problem {
    Problem::new(error.code(), error.to_string())
        .kept("everything that was acknowledged is in the store")
        .next("aura store check")
}
