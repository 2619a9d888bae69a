//! Work that a step hands out, and what comes back.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::budget::Amounts;
use crate::data::Data;
use crate::effect::EffectClass;
use crate::error::Failure;
use crate::hash::Hash;
use crate::id::RunId;
use crate::journal::Recorded;
use crate::path::StepPath;

/// A place in a task's arguments where a text with secrets stands. The argument itself is `null` there, so that
/// substitution never scans texts, and input that looks like a marker stays data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SecretSlot {
    /// JSON pointer into the arguments.
    #[n(0)]
    pub pointer: String,
    /// The text, in parts.
    #[n(1)]
    pub parts: Vec<SecretPart>,
}

/// A part of a text with secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(flat)]
pub enum SecretPart {
    /// Plain text.
    #[n(0)]
    Text(#[n(0)] String),
    /// The name of a secret; its value never enters the log.
    #[n(1)]
    Secret(#[n(0)] String),
}

/// What a step asks to be done, whole: recovery needs nothing else. Stored in `step.started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct TaskSpec {
    /// The tool.
    #[n(0)]
    pub tool: String,
    /// Hash of its definition.
    #[n(1)]
    pub definition: Hash,
    /// The class that governs doubt.
    #[n(2)]
    pub class: EffectClass,
    /// Arguments, resolved; `null` where a secret slot stands.
    #[n(3)]
    pub args: Data,
    /// Texts with secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(4)]
    pub secrets: Vec<SecretSlot>,
    /// Hash of tool, definition and arguments: the same call has the same hash.
    #[n(5)]
    pub call: Hash,
    /// Idempotency key, the same on every attempt: hash of run, step path and call, or of a wider scope and the call.
    #[n(6)]
    pub key: Hash,
    /// Milliseconds that an attempt may take.
    #[n(7)]
    pub timeout_ms: u64,
    /// Waits between attempts.
    #[n(8)]
    pub retry: Retry,
    /// What to do with an outcome that stays in doubt.
    #[serde(default, skip_serializing_if = "OnUnknown::is_default")]
    #[n(9)]
    pub on_unknown: OnUnknown,
    /// Milliseconds from the first intent within which a call that is idempotent by its key is sent again; absent
    /// where the call is idempotent by nature, without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(10)]
    pub key_ttl_ms: Option<u64>,
    /// Milliseconds within which an attempt must tell that it is alive; absent where it need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(11)]
    pub heartbeat_ms: Option<u64>,
    /// The call that finds out whether this one happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(12)]
    pub probe: Option<Box<ProbeSpec>>,
    /// That its result is kept for the same call elsewhere; absent where the key is that of this step alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(13)]
    pub idempotency: Option<Idempotency>,
    /// What an attempt may cost at most; absent where it costs nothing that is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(14)]
    pub cost: Option<Amounts>,
}

/// That the result of a call is kept, and given to the same call instead of making it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Idempotency {
    /// Where the same call has the same key.
    #[n(0)]
    pub scope: Scope,
    /// Milliseconds from its end for which a result may be given again.
    #[n(1)]
    pub ttl_ms: u64,
}

/// Where the same call has the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Scope {
    /// In every run of the flow of this name.
    #[n(0)]
    Flow,
    /// In every run of the tenant.
    #[n(1)]
    Tenant,
}

/// A call that only looks whether an effect in doubt happened: a task of its own when it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ProbeSpec {
    /// The tool.
    #[n(0)]
    pub tool: String,
    /// Hash of its definition.
    #[n(1)]
    pub definition: Hash,
    /// Arguments, resolved; `null` where a secret slot stands.
    #[n(2)]
    pub args: Data,
    /// Texts with secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(3)]
    pub secrets: Vec<SecretSlot>,
    /// Hash of tool, definition and arguments.
    #[n(4)]
    pub call: Hash,
    /// Idempotency key of the probe itself.
    #[n(5)]
    pub key: Hash,
    /// Milliseconds that an attempt may take.
    #[n(6)]
    pub timeout_ms: u64,
    /// Waits between attempts.
    #[n(7)]
    pub retry: Retry,
}

