//! `aura cancel`: cancelling a run.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura cancel`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
