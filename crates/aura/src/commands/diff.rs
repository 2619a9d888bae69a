//! `aura diff`: two runs side by side, from the first fact in which they differ.

use std::collections::BTreeMap;

use aura_core::budget::Resource;
use aura_core::error::{Code, Problem};
use aura_core::event::{Event, EventBody};
use aura_core::fork::RunForked;
use aura_core::id::RunId;
use aura_core::ports::Store;
use aura_core::time::Span;
use aura_engine::{Compared, compare, open_history, read_all};
use aura_graph::Run;
use aura_graph::compare::{Divergence, Numbered};
use aura_graph::state::Phase;
use comfy_table::Cell;
use serde_json::{Map, Value, json};

use crate::blobs::StoreBlobs;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::ledger::Ledger;
use crate::output::{Tone, plain, short};
use crate::steps::Steps;
use crate::{changes, resolve};

/// Steps that are printed; of more, only those that differ.
const ALL: usize = 40;
/// Steps that are printed at all.
const MOST: usize = 200;
/// Characters of a value beside another one.
const VALUE: usize = 44;

/// Arguments of `aura diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Compared is what the runs did: their input, what each step was asked and what came of it, signals,
approvals, and how they ended. Ids, keys, times, people and tries are left out, and an outcome that a
fork reused is the outcome. Branches may end in any order. Steps marked ≠ differ.
The exit code is 0 if both did the same, and 1 if not.

Examples:
  aura diff 0198c2d1 0198c2f4
  aura diff 0198c2d1 0198c2f4 --json | jq .divergence")]
pub(crate) struct Args {
    /// A run, or the start of its id.
    #[arg(value_name = "A")]
    a: String,
    /// Another run.
    #[arg(value_name = "B")]
    b: String,
}

/// A run with what a person compares of it.
struct Side {
    run: Run,
    steps: Vec<Value>,
    effects: Effects,
    forked: Option<Box<RunForked>>,
}

/// What the effects of a run cost.
#[derive(Default, serde::Serialize)]
struct Effects {
    /// Calls that went out, with those that were tried again.
    calls: u64,
    /// Effects whose outcome was taken from the parent or a file.
    reused: u64,
    /// Effects without an outcome.
    open: u64,
    /// Millionths of a dollar that its calls cost.
    usd_micros: u64,
    /// Tokens that its calls cost.
    tokens: u64,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let store: &dyn Store = &*opened.store;
    let a = resolve::run(store, &args.a)?.run;
    let b = resolve::run(store, &args.b)?.run;
    let compared = compare(store, a, b)?;
    let sides = [side(store, a)?, side(store, b)?];
    let blobs = StoreBlobs::new(&opened)?;
    if context.out.json {
        context.out.document(&document(&compared, &sides, &blobs)?);
    } else {
        print(context, &compared, &sides, &blobs)?;
    }
    Ok(if compared.divergence.is_none() { Exit::Done } else { Exit::Failed })
}

fn side(store: &dyn Store, id: RunId) -> Result<Side, Problem> {
    let history = open_history(store, id)?
        .ok_or_else(|| Problem::new(Code::RunNotFound, format!("no run {id}")).next("aura runs"))?;
    let (mut steps, mut ledger) = (Steps::default(), Ledger::new(id));
    let (mut effects, mut forked) = (Effects::default(), None);
    read_all(store, id, &mut |commit| {
        let events = commit.events().map_err(|e| {
            Problem::new(Code::ChainBroken, format!("run {id}: {e}")).next("aura store check")
        })?;
        for event in &events {
            steps.take(commit.header.at, event);
            ledger.take(commit.header.at, event, &mut |_| {});
            match &event.body {
                // What the parent did was not done again.
                _ if commit.header.run != id => {}
                EventBody::ToolCalled(_) => effects.calls += 1,
                EventBody::EffectReused(_) => effects.reused += 1,
                EventBody::BudgetSettled(data) => {
                    effects.usd_micros = effects.usd_micros.saturating_add(data.spent.usd_micros);
                    effects.tokens = effects.tokens.saturating_add(data.spent.tokens);
                }
                EventBody::RunForked(data) => forked = Some(data.clone()),
                _ => {}
            }
        }
        Ok(())
    })?;
    effects.open = ledger.rest().count() as u64;
    let steps = steps.document().as_array().cloned().unwrap_or_default();
    Ok(Side { run: history.run, steps, effects, forked })
}

