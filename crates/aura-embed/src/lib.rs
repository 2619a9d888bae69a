//! Aura inside a program: the same engine, store and history as the command line, with functions of your own.
//!
//! ```no_run
//! use aura_embed::{Aura, Ctx, Done, Failure, function};
//! use serde_json::{Value, json};
//!
//! async fn greet(state: Value, input: Value, mut ctx: Ctx) -> Result<Done<Value, Value>, Failure> {
//!     let at = ctx.now().await?;
//!     Ok(Done::new(state, json!({ "hello": input["name"], "at": at.0 })))
//! }
//!
//! # fn main() -> Result<(), aura_embed::Problem> {
//! let aura = Aura::builder("data").function(function("greet", greet)).start()?;
//! let flow = "flow: hello\nnodes: [{ id: greet, code: greet, with: { name: you } }]\n";
//! let run = aura.run(flow, json!({}))?;
//! println!("{:?}", aura.wait(run)?);
//! # Ok(())
//! # }
//! ```
//!
//! Calls block the thread that makes them; from async code, make them on a thread that may block.
#![deny(missing_docs)]

mod replay;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aura_core::event::EventBody;
use aura_core::input::{ApprovalVerdict, Input};
use aura_core::ports::{Activity, Clock, Mark, RunQuery, Secrets, Store, StoreError};
use aura_core::task::Permissions;
use aura_core::{Data, StepPath};
use aura_engine::{Catalog, Engine, Options, Ports};
use aura_store::{Access, Opened};
use serde_json::Value;
use tokio::runtime::Runtime;

pub use aura_core::error::{Code as ErrorCode, Failure, Problem};
pub use aura_core::id::RunId;
pub use aura_core::ports::{RunRow, RunStatus};
pub use aura_core::time::Millis;
pub use aura_engine::code::{Code, Ctx, Done, Written, function};
pub use replay::Replayed;
pub use start::Start;

/// How long calls in flight are awaited when a program leaves.
const GRACE: Duration = Duration::from_secs(10);

/// Longest time between two looks at a run that is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// What a program brings, before it opens a data directory.
pub struct Builder {
    dir: PathBuf,
    tools: Vec<Arc<dyn Activity>>,
    functions: Vec<Arc<dyn Code>>,
    secrets: Arc<dyn Secrets>,
    permissions: Permissions,
    actor: String,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// `AURA_SECRET_NAME`.
struct Environment;

impl Secrets for Environment {
    fn get(&self, name: &str) -> Result<Option<String>, String> {
        match std::env::var(format!("AURA_SECRET_{name}")) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(format!("AURA_SECRET_{name} is not text"))
            }
        }
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis(jiff::Timestamp::now().as_millisecond())
    }
}

impl Builder {
    /// Adds a function that `code` nodes may run.
    pub fn function(mut self, function: Arc<dyn Code>) -> Self {
        self.functions.push(function);
        self
    }

    /// Adds a tool, beside or instead of a built-in one of the same name.
    pub fn tool(mut self, tool: Arc<dyn Activity>) -> Self {
        self.tools.push(tool);
        self
    }

    /// Takes secrets from here instead of from `AURA_SECRET_NAME` in the environment.
    pub fn secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Lets the runs that are started from now on use files below this absolute folder.
    pub fn root(mut self, folder: impl Into<String>) -> Self {
        self.permissions.roots.push(folder.into());
        self
    }

    /// Lets them call this loopback or private host, `HOST` or `HOST:PORT`.
    pub fn allow_net(mut self, host: impl Into<String>) -> Self {
        self.permissions.allow_net.push(host.into());
        self
    }

