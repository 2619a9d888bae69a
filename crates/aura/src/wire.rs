//! The one place where concrete types meet.

use aura_engine::Catalog;

/// The tools that this binary brings.
pub(crate) fn catalog() -> Catalog {
    Catalog::new(aura_tools::builtin(aura_tools::Options::default()))
}
