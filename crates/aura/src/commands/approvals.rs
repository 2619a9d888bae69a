//! `aura approvals`: what people are asked, in every run.

use std::sync::Arc;

use aura_core::budget::Raise;
use aura_core::error::{Code, Problem};
use aura_core::ports::{Clock, Store};
use aura_core::time::Millis;
use aura_core::{Data, Hash, StepPath};
use aura_graph::Run;
use aura_graph::state::Asked;
use serde::Serialize;

use super::runs;
use crate::budget;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::follow::read_once;
use crate::output::{Tone, local_time, plain};
use crate::queries;
use crate::resolve;
use crate::wire::SystemClock;

/// Arguments of `aura approvals`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A question is that of an approval node, of a call that is not the one that was approved, or of a
budget: whether there may be more of it. Each has an action: the hash of exactly what is approved. An answer that names it counts for
nothing if something else is asked by then.

Examples:
  aura approvals
  aura approvals 0198c2d1 --json | jq -r '.approvals[].action'
  aura approvals --where flow=refund
  aura approve 0198c2d1 pay --action 9f0c41d2 --reason 'read it'")]
pub(crate) struct Args {
    /// Only those of this run (the start of its id).
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Only those of runs with this field, as in `aura runs --where`.
    #[arg(long = "where", value_name = "FIELD=VALUE", conflicts_with = "run")]
    filters: Vec<String>,
}

/// A question that is open.
#[derive(Debug, Serialize)]
struct Open {
    run_id: aura_core::RunId,
    flow: String,
    step: StepPath,
    /// Hash of what is approved.
    action: Hash,
    /// The node whose call is approved.
    of: Option<String>,
    /// The approval node that approved another call than the one that is asked about.
    again: Option<String>,
    /// What a yes adds to the budget of the step, or of the run (the empty path).
    raise: Option<Raise>,
    message: String,
    shows: Data,
    roles: Vec<String>,
    quorum: u32,
    /// Who said yes so far.
    granted: Vec<String>,
    /// How many others must say yes.
    missing: u32,
    asked: Millis,
    expires: Option<Millis>,
    commands: Vec<String>,
}

impl Open {
    fn of(run: &Run, step: &StepPath, asked: &Asked) -> Self {
        let Asked { request, granted, since } = asked;
        Self {
            run_id: run.id,
            flow: run.started.as_ref().map(|s| s.flow.name.clone()).unwrap_or_default(),
            step: step.clone(),
            action: request.action,
            of: request.of.clone(),
            again: request.again.clone(),
            raise: request.raise,
            message: request.message.clone(),
            shows: request.shows.clone(),
            roles: request.roles.clone(),
            quorum: request.quorum,
            granted: granted.iter().map(|answer| answer.actor.clone()).collect(),
            missing: asked.missing(),
            asked: *since,
            expires: request.expires,
            commands: commands(run, step, asked),
        }
    }
}

/// What to type to answer.
fn commands(run: &Run, step: &StepPath, asked: &Asked) -> Vec<String> {
    let (id, action) = (run.id, asked.request.action.short());
    let place = format!("{id} {} --action {action}", budget::typed(step));
    vec![format!("aura approve {place}"), format!("aura deny {place} --reason TEXT")]
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let found = match context.reader() {
        Ok(opened) => open(&(opened.store as Arc<dyn Store>), &args)?,
        // Nothing has run here yet, which is an answer and not a mistake.
        Err(problem) if problem.code == Code::NotFound && args.run.is_none() => Vec::new(),
        Err(problem) => return Err(problem),
    };
    if context.out.json {
        context.out.document(&serde_json::json!({ "approvals": found }));
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        context.out.note("nobody is asked for an approval");
        return Ok(Exit::Done);
    }
    for (place, question) in found.iter().enumerate() {
        if place > 0 {
            context.out.line("");
        }
        print(context, question);
    }
    Ok(Exit::Done)
}

fn open(store: &Arc<dyn Store>, args: &Args) -> Result<Vec<Open>, Problem> {
    let rows = if let Some(prefix) = &args.run {
        vec![resolve::run(&**store, prefix)?]
    } else {
        let mut query = queries::unlimited(runs::query(&args.filters, &**store)?);
        if query.statuses.is_empty() {
            query.statuses = queries::open().statuses;
        }
        store.runs(&query).map_err(|e| resolve::unreadable(&e))?
    };
    let mut found = Vec::new();
    for row in rows.iter().filter(|row| !row.status.closed()) {
        let run = read_once(store, row.run)?;
        found.extend(run.approvals.iter().map(|(step, asked)| Open::of(&run, step, asked)));
    }
    // Who has waited longest comes first.
    found.sort_by_key(|question| question.asked);
    Ok(found)
}

fn print(context: &Context, question: &Open) {
    let out = &context.out;
    let now = SystemClock.now();
    let mark = out.paint(Tone::Warn, "?");
    out.line(format_args!("{mark} {}", describe::one_line(&question.message, 300)));
    let row = |name: &str, text: &str| {
        let name = out.paint(Tone::Faint, format_args!("{name:<8}"));
        out.line(format_args!("  {name} {text}"));
    };
    let flow = plain(&question.flow);
    row("run", &format!("{}  {flow}  at {}", question.run_id, budget::told(&question.step)));
    row("action", &question.action.short());
    if let Some(raise) = question.raise {
        row("grants", &format!("{} more", raise.resource.show(raise.by)));
    }
    let shows = describe::data(&question.shows);
    if shows != "null" && shows != "{}" {
        row("shows", &shows);
    }
    if let Some(again) = &question.again {
        row(
            "why",
            &format!("'{again}' approved another call than the one that is about to be made"),
        );
    }
    let since = describe::distance(question.asked, now);
    row("asked", &format!("{} ({since})", local_time(question.asked)));
    if let Some(expires) = question.expires {
        row("expires", &format!("{} ({})", local_time(expires), describe::distance(expires, now)));
    }
    if !question.roles.is_empty() {
        row("for", &plain(&question.roles.join(", ")));
    }
    if question.quorum > 1 {
        row("answers", &counted(question.quorum, &question.granted));
    }
    for command in &question.commands {
        row("type", &out.paint(Tone::Strong, command));
    }
}

/// How many of a quorum said yes, and who.
pub(crate) fn counted(quorum: u32, granted: &[String]) -> String {
    let who = if granted.is_empty() {
        String::new()
    } else {
        format!(": {}", plain(&granted.join(", ")))
    };
    format!("{} of {quorum} said yes{who}", granted.len())
}
