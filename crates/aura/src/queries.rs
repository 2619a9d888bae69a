//! Queries for runs, however many there are.

use aura_core::ports::{RunQuery, RunStatus};

/// Every run.
pub(crate) fn all() -> RunQuery {
    unlimited(RunQuery::default())
}

/// Every run that has not ended.
pub(crate) fn open() -> RunQuery {
    let open = RunStatus::ALL.into_iter().filter(|status| !status.closed());
    RunQuery { statuses: open.collect(), ..all() }
}

/// The same query without a limit.
pub(crate) fn unlimited(query: RunQuery) -> RunQuery {
    RunQuery { limit: usize::MAX >> 1, ..query }
}