impl Effects {
    fn text(&self) -> String {
        let mut parts = vec![describe::count(self.calls, "call")];
        if self.reused > 0 {
            parts.push(format!("{} reused", self.reused));
        }
        if self.open > 0 {
            parts.push(format!("{} without an outcome", self.open));
        }
        if self.usd_micros > 0 {
            parts.push(Resource::Usd.show(self.usd_micros));
        }
        if self.tokens > 0 {
            parts.push(describe::count(self.tokens, "token"));
        }
        parts.join(", ")
    }
}

/// How a run ended, in the fields that are compared.
fn ended(side: &Side, blobs: &StoreBlobs) -> Result<Value, Problem> {
    let run = &side.run;
    let output = match &run.phase {
        Phase::Completed(output) => Value::clone(&*blobs.json(output)?),
        _ => Value::Null,
    };
    let flow = run.started.as_ref().map(|started| &started.flow);
    Ok(json!({
        "run_id": run.id,
        "flow": flow.map(|flow| &flow.name),
        "version": flow.and_then(|flow| flow.version.as_ref()),
        "flow_hash": flow.map(|flow| flow.hash),
        "status": run.status(),
        "output": output,
        "error": run.failure().map(|(error, _)| error),
        "steps": run.steps,
        "events": run.events,
        "effects": side.effects,
        "duration_ms": run.at.since(run.began_at()),
        "forked": side.forked.as_ref().map(|forked| json!({
            "parent": forked.parent, "after_event": forked.seq, "effects": forked.effects,
            "changes": forked.changes,
        })),
    }))
}

/// A step of either run.
struct Pair<'a> {
    path: &'a str,
    a: Option<&'a Value>,
    b: Option<&'a Value>,
}

impl Pair<'_> {
    fn same(&self) -> bool {
        let (Some(a), Some(b)) = (self.a, self.b) else { return false };
        // An attempt's number is part of a failure, but not of what the run did.
        let error =
            |step: &Value| [step["error"]["code"].clone(), step["error"]["message"].clone()];
        ["what", "status", "output"].iter().all(|field| a[*field] == b[*field])
            && error(a) == error(b)
    }
}

/// The steps of both, in the order of the first; those of the second alone stand after the step that they follow.
fn pairs(sides: &[Side; 2]) -> Vec<Pair<'_>> {
    let path = |step: &'_ Value| step["path"].as_str().unwrap_or_default().to_owned();
    let mut at: BTreeMap<String, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
    for step in &sides[0].steps {
        at.entry(path(step)).or_default().0 = Some(step);
    }
    for step in &sides[1].steps {
        at.entry(path(step)).or_default().1 = Some(step);
    }
    let mut alone = BTreeMap::<String, Vec<&Value>>::new();
    let mut before = String::new();
    for step in &sides[1].steps {
        match at.get(&path(step)) {
            Some((None, Some(_))) => alone.entry(before.clone()).or_default().push(step),
            _ => before = path(step),
        }
    }
    let mut found: Vec<_> =
        alone.remove("").into_iter().flatten().map(|s| as_pair(s, &at)).collect();
    for step in &sides[0].steps {
        found.push(as_pair(step, &at));
        found.extend(alone.remove(&path(step)).into_iter().flatten().map(|s| as_pair(s, &at)));
    }
    found
}

fn as_pair<'a>(
    step: &'a Value,
    at: &BTreeMap<String, (Option<&'a Value>, Option<&'a Value>)>,
) -> Pair<'a> {
    let path = step["path"].as_str().unwrap_or_default();
    let (a, b) = at.get(path).copied().unwrap_or_default();
    Pair { path, a, b }
}

