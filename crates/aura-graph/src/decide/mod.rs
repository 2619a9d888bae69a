//! `decide`: what an input leads to. A plain function of state, flow, input and time.
//!
//! It works on a copy of the state and folds each event into it as it is made, so that later choices of a turn see
//! earlier ones. It asks two things of its surroundings: whether an effect may start now, and for values of blobs.

mod advance;
mod answer;
mod approvals;
mod begin;
mod budget;
mod children;
mod code;
mod compensate;
mod fork;
mod messages;
mod probe;
mod settle;
mod share;
mod stop;
mod tasks;
mod turn;
mod view;

use std::sync::Arc;

use aura_core::commit::Cause;
use aura_core::data::BlobRef;
use aura_core::error::Problem;
use aura_core::event::{Event, Settlement};
use aura_core::fork::{EffectReused, Origin, Withheld};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::path::StepPath;
use aura_core::task::TaskSpec;
use aura_core::time::Millis;
use bytes::Bytes;
use serde_json::Value;

use crate::definition::Flow;
use crate::expr::BlobLookup;
use crate::state::Run;

pub use messages::{child_started, end_message, next_started, pause_message, resume_message};
pub use view::View;

/// Whether an effect may start in this turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Grant {
    /// It is allowed and a slot is held for it: the intent is part of this commit.
    Go,
    /// Not now: `Input::Granted` comes later.
    Wait,
    /// The call is not made: one with the same key gave this.
    Reuse(Taken),
}

/// Asked for each effect that is ready to start.
pub trait Gate {
    /// Whether it may start in this turn.
    fn grant(&mut self, step: &StepPath, spec: &TaskSpec) -> Grant;

    /// What a fork that reuses outcomes takes for it. Only asked for such forks; who knows no parent answers later.
    fn reuse(&mut self, _step: &StepPath, _spec: &TaskSpec) -> Reuse {
        Reuse::Later
    }
}

/// What a fork takes for an effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Reuse {
    /// This outcome.
    Take(Taken),
    /// Nothing; a person must say.
    Withhold(Withheld),
    /// Not now: `Input::Granted` comes later.
    Later,
}

/// An outcome of another run.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Whose it is.
    pub from: Origin,
    /// The outcome, which is not a wish to try again.
    pub outcome: Settlement,
    /// Whether the output was cut to its limit.
    pub truncated: bool,
}

impl Taken {
    /// What is recorded of it for a call.
    pub(crate) fn of(self, spec: &TaskSpec) -> EffectReused {
        let Self { from, outcome, truncated } = self;
        EffectReused { call: spec.call, key: spec.key, from: Some(from), outcome, truncated }
    }
}

/// What a decision may know of its surroundings.
pub struct World<'a> {
    /// The time, never before that of the last commit.
    pub now: Millis,
    /// What addresses of blobs are salted with.
    pub salt: Hash,
    /// Answers for effects.
    pub gate: &'a mut dyn Gate,
    /// Values of blobs.
    pub blobs: Arc<dyn BlobLookup>,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).finish_non_exhaustive()
    }
}

/// What an input leads to.
#[derive(Debug)]
pub enum Decision {
    /// Commit this.
    Turn(Box<Turn>),
    /// The input is late, came twice or asks for what is already so: nothing to commit.
    Nothing,
    /// The input can't be taken; its sender is told why.
    Refused(Problem),
    /// Values of blobs are needed: nothing was changed; present the same input and time again with them.
    Need(Vec<BlobRef>),
}

/// Everything that one input decides.
#[derive(Debug)]
pub struct Turn {
    /// The facts, the input first.
    pub events: Vec<Event>,
    /// Which input it was, if no event says so.
    pub cause: Cause,
    /// Whether the turn reached its limit and asks for `Continue`.
    pub more: bool,
    /// The state after them.
    pub run: Arc<Run>,
    /// Steps whose attempt may be handed to a performer when the commit is durable, in order.
    pub open: Vec<StepPath>,
    /// Values that became blobs of the store's table.
    pub blobs: Vec<NewBlob>,
    /// Inputs of other runs that follow from the facts, in order. A start is the first input of a run that is not
    /// there yet; it belongs into the same group as this turn's commit. The others may come later, or twice.
    pub messages: Vec<(RunId, Input)>,
}

/// A value that became a blob.
#[derive(Debug, Clone)]
pub struct NewBlob {
    /// Its address.
    pub address: BlobRef,
    /// Its canonical JSON text.
    pub bytes: Bytes,
    /// The value.
    pub value: Arc<Value>,
}

/// Decides what an input leads to.
pub fn decide(run: &Arc<Run>, flow: &Arc<Flow>, input: &Input, world: &mut World<'_>) -> Decision {
    let mut turn = turn::Work::new(run, flow, world);
    match turn.take(input) {
        Ok(()) => turn.finish(input),
        Err(turn::Stop::Nothing) => Decision::Nothing,
        Err(turn::Stop::Refused(problem)) => Decision::Refused(*problem),
        Err(turn::Stop::Need(blobs)) => Decision::Need(blobs),
    }
}
