//! `aura replay`: folding a history again, and checking it. Reads the store only; nothing is called.

mod all;
mod step;

use std::sync::Arc;

use aura_core::commit::{Cause, StoredCommit};
use aura_core::error::{Code, Problem};
use aura_core::event::{Event, EventBody};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::Store;
use aura_core::time::Span;
use aura_engine::{Verified, read_all};
use aura_graph::Run;
use aura_graph::state::{TaskPhase, fold, outline};
use serde_json::{Map, Value, json};

use super::events::text;
use crate::blobs::StoreBlobs;
use crate::changes;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::{Tone, clock_time, local_time, plain};
use crate::resolve;
use crate::steps::Steps;

/// Arguments of `aura replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without flags: commit by commit, the events and what the state is after them; chain and state hashes
are checked on the way. --to shows the state after one event, and what that event changed. --verify checks two things: that the history is intact (hash chain, state
hashes), and that this build decides every commit as the log says. The exit code is 1 if not.
--step reads what to do from standard input: next, back, goto, break, continue, inspect, quit.

Examples:
  aura replay 0198c2d1
  aura replay 0198c2d1 --to 40
  aura replay 0198c2d1 --step
  aura replay 0198c2d1 --verify
  aura replay --all --verify --where status=completed
  printf 'break say\\ncontinue\\ninspect vars\\n' | aura replay 0198c2d1 --step")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) run: Option<String>,
    /// Show the state after this event.
    #[arg(long, value_name = "N", conflicts_with = "verify")]
    pub(crate) to: Option<u64>,
    /// Go through the history event by event, forwards and back.
    #[arg(long, conflicts_with_all = ["verify", "to"])]
    step: bool,
    /// Check the history, and decide it again.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Check every run of the store.
    #[arg(long, requires = "verify")]
    all: bool,
    /// With --all, only runs with this field, as in 'aura runs'.
    #[arg(long = "where", value_name = "FIELD=VALUE", requires = "all")]
    filters: Vec<String>,
    /// Show the hash of each commit and of the state after it.
    // The same id as the global flag, which would stand in its way otherwise.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    if args.all {
        return all::run(context, &args.filters);
    }
    let opened = context.reader()?;
    let store: &dyn Store = &*opened.store;
    let id = resolve::run(store, args.run.as_deref().unwrap_or_default())?.run;
    if args.step {
        return step::run(context, store, id);
    }
    if let Some(to) = args.to {
        return state_after(context, store, id, to);
    }
    let blobs = Arc::new(StoreBlobs::new(&opened)?);
    let mut shown = Shown { context, verbose: args.verbose > 0, number: 0, before: Run::new(id) };
    if args.verify {
        let checked = verify(store, id, &blobs, &mut shown)?;
        tell(context, &checked);
    } else {
        let mut each = |commit: &StoredCommit, events: &[Event], run: &Run| {
            shown.whole(commit, events, run);
        };
        Verified::check(store, id, blobs, false, &mut each)?;
    }
    Ok(Exit::Done)
}

/// Checks on both levels. Damage is told before a difference: after damage a difference means nothing.
fn verify(
    store: &dyn Store,
    id: RunId,
    blobs: &Arc<StoreBlobs>,
    shown: &mut Shown<'_>,
) -> Result<Verified, Problem> {
    let mut each = |commit: &StoredCommit, _: &[Event], run: &Run| shown.hashes(commit, run);
    let checked = Verified::check(store, id, Arc::clone(blobs) as _, true, &mut each);
    match checked {
        Err(problem) if problem.code == Code::ReplayDiffers => {
            Verified::check(store, id, Arc::clone(blobs) as _, false, &mut |_, _, _| {})?;
            Err(problem)
        }
        other => other.map_err(|problem| blobs.explain(problem)),
    }
}

fn tell(context: &Context, checked: &Verified) {
    let out = &context.out;
    if out.json {
        let mut document = json!(checked);
        document["verified"] = json!(true);
        document["run_id"] = document["run"].take();
        if let Some(map) = document.as_object_mut() {
            map.remove("run");
        }
        return out.document(&document);
    }
    let (commits, events) = (checked.commits, checked.events);
    out.line(format_args!(
        "{}: {}, {}, chain {}, state hash {}, re-decided with this build",
        out.paint(Tone::Good, "verified"),
        describe::count(commits, "commit"),
        describe::count(events, "event"),
        checked.head.short(),
        checked.state.short(),
    ));
}

