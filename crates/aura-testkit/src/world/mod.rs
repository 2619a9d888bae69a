//! The seeded world: the real shard on a model store, with virtual time, tools that keep a ledger of what they did
//! outside, people, and crashes between any two operations.
//!
//! What happens next is drawn from the seed among what can happen: a step of the shard, an append, its answer, a
//! call's effect, a call's answer, blobs, a move of the clock, an answer of a person, a crash. Two worlds with one seed
//! have one trace. The shard is stepped only when a message came, when it says that it is busy, or when the time has
//! come that it named: as by its real driver, so that a wake-up that it misses is missed here too.

mod calls;
mod hardship;
mod mishap;
mod outside;
mod parts;
mod people;
mod start;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::{Group, RunQuery, Store, StoreError};
use aura_core::time::Millis;
use aura_engine::{
    Accepted, BlobCache, History, Message, Progress, Reply, Shard, ShardPorts, Verified, Wanted,
    backtest, load_flow, open_history,
};
use aura_graph::Run;
use aura_graph::backtest::{Changed, Verdict};
use serde_json::Value;

use crate::model_store::{Disk, ModelStore, When};
use crate::seed::Seed;
use calls::Call;
use mishap::Injected;
use parts::{Handed, StoreBlobs, StoreSnapshots};
use start::Starting;
use witness::Witness;

pub use hardship::Hardship;
pub use mishap::{Met, Mishap, Subject, each_step};
pub use outside::{Outside, tools};
pub use start::{start_family, start_of};

/// Operations after which a world that has not come to rest counts as hanging.
const PATIENCE: usize = 200_000;

/// Units that the writer finds waiting at once, at most.
const UNITS: usize = 3;

/// Milliseconds that pass at once while there is something to do, at most.
const HASTE_MS: usize = 100;

/// What clients were told: the run, and the answer.
type Told = Arc<Mutex<Vec<(RunId, Result<Accepted, Problem>)>>>;

