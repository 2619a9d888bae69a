//! `aura completions`: completions for a shell.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
