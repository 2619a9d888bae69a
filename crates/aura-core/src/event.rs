//! Events: one fact each, typed, in the past tense.
//!
//! An event that opens work carries the work whole, and every choice is in an event, so that a state can be folded
//! from events alone: without the flow, without expressions, without a clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::budget::{Budget, BudgetExceeded, BudgetRaised, BudgetReserved, BudgetSettled};
use crate::cbor;
use crate::child::{
    ChildCancelled, ChildCancelling, ChildCompleted, ChildContinued, ChildFailed, ChildSpec,
    Parent, RunContinued,
};
use crate::data::{BlobRef, Data};
use crate::error::Failure;
use crate::fork::{EffectReused, EffectWithheld, RunForked};
use crate::hash::Hash;
use crate::id::RunId;
use crate::journal::JournalRecorded;
use crate::path::StepPath;
use crate::saga::{
    Compensating, Compensation, CompensationFailed, CompensationStarted, SagaEnd, SagaStarted,
};
use crate::task::{Artifact, Permissions, TaskSpec};
use crate::time::Millis;

pub use crate::people::{Answer, ApprovalMismatched, ApprovalRequested, SignalReceived};

/// A fact of a run. Its sequence number, time and stream are those of its place in its commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct Event {
    /// The step that it is about; absent for facts of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(0)]
    pub step: Option<StepPath>,
    /// The attempt that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub attempt: Option<u32>,
    /// What happened.
    #[serde(flatten)]
    #[n(2)]
    pub body: EventBody,
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $number:literal $variant:ident($data:ty) = $name:literal;)*) => {
        /// What happened, by dotted type in JSON and by number in stored payloads. A number is never used twice.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
        #[serde(tag = "type", content = "data")]
        #[cbor(flat)]
        pub enum EventBody {
            $($(#[$doc])* #[n($number)] #[serde(rename = $name)] $variant(#[n(0)] $data),)*
        }

        impl EventBody {
            /// Every type, in the order of this file.
            pub const TYPES: &'static [&'static str] = &[$($name),*];

            /// The dotted type.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }
        }
    };
}

