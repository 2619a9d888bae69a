//! The seeded world: the real shard on a model store, with virtual time, tools that keep a ledger of what they did
//! outside, and crashes between any two operations.
//!
//! What happens next is drawn from the seed: a step of the shard, an append, a call's effect, a call's answer, a
//! move of the clock, an answer of a person, a crash. Two worlds with one seed have one trace.

mod outside;
mod parts;

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::commit::StoredCommit;
use aura_core::data::blob_address;
use aura_core::error::{Code, Failure};
use aura_core::event::{FlowPin, RunStarted, Settlement};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::{ApprovalVerdict, Bundle, Input};
use aura_core::ports::{RunQuery, Store, StoreError};
use aura_core::task::Permissions;
use aura_core::time::Millis;
use aura_core::{Data, canonical};
use aura_engine::{
    BlobCache, Message, Shard, ShardPorts, StartRun, Submission, Submitted, Verified, compile,
    open_history,
};
use aura_graph::Run;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::model_store::{Disk, ModelStore, When};
use crate::seed::Seed;

pub use outside::{Outside, tools};
use parts::{Handed, StoreBlobs};

/// Operations after which a world that has not come to rest counts as hanging.
const PATIENCE: usize = 200_000;

/// How hard a world is on its engine.
#[derive(Debug, Clone, Copy)]
pub struct Hardship {
    /// One crash in this many operations; 0 for none.
    pub crash_in: usize,
    /// One failing append in this many; 0 for none.
    pub busy_in: usize,
    /// Slots for effects.
    pub slots: usize,
}

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
    signals: u64,
    /// What happened, an operation a line.
    pub trace: Vec<String>,
    /// Crashes so far.
    pub crashes: usize,
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
            signals: 0,
            trace: Vec::new(),
            crashes: 0,
        }
    }

    /// The world's own ledger of effects.
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// Starts a run and waits until its start is durable, however often the engine falls.
    ///
    /// # Panics
    /// The flow does not load, or the start is refused.
    pub fn start(&mut self, name: u64, source: &str, input: &Value) -> RunId {
        let run = RunId(Uuid::from_u128(u128::from(name) + 1));
        loop {
            let start = start_of(name, source, input.clone(), self.disk.salt);
            self.shard.deliver(Message::Submit(Submission {
                run,
                input: Submitted::Start(Box::new(start)),
                reply: Box::new(|_| ()),
            }));
            for _ in 0..64 {
                self.operate();
                if self.run(run).is_some() {
                    return run;
                }
            }
        }
    }

    /// The durable state of a run.
    pub fn run(&self, run: RunId) -> Option<Run> {
        open_history(&*self.store, run).expect("histories fold").map(|history| history.run)
    }

    /// Lets things happen until every run has ended.
    ///
    /// # Panics
    /// The world does not come to rest.
    pub fn until_rest(&mut self) {
        for _ in 0..PATIENCE {
            let open = self.open_runs();
            if open.is_empty() {
                return;
            }
            self.operate();
            if self.seed.one_in(16) {
                self.answer_somebody(&open);
            }
        }
        let open = self.open_runs();
        let states: Vec<_> = open.iter().filter_map(|run| self.run(*run)).collect();
        panic!("no rest after {PATIENCE} operations: {states:#?}\n{}", self.tail());
    }

    /// The last operations, for messages.
    pub fn tail(&self) -> String {
        let from = self.trace.len().saturating_sub(40);
        self.trace[from..].join("\n")
    }

    fn open_runs(&self) -> Vec<RunId> {
        let rows = self.store.runs(&RunQuery::default()).expect("the model store lists runs");
        rows.into_iter().filter(|row| !row.status.closed()).map(|row| row.run).collect()
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        self.trace.push(format!("{} {what}", self.now.0));
    }

    /// One operation, drawn from the seed.
    fn operate(&mut self) {
        let crash_in = self.hardship.crash_in;
        if crash_in > 0 && self.seed.one_in(crash_in) {
            return self.crash();
        }
        match self.seed.below(5) {
            0 => self.append(),
            1 => self.act(),
            2 => self.report(),
            3 => {
                if let Some(blobs) = self.handed.take_blobs() {
                    let store = Arc::clone(&self.store);
                    self.shard.deliver(Message::Blobs(StoreBlobs::fetch(&store, blobs)));
                }
                self.step();
            }
            _ => self.step(),
        }
    }

    fn step(&mut self) {
        let progress = self.shard.step(self.now);
        if let Some(problem) = self.shard.broken() {
            let what = format!("broken: {}", problem.what);
            self.note(what);
            return self.crash();
        }
        let nothing_else = !progress.busy && self.handed.is_empty();
        if let Some(next) = progress.next.filter(|_| nothing_else) {
            self.now = self.now.max(next);
            self.note("clock moves");
        }
    }

    /// The oldest group reaches the disk, or fails on the way.
    fn append(&mut self) {
        let Some(unit) = self.handed.take_unit() else { return };
        let fails = self.hardship.busy_in > 0 && self.seed.one_in(self.hardship.busy_in);
        if fails {
            let full = StoreError::Busy { code: Code::StoreFull, message: "full".to_owned() };
            self.store.fail_next(When::Before, full);
        }
        let result = self.handed.append(&self.store, &unit);
        let verdict = if result.is_ok() { "durable" } else { "failed" };
        self.note(format_args!("group {} {verdict}", unit.number));
        self.shard.deliver(Message::Durable { group: unit.number, result });
    }

    /// A call has its effect outside; nobody is told yet.
    fn act(&mut self) {
        let Some(index) = self.pick(|handed| handed.unacted().len()) else { return };
        let task = self.handed.mark_acted(index);
        self.outside.act(&task);
        self.note(format_args!("acts {} {} #{}", task.run, task.step, task.attempt));
    }

    /// A call that had its effect tells its outcome.
    fn report(&mut self) {
        let Some(index) = self.pick(|handed| handed.acted().len()) else { return };
        let task = self.handed.take_acted(index);
        let store = Arc::clone(&self.store);
        let message = outside::report(&task, &self.outside, &store);
        self.note(format_args!("reports {} {} #{}", task.run, task.step, task.attempt));
        self.shard.deliver(message);
    }

    fn pick(&mut self, count: impl Fn(&Handed) -> usize) -> Option<usize> {
        let count = count(&self.handed);
        (count > 0).then(|| self.seed.below(count))
    }

    /// The process is gone; what the disk has is all that is left. A new one performs every open run.
    fn crash(&mut self) {
        self.crashes += 1;
        self.note("crash");
        self.disk = self.store.disk();
        self.store = Arc::new(ModelStore::from_disk(self.disk.clone()));
        self.handed = Handed::default();
        self.shard = shard(&self.store, &self.handed, self.hardship.slots);
        for run in self.open_runs() {
            self.shard.deliver(Message::Perform { run, reply: Box::new(|_| ()) });
        }
    }

    /// A person or program outside does what some run waits for.
    fn answer_somebody(&mut self, open: &[RunId]) {
        let index = self.seed.below(open.len());
        let id = open[index];
        let Some(run) = self.run(id) else { return };
        let input = if let Some((step, asked)) = run.approvals.iter().next() {
            Input::Approval {
                step: step.clone(),
                verdict: ApprovalVerdict::Granted,
                action: Some(asked.action),
                actor: "world".to_owned(),
                reason: None,
            }
        } else if let Some((_, name)) = run.waits.iter().next() {
            self.signals += 1;
            Input::Signal {
                id: format!("signal-{}", self.signals),
                name: name.clone(),
                payload: Data::from(json!({ "answer": 42 })),
                actor: "world".to_owned(),
            }
        } else if let Some((_, task)) = run.in_doubt().next() {
            let key = task.spec.key;
            Input::Settle {
                key,
                outcome: match self.outside.output_of(key) {
                    Some(output) => Settlement::Succeeded(Data::from(output)),
                    None => Settlement::Retry,
                },
                actor: "world".to_owned(),
                reason: Some("looked at the ledger".to_owned()),
            }
        } else {
            return;
        };
        self.note(format_args!("answers {id}"));
        self.shard.deliver(Message::Submit(Submission {
            run: id,
            input: Submitted::Input(input),
            reply: Box::new(|_| ()),
        }));
    }

    /// Checks what must hold of every history in every world: chains, state hashes, decisions.
    ///
    /// # Panics
    /// Something does not hold.
    pub fn check(&self) {
        let blobs = Arc::new(StoreBlobs(Arc::clone(&self.store)));
        for row in self.store.runs(&RunQuery::default()).expect("the model store lists runs") {
            let each = &mut |_: &StoredCommit, _: &[aura_core::Event], _: &Run| ();
            let checked =
                Verified::check(&*self.store, row.run, Arc::clone(&blobs) as _, true, each);
            checked.unwrap_or_else(|problem| panic!("{}\n{}", problem.what, self.tail()));
        }
    }

    /// Output or failure of each run, by id: what must not depend on what went wrong on the way.
    pub fn results(&self) -> BTreeMap<RunId, Value> {
        let rows = self.store.runs(&RunQuery::default()).expect("the model store lists runs");
        rows.into_iter()
            .filter_map(|row| Some((row.run, self.run(row.run)?)))
            .map(|(id, run)| (id, parts::result(&run, &StoreBlobs(Arc::clone(&self.store)))))
            .collect()
    }

    /// The store, to look at.
    pub fn store(&self) -> &Arc<ModelStore> {
        &self.store
    }
}

