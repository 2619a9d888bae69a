//! The engine: a thread that drives a shard with the real clock, and the handle by which others reach it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::ports::{Blobs, Clock, Secrets, Store};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use tokio::runtime::Handle as Runtime;

use crate::cache::BlobCache;
use crate::catalog::Catalog;
use crate::commit::Writer;
use crate::message::{Accepted, ForkRun, Message, StartRun, Submission, Submitted};
use crate::perform::{TokioFetcher, TokioPerformer};
use crate::shard::{Shard, ShardPorts, busy};
use crate::snapshots::SnapshotWriter;

/// What an engine works with.
pub struct Ports {
    /// The log.
    pub store: Arc<dyn Store>,
    /// Large values.
    pub blobs: Arc<dyn Blobs>,
    /// Tools.
    pub catalog: Catalog,
    /// Secrets of this process.
    pub secrets: Arc<dyn Secrets>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where calls are made.
    pub runtime: Runtime,
}

/// How an engine behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Effects in flight at once.
    pub slots: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { slots: limits::SLOTS }
    }
}

/// Rings whenever something became durable, so that whoever shows it reads the store again.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<u64>,
    woken: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.woken.notify_all();
    }

    /// Waits until the bell has rung more often than `seen`, at most for `patience`; gives the new count.
    pub fn wait(&self, seen: u64, patience: Duration) -> u64 {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.woken.wait_timeout_while(rung, patience, |rung| *rung <= seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    drained: Receiver<()>,
}

/// What keeps an engine, or a run, from going on.
#[derive(Debug, Default)]
struct Troubles {
    broken: Option<Problem>,
    stalled: Option<Problem>,
    parked: BTreeMap<RunId, Problem>,
}

/// Reaches an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shard: Sender<Message>,
    bell: Arc<Bell>,
    troubles: Arc<Mutex<Troubles>>,
    cache: Arc<BlobCache>,
}

impl Engine {
    /// Starts the threads of an engine over a store that this process owns.
    ///
    /// # Errors
    /// The store can't be read, or the system gives no thread.
    pub fn start(ports: Ports, options: Options) -> Result<Self, Problem> {
        let (shard_in, inbox) = crossbeam_channel::bounded(limits::SHARD_QUEUE);
        let writer = Writer::start(Arc::clone(&ports.store), shard_in.clone())
            .map_err(|e| Problem::new(Code::Internal, format!("no thread for the writer: {e}")))?;
        let snapshots = SnapshotWriter::start(Arc::clone(&ports.store))
            .map_err(|e| Problem::new(Code::Internal, format!("no thread for snapshots: {e}")))?;
        let cache = Arc::new(BlobCache::default());
        let performer = TokioPerformer::new(
            ports.runtime.clone(),
            ports.catalog,
            ports.secrets,
            Arc::clone(&ports.blobs),
            shard_in.clone(),
        );
        let fetcher = TokioFetcher::new(ports.runtime, ports.blobs, shard_in.clone());
        let shard = Shard::new(ShardPorts {
            store: ports.store,
            committer: Box::new(writer),
            performer: Box::new(performer),
            snapshots: Box::new(snapshots),
            fetcher: Box::new(fetcher),
            cache: Arc::clone(&cache),
            slots: options.slots,
        })?;
        let handle =
            Handle { shard: shard_in, bell: Arc::default(), troubles: Arc::default(), cache };
        let (done, drained) = crossbeam_channel::bounded(1);
        let clock = ports.clock;
        let own = handle.clone();
        let thread = std::thread::Builder::new()
            .name("aura-shard".to_owned())
            .spawn(move || {
                drive(shard, &inbox, &*clock, &own);
                let _ = done.send(());
            })
            .map_err(|e| Problem::new(Code::Internal, format!("no thread for the shard: {e}")))?;
        Ok(Self { handle, thread: Some(thread), drained })
    }

    /// The handle of the engine.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts no more effects, awaits those in flight for at most `grace`, and makes their outcomes durable.
    /// Gives back whether everything in flight came to its end; recovery asks about what did not.
    pub fn shutdown(mut self, grace: Duration) -> bool {
        let _ = self.handle.shard.send(Message::Drain);
        let drained = self.drained.recv_timeout(grace).is_ok();
        if let Some(thread) = self.thread.take()
            && drained
        {
            let _ = thread.join();
        }
        drained
    }
}

impl Handle {
    /// Submits an input and waits until it is durable.
    ///
    /// # Errors
    /// The run refuses it, the queue is full, or the store can't take it.
    pub fn submit(&self, run: RunId, input: Input) -> Result<Accepted, Problem> {
        self.ask(|reply| Message::Submit(Submission { run, input: Submitted::Input(input), reply }))
    }

    /// Starts a run and waits until its start is durable. A keyed run that exists with the same input is the answer.
    ///
    /// # Errors
    /// As [`Handle::submit`]; the key is in use for another input.
    pub fn start(&self, run: RunId, start: StartRun) -> Result<Accepted, Problem> {
        self.ask(|reply| {
            let input = Submitted::Start(Box::new(start));
            Message::Submit(Submission { run, input, reply })
        })
    }

