//! Backtesting: a recorded run decided again by another flow, with the outcomes that it had.
//!
//! The recorded inputs come in their order and at their times. An outcome goes to the step that asks for the same
//! call, else to any that asks for it; signals and answers go where they are awaited. Nothing is called but what
//! leaves no mark, by whoever backtests. Facts of both are compared on the way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aura_core::canonical;
use aura_core::child::{ChildAccount, ChildEnd};
use aura_core::commit::StoredCommit;
use aura_core::data::{BlobRef, Data, blob_address};
use aura_core::effect::EffectClass;
use aura_core::error::Problem;
use aura_core::event::{Event, EventBody, FlowPin, Purpose, RunStarted, Work};
use aura_core::hash::Hash;
use aura_core::input::{Input, Outcome};
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::schema::Schema;
use aura_core::task::{TaskResult, TaskSpec};
use aura_core::time::Millis;
use bytes::Bytes;
use serde_json::Value;

use crate::compare::{Comparison, Divergence, Side, outcome_of};
use crate::decide::{Decision, Gate, Grant, NewBlob, Taken, World, decide};
use crate::definition::Flow;
use crate::expr::BlobLookup;
use crate::replay::{input_of, settled};
use crate::state::{FoldError, Run, Task, TaskPhase, fold_commit};

const TOO_LARGE: &str = "its large values take more memory than is given to them";

/// What a recorded run does by the other flow.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The same.
    Same,
    /// Something else, from here on.
    Different(Box<Divergence>),
    /// It comes to something that nothing recorded answers.
    Needs {
        /// What.
        needs: Vec<Lack>,
        /// The first fact in which it differs.
        divergence: Option<Box<Divergence>>,
    },
    /// It can't be told, and why.
    Untold(String),
}

/// Something that only the outside can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The step that waits for it.
    pub step: StepPath,
    /// What it is.
    pub what: Lacking,
}

/// What only the outside can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lacking {
    /// The outcome of a call.
    Call(String, EffectClass),
    /// A signal of this name.
    Signal(String),
    /// An answer to an approval.
    Answer,
    /// The end of a child run of this flow.
    Child(String),
}

/// Which outcomes a history holds: the first of two readings.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    /// The calls that are open.
    open: BTreeMap<StepPath, Hash>,
    /// How many outcomes come for a call of a step.
    coming: BTreeMap<(StepPath, Hash), u32>,
    /// The intents of a call of a step.
    called: BTreeMap<(StepPath, Hash), Calls>,
    ended: bool,
}

/// How often a call got its slot, or its outcome without one.
#[derive(Debug, Clone, Copy, Default)]
struct Calls {
    /// In the recorded run, as far as it was read again.
    passed: u32,
    /// In the run by the other flow.
    made: u32,
}

impl Outcomes {
    /// Takes the next event.
    pub fn take(&mut self, event: &Event) {
        let Some(step) = &event.step else {
            self.ended |= ends(&event.body);
            return;
        };
        match &event.body {
            EventBody::StepStarted(data) => {
                if let Work::Task(spec) | Work::Code(spec) = &data.work {
                    self.open.insert(step.clone(), spec.call);
                    self.called.entry((step.clone(), spec.call)).or_default();
                }
            }
            EventBody::CompensationStarted(data) => {
                self.open.insert(step.clone(), data.call);
            }
            EventBody::StepCompleted(_)
            | EventBody::StepFailed(_)
            | EventBody::CompensationFailed(_) => {
                self.open.remove(step);
            }
            EventBody::StepCompensated(_) => {
                self.open.remove(&step.compensation());
            }
            body => {
                if let Some((step, call)) = intent(event) {
                    self.called.entry((step.clone(), call)).or_default();
                }
                if outcome_of(body).is_some()
                    && let Some(call) = self.open.get(step)
                {
                    *self.coming.entry((step.clone(), *call)).or_default() += 1;
                }
            }
        }
    }
}

