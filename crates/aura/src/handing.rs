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

/// What is said of an input that became durable.
pub(crate) struct Said {
    /// What it was.
    pub(crate) what: String,
    /// What must come next before anything can go on.
    pub(crate) first: Option<String>,
}

impl<T: Into<String>> From<T> for Said {
    fn from(what: T) -> Self {
        Self { what: what.into(), first: None }
    }
}

/// Makes an input durable, and tells what became of it. Performs nothing.
pub(crate) fn hand_in(
    context: &Context,
    run: RunId,
    ask: &Ask,
    said: impl Into<Said>,
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
    tell(context, (run, root), taken, said.into());
    Ok(Exit::Done)
}

fn tell(context: &Context, (run, root): (RunId, RunId), taken: Taken, said: Said) {
    let Taken { accepted, performed } = taken;
    let open = !accepted.status.closed();
    let paused = accepted.status == RunStatus::Paused;
    // A child goes on with its tree, unless it is the one that stands still.
    let next = if paused { run } else { root };
    let resume = || (paused || !performed).then(|| format!("aura resume {next}"));
    let Said { what, first } = said;
    let next = if open { first.or_else(resume) } else { None };
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
    context.out.line(format_args!("{what}{before}; the run is {}", accepted.status.as_str()));
    if let Some(next) = next {
        context.out.line_next(next);
    }
}