/// Commits on their way to the screen.
struct Shown<'a> {
    context: &'a Context,
    verbose: bool,
    number: u64,
    before: Run,
}

impl Shown<'_> {
    /// A line of hashes, where they are asked for.
    fn hashes(&mut self, commit: &StoredCommit, run: &Run) {
        self.number += 1;
        if self.verbose && !self.context.out.json {
            let last = commit.header.seq + u64::from(commit.header.count) - 1;
            let (number, first) = (self.number, commit.header.seq);
            let (hash, state) = (commit.hash, run.hash);
            self.context.out.line(format_args!(
                "commit {number:>5}  events {first:>6}–{last:<6}  {hash}  state {state}"
            ));
        }
    }

    /// A commit with its events and the state after it.
    fn whole(&mut self, commit: &StoredCommit, events: &[Event], run: &Run) {
        self.number += 1;
        let out = &self.context.out;
        let (first, count) = (commit.header.seq, u64::from(commit.header.count));
        let last = first + count - 1;
        let cause = match commit.header.cause {
            Cause::Events => "",
            Cause::Granted => "  slots became free",
            Cause::Continue => "  goes on deciding",
        };
        if out.json {
            let events: Vec<_> = (first..).zip(events).map(|(seq, e)| event(seq, e)).collect();
            let mut record = state(run);
            record["commit"] = json!(self.number);
            record["at"] = json!(commit.header.at);
            record["hash"] = json!(commit.hash);
            record["events"] = json!(events);
            return out.record(&record);
        }
        let at = clock_time(commit.header.at);
        let waited = match self.number {
            1 => String::new(),
            _ => format!(" (+{})", Span(commit.header.at.since(self.before.at))),
        };
        let head = out.paint(Tone::Strong, format_args!("commit {}", self.number));
        let range = if first == last {
            format!("event {first}")
        } else {
            format!("events {first}–{last}")
        };
        out.line(format_args!("{head}  {range}  {at}{waited}{cause}"));
        for event in events {
            out.line(format_args!("  {}", text(self.context, event)));
        }
        let summary = format!("  = {}", summary(run));
        out.line(out.paint(Tone::Faint, summary));
        if self.verbose {
            out.line(out.paint(Tone::Faint, format_args!("    hash  {}", commit.hash)));
            out.line(out.paint(Tone::Faint, format_args!("    state {}", run.hash)));
        }
        self.before = run.clone();
    }
}

/// Where a run stands, in a line.
fn summary(run: &Run) -> String {
    let mut parts = vec![run.status().as_str().to_owned(), describe::count(run.steps, "step")];
    let tasks = |phase| run.tasks.values().filter(|task| task.phase == phase).count() as u64;
    let counts = [
        (tasks(TaskPhase::Held), "held call"),
        (tasks(TaskPhase::Called), "open call"),
        (tasks(TaskPhase::Ready), "waiting call"),
        (tasks(TaskPhase::Backoff), "retry to come"),
        (tasks(TaskPhase::InDoubt), "effect in doubt"),
        (run.approvals.size() as u64, "approval"),
        (run.waits.size() as u64, "wait"),
    ];
    for (number, noun) in counts.into_iter().filter(|(number, _)| *number > 0) {
        let plural = match (number, noun) {
            (1, noun) => noun.to_owned(),
            (_, "retry to come") => "retries to come".to_owned(),
            (_, "effect in doubt") => "effects in doubt".to_owned(),
            (_, noun) => format!("{noun}s"),
        };
        parts.push(format!("{number} {plural}"));
    }
    for (name, value) in &run.vars {
        parts.push(format!("{name} = {}", describe::value_of(&value.outline(), 40)));
    }
    parts.join(", ")
}

fn event(seq: u64, event: &Event) -> Value {
    let mut document = json!(event);
    document["seq"] = json!(seq);
    document
}