fn ends(body: &EventBody) -> bool {
    matches!(
        body,
        EventBody::RunCompleted(_)
            | EventBody::RunFailed(_)
            | EventBody::RunCancelled(_)
            | EventBody::RunContinued(_)
    )
}

/// The other flow, and what is at hand to decide by it.
pub struct Changed<'a> {
    /// The flow.
    pub flow: Arc<Flow>,
    /// How a run would pin it.
    pub pin: FlowPin,
    /// What addresses of blobs are salted with.
    pub salt: Hash,
    /// Values of blobs of the recorded run.
    pub blobs: Arc<dyn BlobLookup>,
    /// Does a task of class `pure`, if it can be done here.
    pub pure: &'a dyn Fn(&TaskSpec, &dyn BlobLookup) -> Option<TaskResult>,
}

impl std::fmt::Debug for Changed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changed").field("pin", &self.pin).finish_non_exhaustive()
    }
}

/// A recorded run on its way through another flow: the second of two readings.
pub struct Backtest<'a> {
    changed: &'a Changed<'a>,
    blobs: Arc<Made>,
    outcomes: Outcomes,
    /// The recorded run, as far as it was read.
    recorded: Run,
    head: Hash,
    /// The run by the other flow.
    run: Arc<Run>,
    now: Millis,
    /// Tasks that were opened and not looked at yet.
    opened: VecDeque<StepPath>,
    /// Steps that the recorded run calls in the commit that is read.
    calls: BTreeSet<StepPath>,
    /// Outcomes that the recorded run takes from other runs in it, by step and call.
    taken: BTreeMap<(StepPath, Hash), Taken>,
    /// Outcomes that came and nobody asked for.
    spare: BTreeMap<Hash, VecDeque<TaskResult>>,
    /// Answers to what is not asked yet.
    answers: Vec<Input>,
    /// Whether the recorded run had more to do than one turn may, and did not go on yet.
    rests: bool,
    /// Inputs beyond those that were recorded.
    beyond: usize,
    comparison: Comparison,
    untold: Option<String>,
}

impl std::fmt::Debug for Backtest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backtest").field("events", &self.run.events).finish_non_exhaustive()
    }
}

/// Values that the run by the other flow makes, before those of the recorded one.
struct Made {
    below: Arc<dyn BlobLookup>,
    own: Mutex<(u64, BTreeMap<BlobRef, Arc<Value>>)>,
}

impl BlobLookup for Made {
    fn value(&self, blob: BlobRef) -> Option<Arc<Value>> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.1.get(&blob).cloned().or_else(|| self.below.value(blob))
    }
}

impl Made {
    /// Keeps values; whether they are within the limit.
    fn keep(&self, blobs: Vec<NewBlob>) -> bool {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        for blob in blobs {
            own.0 += blob.address.bytes;
            own.1.insert(blob.address, blob.value);
        }
        own.0 <= limits::BACKTEST_BYTES
    }
}

/// A call that was recorded waits for its slot as it did then; any other may start at once, as nothing is called.
struct Slots<'a> {
    outcomes: &'a Outcomes,
    /// Calls of the commit that is read.
    now: &'a BTreeSet<StepPath>,
    /// Outcomes that it takes from other runs, by step and call.
    taken: &'a BTreeMap<(StepPath, Hash), Taken>,
}

impl Gate for Slots<'_> {
    fn grant(&mut self, step: &StepPath, spec: &TaskSpec) -> Grant {
        let call = (step.clone(), spec.call);
        if let Some(taken) = self.taken.get(&call) {
            return Grant::Reuse(taken.clone());
        }
        match self.outcomes.called.get(&call) {
            Some(calls) if calls.made >= calls.passed + u32::from(self.now.contains(step)) => {
                Grant::Wait
            }
            _ => Grant::Go,
        }
    }
}

