//! Slots: how many effects may be in flight, and who waits for one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_core::StepPath;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Store, StoreError};
use aura_core::task::{Idempotency, TaskSpec};
use aura_core::time::Millis;
use aura_graph::decide::{Gate, Grant, Reuse, Taken};
use aura_graph::state::Shared;

use crate::fork::Recording;
use crate::keys::{Keys, Standing};

/// Slots in use, and steps that wait, first come first served.
#[derive(Debug)]
pub(crate) struct Slots {
    total: usize,
    held: BTreeSet<(RunId, StepPath, u32)>,
    waiting: VecDeque<(RunId, StepPath)>,
    queued: BTreeSet<(RunId, StepPath)>,
    closed: bool,
}

impl Slots {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total: total.clamp(1, limits::SHARD_QUEUE),
            held: BTreeSet::new(),
            waiting: VecDeque::new(),
            queued: BTreeSet::new(),
            closed: false,
        }
    }

    pub(crate) fn hold(&mut self, run: RunId, step: StepPath, attempt: u32) {
        self.held.insert((run, step, attempt));
    }

    pub(crate) fn release(&mut self, run: RunId, step: &StepPath, attempt: u32) {
        self.held.remove(&(run, step.clone(), attempt));
    }

    pub(crate) fn in_use(&self) -> usize {
        self.held.len()
    }

    /// No more grants.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
        self.queued.clear();
    }

    pub(crate) fn wait(&mut self, run: RunId, step: StepPath) {
        if !self.closed && self.queued.insert((run, step.clone())) {
            self.waiting.push_back((run, step));
        }
    }

    /// The steps that may be asked about again, by run, in the order in which they waited; they leave the queue.
    pub(crate) fn next(&mut self) -> Vec<(RunId, Vec<StepPath>)> {
        let mut free = if self.closed { 0 } else { self.total.saturating_sub(self.held.len()) };
        let mut order = Vec::new();
        let mut steps: BTreeMap<RunId, Vec<StepPath>> = BTreeMap::new();
        while free > 0 {
            let Some((run, step)) = self.waiting.pop_front() else { break };
            self.queued.remove(&(run, step.clone()));
            let of_run = steps.entry(run).or_default();
            if of_run.is_empty() {
                order.push(run);
            }
            of_run.push(step);
            free -= 1;
        }
        order.into_iter().filter_map(|run| steps.remove(&run).map(|s| (run, s))).collect()
    }

    /// Whether a slot is free for somebody who waits.
    pub(crate) fn can_grant(&self) -> bool {
        !self.waiting.is_empty() && self.has_room(0)
    }

    fn has_room(&self, taken: usize) -> bool {
        // Who waits comes first: a new effect passes nobody.
        !self.closed && self.held.len() + taken < self.total
    }
}

/// The gate of one turn: allows what a slot is free for, and only for runs that this process performs.
pub(crate) struct TurnGate<'a> {
    pub(crate) run: RunId,
    /// What this process performs.
    pub(crate) in_flight: &'a BTreeMap<(RunId, StepPath), u32>,
    pub(crate) slots: &'a Slots,
    pub(crate) performs: bool,
    /// Whether the steps asked about have just come to the head of the queue.
    pub(crate) first: bool,
    /// Keys that several runs share, where they are stored, and the time.
    pub(crate) keys: (&'a Keys, &'a dyn Store, Millis),
    /// Keys that this turn takes.
    pub(crate) taken: BTreeSet<Hash>,
    /// Steps that wait for a key.
    pub(crate) behind: Vec<(Hash, StepPath)>,
    /// Why the store could not say where a key stands, or what a fork may take.
    pub(crate) trouble: Option<StoreError>,
    pub(crate) granted: Vec<StepPath>,
    pub(crate) refused: Vec<StepPath>,
    /// For a fork that reuses outcomes: where they are.
    pub(crate) recorded: Option<Recorded<'a>>,
}

/// What a fork that reuses outcomes takes them from.
pub(crate) struct Recorded<'a> {
    pub(crate) recording: &'a Recording,
    pub(crate) store: &'a dyn Store,
    /// Events whose outcomes it took in earlier turns.
    pub(crate) used: Option<&'a Shared<u64, ()>>,
    /// Events whose outcomes it takes in this one.
    pub(crate) taken: BTreeSet<u64>,
}

impl Gate for TurnGate<'_> {
    fn grant(&mut self, step: &StepPath, spec: &TaskSpec) -> Grant {
        // A probe looks only when this process is through with the call that it looks for: what it does not find
        // must not come after it. The end of that call asks again.
        if step.is_body()
            && step.parent().is_some_and(|of| self.in_flight.contains_key(&(self.run, of)))
        {
            return Grant::Wait;
        }
        if let Some(idempotency) = spec.idempotency.filter(|_| self.performs) {
            match self.standing(step, (spec.key, idempotency)) {
                Standing::Free => {}
                Standing::Held => return Grant::Wait,
                Standing::Done(kept) => return Grant::Reuse(kept),
            }
        }
        let turn = self.first || self.slots.waiting.is_empty();
        if self.performs && turn && self.slots.has_room(self.granted.len()) {
            self.granted.push(step.clone());
            if spec.idempotency.is_some() {
                self.taken.insert(spec.key);
            }
            return Grant::Go;
        }
        self.refused.push(step.clone());
        Grant::Wait
    }

    fn reuse(&mut self, step: &StepPath, spec: &TaskSpec) -> Reuse {
        let Some(recorded) = self.recorded.as_mut().filter(|_| self.performs) else {
            self.refused.push(step.clone());
            return Reuse::Later;
        };
        let Recorded { recording, store, used, taken } = recorded;
        let in_use = |seq| taken.contains(&seq) || used.is_some_and(|used| used.contains_key(&seq));
        match recording.find(*store, (step, spec), &in_use) {
            Ok(answer) => {
                if let Reuse::Take(Taken { from, .. }) = &answer {
                    taken.insert(from.seq);
                }
                answer
            }
            Err(error) => {
                self.trouble = Some(error);
                Reuse::Later
            }
        }
    }
}

impl TurnGate<'_> {
    /// Where a key that several runs share stands; who must wait for it is noted.
    fn standing(&mut self, step: &StepPath, (key, idempotency): (Hash, Idempotency)) -> Standing {
        let (keys, store, now) = self.keys;
        let standing = if self.taken.contains(&key) {
            Ok(Standing::Held)
        } else {
            keys.look(store, (self.run, step, now), (key, idempotency))
        };
        match standing {
            Ok(Standing::Held) => {
                self.behind.push((key, step.clone()));
                Standing::Held
            }
            Ok(other) => other,
            Err(error) => {
                self.trouble = Some(error);
                Standing::Held
            }
        }
    }
}
