//! Owning the store: the engine, the socket, and the trees of runs that this process performs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aura_core::error::Problem;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{Compacted, Compaction, Mark, RunQuery, Store};
use aura_engine::{Accepted, Catalog, Engine, Handle};
use aura_store::{Access, Opened, SqliteStore};
use tokio::runtime::Runtime;

use crate::archive::restored;
use crate::context::Context;
use crate::family;
use crate::order::{ForkOrder, Order};
use crate::socket::protocol::{Answer, Ask, Request, Taken};
use crate::socket::server::Server;
use crate::wire;

/// How long those who ask at the last moment are awaited.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A process's ownership of a store; ends with [`Owner::leave`].
#[derive(Debug)]
pub(crate) struct Owner {
    opened: Opened,
    desk: Arc<Desk>,
    engine: Engine,
    server: Option<Server>,
    runtime: Runtime,
}

/// Where requests come in, from this process and from others.
#[derive(Debug)]
pub(crate) struct Desk {
    handle: Handle,
    catalog: Catalog,
    salt: Hash,
    store: Arc<SqliteStore>,
    dir: PathBuf,
    /// Runs that this process performs, and whether nobody watches them.
    trees: Mutex<BTreeMap<RunId, bool>>,
    /// Requests from outside that are being answered.
    busy: AtomicUsize,
    closed: AtomicBool,
}

impl Owner {
    /// Takes the store and starts its engine; with `serve` others can ask for things meanwhile.
    pub(crate) fn start(context: &Context, serve: bool) -> Result<Self, Problem> {
        let is_new = !context.dir.join("aura.db").exists();
        let opened = aura_store::open(&context.dir, Access::Owner)?;
        if is_new && !context.quiet {
            context.out.note(format_args!("runs are kept in {}", context.dir.display()));
        }
        let runtime = wire::runtime()?;
        let catalog = wire::catalog();
        let engine = wire::engine(context, &opened, catalog.clone(), &runtime)?;
        let desk = Arc::new(Desk {
            handle: engine.handle().clone(),
            catalog,
            salt: opened.store.salt(),
            store: Arc::clone(&opened.store),
            dir: context.dir.clone(),
            trees: Mutex::default(),
            busy: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        let server = if serve {
            Some(Server::start(&context.dir, Arc::clone(&desk), &runtime)?)
        } else {
            None
        };
        if let Some(server) = &server {
            opened.store.announce(Some(server.path()))?;
        }
        Ok(Self { opened, desk, engine, server, runtime })
    }

    /// The store.
    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Where to ask for things.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The engine's handle.
    pub(crate) fn handle(&self) -> &Handle {
        self.engine.handle()
    }

    /// Answers requests again.
    pub(crate) fn reopen(&self) {
        self.desk.closed.store(false, Ordering::SeqCst);
    }

    /// Answers no more requests, unless `unless` says that there is a reason to stay after all.
    pub(crate) fn close(&self, unless: impl FnOnce() -> bool) -> bool {
        self.desk.closed.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        while self.desk.busy.load(Ordering::SeqCst) > 0 && begun.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(5));
        }
        if unless() {
            self.reopen();
            return false;
        }
        true
    }

    /// Starts no more effects, awaits those in flight for at most `grace`, and gives up the store. Gives back whether
    /// everything in flight came to its end.
    pub(crate) fn leave(self, grace: Duration) -> bool {
        let Self { opened, desk, engine, server, runtime } = self;
        desk.closed.store(true, Ordering::SeqCst);
        let at_work = server.as_ref().map(Server::at_work);
        drop(server);
        let drained = engine.shutdown(grace);
        // What was taken over the socket and is durable is told, or its sender would send it again.
        if let Some(at_work) = at_work {
            at_work.finish(&runtime);
        }
        drop(desk);
        // Calls that are still running hold the store; they end here, and recovery asks about them.
        runtime.shutdown_timeout(Duration::from_millis(500));
        drop(opened);
        drained
    }
}

impl Desk {
    /// Starts a run and performs it.
    pub(crate) fn start(&self, order: Order, detached: bool) -> Result<Taken, Problem> {
        let run = order.run;
        let start = order.into_start(&self.catalog, self.salt)?;
        let mut accepted = self.handle.start(run, start)?;
        if accepted.already && !accepted.status.closed() {
            // A keyed run that was there before, and that perhaps nobody performs.
            self.may_perform(run)?;
            accepted = Accepted { already: true, ..self.handle.perform(run)? };
        }
        self.adopt(run, detached);
        Ok(Taken { accepted, performed: true })
    }

    /// Forks a run and performs the fork.
    pub(crate) fn fork(&self, order: ForkOrder, detached: bool) -> Result<Taken, Problem> {
        let run = order.run;
        let accepted = self.handle.fork(run, order.into_fork(&self.catalog, self.salt)?)?;
        self.adopt(run, detached);
        Ok(Taken { accepted, performed: true })
    }

