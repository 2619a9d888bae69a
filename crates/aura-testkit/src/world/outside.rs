//! The tools of a world, and its ledger of what they did outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_core::canonical;
use aura_core::data::{Data, blob_address};
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Outcome;
use aura_core::limits;
use aura_core::ports::{Group, Store};
use aura_core::task::{Task, TaskResult};
use aura_core::tool::{ClassRule, ToolDef};
use aura_engine::Message;
use bytes::Bytes;
use serde_json::{Value, json};

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
#[derive(Default)]
pub struct Outside {
    /// What tools give that are not those of [`tools`].
    pub(super) answers: Option<Answers>,
    made: Vec<Task>,
    /// How often each call with a mark on the world was made, by key.
    calls: BTreeMap<Hash, Mark>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What a call gives, for tools that a world does not know.
pub(super) type Answers = Arc<dyn Fn(&Task) -> Value + Send + Sync>;

/// The mark of one effect.
#[derive(Debug)]
struct Mark {
    class: EffectClass,
    /// Whose it is; nobody's where several runs share the key, as it depends on who came first.
    run: Option<RunId>,
    /// Effects: for a call that is idempotent by its key, one however often it is sent.
    effects: u32,
    output: Value,
}

impl Outside {
    /// Effects that happened, each with how often.
    pub fn effects(&self) -> impl Iterator<Item = (Hash, EffectClass, u32)> {
        self.calls.iter().map(|(key, mark)| (*key, mark.class, mark.effects))
    }

    /// Every call that was made, in order; one that was made again stands there again.
    pub fn made(&self) -> impl Iterator<Item = &Task> {
        self.made.iter()
    }

    /// Keys of the effects that happened: of a run, or those that several runs share.
    pub fn keys_of(&self, run: Option<RunId>) -> BTreeSet<Hash> {
        let own = self.calls.iter().filter(|(_, mark)| mark.run == run && mark.effects > 0);
        own.map(|(key, _)| *key).collect()
    }

    /// What the effect of this key gave, if it happened.
    pub fn output_of(&self, key: Hash) -> Option<Value> {
        self.calls.get(&key).map(|mark| mark.output.clone())
    }

    /// What a call tells when it is over.
    pub(super) fn report(&self, task: &Task, store: &Arc<ModelStore>) -> Message {
        let result = match scripted(task) {
            Some(failure) => TaskResult::Failed { failure, retry_after_ms: None },
            None if task.spec.tool == "sim.look" => succeeded(self.look(task), store),
            None => succeeded(self.output(task), store),
        };
        outcome(task, result)
    }

    /// What a look at the effect of the key in the arguments shows.
    fn look(&self, task: &Task) -> Value {
        let key = args(task)["key"].as_str().and_then(|key| key.parse().ok());
        let output = key.and_then(|key| self.output_of(key));
        json!({ "found": output.is_some(), "output": output })
    }

    /// A call is made, whatever it does.
    pub(super) fn note(&mut self, task: &Task) {
        self.made.push(task.clone());
    }

    fn output(&self, task: &Task) -> Value {
        self.answers.as_ref().map_or_else(|| output(task), |answers| answers(task))
    }

    pub(super) fn act(&mut self, task: &Task) {
        let class = task.spec.class;
        if class.abandonable() || scripted(task).is_some_and(|failure| failure.certain) {
            return;
        }
        let output = self.output(task);
        let run = task.spec.idempotency.is_none().then_some(task.run);
        let mark =
            self.calls.entry(task.spec.key).or_insert(Mark { class, run, effects: 0, output });
        if !class.repeatable() || mark.effects == 0 {
            mark.effects += 1;
        }
    }
}

/// A call that certainly did nothing.
pub(super) fn failed(task: &Task) -> Message {
    let failure = Failure::certain(Code::Unavailable, "as injected");
    outcome(task, TaskResult::Failed { failure, retry_after_ms: None })
}

fn outcome(task: &Task, result: TaskResult) -> Message {
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
    let mut failure = Failure::certain(code, "as scripted");
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
