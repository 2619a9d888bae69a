//! What retention must leave alone.

use std::collections::BTreeSet;

use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{RunQuery, Store};

use crate::history::store_problem;

/// Runs that ended but whose events are a part of others' histories, so that they stay as long as those do.
///
/// # Errors
/// The store can't be read.
pub fn needed(store: &dyn Store) -> Result<BTreeSet<RunId>, Problem> {
    let query = RunQuery { limit: limits::RECOVERED_RUNS, ..RunQuery::default() };
    let rows = store.runs(&query).map_err(|e| store_problem(&e))?;
    Ok(rows.into_iter().filter_map(|row| row.forked).map(|point| point.parent).collect())
}