/// Where two runs part, for programs.
pub(crate) fn divergence(divergence: &Divergence) -> Value {
    let event = |fact: &Option<Numbered>| {
        fact.as_ref().map(|fact| {
            let mut event = json!(fact.event);
            event["seq"] = json!(fact.seq);
            event
        })
    };
    json!({ "a": event(&divergence.left), "b": event(&divergence.right) })
}

fn document(compared: &Compared, sides: &[Side; 2], blobs: &StoreBlobs) -> Result<Value, Problem> {
    let steps = pairs(sides)
        .into_iter()
        .map(|pair| json!({ "path": pair.path, "same": pair.same(), "a": pair.a, "b": pair.b }));
    Ok(json!({
        "same": compared.divergence.is_none(),
        "shared_events": compared.shared,
        "divergence": compared.divergence.as_ref().map(divergence),
        "a": ended(&sides[0], blobs)?,
        "b": ended(&sides[1], blobs)?,
        "steps": steps.collect::<Vec<_>>(),
    }))
}

fn print(
    context: &Context,
    compared: &Compared,
    sides: &[Side; 2],
    blobs: &StoreBlobs,
) -> Result<(), Problem> {
    let out = &context.out;
    let said = match &compared.divergence {
        None => out.paint(Tone::Good, "the runs did the same"),
        Some(_) => out.paint(Tone::Warn, "the runs differ"),
    };
    let shared = match compared.shared {
        0 => String::new(),
        shared => format!("; their first {} are shared", describe::count(shared, "event")),
    };
    out.line(format_args!("{said}{shared}"));
    if let Some(divergence) = &compared.divergence {
        out.line(format_args!("\n{}", out.paint(Tone::Strong, "first difference")));
        for line in first(context, ["A", "B"], divergence) {
            out.line(format_args!("  {line}"));
        }
    }
    out.line("");
    summary(context, sides, blobs)?;
    steps(context, sides);
    Ok(())
}

