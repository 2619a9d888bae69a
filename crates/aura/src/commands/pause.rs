//! `aura pause`: a run starts nothing new until somebody lets it go on.

use aura_core::error::Problem;

use crate::context::Context;
use crate::exit::Exit;
use crate::handing::hand_in;
use crate::resolve;
use crate::socket::protocol::Ask;

/// Arguments of `aura pause`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
No step, call or retry starts, and no timer fires, until 'aura resume RUN'. Calls in flight end, and
their outcomes are recorded; so are signals and approvals. What came due meanwhile fires on resuming.
The children of a run are paused and resumed with it; a child that was paused by itself stays so.

Examples:
  aura pause 0198c2d1 --reason 'the shop is down'
  aura resume 0198c2d1")]
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
    let ask = Ask::Pause { actor: context.actor.clone(), reason: args.reason };
    hand_in(context, run, &ask, "the pause is recorded")
}
