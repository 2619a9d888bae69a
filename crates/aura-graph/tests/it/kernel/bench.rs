//! A run driven by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use aura_core::StepPath;
use aura_core::budget::{Amounts, Resource};
use aura_core::commit::{Header, StoredCommit};
use aura_core::data::{BlobRef, Data};
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::{Event, EventBody, OnFailure, RunStarted, Settlement};
use aura_core::hash::Hash;
use aura_core::id::{RunId, TenantId};
use aura_core::input::{Input, Outcome};
use aura_core::saga::SagaEnd;
use aura_core::task::{TaskResult, TaskSpec};
use aura_core::time::Millis;
use aura_graph::decide::{Decision, Gate, Grant, Reuse, Taken, World, decide};
use aura_graph::expr::BlobLookup;
use aura_graph::replay::Replay;
use aura_graph::state::{from_snapshot, to_snapshot};
use aura_graph::{Flow, Run};
use aura_testkit::world::start_family;
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) const START: Millis = Millis(1_800_000_000_000);

/// A run, the time, and what surroundings answer.
pub(super) struct Bench {
    pub(super) run: Arc<Run>,
    pub(super) flow: Arc<Flow>,
    pub(super) now: Millis,
    pub(super) slots: usize,
    /// What calls with a shared key gave elsewhere.
    pub(super) kept: Option<Taken>,
    pub(super) commits: Vec<StoredCommit>,
    pub(super) blobs: Arc<Blobs>,
    /// What a fork is told to take for the effects of these steps.
    pub(super) reuse: BTreeMap<StepPath, Reuse>,
    /// What the last turn tells other runs.
    pub(super) messages: Vec<(RunId, Input)>,
    head: Hash,
    lines: String,
}

/// Blobs at hand.
#[derive(Default)]
pub(super) struct Blobs(pub(super) std::sync::Mutex<BTreeMap<BlobRef, Arc<Value>>>);

impl BlobLookup for Blobs {
    fn value(&self, blob: BlobRef) -> Option<Arc<Value>> {
        self.0.lock().unwrap().get(&blob).cloned()
    }
}

struct Slots(usize, BTreeMap<StepPath, Reuse>, Option<Taken>);

impl Gate for Slots {
    fn reuse(&mut self, step: &StepPath, _spec: &TaskSpec) -> Reuse {
        self.1.get(step).cloned().unwrap_or(Reuse::Later)
    }

    fn grant(&mut self, _step: &StepPath, spec: &TaskSpec) -> Grant {
        if let Some(kept) = self.2.as_ref().filter(|_| spec.idempotency.is_some()) {
            return Grant::Reuse(kept.clone());
        }
        if self.0 == 0 {
            return Grant::Wait;
        }
        self.0 -= 1;
        Grant::Go
    }
}

impl Bench {
    /// A run of `source` that has started.
    pub(super) fn new(source: &str, input: Value) -> Self {
        Self::with_slots(source, input, usize::MAX)
    }

    pub(super) fn with_slots(source: &str, input: Value, slots: usize) -> Self {
        Self::with_files(source, &[], input, slots)
    }

    /// A run of `source` that may start these files as child runs.
    pub(super) fn with_files(
        source: &str,
        files: &[(&str, &str)],
        input: Value,
        slots: usize,
    ) -> Self {
        let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        let start = start_family(1, (source, &files.collect()), input, Hash::ZERO);
        Self::started(start.flows.main, start.started, slots)
    }

    /// A run that has started so.
    pub(super) fn started(flow: Arc<Flow>, started: RunStarted, slots: usize) -> Self {
        let mut bench = Self {
            run: Arc::new(Run::new(RunId(Uuid::from_u128(1)))),
            flow,
            now: START,
            slots,
            kept: None,
            commits: Vec::new(),
            blobs: Arc::default(),
            reuse: BTreeMap::new(),
            messages: Vec::new(),
            head: Hash::ZERO,
            lines: String::new(),
        };
        bench.give(Input::Start(Box::new(started)));
        bench
    }

    /// A run that stands so, with the blobs of another.
    pub(super) fn of(run: Run, head: Hash, flow: Arc<Flow>, other: &Self) -> Self {
        let run = Arc::new(run);
        let (blobs, now) = (Arc::clone(&other.blobs), other.now);
        let (commits, reuse, lines) = (Vec::new(), BTreeMap::new(), String::new());
        let (slots, kept, messages) = (usize::MAX, None, Vec::new());
        Self { run, flow, now, slots, kept, commits, blobs, reuse, messages, head, lines }
    }

