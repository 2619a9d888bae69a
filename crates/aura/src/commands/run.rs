//! `aura run`: running a flow.

use aura_core::error::{Code, Problem};

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The flow file.
    #[arg(value_name = "FLOW")]
    pub(crate) flow: std::path::PathBuf,
}

/// Does it.
pub(crate) fn run(_context: &Context, _args: Args) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
