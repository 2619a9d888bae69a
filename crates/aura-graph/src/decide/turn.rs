//! A turn in the making: the copy of the state, the events so far, and the places that may go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aura_core::canonical;
use aura_core::commit::Cause;
use aura_core::data::{BlobRef, Data, blob_address};
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::{Event, EventBody};
use aura_core::hash::Hash;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::time::Millis;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Decision, NewBlob, Turn, View, World, messages};
use crate::definition::{Body, Flow, Node};
use crate::expr::{BlobLookup, Context, EvalError};
use crate::state::{self, Run, fold};
use crate::val::Val;

/// Why a turn ends before it made anything.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nothing to commit.
    Nothing,
    /// The input can't be taken.
    Refused(Box<Problem>),
    /// Blobs are needed.
    Need(Vec<BlobRef>),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

/// The result of a part of a turn.
pub(super) type Step<T = ()> = Result<T, Stop>;

/// The result of evaluating something: a value, or the failure that its step has.
pub(super) type Evaluated<T> = Result<Result<T, Failure>, Stop>;

/// A place that may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// Nodes of this body.
    Body(StepPath),
    /// The bodies of this step.
    Step(StepPath),
    /// What undoes the run.
    Compensate,
}

pub(super) struct Work<'a, 'w> {
    pub(super) run: Arc<Run>,
    pub(super) flow: &'a Arc<Flow>,
    pub(super) world: &'a mut World<'w>,
    pub(super) now: Millis,
    pub(super) open: Vec<StepPath>,
    pub(super) jobs: VecDeque<Job>,
    /// Steps whose outcome was had by another run, whose it is to undo what they did.
    pub(super) borrowed: BTreeSet<StepPath>,
    events: Vec<Event>,
    pub(super) full: bool,
    transitions: usize,
    kept: usize,
    blobs: Vec<NewBlob>,
    overlay: Arc<Overlay>,
}

/// The surroundings' blobs and those that this turn makes.
struct Overlay {
    below: Arc<dyn BlobLookup>,
    own: Mutex<BTreeMap<BlobRef, Arc<Value>>>,
}

impl BlobLookup for Overlay {
    fn value(&self, blob: BlobRef) -> Option<Arc<Value>> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.get(&blob).cloned().or_else(|| self.below.value(blob))
    }
}

impl<'a, 'w> Work<'a, 'w> {
    pub(super) fn new(run: &Arc<Run>, flow: &'a Arc<Flow>, world: &'a mut World<'w>) -> Self {
        let overlay = Overlay { below: Arc::clone(&world.blobs), own: Mutex::default() };
        let now = world.now.max(run.at);
        Self {
            run: Arc::clone(run),
            flow,
            world,
            now,
            open: Vec::new(),
            jobs: VecDeque::new(),
            borrowed: BTreeSet::new(),
            events: Vec::new(),
            full: false,
            transitions: 0,
            kept: 0,
            blobs: Vec::new(),
            overlay: Arc::new(overlay),
        }
    }

    pub(super) fn finish(mut self, input: &Input) -> Decision {
        if self.events.is_empty() {
            return Decision::Nothing;
        }
        let cause = match input {
            Input::Granted { .. } => Cause::Granted,
            Input::Continue => Cause::Continue,
            _ => Cause::Events,
        };
        let more = self.full;
        Arc::make_mut(&mut self.run).more = more;
        let messages = messages::of(&self.run, &self.events);
        Decision::Turn(Box::new(Turn {
            events: self.events,
            cause,
            more,
            run: self.run,
            open: self.open,
            blobs: self.blobs,
            messages,
        }))
    }

    /// Makes a fact of a step and folds it.
    pub(super) fn emit(&mut self, step: &StepPath, body: EventBody) -> Step {
        self.push(Event { step: Some(step.clone()), attempt: None, body })
    }

    /// Makes a fact of an attempt and folds it.
    pub(super) fn emit_attempt(&mut self, step: &StepPath, attempt: u32, body: EventBody) -> Step {
        self.push(Event { step: Some(step.clone()), attempt: Some(attempt), body })
    }

    /// Makes a fact of the run and folds it.
    pub(super) fn emit_run(&mut self, body: EventBody) -> Step {
        self.push(Event { step: None, attempt: None, body })
    }

    fn push(&mut self, mut event: Event) -> Step {
        if let Some(hash) = state::after(&self.run, &event) {
            set_state(&mut event.body, hash);
        }
        fold(Arc::make_mut(&mut self.run), self.now, &event).map_err(|e| {
            Stop::from(Problem::new(Code::Internal, format!("a decision contradicts itself: {e}")))
        })?;
        self.events.push(event);
        Ok(())
    }

    /// Counts a transition; `false` when the turn has made as many as it may. Only what is asked for is counted, so
    /// that a turn which stops here has something left to do in the next one.
    pub(super) fn spend(&mut self) -> bool {
        self.full = self.transitions >= limits::TURN_TRANSITIONS || self.kept >= limits::TURN_BYTES;
        self.transitions += 1;
        !self.full
    }

    pub(super) fn later(&mut self, job: Job) {
        if !self.jobs.contains(&job) {
            self.jobs.push_back(job);
        }
    }

    /// The value as the log keeps it: large ones become blobs of the store's table.
    ///
    /// # Errors
    /// The value is deeper or larger than the log takes.
    pub(super) fn keep(&mut self, value: Value) -> Result<Data, Failure> {
        if canonical::deeper_than(&value, limits::VALUE_NESTING) {
            let message = format!("a value is nested deeper than {}", limits::VALUE_NESTING);
            return Err(Failure::certain(Code::LimitExceeded, message));
        }
        self.keep_within(value, limits::INLINE_BYTES)
    }