/// A world.
pub struct World {
    seed: Seed,
    now: Millis,
    disk: Disk,
    store: Arc<ModelStore>,
    shard: Shard,
    handed: Handed,
    outside: Outside,
    hardship: Hardship,
    injected: Option<Injected>,
    /// How often a person said what became of an effect in doubt.
    settled: usize,
    witness: Witness,
    told: Told,
    starting: BTreeMap<RunId, Starting>,
    /// Runs that somebody wanted cancelled.
    cancelled: BTreeSet<RunId>,
    /// Steps whose first attempt hung: once is enough.
    hung: BTreeSet<(RunId, StepPath)>,
    signals: u64,
    /// Whether a message came since the shard's last step.
    mail: bool,
    /// What the shard said after its last step.
    progress: Progress,
    /// What happened, an operation a line.
    pub trace: Vec<String>,
    /// Crashes so far.
    pub crashes: usize,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Step,
    Append,
    Tell,
    Take,
    Act,
    Report,
    Echo,
    Fetch,
    Start,
    Clock,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).finish_non_exhaustive()
    }
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(seed: u64, hardship: Hardship) -> Self {
        let disk = Disk::default();
        let store = Arc::new(ModelStore::from_disk(disk.clone()));
        let handed = Handed::default();
        let shard = shard(&store, &handed, hardship.slots);
        Self {
            seed: Seed::new(seed),
            now: Millis(1_800_000_000_000),
            disk,
            store,
            shard,
            handed,
            outside: Outside::default(),
            hardship,
            injected: None,
            settled: 0,
            witness: Witness::default(),
            told: Told::default(),
            starting: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            hung: BTreeSet::new(),
            signals: 0,
            mail: false,
            progress: Progress { next: None, busy: false, drained: false, durable: false },
            trace: Vec::new(),
            crashes: 0,
        }
    }

    /// The world's own ledger of effects.
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// Runs that somebody wanted cancelled: how they end depends on when that came.
    pub fn cancelled(&self) -> &BTreeSet<RunId> {
        &self.cancelled
    }

    /// The durable state of a run; `None` also while the store can't be used.
    pub fn run(&self, run: RunId) -> Option<Run> {
        open_history(&*self.store, run).ok().flatten().map(|history| history.run)
    }

    /// Lets things happen until every run that was begun has ended.
    ///
    /// # Panics
    /// The world does not come to rest, or something is seen that must not be.
    pub fn until_rest(&mut self) {
        for _ in 0..PATIENCE {
            if self.starting.is_empty() && self.witness.open().is_empty() {
                return;
            }
            self.operate();
        }
        panic!("no rest after {PATIENCE} operations: {}", self.tail());
    }

    /// The last operations, and where the open runs stand, for messages.
    pub fn tail(&self) -> String {
        let from = self.trace.len().saturating_sub(60);
        let open: Vec<_> = self.witness.open().into_iter().filter_map(|id| self.run(id)).collect();
        let states: Vec<_> =
            open.iter().map(|run| format!("{}: {:?}", run.id, run.status())).collect();
        format!("{}\nopen: {}", self.trace[from..].join("\n"), states.join(", "))
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        self.trace.push(format!("{} {what}", self.now.0));
    }

    fn one_in(&mut self, n: usize) -> bool {
        n > 0 && self.seed.one_in(n)
    }

    fn deliver(&mut self, message: Message) {
        self.mail = true;
        self.shard.deliver(message);
    }

    /// A reply whose answer is looked at after the step in which it comes.
    fn reply(&self, run: RunId) -> Reply {
        let told = Arc::clone(&self.told);
        Box::new(move |answer| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push((run, answer));
        })
    }

    /// One operation, drawn from the seed.
    fn operate(&mut self) {
        if self.one_in(self.hardship.crash) {
            return self.crash("crash");
        }
        if self.one_in(self.hardship.haste) {
            return self.time_passes();
        }
        let possible = self.possible();
        if possible.is_empty() || self.seed.one_in(16) {
            let answered = self.answer_somebody(possible.is_empty());
            assert!(
                answered || !possible.is_empty(),
                "runs are open, nobody waits for anybody, and nothing would wake the shard: {}",
                self.tail()
            );
            return;
        }
        match possible[self.seed.below(possible.len())] {
            Operation::Step => self.step(),
            Operation::Append => self.append(),
            Operation::Tell => self.tell(),
            Operation::Take => self.take(),
            Operation::Act => self.act(),
            Operation::Report => self.report(),
            Operation::Echo => self.echo(),
            Operation::Fetch => self.fetch(),
            Operation::Start => self.start_one(),
            Operation::Clock => self.clock(),
        }
    }

    fn possible(&self) -> Vec<Operation> {
        let due = self.progress.next.is_some_and(|next| next <= self.now);
        let inner = self.handed.inner();
        let calls = &inner.calls;
        let all = [
            (Operation::Step, self.mail || self.progress.busy || due),
            (Operation::Append, !inner.units.is_empty()),
            (Operation::Tell, !inner.untold.is_empty()),
            (Operation::Take, !calls.fresh.is_empty()),
            (Operation::Act, !calls.unacted(self.now).is_empty()),
            (Operation::Report, !calls.telling(self.now).is_empty()),
            (Operation::Echo, !calls.echoes.is_empty()),
            (Operation::Fetch, !inner.blobs.is_empty()),
            (Operation::Start, self.starting.values().any(|starting| starting.may_ask(self.now))),
        ];
        drop(inner);
        let mut possible: Vec<_> =
            all.into_iter().filter(|(_, can)| *can).map(|(operation, _)| operation).collect();
        if possible.is_empty() && self.next_moment().is_some() {
            possible.push(Operation::Clock);
        }
        possible
    }

    fn step(&mut self) {
        self.mail = false;
        let at_once = self.seed.one_in(2).then(|| Arc::clone(&self.store));
        self.handed.inner().at_once = at_once;
        self.progress = self.shard.step(self.now);
        let appended = std::mem::take(&mut self.handed.inner().appended);
        for group in &appended {
            self.durable(group);
        }
        self.look();
        if let Some(problem) = self.shard.broken() {
            let what = format!("broken: {}", problem.what);
            return self.crash(&what);
        }
        if let Some((run, problem)) = self.shard.parked().next() {
            panic!("run {run} is set aside: {}\n{}", problem.what, self.tail());
        }
    }

    /// Nothing that the shard shows may be more than what is durable.
    fn look(&mut self) {
        let told = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        for (run, answer) in told {
            match answer {
                Ok(accepted) => assert!(
                    accepted.events <= self.witness.events(run),
                    "run {run} was answered with {} events, {} are durable\n{}",
                    accepted.events,
                    self.witness.events(run),
                    self.tail()
                ),
                Err(problem) => self.refused(run, &problem),
            }
        }
        let fresh = self.handed.inner().calls.fresh.clone();
        for task in fresh {
            assert!(
                self.witness.allows(&task),
                "{} of {} was handed out before it was durable\n{}",
                task.step,
                task.run,
                self.tail()
            );
        }
    }

    /// When anything is due, if anything is.
    fn next_moment(&self) -> Option<Millis> {
        let wakes = self.handed.inner().calls.wakes(self.now);
        let again = self.starting.values().map(|starting| starting.again);
        let again = again.filter(|again| *again > self.now).min();
        self.progress.next.into_iter().chain(wakes).chain(again).min()
    }

    /// The clock moves to the next moment at which anything is due.
    fn clock(&mut self) {
        let Some(next) = self.next_moment() else { return };
        self.now = self.now.max(next);
        self.note("clock moves");
    }

    /// A little time passes, although there is something to do: far less than a call may take.
    fn time_passes(&mut self) {
        let later = self.now.plus(1 + self.seed.below(HASTE_MS) as u64);
        self.now = self.progress.next.map_or(later, |next| later.min(next.max(self.now)));
        self.note("time passes");
    }

    /// The oldest units reach the disk, or fail on the way.
    fn append(&mut self) {
        let durable = if self.one_in(self.hardship.busy) {
            let message = "full".to_owned();
            self.store.fail_next(When::Before, StoreError::Busy { code: Code::StoreFull, message });
            false
        } else if self.one_in(self.hardship.broken) {
            let when = if self.seed.one_in(2) { When::Before } else { When::After };
            self.store.fail_next(when, broken());
            when == When::After
        } else {
            true
        };
        let most = 1 + self.seed.below(UNITS);
        let store = Arc::clone(&self.store);
        let appended = self.handed.inner().append(&store, most);
        let Some((group, result)) = appended else {
            // All of them were refused, so what was meant to fail is not tried.
            self.store = Arc::new(ModelStore::from_disk(self.store.disk()));
            return self.crash("the store is opened anew");
        };
        if durable && !matches!(&result, Err(StoreError::Busy { .. })) {
            self.durable(&group);
        }
        let verdict = if result.is_ok() { "durable" } else { "failed" };
        self.note(format_args!("{} commits {verdict}", group.commits.len()));
    }

    fn durable(&mut self, group: &Group) {
        self.witness.take(group, &self.store);
        self.starting.retain(|run, _| !self.witness.knows(*run));
    }

    /// The shard hears what became of a unit.
    fn tell(&mut self) {
        let Some((group, result)) = self.handed.inner().untold.pop_front() else { return };
        self.deliver(Message::Durable { group, result });
    }

    fn fetch(&mut self) {
        let Some(blobs) = self.handed.inner().blobs.pop_front() else { return };
        // From the disk: it can be read also when the handle of the log can't be used any more.
        let store = self.reopened();
        self.deliver(Message::Blobs(StoreBlobs::fetch(&store, blobs)));
    }

    /// A performer takes a call up.
    fn take(&mut self) {
        let task = self.handed.inner().calls.fresh.remove(0);
        let once = (task.run, task.step.clone());
        let first = task.attempt == 1 && !self.hung.contains(&once);
        let hangs = first && task.spec.timeout_ms > 0 && self.one_in(self.hardship.hang);
        let mut until = None;
        if hangs {
            self.hung.insert(once);
            until = Some(self.now.plus(task.spec.timeout_ms));
            self.note(format_args!("hangs {} {} #{}", task.run, task.step, task.attempt));
        }
        let call = Call { task, acted: false, hangs: until, abandoned: false };
        self.handed.inner().calls.open.push(call);
    }

    /// A call has its effect outside; nobody is told yet.
    fn act(&mut self) {
        let can = self.handed.inner().calls.unacted(self.now);
        let index = can[self.seed.below(can.len())];
        let task = self.handed.inner().calls.mark_acted(index);
        self.note(format_args!("acts {} {} #{}", task.run, task.step, task.attempt));
        if self.meets(&task, Mishap::DiesBefore) {
            return self.crash("the process dies before its call acts");
        }
        self.outside.note(&task);
        if !self.fails(&task) {
            self.outside.act(&task);
        }
        if self.meets(&task, Mishap::DiesAfter) {
            self.crash("the process dies after its call acted");
        }
    }

    /// A call that had its effect tells its outcome; one that nobody waits for may just be over.
    fn report(&mut self) {
        let can = self.handed.inner().calls.telling(self.now);
        let index = can[self.seed.below(can.len())];
        let call = self.handed.inner().calls.open.remove(index);
        let task = call.task;
        let (run, step, attempt) = (task.run, task.step.clone(), task.attempt);
        if !call.acted || call.abandoned && self.seed.one_in(2) {
            self.note(format_args!("lets go {run} {step} #{attempt}"));
            return self.deliver(Message::Released { run, step, attempt });
        }
        let fails = self.fails(&task);
        let twice = self.meets(&task, Mishap::ToldTwice) || self.one_in(self.hardship.twice);
        let store = Arc::clone(&self.store);
        let message =
            if fails { outside::failed(&task) } else { self.outside.report(&task, &store) };
        self.note(format_args!("reports {run} {step} #{attempt}"));
        if twice && !fails {
            self.handed.inner().calls.echoes.push(task);
        }
        self.deliver(message);
    }

    /// An answer comes once more.
    fn echo(&mut self) {
        let Some(task) = self.handed.inner().calls.echoes.pop() else { return };
        let store = Arc::clone(&self.store);
        self.note(format_args!("reports again {} {} #{}", task.run, task.step, task.attempt));
        let message = self.outside.report(&task, &store);
        self.deliver(message);
    }

    /// The process is gone; what the disk has is all that is left. A new one performs every open run.
    fn crash(&mut self, why: &str) {
        self.crashes += 1;
        self.note(why);
        self.disk = self.store.disk();
        self.store = Arc::new(ModelStore::from_disk(self.disk.clone()));
        let late = std::mem::take(&mut self.handed.inner().calls);
        for call in late.open.iter().filter(|call| !call.acted) {
            // A request may still be on its way when its sender is gone; only where that can do no harm can
            // anybody who looks at the world afterwards do without waiting for it.
            if call.task.spec.class == aura_core::effect::EffectClass::Idempotent
                && self.injected.is_none()
                && self.seed.one_in(2)
            {
                self.outside.act(&call.task);
            }
        }
        self.handed = Handed::default();
        self.shard = shard(&self.store, &self.handed, self.hardship.slots);
        self.progress = Progress { next: None, busy: false, drained: false, durable: false };
        self.mail = false;
        self.told = Told::default();
        self.starting.retain(|run, _| !self.witness.knows(*run));
        self.starting.values_mut().for_each(Starting::forgotten);
        for run in self.witness.open() {
            // Most runs here are too short for a snapshot of their own accord.
            if self.seed.one_in(2) {
                let History { run, head, .. } = open_history(&*self.store, run)
                    .expect("histories fold")
                    .expect("an open run has events");
                let kept = Wanted { run, head, bytes: 0, size: Arc::default() }.keep(&*self.store);
                kept.expect("the model store keeps snapshots");
            }
        }
        for run in self.witness.open() {
            // Children are performed with the run at the top of their tree.
            if self.run(run).is_none_or(|state| state.root_run() == run) {
                let reply = self.reply(run);
                self.deliver(Message::Perform { run, reply });
            }
        }
    }

    /// The store, opened anew: what is on the disk, whatever became of the handle.
    fn reopened(&self) -> Arc<ModelStore> {
        Arc::new(ModelStore::from_disk(self.store.disk()))
    }

    /// Checks what must hold of every history in every world: chains, state hashes, decisions, and that a run does the
    /// same by its own flow when its outcomes are given to it again.
    ///
    /// # Panics
    /// Something does not hold.
    pub fn check(&self) {
        let store = self.reopened();
        let blobs = Arc::new(StoreBlobs(Arc::clone(&store)));
        for row in store.runs(&RunQuery::default()).expect("the model store lists runs") {
            let each = &mut |_: &StoredCommit, _: &[aura_core::Event], _: &Run| ();
            let checked = Verified::check(&*store, row.run, Arc::clone(&blobs) as _, true, each);
            checked.unwrap_or_else(|problem| panic!("{}\n{}", problem.what, self.tail()));
            if row.forked.is_some() {
                // Played again it is one run, which undoes what a fork leaves to its parent.
                continue;
            }
            let verdict = by_its_own_flow(&store, row.run);
            assert!(verdict == Verdict::Same, "run {}: {verdict:?}\n{}", row.run, self.tail());
        }
    }

    /// Output or failure of each run, by id: what must not depend on what went wrong on the way.
    pub fn results(&self) -> BTreeMap<RunId, Value> {
        let store = self.reopened();
        let blobs = StoreBlobs(Arc::clone(&store));
        let rows = store.runs(&RunQuery::default()).expect("the model store lists runs");
        let of = |run| open_history(&*store, run).ok().flatten().map(|history| history.run);
        rows.into_iter()
            .filter_map(|row| Some((row.run, parts::result(&of(row.run)?, &blobs))))
            .collect()
    }

    /// The store, to look at.
    pub fn store(&self) -> &Arc<ModelStore> {
        &self.store
    }
}

