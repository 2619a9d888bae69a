//! Keys that several runs share: who may make a call, who waits for it, and what came of it.
//!
//! The store's rows are the truth; here is only what is decided and not yet durable, and who waits. Tasks whose key
//! is that of their step alone never come here. A history that comes into a store from elsewhere brings its rows with
//! it: [`Trail`] tells them from the events, as the shard does.

use std::collections::{BTreeMap, VecDeque};

use aura_core::commit::StoredCommit;
use aura_core::event::{Event, EventBody, Settlement};
use aura_core::fork::Origin;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{KeyRow, KeyState, Store, StoreError};
use aura_core::task::{Idempotency, TaskSpec};
use aura_core::time::Millis;
use aura_core::{Data, StepPath};
use aura_graph::Run;
use aura_graph::decide::Taken;
use aura_graph::state::{FoldError, fold_events};

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

/// The rows of the shared keys that some events take or let go, and what the run holds after them. `run` is the state
/// after the events, `open` the steps that they open.
pub(crate) fn changed<'a>(
    mut held: HeldKeys,
    (run, events): (&Run, &[Event]),
    open: impl Iterator<Item = &'a StepPath>,
) -> (Vec<KeyRow>, HeldKeys) {
    let mut rows = Vec::new();
    let row = |key, step: &StepPath, state| KeyRow { key, run: run.id, step: step.clone(), state };
    if !held.is_empty() {
        held.retain(|step, (key, idempotency)| {
            let holds = run.tasks.get(step).is_some_and(|task| task.spec.key == *key);
            if !holds {
                rows.push(row(*key, step, end((run, events), step, *idempotency)));
            }
            holds
        });
    }
    for step in open {
        let Some(task) = run.tasks.get(step) else { continue };
        if let Some(shared) = shared(&task.spec)
            && held.insert(step.clone(), shared).is_none()
        {
            rows.push(row(shared.0, step, KeyState::Held));
        }
    }
    (rows, held)
}

/// What became of the call of a step whose task is gone.
fn end((run, events): (&Run, &[Event]), step: &StepPath, idempotency: Idempotency) -> KeyState {
    let first = run.events + 1 - events.len() as u64;
    let told = (first..).zip(events).find_map(|(seq, event)| Some((seq, output(event, step)?)));
    let Some((seq, (output, truncated))) = told else { return KeyState::Free };
    let at = run.at;
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

/// A history that is folded commit by commit, and the rows of shared keys that follow from it.
#[derive(Debug)]
pub struct Trail {
    /// The state.
    pub run: Run,
    /// Hash of its last commit.
    pub head: Hash,
    held: HeldKeys,
}

impl Trail {
    /// Goes on from a state and the hash of its last commit: at the beginning of a run, or where a fork leaves its
    /// parent.
    pub fn new(run: Run, head: Hash) -> Self {
        Self { run, head, held: HeldKeys::new() }
    }

    /// Folds the next commit; gives the rows of the shared keys that it takes or lets go, in order.
    ///
    /// # Errors
    /// It does not follow; the state is then of no use.
    pub fn take(
        &mut self,
        commit: &StoredCommit,
        events: &[Event],
    ) -> Result<Vec<KeyRow>, FoldError> {
        fold_events(&mut self.run, &mut self.head, commit, events)?;
        let held = std::mem::take(&mut self.held);
        // What a fork's parent holds, the fork does not.
        let forks = matches!(events.first().map(|e| &e.body), Some(EventBody::RunForked(_)));
        let held = if forks { HeldKeys::new() } else { held };
        let called = events.iter().filter(|event| matches!(event.body, EventBody::ToolCalled(_)));
        let open = called.filter_map(|event| event.step.as_ref());
        let (rows, held) = changed(held, (&self.run, events), open);
        self.held = held;
        Ok(rows)
    }
}

/// Whether a row that a history brings goes before the one that a store has of the same key. Rows of one run come in
/// order; between runs a call that is under way or in doubt goes before a result, and of two results the later one.
pub fn goes_before(new: &KeyRow, old: &KeyRow, now: Millis) -> bool {
    if new.run == old.run {
        return true;
    }
    match (&new.state, &old.state) {
        (KeyState::Free, _) | (_, KeyState::Held) => false,
        (_, KeyState::Free) => true,
        (KeyState::Held, KeyState::Done { at, .. }) => *at <= now,
        (KeyState::Done { at: new, .. }, KeyState::Done { at: old, .. }) => old < new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run: u128, state: KeyState) -> KeyRow {
        let run = RunId(uuid::Uuid::from_u128(run));
        KeyRow { key: Hash::of(b"key"), run, step: "a".into(), state }
    }

    fn done(at: i64) -> KeyState {
        let (at, until) = (Millis(at), Millis(at + 10));
        KeyState::Done { seq: 3, output: Data::null(), truncated: false, at, until }
    }

    #[test]
    fn between_runs_what_came_last_counts() {
        let goes = |new, old| goes_before(&row(1, new), &row(2, old), Millis(5));
        assert!(goes(done(5), done(4)) && goes(done(5), KeyState::Free));
        assert!(!goes(done(5), done(5)) && !goes(done(5), KeyState::Held));
        assert!(goes(KeyState::Held, done(4)) && goes(KeyState::Held, KeyState::Free));
        assert!(!goes(KeyState::Held, done(6)) && !goes(KeyState::Held, KeyState::Held));
        assert!(!goes(KeyState::Free, done(4)) && !goes(KeyState::Free, KeyState::Held));
        let own = |new, old| goes_before(&row(1, new), &row(1, old), Millis(5));
        assert!(own(KeyState::Free, KeyState::Held) && own(KeyState::Held, done(9)));
    }
}
