//! Performers: what happens between an intent that is durable and the outcome that comes back.
//!
//! A performer makes exactly one call per attempt and sends exactly one message when it is over. It never retries
//! and never decides.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aura_core::canonical;
use aura_core::data::{BlobRef, Data};
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::input::{Heartbeat, Outcome};
use aura_core::journal::Recorded;
use aura_core::limits;
use aura_core::ports::{Activity, BlobError, Blobs, Call, Failed, Heart, Secrets};
use aura_core::schema::Schema;
use aura_core::task::{SecretPart, Success, Task, TaskResult, TaskSpec};
use aura_core::{RunId, StepPath};
use aura_graph::Flow;
use bytes::Bytes;
use crossbeam_channel::Sender;
use futures::FutureExt as _;
use futures::future::{Either, select};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::catalog::Catalog;
use crate::code::{self, Ctx};
use crate::message::Message;
use crate::scrub::Scrubber;

/// Performs tasks; tells the shard by [`Message::Outcome`] or, for abandoned ones, [`Message::Released`].
pub trait Performer: Send {
    /// Starts an attempt. One that is over at once gives its message here.
    fn perform(&mut self, task: Task) -> Option<Message>;

    /// Nobody waits for this attempt any more. One that was stopped by this gives its message here.
    fn abandon(&mut self, run: RunId, step: &StepPath, attempt: u32) -> Option<Message>;

    /// A function that a flow runs and that can't be performed here.
    fn missing(&self, flow: &Flow) -> Option<String> {
        flow.functions().first().map(|&name| name.to_owned())
    }
}

/// Fetches blobs; tells the shard by [`Message::Blobs`].
pub trait Fetcher: Send {
    /// Asks for the values of blobs.
    fn fetch(&mut self, blobs: Vec<BlobRef>);
}

type Running = Arc<Mutex<BTreeMap<(RunId, StepPath, u32), AbortHandle>>>;

/// Performs tasks on a tokio runtime.
pub struct TokioPerformer {
    runtime: Handle,
    bench: Arc<Bench>,
    running: Running,
}

/// What every attempt works with.
struct Bench {
    catalog: Catalog,
    schemas: BTreeMap<String, Schema>,
    secrets: Arc<dyn Secrets>,
    blobs: Arc<dyn Blobs>,
    shard: Sender<Message>,
    pure: Semaphore,
}

impl std::fmt::Debug for TokioPerformer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokioPerformer")
            .field("catalog", &self.bench.catalog)
            .finish_non_exhaustive()
    }
}

impl TokioPerformer {
    /// A performer of these tools that reports to `shard`.
    pub fn new(
        runtime: Handle,
        catalog: Catalog,
        secrets: Arc<dyn Secrets>,
        blobs: Arc<dyn Blobs>,
        shard: Sender<Message>,
    ) -> Self {
        let schema = |def: &aura_core::tool::ToolDef| {
            Schema::compile(&def.input).ok().map(|schema| (def.name.clone(), schema))
        };
        let schemas = catalog.definitions().filter_map(schema).collect();
        let pure = Semaphore::new(limits::PURE_TASKS);
        let bench = Arc::new(Bench { catalog, schemas, secrets, blobs, shard, pure });
        Self { runtime, bench, running: Running::default() }
    }
}

impl Performer for TokioPerformer {
    fn perform(&mut self, task: Task) -> Option<Message> {
        if let Some(outcome) = self.bench.at_once(&task) {
            return Some(outcome);
        }
        let key = (task.run, task.step.clone(), task.attempt);
        let (bench, running, of) =
            (Arc::clone(&self.bench), Arc::clone(&self.running), key.clone());
        let mut map = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let job = self.runtime.spawn(async move {
            let message = bench.attempt(task).await;
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&of);
            // A shard that is gone needs no outcome: recovery asks about this attempt.
            let _ = bench.shard.send(message);
        });
        map.insert(key, job.abort_handle());
        None
    }

    fn missing(&self, flow: &Flow) -> Option<String> {
        let missing = |name: &&str| self.bench.catalog.function(name).is_none();
        flow.functions().into_iter().find(missing).map(str::to_owned)
    }

    fn abandon(&mut self, run: RunId, step: &StepPath, attempt: u32) -> Option<Message> {
        let key = (run, step.clone(), attempt);
        // One that is not running any more has sent its message.
        let job = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key)?;
        job.abort();
        Some(Message::Released { run, step: step.clone(), attempt })
    }
}

impl Bench {
    async fn attempt(self: &Arc<Self>, task: Task) -> Message {
        let permit = match task.spec.class {
            // A function may wait for days.
            _ if task.journal.is_some() => None,
            EffectClass::Pure => self.pure.acquire().await.ok(),
            _ => None,
        };
        let (result, value) = self.result(&task).await;
        drop(permit);
        let Task { run, step, attempt, spec, .. } = task;
        Message::Outcome { run, outcome: Outcome { step, attempt, call: spec.call, result }, value }
    }

