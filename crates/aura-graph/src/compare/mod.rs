//! Comparing what two runs did: fact by fact, up to the first that differs.
//!
//! A *fact* is an event that says what a run did, without what follows from ids, keys, times, people and tries. Facts
//! of two runs are matched by name (what is told, of which step), so that branches that ended in another order are
//! no difference.

pub mod values;

use std::collections::BTreeMap;

use aura_core::canonical;
use aura_core::error::Failure;
use aura_core::event::{Event, EventBody, Output, Settlement, Work};
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::task::TaskSpec;
use serde_json::{Value, json};

/// An event with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// Its number in its run.
    pub seq: u64,
    /// The event.
    pub event: Event,
}

/// Where two runs part.
#[derive(Debug, Clone, PartialEq)]
pub struct Divergence {
    /// The event of the first run; absent where that has no such fact.
    pub left: Option<Numbered>,
    /// The event of the second run; absent where that has no such fact.
    pub right: Option<Numbered>,
}

/// One of the two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Left,
    /// The second.
    Right,
}

/// What a fact tells, and of what: at most one fact of a run has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    step: Option<StepPath>,
    of: &'static str,
    number: u32,
}

/// Turns the events of one run into facts.
#[derive(Debug, Default)]
struct Teller {
    /// The last outcome of each task that is not over.
    outcomes: BTreeMap<StepPath, Value>,
    /// Facts of one name so far, where there may be several.
    counts: BTreeMap<(Option<StepPath>, &'static str), u32>,
    /// Facts so far.
    told: u64,
}

impl Teller {
    fn fact(&mut self, event: &Event) -> Option<(Name, Hash)> {
        let (of, essence) = self.essence(event)?;
        let step = event.step.clone();
        let number = match of {
            "asked" | "answered" | "signal" => {
                let count = self.counts.entry((step.clone(), of)).or_default();
                *count += 1;
                *count
            }
            _ => 0,
        };
        self.told += 1;
        Some((Name { step, of, number }, Hash::of(&canonical::to_vec(&essence))))
    }

