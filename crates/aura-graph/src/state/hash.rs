//! The state hash: a running hash over what a flow can see, so that its cost does not grow with history.
//!
//! `h₀ = SHA-256(salt ‖ JCS(input))`; for each event that changes what a flow sees,
//! `h' = SHA-256(h ‖ SHA-256(JCS(delta)))`. The delta is an object from path to change: `"steps/PATH"` to
//! `{status, output?, error?}`, `"vars/NAME"` to a value, `"run"` to `{status, output?, error?}`. A value is
//! `{"json": …}` or, for a blob, `{"blob": {…}}`. Outputs that are gathered from other steps are left out: their
//! parts are in the hash already.

use aura_core::canonical;
use aura_core::data::Data;
use aura_core::event::{Event, EventBody, Output};
use aura_core::hash::Hash;
use serde_json::{Map, Value, json};

use super::Run;

/// The state hash of a new run.
pub fn beginning(salt: Hash, input: &Data) -> Hash {
    Hash::of_all(&[&salt.0, &canonical::to_vec(&json!(input))])
}

/// The state hash after an event, given the state before it; `None` if the event changes nothing that a flow sees.
pub fn after(run: &Run, event: &Event) -> Option<Hash> {
    let delta = delta(run, event)?;
    let delta = Hash::of(&canonical::to_vec(&Value::Object(delta)));
    Some(Hash::of_all(&[&run.hash.0, &delta.0]))
}

fn delta(run: &Run, event: &Event) -> Option<Map<String, Value>> {
    let mut delta = Map::new();
    let path = || format!("steps/{}", event.step.as_ref().map_or("", |step| step.as_str()));
    match &event.body {
        EventBody::StepCompleted(data) => {
            let mut change = json!({ "status": "completed" });
            let output = match &data.output {
                Output::Value(value) => Some(json!(value)),
                Output::Task => event
                    .step
                    .as_ref()
                    .and_then(|step| run.node(step)?.outcome.as_ref())
                    .map(|value| json!(value)),
                Output::Vars | Output::Node(_) | Output::Bodies => None,
            };
            if let Some(output) = output {
                change["output"] = output;
            }
            for (name, value) in &data.vars {
                delta.insert(format!("vars/{name}"), json!(value));
            }
            delta.insert(path(), change);
        }
        EventBody::StepFailed(data) => {
            delta.insert(path(), json!({ "status": "failed", "error": data.error }));
        }
        EventBody::StepSkipped(_) => {
            delta.insert(path(), json!({ "status": "skipped" }));
        }
        EventBody::RunCompleted(data) => {
            delta.insert("run".into(), json!({ "status": "completed", "output": data.output }));
        }
        EventBody::RunFailed(data) => {
            delta.insert("run".into(), json!({ "status": "failed", "error": data.error }));
        }
        _ => return None,
    }
    Some(delta)
}