    /// The same run, to go on another way.
    pub(super) fn clone_of(&self) -> Self {
        let mut bench = Self::of(Run::clone(&self.run), self.head, Arc::clone(&self.flow), self);
        bench.commits.clone_from(&self.commits);
        bench.lines.clone_from(&self.lines);
        bench.reuse.clone_from(&self.reuse);
        bench
    }

    /// Another run, of the same flow.
    pub(super) fn child_of(&self, run: RunId, start: Input) -> Self {
        let mut child = Self {
            run: Arc::new(Run::new(run)),
            flow: Arc::clone(&self.flow),
            now: self.now,
            kept: None,
            slots: self.slots,
            commits: Vec::new(),
            blobs: Arc::clone(&self.blobs),
            reuse: BTreeMap::new(),
            messages: Vec::new(),
            head: Hash::ZERO,
            lines: String::new(),
        };
        child.give(start);
        child
    }

    pub(super) fn decide(&self, input: &Input) -> Decision {
        let mut gate = Slots(self.slots, self.reuse.clone(), self.kept.clone());
        let blobs = Arc::clone(&self.blobs) as Arc<dyn BlobLookup>;
        let mut world = World { now: self.now, salt: Hash::ZERO, gate: &mut gate, blobs };
        decide(&self.run, &self.flow, input, &mut world)
    }

    /// Presents an input that leads to a commit.
    #[expect(clippy::needless_pass_by_value, reason = "inputs are made where they are given")]
    pub(super) fn give(&mut self, input: Input) {
        match self.decide(&input) {
            Decision::Turn(turn) => {
                let header = Header {
                    tenant: TenantId::LOCAL,
                    run: self.run.id,
                    epoch: 1,
                    seq: self.run.events + 1,
                    count: u32::try_from(turn.events.len()).unwrap(),
                    at: turn.run.at,
                    cause: turn.cause,
                    more: turn.more,
                };
                for event in &turn.events {
                    writeln!(self.lines, "{}", line(event)).unwrap();
                }
                writeln!(self.lines, "--").unwrap();
                let commit = StoredCommit::seal(self.head, header, &turn.events).unwrap();
                self.head = commit.hash;
                self.commits.push(commit);
                let mut blobs = self.blobs.0.lock().unwrap();
                blobs.extend(turn.blobs.into_iter().map(|blob| (blob.address, blob.value)));
                self.run = turn.run;
                self.messages = turn.messages;
            }
            other => panic!("{input:?} led to {other:?}"),
        }
    }

    /// Presents an input that is refused.
    pub(super) fn refused(&self, input: &Input) -> Problem {
        match self.decide(input) {
            Decision::Refused(problem) => problem,
            other => panic!("{input:?} led to {other:?}"),
        }
    }

    /// Presents an input that changes nothing.
    pub(super) fn nothing(&self, input: &Input) {
        let decision = self.decide(input);
        assert!(matches!(decision, Decision::Nothing), "{input:?} led to {decision:?}");
    }

    /// The outcome of the open attempt of a step.
    pub(super) fn outcome(&self, step: &str, result: TaskResult) -> Input {
        let step = step.into();
        let task = self.run.tasks.get(&step).unwrap_or_else(|| panic!("no task at {step}"));
        let (attempt, call) = (task.attempt, task.spec.call);
        Input::Outcome(Outcome { step, attempt, call, result })
    }

    pub(super) fn succeed(&mut self, step: &str, output: Value) {
        let input = self.outcome(step, succeeded(output));
        self.give(input);
    }

    pub(super) fn fail(&mut self, step: &str, failure: Failure) {
        let input = self.outcome(step, TaskResult::Failed { failure, retry_after_ms: None });
        self.give(input);
    }

    /// Moves the clock to the earliest timer and fires it.
    pub(super) fn fire(&mut self) {
        let (due, step, purpose) = self.run.timers.first().expect("a timer");
        let (step, due) = (step.clone(), due);
        self.now = self.now.max(due);
        self.give(Input::Timer { step, purpose, due });
    }

    /// Every commit is decided again as it was, from the log and from a snapshot after each.
    pub(super) fn replays(&self) {
        let blobs = Arc::clone(&self.blobs) as Arc<dyn BlobLookup>;
        let mut replay = Replay::new(Run::new(self.run.id), Hash::ZERO, blobs);
        for commit in &self.commits {
            replay.redecide(&self.flow, commit).unwrap();
            replay.integrity(commit).unwrap();
            let (run, _) = from_snapshot(&to_snapshot(&replay.run, commit.hash).unwrap()).unwrap();
            replay.run = run;
        }
        assert_eq!(json!(replay.run), json!(self.run));
    }

