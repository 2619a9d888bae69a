//! Functions of the program that steps run, and the one door through which anything reaches them.
//!
//! A function is run again from its beginning whenever the process that ran it is gone. What it asked for before is
//! answered from its journal, so that it takes the same way to the same place; there it goes on.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aura_core::data::Data;
use aura_core::error::{Code as ErrorCode, Failure};
use aura_core::id::RunId;
use aura_core::journal::{Asked, Recorded};
use aura_core::ports::Blobs;
use aura_core::time::Millis;
use aura_core::{StepPath, limits};
use crossbeam_channel::Sender;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::message::{Answered, Asking, Message};
use crate::perform::{blob_failure, parse};

/// What a function gives back.
#[derive(Debug, Clone, PartialEq)]
pub struct Done<S, O> {
    /// The variables as they shall be; those that it changed are set.
    pub state: S,
    /// The output of the step.
    pub output: O,
    /// The node to go to, one that `next` of the step's node names; without it, the routes there decide.
    pub next: Option<String>,
}

impl<S, O> Done<S, O> {
    /// An output and the variables, with the routes of the flow.
    pub fn new(state: S, output: O) -> Self {
        Self { state, output, next: None }
    }

    /// The same, going to this node.
    pub fn next(mut self, to: impl Into<String>) -> Self {
        self.next = Some(to.into());
        self
    }
}

/// The future of a function.
pub type Running = Pin<Box<dyn Future<Output = Result<Done<Value, Value>, Failure>> + Send>>;

/// A function that a step of kind `code` runs.
///
/// It must depend on nothing but its arguments and what `ctx` gives it: no clock, no random number, no file, no
/// network, no order of a hash map.
pub trait Code: Send + Sync {
    /// The name that flows use.
    fn name(&self) -> &str;

    /// Begins it: with the variables, what the step gives it, and the door.
    fn run(&self, state: Value, input: Value, ctx: Ctx) -> Running;
}

/// Makes a function of an async Rust function with types of its own.
///
/// `state` is read from the flow's variables and written back into them; fields that the type lacks are left alone.
pub fn function<S, I, O, F, R>(name: impl Into<String>, body: F) -> Arc<dyn Code>
where
    S: DeserializeOwned + Serialize + Send + Sync + 'static,
    I: DeserializeOwned + Send + Sync + 'static,
    O: Serialize + Send + Sync + 'static,
    F: Fn(S, I, Ctx) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Done<S, O>, Failure>> + Send + 'static,
{
    Arc::new(Typed { name: name.into(), body, types: PhantomData })
}

struct Typed<S, I, O, F> {
    name: String,
    body: F,
    types: PhantomData<fn(S, I) -> O>,
}

impl<S, I, O, F, R> Code for Typed<S, I, O, F>
where
    S: DeserializeOwned + Serialize + Send + Sync + 'static,
    I: DeserializeOwned + Send + Sync + 'static,
    O: Serialize + Send + Sync + 'static,
    F: Fn(S, I, Ctx) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Done<S, O>, Failure>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, state: Value, input: Value, ctx: Ctx) -> Running {
        let unfit = |what: &str, error: serde_json::Error| {
            let message = format!("{what} do not fit the function '{}': {error}", self.name);
            Failure::certain(ErrorCode::InvalidInput, message)
        };
        let state = serde_json::from_value(state).map_err(|e| unfit("the variables", e));
        let input = serde_json::from_value(input).map_err(|e| unfit("the parameters", e));
        let begun = state.and_then(|state| Ok((self.body)(state, input?, ctx)));
        Box::pin(async move {
            let Done { state, output, next } = begun?.await?;
            Ok(Done { state: json_of(&state)?, output: json_of(&output)?, next })
        })
    }
}

fn json_of(value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|e| Failure::certain(ErrorCode::InvalidInput, format!("it has no JSON form: {e}")))
}

/// The door of a function to everything outside. Each call is numbered, hashed and recorded before it is answered.
pub struct Ctx {
    run: RunId,
    step: StepPath,
    recorded: Arc<Vec<Recorded>>,
    shard: Option<Sender<Message>>,
    blobs: Arc<dyn Blobs>,
    desk: Arc<Mutex<Desk>>,
}

/// What is known of the calls of one function, also after it ended.
#[derive(Default)]
struct Desk {
    /// Calls made so far.
    made: u64,
    /// The call that waits for an answer.
    open: Option<Asked>,
    /// Why the function can't go on, whatever it says.
    trouble: Option<Failure>,
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("run", &self.run)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

/// An artifact that a function wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The whole path.
    pub path: String,
    /// Bytes of the content.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: String,
}

impl Ctx {
    /// The time: that of the commit in which it was asked for.
    ///
    /// # Errors
    /// Those of every call: the function must end. Whatever it does then, its step fails.
    pub async fn now(&mut self) -> Result<Millis, Failure> {
        self.ask(Asked::Now).await.and_then(read).map(Millis)
    }