impl<'a> Backtest<'a> {
    /// A run of which nothing was read, with the outcomes that it holds.
    pub fn new(changed: &'a Changed<'a>, recorded: Run, outcomes: Outcomes) -> Self {
        let blobs = Made { below: Arc::clone(&changed.blobs), own: Mutex::default() };
        Self {
            changed,
            blobs: Arc::new(blobs),
            outcomes,
            run: Arc::new(Run::new(recorded.id)),
            recorded,
            head: Hash::ZERO,
            now: Millis(0),
            opened: VecDeque::new(),
            calls: BTreeSet::new(),
            taken: BTreeMap::new(),
            spare: BTreeMap::new(),
            answers: Vec::new(),
            beyond: 0,
            rests: false,
            comparison: Comparison::new(),
            untold: None,
        }
    }

    /// Takes the next commit of the recorded run. Once it can't be told any more, nothing changes.
    ///
    /// # Errors
    /// The history is damaged.
    pub fn take(&mut self, commit: &StoredCommit) -> Result<(), FoldError> {
        if self.untold.is_some() {
            return Ok(());
        }
        let events = commit.events()?;
        for (seq, event) in (commit.header.seq..).zip(&events) {
            self.comparison.take(Side::Left, seq, event);
        }
        self.now = commit.header.at;
        self.rests = commit.header.more;
        self.calls = intents(&events).map(|(step, _)| step.clone()).collect();
        self.taken = events.iter().filter_map(taken).collect();
        self.timers_of_its_own();
        if let Some(input) = input_of(commit.header.cause, &events) {
            self.recorded_input(input);
        }
        for event in &events {
            if let (Some(step), EventBody::EffectReused(data)) = (&event.step, &event.body)
                && let Some(result) = settled(&data.outcome, &[])
                && !self.has_taken(step, data.call)
            {
                self.outcome(step, data.call, (None, result));
            }
        }
        self.continues();
        let steps: Vec<_> = self.calls.iter().cloned().collect();
        self.granted(steps);
        for (step, call) in intents(&events) {
            if let Some(calls) = self.outcomes.called.get_mut(&(step.clone(), call)) {
                calls.passed += 1;
            }
        }
        self.settle();
        fold_commit(&mut self.recorded, &mut self.head, commit)
    }

    /// Whether the run by the other flow took the outcome that the recorded one took.
    fn has_taken(&mut self, step: &StepPath, call: Hash) -> bool {
        let key = (step.clone(), call);
        let made = self.outcomes.called.get(&key).is_some_and(|calls| calls.made > calls.passed);
        let taken = made && !called(&self.run, step, call);
        if taken {
            self.passed(step, call);
        }
        taken
    }

    /// What came of it, when the history was read to its end.
    pub fn finish(mut self) -> Verdict {
        if self.outcomes.ended && self.untold.is_none() {
            self.go_on();
        }
        if let Some(why) = self.untold {
            return Verdict::Untold(why);
        }
        let needs = if self.outcomes.ended { self.needs() } else { Vec::new() };
        let divergence = self.comparison.finish([true, true]).map(Box::new);
        match (needs.is_empty(), divergence) {
            (true, None) => Verdict::Same,
            (true, Some(divergence)) => Verdict::Different(divergence),
            (false, divergence) => Verdict::Needs { needs, divergence },
        }
    }

    /// Slots are free for those of the steps that wait for one.
    fn granted(&mut self, mut steps: Vec<StepPath>) {
        let ready = |step: &StepPath| {
            self.run.tasks.get(step).is_some_and(|task| task.phase == TaskPhase::Ready)
        };
        steps.retain(ready);
        if !steps.is_empty() {
            self.feed(&Input::Granted { steps });
        }
    }