impl ProbeSpec {
    /// The task of asking it: a read.
    pub fn task(&self) -> TaskSpec {
        TaskSpec {
            tool: self.tool.clone(),
            definition: self.definition,
            class: EffectClass::Read,
            args: self.args.clone(),
            secrets: self.secrets.clone(),
            call: self.call,
            key: self.key,
            timeout_ms: self.timeout_ms,
            retry: self.retry,
            on_unknown: OnUnknown::default(),
            key_ttl_ms: None,
            heartbeat_ms: None,
            probe: None,
            idempotency: None,
            cost: None,
        }
    }
}

/// What to do with an effect whose outcome is in doubt and can't be had by trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum OnUnknown {
    /// Park until a person settles it.
    #[default]
    #[n(0)]
    Ask,
    /// Let the step's probe look; where it can't tell, park until a person settles it.
    #[n(2)]
    Probe,
    /// Fail the step with `IN_DOUBT`.
    #[n(1)]
    Fail,
}

impl OnUnknown {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Tries of a step and the waits between them: `initial_ms × factor^(n-1)`, at most `max_ms`, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct Retry {
    /// Tries in all, from 1.
    #[n(0)]
    pub max_attempts: u32,
    /// The first wait.
    #[n(1)]
    pub initial_ms: u64,
    /// The longest wait.
    #[n(2)]
    pub max_ms: u64,
    /// Growth of the wait.
    #[n(3)]
    pub factor: f64,
}

impl Default for Retry {
    /// 3 tries; waits of 2 s and 4 s (SPEC S0-24).
    fn default() -> Self {
        Self { max_attempts: 3, initial_ms: 2_000, max_ms: 16_000, factor: 2.0 }
    }
}

/// What the operator who started a run lets its tools reach. Recorded in `run.started`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Permissions {
    /// Absolute folders within which files may be read and written; the first resolves relative paths.
    #[serde(default)]
    #[n(0)]
    pub roots: Vec<String>,
    /// `HOST` or `HOST:PORT` that may be called although it is a loopback or private address.
    #[serde(default)]
    #[n(1)]
    pub allow_net: Vec<String>,
}

/// One attempt, as it is handed to a performer.
#[derive(Debug, Clone)]
pub struct Task {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// The attempt, from 1.
    pub attempt: u32,
    /// How often this attempt was recovered after a crash.
    pub recovery: u32,
    /// What to do.
    pub spec: Arc<TaskSpec>,
    /// What this attempt or one before it last told of how far it had come.
    pub details: Option<Data>,
    /// What may be reached.
    pub permissions: Arc<Permissions>,
    /// For a function, the calls that it has made so far; `None` for a call of a tool.
    pub journal: Option<Vec<Recorded>>,
}

/// What an activity gives back when it did what it was asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Success {
    /// The output, as its schema says.
    pub output: Value,
    /// Things that it made.
    pub artifacts: Vec<Artifact>,
    /// Whether the output was cut to its limit.
    pub truncated: bool,
}

impl Success {
    /// An output with nothing else to tell.
    pub fn of(output: Value) -> Self {
        Self { output, ..Self::default() }
    }
}

/// A lasting thing that a run made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Artifact {
    /// Where it lies: an absolute path or a URL.
    #[n(0)]
    pub location: String,
    /// Its media type.
    #[n(1)]
    pub media_type: String,
    /// SHA-256 of its bytes.
    #[n(2)]
    pub sha256: Hash,
    /// Length in bytes.
    #[n(3)]
    pub bytes: u64,
}

/// The result of an attempt, as it enters the log.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskResult {
    /// It was done.
    Succeeded {
        /// The output; large ones are already stored.
        output: Data,
        /// Things that it made.
        artifacts: Vec<Artifact>,
        /// Whether the output was cut.
        truncated: bool,
    },
    /// It was not done, or (`certain: false`) it is not known whether it was.
    Failed {
        /// Why.
        failure: Failure,
        /// Milliseconds that the other side asks to wait.
        retry_after_ms: Option<u64>,
    },
}