bodies! {
    /// A run began.
    1 RunStarted(Box<RunStarted>) = "run.started";
    /// A run ended well.
    2 RunCompleted(RunCompleted) = "run.completed";
    /// A run ended in failure.
    3 RunFailed(RunFailed) = "run.failed";
    /// Somebody asked for a run to be cancelled.
    4 RunCancelling(Request) = "run.cancelling";
    /// A run ended because it was cancelled.
    5 RunCancelled(RunCancelled) = "run.cancelled";
    /// A run ended because another goes on in its place.
    41 RunContinued(RunContinued) = "run.continued";
    /// A step became ready; what it opens is in its work.
    6 StepStarted(Box<StepStarted>) = "step.started";
    /// A step, or a body of one, ended well.
    7 StepCompleted(StepCompleted) = "step.completed";
    /// A step, or a body of one, failed.
    8 StepFailed(StepFailed) = "step.failed";
    /// A step will be tried again.
    9 StepRetrying(StepRetrying) = "step.retrying";
    /// A step was passed over.
    10 StepSkipped(StepSkipped) = "step.skipped";
    /// A parent asks its child to stop.
    42 ChildCancelling(ChildCancelling) = "child.cancelling";
    /// A child ended well.
    43 ChildCompleted(ChildCompleted) = "child.completed";
    /// A child ended in failure.
    44 ChildFailed(ChildFailed) = "child.failed";
    /// A child ended by cancellation.
    45 ChildCancelled(ChildCancelled) = "child.cancelled";
    /// A child ended because another goes on in its place.
    46 ChildContinued(ChildContinued) = "child.continued";
    /// The intent of an effect: durable before the call.
    11 ToolCalled(ToolCalled) = "tool.called";
    /// An attempt did what was asked.
    12 ToolCompleted(ToolCompleted) = "tool.completed";
    /// An attempt certainly did not, or its class makes doubt harmless.
    13 ToolFailed(ToolFailed) = "tool.failed";
    /// It is not known whether an effect happened.
    14 EffectUnknown(EffectUnknown) = "effect.unknown";
    /// A probe looks whether an effect in doubt happened.
    39 ProbeStarted(ProbeStarted) = "probe.started";
    /// The outcome of an effect in doubt arrived after all, or a probe found it.
    15 EffectReconciled(EffectReconciled) = "effect.reconciled";
    /// A person said what became of an effect in doubt.
    16 EffectSettled(EffectSettled) = "effect.settled";
    /// Something is due later.
    17 TimerSet(Timer) = "timer.set";
    /// It came due.
    18 TimerFired(Timer) = "timer.fired";
    /// Somebody sent a signal.
    19 SignalReceived(SignalReceived) = "signal.received";
    /// A person is asked.
    20 ApprovalRequested(ApprovalRequested) = "approval.requested";
    /// A person said yes.
    21 ApprovalGranted(Answer) = "approval.granted";
    /// A person said no.
    22 ApprovalDenied(Answer) = "approval.denied";
    /// Nobody answered in time.
    23 ApprovalExpired(Empty) = "approval.expired";
    /// A verification was scored.
    24 VerificationCompleted(VerificationCompleted) = "verification.completed";
    /// A run made a lasting thing.
    25 ArtifactCreated(ArtifactCreated) = "artifact.created";
    /// A call was refused because a root, address or rule does not allow it.
    26 PolicyViolation(PolicyViolation) = "policy.violation";
    /// A run that failed or was cancelled has nothing in flight any more and undoes what it did.
    27 RunCompensating(Compensating) = "run.compensating";
    /// A run began whose flow has compensations.
    28 SagaStarted(SagaStarted) = "saga.started";
    /// The compensation of a step is about to be tried; its path is the step's with `/compensate`.
    29 CompensationStarted(CompensationStarted) = "compensation.started";
    /// The compensation of a step failed for good.
    30 CompensationFailed(CompensationFailed) = "compensation.failed";
    /// A step was undone.
    31 StepCompensated(Empty) = "step.compensated";
    /// Somebody asked for a run to start nothing new for now.
    32 RunPaused(Request) = "run.paused";
    /// Somebody asked for a paused run to go on.
    33 RunResumed(Request) = "run.resumed";
    /// An attempt told that it is alive.
    34 ActivityHeartbeat(ActivityHeartbeat) = "activity.heartbeat";
    /// A call is not the one that was approved; it is held back and asked about again.
    35 ApprovalMismatched(ApprovalMismatched) = "approval.mismatched";
    /// A run left another one, whose beginning it shares.
    36 RunForked(Box<RunForked>) = "run.forked";
    /// A fork took an outcome that was had before, instead of calling.
    37 EffectReused(Box<EffectReused>) = "effect.reused";
    /// A fork does not call, and has no outcome: a person must say.
    38 EffectWithheld(EffectWithheld) = "effect.withheld";
    /// A function asked for something from outside.
    40 JournalRecorded(JournalRecorded) = "journal.recorded";
    /// What a call may cost is set aside, before its intent.
    47 BudgetReserved(BudgetReserved) = "budget.reserved";
    /// What was set aside is used or free again.
    48 BudgetSettled(BudgetSettled) = "budget.settled";
    /// A limit of a budget would be passed, or its time is over.
    49 BudgetExceeded(Box<BudgetExceeded>) = "budget.exceeded";
    /// A person granted more; the event's step is the one that has the budget, or the empty path for the run's.
    50 BudgetRaised(BudgetRaised) = "budget.raised";
}

impl EventBody {
    /// The number of [`EventBody::RunForked`].
    pub(crate) const FORKED: u32 = 36;
}

/// Nothing more to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Empty {}

/// The flow that a run executes, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct FlowPin {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Its version, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub version: Option<String>,
    /// SHA-256 of the bytes of its file.
    #[n(2)]
    pub hash: Hash,
    /// The file's text and the definitions of its tools: the canonical JSON of a [`crate::input::Bundle`].
    #[n(3)]
    pub bundle: BlobRef,
    /// Which flow of the bundle it is, by the path of its file; absent for the bundle's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(4)]
    pub file: Option<String>,
}

