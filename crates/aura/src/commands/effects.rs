//! `aura effects`: the ledger of effects, and settling those in doubt (`settle.rs`).

use aura_core::error::{Code, Problem};

use super::settle;
use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura effects`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

/// What to do with effects.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what became of an effect in doubt.
    Settle(settle::Args),
}

/// Which effects to list.
#[derive(Debug, clap::Args)]
struct List {
    /// Only effects of this run (the start of its id).
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    match args.command {
        Some(Command::Settle(settle)) => settle::run(context, settle),
        None => list(context, args.list),
    }
}

fn list(_context: &Context, _args: List) -> Result<Exit, Problem> {
    Err(Problem::new(Code::Internal, "not built yet"))
}
