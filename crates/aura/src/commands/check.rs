//! `aura effects check`: whether a call with a shared key would be made, or its result is at hand.

use aura_core::Hash;
use aura_core::error::{Code, Problem};
use aura_core::ports::{Clock, KeyRow, KeyState, Store};
use serde_json::{Value, json};

use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::{local_time, plain};
use crate::resolve;
use crate::wire::SystemClock;

/// Arguments of `aura effects check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only keys that several runs share are looked up (idempotency: { scope: flow } or tenant).
  done   the call was made; the same call gets this result
  held   the call is under way or in doubt; the same call waits
  free   the call would be made

Examples:
  aura effects --run 0198c2d1 --json | jq -r '.effects[].key'
  aura effects check 9f0c41d2…")]
pub(crate) struct Args {
    /// The key, all 64 digits.
    #[arg(value_name = "KEY", value_parser = key)]
    key: Hash,
}

fn key(text: &str) -> Result<Hash, String> {
    text.parse().map_err(|_| "a key has 64 hexadecimal digits: aura effects --json".to_owned())
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let store = context.reader()?.store;
    let row = store.key(args.key).map_err(|e| resolve::unreadable(&e))?;
    let now = SystemClock.now();
    let row = row.filter(|row| !matches!(row.state, KeyState::Done { until, .. } if until <= now));
    let out = &context.out;
    if out.json {
        out.document(&document(args.key, row.as_ref()));
        return Ok(Exit::Done);
    }
    let Some(KeyRow { run, step, state, .. }) = row else {
        out.line("free: the call would be made");
        return Ok(Exit::Done);
    };
    let at = format!("{} of run {run}", plain(step.as_str()));
    match state {
        KeyState::Done { output, until, .. } => {
            out.line(format_args!("done: {}", describe::data(&output)));
            out.line(format_args!("  by    {at}"));
            out.line(format_args!("  until {}", local_time(until)));
        }
        KeyState::Held => {
            out.line(format_args!("held: the same call is under way or in doubt at {at}"));
            out.line_next(format_args!("aura why {run}"));
        }
        KeyState::Free => {
            let what = "the store keeps a row for a key that nobody holds";
            return Err(Problem::new(Code::Internal, what).next("aura store check"));
        }
    }
    Ok(Exit::Done)
}

fn document(key: Hash, row: Option<&KeyRow>) -> Value {
    let mut document = json!({ "key": key, "state": "free" });
    let Some(row) = row else { return document };
    document["run_id"] = json!(row.run);
    document["step"] = json!(row.step);
    document["state"] = json!("held");
    if let KeyState::Done { seq, output, at, until, .. } = &row.state {
        document["state"] = json!("done");
        document["seq"] = json!(seq);
        document["output"] = json!(output);
        document["at"] = json!(at);
        document["until"] = json!(until);
    }
    document
}
