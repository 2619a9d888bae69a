//! `aura fork`: going on from a step of a run, in a run of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use aura_core::data::Data;
use aura_core::error::{Code, Problem};
use aura_core::event::EventBody;
use aura_core::fork::{Change, Changed, ForkEffects, Mocks, RunForked};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::Store;
use aura_engine::{At, Cut, cut};
use aura_graph::Flow;
use serde_json::{Value, json};
use uuid::Uuid;

use super::run::labels;
use crate::blobs::StoreBlobs;
use crate::context::Context;
use crate::door::Door;
use crate::exit::Exit;
use crate::flowfiles::FlowFiles;
use crate::follow::End;
use crate::input::{self, Given};
use crate::order::{ForkOrder, random};
use crate::performing::{Manner, Session, Shown};
use crate::socket::protocol::Taken;
use crate::{background, diagnostics, flowfiles, resolve};

/// Arguments of `aura fork`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The fork shares everything before the commit in which the step started (--after: in which it ended),
and goes on from there under its own id. The parent is not touched. What becomes of its effects:
  reuse  the parent's outcome of the same call is taken; a call without one waits for you
  mock   outcomes come from the file of --mock; nothing is called
  live   effects are called, under the fork's own keys
A file for --mock: {\"steps\": {\"charge\": {\"output\": {…}}}, \"tools\": {\"http.request\": {\"error\":
{\"code\": \"UNAVAILABLE\"}}}}. Approvals of the parent do not count for the fork; it asks again.

Examples:
  aura fork 0198c2d1 --at summarise --flow flow.yaml
  aura fork 0198c2d1 --at check --set vars.limit=20 --effects live
  aura fork 0198c2d1 --at fetch --after --set steps.fetch.output.status=404
  aura fork 0198c2d1 --at charge --mock outcomes.json --json")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    run: String,
    /// The step to leave the run at, as `aura show` names it: `check`, `check#2`, `sections[3]/check`.
    #[arg(long, value_name = "STEP")]
    at: String,
    /// Keep what the step did, and go on after it.
    #[arg(long)]
    after: bool,
    /// Another value: `input…`, `vars.NAME…` or `steps.STEP.output…`; JSON, or else text.
    #[arg(long = "set", value_name = "PATH=JSON")]
    changes: Vec<String>,
    /// Another flow, or another version of it.
    #[arg(long, value_name = "FLOW")]
    flow: Option<PathBuf>,
    /// Where the outcomes of effects come from; otherwise reuse, or mock with --mock.
    #[arg(long, value_enum, value_name = "HOW")]
    effects: Option<Effects>,
    /// The file with outcomes of effects.
    #[arg(long, value_name = "FILE", required_if_eq("effects", "mock"))]
    mock: Option<PathBuf>,
    /// A label, beside those of the parent.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Hand the fork to a process in the background, and print its id.
    #[arg(long, conflicts_with_all = ["yes", "stay"])]
    detach: bool,
    #[command(flatten)]
    manner: Manner,
}

/// Where the outcomes of effects come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Effects {
    /// From the parent.
    Reuse,
    /// From a file.
    Mock,
    /// From outside.
    Live,
}

impl From<Effects> for ForkEffects {
    fn from(effects: Effects) -> Self {
        match effects {
            Effects::Reuse => Self::Reuse,
            Effects::Mock => Self::Mock,
            Effects::Live => Self::Live,
        }
    }
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let Some(order) = order(context, &args)? else { return Ok(Exit::Usage) };
    if args.detach {
        let mut door = background::door(context)?;
        let taken = start(context, &mut door, &order, true)?;
        if context.out.json {
            let status = taken.accepted.status;
            context.out.document(&json!({ "run_id": order.run, "status": status }));
        } else {
            context.out.line(order.run);
        }
        return Ok(Exit::Done);
    }
    see(context, &order, args.manner)
}

/// Starts a fork and follows it to its end.
pub(crate) fn see(context: &Context, order: &ForkOrder, manner: Manner) -> Result<Exit, Problem> {
    let session = Session::new(context, Door::open(context, true)?, manner)?;
    session.through(|session| {
        start(context, &mut session.door, order, false)?;
        let (end, seen) = session.see(order.run, Shown::After(order.forked.seq))?;
        let exit = session.tell(&seen)?;
        session.tell_of_others()?;
        Ok((exit, (end == End::Stopped).then_some(order.run)))
    })
}

fn start(
    context: &Context,
    door: &mut Door,
    order: &ForkOrder,
    detached: bool,
) -> Result<Taken, Problem> {
    loop {
        if let Some(taken) = door.fork(order, detached)? {
            return Ok(taken);
        }
        *door = if detached { background::door(context)? } else { Door::open(context, true)? };
    }
}

