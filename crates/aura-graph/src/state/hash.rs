//! The state hash: a running hash over what a flow can see, so that its cost does not grow with history.
//!
//! `h₀ = SHA-256(salt ‖ JCS(input))`; for each event that changes what a flow sees,
//! `h' = SHA-256(h ‖ SHA-256(JCS(delta)))`. The delta is an object from path to change: `"steps/PATH"` to
//! `{status, output?, error?}`, `"vars/NAME"` to a value, `"run"` to `{status, output?, error?}`. A value is
//! `{"json": …}` or, for a blob, `{"blob": {…}}`. Outputs that are gathered from other steps are left out: their
//! parts are in the hash already. A fork has the hash of what it shares; what it changes is a delta of `"input"`,
//! `"vars/NAME"` and `"steps/PATH"` to `{status, output}`.

use aura_core::canonical;
use aura_core::data::Data;
use aura_core::event::{Event, EventBody, Output};
use aura_core::fork::Changed;
use aura_core::hash::Hash;
use serde_json::{Map, Value, json};

use super::Run;

/// The state hash of a new run.
pub fn beginning(salt: Hash, input: &Data) -> Hash {
    Hash::of_all(&[&salt.0, &canonical::to_vec(&json!(input))])
}

/// The state hash after an event, given the state before it; `None` if the event changes nothing that a flow sees.
pub fn after(run: &Run, event: &Event) -> Option<Hash> {
    if let EventBody::RunForked(data) = &event.body
        && (data.changes.is_empty() || run.started.is_none())
    {
        return Some(run.hash);
    }
    let delta = match plain(run, event) {
        Some(text) => text,
        None => canonical::to_string(&Value::Object(delta(run, event)?)),
    };
    let delta = Hash::of(delta.as_bytes());
    Some(Hash::of_all(&[&run.hash.0, &delta.0]))
}

/// The canonical text of the delta that almost every step has, written without building it first: a step that
/// completed and set no variables.
fn plain(run: &Run, event: &Event) -> Option<String> {
    let (EventBody::StepCompleted(data), Some(step)) = (&event.body, &event.step) else {
        return None;
    };
    if !data.vars.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(128);
    text.push('{');
    canonical::write_text(&format!("steps/{step}"), &mut text);
    text.push_str(":{");
    let output = match &data.output {
        Output::Value(value) => Some(value),
        Output::Task => run.node(step).and_then(|node| node.outcome.as_ref()),
        Output::Vars | Output::Node(_) | Output::Bodies => None,
    };
    if let Some(output) = output {
        text.push_str("\"output\":");
        match output {
            Data::Json(value) => {
                text.push_str("{\"json\":");
                canonical::write(value, &mut text);
                text.push('}');
            }
            Data::Blob(_) => canonical::write(&json!(output), &mut text),
        }
        text.push(',');
    }
    text.push_str("\"status\":\"completed\"}}");
    Some(text)
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
        EventBody::RunForked(data) => {
            for change in &data.changes {
                let value = json!(change.value);
                match &change.of {
                    Changed::Input => delta.insert("input".into(), value),
                    Changed::Var(name) => delta.insert(format!("vars/{name}"), value),
                    Changed::Output(step) => delta.insert(
                        format!("steps/{step}"),
                        json!({ "status": "completed", "output": value }),
                    ),
                };
            }
        }
        _ => return None,
    }
    Some(delta)
}

#[cfg(test)]
mod tests {
    use aura_core::data::BlobRef;
    use aura_core::event::StepCompleted;
    use aura_core::{RunId, StepPath};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_written_at_once_is_what_is_built() {
        let run = Run::new(RunId(Uuid::nil()));
        let blob = BlobRef { blob: Hash::of(b"x"), bytes: 70_000 };
        let value = json!({ "b": [1, 2.5, null], "a": "\u{1f600}\n\"" });
        for output in [
            Output::Value(value.into()),
            Output::Value(Data::Blob(blob)),
            Output::Node(Some("x".to_owned())),
            Output::Bodies,
            Output::Task,
        ] {
            let (vars, last, next) = (std::collections::BTreeMap::new(), false, None);
            let data =
                StepCompleted { output, vars, last, next, state: Hash::ZERO, compensate: None };
            let step = Some(StepPath::from("a[\"x\"]/b#2"));
            let event = Event { step, attempt: None, body: EventBody::StepCompleted(data) };
            let built =
                delta(&run, &event).map(|delta| canonical::to_string(&Value::Object(delta)));
            assert_eq!(plain(&run, &event), built);
        }
    }
}