    /// Who starts, signals and answers, as the log names them.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Becomes the owner of the data directory and starts the engine. No run is performed before it is asked for.
    ///
    /// # Errors
    /// Another process owns the directory, or it can't be opened.
    pub fn start(self) -> Result<Aura, Problem> {
        let opened = aura_store::open(&self.dir, Access::Owner)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("aura-worker")
            .build()
            .map_err(|e| Problem::new(ErrorCode::Internal, format!("no threads: {e}")))?;
        let tools = aura_tools::builtin(aura_tools::Options::default());
        let catalog = Catalog::new(tools.into_iter().chain(self.tools)).with(self.functions);
        let ports = Ports {
            store: Arc::clone(&opened.store) as _,
            blobs: Arc::clone(&opened.blobs) as _,
            catalog: catalog.clone(),
            secrets: self.secrets,
            clock: Arc::new(SystemClock),
            runtime: runtime.handle().clone(),
        };
        let engine = Engine::start(ports, Options::default())?;
        let (permissions, actor) = (self.permissions, self.actor);
        Ok(Aura { opened, engine, runtime, catalog, permissions, actor })
    }
}

/// An open data directory and its engine.
pub struct Aura {
    opened: Opened,
    engine: Engine,
    runtime: Runtime,
    catalog: Catalog,
    permissions: Permissions,
    actor: String,
}

impl std::fmt::Debug for Aura {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aura").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

/// How a run stands when nothing more happens by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It ended well, with this output.
    Completed(Value),
    /// It failed.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
    /// It waits for a person or a signal.
    Waiting(RunStatus),
}

impl Aura {
    /// What a program brings, for a data directory, which is made if it is not there.
    pub fn builder(dir: impl Into<PathBuf>) -> Builder {
        Builder {
            dir: dir.into(),
            tools: Vec::new(),
            functions: Vec::new(),
            secrets: Arc::new(Environment),
            permissions: Permissions::default(),
            actor: "program".to_owned(),
        }
    }

    /// Starts a run of a flow, given as the text of a flow file, and performs it.
    ///
    /// # Errors
    /// The flow has mistakes, the input does not fit, a function is missing, or the store can't take it.
    pub fn run(&self, flow: &str, input: Value) -> Result<RunId, Problem> {
        self.start(Start::new(flow, input))
    }

    /// Starts a run with a key or labels. The same flow, key and input again is the same run.
    ///
    /// # Errors
    /// As [`Aura::run`]; the key is in use for another input.
    pub fn start(&self, start: Start) -> Result<RunId, Problem> {
        let salt = self.opened.store.salt();
        let (run, order) = start.order(&self.catalog, salt, (&self.permissions, &self.actor))?;
        let accepted = self.engine.handle().start(run, order)?;
        if accepted.already && !accepted.status.closed() {
            self.engine.handle().perform(run)?;
        }
        Ok(run)
    }

    /// Performs a run that is there from now on: what was under way when its process ended is recovered.
    ///
    /// # Errors
    /// There is no such run, or this program lacks a function of it.
    pub fn resume(&self, run: RunId) -> Result<(), Problem> {
        self.engine.handle().perform(run).map(|_| ())
    }

