//! Handing in one input: through the owner if there is one, else as the owner for that moment.

use std::time::Duration;

use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::ports::RunStatus;
use serde_json::json;

use crate::context::Context;
use crate::door::Door;
use crate::exit::Exit;
use crate::family;
use crate::socket::protocol::{Ask, Taken};

/// Makes an input durable, and tells what became of it. Performs nothing.
pub(crate) fn hand_in(
    context: &Context,
    run: RunId,
    ask: &Ask,
    said: &str,
) -> Result<Exit, Problem> {
    let (taken, root) = loop {
        let mut door = Door::open(context, false)?;
        let root = family::root(&*door.store(), run)?;
        let taken = door.input(run, ask);
        if let Door::Own(owner) = door {
            owner.leave(Duration::from_secs(10));
        }
        if let Some(taken) = taken? {
            break (taken, root);
        }
    };
    tell(context, (run, root), taken, said);
    Ok(Exit::Done)
}

fn tell(context: &Context, (run, root): (RunId, RunId), taken: Taken, said: &str) {
    let Taken { accepted, performed } = taken;
    let open = !accepted.status.closed();
    let paused = accepted.status == RunStatus::Paused;
    // A child goes on with its tree, unless it is the one that stands still.
    let next = if paused { run } else { root };
    let next = (open && (paused || !performed)).then(|| format!("aura resume {next}"));
    if context.out.json {
        context.out.document(&json!({
            "run_id": run,
            "status": accepted.status,
            "already": accepted.already,
            "performed": performed,
            "next": next,
        }));
        return;
    }
    let before = if accepted.already { " (it was so before)" } else { "" };
    context.out.line(format_args!("{said}{before}; the run is {}", accepted.status.as_str()));
    if let Some(next) = next {
        context.out.line_next(next);
    }
}