    /// Starts a run that shares the beginning of another, and waits until its own first commit is durable.
    ///
    /// # Errors
    /// As [`Handle::submit`]; the other run can't be forked there.
    pub fn fork(&self, run: RunId, fork: ForkRun) -> Result<Accepted, Problem> {
        self.ask(|reply| {
            let input = Submitted::Fork(Box::new(fork));
            Message::Submit(Submission { run, input, reply })
        })
    }

    /// Performs a run from now on, and waits until its recovery is durable.
    ///
    /// # Errors
    /// There is no such run, or its history can't be read.
    pub fn perform(&self, run: RunId) -> Result<Accepted, Problem> {
        self.ask(|reply| Message::Perform { run, reply })
    }

    /// Performs every run that has not ended. Those in which something is open are folded and go on; for those that
    /// sleep or wait, only their timers are set: they are read when something comes for them. Gives back how many.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn recover(&self) -> Result<usize, Problem> {
        let (answer, answered) = crossbeam_channel::bounded(1);
        let reply = Box::new(move |result| {
            let _ = answer.send(result);
        });
        self.send(Message::Recover { reply })?;
        answered.recv().unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Waits until a run has ended, durably.
    ///
    /// # Errors
    /// There is no such run, or it is set aside.
    pub fn wait_closed(&self, run: RunId) -> Result<Accepted, Problem> {
        self.ask(|reply| Message::Await { run, reply })
    }

    /// Sends a message without waiting for an answer.
    ///
    /// # Errors
    /// The queue is full, or the engine has stopped.
    pub fn send(&self, message: Message) -> Result<(), Problem> {
        self.shard.try_send(message).map_err(|e| match e {
            TrySendError::Full(_) => busy(),
            TrySendError::Disconnected(_) => self.stopped(),
        })
    }

    /// Rings when something became durable.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Values of blobs that the engine has at hand.
    pub fn cache(&self) -> &Arc<BlobCache> {
        &self.cache
    }

    /// Why the engine can't go on, if it can't.
    pub fn broken(&self) -> Option<Problem> {
        self.troubles().broken.clone()
    }

    /// Why the store takes nothing at the moment, while that is so; the engine tries again by itself.
    pub fn stalled(&self) -> Option<Problem> {
        self.troubles().stalled.clone()
    }

    /// Why a run is set aside, if it is.
    pub fn parked(&self, run: RunId) -> Option<Problem> {
        self.troubles().parked.get(&run).cloned()
    }

    /// Every run that is set aside, with why.
    pub fn set_aside(&self) -> Vec<(RunId, Problem)> {
        self.troubles().parked.iter().map(|(run, problem)| (*run, problem.clone())).collect()
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(
        &self,
        message: impl FnOnce(crate::message::Reply) -> Message,
    ) -> Result<Accepted, Problem> {
        let (answer, answered) = crossbeam_channel::bounded(1);
        let reply = Box::new(move |result| {
            let _ = answer.send(result);
        });
        self.send(message(reply))?;
        answered.recv().unwrap_or_else(|_| Err(self.stopped()))
    }

    fn stopped(&self) -> Problem {
        self.broken().unwrap_or_else(|| {
            Problem::new(Code::StoreUnavailable, "the engine has stopped")
                .kept("everything that was acknowledged is in the store")
                .next("aura resume --all")
        })
    }
}

/// Tells those who hold a handle what keeps the shard from going on; gives back whether that has changed.
fn note_troubles(shard: &Shard, handle: &Handle) -> bool {
    let mut told = handle.troubles();
    let parked = shard.parked().count();
    let same = told.broken.as_ref() == shard.broken()
        && told.stalled.as_ref() == shard.stalled()
        && told.parked.len() == parked;
    if same {
        return false;
    }
    told.broken = shard.broken().cloned();
    told.stalled = shard.stalled().cloned();
    told.parked = shard.parked().map(|(run, problem)| (run, problem.clone())).collect();
    true
}

/// Longest time that the loop waits for a message before it looks at the clock again.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

fn drive(mut shard: Shard, inbox: &Receiver<Message>, clock: &dyn Clock, handle: &Handle) {
    let mut rang = Instant::now();
    loop {
        for message in inbox.try_iter().take(limits::SHARD_DRAIN) {
            shard.deliver(message);
        }
        let progress = shard.step(clock.now());
        if progress.durable | note_troubles(&shard, handle) || rang.elapsed() > LONGEST_WAIT {
            rang = Instant::now();
            handle.bell.ring();
        }
        if progress.drained {
            return;
        }
        if progress.busy {
            continue;
        }
        let wait = progress.next.map_or(LONGEST_WAIT, |due| {
            Duration::from_millis(due.since(clock.now())).min(LONGEST_WAIT)
        });
        match inbox.recv_timeout(wait) {
            Ok(message) => {
                let durable = matches!(message, Message::Durable { .. });
                shard.deliver(message);
                if durable {
                    // The store has it; whoever shows it need not wait for the next round.
                    handle.bell.ring();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