    /// Waits until a run has ended, or waits for somebody. A run that goes on anew has ended when the one that goes on
    /// in its place has; one that waits for child runs waits for somebody when they do.
    ///
    /// # Errors
    /// There is no such run, it is set aside, or the store can't be read.
    pub fn wait(&self, run: RunId) -> Result<End, Problem> {
        let handle = self.engine.handle();
        let (mut run, mut seen) = (run, 0);
        loop {
            if let Some(problem) = handle.broken().or_else(|| handle.parked(run)) {
                return Err(problem);
            }
            let row = self.row(run)?;
            match (row.mark, row.next) {
                (Mark::Closed, Some(next)) => run = next,
                (Mark::Closed, None) => return self.end(run),
                _ => {
                    if let Some(status) = self.waits_as(&row)? {
                        return Ok(End::Waiting(status));
                    }
                }
            }
            seen = handle.bell().wait(seen, LOOK);
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The run has ended, or keeps too many signals.
    pub fn signal(&self, run: RunId, name: &str, payload: Value) -> Result<(), Problem> {
        let (id, name) = (uuid::Uuid::now_v7().to_string(), name.to_owned());
        let (payload, actor) = (Data::from(payload), self.actor.clone());
        self.submit(run, Input::Signal { id, name, payload, actor })
    }

    /// Grants what an approval asks at `step`.
    ///
    /// # Errors
    /// Nothing is asked there.
    pub fn approve(&self, run: RunId, step: &str) -> Result<(), Problem> {
        self.answer(run, step, ApprovalVerdict::Granted)
    }

    /// Denies it.
    ///
    /// # Errors
    /// Nothing is asked there.
    pub fn deny(&self, run: RunId, step: &str) -> Result<(), Problem> {
        self.answer(run, step, ApprovalVerdict::Denied)
    }

    /// Asks a run to end.
    ///
    /// # Errors
    /// It has ended.
    pub fn cancel(&self, run: RunId) -> Result<(), Problem> {
        self.submit(run, Input::Cancel { actor: self.actor.clone(), reason: None })
    }

    /// The rows of runs, the newest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn runs(&self) -> Result<Vec<RunRow>, Problem> {
        self.opened.store.runs(&RunQuery::default()).map_err(|e| unreadable(&e))
    }

    /// Runs the function of a settled step again from its journal alone and compares: nothing is called.
    ///
    /// # Errors
    /// There is no such step, this program lacks the function, or the history can't be read.
    pub fn replay(&self, run: RunId, step: &str) -> Result<Replayed, Problem> {
        replay::replay(&self.opened, &self.catalog, &self.runtime, (run, StepPath::from(step)))
    }

    /// Starts no more calls, awaits those in flight for ten seconds, and gives up the data directory. Gives back whether
    /// all of them came to their end; the next owner asks about those that did not.
    pub fn close(self) -> bool {
        let Self { opened, engine, runtime, .. } = self;
        let drained = engine.shutdown(GRACE);
        runtime.shutdown_timeout(Duration::from_millis(500));
        drop(opened);
        drained
    }

    fn answer(&self, run: RunId, step: &str, verdict: ApprovalVerdict) -> Result<(), Problem> {
        let (step, actor) = (StepPath::from(step), self.actor.clone());
        self.submit(run, Input::Approval { step, verdict, action: None, actor, reason: None })
    }

    fn submit(&self, run: RunId, input: Input) -> Result<(), Problem> {
        self.engine.handle().submit(run, input).map(|_| ())
    }

    fn row(&self, run: RunId) -> Result<RunRow, Problem> {
        let query = RunQuery { id_prefix: Some(run.to_string()), ..RunQuery::default() };
        let rows = self.opened.store.runs(&query).map_err(|e| unreadable(&e))?;
        let none = || Problem::new(ErrorCode::RunNotFound, format!("no run {run}"));
        rows.into_iter().next().ok_or_else(none)
    }

    /// As what a run waits for somebody; `None` while something goes on in it or below it.
    fn waits_as(&self, row: &RunRow) -> Result<Option<RunStatus>, Problem> {
        match (row.mark, row.status) {
            (Mark::Asleep(None), RunStatus::Running) => {}
            (Mark::Asleep(None), status) => return Ok(Some(status)),
            _ => return Ok(None),
        }
        let query = RunQuery { parent: Some(row.run), ..RunQuery::default() };
        let mut children = self.opened.store.runs(&query).map_err(|e| unreadable(&e))?;
        children.retain(|child| child.mark != Mark::Closed && child.root.is_some());
        let mut found = None;
        for child in &children {
            match self.waits_as(child)? {
                None => return Ok(None),
                status => found = found.or(status),
            }
        }
        Ok(found)
    }

    fn end(&self, run: RunId) -> Result<End, Problem> {
        let mut end = End::Cancelled;
        let blobs = &self.opened.blobs;
        aura_engine::read_all(&*self.opened.store, run, &mut |commit| {
            let events = commit
                .events()
                .map_err(|e| Problem::new(ErrorCode::ChainBroken, format!("run {run}: {e}")))?;
            for event in events {
                match event.body {
                    EventBody::RunCompleted(data) => {
                        let output =
                            self.runtime.block_on(replay::value(&**blobs, &data.output))?;
                        end = End::Completed(output);
                    }
                    EventBody::RunFailed(data) => end = End::Failed(data.error),
                    _ => {}
                }
            }
            Ok(())
        })?;
        Ok(end)
    }
}

fn unreadable(error: &StoreError) -> Problem {
    Problem::new(error.code(), error.to_string())
}