    /// Performs a run that exists.
    pub(crate) fn perform(&self, run: RunId, detached: bool) -> Result<Taken, Problem> {
        self.may_perform(run)?;
        let accepted = self.handle.perform(run)?;
        self.adopt(run, detached);
        Ok(Taken { accepted, performed: true })
    }

    /// Performs every run that has not ended: reading only those in which something is open, however many there are.
    pub(crate) fn perform_all(&self, runs: &[RunId]) -> Result<(), Problem> {
        for run in runs {
            self.may_perform(*run)?;
        }
        for run in runs {
            self.adopt(*run, false);
        }
        self.handle.recover().map(drop)
    }

    /// Hands in an input.
    pub(crate) fn input(&self, run: RunId, ask: Ask) -> Result<Taken, Problem> {
        let accepted = self.handle.submit(run, ask.into())?;
        let root = family::root(&*self.store, run)?;
        let trees = self.trees();
        Ok(Taken { accepted, performed: trees.contains_key(&run) || trees.contains_key(&root) })
    }

    fn may_perform(&self, run: RunId) -> Result<(), Problem> {
        restored::refusal(&self.dir, run)?.map_or(Ok(()), Err)
    }

    /// Removes what is not wanted any more.
    pub(crate) fn compact(&self, asked: &Compaction) -> Result<Compacted, Problem> {
        self.store.compact(asked).map_err(|e| crate::resolve::unreadable(&e))
    }

    /// What keeps a run from going on, if anything does.
    pub(crate) fn trouble(&self, run: RunId) -> Option<Problem> {
        let handle = &self.handle;
        handle
            .broken()
            .or_else(|| handle.parked(run))
            .or_else(|| self.set_aside_below(run))
            .or_else(|| handle.stalled())
    }

    /// What became of a run of this tree that is set aside: its parent waits for it.
    fn set_aside_below(&self, tree: RunId) -> Option<Problem> {
        let below = |run| run != tree && family::root(&*self.store, run).is_ok_and(|r| r == tree);
        self.handle.set_aside().into_iter().find_map(|(run, why)| below(run).then_some(why))
    }

    /// Answers another process.
    pub(crate) fn answer(&self, request: Request) -> Answer {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let answer =
            if self.closed.load(Ordering::SeqCst) { Answer::Leaving } else { self.act(request) };
        self.busy.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    fn act(&self, request: Request) -> Answer {
        match request {
            Request::Ping => Answer::Here,
            Request::Start { order, detached } => self.start(*order, detached).into(),
            Request::Fork { order, detached } => self.fork(*order, detached).into(),
            Request::Perform { run, detached } => self.perform(run, detached).into(),
            Request::Look { run } => match self.trouble(run) {
                Some(problem) => Answer::from(Err(problem)),
                None => Answer::Here,
            },
            Request::Input { run, ask } => self.input(run, ask).into(),
            Request::Compact { asked } => match self.compact(&asked) {
                Ok(done) => Answer::Compacted(done),
                Err(problem) => Answer::from(Err(problem)),
            },
        }
    }

    /// Runs in which something can happen without anybody's doing, and whether nobody watches them.
    pub(crate) fn in_work(&self, store: &dyn Store) -> Result<Vec<(RunId, bool)>, Problem> {
        let mut trees = self.trees();
        let known: Vec<_> = trees.iter().map(|(run, detached)| (*run, *detached)).collect();
        let mut working = Vec::new();
        for (run, detached) in known {
            let query = RunQuery { id_prefix: Some(run.to_string()), ..RunQuery::default() };
            let rows = store.runs(&query).map_err(|e| crate::resolve::unreadable(&e))?;
            let Some(row) = rows.first() else {
                trees.remove(&run);
                continue;
            };
            match row.mark {
                Mark::Active | Mark::Asleep(Some(_)) => working.push((run, detached)),
                Mark::Asleep(None) => {
                    let below = family::open_below(store, run)?;
                    if below.iter().any(|row| row.mark != Mark::Asleep(None)) {
                        working.push((run, detached));
                    }
                }
                Mark::Closed => {
                    trees.remove(&run);
                    // What goes on in its place is performed here too.
                    let last = family::last(store, run)?;
                    let open = family::row(store, last)?.filter(|row| !row.status.closed());
                    if last != run
                        && let Some(row) = open
                    {
                        trees.insert(last, detached);
                        if row.mark != Mark::Asleep(None) {
                            working.push((last, detached));
                        }
                    }
                }
            }
        }
        Ok(working)
    }

    fn adopt(&self, run: RunId, detached: bool) {
        // Once nobody watches a run, that stays so: whoever looks on later may leave again.
        self.trees().entry(run).and_modify(|alone| *alone |= detached).or_insert(detached);
    }

    fn trees(&self) -> MutexGuard<'_, BTreeMap<RunId, bool>> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