/// What the command line asks for; `None` if the flow is wrong, which is told by then.
fn order(context: &Context, args: &Args) -> Result<Option<ForkOrder>, Problem> {
    let opened = context.reader()?;
    let store: &dyn Store = &*opened.store;
    let parent = resolve::run(store, &args.run)?.run;
    let step = StepPath::from(args.at.as_str());
    let at = if args.after { At::Outcome(step) } else { At::Start(step) };
    let cut = cut(store, parent, &at)?;
    let (source, files, flow) = match &args.flow {
        None => (None, BTreeMap::new(), None),
        Some(path) => match diagnostics::opened(context, flowfiles::open(path))? {
            None => return Ok(None),
            Some(FlowFiles { source, files, flows }) => (Some(source), files, Some(flows.main)),
        },
    };
    let vars = match &flow {
        Some(flow) => Arc::clone(flow),
        None => aura_engine::load_flow(store, &cut.flow)?,
    };
    let mut changes = Changes::of(&cut, StoreBlobs::new(&opened)?, &vars);
    for change in &args.changes {
        changes.set(change)?;
    }
    let mut forked = forked(context, parent, &cut, changes)?;
    forked.labels.extend(labels(&args.labels)?);
    forked.effects = effects(args)?.into();
    if let Some(path) = &args.mock {
        forked.mocks = Some(mocks(path)?);
    }
    Ok(Some(ForkOrder { run: RunId(Uuid::now_v7()), forked, source, files }))
}

/// Where outcomes come from: a file with them says that they come from there.
fn effects(args: &Args) -> Result<Effects, Problem> {
    match (args.effects, &args.mock) {
        (None, None) => Ok(Effects::Reuse),
        (None | Some(Effects::Mock), Some(_)) => Ok(Effects::Mock),
        (Some(given), None) => Ok(given),
        (Some(_), Some(_)) => {
            let what = "--mock FILE is for --effects mock, and another is asked for";
            Err(Problem::new(Code::Usage, what).next("leave out one of the two"))
        }
    }
}

/// A fork that leaves its parent there, and changes nothing else.
pub(crate) fn plain(context: &Context, parent: RunId, cut: &Cut) -> Result<RunForked, Problem> {
    let started = match (&cut.run.started, cut.then.first().map(|event| &event.body)) {
        (Some(started), _) => started.labels.clone(),
        (None, Some(EventBody::RunStarted(started))) => started.labels.clone(),
        _ => BTreeMap::new(),
    };
    Ok(RunForked {
        parent,
        seq: cut.seq,
        hash: cut.hash,
        flow: cut.flow.clone(),
        seed: random()?,
        effects: ForkEffects::Reuse,
        mocks: None,
        changes: cut.changes.clone(),
        labels: started,
        actor: context.actor.clone(),
        then: cut.then.clone(),
        open: Vec::new(),
        budget: None,
        state: Hash::ZERO,
    })
}

fn forked(
    context: &Context,
    parent: RunId,
    cut: &Cut,
    changes: Changes<'_>,
) -> Result<RunForked, Problem> {
    let mut forked = plain(context, parent, cut)?;
    let changes = changes.values.into_iter();
    forked.changes = changes.map(|(of, value)| Change { of, value: Data::from(value) }).collect();
    Ok(forked)
}

fn mocks(path: &std::path::Path) -> Result<Data, Problem> {
    let given = input::json("--mock", &format!("@{}", path.display()))?.value;
    if let Err(e) = serde_json::from_value::<Mocks>(given.clone()) {
        let what = format!("--mock {}: {e}", path.display());
        return Err(Problem::new(Code::Usage, what).next(
            "{\"steps\": {\"STEP\": {\"output\": …}}, \"tools\": {\"TOOL\": {\"output\": …}}}",
        ));
    }
    Ok(Data::from(given))
}

/// Values that the fork shall have, whole.
struct Changes<'a> {
    cut: &'a Cut,
    blobs: StoreBlobs,
    /// The flow that the fork goes on by.
    flow: &'a Flow,
    values: BTreeMap<Changed, Value>,
}

impl<'a> Changes<'a> {
    fn of(cut: &'a Cut, blobs: StoreBlobs, flow: &'a Flow) -> Self {
        let mut changes = Self { cut, blobs, flow, values: BTreeMap::new() };
        for change in &cut.changes {
            if let Ok(value) = changes.blobs.json(&change.value) {
                changes.values.insert(change.of.clone(), Value::clone(&value));
            }
        }
        changes
    }

