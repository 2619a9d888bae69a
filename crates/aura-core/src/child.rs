//! Runs that belong together: a parent with its children, and a run with the one that goes on in its place.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::budget::{Amounts, Budget};
use crate::data::Data;
use crate::error::Failure;
use crate::event::FlowPin;
use crate::hash::Hash;
use crate::id::RunId;
use crate::path::StepPath;
use crate::saga::Planned;

/// The run that started a run, in `run.started` of the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Parent {
    /// The parent.
    #[n(0)]
    pub run: RunId,
    /// Its step.
    #[n(1)]
    pub step: StepPath,
    /// The run at the top of the tree, which performs it; the run itself where it is detached.
    #[n(2)]
    pub root: RunId,
    /// Runs above this one, at most [`crate::limits::CHILD_DEPTH`].
    #[n(3)]
    pub depth: u32,
    /// Whether the parent neither waits for it nor cancels it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[n(4)]
    pub detached: bool,
    /// What the parent set aside for it and for those that go on in its place; absent where nothing limits it, and in
    /// runs that do not count for their parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(5)]
    pub budget: Option<Budget>,
}

/// A child run that a step starts, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ChildSpec {
    /// Its id, which follows from the parent's seed and the step.
    #[n(0)]
    pub run: RunId,
    /// Its flow, from the bundle of the parent.
    #[n(1)]
    pub flow: FlowPin,
    /// Its input.
    #[n(2)]
    pub input: Data,
    /// Whether the parent neither waits for it nor cancels it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[n(3)]
    pub detached: bool,
    /// What it may use up: set aside by the parent, or, where it is detached, limits of its own. Absent where nothing
    /// but its own flow limits it, and in runs that do not count for their parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(4)]
    pub budget: Option<Budget>,
}

/// How a child run ended, as its parent is told.
#[derive(Debug, Clone, PartialEq)]
pub enum ChildEnd {
    /// Well, with this output.
    Completed(Data),
    /// In failure.
    Failed(Failure),
    /// By cancellation.
    Cancelled,
    /// This run goes on in its place.
    Continued(RunId),
}

/// What a child leaves to its parent when it ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChildAccount {
    /// What it used, its own children included; `None` where that does not count for the parent.
    pub used: Option<Amounts>,
    /// What undoes its steps, those that ended first in front.
    pub undo: Vec<Planned>,
}

/// Data of `child.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ChildCompleted {
    /// The child.
    #[n(0)]
    pub run: RunId,
    /// Its output.
    #[n(1)]
    pub output: Data,
    /// What it used, its own children included; absent where that does not count for the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub used: Option<Amounts>,
    /// What undoes its steps, those that ended first in front; in the place of a step that it could not undo itself,
    /// why. Paths are those of the child.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(3)]
    #[cbor(default)]
    pub undo: Vec<Planned>,
}

/// Data of `child.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ChildFailed {
    /// The child.
    #[n(0)]
    pub run: RunId,
    /// Why.
    #[n(1)]
    pub error: Failure,
    /// What it used, as in [`ChildCompleted`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub used: Option<Amounts>,
    /// What undoes its steps, as in [`ChildCompleted`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(3)]
    #[cbor(default)]
    pub undo: Vec<Planned>,
}

/// Data of `child.cancelled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ChildCancelled {
    /// The child.
    #[n(0)]
    pub run: RunId,
    /// What it used, as in [`ChildCompleted`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub used: Option<Amounts>,
    /// What undoes its steps, as in [`ChildCompleted`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(2)]
    #[cbor(default)]
    pub undo: Vec<Planned>,
}

/// Data of `child.continued`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ChildContinued {
    /// The child that ended.
    #[n(0)]
    pub run: RunId,
    /// The child that goes on in its place.
    #[n(1)]
    pub next: RunId,
    /// What it used, as in [`ChildCompleted`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub used: Option<Amounts>,
    /// What undoes its steps, as in [`ChildCompleted`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(3)]
    #[cbor(default)]
    pub undo: Vec<Planned>,
}

/// Data of `child.cancelling`: the parent asks its child to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChildCancelling {
    /// The child.
    #[n(0)]
    pub run: RunId,
    /// Why.
    #[n(1)]
    pub reason: String,
}

/// Data of `run.continued`: this run ends, and another goes on in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct RunContinued {
    /// The run that goes on; its id follows from the seed of this one.
    #[n(0)]
    pub next: RunId,
    /// What it starts with.
    #[n(1)]
    pub input: Data,
}

/// What the child of a step derives from: its id, its seed and its salt.
pub fn child_seed(seed: Hash, step: &StepPath) -> Hash {
    Hash::of_parts(&[&seed.0, b"child", step.as_str().as_bytes()])
}

/// What the run that goes on in the place of another derives from.
pub fn next_seed(seed: Hash) -> Hash {
    Hash::of_parts(&[&seed.0, b"continue"])
}
