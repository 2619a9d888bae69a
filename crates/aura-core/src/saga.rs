//! Compensations: the calls that undo completed steps when their run fails or is cancelled.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::cbor;
use crate::effect::EffectClass;
use crate::error::Failure;
use crate::hash::Hash;
use crate::path::StepPath;
use crate::task::TaskSpec;

/// What undoes a step, resolved when the step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(flat)]
pub enum Compensation {
    /// This call, at the step's path with `/compensate`.
    #[n(0)]
    Task(#[cbor(n(0), with = "cbor::shared")] Arc<TaskSpec>),
    /// Nothing: the step may have acted, but the call that would undo it could not be made.
    #[n(1)]
    Unable(#[n(0)] Failure),
}

/// What undoes one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct Planned {
    /// The step.
    #[n(0)]
    pub step: StepPath,
    /// How.
    #[n(1)]
    pub compensation: Compensation,
}

/// Data of `saga.started`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SagaStarted {
    /// Nodes of the flow that have a compensation.
    #[n(0)]
    pub nodes: u32,
}

/// Data of `run.compensating`: why the run ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct Compensating {
    /// The failure; absent where the run was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(0)]
    pub error: Option<Failure>,
    /// The step whose failure it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub step: Option<StepPath>,
}

/// Data of `compensation.started`. The arguments of the call are in the step's own end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct CompensationStarted {
    /// The tool.
    #[n(0)]
    pub tool: String,
    /// The class that governs doubt.
    #[n(1)]
    pub class: EffectClass,
    /// Hash of the call.
    #[n(2)]
    pub call: Hash,
    /// Idempotency key.
    #[n(3)]
    pub key: Hash,
}

/// Data of `compensation.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct CompensationFailed {
    /// Why; its tries are used up.
    #[n(0)]
    pub error: Failure,
}

/// What became of the compensations of a run that ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct SagaEnd {
    /// Steps that were compensated.
    #[n(0)]
    pub compensated: u64,
    /// Steps that could not be.
    #[n(1)]
    pub failed: u64,
    /// The first of those, at most [`crate::limits::UNCOMPENSATED_LISTED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(2)]
    pub uncompensated: Vec<Uncompensated>,
}

/// A step that could not be compensated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct Uncompensated {
    /// The step.
    #[n(0)]
    pub step: StepPath,
    /// Why.
    #[n(1)]
    pub error: Failure,
}
