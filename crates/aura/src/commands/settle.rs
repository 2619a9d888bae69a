//! `aura effects settle`: saying what became of an effect in doubt.

use std::fmt::Write;
use std::sync::Arc;

use aura_core::data::Data;
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::Settlement;
use aura_core::ports::{RunQuery, Store};
use aura_core::schema::Schema;
use aura_core::task::TaskSpec;
use aura_core::{Hash, RunId, StepPath};
use aura_graph::Run;
use serde_json::Value;

use crate::context::Context;
use crate::exit::Exit;
use crate::follow::read_once;
use crate::handing::hand_in;
use crate::input;
use crate::queries;
use crate::resolve::unreadable;
use crate::socket::protocol::Ask;

/// Arguments of `aura effects settle`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Find out on the other side what happened; the key was sent with the call. Who settled it and why is
recorded.

Examples:
  aura effects settle 9f0c41d2 --succeeded --output @answer.json --reason 'seen in their log'
  aura effects settle 9f0c41d2 --failed --reason 'no such order'
  aura effects settle 9f0c41d2 --retry --reason 'they never got it'
  aura effects settle 9f0c41d2 --live --reason 'this fork may look again'")]
pub(crate) struct Args {
    /// The start of the effect's key.
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    outcome: Outcome,
    /// What it gave back, as its tool would have: JSON, @FILE, or - for standard input.
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        requires = "succeeded",
        required_if_eq("succeeded", "true")
    )]
    output: Option<String>,
    /// What the failure says; otherwise the reason.
    #[arg(long, value_name = "TEXT", requires = "failed")]
    message: Option<String>,
    /// How it is known.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What became of it.
#[expect(clippy::struct_excessive_bools, reason = "flags of which one is given")]
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Outcome {
    /// It happened.
    #[arg(long)]
    succeeded: bool,
    /// It did not happen, and its step fails.
    #[arg(long)]
    failed: bool,
    /// It did not happen, and shall be tried again.
    #[arg(long)]
    retry: bool,
    /// Let a fork make this one call after all.
    #[arg(long)]
    live: bool,
}

/// Runs, the newest first, in which an effect is looked for that is not in doubt any more.
const SETTLED_RUNS: usize = 1_000;

/// An effect in doubt.
struct InDoubt {
    run: Run,
    step: StepPath,
    spec: Arc<TaskSpec>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let store: Arc<dyn Store> = context.reader()?.store;
    let found = find(&store, &args.key)?;
    let before = if found.is_none() { find_settled(&store, &args.key)? } else { None };
    let outcome = match (&args.outcome, &args.output) {
        (Outcome { succeeded: true, .. }, Some(output)) => {
            let output = input::json("--output", output)?.value;
            if let Some(found) = &found {
                check_output(&*store, found, &output)?;
            }
            Settlement::Succeeded(Data::from(output))
        }
        (Outcome { retry, live, .. }, _) if *retry || *live => {
            let task = found.as_ref().and_then(|found| found.run.tasks.get(&found.step));
            let withheld = task.is_some_and(|task| task.withheld.is_some());
            if withheld != *live && (found.is_some() || *live) {
                return Err(other_flag(withheld));
            }
            Settlement::Retry
        }
        _ => {
            let said = args.message.or_else(|| args.reason.clone());
            let said = said.unwrap_or_else(|| format!("{} says that it failed", context.actor));
            Settlement::Failed(Failure::certain(Code::SettledFailed, said))
        }
    };
    let said = match &outcome {
        Settlement::Succeeded(_) => "happened",
        Settlement::Failed(_) => "did not happen",
        Settlement::Retry if args.outcome.live => "shall be called",
        Settlement::Retry => "did not happen and is tried again",
    };
    let (run, key, what) = match (found, before) {
        (Some(InDoubt { run, step, spec }), _) => {
            (run.id, spec.key, format!("{} at {step}", spec.tool))
        }
        (None, Some((run, key))) => (run, key, format!("effect {}", key.short())),
        (None, None) => {
            let what = format!("no effect in doubt has a key that starts with '{}'", args.key);
            return Err(Problem::new(Code::NotFound, what).next("aura effects"));
        }
    };
    let said = format!("it is recorded that {what} {said}");
    let ask = Ask::Settle { key, outcome, actor: context.actor.clone(), reason: args.reason };
    hand_in(context, run, &ask, said)
}

/// An effect that somebody settled before: whoever sends the same answer twice is told so.
fn find_settled(store: &Arc<dyn Store>, prefix: &str) -> Result<Option<(RunId, Hash)>, Problem> {
    let prefix = prefix.to_ascii_lowercase();
    let query = RunQuery { limit: SETTLED_RUNS, ..RunQuery::default() };
    for row in store.runs(&query).map_err(|e| unreadable(&e))? {
        let run = read_once(store, row.run)?;
        let mut keys = run.settled.keys();
        if let Some(key) = keys.find(|key| key.to_string().starts_with(&prefix)) {
            return Ok(Some((row.run, key)));
        }
    }
    Ok(None)
}

fn other_flag(withheld: bool) -> Problem {
    let (what, next) = if withheld {
        ("this fork has not called: trying it would call out for the first time", "say --live")
    } else {
        ("only a call that a fork did not make is let out by --live", "say --retry")
    };
    Problem::new(Code::Usage, what).kept("nothing was changed").next(next)
}

/// The one effect in doubt whose key starts so.
fn find(store: &Arc<dyn Store>, prefix: &str) -> Result<Option<InDoubt>, Problem> {
    let prefix = prefix.to_ascii_lowercase();
    let mut found = Vec::new();
    for run in runs_in_doubt(store)? {
        let run = read_once(store, run)?;
        for (step, task) in run.in_doubt() {
            if task.spec.key.to_string().starts_with(&prefix) {
                let (step, spec) = (step.clone(), Arc::clone(&task.spec));
                found.push(InDoubt { run: run.clone(), step, spec });
            }
        }
    }
    if found.len() > 1 {
        let mut what = format!("several effects in doubt have a key that starts with '{prefix}':");
        for InDoubt { run, step, spec } in &found {
            let (key, tool, run) = (spec.key.short(), &spec.tool, run.id);
            let _ = write!(what, "\n  {key}  {tool}  {step} of run {run}");
        }
        return Err(Problem::new(Code::AmbiguousId, what).next("type more of the key"));
    }
    Ok(found.pop())
}

fn runs_in_doubt(store: &Arc<dyn Store>) -> Result<Vec<RunId>, Problem> {
    let rows = store.runs(&queries::open()).map_err(|e| unreadable(&e))?;
    Ok(rows.iter().filter(|row| row.in_doubt > 0).map(|row| row.run).collect())
}

/// What a person gives for a tool's output must look like it: the flow's later steps rely on that.
fn check_output(store: &dyn Store, found: &InDoubt, output: &Value) -> Result<(), Problem> {
    input::check_size("the output", output)?;
    let Some(started) = &found.run.started else { return Ok(()) };
    let flow = aura_engine::load_flow(store, &started.flow)?;
    let Some(tool) = flow.tools.get(&found.spec.tool) else { return Ok(()) };
    let Ok(schema) = Schema::compile(&tool.output) else { return Ok(()) };
    let violations = schema.violations(output);
    if violations.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = violations.iter().map(|violation| format!("\n  {violation}")).collect();
    let what = format!("the output is not one of {}:{}", found.spec.tool, lines.concat());
    Err(Problem::new(Code::InvalidInput, what)
        .kept("the effect is still in doubt")
        .next(format!("aura tools show {}", found.spec.tool)))
}
