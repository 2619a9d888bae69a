//! The shard under pressure: full queues, contended slots, inputs that come twice, values that are too large.

mod forks;

use std::sync::{Arc, Mutex};

use aura_core::data::{BlobRef, blob_address};
use aura_core::error::{Code, Failure};
use aura_core::input::{Input, Outcome};
use aura_core::ports::{Store, StoreError};
use aura_core::task::{Task, TaskResult};
use aura_core::time::Millis;
use aura_core::{Data, RunId, StepPath, canonical, limits};
use aura_engine::{
    Committer, Fetcher, Message, Performer, Shard, ShardPorts, Snapshots, StartRun, Submission,
    Submitted, Unit, Wanted, open_history,
};
use aura_graph::Run;
use aura_testkit::model_store::ModelStore;
use aura_testkit::world::{start_family, start_of};
use serde_json::{Value, json};
use uuid::Uuid;

/// What the shard handed out.
#[derive(Clone, Default)]
struct Handed(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    units: Vec<Unit>,
    tasks: Vec<Task>,
}

impl Committer for Handed {
    fn commit(&mut self, unit: Unit, _alone: bool) -> Option<Result<(), StoreError>> {
        self.0.lock().unwrap().units.push(unit);
        None
    }
}

impl Performer for Handed {
    fn perform(&mut self, task: Task) -> Option<Message> {
        self.0.lock().unwrap().tasks.push(task);
        None
    }

    fn abandon(&mut self, run: RunId, step: &StepPath, attempt: u32) -> Option<Message> {
        let mut inner = self.0.lock().unwrap();
        let same = |t: &Task| t.run == run && t.step == *step && t.attempt == attempt;
        let place = inner.tasks.iter().position(same)?;
        inner.tasks.remove(place);
        Some(Message::Released { run, step: step.clone(), attempt })
    }
}

impl Snapshots for Handed {
    fn take(&mut self, _wanted: Wanted) -> bool {
        true
    }
}

impl Fetcher for Handed {
    fn fetch(&mut self, _blobs: Vec<BlobRef>) {}
}

pub(crate) struct Bench {
    pub(crate) shard: Shard,
    handed: Handed,
    pub(crate) store: Arc<ModelStore>,
    pub(crate) now: Millis,
}

impl Bench {
    pub(crate) fn new(slots: usize) -> Self {
        Self::over(Arc::new(ModelStore::new()), slots)
    }

    pub(crate) fn over(store: Arc<ModelStore>, slots: usize) -> Self {
        let handed = Handed::default();
        let shard = Shard::new(ShardPorts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            committer: Box::new(handed.clone()),
            performer: Box::new(handed.clone()),
            snapshots: Box::new(handed.clone()),
            fetcher: Box::new(handed.clone()),
            cache: Arc::default(),
            slots,
        });
        Self { shard: shard.unwrap(), handed, store, now: Millis(1_800_000_000_000) }
    }

    /// Goes on as a driver would: only while the shard says that there is something to do.
    pub(crate) fn rest(&mut self) {
        loop {
            let progress = self.shard.step(self.now);
            let units = std::mem::take(&mut self.handed.0.lock().unwrap().units);
            let quiet = units.is_empty();
            for unit in units {
                let result = self.store.append(&unit.group).map(|_| ());
                self.shard.deliver(Message::Durable { group: unit.number, result });
            }
            if quiet && !progress.busy {
                return;
            }
        }
    }

    pub(crate) fn start(&mut self, number: u64, source: &str) -> RunId {
        let run = RunId(Uuid::from_u128(u128::from(number)));
        let salt = self.store.info().unwrap().salt;
        let start = start_of(number, source, json!({}), salt);
        self.start_this(run, start);
        run
    }

    pub(crate) fn start_this(&mut self, run: RunId, start: StartRun) {
        self.submit(run, Submitted::Start(Box::new(start)));
        self.rest();
    }

    /// Somebody asks something of a run.
    pub(crate) fn ask(&mut self, run: RunId, input: Input) {
        self.submit(run, Submitted::Input(input));
        self.rest();
    }

    fn submit(&mut self, run: RunId, input: Submitted) {
        let reply = Box::new(|_| ());
        self.shard.deliver(Message::Submit(Submission { run, input, reply }));
    }

    pub(crate) fn tasks(&self) -> Vec<(RunId, String)> {
        let inner = self.handed.0.lock().unwrap();
        inner.tasks.iter().map(|task| (task.run, task.step.to_string())).collect()
    }

    pub(crate) fn tell(&mut self, of: RunId, result: TaskResult) {
        let task = {
            let mut inner = self.handed.0.lock().unwrap();
            let place = inner.tasks.iter().position(|task| task.run == of).unwrap();
            inner.tasks.remove(place)
        };
        let (step, attempt, call) = (task.step, task.attempt, task.spec.call);
        let outcome = Outcome { step, attempt, call, result };
        self.shard.deliver(Message::Outcome { run: task.run, outcome, value: None });
        self.rest();
    }

    pub(crate) fn run(&self, run: RunId) -> Run {
        open_history(&*self.store, run).unwrap().unwrap().run
    }
}