/// Data of `run.started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct RunStarted {
    /// The flow.
    #[n(0)]
    pub flow: FlowPin,
    /// The input, as it was taken in.
    #[n(1)]
    pub input: Data,
    /// JSON pointers of number literals in the input that were too wide and became strings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(2)]
    pub wide_numbers: Vec<String>,
    /// The key of a keyed run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub key: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[n(4)]
    pub labels: BTreeMap<String, String>,
    /// What jitter and draws derive from.
    #[n(5)]
    pub seed: Hash,
    /// What the state hash begins with.
    #[n(6)]
    pub salt: Hash,
    /// Numbers of the behaviour flags that this run obeys, ascending.
    #[n(7)]
    pub flags: Vec<u32>,
    /// What its tools may reach.
    #[n(8)]
    pub permissions: Permissions,
    /// Variables with the values that they have before any `set`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[n(9)]
    pub vars: BTreeMap<String, Data>,
    /// The run that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(14)]
    pub parent: Option<Parent>,
    /// The run in whose place it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(15)]
    pub continues: Option<RunId>,
    /// Signals that the run before it kept and did not take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(16)]
    pub signals: Vec<SignalReceived>,
    /// Who started it.
    #[n(10)]
    pub actor: String,
    /// The state hash of the new run.
    #[n(11)]
    pub state: Hash,
    /// When it must have ended. Filled in by the decision: the earlier of the flow's own and what stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(12)]
    pub deadline: Option<Millis>,
    /// What it may use up. Filled in by the decision: the flow's own, tightened by this and by the parent's share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(13)]
    pub budget: Option<Budget>,
}

/// Data of `run.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct RunCompleted {
    /// The output.
    #[n(0)]
    pub output: Data,
    /// State hash after it.
    #[n(1)]
    pub state: Hash,
}

/// Data of `run.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct RunFailed {
    /// Why.
    #[n(0)]
    pub error: Failure,
    /// The step whose failure it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub step: Option<StepPath>,
    /// What became of its compensations, if there were any to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub saga: Option<SagaEnd>,
    /// State hash after it.
    #[n(2)]
    pub state: Hash,
}

/// Data of `run.cancelled`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct RunCancelled {
    /// What became of its compensations, if there were any to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(0)]
    pub saga: Option<SagaEnd>,
}

/// Somebody asks for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Request {
    /// Who.
    #[n(0)]
    pub actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub reason: Option<String>,
}

/// Data of `step.started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct StepStarted {
    /// What the step opens.
    #[n(0)]
    pub work: Work,
    /// When the node, with all its tries, must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub deadline: Option<Millis>,
    /// What the steps within it may use up together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub budget: Option<Budget>,
}

