//! `aura state`: what a run knows at any moment, read without touching it.

use aura_core::error::{Code, Problem};
use aura_core::event::Work;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::Store;
use aura_engine::read_all;
use aura_graph::Run;
use aura_graph::state::{Inside, Node, Phase, Scope, fold, fold_commit};
use aura_graph::val::Val;
use serde_json::{Map, Value, json};

use crate::blobs::StoreBlobs;
use crate::context::Context;
use crate::exit::Exit;
use crate::resolve;

/// Names that are told of where a path ends in nothing.
const NAMES: usize = 20;

/// Arguments of `aura state`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One JSON document: {run_id, flow, status, event, at, state_hash, input, vars, steps, children,
signals, output, error}. Steps have their path as key, such as 'each[0]/tell#2', and their status,
visit, output and error; of a body that ended only what its step gathered is left. Large values are
told by their address; below a PATH they are whole.

The run may be in work or have ended, here or in another process.

Examples:
  aura state 0198c2d1
  aura state 0198c2d1 --at 12
  aura state 0198c2d1 steps.fetch.output.json
  aura state 0198c2d1 vars.tries --at 40")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    run: String,
    /// A part of the document, its names joined by dots.
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// The state after this event instead of the last one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    at: Option<u64>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let id = resolve::run(&*opened.store, &args.run)?.run;
    let state = state_at(&*opened.store, id, args.at.unwrap_or(u64::MAX))?;
    if args.at.is_some_and(|at| at > state.events) {
        let what = format!("the run has {} events", state.events);
        return Err(Problem::new(Code::NotFound, what).next(format!("aura events {id}")));
    }
    let blobs = StoreBlobs::new(&opened)?;
    let shown = Shown { blobs: args.path.is_some().then_some(&blobs) };
    let document = shown.document(&state)?;
    match &args.path {
        None => context.out.document(&document),
        Some(path) => context.out.document(part(&document, path)?),
    }
    Ok(Exit::Done)
}

/// The state after an event, or after the last one.
fn state_at(store: &dyn Store, id: RunId, event: u64) -> Result<Run, Problem> {
    let (mut run, mut head) = (Run::new(id), Hash::ZERO);
    let damaged = |why: String| {
        Problem::new(Code::ChainBroken, format!("run {id}: {why}")).next("aura store check")
    };
    read_all(store, id, &mut |commit| {
        if run.events >= event {
            return Ok(());
        }
        let last = commit.header.seq + u64::from(commit.header.count) - 1;
        if last <= event {
            return fold_commit(&mut run, &mut head, &commit).map_err(|e| damaged(e.to_string()));
        }
        for one in commit.events().map_err(|e| damaged(e.to_string()))? {
            if run.events < event {
                fold(&mut run, commit.header.at, &one).map_err(|e| damaged(e.to_string()))?;
            }
        }
        Ok(())
    })?;
    Ok(run)
}

/// How values are shown: whole, where there is somewhere to read them from.
struct Shown<'a> {
    blobs: Option<&'a StoreBlobs>,
}

impl Shown<'_> {
    fn value(&self, val: &Val) -> Result<Value, Problem> {
        let Some(blobs) = self.blobs else { return Ok(val.outline()) };
        let mut missing = Vec::new();
        let value = val.to_json(&|blob| blobs.read(blob).ok(), &mut missing);
        match missing.first() {
            None => Ok(value),
            Some(blob) => {
                let what = format!("the blob {} can't be read", blob.blob);
                Err(Problem::new(Code::BlobMissing, what).next("aura store check"))
            }
        }
    }

    fn document(&self, run: &Run) -> Result<Value, Problem> {
        let started = run.started.as_ref();
        let mut vars = Map::new();
        for (name, val) in &run.vars {
            vars.insert(name.clone(), self.value(val)?);
        }
        let mut steps = Map::new();
        self.steps(&StepPath::root(), &run.root, &mut steps)?;
        let children: Map<_, _> = run
            .children
            .iter()
            .map(|(step, child)| {
                let flow = &child.spec.flow.name;
                (step.to_string(), json!({ "run_id": child.run, "flow": flow }))
            })
            .collect();
        let mut signals = Vec::new();
        for signal in run.signals.in_order() {
            let payload = self.value(&Val::Data(signal.payload.clone()))?;
            signals.push(json!({ "id": signal.id, "name": signal.name, "payload": payload }));
        }
        let (output, error) = match &run.phase {
            Phase::Completed(output) => (self.value(&Val::Data(output.clone()))?, Value::Null),
            Phase::Failed(error, _) => (Value::Null, json!(error)),
            _ => (Value::Null, Value::Null),
        };
        let input = started.map(|started| Val::Data(started.input.clone())).unwrap_or_default();
        Ok(json!({
            "run_id": run.id,
            "flow": started.map(|started| &started.flow.name),
            "status": run.status(),
            "event": run.events,
            "at": run.at,
            "state_hash": run.hash,
            "input": self.value(&input)?,
            "vars": vars,
            "steps": steps,
            "children": children,
            "signals": signals,
            "output": output,
            "error": error,
        }))
    }

    /// Bodies are nested only so deep, so this may recurse.
    fn steps(
        &self,
        body: &StepPath,
        scope: &Scope,
        steps: &mut Map<String, Value>,
    ) -> Result<(), Problem> {
        for (id, node) in &scope.nodes {
            let path = body.node(id, node.visit);
            steps.insert(path.to_string(), self.step(node)?);
            if let Inside::Bodies(bodies) = &node.inside {
                for (key, inner) in &bodies.running {
                    self.steps(&path.body(key), inner, steps)?;
                }
            }
        }
        Ok(())
    }

    fn step(&self, node: &Node) -> Result<Value, Problem> {
        let mut step = json!({
            "status": node.status.as_str(),
            "visit": node.visit,
            "output": self.value(&node.output)?,
            "error": node.error,
        });
        if let Inside::Bodies(bodies) = &node.inside {
            step["ended"] = json!(bodies.ended);
            if let Work::Map { count, .. } = &bodies.work {
                step["items"] = json!(count);
            }
        }
        Ok(step)
    }
}

/// A part of a document.
fn part<'v>(document: &'v Value, path: &str) -> Result<&'v Value, Problem> {
    let mut value = document;
    for name in path.split('.') {
        let found = match value {
            Value::Object(map) => map.get(name),
            Value::Array(items) => name.parse().ok().and_then(|at: usize| items.get(at)),
            _ => None,
        };
        value = found.ok_or_else(|| {
            let known: Vec<_> = match value {
                Value::Object(map) => map.keys().take(NAMES).map(String::as_str).collect(),
                _ => Vec::new(),
            };
            let next = match (value, known.is_empty()) {
                (Value::Array(items), _) => format!("a number below {}", items.len()),
                (_, true) => "leave it out".to_owned(),
                (_, false) => format!("one of {}", known.join(", ")),
            };
            Problem::new(Code::NotFound, format!("the state has no '{name}' there")).next(next)
        })?;
    }
    Ok(value)
}