/// Where two runs part, in lines; the runs have these names.
pub(crate) fn first(context: &Context, names: [&str; 2], divergence: &Divergence) -> Vec<String> {
    let out = &context.out;
    let mut lines = Vec::new();
    for (name, fact) in names.into_iter().zip([&divergence.left, &divergence.right]) {
        let text = fact.as_ref().map_or_else(
            || out.paint(Tone::Faint, "no such thing"),
            |fact| format!("event {:<5} {}", fact.seq, super::events::text(context, &fact.event)),
        );
        lines.push(format!("{} {text}", out.paint(Tone::Faint, name)));
    }
    if let (Some(one), Some(other)) = (&divergence.left, &divergence.right) {
        let (one, other) = (outline(&one.event), outline(&other.event));
        lines.extend(changes::lines(out, &one, &other).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// The part of an event in which runs that do the same agree.
fn outline(event: &Event) -> Value {
    const OWN: [&str; 9] =
        ["state", "seed", "salt", "actor", "flow", "labels", "key", "deadline", "compensate"];
    let mut data = json!(event.body)["data"].take();
    if let Some(fields) = data.as_object_mut() {
        fields.retain(|name, _| !OWN.contains(&name.as_str()));
        if let Some(task) = fields.get_mut("work").and_then(|work| work.get_mut("task")) {
            let kept = ["tool", "class", "args", "secrets"];
            let kept = kept.iter().map(|name| ((*name).to_owned(), task[*name].take()));
            *task = Value::Object(kept.collect::<Map<_, _>>());
        }
    }
    data
}

fn summary(context: &Context, sides: &[Side; 2], blobs: &StoreBlobs) -> Result<(), Problem> {
    let out = &context.out;
    let ends = [ended(&sides[0], blobs)?, ended(&sides[1], blobs)?];
    let heads = sides.each_ref().map(|side| short(side.run.id));
    let mut table = out.table(&["", &format!("A  {}", heads[0]), &format!("B  {}", heads[1])]);
    let mut row = |name: &str, shown: [String; 2]| {
        let tone = if shown[0] == shown[1] { Tone::Faint } else { Tone::Strong };
        let cells = shown.iter().map(|text| out.cell(tone, text));
        table.add_row([Cell::new(name)].into_iter().chain(cells));
    };
    let word = |field: &str| {
        ends.each_ref().map(|end| match &end[field] {
            Value::Null => "–".to_owned(),
            Value::String(text) => describe::one_line(text, VALUE),
            other => describe::value_of(other, VALUE),
        })
    };
    row("flow", sides.each_ref().map(flow));
    row("status", word("status"));
    row("output", word("output"));
    let error = sides.each_ref().map(|side| match side.run.failure() {
        Some((error, step)) => {
            let step = step.map(|step| format!("{step}: ")).unwrap_or_default();
            describe::one_line(&format!("{step}{error}"), VALUE)
        }
        None => "–".to_owned(),
    });
    if error.iter().any(|text| text != "–") {
        row("error", error);
    }
    row("effects", sides.each_ref().map(|side| side.effects.text()));
    row("steps", word("steps"));
    let took = |side: &Side| Span(side.run.at.since(side.run.began_at())).to_string();
    row("took", sides.each_ref().map(took));
    if sides.iter().any(|side| side.forked.is_some()) {
        row("forked", sides.each_ref().map(forked));
    }
    out.line(table.trim_fmt());
    Ok(())
}

fn flow(side: &Side) -> String {
    let Some(started) = &side.run.started else { return "–".to_owned() };
    let version = started.flow.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let hash = started.flow.hash.short();
    describe::one_line(&format!("{}{version} ({})", started.flow.name, &hash[..8]), VALUE)
}

fn forked(side: &Side) -> String {
    let Some(forked) = &side.forked else { return "–".to_owned() };
    let changes = forked.changes.iter().map(|change| {
        format!("; {} = {}", describe::changed(&change.of), describe::data(&change.value))
    });
    let (parent, how) = (short(forked.parent), describe::effects(forked.effects));
    let changes: String = changes.collect();
    plain(&format!("from {parent} after event {}, {how}{changes}", forked.seq))
}

fn steps(context: &Context, sides: &[Side; 2]) {
    let out = &context.out;
    let all = pairs(sides);
    let shown: Vec<_> = all.iter().filter(|pair| all.len() <= ALL || !pair.same()).collect();
    if shown.is_empty() {
        return;
    }
    let mut table = out.table(&["", "STEP", "A", "B"]);
    for pair in shown.iter().take(MOST) {
        let (mark, tone) = if pair.same() { ("", Tone::Faint) } else { ("≠", Tone::Warn) };
        table.add_row([
            out.cell(tone, mark),
            out.cell(if pair.same() { Tone::Faint } else { Tone::Strong }, plain(pair.path)),
            out.cell(if pair.same() { Tone::Faint } else { Tone::Busy }, outcome(pair.a)),
            out.cell(if pair.same() { Tone::Faint } else { Tone::Busy }, outcome(pair.b)),
        ]);
    }
    out.line(format_args!("\n{}", table.trim_fmt()));
    let hidden = shown.len().saturating_sub(MOST);
    if hidden > 0 {
        let more = describe::count(hidden as u64, "more step");
        out.line(format_args!("… {more} that differ: --json lists all"));
    }
    if shown.len() < all.len() {
        let same = describe::count((all.len() - shown.len()) as u64, "step");
        out.line(out.paint(Tone::Faint, format_args!("{same} did the same and are not listed")));
    }
}

/// What came of a step, in a few words.
fn outcome(step: Option<&Value>) -> String {
    let Some(step) = step else { return "–".to_owned() };
    let status = step["status"].as_str().unwrap_or_default();
    let took = step["duration_ms"].as_u64().filter(|_| status != "skipped");
    let took = took.map(|ms| format!(" {}", Span(ms))).unwrap_or_default();
    let said = match (&step["error"], &step["output"]) {
        (Value::Null, Value::Null) => String::new(),
        (Value::Null, output) => describe::value_of(output.get("json").unwrap_or(output), VALUE),
        (error, _) => describe::one_line(error["message"].as_str().unwrap_or_default(), VALUE),
    };
    format!("{status}{took} {said}").trim_end().to_owned()
}