/// What a run does by its own flow, with the outcomes that it had.
fn by_its_own_flow(store: &Arc<ModelStore>, run: RunId) -> Verdict {
    let history = open_history(&**store, run).expect("it folds").expect("it is there");
    let pin = history.run.started.as_ref().expect("it started").flow.clone();
    let changed = Changed {
        flow: load_flow(&**store, &pin).expect("its flow loads"),
        pin,
        salt: store.info().expect("the model store has a salt").salt,
        blobs: Arc::new(StoreBlobs(Arc::clone(store))),
        pure: &|_, _| None,
    };
    backtest(&**store, run, &changed).expect("it is read")
}

fn broken() -> StoreError {
    let message = "the disk said that it could not".to_owned();
    StoreError::Broken { code: Code::StoreUnavailable, message }
}

fn shard(store: &Arc<ModelStore>, handed: &Handed, slots: usize) -> Shard {
    let ports = ShardPorts {
        store: Arc::clone(store) as Arc<dyn Store>,
        committer: Box::new(handed.clone()),
        performer: Box::new(handed.clone()),
        fetcher: Box::new(handed.clone()),
        snapshots: Box::new(StoreSnapshots(Arc::clone(store))),
        cache: Arc::new(BlobCache::default()),
        slots,
    };
    Shard::new(ports).expect("the model store has a salt")
}