    /// A random number in [0, 1).
    ///
    /// # Errors
    /// As [`Ctx::now`].
    pub async fn random(&mut self) -> Result<f64, Failure> {
        self.ask(Asked::Random).await.and_then(read)
    }

    /// A random UUID.
    ///
    /// # Errors
    /// As [`Ctx::now`].
    pub async fn uuid(&mut self) -> Result<String, Failure> {
        self.ask(Asked::Uuid).await.and_then(read)
    }

    /// A durable pause: it ends when it is due, also if the program was not running meanwhile.
    ///
    /// # Errors
    /// As [`Ctx::now`].
    pub async fn sleep(&mut self, span: Duration) -> Result<(), Failure> {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let ms = ms.min(limits::DURATION_MAX_MS);
        self.ask(Asked::Sleep { ms }).await.map(|_| ())
    }

    /// A call of a tool that the step's node lists under `tools`, with its intent, class, retries and doubt.
    ///
    /// # Errors
    /// The failure of the call, which the function may handle; and those of every call.
    pub async fn tool(&mut self, name: &str, args: impl Serialize) -> Result<Value, Failure> {
        let args = Data::from(json_of(&args)?);
        self.ask(Asked::Tool { tool: name.to_owned(), args }).await
    }

    /// The tool `http.request`, with its parameters.
    ///
    /// # Errors
    /// As [`Ctx::tool`].
    pub async fn http(&mut self, request: impl Serialize) -> Result<Value, Failure> {
        self.tool("http.request", request).await
    }

    /// Writes a text as an artifact, by the tool `file.write`.
    ///
    /// # Errors
    /// As [`Ctx::tool`].
    pub async fn write_artifact(&mut self, path: &str, text: &str) -> Result<Written, Failure> {
        self.tool("file.write", json!({ "path": path, "text": text })).await.and_then(read)
    }

    /// Reads a text, by the tool `file.read`.
    ///
    /// # Errors
    /// As [`Ctx::tool`].
    pub async fn read_artifact(&mut self, path: &str) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct File {
            text: String,
        }
        let file = self.tool("file.read", json!({ "path": path })).await.and_then(read::<File>)?;
        Ok(file.text)
    }

    /// A door to a running engine.
    pub(crate) fn live(
        run: RunId,
        step: StepPath,
        recorded: Vec<Recorded>,
        (shard, blobs): (Sender<Message>, Arc<dyn Blobs>),
    ) -> Self {
        let shard = Some(shard);
        Self { run, step, recorded: Arc::new(recorded), shard, blobs, desk: Arc::default() }
    }

    /// A door to a journal alone: nothing is called.
    pub(crate) fn recorded(
        run: RunId,
        step: StepPath,
        recorded: Vec<Recorded>,
        blobs: Arc<dyn Blobs>,
    ) -> Self {
        Self { run, step, recorded: Arc::new(recorded), shard: None, blobs, desk: Arc::default() }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self, failure: Failure) -> Failure {
        self.desk().trouble.get_or_insert(failure).clone()
    }

    async fn ask(&mut self, asked: Asked) -> Result<Value, Failure> {
        let number = {
            let mut desk = self.desk();
            if let Some(open) = desk.open.take() {
                let failure = left(desk.made, &open);
                desk.trouble.get_or_insert(failure);
                desk.open = Some(open);
            }
            if let Some(trouble) = &desk.trouble {
                return Err(trouble.clone());
            }
            desk.made += 1;
            desk.made
        };
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        match self.recorded.get(place) {
            Some(recorded) if recorded.call != asked.hash() => {
                let failure = differs(number, Some(&recorded.asked), Some(&asked));
                return Err(self.give_up(failure));
            }
            Some(Recorded { answer: Some(answer), .. }) => {
                let answer = answer.clone();
                return self.value(answer).await;
            }
            None if self.shard.is_none() => {
                return Err(self.give_up(differs(number, None, Some(&asked))));
            }
            None if number > limits::JOURNAL_CALLS => {
                let message = format!("a function makes at most {} calls", limits::JOURNAL_CALLS);
                return Err(self.give_up(Failure::certain(ErrorCode::LimitExceeded, message)));
            }
            Some(_) | None => {}
        }
        self.desk().open = Some(asked.clone());
        let answer = self.wait_for(number, asked).await;
        self.desk().open = None;
        self.value(answer?).await
    }

    /// Asks the shard and waits until the answer is durable.
    async fn wait_for(&self, number: u64, asked: Asked) -> Result<Answered, Failure> {
        let Some(shard) = &self.shard else {
            return Err(self.give_up(differs(number, None, Some(&asked))));
        };
        let (reply, answer) = oneshot::channel();
        let (run, step, call) = (self.run, self.step.clone(), asked.hash());
        let asking = Asking { run, step, number, asked, call, reply };
        let sent = shard.send(Message::Journal(asking)).is_ok();
        match answer.await {
            Ok(Ok(answer)) if sent => Ok(answer),
            Ok(Err(problem)) => Err(self.give_up(Failure::certain(problem.code, problem.what))),
            // The step is gone, or the engine: nobody waits for this function any more.
            _ => std::future::pending().await,
        }
    }

    async fn value(&self, answer: Answered) -> Result<Value, Failure> {
        match answer? {
            Data::Json(value) => Ok(Value::clone(&value)),
            Data::Blob(blob) => {
                let bytes =
                    self.blobs.get(blob).await.map_err(|e| self.give_up(blob_failure(&e)))?;
                parse(&bytes).map_err(|failure| self.give_up(failure))
            }
        }
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|e| {
        Failure::certain(ErrorCode::Internal, format!("an answer of another form: {e}"))
    })
}