    /// What an event tells, and the part of it that two runs which do the same have in common.
    fn essence(&mut self, event: &Event) -> Option<(&'static str, Value)> {
        Some(match &event.body {
            EventBody::RunStarted(e) => ("run", json!([e.input, e.vars])),
            EventBody::RunCompleted(e) => ("end", json!(["completed", e.output])),
            EventBody::RunFailed(e) => ("end", json!(["failed", failure(&e.error), e.step])),
            EventBody::RunCancelled(_) => ("end", json!(["cancelled"])),
            EventBody::RunContinued(e) => ("goes on", json!(e.input)),
            EventBody::RunCancelling(_) => ("cancelling", Value::Null),
            EventBody::RunCompensating(e) => {
                ("compensating", json!([e.error.as_ref().map(failure), e.step]))
            }
            EventBody::StepStarted(e) => ("started", work(&e.work)),
            EventBody::StepSkipped(e) => ("started", json!(["skipped", e.reason, e.next])),
            EventBody::StepCompleted(e) => {
                let outcome = self.outcomes.remove(event.step.as_ref()?);
                let output = match (&e.output, outcome) {
                    (Output::Task, Some(outcome)) => outcome,
                    (output, _) => json!(output),
                };
                ("ended", json!(["completed", output, e.vars, e.last, e.next]))
            }
            EventBody::StepFailed(e) => {
                self.outcomes.remove(event.step.as_ref()?);
                ("ended", json!(["failed", failure(&e.error), e.then, e.next]))
            }
            EventBody::SignalReceived(e) => ("signal", json!([e.name, e.payload])),
            EventBody::ApprovalRequested(e) => {
                ("asked", json!([e.of, e.message, e.shows, e.roles, e.quorum]))
            }
            EventBody::ApprovalGranted(_) => ("answered", json!("granted")),
            EventBody::ApprovalDenied(_) => ("answered", json!("denied")),
            EventBody::CompensationStarted(e) => ("started", json!([e.tool])),
            EventBody::CompensationFailed(e) => ("ended", json!(["failed", failure(&e.error)])),
            EventBody::StepCompensated(_) => ("compensated", Value::Null),
            EventBody::ChildCompleted(e) => {
                self.outcomes.insert(event.step.clone()?, json!(e.output));
                return None;
            }
            body => {
                if let (Some(step), Some((outcome, _))) = (&event.step, outcome_of(body)) {
                    self.outcomes.insert(step.clone(), json!(outcome));
                }
                return None;
            }
        })
    }
}

/// The outcome of an effect that an event tells, and whether its output was cut.
pub fn outcome_of(body: &EventBody) -> Option<(Settlement, bool)> {
    Some(match body {
        EventBody::ToolCompleted(data) => {
            (Settlement::Succeeded(data.output.clone()), data.truncated)
        }
        EventBody::ToolFailed(data) => (Settlement::Failed(data.error.clone()), false),
        EventBody::EffectReconciled(data) => (data.outcome.clone(), false),
        EventBody::EffectSettled(data) => (data.outcome.clone(), false),
        EventBody::EffectReused(data) => (data.outcome.clone(), data.truncated),
        _ => return None,
    })
}

fn failure(failure: &Failure) -> Value {
    json!([failure.code, without_ids(&failure.message)])
}

/// A message without the ids of runs in it.
fn without_ids(message: &str) -> String {
    let is_id = |word: &str| {
        let dashes = word.bytes().enumerate().filter(|(_, byte)| *byte == b'-').map(|(at, _)| at);
        word.len() == 36 && dashes.eq([8, 13, 18, 23])
    };
    let word = |word: &'_ str| if is_id(word) { "id".to_owned() } else { word.to_owned() };
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn work(work: &Work) -> Value {
    let task = |spec: &TaskSpec| json!([spec.tool, spec.class, spec.args, spec.secrets]);
    match work {
        Work::Task(spec) => json!({ "task": task(spec) }),
        Work::Code(spec) => json!({ "code": task(spec) }),
        Work::Child(spec) => {
            json!({ "child": [spec.flow.name, spec.flow.hash, spec.input, spec.detached] })
        }
        other => json!(other),
    }
}

/// A fact that has not met its like yet.
#[derive(Debug)]
struct Waiting {
    /// Its place among the facts of its run.
    place: u64,
    essence: Hash,
    fact: Numbered,
}

/// Matches the facts of two runs while they are read.
#[derive(Debug, Default)]
pub struct Comparison {
    tellers: [Teller; 2],
    waiting: [BTreeMap<Name, Waiting>; 2],
    first: Option<(u64, Divergence)>,
    full: bool,
}

impl Comparison {
    /// A comparison of two runs of which nothing was read.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event of one side. Facts of the two sides should come in turns: what is too far from its like
    /// counts as another.
    pub fn take(&mut self, side: Side, seq: u64, event: &Event) {
        let (own, other) = match side {
            Side::Left => (0, 1),
            Side::Right => (1, 0),
        };
        let Some((name, essence)) = self.tellers[own].fact(event) else { return };
        let place = self.tellers[own].told;
        // What came before the first difference may still meet its like.
        if self.decided(place) && !self.waiting[other].contains_key(&name) {
            return;
        }
        let fact = Numbered { seq, event: event.clone() };
        match self.waiting[other].remove(&name) {
            Some(like) if like.essence == essence => {}
            Some(like) => {
                let (left, right) = if own == 0 { (fact, like.fact) } else { (like.fact, fact) };
                let divergence = Divergence { left: Some(left), right: Some(right) };
                self.found(place.min(like.place), divergence);
            }
            None => {
                self.waiting[own].insert(name, Waiting { place, essence, fact });
                let waiting = self.waiting[0].len().max(self.waiting[1].len());
                self.full |= waiting >= limits::COMPARE_WINDOW;
            }
        }
    }

    /// Whether nothing more can come before what was found; further events are of no use then.
    pub fn over(&self) -> bool {
        let told = self.tellers[0].told.min(self.tellers[1].told);
        let waits = |waiting: &Waiting| !self.decided(waiting.place);
        self.full || (self.decided(told) && !self.waiting.iter().any(|w| w.values().any(waits)))
    }

    fn decided(&self, place: u64) -> bool {
        self.full || self.first.as_ref().is_some_and(|(first, _)| *first <= place)
    }

    fn found(&mut self, place: u64, divergence: Divergence) {
        if self.first.as_ref().is_none_or(|(first, _)| place < *first) {
            self.first = Some((place, divergence));
        }
    }

    /// The first difference. A side that is not `whole` may go on: what only the other has is no difference.
    pub fn finish(mut self, whole: [bool; 2]) -> Option<Divergence> {
        let waiting = std::mem::take(&mut self.waiting);
        for (own, facts) in waiting.into_iter().enumerate() {
            if !whole[1 - own] && !self.full {
                continue;
            }
            if let Some(earliest) = facts.into_values().min_by_key(|waiting| waiting.place) {
                let (left, right) = match own {
                    0 => (Some(earliest.fact), None),
                    _ => (None, Some(earliest.fact)),
                };
                self.found(earliest.place, Divergence { left, right });
            }
        }
        self.first.map(|(_, divergence)| divergence)
    }
}