    async fn result(self: &Arc<Self>, task: &Task) -> (TaskResult, Option<(BlobRef, Arc<Value>)>) {
        if let Some(recorded) = &task.journal {
            return match self.function(task, recorded.clone()).await {
                Ok(report) => self.keep(Success::of(report)).await,
                Err(failure) => (failed(failure.into()), None),
            };
        }
        match self.ready(task).await {
            Err(failure) => (failed(failure.into()), None),
            Ok((call, activity, scrubber)) => {
                match self.call(task, (call, activity), &scrubber).await {
                    Ok(mut success) => {
                        scrubber.value(&mut success.output);
                        self.keep(success).await
                    }
                    Err(mut over) => {
                        scrubber.failure(&mut over.failure);
                        (failed(over), None)
                    }
                }
            }
        }
    }

    /// Makes the call on the thread of the shard, for tools that say that they are done in microseconds. One that
    /// turns out to wait for something, or makes a large output, is left to the runtime, which calls it anew: that
    /// does no harm to what may be repeated.
    fn at_once(&self, task: &Task) -> Option<Message> {
        let activity = self.catalog.activity(&task.spec.tool).filter(|a| a.def().inline)?;
        if !task.spec.class.repeatable() {
            return None;
        }
        let Data::Json(args) = &task.spec.args else { return None };
        if !task.spec.secrets.is_empty() {
            return None;
        }
        let result = match self.checked(task, Value::clone(args), &Scrubber::new([])) {
            Err(failure) => failed(failure.into()),
            Ok(call) => {
                let attempt = AssertUnwindSafe(|| activity.perform(call).now_or_never());
                match catch_unwind(attempt) {
                    Ok(Some(Ok(success))) => kept_in_place(success).ok()?,
                    Ok(Some(Err(over))) => failed(over),
                    Ok(None) => return None,
                    Err(_) => failed(panicked(&task.spec)),
                }
            }
        };
        let Task { run, step, attempt, spec, .. } = task.clone();
        let outcome = Outcome { step, attempt, call: spec.call, result };
        Some(Message::Outcome { run, outcome, value: None })
    }

    /// Everything that can fail before anything leaves the process.
    async fn ready(&self, task: &Task) -> Result<(Call, Arc<dyn Activity>, Scrubber), Failure> {
        let spec = &task.spec;
        let missing = || format!("this process has no tool '{}'", spec.tool);
        let activity = self
            .catalog
            .activity(&spec.tool)
            .ok_or_else(|| Failure::certain(Code::NotFound, missing()))?;
        let mut args = match &spec.args {
            Data::Json(args) => Value::clone(args),
            Data::Blob(blob) => parse(&self.fetch(*blob).await.map_err(|e| blob_failure(&e))?)?,
        };
        let secrets = self.put_in_secrets(task, &mut args)?;
        let scrubber = Scrubber::new(secrets.iter().map(String::as_str));
        let call = self.checked(task, args, &scrubber)?;
        Ok((call, Arc::clone(activity), scrubber))
    }

    /// The call, if its arguments are what the tool takes.
    fn checked(&self, task: &Task, args: Value, scrubber: &Scrubber) -> Result<Call, Failure> {
        let spec = &task.spec;
        if let Some(schema) = self.schemas.get(&spec.tool)
            && !schema.fits(&args)
        {
            let violations = schema.violations(&args);
            let violation = violations.first().map(ToString::to_string).unwrap_or_default();
            let message = format!("arguments of {}: {violation}", spec.tool);
            let mut failure = Failure::certain(Code::InvalidInput, message);
            scrubber.failure(&mut failure);
            return Err(failure);
        }
        Ok(Call {
            run: task.run,
            step: task.step.clone(),
            attempt: task.attempt,
            key: spec.key,
            args,
            permissions: Arc::clone(&task.permissions),
            timeout: Duration::from_millis(spec.timeout_ms),
            last_details: task
                .details
                .as_ref()
                .and_then(Data::as_json)
                .cloned()
                .unwrap_or_default(),
            heart: Heart::unheard(),
        })
    }

    /// Runs a function; it ends when it does, or when the shard abandons it.
    async fn function(&self, task: &Task, recorded: Vec<Recorded>) -> Result<Value, Failure> {
        let missing = || format!("this process has no function '{}'", task.spec.tool);
        let function = self
            .catalog
            .function(&task.spec.tool)
            .ok_or_else(|| Failure::certain(Code::NotFound, missing()))?;
        let args = match &task.spec.args {
            Data::Json(args) => Value::clone(args),
            Data::Blob(blob) => parse(&self.fetch(*blob).await.map_err(|e| blob_failure(&e))?)?,
        };
        let shard = self.shard.clone();
        let ctx =
            Ctx::live(task.run, task.step.clone(), recorded, (shard, Arc::clone(&self.blobs)));
        code::run(&**function, args, ctx).await
    }

