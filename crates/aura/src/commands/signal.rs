//! `aura signal`: telling a run that something happened.

use aura_core::error::Problem;
use serde_json::Value;
use uuid::Uuid;

use crate::context::Context;
use crate::exit::Exit;
use crate::handing::hand_in;
use crate::socket::protocol::Ask;
use crate::{input, resolve};

/// Arguments of `aura signal`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A signal that comes before its 'wait' is kept, at most 1,000 of them. Where the flow lists its
'signals', a payload that does not fit its schema is refused, and nothing is recorded.

Examples:
  aura signal 0198c2d1 payment --payload '{\"amount\": 40}'
  aura signal 0198c2d1 payment --payload @event.json --id evt_17")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    run: String,
    /// The name of the signal.
    #[arg(value_name = "NAME")]
    name: String,
    /// What it carries: JSON, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON|@FILE|-")]
    payload: Option<String>,
    /// What it is recognised by when it is sent twice; otherwise each sending counts.
    #[arg(long)]
    id: Option<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    input::check_name("the name of a signal", &args.name)?;
    let payload = match &args.payload {
        Some(given) => input::json("--payload", given)?.value,
        None => Value::Null,
    };
    input::check_size("the payload", &payload)?;
    let id = args.id.unwrap_or_else(|| Uuid::now_v7().to_string());
    input::check_name("--id", &id)?;
    let run = resolve::run(&*context.reader()?.store, &args.run)?.run;
    let said = format!("signal '{}' is recorded", args.name);
    let ask = Ask::Signal { id, name: args.name, payload, actor: context.actor.clone() };
    hand_in(context, run, &ask, said)
}