/// What a step opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(flat)]
pub enum Work {
    /// A task for a performer. A pure one is open from here on; any other from its `tool.called`.
    #[n(0)]
    Task(#[cbor(n(0), with = "cbor::shared")] Arc<TaskSpec>),
    /// Variables are set; the step completes in the same commit.
    #[n(1)]
    Set,
    /// A body for each item.
    #[n(2)]
    Map {
        /// The items, a list.
        #[n(0)]
        items: Data,
        /// How many.
        #[n(1)]
        count: u32,
        /// How many may be in work at once.
        #[n(2)]
        concurrency: u32,
        /// Whether item failures are collected instead of stopping the map.
        #[n(3)]
        collect: bool,
    },
    /// A body for each branch, all at once.
    #[n(3)]
    Parallel {
        /// The names of the branches.
        #[n(0)]
        branches: Vec<String>,
    },
    /// One body of several.
    #[n(4)]
    Switch {
        /// The key of the body taken; absent where no case holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[n(0)]
        route: Option<String>,
    },
    /// A body again and again.
    #[n(5)]
    Loop {
        /// The number of iterations, where it is known beforehand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[n(0)]
        times: Option<u64>,
        /// Whether the outputs of all iterations are kept.
        #[n(1)]
        collect: bool,
    },
    /// A pause; `timer.set` says until when.
    #[n(6)]
    Sleep,
    /// A wait for a signal.
    #[n(7)]
    Wait {
        /// The name of the signal.
        #[n(0)]
        signal: String,
    },
    /// A question to a person; `approval.requested` has it.
    #[n(8)]
    Approval,
    /// A function that is run: a pure task, and a body for each of its calls that is work of its own.
    #[n(9)]
    Code(#[cbor(n(0), with = "cbor::shared")] Arc<TaskSpec>),
    /// A child run.
    #[n(10)]
    Child(#[cbor(n(0), with = "cbor::shared")] Arc<ChildSpec>),
    /// The end of the run, and the start of the one that goes on; `run.continued` has it.
    #[n(11)]
    Continue,
}

/// Where a step's output lies, so that it is never recorded twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(flat)]
pub enum Output {
    /// Here.
    #[n(0)]
    Value(#[n(0)] Data),
    /// It is the object of the variables that this event sets.
    #[n(1)]
    Vars,
    /// It is the output of the step's task, told by `tool.completed`, `effect.reconciled` or `effect.settled`, or of
    /// its child, told by `child.completed`.
    #[n(2)]
    Task,
    /// It is the output of this node of the body that completed; absent where no node of it completed.
    #[n(3)]
    Node(#[n(0)] Option<String>),
    /// It is gathered from the step's bodies: a list in order, an object by branch, the last, or the one taken.
    #[n(4)]
    Bodies,
}

/// Data of `step.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct StepCompleted {
    /// The output.
    #[n(0)]
    pub output: Output,
    /// Variables that it set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[n(1)]
    pub vars: BTreeMap<String, Data>,
    /// For an iteration of a loop: whether the loop ends with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[n(2)]
    pub last: bool,
    /// What undoes it, if its node says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(5)]
    pub compensate: Option<Compensation>,
    /// Where control goes, if a route of `next` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub next: Option<Next>,
    /// State hash after it.
    #[n(4)]
    pub state: Hash,
}

/// The route of `next` that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Next {
    /// The target's id.
    #[n(0)]
    pub to: String,
    /// For a jump back: the ids of the nodes that are visited again, the target first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(1)]
    pub again: Vec<String>,
}

/// What follows from a step's failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(flat)]
pub enum OnFailure {
    /// The body that it stands in fails.
    #[n(0)]
    Fail,
    /// The flow goes on; the output is null.
    #[n(1)]
    Continue,
    /// Control goes to this node.
    #[n(2)]
    Goto(#[n(0)] String),
}

/// Data of `step.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct StepFailed {
    /// Why.
    #[n(0)]
    pub error: Failure,
    /// What follows.
    #[n(1)]
    pub then: OnFailure,
    /// What undoes it, if it acted all the same and its node says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(4)]
    pub compensate: Option<Compensation>,
    /// Where control goes, if the flow goes on and a route of `next` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub next: Option<Next>,
    /// State hash after it.
    #[n(3)]
    pub state: Hash,
}

/// Data of `step.retrying`; the event's attempt is the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct StepRetrying {
    /// When the next attempt may start.
    #[n(0)]
    pub until: Millis,
}

/// Data of `step.skipped`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct StepSkipped {
    /// Why.
    #[n(0)]
    pub reason: SkipReason,
    /// Where control goes, if a forward route of `next` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub next: Option<Next>,
    /// State hash after it.
    #[n(2)]
    pub state: Hash,
}

/// Why a step was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum SkipReason {
    /// Its `when` did not hold; what follows it lives.
    #[n(0)]
    When,
    /// No route leads to it; what follows it is dead too.
    #[n(1)]
    Dead,
}

/// Data of `tool.called`: the intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolCalled {
    /// The tool.
    #[n(0)]
    pub tool: String,
    /// Hash of the call.
    #[n(1)]
    pub call: Hash,
    /// Idempotency key.
    #[n(2)]
    pub key: Hash,
    /// When the attempt counts as timed out.
    #[n(3)]
    pub timeout: Millis,
}

/// Data of `activity.heartbeat`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ActivityHeartbeat {
    /// Hash of the call.
    #[n(0)]
    pub call: Hash,
    /// How far it has come, in the activity's own words; the next attempt is told.
    #[n(1)]
    pub details: Data,
}

/// Data of `tool.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolCompleted {
    /// Hash of the call.
    #[n(0)]
    pub call: Hash,
    /// The output.
    #[n(1)]
    pub output: Data,
    /// Whether the output was cut to its limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[n(2)]
    pub truncated: bool,
    /// Things that it made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(3)]
    pub artifacts: Vec<Artifact>,
}

