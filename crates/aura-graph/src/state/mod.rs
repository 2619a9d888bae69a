//! The state of a run: what its events add up to.
//!
//! A state is cheap to clone: everything large in it is shared, and a change copies only the way to what changes.
//! That is what lets a decision work on a copy and be dropped without a trace.

mod fold;
mod hash;
mod tree;

use std::sync::Arc;

use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::Failure;
use aura_core::event::{ApprovalRequested, Purpose, Request, RunStarted, Settlement};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::{Mark, RunRow, RunStatus};
use aura_core::task::TaskSpec;
use aura_core::time::Millis;

use crate::val::Val;

pub(crate) use fold::deadline_failure;
pub use fold::{FoldError, fold, fold_commit};
pub use hash::{after, beginning};
pub(crate) use tree::tasks_below;
pub use tree::{Bodies, Done, Inside, Key, Node, Route, Scope, Status, Trouble};

/// A sorted map that shares its parts between clones.
pub type Shared<K, V> = rpds::RedBlackTreeMapSync<K, V>;

/// The state of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What it started with; `None` before its first event.
    pub started: Option<Arc<RunStarted>>,
    /// Where it stands.
    pub phase: Phase,
    /// The flow's own body.
    pub root: Arc<Scope>,
    /// Variables.
    pub vars: Shared<String, Val>,
    /// Tasks that are not settled.
    pub tasks: Shared<StepPath, Arc<Task>>,
    /// What is due later.
    pub timers: Timers,
    /// Steps that wait for a signal, with its name.
    pub waits: Shared<StepPath, String>,
    /// Approvals that are asked for.
    pub approvals: Shared<StepPath, Arc<ApprovalRequested>>,
    /// Signals that came before their wait.
    pub signals: Signals,
    /// What people said last about effects in doubt, by key; the last [`aura_core::limits::SETTLED`] of them.
    pub settled: Settled,
    /// The state hash.
    pub hash: Hash,
    /// Steps so far.
    pub steps: u64,
    /// Events so far.
    pub events: u64,
    /// When the last commit was decided.
    pub at: Millis,
    /// Whether the last turn reached its limit.
    pub more: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Nothing happened yet.
    New,
    /// It goes on.
    Running,
    /// It starts nothing new and waits for what is open.
    Cancelling(Request),
    /// It ended well.
    Completed(Data),
    /// It ended in failure.
    Failed(Failure, Option<StepPath>),
    /// It ended by cancellation.
    Cancelled,
}

/// A task that is not settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// What it asks for.
    pub spec: Arc<TaskSpec>,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub phase: TaskPhase,
    /// How often it was recovered after a crash.
    pub recoveries: u32,
    /// When its first intent was recorded.
    pub intended: Option<Millis>,
    /// Whether an earlier attempt may have acted and nobody knows.
    pub doubtful: bool,
    /// What the last attempt said.
    pub error: Option<Failure>,
    /// How often a probe was asked about it.
    pub probes: u32,
}

impl Task {
    /// A task that waits for a slot.
    pub(crate) fn ready(spec: Arc<TaskSpec>) -> Self {
        Self {
            spec,
            attempt: 1,
            phase: TaskPhase::Ready,
            recoveries: 0,
            intended: None,
            doubtful: false,
            error: None,
            probes: 0,
        }
    }

    /// Whether a run that stops must wait for it: something outside may depend on its outcome.
    pub fn binding(&self) -> bool {
        !self.spec.class.abandonable()
            && (self.doubtful || matches!(self.phase, TaskPhase::Called | TaskPhase::InDoubt))
    }

