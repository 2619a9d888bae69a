//! The state of a run: what its events add up to.
//!
//! A state is cheap to clone: everything large in it is shared, and a change copies only the way to what changes.
//! That is what lets a decision work on a copy and be dropped without a trace.

mod budget;
mod fold;
mod forked;
mod hash;
mod maps;
mod outline;
mod saga;
mod snapshot;
mod tree;

use std::sync::Arc;

use aura_core::child::{ChildEnd, ChildSpec, RunContinued};
use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::Failure;
use aura_core::event::{
    Answer, ApprovalRequested, Purpose, Request, RunStarted, Settlement, SignalReceived,
};
use aura_core::fork::Withheld;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::{Mark, RunRow, RunStatus};
use aura_core::task::TaskSpec;
use aura_core::time::Millis;
use serde::{Deserialize, Serialize};

use crate::val::Val;

pub use budget::{Budgets, Lack, Pool};
pub(crate) use fold::deadline_failure;
pub use fold::{FoldError, fold, fold_commit, fold_events};
pub use forked::Fork;
pub use hash::{after, beginning};
pub use outline::outline;
pub use saga::{Ending, Saga};
pub use snapshot::{NotASnapshot, SNAPSHOT_VERSION, from_snapshot, to_snapshot, visible};
pub use tree::{Bodies, Done, Inside, Key, Node, Route, Scope, Status, Trouble};
pub(crate) use tree::{keys_below, tasks_below};

/// The actor of what a run asks of another.
pub fn speaks_for(run: RunId) -> String {
    format!("run {run}")
}

/// A sorted map that shares its parts between clones.
pub type Shared<K, V> = rpds::RedBlackTreeMapSync<K, V>;

/// The state of a run. All of it is in its snapshots: a field that is added is written by itself, and one without a
/// default makes older snapshots unreadable, so that they are folded anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What it started with; `None` before its first event.
    pub started: Option<Arc<RunStarted>>,
    /// Where it stands.
    pub phase: Phase,
    /// Who paused it, while it starts nothing new.
    pub paused: Option<Request>,
    /// The flow's own body.
    #[serde(with = "tree::flat")]
    pub root: Arc<Scope>,
    /// Variables.
    #[serde(with = "maps")]
    pub vars: Shared<String, Val>,
    /// Tasks that are not settled.
    #[serde(with = "maps")]
    pub tasks: Shared<StepPath, Arc<Task>>,
    /// What is due later.
    pub timers: Timers,
    /// Steps that wait for a signal, with its name.
    #[serde(with = "maps")]
    pub waits: Shared<StepPath, String>,
    /// Approvals that are asked for.
    #[serde(with = "maps")]
    pub approvals: Shared<StepPath, Arc<Asked>>,
    /// Child runs that it waits for, by their step.
    #[serde(with = "maps")]
    pub children: Shared<StepPath, Arc<Child>>,
    /// The run that goes on in its place, with what that starts with.
    pub continued: Option<Arc<RunContinued>>,
    /// Signals that came before their wait.
    pub signals: Signals,
    /// What it may use up, and what it used.
    pub budgets: Budgets,
    /// What undoes it; absent where no step has a compensation.
    pub saga: Option<Arc<Saga>>,
    /// Where it left another run, if it did.
    pub fork: Option<Fork>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing happened yet.
    New,
    /// It goes on.
    Running,
    /// It starts nothing new and waits for what is open.
    Cancelling(Request),
    /// Nothing is in flight but what undoes its steps, one at a time.
    Compensating(Box<Ending>),
    /// It ended well.
    Completed(Data),
    /// It ended in failure.
    Failed(Failure, Option<StepPath>),
    /// It ended by cancellation.
    Cancelled,
}

/// An approval that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The question.
    pub request: ApprovalRequested,
    /// Who said yes so far, each once.
    pub granted: Vec<Answer>,
    /// When it was asked.
    pub since: Millis,
}

impl Asked {
    /// Whether somebody said yes already.
    pub fn has(&self, actor: &str) -> bool {
        self.granted.iter().any(|answer| answer.actor == actor)
    }

    /// How many others must say yes.
    pub fn missing(&self) -> u32 {
        let granted = u32::try_from(self.granted.len()).unwrap_or(u32::MAX);
        self.request.quorum.saturating_sub(granted)
    }
}