    fn put_in_secrets(&self, task: &Task, args: &mut Value) -> Result<Vec<String>, Failure> {
        let mut used = Vec::new();
        let allowed = self.catalog.activity(&task.spec.tool).map(|a| a.def().secret_params.clone());
        for slot in &task.spec.secrets {
            let param = slot.pointer.split('/').nth(1).unwrap_or_default();
            if !allowed.iter().flatten().any(|name| name == param) {
                let message = format!("'{param}' of {} takes no secret", task.spec.tool);
                return Err(Failure::certain(Code::InvalidInput, message));
            }
            let mut text = String::new();
            for part in &slot.parts {
                match part {
                    SecretPart::Text(plain) => text.push_str(plain),
                    SecretPart::Secret(name) => {
                        let value = self.secret(name)?;
                        text.push_str(&value);
                        used.push(value);
                    }
                }
            }
            let place = args.pointer_mut(&slot.pointer).ok_or_else(|| {
                Failure::certain(Code::Internal, format!("no place for a secret: {}", slot.pointer))
            })?;
            *place = Value::String(text);
        }
        Ok(used)
    }

    fn secret(&self, name: &str) -> Result<String, Failure> {
        let unusable = |why: String| Failure::certain(Code::SecretMissing, why);
        self.secrets.get(name).map_err(unusable)?.ok_or_else(|| {
            unusable(format!("secret '{name}' is not set: export AURA_SECRET_{name}=…"))
        })
    }

    /// The call itself, within its time and whatever it does.
    async fn call(
        self: &Arc<Self>,
        task: &Task,
        (mut call, activity): (Call, Arc<dyn Activity>),
        scrubber: &Scrubber,
    ) -> Result<Success, Failed> {
        let class = task.spec.class;
        // What may have acted is awaited a little longer than its attempt: a late outcome settles the ledger.
        let late = if class.abandonable() { 0 } else { limits::LATE_OUTCOME_MS };
        let patience = Duration::from_millis(task.spec.timeout_ms.saturating_add(late));
        let (heart, mut beats) = watch::channel(Value::Null);
        if task.spec.heartbeat_ms.is_some() {
            call.heart = Heart::new(move |details| {
                heart.send_replace(details);
            });
        }
        let mut job = AbortOnDrop(tokio::spawn(async move { activity.perform(call).await }));
        let over = tokio::time::timeout(patience, &mut job.0);
        let over = match select(pin!(over), pin!(self.pulse(task, &mut beats, scrubber))).await {
            Either::Left((over, _)) => over,
            Either::Right((never, _)) => match never {},
        };
        // The next attempt is told the last of it, also if that came too soon after the beat before.
        let untold = {
            let told = beats.borrow_and_update();
            told.has_changed().then(|| Value::clone(&told))
        };
        if let Some(details) = untold.filter(|_| !matches!(over, Ok(Ok(Ok(_))))) {
            self.beat(task, details, scrubber);
        }
        match over {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                if error.is_panic() {
                    return Err(panicked(&task.spec));
                }
                Err(doubtful(class, Code::Internal, format!("{} was stopped", task.spec.tool)))
            }
            Err(_) => {
                let message = format!("no outcome within {} ms", patience.as_millis());
                Err(doubtful(class, Code::Timeout, message))
            }
        }
    }

    /// Passes on what an attempt tells, at most once in a while, as long as it is awaited.
    async fn pulse(
        &self,
        task: &Task,
        beats: &mut watch::Receiver<Value>,
        scrubber: &Scrubber,
    ) -> Infallible {
        while beats.changed().await.is_ok() {
            let details = Value::clone(&beats.borrow_and_update());
            self.beat(task, details, scrubber);
            tokio::time::sleep(Duration::from_millis(limits::HEARTBEAT_PACE_MS)).await;
        }
        std::future::pending().await
    }

    /// Passes on what an attempt told.
    fn beat(&self, task: &Task, mut details: Value, scrubber: &Scrubber) {
        scrubber.value(&mut details);
        let deep = canonical::deeper_than(&details, limits::VALUE_NESTING);
        let bytes = if deep { 0 } else { canonical::to_vec(&details).len() };
        if deep || bytes > limits::HEARTBEAT_BYTES {
            details = cut(bytes, "it is too large");
        }
        let (step, attempt, call) = (task.step.clone(), task.attempt, task.spec.call);
        let beat = Heartbeat { step, attempt, call, details: Data::from(details) };
        let _ = self.shard.send(Message::Heartbeat { run: task.run, beat });
    }

    /// The output as the log keeps it. Whatever happens to a large output, the verdict stands.
    async fn keep(&self, success: Success) -> (TaskResult, Option<(BlobRef, Arc<Value>)>) {
        let (success, text) = match kept_in_place(success) {
            Ok(result) => return (result, None),
            Err(large) => large,
        };
        let Success { output, artifacts, truncated } = success;
        let done = |output, truncated| TaskResult::Succeeded { output, artifacts, truncated };
        let bytes = text.len();
        if bytes > limits::OUTCOME_BYTES {
            return (done(Data::from(cut(bytes, "it is too large")), true), None);
        }
        // What expressions see is what the blob gives back: its text has one form for 1 and 1.0.
        let value = serde_json::from_slice(&text).unwrap_or(output);
        match self.blobs.put(Bytes::from(text)).await {
            Ok(blob) => (done(Data::Blob(blob), truncated), Some((blob, Arc::new(value)))),
            Err(error) => (done(Data::from(cut(bytes, &error.to_string())), true), None),
        }
    }

    async fn fetch(&self, blob: BlobRef) -> Result<Bytes, BlobError> {
        self.blobs.get(blob).await
    }
}