pub(crate) fn done(output: Value) -> TaskResult {
    TaskResult::Succeeded { output: Data::from(output), artifacts: Vec::new(), truncated: false }
}

fn failed() -> TaskResult {
    let failure = Failure::certain(Code::NotFound, "no");
    TaskResult::Failed { failure, retry_after_ms: None }
}

#[test]
fn what_is_durable_passes_what_must_wait_for_it() {
    let mut bench = Bench::new(64);
    let source = "flow: large\nnodes:\n  - id: l\n    loop: { times: 5000, do: [{ id: s, set: { t: \"{{ 'x' * 50000 }}\" } }] }\n";
    let run = RunId(Uuid::from_u128(1));
    let salt = bench.store.info().unwrap().salt;
    let start = start_of(1, source, json!({}), salt);
    bench.submit(run, Submitted::Start(Box::new(start)));
    while bench.shard.step(bench.now).busy {}
    assert!(bench.handed.0.lock().unwrap().units.len() > 4, "it ran ahead until it was held back");
    let reply = Box::new(|_| ());
    bench.shard.deliver(Message::Await { run, reply });
    bench.rest();
    assert!(bench.run(run).closed());
}

#[test]
fn steps_that_wait_in_vain_keep_nobody_from_a_slot() {
    let mut bench = Bench::new(2);
    let run = bench.start(
        1,
        "flow: stops\nnodes:\n  - id: m\n    on_error: continue\n    map: { items: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], do: [{ id: t, tool: sim.read, with: {} }] }\n  - { id: after, tool: sim.read, with: {} }\n",
    );
    bench.tell(run, failed());
    assert_eq!(bench.tasks(), [(run, "after".to_owned())]);
}

#[test]
fn a_step_whose_grant_comes_too_late_waits_again() {
    let mut bench = Bench::new(1);
    let two = "flow: two\nnodes:\n  - { id: a, tool: sim.read, with: {} }\n  - { id: b, tool: sim.read, with: {} }\n";
    let blocked = r#"
flow: blocked
nodes:
  - id: p
    parallel:
      branches:
        x: [{ id: t, tool: sim.pure, with: {} }, { id: u, set: { l: "{{ steps.t.output.text | length }}" } }]
        y: [{ id: e, tool: sim.read, with: {} }]
"#;
    let first = bench.start(1, two);
    let second = bench.start(2, blocked);
    let third = bench.start(3, two);
    let value = json!({ "text": "x".repeat(70_000) });
    let salt = bench.store.info().unwrap().salt;
    let blob = blob_address(salt, &canonical::to_vec(&value));
    let output = Data::Blob(blob);
    // The second run now needs a blob; its grant has to wait behind it, and the third takes the slot.
    bench.tell(second, TaskResult::Succeeded { output, artifacts: Vec::new(), truncated: false });
    bench.tell(first, failed());
    bench.shard.deliver(Message::Blobs(vec![(blob, Ok(Arc::new(value)))]));
    bench.rest();
    for _ in 0..4 {
        if let Some((run, _)) = bench.tasks().first().cloned() {
            bench.tell(run, done(json!(null)));
        }
    }
    for run in [first, second, third] {
        assert!(bench.run(run).closed(), "{run}: {:?}", bench.run(run).status());
    }
    assert_eq!(bench.shard.effects_in_flight(), 0);
}