    /// What the recorded run was told.
    fn recorded_input(&mut self, input: Input) {
        match input {
            Input::Start(started) => self.start(*started),
            Input::Fork(forked) if !forked.changes.is_empty() => {
                self.stop("it is a fork with values that were set by hand");
            }
            Input::Fork(forked) => {
                if let Some(then) = input_of(aura_core::commit::Cause::Events, &forked.then) {
                    self.recorded_input(then);
                }
            }
            Input::Outcome(Outcome { step, attempt, call, result }) => {
                self.outcome(&step, call, (Some(attempt), result));
            }
            Input::Settle { key, ref outcome, .. } => {
                let task = self.recorded.tasks.iter().find(|(_, task)| task.spec.key == key);
                let Some((step, call)) = task.map(|(step, task)| (step.clone(), task.spec.call))
                else {
                    return;
                };
                let called = |run: &Run| called(run, &step, call);
                match settled(outcome, &[]) {
                    Some(result) if called(&self.run) => self.outcome(&step, call, (None, result)),
                    _ => {
                        self.passed(&step, call);
                        let own = self.run.tasks.get(&step).map(|task| task.spec.key);
                        self.feed(&said_of(own.unwrap_or(key), input));
                    }
                }
            }
            Input::Timer { step, purpose, .. } => {
                if let Some(due) =
                    self.run.timers.due(&step, purpose).filter(|due| *due <= self.now)
                {
                    self.feed(&Input::Timer { step, purpose, due });
                }
            }
            Input::Approval { step, verdict, actor, reason, .. } => {
                let asked = self.run.approvals.contains_key(&step);
                let answer = Input::Approval { step, verdict, action: None, actor, reason };
                // What follows from it comes before the calls that got their slots in the same commit.
                if asked {
                    self.feed(&answer);
                } else {
                    self.answers.push(answer);
                }
            }
            Input::Unknown { steps, doubt } => {
                let same = |step: &StepPath| {
                    let task = self.recorded.tasks.get(step);
                    task.is_some_and(|task| called(&self.run, step, task.spec.call))
                };
                let steps: Vec<_> = steps.into_iter().filter(same).collect();
                if !steps.is_empty() {
                    self.feed(&Input::Unknown { steps, doubt });
                }
            }
            Input::Journal { ref step, .. } => {
                let call = |run: &Run| run.tasks.get(step).map(|task| task.spec.call);
                if call(&self.run).is_some() && call(&self.run) == call(&self.recorded) {
                    self.feed(&input);
                }
            }
            Input::Child { step, end, account, .. } => self.child_ended(step, end, account),
            Input::Granted { steps } => self.granted(steps),
            // A sign of life is no outcome.
            Input::Continue => self.went_on(),
            Input::Heartbeat(_) => {}
            other => {
                self.feed(&other);
            }
        }
    }

    /// The end of a recorded child: for the same step, if that started the same flow with the same input.
    fn child_ended(&mut self, step: StepPath, end: ChildEnd, account: ChildAccount) {
        let child = |run: &Run| {
            let spec = &run.children.get(&step)?.spec;
            Some((spec.flow.hash, spec.input.clone(), spec.detached))
        };
        let same = child(&self.run) == child(&self.recorded);
        // In a fork it has another id.
        if let Some(child) = self.run.children.get(&step).filter(|_| same) {
            let run = child.run;
            self.feed(&Input::Child { step, run, end, account });
        }
    }

    fn start(&mut self, mut started: RunStarted) {
        if let Some(schema) = self.changed.flow.input.as_ref().map(Schema::compile) {
            let value = match &started.input {
                Data::Json(value) => Some(Arc::clone(value)),
                Data::Blob(blob) => self.blobs.value(*blob),
            };
            let misfit = schema.ok().zip(value).and_then(|(schema, value)| {
                schema.violations(&value).first().map(ToString::to_string)
            });
            if let Some(why) = misfit {
                return self.stop(format!("its input does not fit the flow: {why}"));
            }
        }
        started.flow = self.changed.pin.clone();
        if !self.feed(&Input::Start(Box::new(started))) {
            self.stop("the flow does not start with its input");
        }
    }

