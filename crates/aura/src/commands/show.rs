//! `aura show`: a run with its steps, effects and artifacts.

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::ports::{Clock, Store};
use aura_core::time::{Millis, Span};
use aura_engine::{open_history, read_all};
use aura_graph::Run;
use aura_graph::state::Phase;
use comfy_table::Cell;
use serde_json::{Value, json};

use crate::blobs::StoreBlobs;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::ledger::{Cache, Entry, Ledger, Status};
use crate::output::{Output, Tone, local_time, plain};
use crate::steps::Steps;
use crate::wire::SystemClock;
use crate::{budget, family, resolve, saga};

/// Effects that are kept; of the others those that are in doubt.
const EFFECTS: usize = 10_000;
/// Rows of the table of effects.
const ROWS: usize = 20;
/// Characters of an input or output.
const LONG: usize = 600;

/// Arguments of `aura show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The tree has a line for each step: ✓ completed, ✗ failed, – skipped, ● running, ↻ retrying,
◌ waiting, ? in doubt, ↩ undone, ■ stopped with the run. Values are shortened; --json gives them whole.

Examples:
  aura show 0198c2d1
  aura show 0198c2d1 --json | jq .output")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
}

/// What the events of a run add up to for a person.
#[derive(Default)]
struct Told {
    steps: Steps,
    effects: Vec<Entry>,
    more_effects: u64,
    cache: Cache,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let id = resolve::run(&*opened.store, &args.run)?.run;
    let told = gather(&*opened.store, id)?;
    let history = open_history(&*opened.store, id)?;
    let run = history
        .map(|history| history.run)
        .ok_or_else(|| Problem::new(Code::RunNotFound, format!("no run {id}")).next("aura runs"))?;
    let blobs = StoreBlobs::new(&opened)?;
    if context.out.json {
        let mut document = document(&run, &told, &blobs)?;
        document["children"] = family::document(&*opened.store, id)?;
        context.out.document(&document);
    } else {
        header(context, &run, &blobs)?;
        steps(context, &run, &told);
        children(context, &*opened.store, id)?;
        effects(context, &told);
        artifacts(context, &told.steps);
    }
    Ok(Exit::Done)
}

fn gather(store: &dyn Store, id: RunId) -> Result<Told, Problem> {
    let mut told = Told::default();
    let mut ledger = Ledger::new(id);
    let (mut effects, mut more) = (Vec::new(), 0);
    let mut cache = Cache::default();
    let mut keep = |entry: Entry| {
        cache.take(&entry);
        if effects.len() < EFFECTS || entry.status == Status::InDoubt {
            effects.push(entry);
        } else {
            more += 1;
        }
    };
    read_all(store, id, &mut |commit| {
        let events = commit.events().map_err(|e| {
            Problem::new(Code::ChainBroken, format!("run {id}: {e}")).next("aura store check")
        })?;
        for event in &events {
            told.steps.take(commit.header.at, event);
            ledger.take(commit.header.at, event, &mut keep);
        }
        Ok(())
    })?;
    ledger.rest().for_each(&mut keep);
    effects.sort_by_key(|entry| entry.started);
    Ok(Told { effects, more_effects: more, cache, ..told })
}

fn document(run: &Run, told: &Told, blobs: &StoreBlobs) -> Result<Value, Problem> {
    let mut document = run.row().map(|row| super::runs::document(&row)).unwrap_or_default();
    let (output, error) = match &run.phase {
        Phase::Completed(output) => (Value::clone(&*blobs.json(output)?), Value::Null),
        Phase::Failed(..) | Phase::Compensating(_) => {
            let (error, step) = run.failure().unzip();
            let mut error = json!(error);
            if let Some(step) = step.filter(|_| !error.is_null()) {
                error["step"] = json!(step);
            }
            (Value::Null, error)
        }
        _ => (Value::Null, Value::Null),
    };
    if let Some(started) = &run.started {
        document["version"] = json!(started.flow.version);
        document["key"] = json!(started.key);
        document["deadline"] = json!(started.deadline);
        document["actor"] = json!(started.actor);
        document["parent_step"] = json!(started.parent.as_ref().map(|parent| &parent.step));
        document["continues"] = json!(started.continues);
        document["permissions"] = json!(started.permissions);
        document["input"] = Value::clone(&*blobs.json(&started.input)?);
    }
    document["output"] = output;
    document["error"] = error;
    document["budget"] = budget::document(run, ends(run));
    document["saga"] = json!(saga::end(run));
    document["state_hash"] = json!(run.hash);
    document["steps"] = told.steps.document();
    document["steps_omitted"] = json!(told.steps.omitted);
    document["effects"] = json!(told.effects);
    document["effects_omitted"] = json!(told.more_effects);
    document["cache"] = json!(told.cache);
    let artifacts = told.steps.artifacts.iter().map(|(step, made)| {
        let mut artifact = json!(made);
        artifact["step"] = json!(step);
        artifact
    });
    document["artifacts"] = artifacts.collect();
    Ok(document)
}