#[test]
fn a_start_that_comes_twice_is_one_run() {
    let mut bench = Bench::new(2);
    let source = "flow: one\nnodes:\n  - { id: a, sleep: 1h }\n";
    let run = bench.start(1, source);
    let before = bench.run(run).events;
    bench.start(1, source);
    assert!(bench.shard.broken().is_none(), "{:?}", bench.shard.broken());
    assert_eq!(bench.run(run).events, before);
}

#[test]
fn runs_that_sleep_leave_memory_and_those_in_work_stay() {
    let mut bench = Bench::new(64);
    let salt = bench.store.info().unwrap().salt;
    let works = "flow: works\nnodes:\n  - { id: t, tool: sim.pure, with: {} }\n";
    let sleeps = "flow: sleeps\nnodes:\n  - { id: a, sleep: 1h }\n";
    let many = u64::try_from(limits::HOT_RUNS * 2).unwrap();
    for number in 1..=many {
        let source = if number % 512 == 0 { works } else { sleeps };
        let start = start_of(number, source, json!({}), salt);
        let run = RunId(Uuid::from_u128(u128::from(number)));
        bench.submit(run, Submitted::Start(Box::new(start)));
    }
    bench.rest();
    let working = bench.tasks();
    assert_eq!(working.len(), 4);
    assert!(bench.shard.runs_in_memory() <= limits::HOT_RUNS, "{}", bench.shard.runs_in_memory());
    for (run, _) in working {
        bench.tell(run, done(json!(null)));
    }
    bench.now = bench.now.plus(3_600_000);
    bench.rest();
    let open = (1..=many).filter(|n| !bench.run(RunId(Uuid::from_u128(u128::from(*n)))).closed());
    assert_eq!(open.count(), 0);
}

/// A store without room for a moment costs what was lost, not what all runs cost.
#[test]
fn runs_that_lost_nothing_stay_out_of_memory_when_a_commit_fails() {
    let mut bench = Bench::new(64);
    let sleeps = "flow: sleeps\nnodes:\n  - { id: a, sleep: 1h }\n";
    let salt = bench.store.info().unwrap().salt;
    let many = u64::try_from(limits::HOT_RUNS * 2).unwrap();
    for number in 1..=many {
        let start = start_of(number, sleeps, json!({}), salt);
        let run = RunId(Uuid::from_u128(u128::from(number)));
        bench.submit(run, Submitted::Start(Box::new(start)));
    }
    bench.rest();
    assert!(bench.shard.runs_in_memory() <= limits::HOT_RUNS);
    let two = "flow: two\nnodes:\n  - { id: t, tool: sim.pure, with: {} }\n  - { id: u, tool: sim.pure, with: {} }\n";
    let run = bench.start(many + 1, two);
    let task = bench.handed.0.lock().unwrap().tasks.remove(0);
    let (step, attempt, call) = (task.step, task.attempt, task.spec.call);
    let outcome = Outcome { step, attempt, call, result: done(json!(null)) };
    bench.shard.deliver(Message::Outcome { run, outcome, value: None });
    bench.shard.step(bench.now);
    let unit = bench.handed.0.lock().unwrap().units.remove(0);
    let full = StoreError::Busy { code: Code::StoreFull, message: "no room".to_owned() };
    bench.shard.deliver(Message::Durable { group: unit.number, result: Err(full) });
    for _ in 0..8 {
        bench.shard.step(bench.now);
        bench.now = bench.now.plus(1_000);
        assert!(bench.shard.runs_in_memory() <= limits::HOT_RUNS);
    }
    bench.rest();
    assert_eq!(bench.tasks(), [(run, "u".to_owned())]);
}

