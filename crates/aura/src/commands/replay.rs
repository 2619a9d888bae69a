//! `aura replay`: folding a history again, and checking it. Never calls anything outside.

use std::sync::Arc;

use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::event::Event;
use aura_core::id::RunId;
use aura_core::ports::Store;
use aura_core::time::Span;
use aura_engine::{Verified, read_all};
use aura_graph::Run;
use aura_graph::state::fold;
use serde_json::{Map, Value, json};

use crate::blobs::StoreBlobs;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::{Tone, local_time, plain};
use crate::resolve;
use crate::steps::Steps;

/// Arguments of `aura replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without flags the history is shown commit by commit with what each changed. --verify checks the chain and every
state hash, decides each commit again with this build, and compares; it ends with 1 where something differs.
Nothing is called outside and nothing is recorded.

Examples:
  aura replay 0198c2d1 --verify
  aura replay 0198c2d1 --to 42
  aura replay 0198c2d1 --verbose")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,

    /// Show the state after this event instead of the way there.
    #[arg(long, value_name = "EVENT", conflicts_with = "verify")]
    pub(crate) to: Option<u64>,

    /// Check the history, and that this build decides as it says.
    #[arg(long)]
    pub(crate) verify: bool,

    /// Show the hashes of each commit.
    #[arg(long)]
    pub(crate) verbose: bool,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let id = resolve::run(&*opened.store, &args.run)?.run;
    if let Some(to) = args.to {
        return state_at(context, &*opened.store, id, to);
    }
    let blobs = Arc::new(StoreBlobs::new(&opened)?);
    let shows = if args.verify { args.verbose } else { true };
    let verbose = args.verbose;
    let mut last = Run::new(id);
    let checked = Verified::check(
        &*opened.store,
        id,
        Arc::clone(&blobs) as _,
        args.verify,
        &mut |commit, events, after| {
            if shows && !context.out.closed() {
                show(context, (commit, events), (&last, after), verbose);
            }
            last = after.clone();
        },
    );
    let checked = checked.map_err(|problem| blobs.explain(problem))?;
    if args.verify {
        tell(context, &checked);
    }
    Ok(Exit::Done)
}

fn tell(context: &Context, checked: &Verified) {
    if context.out.json {
        let mut document = json!(checked);
        document["verified"] = json!(true);
        return context.out.document(&document);
    }
    let head = context.out.paint(Tone::Good, "verified");
    let (chain, state) = (checked.head.short(), checked.state.short());
    context.out.line(format_args!(
        "{head}: {}, {}, {}; chain {chain}, state {state}; decided again with this build, without a difference",
        describe::count(checked.commits, "commit"),
        describe::count(checked.events, "event"),
        describe::count(checked.steps, "step"),
    ));
}

/// A commit with what it changed.
fn show(
    context: &Context,
    (commit, events): (&StoredCommit, &[Event]),
    (before, after): (&Run, &Run),
    verbose: bool,
) {
    if context.out.json {
        return record(context, (commit, events), after);
    }
    let at = local_time(commit.header.at);
    let waited = commit.header.at.since(before.at);
    let waited =
        if before.events > 0 && waited > 0 { format!(" +{}", Span(waited)) } else { String::new() };
    let head = format!("#{} {at}{waited}", commit.header.seq);
    context.out.line(context.out.paint(Tone::Strong, head));
    for (seq, event) in (commit.header.seq..).zip(events) {
        let step = event.step.as_ref().map(|step| format!(" {step}")).unwrap_or_default();
        let attempt = event.attempt.filter(|n| *n > 1).map(|n| format!(" try {n}"));
        let kind = context.out.paint(describe::event_tone(&event.body), event.body.kind());
        let detail = describe::event(&event.body);
        let line = format!("{seq:>6} {kind}{step}{} {detail}", attempt.unwrap_or_default());
        context.out.line(format_args!("  {}", plain(line.trim_end())));
    }
    for (name, value) in changed_vars(before, after) {
        context.out.line(format_args!("         vars.{name} = {}", describe::value(&value)));
    }
    if before.status() != after.status() {
        let status = after.status();
        let word = context.out.paint(describe::tone(status), status.as_str());
        context.out.line(format_args!("         the run is {word}"));
    }
    if verbose {
        let (hash, state) = (commit.hash, after.hash);
        let hashes = format!("commit {hash}\n         state  {state}");
        context.out.line(format_args!("         {}", context.out.paint(Tone::Faint, hashes)));
    }
}

fn changed_vars(before: &Run, after: &Run) -> Vec<(String, Value)> {
    let changed = |name: &String| before.vars.get(name) != after.vars.get(name);
    let vars = after.vars.iter().filter(|(name, _)| changed(name));
    vars.map(|(name, val)| (name.clone(), val.outline())).collect()
}

fn record(context: &Context, (commit, events): (&StoredCommit, &[Event]), after: &Run) {
    context.out.record(&json!({
        "seq": commit.header.seq, "at": commit.header.at, "hash": commit.hash,
        "state": after.hash, "status": after.status(), "events": events,
    }));
}

/// The state after an event, even in the middle of a commit.
fn state_at(context: &Context, store: &dyn Store, id: RunId, to: u64) -> Result<Exit, Problem> {
    let mut run = Run::new(id);
    let mut steps = Steps::default();
    read_all(store, id, &mut |commit| {
        let events = commit.events().map_err(|e| damaged(id, &e.to_string()))?;
        for event in events {
            if run.events >= to {
                break;
            }
            fold(&mut run, commit.header.at, &event).map_err(|e| damaged(id, &e.to_string()))?;
            steps.take(commit.header.at, &event);
        }
        Ok(())
    })?;
    if run.events < to {
        let what = format!("run {id} has {}", describe::count(run.events, "event"));
        return Err(
            Problem::new(Code::Usage, what).next(format!("aura replay {id} --to {}", run.events))
        );
    }
    let vars: Map<_, _> =
        run.vars.iter().map(|(name, val)| (name.clone(), val.outline())).collect();
    let timers: Vec<_> = run
        .timers
        .iter()
        .map(|(due, step, purpose)| json!({ "due": due, "step": step, "purpose": purpose }))
        .collect();
    if context.out.json {
        context.out.document(&json!({
            "run_id": id, "event": to, "at": run.at, "status": run.status(),
            "input": run.started.as_ref().map(|s| json!(s.input)), "vars": vars,
            "steps": steps.document(), "timers": timers, "state": run.hash,
        }));
        return Ok(Exit::Done);
    }
    let status = context.out.paint(describe::tone(run.status()), run.status().as_str());
    context.out.line(format_args!("after event {to} at {}: {status}", local_time(run.at)));
    for line in steps.draw(&context.out, run.at) {
        context.out.line(line);
    }
    for (name, value) in &vars {
        context.out.line(format_args!("vars.{name} = {}", describe::value(value)));
    }
    for (due, step, purpose) in run.timers.iter() {
        let (what, due) = (describe::purpose(purpose), local_time(due));
        context.out.line(format_args!("timer {step}: {what} at {due}"));
    }
    context.out.line(context.out.paint(Tone::Faint, format_args!("state {}", run.hash)));
    Ok(Exit::Done)
}

fn damaged(run: RunId, why: &str) -> Problem {
    Problem::new(Code::ChainBroken, format!("run {run}: {why}"))
        .kept("other runs are not touched by this")
        .next("aura store check")
}