/// A task that is not settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What an attempt last told of how far it had come.
    pub details: Option<Data>,
    /// Approval nodes whose question was asked again for exactly this call, and answered with yes.
    pub cleared: Vec<String>,
    /// Why a fork does not call by itself, while it waits for a person to say.
    pub withheld: Option<Withheld>,
    /// Whether a person said that a fork shall call.
    pub live: bool,
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
            details: None,
            cleared: Vec::new(),
            withheld: None,
            live: false,
            probes: 0,
        }
    }

    /// Whether a run that stops must wait for it: something outside may depend on its outcome.
    pub fn binding(&self) -> bool {
        !self.spec.class.abandonable()
            && (self.doubtful
                || self.phase == TaskPhase::Called
                || (self.phase == TaskPhase::InDoubt && self.withheld.is_none()))
    }

    /// Whether a performer works on it, as far as the log knows.
    pub fn in_flight(&self) -> bool {
        self.phase == TaskPhase::Called
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskPhase {
    /// It is not the call that was approved: people are asked again, and no intent is recorded.
    Held,
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

/// A child run that its parent waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// What it started with.
    pub spec: Arc<ChildSpec>,
    /// The run that is awaited: the first one, or the one that goes on in its place.
    pub run: RunId,
    /// Why it was asked to stop, if it was.
    pub cancelling: Option<String>,
    /// How many runs ended in whose place it goes on.
    #[serde(default)]
    pub before: u32,
}

/// Timers of a run that are kept as a list; more are kept as maps.
const FEW_TIMERS: usize = 16;

/// What is due later, found by step and by time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Millis, StepPath, Purpose)>", into = "Vec<(Millis, StepPath, Purpose)>")]
pub struct Timers {
    /// All of them, earliest first, while they are few: most runs have one or two, and change one at every step.
    few: Arc<Vec<(Millis, StepPath, Purpose)>>,
    by_step: Shared<(StepPath, Purpose), Millis>,
    by_due: Shared<(Millis, StepPath, Purpose), ()>,
}

impl Timers {
    /// Sets a timer, in place of one of the same step and purpose.
    pub fn set(&mut self, step: StepPath, purpose: Purpose, due: Millis) {
        self.clear(&step, purpose);
        let timer = (due, step, purpose);
        if self.by_due.is_empty() && self.few.len() < FEW_TIMERS {
            let place = self.few.partition_point(|other| *other < timer);
            return Arc::make_mut(&mut self.few).insert(place, timer);
        }
        for timer in std::mem::take(&mut self.few).iter().cloned().chain([timer]) {
            self.by_step.insert_mut((timer.1.clone(), timer.2), timer.0);
            self.by_due.insert_mut(timer, ());
        }
    }

    /// Clears a timer, if it is set.
    pub fn clear(&mut self, step: &StepPath, purpose: Purpose) {
        if let Some(place) = self.few.iter().position(|(_, of, p)| (of, *p) == (step, purpose)) {
            Arc::make_mut(&mut self.few).remove(place);
        }
        if self.by_due.is_empty() {
            return;
        }
        let key = (step.clone(), purpose);
        if let Some(due) = self.by_step.get(&key).copied() {
            self.by_step.remove_mut(&key);
            self.by_due.remove_mut(&(due, step.clone(), purpose));
        }
    }

    /// Clears every timer at `path` or below it.
    pub(crate) fn clear_below(&mut self, path: &StepPath) {
        let few = self.few.iter().map(|(_, step, purpose)| (step, *purpose));
        let many = self
            .by_step
            .range((path.clone(), Purpose::Sleep)..)
            .map(|((step, purpose), _)| (step, *purpose))
            .take_while(|(step, _)| step.as_str().starts_with(path.as_str()));
        let below = few.chain(many).filter(|(step, _)| path.contains(step));
        for (step, purpose) in below.map(|(step, p)| (step.clone(), p)).collect::<Vec<_>>() {
            self.clear(&step, purpose);
        }
    }

    /// When a timer is due, if it is set.
    pub fn due(&self, step: &StepPath, purpose: Purpose) -> Option<Millis> {
        let few = self.few.iter().find(|(_, of, p)| (of, *p) == (step, purpose));
        few.map(|(due, ..)| *due).or_else(|| self.by_step.get(&(step.clone(), purpose)).copied())
    }

    /// The earliest timer.
    pub fn first(&self) -> Option<(Millis, &StepPath, Purpose)> {
        self.iter().next()
    }

    /// Every timer, earliest first.
    pub fn iter(&self) -> impl Iterator<Item = (Millis, &StepPath, Purpose)> {
        self.few.iter().chain(self.by_due.keys()).map(|(due, step, purpose)| (*due, step, *purpose))
    }
}

impl From<Timers> for Vec<(Millis, StepPath, Purpose)> {
    fn from(timers: Timers) -> Self {
        timers.few.iter().chain(timers.by_due.keys()).cloned().collect()
    }
}

impl From<Vec<(Millis, StepPath, Purpose)>> for Timers {
    fn from(list: Vec<(Millis, StepPath, Purpose)>) -> Self {
        let mut timers = Self::default();
        for (due, step, purpose) in list {
            timers.set(step, purpose, due);
        }
        timers
    }
}

/// Signals that came before their wait, and the ids of those that came at all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Signals {
    /// By name and order of arrival.
    #[serde(with = "maps")]
    pub kept: Shared<(String, u64), Arc<SignalReceived>>,
    #[serde(with = "maps")]
    ids: Shared<String, u64>,
    #[serde(with = "maps")]
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
        self.kept.range(from..=to).next().map(|((_, at), signal)| (*at, &signal.payload))
    }

    /// Those that were kept, in order of arrival.
    pub fn in_order(&self) -> Vec<Arc<SignalReceived>> {
        let mut kept: Vec<_> = self.kept.iter().map(|((_, at), signal)| (*at, signal)).collect();
        kept.sort_by_key(|(at, _)| *at);
        kept.into_iter().map(|(_, signal)| Arc::clone(signal)).collect()
    }

    pub(crate) fn keep(&mut self, signal: &SignalReceived) {
        let SignalReceived { id, name, .. } = signal;
        self.kept.insert_mut((name.clone(), self.next), Arc::new(signal.clone()));
        self.ids.insert_mut(id.clone(), self.next);
        self.order.insert_mut(self.next, id.clone());
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settled {
    #[serde(with = "maps")]
    by_key: Shared<Hash, (u64, Settlement)>,
    #[serde(with = "maps")]
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
            paused: None,
            root: Arc::default(),
            vars: Shared::default(),
            tasks: Shared::default(),
            timers: Timers::default(),
            waits: Shared::default(),
            approvals: Shared::default(),
            children: Shared::default(),
            continued: None,
            signals: Signals::default(),
            budgets: Budgets::default(),
            saga: None,
            fork: None,
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
        self.tasks.iter().filter(|(step, task)| {
            task.phase == TaskPhase::Ready
                && task.spec.class != EffectClass::Pure
                && !self.waits_for_more(step)
        })
    }

    /// Whether somebody other than a performer or the clock must act before the run can end: a person or a signal.
    pub fn waits_for_somebody(&self) -> bool {
        self.paused.is_some()
            || !self.approvals.is_empty()
            || !self.waits.is_empty()
            || self.in_doubt().next().is_some()
    }

    /// Whether nothing can happen in this run until a timer, a signal, a person or a child.
    pub fn idle(&self) -> bool {
        use TaskPhase::{Backoff, Held, InDoubt, Probing};
        if self.paused.is_some() {
            return !self.tasks.values().any(|task| task.in_flight());
        }
        !self.more
            && self.tasks.iter().all(|(step, task)| {
                matches!(task.phase, Held | Backoff | Probing | InDoubt)
                    || task.phase == TaskPhase::Ready && self.waits_for_more(step)
                    || self.node(step).and_then(Node::bodies).is_some_and(Bodies::call_open)
            })
    }

    /// The earliest timer that may fire. While a run is paused, only attempts in flight run out of time.
    pub fn due(&self) -> Option<(Millis, &StepPath, Purpose)> {
        match self.paused {
            None => self.timers.first(),
            Some(_) => self.timers.iter().find(|(.., purpose)| self.fires(*purpose)),
        }
    }

    /// Whether a timer of this purpose may fire now.
    pub fn fires(&self, purpose: Purpose) -> bool {
        self.paused.is_none() || matches!(purpose, Purpose::Attempt | Purpose::Heartbeat)
    }

    /// Where the run stands, for lists.
    pub fn status(&self) -> RunStatus {
        match &self.phase {
            Phase::Completed(_) => RunStatus::Completed,
            Phase::Failed(..) | Phase::Cancelled if self.uncompensated() => {
                RunStatus::CompensationFailed
            }
            Phase::Failed(..) if self.saga.as_ref().is_some_and(|saga| saga.begun) => {
                RunStatus::Compensated
            }
            Phase::Failed(..) => RunStatus::Failed,
            Phase::Cancelled => RunStatus::Cancelled,
            _ if self.paused.is_some() => RunStatus::Paused,
            Phase::Cancelling(_) => RunStatus::Cancelling,
            Phase::Compensating(_) => RunStatus::Compensating,
            Phase::New | Phase::Running if !self.idle() || !self.children.is_empty() => {
                RunStatus::Running
            }
            Phase::New | Phase::Running if self.in_doubt().next().is_some() => RunStatus::InDoubt,
            Phase::New | Phase::Running => RunStatus::Waiting,
        }
    }

    /// Whether something that it did could not be undone.
    pub fn uncompensated(&self) -> bool {
        self.saga.as_ref().is_some_and(|saga| saga.end.failed > 0)
    }

    /// Why it fails or failed, and at which step.
    pub fn failure(&self) -> Option<(&Failure, Option<&StepPath>)> {
        match &self.phase {
            Phase::Failed(error, step) => Some((error, step.as_ref())),
            Phase::Compensating(ending) => match &**ending {
                Ending::Failed(error, step) => Some((error, step.as_ref())),
                Ending::Cancelled(_) => None,
            },
            _ => None,
        }
    }

    /// Who asked for it to be cancelled, while that is under way.
    pub fn cancelled_by(&self) -> Option<&Request> {
        match &self.phase {
            Phase::Cancelling(request) => Some(request),
            Phase::Compensating(ending) => match &**ending {
                Ending::Cancelled(request) => Some(request),
                Ending::Failed(..) => None,
            },
            _ => None,
        }
    }

    /// What recovery must do with the run.
    pub fn mark(&self) -> Mark {
        if self.closed() {
            Mark::Closed
        } else if self.idle() && self.outstanding().is_empty() {
            Mark::Asleep(self.due().map(|(due, ..)| due))
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
            started: self.began_at(),
            updated: self.at,
            events: self.events,
            in_doubt: u32::try_from(self.in_doubt().count()).unwrap_or(u32::MAX),
            error: self.failure().map(|(error, _)| error.code),
            forked: self.fork.as_ref().map(|fork| fork.point),
            parent: started.parent.as_ref().map(|parent| parent.run),
            root: Some(self.root_run()).filter(|root| *root != self.id),
            next: self.continued.as_ref().map(|continued| continued.next),
        })
    }

    /// When this run began by itself: a fork, when it left its parent.
    pub fn began_at(&self) -> Millis {
        self.fork.as_ref().map_or_else(|| self.started_at(), |fork| fork.at)
    }

    /// The run at the top of its tree: itself, unless a parent waits for it.
    pub fn root_run(&self) -> RunId {
        let parent = self.started.as_ref().and_then(|started| started.parent.as_ref());
        parent.filter(|parent| !parent.detached).map_or(self.id, |parent| parent.root)
    }

    /// Whether it is paused because its parent is.
    pub fn paused_by_parent(&self) -> bool {
        let parent = self.started.as_ref().and_then(|started| started.parent.as_ref());
        let (Some(parent), Some(paused)) = (parent, &self.paused) else { return false };
        paused.actor == speaks_for(parent.run)
    }

    /// Whether it obeys a behaviour flag of [`crate::flags`].
    pub fn obeys(&self, flag: u32) -> bool {
        self.started.as_ref().is_some_and(|started| started.flags.contains(&flag))
    }

    /// How it ended, as a parent is told; `None` while it goes on.
    pub fn end(&self) -> Option<ChildEnd> {
        match (&self.phase, &self.continued) {
            (Phase::Completed(_), Some(continued)) => Some(ChildEnd::Continued(continued.next)),
            (Phase::Completed(output), None) => Some(ChildEnd::Completed(output.clone())),
            (Phase::Failed(error, _), _) => Some(ChildEnd::Failed(error.clone())),
            (Phase::Cancelled, _) => Some(ChildEnd::Cancelled),
            _ => None,
        }
    }

    /// When the run started; a fork, when its parent did.
    pub fn started_at(&self) -> Millis {
        self.root.opened
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timer() -> impl Strategy<Value = (Millis, StepPath, Purpose)> {
        let step = prop::sample::select(vec!["", "a", "a[0]/x", "a[1]/x", "ab", "b", "b#2"]);
        let purpose =
            prop::sample::select(vec![Purpose::Sleep, Purpose::Attempt, Purpose::Deadline]);
        (0_i64..4, step, purpose)
            .prop_map(|(due, step, purpose)| (Millis(due), step.into(), purpose))
    }

    proptest! {
        /// However many there are, they behave as a plain list does.
        #[test]
        fn few_timers_and_many_are_alike(changes in prop::collection::vec((0..8, timer()), 0..200)) {
            let (mut timers, mut plain) = (Timers::default(), Vec::new());
            for (what, (due, step, purpose)) in changes {
                match what {
                    0 => {
                        timers.clear_below(&step);
                        plain.retain(|(_, of, _)| !step.contains(of));
                    }
                    1 => {
                        timers.clear(&step, purpose);
                        plain.retain(|(_, of, p)| (of, p) != (&step, &purpose));
                    }
                    number => {
                        // Visits make more places than a list takes.
                        let step = StepPath::from(format!("{step}{number}").as_str());
                        plain.retain(|(_, of, p)| (of, p) != (&step, &purpose));
                        timers.set(step.clone(), purpose, due);
                        plain.push((due, step, purpose));
                    }
                }
                plain.sort();
                prop_assert_eq!(&Vec::from(timers.clone()), &plain);
                prop_assert_eq!(timers.first(), plain.first().map(|(due, of, p)| (*due, of, *p)));
                for (due, of, purpose) in &plain {
                    prop_assert_eq!(timers.due(of, *purpose), Some(*due));
                }
            }
        }
    }
}
