//! A state for people who step through a history: what a flow sees, and what is open.

use aura_core::data::Data;
use serde_json::{Map, Value, json};

use super::tree::{self, Done, Inside, Node, Place};
use super::{Phase, Run};
use crate::val::Val;

/// The state as one JSON value, in which two states of a run can be compared: `status`, `input`, `vars`, `steps` by
/// path with status, output and error, and what is `open`: tasks, timers, waits, approvals. Values that lie in blobs
/// are told by their address. Steps of bodies that ended are gone, as they are for the flow.
pub fn outline(run: &Run) -> Value {
    let mut steps = Map::new();
    tree::places(&run.root, &mut |path, place| {
        let entry = match place {
            Place::Step(node) => step(node),
            Place::Ended(Done::Completed(output)) => {
                json!({ "status": "completed", "output": output.outline() })
            }
            Place::Ended(Done::Failed(error)) => json!({ "status": "failed", "error": error }),
        };
        steps.insert(path.as_str().to_owned(), entry);
    });
    let vars: Map<String, Value> =
        run.vars.iter().map(|(name, value)| (name.clone(), value.outline())).collect();
    let mut form = json!({
        "status": run.status(),
        "input": run.started.as_ref().map(|started| plain(&started.input)),
        "vars": vars,
        "steps": steps,
        "open": open(run),
    });
    match &run.phase {
        Phase::Completed(output) => form["output"] = plain(output),
        Phase::Failed(error, _) => form["error"] = json!(error),
        _ => {}
    }
    form
}

fn step(node: &Node) -> Value {
    let mut entry = json!({ "status": node.status.as_str() });
    if !node.output.is_null() {
        entry["output"] = node.output.outline();
    }
    if let Some(error) = &node.error {
        entry["error"] = json!(error);
    }
    if let Inside::Wait(signal) = &node.inside {
        entry["waits_for"] = json!(signal);
    }
    entry
}

fn plain(data: &Data) -> Value {
    Val::from(data.clone()).outline()
}

/// What something outside must happen to.
fn open(run: &Run) -> Value {
    let tasks = run.tasks.iter().map(|(step, task)| {
        let entry = json!({ "tool": task.spec.tool, "phase": task.phase, "attempt": task.attempt });
        (step.as_str().to_owned(), entry)
    });
    let approvals = run.approvals.iter().map(|(step, asked)| {
        let entry = json!({ "message": asked.request.message, "missing": asked.missing() });
        (step.as_str().to_owned(), entry)
    });
    let timers = run.timers.iter().map(|(due, step, purpose)| {
        let purpose = json!(purpose);
        (format!("{step} {}", purpose.as_str().unwrap_or_default()), json!(due))
    });
    let signals = run
        .signals
        .kept
        .iter()
        .map(|((name, number), signal)| (format!("{name} {number}"), plain(&signal.payload)));
    let children = run.children.iter().map(|(step, child)| {
        let entry = json!({ "flow": child.spec.flow.name, "stops": child.cancelling.is_some() });
        (step.as_str().to_owned(), entry)
    });
    json!({
        "children": children.collect::<Map<_, _>>(),
        "tasks": tasks.collect::<Map<_, _>>(),
        "approvals": approvals.collect::<Map<_, _>>(),
        "timers": timers.collect::<Map<_, _>>(),
        "signals": signals.collect::<Map<_, _>>(),
    })
}