/// Data of `tool.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolFailed {
    /// Hash of the call.
    #[n(0)]
    pub call: Hash,
    /// Why.
    #[n(1)]
    pub error: Failure,
    /// Milliseconds that the other side asks to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub retry_after_ms: Option<u64>,
}

/// Why an outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Doubt {
    /// The process that performed it ended.
    #[n(0)]
    Crash,
    /// No outcome came within the attempt's time.
    #[n(1)]
    Timeout,
    /// The attempt ended without telling whether it acted.
    #[n(2)]
    Lost,
}

/// Data of `effect.unknown`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct EffectUnknown {
    /// Hash of the call.
    #[n(0)]
    pub call: Hash,
    /// Why.
    #[n(1)]
    pub doubt: Doubt,
    /// Whether it waits for a person now, or fails as its step says; otherwise it is tried again, or a probe looks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[n(2)]
    pub parked: bool,
    /// What the attempt said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub error: Option<Failure>,
    /// Milliseconds that the other side asks to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(4)]
    pub retry_after_ms: Option<u64>,
}

/// Data of `probe.started`. The probe itself stands in the step's [`TaskSpec`]; its attempts are told at the path
/// `STEP[probeN]`, where N counts the probes of the step from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ProbeStarted {
    /// The tool that looks.
    #[n(0)]
    pub tool: String,
    /// Hash of the probe's call.
    #[n(1)]
    pub call: Hash,
}

/// Data of `effect.reconciled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct EffectReconciled {
    /// Hash of the call.
    #[n(0)]
    pub call: Hash,
    /// What became of it.
    #[n(1)]
    pub outcome: Settlement,
    /// Things that it made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(2)]
    pub artifacts: Vec<Artifact>,
}

/// Data of `effect.settled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct EffectSettled {
    /// The idempotency key of the entry.
    #[n(0)]
    pub key: Hash,
    /// What became of it.
    #[n(1)]
    pub outcome: Settlement,
    /// Who says so.
    #[n(2)]
    pub actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub reason: Option<String>,
}

/// What became of an effect that was in doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(flat)]
pub enum Settlement {
    /// It happened; this is its output.
    #[n(0)]
    Succeeded(#[n(0)] Data),
    /// It did not happen.
    #[n(1)]
    Failed(#[n(0)] Failure),
    /// It did not happen and shall be tried again.
    #[n(2)]
    Retry,
}

/// What a timer is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Purpose {
    /// A `sleep` ends.
    #[n(0)]
    Sleep,
    /// A `wait` gives up.
    #[n(1)]
    Wait,
    /// An approval expires.
    #[n(2)]
    Approval,
    /// The next attempt may start.
    #[n(3)]
    Retry,
    /// An attempt took too long.
    #[n(4)]
    Attempt,
    /// A node or run took too long.
    #[n(5)]
    Deadline,
    /// An attempt gave no sign of life for too long.
    #[n(6)]
    Heartbeat,
    /// The time of a budget is over.
    #[n(7)]
    Budget,
}

/// Data of `timer.set` and `timer.fired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Timer {
    /// What it is for.
    #[n(0)]
    pub purpose: Purpose,
    /// When it is due.
    #[n(1)]
    pub due: Millis,
}

/// Data of `verification.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct VerificationCompleted {
    /// 100 × weight passed / weight.
    #[n(0)]
    pub score: f64,
    /// What it had to reach.
    #[n(1)]
    pub min_score: f64,
    /// Whether it passed.
    #[n(2)]
    pub passed: bool,
}

/// Data of `artifact.created`: the thing and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ArtifactCreated {
    /// The thing.
    #[n(0)]
    pub artifact: Artifact,
    /// The tool that made it.
    #[n(1)]
    pub tool: String,
    /// Hash of the call that made it.
    #[n(2)]
    pub call: Hash,
    /// Hash of the flow.
    #[n(3)]
    pub flow: Hash,
    /// State hash before it: what the flow knew.
    #[n(4)]
    pub state: Hash,
}

/// Data of `policy.violation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct PolicyViolation {
    /// The tool that was refused.
    #[n(0)]
    pub tool: String,
    /// Why.
    #[n(1)]
    pub reason: String,
}
