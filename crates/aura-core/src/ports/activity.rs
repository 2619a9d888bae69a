use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::Failure;
use crate::hash::Hash;
use crate::id::RunId;
use crate::path::StepPath;
use crate::task::{Permissions, Success};
use crate::tool::ToolDef;

/// One attempt of a call, ready to be made: arguments checked against the input schema, secrets put in.
#[derive(Debug, Clone)]
pub struct Call {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The idempotency key to send outward; the same on every attempt.
    pub key: Hash,
    /// The arguments.
    pub args: Value,
    /// What may be reached.
    pub permissions: Arc<Permissions>,
    /// Time left for the attempt.
    pub timeout: Duration,
    /// What this attempt or one before it last told of how far it had come; null where nothing was told.
    pub last_details: Value,
    /// How it tells that it is alive, and how far it has come.
    pub heart: Heart,
}

/// Where an attempt tells that it is alive. Beating often costs nothing: at most one beat a second is recorded, the
/// last one, and only where the node asks for a heartbeat.
#[derive(Clone)]
pub struct Heart(Arc<dyn Fn(Value) + Send + Sync>);

impl Heart {
    /// One that hands each beat to `listener`.
    pub fn new(listener: impl Fn(Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// One that nobody listens to.
    pub fn unheard() -> Self {
        Self::new(|_| ())
    }

    /// Tells that the attempt is alive; the next one is told `details` if this one is lost. They must not hold secrets
    /// other than those that the call was given, which are taken out.
    pub fn beat(&self, details: Value) {
        (self.0)(details);
    }
}

impl std::fmt::Debug for Heart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heart")
    }
}

/// The end of an attempt that did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// Why. `certain` says whether anything can have happened outside.
    pub failure: Failure,
    /// Milliseconds that the other side asks to wait (`Retry-After`).
    pub retry_after_ms: Option<u64>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after_ms: None }
    }
}

/// Something that a step can call.
///
/// An activity is called at most once per attempt. It never retries by itself, never panics on bad arguments, and
/// says `certain: false` whenever a byte that could act may have left the process.
#[async_trait]
pub trait Activity: Send + Sync {
    /// Its definition.
    fn def(&self) -> &ToolDef;

    /// Makes the call.
    async fn perform(&self, call: Call) -> Result<Success, Failed>;
}
