//! Running a function against its journal alone.

use std::sync::Arc;

use aura_core::StepPath;
use aura_core::data::Data;
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::EventBody;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::journal::Recorded;
use aura_core::ports::Blobs;
use aura_core::task::TaskSpec;
use aura_engine::{Catalog, code, read_all};
use aura_graph::Run;
use aura_graph::state::fold;
use aura_store::Opened;
use serde_json::Value;
use tokio::runtime::Runtime;

/// What came of a replay.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// The function took the recorded way to the recorded end, over this many calls.
    Matches(usize),
    /// It took another way; for `NON_DETERMINISM` the message shows both calls.
    Differs(Failure),
}

/// What a function was given, what it asked for, and how it ended.
struct Told {
    spec: Arc<TaskSpec>,
    journal: Vec<Recorded>,
    end: Result<Data, Failure>,
}

pub(crate) fn replay(
    opened: &Opened,
    catalog: &Catalog,
    runtime: &Runtime,
    (run, step): (RunId, StepPath),
) -> Result<Replayed, Problem> {
    let told = told(opened, run, &step)?.ok_or_else(|| {
        let what = format!("run {run} has no function at '{step}' that has ended");
        Problem::new(Code::NotFound, what).next(format!("aura show {run}"))
    })?;
    let function = catalog.function(&told.spec.tool).ok_or_else(|| {
        let what = format!("this program has no function '{}'", told.spec.tool);
        Problem::new(Code::FunctionMissing, what)
    })?;
    let blobs: Arc<dyn Blobs> = Arc::clone(&opened.blobs) as _;
    let (function, calls) = (Arc::clone(function), told.journal.len());
    runtime.block_on(async move {
        let args = value(&*blobs, &told.spec.args).await?;
        let recorded = match &told.end {
            Ok(data) => Ok(value(&*blobs, data).await?),
            Err(failure) => Err(failure.clone()),
        };
        let ended = code::replay(function, args, (run, step), told.journal, blobs).await;
        Ok(match (ended, recorded) {
            (Ok(ended), Ok(recorded)) if ended == recorded => Replayed::Matches(calls),
            (Err(ended), Err(recorded)) if ended.code == recorded.code => Replayed::Matches(calls),
            (Err(ended), _) => Replayed::Differs(ended),
            (Ok(ended), _) => Replayed::Differs(Failure::certain(
                Code::NonDeterminism,
                format!("the function ends otherwise than recorded: {ended}"),
            )),
        })
    })
}

fn told(opened: &Opened, id: RunId, step: &StepPath) -> Result<Option<Told>, Problem> {
    let mut run = Run::new(id);
    let mut found = None;
    let broken = |e: &dyn std::fmt::Display| {
        Problem::new(Code::ChainBroken, format!("run {id}: {e}")).next("aura store check")
    };
    let mut head = Hash::ZERO;
    read_all(&*opened.store, id, &mut |commit| {
        commit.check(head, run.events + 1).map_err(|e| broken(&e))?;
        head = commit.hash;
        for event in commit.events().map_err(|e| broken(&e))? {
            if event.step.as_ref() == Some(step) {
                let end = match &event.body {
                    EventBody::ToolCompleted(data) => Some(Ok(data.output.clone())),
                    EventBody::ToolFailed(data) => Some(Err(data.error.clone())),
                    _ => None,
                };
                let open = end.zip(run.tasks.get(step).cloned()).zip(run.node(step));
                if let Some(((end, task), node)) = open
                    && let Some(bodies) = node.bodies()
                {
                    let numbers = 1..=bodies.calls.size() as u64;
                    let journal = numbers.filter_map(|number| bodies.recorded(number)).collect();
                    found = Some(Told { spec: Arc::clone(&task.spec), journal, end });
                }
            }
            fold(&mut run, commit.header.at, &event).map_err(|e| broken(&e))?;
        }
        Ok(())
    })?;
    Ok(found)
}

/// The value of data.
pub(crate) async fn value(blobs: &dyn Blobs, data: &Data) -> Result<Value, Problem> {
    let blob = match data {
        Data::Json(value) => return Ok(Value::clone(value)),
        Data::Blob(blob) => *blob,
    };
    let bytes =
        blobs.get(blob).await.map_err(|e| Problem::new(Code::BlobMissing, e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| Problem::new(Code::BlobCorrupt, e.to_string()))
}
