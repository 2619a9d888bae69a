//! `aura cancel`: ending a run.

use aura_core::error::Problem;

use crate::context::Context;
use crate::exit::Exit;
use crate::handing::hand_in;
use crate::resolve;
use crate::socket::protocol::Ask;

/// Arguments of `aura cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The run starts nothing new. It ends when every call that may have acted has an outcome,
and when the steps that have a compensation are undone.

Examples:
  aura cancel 0198c2d1 --reason 'wrong customer'")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    run: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let run = resolve::run(&*context.reader()?.store, &args.run)?.run;
    let ask = Ask::Cancel { actor: context.actor.clone(), reason: args.reason };
    hand_in(context, run, &ask, "cancelling is asked for")
}
