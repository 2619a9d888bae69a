//! `aura explain`: the page of an error code.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The code, such as STORE_OWNED.
    #[arg(value_name = "CODE")]
    pub(crate) code: String,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
