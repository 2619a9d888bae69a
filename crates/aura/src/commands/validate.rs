//! `aura validate`: checking flow files.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The flow files.
    #[arg(value_name = "FLOW", required = true)]
    pub(crate) flows: Vec<std::path::PathBuf>,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
