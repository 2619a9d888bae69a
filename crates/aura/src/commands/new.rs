//! `aura new`: a first flow to start from.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write it.
    #[arg(value_name = "PATH", default_value = "flow.yaml")]
    pub(crate) path: std::path::PathBuf,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