/// Runs a function on its arguments, `{state, input}`, and gives its report, `{output, vars, next}`.
pub(crate) async fn run(code: &dyn Code, args: Value, ctx: Ctx) -> Result<Value, Failure> {
    let (state, input) = (args["state"].clone(), args["input"].clone());
    let door = Ctx {
        run: ctx.run,
        step: ctx.step.clone(),
        recorded: Arc::clone(&ctx.recorded),
        shard: ctx.shard.clone(),
        blobs: Arc::clone(&ctx.blobs),
        desk: Arc::clone(&ctx.desk),
    };
    let name = code.name().to_owned();
    let begun = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        code.run(state.clone(), input, door)
    }));
    let panicked =
        || Failure::certain(ErrorCode::Internal, format!("the function '{name}' panicked"));
    let ended = match begun {
        Ok(running) => {
            let mut job = Job(tokio::spawn(running));
            (&mut job.0).await.unwrap_or_else(|_| Err(panicked()))
        }
        Err(_) => Err(panicked()),
    };
    // A call that it began and left is awaited: what it did must be known before the step can end.
    let (made, open) = {
        let desk = ctx.desk();
        (desk.made, desk.open.clone())
    };
    if let Some(open) = open {
        ctx.give_up(left(made, &open));
        let _ = ctx.wait_for(made, open).await;
    }
    let trouble = ctx.desk().trouble.clone();
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let place = usize::try_from(made).unwrap_or(usize::MAX);
    if let Some(never) = ctx.recorded.get(place) {
        return Err(differs(made + 1, Some(&never.asked), None));
    }
    let done = ended?;
    Ok(json!({ "output": done.output, "vars": changed(&state, done.state), "next": done.next }))
}

/// Runs a function on its arguments against a journal alone: nothing is called, and whatever the journal lacks is
/// `NON_DETERMINISM`. Gives its report, as the log has it.
///
/// # Errors
/// The failure of the function, or the first difference.
pub async fn replay(
    code: Arc<dyn Code>,
    args: Value,
    (run, step): (RunId, StepPath),
    journal: Vec<Recorded>,
    blobs: Arc<dyn Blobs>,
) -> Result<Value, Failure> {
    let ctx = Ctx::recorded(run, step, journal, blobs);
    self::run(&*code, args, ctx).await
}

/// A spawned function that does not outlive whoever waits for it.
struct Job(tokio::task::JoinHandle<Result<Done<Value, Value>, Failure>>);

impl Drop for Job {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn changed(before: &Value, after: Value) -> Value {
    let Value::Object(mut after) = after else { return json!({}) };
    after.retain(|name, value| before.get(name.as_str()) != Some(&*value));
    Value::Object(after)
}

/// Characters of arguments that a message shows.
const SHOWN: usize = 300;

fn words(asked: Option<&Asked>, nothing: &str) -> String {
    let text = match asked {
        None => return nothing.to_owned(),
        Some(Asked::Sleep { ms }) => format!("sleep {ms} ms"),
        Some(Asked::Tool { tool, args: Data::Json(args) }) => {
            format!("tool {tool} {}", aura_core::canonical::to_string(args))
        }
        Some(Asked::Tool { tool, args: Data::Blob(blob) }) => {
            format!("tool {tool} with {} bytes of arguments", blob.bytes)
        }
        Some(other) => other.kind().to_owned(),
    };
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

/// The recorded call and the one that was attempted, side by side.
fn differs(number: u64, recorded: Option<&Asked>, attempted: Option<&Asked>) -> Failure {
    let message = format!(
        "call {number} is not what the journal has\n  recorded:  {}\n  attempted: {}",
        words(recorded, "nothing"),
        words(attempted, "nothing, the function ended"),
    );
    Failure::certain(ErrorCode::NonDeterminism, message)
}

fn left(number: u64, asked: &Asked) -> Failure {
    let message = format!(
        "the function left call {number} ({}) before its answer: what it did then can't be repeated",
        words(Some(asked), ""),
    );
    Failure::certain(ErrorCode::NonDeterminism, message)
}
