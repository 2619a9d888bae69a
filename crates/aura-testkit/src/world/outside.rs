//! The tools of a world, and its ledger of what they did outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::canonical;
use aura_core::data::{Data, blob_address};
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::hash::Hash;
use aura_core::input::Outcome;
use aura_core::limits;
use aura_core::ports::{Group, Store};
use aura_core::task::{Task, TaskResult};
use aura_core::tool::{ClassRule, ToolDef};
use aura_engine::Message;
use bytes::Bytes;
use serde_json::{Value, json};

use super::scripted_failure;
use crate::model_store::ModelStore;

/// Definitions of the tools of a world: one of each class, one whose class its arguments say, one that looks whether the effect of a key happened, and
/// `verify`.
pub fn tools() -> BTreeMap<String, ToolDef> {
    [
        ("sim.pure", EffectClass::Pure),
        ("sim.read", EffectClass::Read),
        ("sim.idempotent", EffectClass::Idempotent),
        ("sim.irreversible", EffectClass::Irreversible),
        ("sim.big", EffectClass::Read),
        ("sim.look", EffectClass::Read),
        ("verify", EffectClass::Pure),
    ]
    .into_iter()
    .map(|(name, class)| (name, ClassRule::Fixed(class)))
    .chain([("sim.any", by_mode())])
    .map(|(name, class)| {
        let def = ToolDef {
            name: name.to_owned(),
            summary: "a tool of the simulated world".to_owned(),
            help: String::new(),
            class,
            input: json!({ "type": "object" }),
            output: json!({}),
            secret_params: Vec::new(),
            inline: false,
        };
        (name.to_owned(), def)
    })
    .collect()
}

/// A call that looks with `{"mode": "look"}`, and acts otherwise.
fn by_mode() -> ClassRule {
    ClassRule::ByParam {
        param: "mode".to_owned(),
        absent: "act".to_owned(),
        cases: BTreeMap::from([("LOOK".to_owned(), EffectClass::Read)]),
        otherwise: EffectClass::Irreversible,
    }
}

/// What happened outside.
#[derive(Debug, Default)]
pub struct Outside {
    /// How often each call with a mark on the world was made, by key.
    calls: BTreeMap<Hash, Mark>,
}

/// The mark of one effect.
#[derive(Debug)]
struct Mark {
    class: EffectClass,
    /// Effects: for a call that is idempotent by its key, one however often it is sent.
    effects: u32,
    output: Value,
}

impl Outside {
    /// Effects that happened, each with how often.
    pub fn effects(&self) -> impl Iterator<Item = (Hash, EffectClass, u32)> {
        self.calls.iter().map(|(key, mark)| (*key, mark.class, mark.effects))
    }

    /// What the effect of this key gave, if it happened.
    pub fn output_of(&self, key: Hash) -> Option<Value> {
        self.calls.get(&key).map(|mark| mark.output.clone())
    }

    /// What a look at the effect of the key in the arguments shows.
    fn look(&self, task: &Task) -> Value {
        let key = args(task)["key"].as_str().and_then(|key| key.parse().ok());
        let output = key.and_then(|key| self.output_of(key));
        json!({ "found": output.is_some(), "output": output })
    }

    pub(super) fn act(&mut self, task: &Task) {
        let class = task.spec.class;
        if class.abandonable() || scripted(task).is_some_and(|failure| failure.certain) {
            return;
        }
        let output = output(task);
        let mark = self.calls.entry(task.spec.key).or_insert(Mark { class, effects: 0, output });
        if !class.repeatable() || mark.effects == 0 {
            mark.effects += 1;
        }
    }
}

/// What a call tells when it is over.
pub(super) fn report(task: &Task, outside: &Outside, store: &Arc<ModelStore>) -> Message {
    let result = match scripted(task) {
        Some(failure) => TaskResult::Failed { failure, retry_after_ms: None },
        None if task.spec.tool == "sim.look" => succeeded(outside.look(task), store),
        None => succeeded(output(task), store),
    };
    let outcome =
        Outcome { step: task.step.clone(), attempt: task.attempt, call: task.spec.call, result };
    Message::Outcome { run: task.run, outcome, value: None }
}

fn succeeded(output: Value, store: &Arc<ModelStore>) -> TaskResult {
    let text = canonical::to_vec(&output);
    let output = if text.len() > limits::INLINE_BYTES {
        let salt = store.info().map(|info| info.salt).unwrap_or_default();
        let address = blob_address(salt, &text);
        let blobs = vec![(address.blob, Bytes::from(text))];
        let _ = store.append(&Group { blobs, ..Group::default() });
        Data::Blob(address)
    } else {
        Data::from(output)
    };
    TaskResult::Succeeded { output, artifacts: Vec::new(), truncated: false }
}

fn args(task: &Task) -> Value {
    task.spec.args.as_json().cloned().unwrap_or_default()
}

/// The failure that the arguments ask for: `{"fail": {"code": …, "times": n, "certain": bool}}`.
fn scripted(task: &Task) -> Option<Failure> {
    let args = args(task);
    let script = args.get("fail")?;
    let times = script["times"].as_u64().unwrap_or(u64::MAX);
    if u64::from(task.attempt) > times {
        return None;
    }
    let code: Code = script["code"].as_str()?.parse().ok()?;
    let mut failure = scripted_failure(code);
    failure.certain = script["certain"].as_bool().unwrap_or(true);
    Some(failure)
}

fn output(task: &Task) -> Value {
    let args = args(task);
    match task.spec.tool.as_str() {
        "sim.big" => json!({ "text": "x".repeat(limits::INLINE_BYTES + 1), "items": [1, 2, 3] }),
        "verify" => {
            let checks = args["checks"].as_array().cloned().unwrap_or_default();
            let passed = checks.iter().filter(|check| check["passed"] == json!(true)).count();
            let total = checks.len().max(1);
            let score = f64::from(u32::try_from(passed * 100 / total).unwrap_or(0));
            let min = args["min_score"].as_f64().unwrap_or(100.0);
            json!({ "passed": score >= min, "score": score, "min_score": min, "checks": checks })
        }
        _ => json!({ "echo": args }),
    }
}
