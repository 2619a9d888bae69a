//! The list of built-in tools. Adding one is a file here and a line in [`ROWS`].

use std::sync::Arc;

use aura_core::ports::Activity;
use aura_core::tool::ToolDef;

use crate::http::{Lookup, Network, SystemLookup};

mod echo;
mod extract;
mod fail;
mod list;
mod noop;
mod query;
mod read;
mod request;
mod sha256;
mod split;
mod verify;
mod write;

/// What the built-in tools need to know of the place where they run.
#[derive(Clone)]
pub struct Options {
    /// Where `http.request` looks up the names of hosts.
    pub lookup: Arc<dyn Lookup>,
    /// Certificates (DER) of authorities that are trusted beside those of the platform.
    pub extra_roots: Vec<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { lookup: Arc::new(SystemLookup), extra_roots: Vec::new() }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("extra_roots", &self.extra_roots.len())
            .finish_non_exhaustive()
    }
}

/// A tool: its definition, and how it is made.
struct Row {
    def: fn() -> ToolDef,
    make: fn(&Network) -> Arc<dyn Activity>,
}

const ROWS: &[Row] = &[
    Row { def: noop::def, make: |_| noop::make() },
    Row { def: echo::def, make: |_| echo::make() },
    Row { def: fail::def, make: |_| fail::make() },
    Row { def: list::def, make: |_| list::make() },
    Row { def: read::def, make: |_| read::make() },
    Row { def: write::def, make: |_| write::make() },
    Row { def: sha256::def, make: |_| sha256::make() },
    Row { def: request::def, make: request::make },
    Row { def: query::def, make: |_| query::make() },
    Row { def: extract::def, make: |_| extract::make() },
    Row { def: split::def, make: |_| split::make() },
    Row { def: verify::def, make: |_| verify::make() },
];

/// Every built-in tool, ready to be called, in the order of their names.
///
/// Nothing is opened, read or looked up before the first call. The tools must be performed on a tokio runtime with
/// I/O and time, except those whose definition is `inline`.
pub fn builtin(options: Options) -> Vec<Arc<dyn Activity>> {
    let network = Network::new(options.lookup, options.extra_roots);
    ROWS.iter().map(|row| (row.make)(&network)).collect()
}

/// The definitions of every built-in tool, in the order of their names; needs no set-up.
pub fn definitions() -> Vec<ToolDef> {
    ROWS.iter().map(|row| (row.def)()).collect()
}