/// The result of a success whose output stays where it is; any other comes back with its canonical text.
fn kept_in_place(success: Success) -> Result<TaskResult, (Success, Vec<u8>)> {
    let done = |Success { artifacts, truncated, .. }, output| {
        Ok(TaskResult::Succeeded { output, artifacts, truncated })
    };
    if canonical::deeper_than(&success.output, limits::VALUE_NESTING) {
        let why = format!("it is nested deeper than {}", limits::VALUE_NESTING);
        return done(Success { truncated: true, ..success }, Data::from(cut(0, &why)));
    }
    let text = canonical::to_vec(&success.output);
    if text.len() > limits::INLINE_BYTES {
        return Err((success, text));
    }
    let output = Data::from(success.output.clone());
    done(success, output)
}

/// A tool that panicked.
pub(crate) fn panicked(spec: &TaskSpec) -> Failed {
    doubtful(spec.class, Code::Internal, format!("{} panicked", spec.tool))
}

/// The failure of an attempt of which nothing is known: harmless for what may simply be dropped.
pub(crate) fn doubtful(class: EffectClass, code: Code, message: String) -> Failed {
    Failed::from(if class.abandonable() {
        Failure::certain(code, message)
    } else {
        Failure::in_doubt(code, message)
    })
}

/// What stands for an output that could not be kept.
fn cut(bytes: usize, why: &str) -> Value {
    json!({ "truncated": true, "bytes": bytes, "why": why })
}

pub(crate) fn failed(over: Failed) -> TaskResult {
    TaskResult::Failed { failure: over.failure, retry_after_ms: over.retry_after_ms }
}

pub(crate) fn blob_failure(error: &BlobError) -> Failure {
    let code = match error {
        BlobError::Missing(_) => Code::BlobMissing,
        BlobError::Corrupt(_) => Code::BlobCorrupt,
        BlobError::Unavailable(_) => Code::Unavailable,
        BlobError::Full(_) => Code::StoreFull,
    };
    Failure::certain(code, error.to_string())
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|e| Failure::certain(Code::BlobCorrupt, e.to_string()))
}

/// A spawned call that does not outlive whoever waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<Result<Success, Failed>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches blobs on a tokio runtime.
pub struct TokioFetcher {
    runtime: Handle,
    blobs: Arc<dyn Blobs>,
    shard: Sender<Message>,
}

impl std::fmt::Debug for TokioFetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokioFetcher")
    }
}

impl TokioFetcher {
    /// A fetcher that reports to `shard`.
    pub fn new(runtime: Handle, blobs: Arc<dyn Blobs>, shard: Sender<Message>) -> Self {
        Self { runtime, blobs, shard }
    }
}

impl Fetcher for TokioFetcher {
    fn fetch(&mut self, wanted: Vec<BlobRef>) {
        let (blobs, shard) = (Arc::clone(&self.blobs), self.shard.clone());
        self.runtime.spawn(async move {
            let mut found = Vec::with_capacity(wanted.len());
            for blob in wanted {
                let value = blobs.get(blob).await.and_then(|bytes| {
                    let parsed = serde_json::from_slice(&bytes);
                    parsed.map(Arc::new).map_err(|_| BlobError::Corrupt(blob.blob))
                });
                found.push((blob, value));
            }
            let _ = shard.send(Message::Blobs(found));
        });
    }
}
