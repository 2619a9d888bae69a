//! `aura why`: what a run waits for, and what to type.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura why`.
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