fn header(context: &Context, run: &Run, blobs: &StoreBlobs) -> Result<(), Problem> {
    let Some(started) = &run.started else { return Ok(()) };
    let out = &context.out;
    let status = run.status();
    let head = out.paint(describe::tone(status), status.as_str());
    let version = started.flow.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let flow = out.paint(Tone::Strong, format_args!("{}{version}", plain(&started.flow.name)));
    out.line(format_args!("run {}  {flow}  {head}", run.id));
    let row = |name: &str, text: String| {
        out.line(format_args!("  {} {text}", out.paint(Tone::Faint, format_args!("{name:<8}"))));
    };
    let end = ends(run);
    let took = Span(end.since(run.began_at()));
    let sizes = [describe::count(run.steps, "step"), describe::count(run.events, "event")];
    let since = if run.closed() { "took" } else { "for" };
    let at = local_time(run.began_at());
    row(
        "started",
        format!("{at} by {}, {since} {took}, {}", plain(&started.actor), sizes.join(", ")),
    );
    if let Some(deadline) = started.deadline {
        row("deadline", local_time(deadline));
    }
    if let Some(key) = &started.key {
        row("key", plain(key));
    }
    if !started.labels.is_empty() {
        let labels = started.labels.iter().map(|(k, v)| format!("{k}={v}"));
        row("labels", plain(&labels.collect::<Vec<_>>().join(" ")));
    }
    if let Some(parent) = &started.parent {
        let detached = if parent.detached { ", detached" } else { "" };
        row("parent", format!("run {} at {}{detached}", parent.run, parent.step));
    }
    if let Some(before) = started.continues {
        row("before", format!("run {before}, in whose place it goes on"));
    }
    if let Some(continued) = &run.continued {
        row("after", format!("run {} goes on in its place", continued.next));
    }
    let nets = &started.permissions.allow_net;
    let nets = if nets.is_empty() { String::new() } else { format!("; {}", nets.join(", ")) };
    row("reaches", plain(&format!("{}{nets}", started.permissions.roots.join(", "))));
    row("input", long(&*blobs.json(&started.input)?));
    for (name, text) in standing(out, run, blobs)? {
        row(name, text);
    }
    Ok(())
}

/// How a run ended, or what it is about.
fn standing(
    out: &Output,
    run: &Run,
    blobs: &StoreBlobs,
) -> Result<Vec<(&'static str, String)>, Problem> {
    let mut rows = Vec::new();
    if let Phase::Completed(output) = &run.phase {
        rows.push(("output", long(&*blobs.json(output)?)));
    }
    if let Some((error, step)) = run.failure() {
        let step = step.map(|step| format!(" at {step}")).unwrap_or_default();
        let code = out.paint(Tone::Bad, error.code);
        let message = describe::one_line(&error.message, LONG);
        rows.push(("error", format!("{code}{step}: {message}")));
        rows.push(("next", format!("aura explain {}", error.code)));
    }
    if let Some(asked) = run.cancelled_by() {
        let why = asked.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
        rows.push(("cancel", plain(&format!("asked for by {}{why}", asked.actor))));
    }
    rows.extend(budget::rows(run, ends(run)).into_iter().map(|row| ("budget", row)));
    if let Some(end) = saga::end(run) {
        rows.push(("undone", saga::undone(end)));
        rows.extend(saga::left(end).into_iter().map(|left| ("left", left)));
    }
    let waiting = run.saga.as_ref().map_or(0, |saga| saga.waiting()) as u64;
    if waiting > 0 {
        let steps = describe::count(waiting, "step");
        let begun = run.saga.as_ref().is_some_and(|saga| saga.begun);
        let when = match (begun, run.closed()) {
            (true, _) => "still to be undone",
            (_, true) => "for its parent to undo if that fails",
            _ => "undone if it fails",
        };
        rows.push(("saga", format!("{steps} {when}")));
    }
    if !run.closed() {
        rows.push(("next", format!("aura why {}", run.id)));
    }
    Ok(rows)
}

