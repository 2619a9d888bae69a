//! Events: one fact each, typed, in the past tense.
//!
//! An event that opens work carries the work whole, and every choice is in an event, so that a state can be folded
//! from events alone: without the flow, without expressions, without a clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::{BlobRef, Data};
use crate::error::Failure;
use crate::hash::Hash;
use crate::path::StepPath;
use crate::task::{Artifact, Permissions, TaskSpec};
use crate::time::Millis;

/// A fact of a run. Its sequence number, time and stream are those of its place in its commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The step that it is about; absent for facts of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepPath>,
    /// The attempt that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $variant:ident($data:ty) = $name:literal;)*) => {
        /// What happened, by dotted type.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "data")]
        pub enum EventBody {
            $($(#[$doc])* #[serde(rename = $name)] $variant($data),)*
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
    RunStarted(Box<RunStarted>) = "run.started";
    /// A run ended well.
    RunCompleted(RunCompleted) = "run.completed";
    /// A run ended in failure.
    RunFailed(RunFailed) = "run.failed";
    /// Somebody asked for a run to be cancelled.
    RunCancelling(Request) = "run.cancelling";
    /// A run ended because it was cancelled.
    RunCancelled(Empty) = "run.cancelled";
    /// A step became ready; what it opens is in its work.
    StepStarted(Box<StepStarted>) = "step.started";
    /// A step, or a body of one, ended well.
    StepCompleted(StepCompleted) = "step.completed";
    /// A step, or a body of one, failed.
    StepFailed(StepFailed) = "step.failed";
    /// A step will be tried again.
    StepRetrying(StepRetrying) = "step.retrying";
    /// A step was passed over.
    StepSkipped(StepSkipped) = "step.skipped";
    /// The intent of an effect: durable before the call.
    ToolCalled(ToolCalled) = "tool.called";
    /// An attempt did what was asked.
    ToolCompleted(ToolCompleted) = "tool.completed";
    /// An attempt certainly did not, or its class makes doubt harmless.
    ToolFailed(ToolFailed) = "tool.failed";
    /// It is not known whether an effect happened.
    EffectUnknown(EffectUnknown) = "effect.unknown";
    /// The outcome of an effect in doubt arrived after all.
    EffectReconciled(EffectReconciled) = "effect.reconciled";
    /// A person said what became of an effect in doubt.
    EffectSettled(EffectSettled) = "effect.settled";
    /// Something is due later.
    TimerSet(Timer) = "timer.set";
    /// It came due.
    TimerFired(Timer) = "timer.fired";
    /// Somebody sent a signal.
    SignalReceived(SignalReceived) = "signal.received";
    /// A person is asked.
    ApprovalRequested(ApprovalRequested) = "approval.requested";
    /// A person said yes.
    ApprovalGranted(Answer) = "approval.granted";
    /// A person said no.
    ApprovalDenied(Answer) = "approval.denied";
    /// Nobody answered in time.
    ApprovalExpired(Empty) = "approval.expired";
    /// A verification was scored.
    VerificationCompleted(VerificationCompleted) = "verification.completed";
    /// A run made a lasting thing.
    ArtifactCreated(ArtifactCreated) = "artifact.created";
    /// A call was refused because a root, address or rule does not allow it.
    PolicyViolation(PolicyViolation) = "policy.violation";
}

/// Nothing more to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// The flow that a run executes, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowPin {
    /// Its name.
    pub name: String,
    /// Its version, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of the bytes of its file.
    pub hash: Hash,
    /// The file's text and the definitions of its tools: the canonical JSON of a [`crate::input::Bundle`].
    pub bundle: BlobRef,
}

/// Data of `run.started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The flow.
    pub flow: FlowPin,
    /// The input, as it was taken in.
    pub input: Data,
    /// JSON pointers of number literals in the input that were too wide and became strings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wide_numbers: Vec<String>,
    /// The key of a keyed run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What jitter and draws derive from.
    pub seed: Hash,
    /// What the state hash begins with.
    pub salt: Hash,
    /// Numbers of the behaviour flags that this run obeys, ascending.
    pub flags: Vec<u32>,
    /// What its tools may reach.
    pub permissions: Permissions,
    /// Variables with the values that they have before any `set`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Data>,
    /// Who started it.
    pub actor: String,
    /// The state hash of the new run.
    pub state: Hash,
}

/// Data of `run.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunCompleted {
    /// The output.
    pub output: Data,
    /// State hash after it.
    pub state: Hash,
}

/// Data of `run.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFailed {
    /// Why.
    pub error: Failure,
    /// The step whose failure it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepPath>,
    /// State hash after it.
    pub state: Hash,
}