    /// Takes `PATH=JSON`.
    fn set(&mut self, assignment: &str) -> Result<(), Problem> {
        let wrong = || {
            let what = format!("--set '{assignment}' does not say what to change");
            Problem::new(Code::Usage, what)
                .next("--set input.FIELD=…, --set vars.NAME=… or --set steps.STEP.output=…")
        };
        let (path, text) = assignment.split_once('=').ok_or_else(wrong)?;
        let (of, rest) = target(path).ok_or_else(wrong)?;
        if let Changed::Var(name) = &of {
            self.check_var(name)?;
        }
        let value = match self.values.remove(&of) {
            Some(value) => value,
            None => self.before(&of)?,
        };
        let mut given = Given { value, wide: Vec::new() };
        if rest.is_empty() {
            let parsed = aura_core::canonical::ingest(text).map(|(value, _)| value);
            given.value = parsed.unwrap_or_else(|_| Value::String(text.to_owned()));
        } else {
            input::set(&mut given, &format!("{rest}={text}"))?;
        }
        self.values.insert(of, given.value);
        Ok(())
    }

    /// Refuses a variable that neither the run nor its flow has.
    fn check_var(&self, name: &str) -> Result<(), Problem> {
        let mut known: BTreeSet<&str> = self.flow.vars.keys().map(String::as_str).collect();
        known.extend(self.cut.run.vars.keys().map(String::as_str));
        if known.contains(name) {
            return Ok(());
        }
        let next = match known.len() {
            0 => "the flow has no variables".to_owned(),
            _ => format!("one of: {}", Vec::from_iter(known).join(", ")),
        };
        let what = format!("--set vars.{name}: the run has no variable '{name}'");
        Err(Problem::new(Code::Usage, what).kept("nothing was started").next(next))
    }

    /// The value in the parent.
    fn before(&self, of: &Changed) -> Result<Value, Problem> {
        let run = &self.cut.run;
        match of {
            Changed::Input => {
                let first = self.cut.then.first().map(|event| &event.body);
                let data = match (&run.started, first) {
                    (Some(started), _) => &started.input,
                    (None, Some(EventBody::RunStarted(started))) => &started.input,
                    _ => return Ok(Value::Null),
                };
                Ok(Value::clone(&*self.blobs.json(data)?))
            }
            Changed::Var(name) => run.vars.get(name).map_or(Ok(Value::Null), |val| self.json(val)),
            Changed::Output(step) => {
                run.node(step).map_or(Ok(Value::Null), |node| self.json(&node.output))
            }
        }
    }

    fn json(&self, val: &aura_graph::val::Val) -> Result<Value, Problem> {
        let mut missing = Vec::new();
        let value = val.to_json(&|blob| self.blobs.read(blob).ok(), &mut missing);
        match missing.first() {
            None => Ok(value),
            Some(blob) => self.blobs.json(&Data::Blob(*blob)).map(|_| value),
        }
    }
}

/// What a path names, and the way within its value.
fn target(path: &str) -> Option<(Changed, &str)> {
    let within = |rest: &'_ str| rest.is_empty() || rest.starts_with('.');
    if let Some(rest) = path.strip_prefix("input").filter(|rest| within(rest)) {
        return Some((Changed::Input, rest.trim_start_matches('.')));
    }
    if let Some(rest) = path.strip_prefix("vars.") {
        let (name, rest) = rest.split_once('.').unwrap_or((rest, ""));
        return (!name.is_empty()).then(|| (Changed::Var(name.to_owned()), rest));
    }
    let (step, rest) = path.strip_prefix("steps.")?.split_once(".output")?;
    let known = !step.is_empty() && within(rest);
    known.then(|| (Changed::Output(StepPath::from(step)), rest.trim_start_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_change() {
        let cases = [
            ("input", Some((Changed::Input, ""))),
            ("input.order.id", Some((Changed::Input, "order.id"))),
            ("inputs", None),
            ("vars.n", Some((Changed::Var("n".to_owned()), ""))),
            ("vars.n.a.b", Some((Changed::Var("n".to_owned()), "a.b"))),
            ("vars.", None),
            ("steps.a.output", Some((Changed::Output(StepPath::from("a")), ""))),
            ("steps.m[3]/a#2.output.x", Some((Changed::Output(StepPath::from("m[3]/a#2")), "x"))),
            ("steps.a.outputs", None),
            ("steps.a", None),
        ];
        for (path, expected) in cases {
            assert_eq!(target(path), expected, "{path}");
        }
    }
}