/// Where a run stands, for programs.
fn state(run: &Run) -> Value {
    let vars: Map<String, Value> =
        run.vars.iter().map(|(name, value)| (name.clone(), value.outline())).collect();
    json!({
        "run_id": run.id, "seq": run.events, "status": run.status(), "steps_made": run.steps,
        "vars": vars, "state_hash": run.hash,
    })
}

/// The state after one event, which may lie within a commit.
fn state_after(context: &Context, store: &dyn Store, id: RunId, to: u64) -> Result<Exit, Problem> {
    let mut run = Run::new(id);
    let mut steps = Steps::default();
    let (mut head, mut total) = (Hash::ZERO, 0);
    let mut last: Option<&'static str> = None;
    let mut before = run.clone();
    read_all(store, id, &mut |commit| {
        let damaged = |why: String| {
            Problem::new(Code::ChainBroken, format!("run {id}: {why}")).next("aura store check")
        };
        commit.check(head, total + 1).map_err(|e| damaged(e.to_string()))?;
        head = commit.hash;
        let events = commit.events().map_err(|e| damaged(e.to_string()))?;
        for event in &events {
            total += 1;
            if total <= to {
                if total == to {
                    before = run.clone();
                }
                fold(&mut run, commit.header.at, event).map_err(|e| damaged(e.to_string()))?;
                steps.take(commit.header.at, event);
                last = Some(EventBody::kind(&event.body));
            }
        }
        Ok(())
    })?;
    if to == 0 || to > total {
        let what = format!("the run has the events 1 to {total}, not {to}");
        return Err(Problem::new(Code::Usage, what).next(format!("aura events {id}")));
    }
    let at = At { run, before, steps, total, last: last.unwrap_or_default() };
    if context.out.json {
        context.out.document(&at.document());
    } else {
        at.print(context);
    }
    Ok(Exit::Done)
}

/// A run in the middle of its history.
struct At {
    run: Run,
    /// One event earlier.
    before: Run,
    steps: Steps,
    /// Events of the whole history.
    total: u64,
    /// The type of the last event that counts.
    last: &'static str,
}

impl At {
    fn document(&self) -> Value {
        let run = &self.run;
        let mut document = state(run);
        document["at"] = json!(run.at);
        document["type"] = json!(self.last);
        document["events"] = json!(self.total);
        let timers = run
            .timers
            .iter()
            .map(|(due, step, purpose)| json!({ "due": due, "step": step, "purpose": purpose }));
        document["timers"] = timers.collect();
        document["changes"] = changes::document(&outline(&self.before), &outline(run));
        document["steps"] = self.steps.document();
        document["steps_omitted"] = json!(self.steps.omitted);
        document
    }

    fn print(&self, context: &Context) {
        let (out, run) = (&context.out, &self.run);
        let status = out.paint(describe::tone(run.status()), run.status().as_str());
        let (id, to, total, last) = (run.id, run.events, self.total, self.last);
        out.line(format_args!("run {id} after event {to} of {total} ({last}): {status}"));
        let row = |name: &str, text: &str| {
            out.line(format_args!(
                "  {} {text}",
                out.paint(Tone::Faint, format_args!("{name:<6}"))
            ));
        };
        row("at", &local_time(run.at));
        for (name, value) in &run.vars {
            row("var", &format!("{name} = {}", describe::value_of(&value.outline(), 200)));
        }
        for (due, step, purpose) in run.timers.iter() {
            row(
                "timer",
                &plain(&format!("{step} {} {}", describe::purpose(purpose), local_time(due))),
            );
        }
        row("state", &run.hash.to_string());
        let changed = changes::lines(out, &outline(&self.before), &outline(run));
        if changed.is_empty() {
            out.line("\n  this event changed nothing that a flow or the ledger can see");
        } else {
            out.line(out.paint(Tone::Strong, "\n  what this event changed"));
            for line in &changed {
                out.line(format_args!("    {line}"));
            }
        }
        out.line("");
        for line in self.steps.draw(out, run.at) {
            out.line(format_args!("  {line}"));
        }
    }
}