    /// Whether a performer works on it, as far as the log knows.
    pub fn in_flight(&self) -> bool {
        self.phase == TaskPhase::Called
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskPhase {
    /// It waits for a slot; no intent is recorded.
    Ready,
    /// Its intent is recorded; for a pure task, it is open.
    Called,
    /// Its attempt failed; a decision follows in the same commit.
    Failed,
    /// It waits for its next attempt.
    Backoff,
    /// Its outcome is in doubt and a probe looks; the probe is a task of its own.
    Probing,
    /// Its outcome is in doubt and a person must say.
    InDoubt,
}

/// Where the probe of a step is told: a body of the step, since what performs nodes has none. `number` counts the
/// step's probes from 1, so that the outcome of one is not taken for that of another.
pub fn probe_path(step: &StepPath, number: u32) -> StepPath {
    step.body(format_args!("probe{number}"))
}

/// What is due later, found by step and by time.
#[derive(Debug, Clone, Default)]
pub struct Timers {
    by_step: Shared<(StepPath, Purpose), Millis>,
    by_due: Shared<(Millis, StepPath, Purpose), ()>,
}

impl Timers {
    /// Sets a timer, in place of one of the same step and purpose.
    pub fn set(&mut self, step: StepPath, purpose: Purpose, due: Millis) {
        self.clear(&step, purpose);
        self.by_due.insert_mut((due, step.clone(), purpose), ());
        self.by_step.insert_mut((step, purpose), due);
    }

    /// Clears a timer, if it is set.
    pub fn clear(&mut self, step: &StepPath, purpose: Purpose) {
        let key = (step.clone(), purpose);
        if let Some(due) = self.by_step.get(&key).copied() {
            self.by_step.remove_mut(&key);
            self.by_due.remove_mut(&(due, step.clone(), purpose));
        }
    }

    /// When a timer is due, if it is set.
    pub fn due(&self, step: &StepPath, purpose: Purpose) -> Option<Millis> {
        self.by_step.get(&(step.clone(), purpose)).copied()
    }

    /// The earliest timer.
    pub fn first(&self) -> Option<(Millis, &StepPath, Purpose)> {
        self.by_due.first().map(|((due, step, purpose), ())| (*due, step, *purpose))
    }

    /// Every timer, earliest first.
    pub fn iter(&self) -> impl Iterator<Item = (Millis, &StepPath, Purpose)> {
        self.by_due.keys().map(|(due, step, purpose)| (*due, step, *purpose))
    }
}

/// Signals that came before their wait, and the ids of those that came at all.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// By name and order of arrival.
    pub kept: Shared<(String, u64), Data>,
    ids: Shared<String, u64>,
    order: Shared<u64, String>,
    next: u64,
}

impl Signals {
    /// Whether a signal of this id came before.
    pub fn knows(&self, id: &str) -> bool {
        self.ids.contains_key(id)
    }

    /// The oldest kept signal of a name.
    pub fn first(&self, name: &str) -> Option<(u64, &Data)> {
        let from = (name.to_owned(), 0);
        let to = (name.to_owned(), u64::MAX);
        self.kept.range(from..=to).next().map(|((_, at), payload)| (*at, payload))
    }

    pub(crate) fn keep(&mut self, id: &str, name: &str, payload: Data) {
        self.kept.insert_mut((name.to_owned(), self.next), payload);
        self.ids.insert_mut(id.to_owned(), self.next);
        self.order.insert_mut(self.next, id.to_owned());
        self.next += 1;
        if self.order.size() > aura_core::limits::SIGNAL_IDS
            && let Some((oldest, id)) = self.order.first().map(|(at, id)| (*at, id.clone()))
        {
            self.order.remove_mut(&oldest);
            self.ids.remove_mut(&id);
        }
    }

    pub(crate) fn take(&mut self, name: &str) {
        if let Some((at, _)) = self.first(name) {
            self.kept.remove_mut(&(name.to_owned(), at));
        }
    }
}

/// What people said about effects in doubt.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    by_key: Shared<Hash, (u64, Settlement)>,
    order: Shared<u64, Hash>,
    next: u64,
}