    /// An outcome of the recorded run: for the same step if that asked for this call, else for another that did.
    fn outcome(&mut self, step: &StepPath, call: Hash, given: (Option<u32>, TaskResult)) {
        self.passed(step, call);
        let (attempt, result) = given;
        // An outcome that was taken from elsewhere, or told by a person, is that of all tries.
        let taken = attempt.is_none();
        let own = self.run.tasks.get(step).filter(|task| task.spec.call == call);
        if let Some(task) = own {
            let attempt = attempt.unwrap_or(task.attempt);
            let outcome = Outcome { step: step.clone(), attempt, call, result: result.clone() };
            if self.feed(&Input::Outcome(outcome)) {
                if taken {
                    self.fail_for_good(step, call, &result);
                }
                return;
            }
        }
        let asks = |(other, task): &(&StepPath, &Arc<Task>)| {
            task.phase == TaskPhase::Called && task.spec.call == call && !self.awaits(other, call)
        };
        let other = self.run.tasks.iter().find(asks);
        match other.map(|(step, task)| (step.clone(), task.attempt)) {
            Some((step, attempt)) => {
                self.feed(&Input::Outcome(Outcome { step, attempt, call, result }));
            }
            None => self.spare.entry(call).or_default().push_back(result),
        }
    }

    /// Uses up the tries of a step with one failure.
    fn fail_for_good(&mut self, step: &StepPath, call: Hash, result: &TaskResult) {
        while let Some(due) = self.run.timers.due(step, Purpose::Retry) {
            self.now = self.now.max(due);
            let timer = Input::Timer { step: step.clone(), purpose: Purpose::Retry, due };
            let attempt = self.run.tasks.get(step).map_or(1, |task| task.attempt);
            let outcome = Outcome { step: step.clone(), attempt, call, result: result.clone() };
            if !self.more(&timer) || !self.more(&Input::Outcome(outcome)) {
                return;
            }
        }
    }

    fn passed(&mut self, step: &StepPath, call: Hash) {
        if let Some(left) = self.outcomes.coming.get_mut(&(step.clone(), call)) {
            *left = left.saturating_sub(1);
        }
    }

    /// Whether the recorded run has an outcome to come for this call of this step, or none so far itself.
    fn awaits(&self, step: &StepPath, call: Hash) -> bool {
        let coming = self.outcomes.coming.get(&(step.clone(), call)).is_some_and(|left| *left > 0);
        coming || self.outcomes.open.get(step) == Some(&call)
    }

    /// Gives what is at hand to the tasks that were opened, until nothing more follows.
    fn settle(&mut self) {
        loop {
            if let Some(place) = self.answers.iter().position(|input| {
                matches!(input, Input::Approval { step, .. } if self.run.approvals.contains_key(step))
            }) {
                let input = self.answers.remove(place);
                self.feed(&input);
                continue;
            }
            let Some(step) = self.opened.pop_front() else { return };
            let Some(task) = self.run.tasks.get(&step).cloned() else { continue };
            let (call, attempt) = (task.spec.call, task.attempt);
            if task.phase != TaskPhase::Called || self.awaits(&step, call) {
                continue;
            }
            let spare = self.spare.get_mut(&call).and_then(VecDeque::pop_front);
            let result = spare.or_else(|| match task.spec.class {
                EffectClass::Pure => (self.changed.pure)(&task.spec, &*self.blobs),
                _ => None,
            });
            if let Some(result) = result {
                let result = self.kept(result);
                self.more(&Input::Outcome(Outcome { step, attempt, call, result }));
            }
        }
    }

    /// A result as the log would have it: large outputs are blobs.
    fn kept(&mut self, result: TaskResult) -> TaskResult {
        let TaskResult::Succeeded { output: Data::Json(value), artifacts, truncated } = result
        else {
            return result;
        };
        let text = canonical::to_vec(&value);
        let mut output = Data::Json(Arc::clone(&value));
        if text.len() > limits::INLINE_BYTES {
            let address = blob_address(self.changed.salt, &text);
            output = Data::Blob(address);
            if !self.blobs.keep(vec![NewBlob { address, bytes: Bytes::from(text), value }]) {
                self.stop(TOO_LARGE);
            }
        }
        TaskResult::Succeeded { output, artifacts, truncated }
    }

