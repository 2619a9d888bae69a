//! A run in the memory of its shard.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use aura_core::data::BlobRef;
use aura_core::hash::Hash;
use aura_core::input::Input;
use aura_core::ports::{Mark, RunRow, RunStatus};
use aura_core::time::Millis;
use aura_graph::{Flow, Run};
use serde_json::Value;

use crate::keys::{HeldKeys, held_by};
use crate::message::Reply;

/// A run in memory: its state as decided so far, which may be ahead of what is durable.
pub(crate) struct Stream {
    pub(crate) run: Run,
    pub(crate) head: Hash,
    pub(crate) flow: Arc<Flow>,
    /// Where the run stands as its row says it; a row is written only when that changes.
    pub(crate) told: Option<(RunStatus, Mark, usize)>,
    /// Keys shared with other runs that its tasks hold.
    pub(crate) keys: HeldKeys,
    /// Commits that are not durable yet.
    pub(crate) undurable: usize,
    /// The timer under which the shard knows it.
    pub(crate) timer: Option<Millis>,
    /// An input that waits for blobs.
    pub(crate) blocked: Option<Blocked>,
    /// Inputs behind it.
    pub(crate) queue: VecDeque<Job>,
}

/// An input and who is told.
pub(crate) struct Job {
    pub(crate) input: Input,
    pub(crate) reply: Option<Reply>,
}

impl Job {
    pub(crate) fn own(input: Input) -> Self {
        Self { input, reply: None }
    }
}

/// An input that waits for blobs; it is presented again with the same time.
pub(crate) struct Blocked {
    pub(crate) job: Job,
    pub(crate) now: Millis,
    pub(crate) wanted: Vec<BlobRef>,
    pub(crate) pins: BTreeMap<BlobRef, Arc<Value>>,
    pub(crate) asked: u32,
}

impl Stream {
    pub(crate) fn new(run: Run, head: Hash, flow: Arc<Flow>) -> Self {
        let (blocked, queue) = (None, VecDeque::new());
        let keys = held_by(&run);
        Self { run, head, flow, told: None, keys, undurable: 0, timer: None, blocked, queue }
    }

    /// The row of the run, if it says more than the one before.
    pub(crate) fn new_row(&mut self) -> Option<RunRow> {
        let stands = (self.run.status(), self.run.mark(), self.run.in_doubt().count());
        if self.told == Some(stands) && stands.1 != Mark::Closed {
            return None;
        }
        self.told = Some(stands);
        self.run.row()
    }

    /// Whether nothing would be lost by dropping it from memory.
    pub(crate) fn at_rest(&self) -> bool {
        self.undurable == 0
            && self.blocked.is_none()
            && self.queue.is_empty()
            && (self.run.closed() || self.run.idle())
    }
}
