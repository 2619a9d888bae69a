//! What reaches a shard, and what it answers.

use std::sync::Arc;

use aura_core::data::{BlobRef, Data};
use aura_core::error::{Failure, Problem};
use aura_core::event::RunStarted;
use aura_core::fork::RunForked;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::{Heartbeat, Input, Outcome};
use aura_core::journal::Asked;
use aura_core::ports::{BlobError, RunStatus, StoreError};
use aura_graph::definition::Flows;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;

/// Something for a shard.
pub enum Message {
    /// An input from outside.
    Submit(Submission),
    /// The end of an attempt that this process performed; with it the value of a large output.
    Outcome {
        /// The run.
        run: RunId,
        /// What came of it.
        outcome: Outcome,
        /// The value of an output that is a blob.
        value: Option<(BlobRef, Arc<Value>)>,
    },
    /// An attempt tells that it is alive.
    Heartbeat {
        /// The run.
        run: RunId,
        /// What it tells.
        beat: Heartbeat,
    },
    /// A performer is done with an attempt that nobody waits for any more: its slot is free.
    Released {
        /// The run.
        run: RunId,
        /// The step.
        step: aura_core::StepPath,
        /// The attempt.
        attempt: u32,
    },
    /// A group of commits became durable, or did not.
    Durable {
        /// The number of the group.
        group: u64,
        /// What happened.
        result: Result<(), StoreError>,
    },
    /// Values of blobs that were asked for.
    Blobs(Vec<(BlobRef, Result<Arc<Value>, BlobError>)>),
    /// A function asks for something, or for the answer to what it asked before.
    Journal(Asking),
    /// Perform this run from now on: recover what is open.
    Perform {
        /// The run.
        run: RunId,
        /// Told when its recovery is durable, or why it can't be performed.
        reply: Reply,
    },
    /// Perform every run that has not ended.
    Recover {
        /// Told how many there are, when each takes inputs and its timers are set.
        reply: Recovered,
    },
    /// Tell when this run has ended, durably.
    Await {
        /// The run.
        run: RunId,
        /// Told when it has ended, or why that can't be known.
        reply: Reply,
    },
    /// Start no more effects; what is in flight ends and is committed.
    Drain,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Submit(_) => "Submit",
            Self::Outcome { .. } => "Outcome",
            Self::Heartbeat { .. } => "Heartbeat",
            Self::Released { .. } => "Released",
            Self::Durable { .. } => "Durable",
            Self::Blobs(_) => "Blobs",
            Self::Journal(_) => "Journal",
            Self::Perform { .. } => "Perform",
            Self::Recover { .. } => "Recover",
            Self::Await { .. } => "Await",
            Self::Drain => "Drain",
        })
    }
}

/// What a function asks for, and where it waits.
pub struct Asking {
    /// The run.
    pub run: RunId,
    /// The function's step.
    pub step: aura_core::StepPath,
    /// The number of the call, from 1.
    pub number: u64,
    /// What it asks for.
    pub asked: Asked,
    /// Hash of what it asks for.
    pub call: Hash,
    /// Told the answer when it is durable, or why there will be none. Dropped if the step is gone.
    pub reply: oneshot::Sender<Result<Answered, Problem>>,
}

/// The answer to a call of a function.
pub type Answered = Result<Data, Failure>;

/// An input from outside, and who is told.
pub struct Submission {
    /// The run.
    pub run: RunId,
    /// What is submitted.
    pub input: Submitted,
    /// Told when the commit is durable.
    pub reply: Reply,
}

/// What is submitted.
pub enum Submitted {
    /// A new run.
    Start(Box<StartRun>),
    /// A new run that shares the beginning of another.
    Fork(Box<ForkRun>),
    /// An input of a run that exists.
    Input(Input),
}

/// A new run.
#[derive(Clone)]
pub struct StartRun {
    /// What it starts with.
    pub started: RunStarted,
    /// The bytes of its bundle; their address is `started.flow.bundle`.
    pub bundle: Bytes,
    /// The compiled flow, with those that it may start.
    pub flows: Flows,
    /// Whether this process performs it.
    pub perform: bool,
}

/// A new run that shares the beginning of another.
pub struct ForkRun {
    /// What tells it from the other.
    pub forked: RunForked,
    /// The bytes of its bundle and the compiled flows, where it has another flow than the store knows already.
    pub flows: Option<(Bytes, Flows)>,
    /// Whether this process performs it.
    pub perform: bool,
}

/// What an accepted input led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The run.
    pub run: RunId,
    /// Its number of events, all durable.
    pub events: u64,
    /// Where it stands.
    pub status: RunStatus,
    /// Whether the input changed nothing, because it came before or is already so.
    pub already: bool,
}

/// Told once, when what was asked for is durable or refused.
pub type Reply = Box<dyn FnOnce(Result<Accepted, Problem>) + Send>;

/// Told once, how many runs are performed that were not before.
pub type Recovered = Box<dyn FnOnce(Result<usize, Problem>) + Send>;