    /// The history so far, a line an event.
    pub(super) fn history(&self) -> &str {
        &self.lines
    }
}

pub(super) fn succeeded(output: Value) -> TaskResult {
    TaskResult::Succeeded { output: Data::from(output), artifacts: Vec::new(), truncated: false }
}

pub(super) fn certain(code: Code) -> Failure {
    Failure::certain(code, "so it is")
}

pub(super) fn doubtful(code: Code) -> Failure {
    Failure::in_doubt(code, "who knows")
}

fn line(event: &Event) -> String {
    let mut line = event.body.kind().to_owned();
    if let Some(step) = &event.step {
        write!(line, " {step}").unwrap();
    }
    if let Some(attempt) = event.attempt {
        write!(line, " try {attempt}").unwrap();
    }
    let detail = match &event.body {
        EventBody::StepFailed(data) => {
            let then = match &data.then {
                OnFailure::Fail => "fail".to_owned(),
                OnFailure::Continue => "continue".to_owned(),
                OnFailure::Goto(id) => format!("goto {id}"),
            };
            format!("{} -> {then}", data.error.code)
        }
        EventBody::StepSkipped(data) => format!("{:?}", data.reason),
        EventBody::StepCompleted(data) => match &data.next {
            Some(next) if next.again.is_empty() => format!("next {}", next.to),
            Some(next) => format!("back to {} {:?}", next.to, next.again),
            None => String::new(),
        },
        EventBody::JournalRecorded(data) => format!("{} {}", data.number, data.asked.kind()),
        EventBody::RunFailed(data) => {
            format!("{} {}", data.error.code, saga(data.saga.as_ref()))
        }
        EventBody::RunCompleted(data) => json!(data.output)["json"].to_string(),
        EventBody::ToolFailed(data) => data.error.code.to_string(),
        EventBody::EffectUnknown(data) => {
            format!("{:?}{}", data.doubt, if data.parked { " parked" } else { "" })
        }
        EventBody::RunForked(data) => format!("after {} {:?}", data.seq, data.effects),
        EventBody::EffectReused(data) => match &data.outcome {
            Settlement::Succeeded(output) => json!(output)["json"].to_string(),
            other => format!("{other:?}"),
        },
        EventBody::EffectWithheld(data) => format!("{:?}", data.why),
        EventBody::StepRetrying(data) => format!("in {} ms", data.until.since(event_time(data))),
        EventBody::TimerSet(timer) | EventBody::TimerFired(timer) => {
            format!("{:?} +{} ms", timer.purpose, timer.due.since(START))
        }
        EventBody::ActivityHeartbeat(data) => json!(data.details)["json"].to_string(),
        EventBody::CompensationFailed(data) => data.error.code.to_string(),
        EventBody::RunCompensating(data) => {
            data.error.as_ref().map_or("cancelled".to_owned(), |error| error.code.to_string())
        }
        EventBody::RunCancelled(data) => saga(data.saga.as_ref()),
        EventBody::BudgetReserved(data) => amounts(&data.amounts),
        EventBody::BudgetSettled(data) => {
            format!("{} of {}", amounts(&data.spent), amounts(&data.reserved))
        }
        EventBody::BudgetExceeded(data) => {
            let whose = if data.of.is_root() { "run" } else { data.of.as_str() };
            format!("{} of {whose} -> {:?}", data.resource, data.then)
        }
        EventBody::BudgetRaised(data) => format!("{} to {}", data.resource, data.limit),
        _ => String::new(),
    };
    format!("{line} {detail}").trim().to_owned()
}

fn amounts(amounts: &Amounts) -> String {
    let counted = Resource::ALL.into_iter().filter(|one| amounts.of(*one) > 0);
    let told: Vec<_> = counted.map(|one| format!("{one} {}", amounts.of(one))).collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
}

fn saga(end: Option<&SagaEnd>) -> String {
    let Some(end) = end else { return String::new() };
    let left: Vec<_> = end.uncompensated.iter().map(|left| left.step.as_str()).collect();
    format!("compensated {} of {}, not {left:?}", end.compensated, end.compensated + end.failed)
}

/// Waits are shown from the start of the run, which the tests keep at a round time.
fn event_time(_: &aura_core::event::StepRetrying) -> Millis {
    START
}