/// Somebody asks for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who.
    pub actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Data of `step.started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStarted {
    /// What the step opens.
    pub work: Work,
    /// When the node, with all its tries, must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Millis>,
}

/// What a step opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A task for a performer. A pure one is open from here on; any other from its `tool.called`.
    Task(Arc<TaskSpec>),
    /// Variables are set; the step completes in the same commit.
    Set,
    /// A body for each item.
    Map {
        /// The items, a list.
        items: Data,
        /// How many.
        count: u32,
        /// How many may be in work at once.
        concurrency: u32,
        /// Whether item failures are collected instead of stopping the map.
        collect: bool,
    },
    /// A body for each branch, all at once.
    Parallel {
        /// The names of the branches.
        branches: Vec<String>,
    },
    /// One body of several.
    Switch {
        /// The key of the body taken; absent where no case holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        route: Option<String>,
    },
    /// A body again and again.
    Loop {
        /// The number of iterations, where it is known beforehand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<u64>,
        /// Whether the outputs of all iterations are kept.
        collect: bool,
    },
    /// A pause; `timer.set` says until when.
    Sleep,
    /// A wait for a signal.
    Wait {
        /// The name of the signal.
        signal: String,
    },
    /// A question to a person; `approval.requested` has it.
    Approval,
}

/// Where a step's output lies, so that it is never recorded twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Here.
    Value(Data),
    /// It is the object of the variables that this event sets.
    Vars,
    /// It is the output of the step's task, told by `tool.completed`, `effect.reconciled` or `effect.settled`.
    Task,
    /// It is the output of this node of the body that completed; absent where no node of it completed.
    Node(Option<String>),
    /// It is gathered from the step's bodies: a list in order, an object by branch, the last, or the one taken.
    Bodies,
}

/// Data of `step.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepCompleted {
    /// The output.
    pub output: Output,
    /// Variables that it set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Data>,
    /// For an iteration of a loop: whether the loop ends with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
    /// Where control goes, if a route of `next` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    /// State hash after it.
    pub state: Hash,
}

/// The route of `next` that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// The target's id.
    pub to: String,
    /// For a jump back: the ids of the nodes that are visited again, the target first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<String>,
}

/// What follows from a step's failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The body that it stands in fails.
    Fail,
    /// The flow goes on; the output is null.
    Continue,
    /// Control goes to this node.
    Goto(String),
}

/// Data of `step.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepFailed {
    /// Why.
    pub error: Failure,
    /// What follows.
    pub then: OnFailure,
    /// Where control goes, if the flow goes on and a route of `next` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    /// State hash after it.
    pub state: Hash,
}

/// Data of `step.retrying`; the event's attempt is the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRetrying {
    /// When the next attempt may start.
    pub until: Millis,
}

/// Data of `step.skipped`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSkipped {
    /// Why.
    pub reason: SkipReason,
    /// Where control goes, if a forward route of `next` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    /// State hash after it.
    pub state: Hash,
}

/// Why a step was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its `when` did not hold; what follows it lives.
    When,
    /// No route leads to it; what follows it is dead too.
    Dead,
}

/// Data of `tool.called`: the intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCalled {
    /// The tool.
    pub tool: String,
    /// Hash of the call.
    pub call: Hash,
    /// Idempotency key.
    pub key: Hash,
    /// When the attempt counts as timed out.
    pub timeout: Millis,
}

/// Data of `tool.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCompleted {
    /// Hash of the call.
    pub call: Hash,
    /// The output.
    pub output: Data,
    /// Whether the output was cut to its limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Things that it made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
}

/// Data of `tool.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolFailed {
    /// Hash of the call.
    pub call: Hash,
    /// Why.
    pub error: Failure,
    /// Milliseconds that the other side asks to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Why an outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The process that performed it ended.
    Crash,
    /// No outcome came within the attempt's time.
    Timeout,
    /// The attempt ended without telling whether it acted.
    Lost,
}

/// Data of `effect.unknown`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectUnknown {
    /// Hash of the call.
    pub call: Hash,
    /// Why.
    pub doubt: Doubt,
    /// Whether it waits for a person now, or fails as its step says; otherwise it is tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
    /// What the attempt said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Milliseconds that the other side asks to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Data of `effect.reconciled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectReconciled {
    /// Hash of the call.
    pub call: Hash,
    /// What became of it.
    pub outcome: Settlement,
    /// Things that it made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
}

/// Data of `effect.settled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectSettled {
    /// The idempotency key of the entry.
    pub key: Hash,
    /// What became of it.
    pub outcome: Settlement,
    /// Who says so.
    pub actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of an effect that was in doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It happened; this is its output.
    Succeeded(Data),
    /// It did not happen.
    Failed(Failure),
    /// It did not happen and shall be tried again.
    Retry,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A `sleep` ends.
    Sleep,
    /// A `wait` gives up.
    Wait,
    /// An approval expires.
    Approval,
    /// The next attempt may start.
    Retry,
    /// An attempt took too long.
    Attempt,
    /// A node took too long.
    Deadline,
}

/// Data of `timer.set` and `timer.fired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// What it is for.
    pub purpose: Purpose,
    /// When it is due.
    pub due: Millis,
}

/// Data of `signal.received`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalReceived {
    /// What it is recognised by when it is sent twice.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Data,
    /// Who sent it.
    pub actor: String,
}

/// Data of `approval.requested`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalRequested {
    /// Hash of exactly what is approved.
    pub action: Hash,
    /// The node whose call is approved, if one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The question.
    pub message: String,
    /// What is shown to the person: the call, or the values that the flow names.
    #[serde(default)]
    pub shows: Data,
    /// Who may answer; empty where anybody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Millis>,
}

/// Data of `approval.granted` and `approval.denied`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Hash of what was answered.
    pub action: Hash,
    /// Who answered.
    pub actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Data of `verification.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerificationCompleted {
    /// 100 × weight passed / weight.
    pub score: f64,
    /// What it had to reach.
    pub min_score: f64,
    /// Whether it passed.
    pub passed: bool,
}

/// Data of `artifact.created`: the thing and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactCreated {
    /// The thing.
    pub artifact: Artifact,
    /// The tool that made it.
    pub tool: String,
    /// Hash of the call that made it.
    pub call: Hash,
    /// Hash of the flow.
    pub flow: Hash,
    /// State hash before it: what the flow knew.
    pub state: Hash,
}

/// Data of `policy.violation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyViolation {
    /// The tool that was refused.
    pub tool: String,
    /// Why.
    pub reason: String,
}
