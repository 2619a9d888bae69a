//! A run in the memory of its shard.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use aura_core::data::BlobRef;
use aura_core::hash::Hash;
use aura_core::input::Input;
use aura_core::ports::{Mark, RunRow, RunStatus};
use aura_core::task::Permissions;
use aura_core::time::Millis;
use aura_graph::{Flow, Run};
use serde_json::Value;

use crate::fork::Recording;
use crate::keys::{HeldKeys, held_by};
use crate::message::Reply;
use crate::snapshots::Due;

/// A run in memory: its state as decided so far, which may be ahead of what is durable.
pub(crate) struct Stream {
    pub(crate) run: Arc<Run>,
    pub(crate) head: Hash,
    pub(crate) flow: Arc<Flow>,
    /// What its tasks may do, as they are told, once one was.
    permissions: Option<Arc<Permissions>>,
    /// Where the run stands as its row says it; a row is written only when that changes.
    pub(crate) told: Option<(RunStatus, Mark, usize)>,
    /// Keys shared with other runs that its tasks hold.
    pub(crate) keys: HeldKeys,
    /// Commits that are not durable yet.
    pub(crate) undurable: usize,
    /// When its next snapshot is due.
    pub(crate) snapshot: Due,
    /// The timer under which the shard knows it.
    pub(crate) timer: Option<Millis>,
    /// The outcomes that a fork may take from its parent.
    pub(crate) recording: Option<Arc<Recording>>,
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

    /// Whether another run told it.
    pub(crate) fn is_message(&self) -> bool {
        let asks =
            matches!(self.input, Input::Cancel { .. } | Input::Pause { .. } | Input::Resume { .. });
        asks && self.reply.is_none() || matches!(self.input, Input::Child { .. })
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
        let keys = held_by(&run);
        Self {
            run: Arc::new(run),
            head,
            flow,
            permissions: None,
            told: None,
            keys,
            undurable: 0,
            snapshot: Due::default(),
            timer: None,
            recording: None,
            blocked: None,
            queue: VecDeque::new(),
        }
    }

    /// What its tasks may do; `None` before its start.
    pub(crate) fn permissions(&mut self) -> Option<Arc<Permissions>> {
        let started = self.run.started.as_ref()?;
        let told = self.permissions.get_or_insert_with(|| Arc::new(started.permissions.clone()));
        Some(Arc::clone(told))
    }

    /// Takes out the shared keys that it holds, before it takes in what an input led to.
    pub(crate) fn held_keys(&mut self, input: &Input) -> HeldKeys {
        let held = std::mem::take(&mut self.keys);
        // What stands in memory under the id of a fork that begins is its parent's, and so are the keys.
        if matches!(input, Input::Fork(_)) { HeldKeys::default() } else { held }
    }

    /// The row of the run, if it says more than the one before. `unsettled` says that the turn may have changed how
    /// many effects are in doubt: counting them walks over all open tasks.
    pub(crate) fn new_row(&mut self, unsettled: bool) -> Option<RunRow> {
        let in_doubt = match self.told {
            Some((.., in_doubt)) if !unsettled => in_doubt,
            _ => self.run.in_doubt().count(),
        };
        let stands = (self.run.status(), self.run.mark(), in_doubt);
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