    /// Timers that only the other flow has, or has earlier, come due by themselves.
    fn timers_of_its_own(&mut self) {
        while let Some((due, step, purpose)) = self.due_of_its_own() {
            if matches!(purpose, Purpose::Attempt | Purpose::Heartbeat) {
                // Nobody knows what the call would have done had it been given up.
                return self.stop(format!("the call of '{step}' took longer than it may now"));
            }
            if !self.more(&Input::Timer { step, purpose, due }) {
                return;
            }
            self.settle();
        }
    }

    fn due_of_its_own(&self) -> Option<(Millis, StepPath, Purpose)> {
        let mut due = self.run.timers.iter().take_while(|(due, ..)| *due <= self.now);
        let own = due.find(|(due, step, purpose)| {
            let recorded = self.recorded.timers.due(step, *purpose);
            match purpose {
                // A call that was not recorded is not given up: it is told that it is missing.
                Purpose::Attempt | Purpose::Heartbeat => {
                    recorded.is_some_and(|then| then > *due) && self.is_given_less_time(step)
                }
                _ => self.run.fires(*purpose) && recorded.is_none_or(|then| then > *due),
            }
        });
        own.map(|(due, step, purpose)| (due, step.clone(), purpose))
    }

    /// Whether the other flow gives a call that was recorded less time than it had.
    fn is_given_less_time(&self, step: &StepPath) -> bool {
        let spec = |run: &Run| run.tasks.get(step).map(|task| Arc::clone(&task.spec));
        let (Some(now), Some(then)) = (spec(&self.run), spec(&self.recorded)) else { return false };
        let earlier =
            |new: Option<u64>, old: Option<u64>| new.is_some() && (old.is_none() || new < old);
        now.call == then.call
            && (now.timeout_ms < then.timeout_ms || earlier(now.heartbeat_ms, then.heartbeat_ms))
    }

    /// Beyond the end of the recorded run: what follows by itself.
    fn go_on(&mut self) {
        self.outcomes.called.clear();
        self.rests = false;
        self.continues();
        let ready = self.run.ready().map(|(step, _)| step.clone()).collect();
        self.granted(ready);
        self.settle();
        while !self.run.closed() && self.untold.is_none() {
            let next = self.run.timers.iter().find_map(|(due, step, purpose)| {
                matches!(purpose, Purpose::Sleep | Purpose::Retry)
                    .then(|| (due, step.clone(), purpose))
            });
            let Some((due, step, purpose)) = next else { return };
            self.now = self.now.max(due);
            if !self.more(&Input::Timer { step, purpose, due }) {
                return;
            }
            self.settle();
        }
    }

    /// An input that was not recorded.
    fn more(&mut self, input: &Input) -> bool {
        self.beyond += 1;
        if self.beyond > limits::BACKTEST_INPUTS {
            self.stop("the flow goes on for longer than is followed");
            return false;
        }
        self.feed(input)
    }

    /// Decides an input by the other flow; whether anything came of it.
    fn feed(&mut self, input: &Input) -> bool {
        if !self.turn(input) {
            return false;
        }
        self.continues();
        true
    }

    /// The recorded run went on with what a turn left for the next one.
    fn went_on(&mut self) {
        if self.run.more {
            self.turn(&Input::Continue);
        }
        self.continues();
    }

    /// Goes on with what a turn left for the next one, unless the recorded run did not go on either: something else
    /// may have come between.
    fn continues(&mut self) {
        while self.run.more && !self.rests && self.turn(&Input::Continue) {}
    }

