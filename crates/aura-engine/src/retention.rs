//! What retention must leave alone.

use std::collections::BTreeSet;

use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::ports::Store;

/// Runs that ended but whose events are a part of others' histories, so that they stay as long as those do.
///
/// # Errors
/// The store can't be read.
pub fn needed(_store: &dyn Store) -> Result<BTreeSet<RunId>, Problem> {
    // Every history is whole by itself.
    Ok(BTreeSet::new())
}