/// When a run ended, or now.
fn ends(run: &Run) -> Millis {
    if run.closed() { run.at } else { SystemClock.now() }
}

fn long(value: &Value) -> String {
    describe::value_of(value, LONG)
}

fn steps(context: &Context, run: &Run, told: &Told) {
    let out = &context.out;
    out.line("");
    // What stopped with the run has no end of its own.
    let now = ends(run);
    for line in told.steps.draw(out, now) {
        out.line(format_args!("  {line}"));
    }
    if told.steps.omitted > 0 {
        let more = describe::count(told.steps.omitted, "more step");
        out.line(format_args!("  … {more}: aura events {} --type step", run.id));
    }
}

fn children(context: &Context, store: &dyn Store, id: RunId) -> Result<(), Problem> {
    let out = &context.out;
    let lines = family::lines(store, out, id)?;
    if !lines.is_empty() {
        out.line(format_args!("\n  {}", out.paint(Tone::Strong, "children")));
    }
    for line in lines {
        out.line(format_args!("  {line}"));
    }
    Ok(())
}

/// Effects that went well are counted; the others are worth a look.
fn effects(context: &Context, told: &Told) {
    let out = &context.out;
    let well = |entry: &&Entry| {
        matches!(entry.status, Status::Succeeded | Status::Reused) && entry.settled.is_none()
    };
    let count = |status| told.effects.iter().filter(well).filter(|e| e.status == status).count();
    let (fine, reused) = (count(Status::Succeeded), count(Status::Reused));
    let mut others: Vec<_> = told.effects.iter().filter(|entry| !well(entry)).collect();
    if told.effects.is_empty() {
        return;
    }
    let more = match told.more_effects {
        0 => String::new(),
        more => format!(", {more} not counted"),
    };
    let heading = out.paint(Tone::Strong, "effects");
    let reused = if reused == 0 { String::new() } else { format!(", {reused} reused") };
    out.line(format_args!("\n  {heading}  {fine} succeeded{reused}{more}"));
    others.sort_by_key(|entry| entry.status != Status::InDoubt);
    if others.is_empty() {
        return;
    }
    let mut table = out.table(&["KEY", "STEP", "TOOL", "CLASS", "TRIES", "STATUS"]);
    for entry in others.iter().take(ROWS) {
        table.add_row([
            Cell::new(entry.key.short()),
            Cell::new(plain(entry.step.as_str())),
            Cell::new(&entry.tool),
            Cell::new(entry.class),
            Cell::new(entry.attempts),
            out.cell(entry.status.tone(), entry.status.as_str()),
        ]);
    }
    if let Some(width) = table.width() {
        table.set_width(width.saturating_sub(2));
    }
    let spared = ["CLASS", "TRIES", "TOOL"];
    for line in out.fitted(table, &["KEY", "TOOL", "STATUS"], &spared).lines() {
        out.line(format_args!("  {line}"));
    }
    if others.len() > ROWS {
        let hidden = others.len() - ROWS;
        out.line(out.paint(Tone::Faint, format_args!("  … {hidden} more: aura effects")));
    }
}

fn artifacts(context: &Context, steps: &Steps) {
    if steps.artifacts.is_empty() {
        return;
    }
    let out = &context.out;
    out.line(format_args!("\n  {}", out.paint(Tone::Strong, "artifacts")));
    for (step, made) in steps.artifacts.iter().take(ROWS) {
        let artifact = &made.artifact;
        let size = describe::bytes(artifact.bytes);
        out.line(format_args!("  {}  {size}", plain(&artifact.location)));
        let from = format!(
            "    {}, sha256 {}…, made by {} at {} from state {}…",
            artifact.media_type,
            artifact.sha256.short(),
            made.tool,
            step,
            made.state.short()
        );
        out.line(out.paint(Tone::Faint, plain(&from)));
    }
    let hidden = steps.artifacts.len().saturating_sub(ROWS);
    if hidden > 0 {
        out.line(out.paint(Tone::Faint, format_args!("  … {hidden} more: --json lists all")));
    }
}
