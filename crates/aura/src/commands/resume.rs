//! `aura resume`: going on with runs.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN", required_unless_present = "all")]
    pub(crate) run: Option<String>,
    /// Every run that has not ended.
    #[arg(long, conflicts_with = "run")]
    pub(crate) all: bool,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
