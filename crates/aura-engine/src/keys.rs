//! Keys that several runs share: who may make a call, who waits for it, and what came of it.
//!
//! The store's rows are the truth; here is only what is decided and not yet durable, and who waits. Tasks whose key
//! is that of their step alone never come here.

use std::collections::{BTreeMap, VecDeque};

use aura_core::event::{Event, EventBody, Settlement};
use aura_core::fork::Origin;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{KeyRow, KeyState, Store, StoreError};
use aura_core::task::{Idempotency, TaskSpec};
use aura_core::time::Millis;
use aura_core::{Data, StepPath};
use aura_graph::Run;
use aura_graph::decide::{Taken, Turn};

/// Where the key of a call stands for a step that wants to make it.
#[derive(Debug, PartialEq)]
pub(crate) enum Standing {
    /// The step may make the call.
    Free,
    /// Another step makes it, or nobody knows whether it did.
    Held,
    /// It was made, and gave this.
    Done(Taken),
}

/// What is decided about keys and not yet durable, and steps that wait for one.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// By key: the unit that carries the row, and the row.
    recent: BTreeMap<Hash, (u64, KeyRow)>,
    /// The keys of each unit.
    units: VecDeque<(u64, Hash)>,
    waiting: BTreeMap<Hash, VecDeque<(RunId, StepPath)>>,
}

impl Keys {
    /// Where a key stands for a step.
    pub(crate) fn look(
        &self,
        store: &dyn Store,
        (run, step, now): (RunId, &StepPath, Millis),
        (key, idempotency): (Hash, Idempotency),
    ) -> Result<Standing, StoreError> {
        let row = match self.recent.get(&key) {
            Some((_, row)) => Some(row.clone()),
            None => store.key(key)?,
        };
        Ok(match row {
            Some(KeyRow { run: of, step: at, state: KeyState::Held, .. })
                if of != run || at != *step =>
            {
                Standing::Held
            }
            Some(KeyRow {
                run,
                state: KeyState::Done { seq, output, truncated, at, until },
                ..
            }) if now < until && now.since(at) < idempotency.ttl_ms => Standing::Done(Taken {
                from: Origin { run, seq },
                outcome: Settlement::Succeeded(output),
                truncated,
            }),
            _ => Standing::Free,
        })
    }

    /// Remembers a row that goes to the store with a unit; gives back who waited for the key.
    pub(crate) fn note(&mut self, unit: u64, row: &KeyRow) -> Vec<(RunId, StepPath)> {
        self.recent.insert(row.key, (unit, row.clone()));
        self.units.push_back((unit, row.key));
        if row.state == KeyState::Held {
            return Vec::new();
        }
        self.waiting.remove(&row.key).unwrap_or_default().into()
    }

    /// A step waits until a key is free or its call was made. `false` if that is so already.
    pub(crate) fn wait(&mut self, key: Hash, run: RunId, step: StepPath) -> bool {
        let freed = self.recent.get(&key).is_some_and(|(_, row)| row.state != KeyState::Held);
        if freed {
            return false;
        }
        let waiting = self.waiting.entry(key).or_default();
        if !waiting.contains(&(run, step.clone())) {
            waiting.push_back((run, step));
        }
        true
    }

    /// The store has the rows of a unit.
    pub(crate) fn durable(&mut self, unit: u64) {
        while let Some((of, key)) = self.units.front().copied().filter(|(of, _)| *of <= unit) {
            self.units.pop_front();
            if self.recent.get(&key).is_some_and(|(last, _)| *last == of) {
                self.recent.remove(&key);
            }
        }
    }

    /// Nothing that is not durable counts any more; who waited asks again.
    pub(crate) fn begin_anew(&mut self) -> Vec<(RunId, StepPath)> {
        self.recent.clear();
        self.units.clear();
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }
}

/// The shared keys that a run holds, by step.
pub(crate) type HeldKeys = BTreeMap<StepPath, (Hash, Idempotency)>;

fn shared(spec: &TaskSpec) -> Option<(Hash, Idempotency)> {
    spec.idempotency.map(|idempotency| (spec.key, idempotency))
}

/// The shared keys that a run holds as far as its state tells.
pub(crate) fn held_by(run: &Run) -> HeldKeys {
    run.tasks
        .iter()
        .filter(|(_, task)| task.intended.is_some())
        .filter_map(|(step, task)| Some((step.clone(), shared(&task.spec)?)))
        .collect()
}

/// The rows of the shared keys that a turn takes or lets go, and what the run holds after it.
pub(crate) fn changed(mut held: HeldKeys, turn: &Turn) -> (Vec<KeyRow>, HeldKeys) {
    let mut rows = Vec::new();
    let row =
        |key, step: &StepPath, state| KeyRow { key, run: turn.run.id, step: step.clone(), state };
    if !held.is_empty() {
        held.retain(|step, (key, idempotency)| {
            let holds = turn.run.tasks.get(step).is_some_and(|task| task.spec.key == *key);
            if !holds {
                rows.push(row(*key, step, end(turn, step, *idempotency)));
            }
            holds
        });
    }
    for step in &turn.open {
        let Some(task) = turn.run.tasks.get(step) else { continue };
        if let Some(shared) = shared(&task.spec)
            && held.insert(step.clone(), shared).is_none()
        {
            rows.push(row(shared.0, step, KeyState::Held));
        }
    }
    (rows, held)
}

/// What became of the call of a step whose task is gone.
fn end(turn: &Turn, step: &StepPath, idempotency: Idempotency) -> KeyState {
    let first = turn.run.events + 1 - turn.events.len() as u64;
    let told =
        (first..).zip(&turn.events).find_map(|(seq, event)| Some((seq, output(event, step)?)));
    let Some((seq, (output, truncated))) = told else { return KeyState::Free };
    let at = turn.run.at;
    KeyState::Done {
        seq,
        output: output.clone(),
        truncated,
        at,
        until: at.plus(idempotency.ttl_ms),
    }
}

/// The output that an event tells of a step, and whether it was cut.
fn output<'e>(event: &'e Event, of: &StepPath) -> Option<(&'e Data, bool)> {
    if event.step.as_ref() != Some(of) {
        return None;
    }
    let settlement = match &event.body {
        EventBody::ToolCompleted(data) => return Some((&data.output, data.truncated)),
        EventBody::EffectReconciled(data) => &data.outcome,
        EventBody::EffectSettled(data) => &data.outcome,
        _ => return None,
    };
    match settlement {
        Settlement::Succeeded(output) => Some((output, false)),
        Settlement::Failed(_) | Settlement::Retry => None,
    }
}