impl Settled {
    /// What was said last about the effect of this key.
    pub fn get(&self, key: Hash) -> Option<&Settlement> {
        self.by_key.get(&key).map(|(_, outcome)| outcome)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = Hash> {
        self.by_key.keys().copied()
    }

    pub(crate) fn keep(&mut self, key: Hash, outcome: Settlement) {
        if let Some((at, _)) = self.by_key.get(&key) {
            let at = *at;
            self.order.remove_mut(&at);
        }
        self.by_key.insert_mut(key, (self.next, outcome));
        self.order.insert_mut(self.next, key);
        self.next += 1;
        if self.order.size() > aura_core::limits::SETTLED
            && let Some((oldest, key)) = self.order.first().map(|(at, key)| (*at, *key))
        {
            self.order.remove_mut(&oldest);
            self.by_key.remove_mut(&key);
        }
    }
}

impl Run {
    /// The state before the first event.
    pub fn new(id: RunId) -> Self {
        Self {
            id,
            started: None,
            phase: Phase::New,
            root: Arc::default(),
            vars: Shared::default(),
            tasks: Shared::default(),
            timers: Timers::default(),
            waits: Shared::default(),
            approvals: Shared::default(),
            signals: Signals::default(),
            settled: Settled::default(),
            hash: Hash::ZERO,
            steps: 0,
            events: 0,
            at: Millis(0),
            more: false,
        }
    }

    /// Whether it has ended.
    pub fn closed(&self) -> bool {
        matches!(self.phase, Phase::Completed(_) | Phase::Failed(..) | Phase::Cancelled)
    }

    /// Steps whose task is open as far as the log knows, in path order: what recovery must ask about.
    pub fn outstanding(&self) -> Vec<StepPath> {
        self.tasks
            .iter()
            .filter(|(_, task)| task.in_flight())
            .map(|(step, _)| step.clone())
            .collect()
    }

    /// Tasks whose outcome is in doubt and waits for a person.
    pub fn in_doubt(&self) -> impl Iterator<Item = (&StepPath, &Arc<Task>)> {
        self.tasks.iter().filter(|(_, task)| task.phase == TaskPhase::InDoubt)
    }

    /// Tasks that wait for a slot.
    pub fn ready(&self) -> impl Iterator<Item = (&StepPath, &Arc<Task>)> {
        self.tasks.iter().filter(|(_, task)| {
            task.phase == TaskPhase::Ready && task.spec.class != EffectClass::Pure
        })
    }

    /// Whether somebody other than a performer or the clock must act before the run can end: a person or a signal.
    pub fn waits_for_somebody(&self) -> bool {
        !self.approvals.is_empty() || !self.waits.is_empty() || self.in_doubt().next().is_some()
    }

    /// Whether nothing can happen until a timer, a signal or a person.
    pub fn idle(&self) -> bool {
        use TaskPhase::{Backoff, InDoubt, Probing};
        !self.more
            && self.tasks.values().all(|task| matches!(task.phase, Backoff | Probing | InDoubt))
    }

    /// Where the run stands, for lists.
    pub fn status(&self) -> RunStatus {
        match &self.phase {
            Phase::Completed(_) => RunStatus::Completed,
            Phase::Failed(..) => RunStatus::Failed,
            Phase::Cancelled => RunStatus::Cancelled,
            Phase::Cancelling(_) => RunStatus::Cancelling,
            Phase::New | Phase::Running if !self.idle() => RunStatus::Running,
            Phase::New | Phase::Running if self.in_doubt().next().is_some() => RunStatus::InDoubt,
            Phase::New | Phase::Running => RunStatus::Waiting,
        }
    }

    /// What recovery must do with the run.
    pub fn mark(&self) -> Mark {
        if self.closed() {
            Mark::Closed
        } else if self.idle() {
            Mark::Asleep(self.timers.first().map(|(due, ..)| due))
        } else {
            Mark::Active
        }
    }

    /// The row of the run for lists and recovery.
    pub fn row(&self) -> Option<RunRow> {
        let started = self.started.as_ref()?;
        let mark = self.mark();
        Some(RunRow {
            run: self.id,
            flow: started.flow.name.clone(),
            flow_hash: started.flow.hash,
            status: self.status(),
            mark,
            labels: started.labels.clone(),
            started: self.started_at(),
            updated: self.at,
            events: self.events,
            in_doubt: u32::try_from(self.in_doubt().count()).unwrap_or(u32::MAX),
            error: match &self.phase {
                Phase::Failed(error, _) => Some(error.code),
                _ => None,
            },
        })
    }

    /// When the run started.
    pub fn started_at(&self) -> Millis {
        self.root.opened
    }
}
