//! Behaviour flags: numbers for changes that would decide an old history differently. A run obeys the flags that
//! its `run.started` lists; a number is never used again.

/// What a child uses counts for the budgets of its parent, which sets aside what the child may use.
pub const CHILDREN_COUNT: u32 = 1;

/// What undoes a child that completed is handed to its parent, which undoes it with its own steps.
pub const CHILDREN_UNDONE: u32 = 2;

/// The flags that new runs obey, ascending.
pub const CURRENT: &[u32] = &[CHILDREN_COUNT, CHILDREN_UNDONE];