    /// The same, with another bound on what stays in place.
    pub(super) fn keep_within(&mut self, value: Value, inline: usize) -> Result<Data, Failure> {
        let text = canonical::to_vec(&value);
        self.kept += text.len();
        if text.len() <= inline {
            return Ok(Data::from(value));
        }
        if text.len() > limits::BLOB_TABLE_BYTES {
            let message = format!("a value is above {} bytes", limits::BLOB_TABLE_BYTES);
            return Err(Failure::certain(Code::LimitExceeded, message));
        }
        let address = blob_address(self.world.salt, &text);
        // What later expressions see is what the blob gives back, not what it was made from: the canonical text has
        // one form for 1 and 1.0.
        let value: Arc<Value> = Arc::new(serde_json::from_slice(&text).unwrap_or(value));
        let mut own = self.overlay.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.insert(address, Arc::clone(&value)).is_none() {
            self.blobs.push(NewBlob { address, bytes: Bytes::from(text), value });
        }
        Ok(Data::Blob(address))
    }

    /// A value that somebody sends, as the log keeps it.
    pub(super) fn take_in(&mut self, data: &Data) -> Step<Data> {
        match data {
            Data::Blob(_) => Ok(data.clone()),
            Data::Json(value) => self.keep(Value::clone(value)).map_err(|failure| {
                Problem::new(failure.code, failure.message).next("send less, or a reference").into()
            }),
        }
    }

    /// A value of the state as the log keeps it, gathered if it must be. One that is too large to be gathered is
    /// told by its size: its parts are in the log already.
    pub(super) fn keep_val(&mut self, val: &Val) -> Step<Data> {
        if let Val::Data(data) = val {
            return Ok(data.clone());
        }
        let too_large = |bytes: u64| Data::from(json!({ "truncated": true, "bytes": bytes }));
        let bytes = val.blob_bytes();
        if bytes > limits::BLOB_TABLE_BYTES as u64 {
            return Ok(too_large(bytes));
        }
        let value = self.gather(val)?;
        let bytes = canonical::to_vec(&value).len() as u64;
        Ok(self.keep(value).unwrap_or_else(|_| too_large(bytes)))
    }

    /// The whole value of something gathered.
    pub(super) fn gather(&self, val: &Val) -> Step<Value> {
        let mut missing = Vec::new();
        let value = val.to_json(&|blob| self.overlay.value(blob), &mut missing);
        if missing.is_empty() { Ok(value) } else { Err(Stop::Need(missing)) }
    }

    /// The value of data, from the blobs at hand if it must be.
    pub(super) fn json(&self, data: &Data) -> Step<Arc<Value>> {
        match data {
            Data::Json(value) => Ok(Arc::clone(value)),
            Data::Blob(blob) => self.overlay.value(*blob).ok_or_else(|| Stop::Need(vec![*blob])),
        }
    }

    /// What expressions of a node in `body` see.
    pub(super) fn context(&self, body: &StepPath) -> Context {
        self.context_with(View::new(&self.run, self.flow, body))
    }

    pub(super) fn context_with(&self, view: View) -> Context {
        Context::new(Arc::new(view), Arc::clone(&self.overlay) as Arc<dyn BlobLookup>)
    }

    /// The definition of a body.
    pub(super) fn body_def(&self, body: &StepPath) -> Step<Arc<Body>> {
        self.flow.body_at(body).cloned().ok_or_else(|| unknown_place(body))
    }

    /// The definition of a step's node, with its place in its list.
    pub(super) fn node_def(&self, step: &StepPath) -> Step<(Arc<Body>, usize)> {
        let body = self.body_def(&step.parent().unwrap_or_else(StepPath::root))?;
        let place = step.last().and_then(|segment| body.index.get(segment.id)).copied();
        let place = place.ok_or_else(|| unknown_place(step))?;
        Ok((body, place))
    }
}

fn unknown_place(path: &StepPath) -> Stop {
    Stop::from(Problem::new(Code::Internal, format!("the flow has no place '{path}'")))
}

impl Flow {
    /// The body that a path names.
    pub fn body_at(&self, path: &StepPath) -> Option<&Arc<Body>> {
        let mut body = &self.body;
        for segment in path.segments() {
            body = body.node(segment.id)?.kind.body(segment.key?)?;
        }
        Some(body)
    }

    /// The node that a path names.
    pub fn node_at(&self, path: &StepPath) -> Option<&Node> {
        self.body_at(&path.parent()?)?.node(path.last()?.id)
    }
}

/// Turns an evaluation into a value or the failure of its step; missing blobs end the turn.
pub(super) fn evaluated<T>(result: Result<T, EvalError>) -> Evaluated<T> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(EvalError::Failed(failure)) => Ok(Err(failure)),
        Err(EvalError::Need(blobs)) => Err(Stop::Need(blobs)),
    }
}

fn set_state(body: &mut EventBody, hash: Hash) {
    match body {
        EventBody::RunForked(data) => data.state = hash,
        EventBody::RunCompleted(data) => data.state = hash,
        EventBody::RunFailed(data) => data.state = hash,
        EventBody::StepCompleted(data) => data.state = hash,
        EventBody::StepFailed(data) => data.state = hash,
        EventBody::StepSkipped(data) => data.state = hash,
        _ => {}
    }
}