fn shard(store: &Arc<ModelStore>, handed: &Handed, slots: usize) -> Shard {
    let ports = ShardPorts {
        store: Arc::clone(store) as Arc<dyn Store>,
        committer: Box::new(handed.clone()),
        performer: Box::new(handed.clone()),
        fetcher: Box::new(handed.clone()),
        cache: Arc::new(BlobCache::default()),
        slots,
    };
    Shard::new(ports).expect("the model store has a salt")
}

/// What a run of a flow starts with, in a world.
///
/// # Panics
/// The flow does not load.
pub fn start_of(name: u64, source: &str, input: Value, salt: Hash) -> StartRun {
    let bundle = Bundle { source: source.to_owned(), tools: tools() };
    let flow = compile(&bundle).unwrap_or_else(|problem| panic!("{}\n{source}", problem.what));
    let bytes = Bytes::from(canonical::to_vec(&json!(bundle)));
    let started = RunStarted {
        flow: FlowPin {
            name: flow.name.clone(),
            version: flow.version.clone(),
            hash: flow.hash,
            bundle: blob_address(salt, &bytes),
        },
        input: Data::from(input),
        wide_numbers: Vec::new(),
        key: None,
        labels: BTreeMap::new(),
        seed: Hash::of(&name.to_be_bytes()),
        salt: Hash::of(b"salt"),
        flags: aura_graph::flags::CURRENT.to_vec(),
        permissions: Permissions::default(),
        vars: BTreeMap::new(),
        actor: "world".to_owned(),
        state: Hash::ZERO,
    };
    StartRun { started, bundle: bytes, flow: Arc::new(flow), perform: true }
}

/// A failure that a scripted tool gives.
fn scripted_failure(code: Code) -> Failure {
    Failure::certain(code, "as scripted")
}
