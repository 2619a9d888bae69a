//! Behaviour flags: numbers for changes that would decide an old history differently. A run obeys the flags that
//! its `run.started` lists; a number is never used again.

/// The flags that new runs obey, ascending.
pub const CURRENT: &[u32] = &[];
