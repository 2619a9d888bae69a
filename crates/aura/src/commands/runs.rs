//! `aura runs`: a list of runs.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura runs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only runs with this field: `status=failed`, `flow=NAME`, `label.KEY=VALUE`.
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(crate) filters: Vec<String>,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