/// An outcome that waits for a blob is the only word of what was done outside.
#[test]
fn a_shard_that_drains_waits_for_an_outcome_that_waits_for_a_blob() {
    let mut bench = Bench::new(1);
    let source = "flow: f\nnodes:\n  - { id: t, tool: sim.read, with: {} }\n  - { id: u, set: { l: \"{{ steps.t.output.text | length }}\" } }\n";
    let run = bench.start(1, source);
    let value = json!({ "text": "x".repeat(70_000) });
    let salt = bench.store.info().unwrap().salt;
    let blob = blob_address(salt, &canonical::to_vec(&value));
    let output = Data::Blob(blob);
    bench.shard.deliver(Message::Drain);
    bench.tell(run, TaskResult::Succeeded { output, artifacts: Vec::new(), truncated: false });
    assert!(!bench.shard.step(bench.now).drained);
    bench.shard.deliver(Message::Blobs(vec![(blob, Ok(Arc::new(value)))]));
    bench.rest();
    assert!(bench.shard.step(bench.now).drained);
    assert!(bench.run(run).closed());
}

/// The id of a run may be that of its key, which is to be of use for a start that is right.
#[test]
fn a_start_that_was_refused_takes_nothing() {
    let mut bench = Bench::new(1);
    let source = "flow: f\nnodes:\n  - { id: t, tool: sim.read, with: {} }\n";
    let run = RunId(Uuid::from_u128(1));
    let salt = bench.store.info().unwrap().salt;
    let right = || start_of(1, source, json!({}), salt);
    let mut wrong = right();
    wrong.started.labels = [("l".to_owned(), "x".repeat(limits::NAME_BYTES + 1))].into();
    bench.start_this(run, wrong);
    assert_eq!((bench.shard.runs_in_memory(), bench.tasks()), (0, Vec::new()));
    bench.start_this(run, right());
    assert_eq!(bench.tasks(), [(run, "t".to_owned())]);
}

#[test]
fn what_is_too_large_harms_nobody_else() {
    let mut bench = Bench::new(64);
    let map = "flow: map\nnodes:\n  - id: m\n    map: { items: \"{{ range(100) | list }}\", concurrency: 100, do: [{ id: t, tool: sim.pure, with: {} }] }\n";
    let run = bench.start(1, map);
    while !bench.tasks().is_empty() {
        bench.tell(run, done(json!("x".repeat(60_000))));
    }
    assert!(bench.run(run).closed(), "{:?}", bench.run(run).status());
    let sleeps = bench.start(2, "flow: one\nnodes:\n  - { id: a, sleep: 1h }\n");
    let payload = Data::from(json!("x".repeat(5_000_000)));
    let (id, name, actor) = ("1".to_owned(), "go".to_owned(), "me".to_owned());
    bench.submit(sleeps, Submitted::Input(Input::Signal { id, name, payload, actor }));
    bench.rest();
    assert!(bench.shard.broken().is_none(), "{:?}", bench.shard.broken());
}

#[test]
fn thousands_of_open_tasks_are_recovered() {
    let mut bench = Bench::new(2);
    let mut source = "flow: wide\nnodes:\n  - id: p\n    parallel:\n      branches:\n".to_owned();
    for branch in ["a", "b", "c", "d", "e"] {
        source.push_str("        ");
        source.push_str(branch);
        source.push_str(": [{ id: m, map: { items: \"{{ range(1000) | list }}\", concurrency: 1000, do: [{ id: t, tool: sim.pure, with: {} }] } }]\n");
    }
    let run = bench.start(1, &source);
    assert_eq!(bench.tasks().len(), 5_000);
    let mut bench = Bench::over(Arc::clone(&bench.store), 2);
    bench.shard.deliver(Message::Perform { run, reply: Box::new(|_| ()) });
    bench.rest();
    assert!(bench.shard.broken().is_none(), "{:?}", bench.shard.broken());
    assert_eq!(bench.tasks().len(), 5_000);
}
