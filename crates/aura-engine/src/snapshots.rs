//! Snapshots of runs, written off the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::ports::{Snapshot, Store};
use aura_graph::Run;
use aura_graph::state::to_snapshot;
use crossbeam_channel::Sender;

use crate::history::store_problem;

/// A run whose snapshot is wanted; durable up to here.
#[derive(Debug)]
pub struct Wanted {
    /// Its state, shared with the shard.
    pub run: Run,
    /// Hash of its last commit.
    pub head: Hash,
    /// Bytes of its events since the snapshot before.
    pub bytes: usize,
    /// Where the length of the snapshot is told when it is kept.
    pub size: Arc<AtomicUsize>,
}

/// Takes runs whose snapshots are wanted.
pub trait Snapshots: Send {
    /// Takes a run, or gives back `false` because too many wait; it is offered again later.
    fn take(&mut self, wanted: Wanted) -> bool;
}

impl Wanted {
    /// Writes the snapshot now.
    ///
    /// # Errors
    /// The state is larger than a snapshot may be, or the store does not take it.
    pub fn keep(&self, store: &dyn Store) -> Result<(), Problem> {
        let run = self.run.id;
        let bytes = to_snapshot(&self.run, self.head)
            .map_err(|e| Problem::new(Code::Internal, format!("no snapshot of run {run}: {e}")))?;
        // Told even if it is not kept: what is too large now is not tried again at every turn.
        self.size.store(bytes.len(), Ordering::Relaxed);
        if bytes.len() > limits::SNAPSHOT_BYTES {
            let what = format!("the state of run {run} has {} bytes", bytes.len());
            return Err(Problem::new(Code::LimitExceeded, what));
        }
        let snapshot = Snapshot { run, seq: self.run.events, bytes: bytes.into() };
        store.keep_snapshot(&snapshot).map_err(|e| store_problem(&e))
    }
}

/// The thread that encodes and writes snapshots.
#[derive(Debug)]
pub struct SnapshotWriter {
    queue: Option<Sender<Wanted>>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(store: Arc<dyn Store>) -> std::io::Result<Self> {
        let (queue, wanted) = crossbeam_channel::bounded::<Wanted>(limits::SNAPSHOT_QUEUE);
        let thread =
            std::thread::Builder::new().name("aura-snapshots".to_owned()).spawn(move || {
                for wanted in wanted {
                    // Only the next opening is slower without it.
                    if let Err(problem) = wanted.keep(&*store) {
                        tracing::warn!(run = %wanted.run.id, %problem, "no snapshot was kept");
                    }
                }
            })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }
}

impl Snapshots for SnapshotWriter {
    fn take(&mut self, wanted: Wanted) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(wanted).is_ok())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// When the next snapshot of a run in memory is due: when the bytes of its events since the last one exceed what
/// opening it may cost.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Bytes of events since the last snapshot.
    pub(crate) since: usize,
    /// Bytes of the last snapshot.
    pub(crate) size: Arc<AtomicUsize>,
}

impl Due {
    /// What follows a snapshot of `size` bytes by `since` bytes of events.
    pub(crate) fn after(size: usize, since: usize) -> Self {
        Self { since, size: Arc::new(AtomicUsize::new(size)) }
    }

    /// Counts a commit of `bytes` bytes after which `run` stands at `head`; gives back what is due then.
    pub(crate) fn count(&mut self, bytes: usize, run: &Run, head: Hash) -> Option<Box<Wanted>> {
        self.since += bytes;
        let most = limits::SNAPSHOT_EVERY_BYTES.max(self.size.load(Ordering::Relaxed));
        if self.since <= most || run.closed() {
            return None;
        }
        let bytes = std::mem::take(&mut self.since);
        let size = Arc::clone(&self.size);
        Some(Box::new(Wanted { run: run.clone(), head, bytes, size }))
    }
}
