//! `aura settle`: saying what became of an effect in doubt.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura settle`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The start of the effect's key.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