    fn turn(&mut self, input: &Input) -> bool {
        if self.untold.is_some() {
            return false;
        }
        let mut world = World {
            now: self.now,
            salt: self.changed.salt,
            gate: &mut Slots { outcomes: &self.outcomes, now: &self.calls, taken: &self.taken },
            blobs: Arc::clone(&self.blobs) as _,
        };
        match decide(&self.run, &self.changed.flow, input, &mut world) {
            Decision::Turn(turn) => {
                for (seq, event) in (self.run.events + 1..).zip(&turn.events) {
                    self.comparison.take(Side::Right, seq, event);
                }
                for (step, call) in intents(&turn.events) {
                    if let Some(calls) = self.outcomes.called.get_mut(&(step.clone(), call)) {
                        calls.made += 1;
                    }
                }
                self.run = turn.run;
                self.opened.extend(turn.open);
                if !self.blobs.keep(turn.blobs) {
                    self.stop(TOO_LARGE);
                }
                true
            }
            Decision::Nothing => false,
            Decision::Refused(Problem { what, .. }) => {
                if matches!(input, Input::Start(_)) {
                    self.stop(what);
                }
                false
            }
            Decision::Need(blobs) => {
                let first = blobs.first().map(|blob| blob.blob.short()).unwrap_or_default();
                self.stop(format!("blob {first}… of it can't be read"));
                false
            }
        }
    }

    fn stop(&mut self, why: impl Into<String>) {
        self.untold.get_or_insert_with(|| why.into());
    }

    /// What the run by the other flow waits for.
    fn needs(&self) -> Vec<Lack> {
        if self.run.closed() {
            return Vec::new();
        }
        let calls = self.run.tasks.iter().filter(|(_, task)| task.phase != TaskPhase::Held);
        let calls = calls
            .map(|(step, task)| (step, Lacking::Call(task.spec.tool.clone(), task.spec.class)));
        let signals =
            self.run.waits.iter().map(|(step, name)| (step, Lacking::Signal(name.clone())));
        let answers = self.run.approvals.iter().map(|(step, _)| (step, Lacking::Answer));
        let children = self.run.children.iter();
        let children =
            children.map(|(step, child)| (step, Lacking::Child(child.spec.flow.name.clone())));
        let all = calls.chain(signals).chain(answers).chain(children);
        all.take(limits::BACKTEST_NEEDS)
            .map(|(step, what)| Lack { step: step.clone(), what })
            .collect()
    }
}

/// The call of an event with which it need not wait for a slot any more.
fn intent(event: &Event) -> Option<(&StepPath, Hash)> {
    let step = event.step.as_ref()?;
    match &event.body {
        EventBody::ToolCalled(data) => Some((step, data.call)),
        EventBody::EffectReused(data) => Some((step, data.call)),
        EventBody::EffectWithheld(data) => Some((step, data.call)),
        _ => None,
    }
}

/// The calls that a commit intends.
fn intents(events: &[Event]) -> impl Iterator<Item = (&StepPath, Hash)> {
    events.iter().filter_map(intent)
}

/// The outcome of another run that an event says was taken, by step and call.
fn taken(event: &Event) -> Option<((StepPath, Hash), Taken)> {
    let EventBody::EffectReused(data) = &event.body else { return None };
    let (outcome, truncated) = (data.outcome.clone(), data.truncated);
    Some(((event.step.clone()?, data.call), Taken { from: data.from?, outcome, truncated }))
}

/// What a person said of the call with this key.
fn said_of(key: Hash, said: Input) -> Input {
    match said {
        Input::Settle { outcome, actor, reason, .. } => {
            Input::Settle { key, outcome, actor, reason }
        }
        other => other,
    }
}

/// Whether a run has asked for this call at this step, and has no outcome of it.
fn called(run: &Run, step: &StepPath, call: Hash) -> bool {
    run.tasks
        .get(step)
        .is_some_and(|task| task.phase == TaskPhase::Called && task.spec.call == call)
}
