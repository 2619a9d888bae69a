use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::compaction::{Compacted, Compaction};
use crate::commit::StoredCommit;
use crate::data::Data;
use crate::error::Code;
use crate::fork::ForkPoint;
use crate::hash::Hash;
use crate::id::RunId;
use crate::path::StepPath;
use crate::time::Millis;

/// A place in the log of a store; opaque, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// What the caller can do about a store that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else owns it now: stop, drop what is in memory.
    #[error("{message}")]
    Lost {
        /// What happened.
        message: String,
    },
    /// Not now (no room, a lock): nothing was changed; try again later. Reads go on.
    #[error("{message}")]
    Busy {
        /// Why.
        code: Code,
        /// What happened.
        message: String,
    },
    /// This handle must not be used again: reopen and recover. Whether the group became durable is not known.
    #[error("{message}")]
    Broken {
        /// Why.
        code: Code,
        /// What happened.
        message: String,
    },
}

impl StoreError {
    /// The code for `aura explain`.
    pub fn code(&self) -> Code {
        match self {
            Self::Lost { .. } => Code::StoreOwned,
            Self::Busy { code, .. } | Self::Broken { code, .. } => *code,
        }
    }
}

/// Commits that become durable together, in order, with what belongs to them.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The commits. A commit's `seq` must follow the last one of its run, or be 1 for a new run; for a new fork it
    /// follows the last event that it shares.
    pub commits: Vec<StoredCommit>,
    /// Rows of the runs that they change; the last one of a run counts.
    pub rows: Vec<RunRow>,
    /// Blobs that they name, by address, of at most [`crate::limits::BLOB_TABLE_BYTES`] bytes; plain bytes.
    pub blobs: Vec<(Hash, Bytes)>,
    /// Where keys that several runs share stand after it; the last row of a key counts.
    pub keys: Vec<KeyRow>,
}

impl Group {
    /// Takes in what comes after it.
    pub fn extend(&mut self, next: Self) {
        let Self { commits, rows, blobs, keys } = next;
        self.commits.extend(commits);
        self.rows.extend(rows);
        self.blobs.extend(blobs);
        self.keys.extend(keys);
    }
}

/// Where a key stands that the same call has in several runs.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRow {
    /// The key.
    pub key: Hash,
    /// The run whose call it is, or was last.
    pub run: RunId,
    /// Its step.
    pub step: StepPath,
    /// Where it stands.
    pub state: KeyState,
}

/// Where a key stands.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyState {
    /// The call is under way, or in doubt: nobody else may make it.
    Held,
    /// The call succeeded.
    Done {
        /// The number of the event that told so.
        seq: u64,
        /// The output.
        output: Data,
        /// Whether it was cut to its limit.
        truncated: bool,
        /// When.
        at: Millis,
        /// From when on it counts no more, and may be swept out.
        until: Millis,
    },
    /// Nobody holds it, and nothing came of it. A store keeps no such row.
    Free,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The place of the last commit.
    pub position: Position,
}

/// Where a run stands, for lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Something is in work or ready.
    Running,
    /// Nothing to do until a timer, a signal or a person.
    Waiting,
    /// An effect is in doubt and waits for a person.
    InDoubt,
    /// A person asked it to start nothing new for now.
    Paused,
    /// Being cancelled.
    Cancelling,
    /// Undoing what it did, because it failed or was cancelled.
    Compensating,
    /// Ended well.
    Completed,
    /// Ended in failure.
    Failed,
    /// Ended by cancellation.
    Cancelled,
    /// Ended in failure, and everything that can be undone was.
    Compensated,
    /// Ended in failure or by cancellation, and something could not be undone.
    CompensationFailed,
}

impl RunStatus {
    /// Every status.
    pub const ALL: [Self; 11] = [
        Self::Running,
        Self::Waiting,
        Self::InDoubt,
        Self::Paused,
        Self::Cancelling,
        Self::Compensating,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Compensated,
        Self::CompensationFailed,
    ];

    /// Whether the run has ended.
    pub fn closed(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::Failed
                | Self::Cancelled
                | Self::Compensated
                | Self::CompensationFailed
        )
    }

    /// The word in lists and in `--where`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::InDoubt => "in_doubt",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Compensated => "compensated",
            Self::CompensationFailed => "compensation_failed",
        }
    }
}

/// What recovery must do with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Fold it.
    Active,
    /// Leave it until its earliest timer; `None` where only a person or a signal can wake it.
    Asleep(Option<Millis>),
    /// It has ended.
    Closed,
}

/// The row of a run; written in the transaction of the commit that changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// Name of its flow.
    pub flow: String,
    /// Hash of its flow.
    pub flow_hash: Hash,
    /// Where it stands.
    pub status: RunStatus,
    /// What recovery must do with it.
    pub mark: Mark,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it started.
    pub started: Millis,
    /// When its last commit was decided; of a run that is not closed, a store tells it from the log.
    pub updated: Millis,
    /// Number of its events; of a run that is not closed, a store tells it from the log.
    pub events: u64,
    /// Number of effects in doubt.
    pub in_doubt: u32,
    /// The code of its failure.
    pub error: Option<Code>,
    /// Where it left another run. What stands here with the first commit of a run counts; the events up to there are
    /// those of the parent, and its own follow.
    pub forked: Option<ForkPoint>,
    /// The run that started it.
    pub parent: Option<RunId>,
    /// The run at the top of its tree, if it is not that itself.
    pub root: Option<RunId>,
    /// The run that goes on in its place.
    pub next: Option<RunId>,
}

/// The state of a run after one of its commits, in bytes that only the engine understands. Never the truth: what is
/// lost or outdated is made again from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The run.
    pub run: RunId,
    /// The last event that is in it.
    pub seq: u64,
    /// The state; at most [`crate::limits::SNAPSHOT_BYTES`] bytes.
    pub bytes: Bytes,
}

/// Which runs to list; an empty query means all, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunQuery {
    /// Only runs whose id starts with this (hexadecimal digits, dashes allowed).
    pub id_prefix: Option<String>,
    /// Only runs with one of these statuses; empty means any.
    pub statuses: Vec<RunStatus>,
    /// Only runs of this flow.
    pub flow: Option<String>,
    /// Only children of this run.
    pub parent: Option<RunId>,
    /// Only runs below this one, at the top of its tree.
    pub root: Option<RunId>,
    /// Only runs at the top of their tree.
    pub top: bool,
    /// Only runs with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// At most this many; 0 means 1,000.
    pub limit: usize,
}

/// What a store tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreInfo {
    /// Where it lies.
    pub location: String,
    /// Stored format.
    pub format: u32,
    /// Version of its tables.
    pub schema: u32,
    /// What the addresses of its blobs are salted with.
    pub salt: Hash,
    /// Number of commits.
    pub commits: u64,
    /// Number of events; what a fork shares counts once.
    pub events: u64,
    /// Number of runs.
    pub runs: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The place of the last commit.
    pub position: Position,
    /// How often something was removed.
    pub removals: u64,
    /// Facts of the back end, name and value: version, compile options, journal mode.
    pub engine: BTreeMap<String, String>,
}

/// What a check of the whole store found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Health {
    /// Commits looked at.
    pub commits: u64,
    /// Blobs looked at.
    pub blobs: u64,
    /// What is wrong, with the run where there is one.
    pub faults: Vec<(Option<RunId>, Code, String)>,
}

/// The log, the rows of runs, and small blobs. Every method blocks; callers use threads of their own.
pub trait Store: Send + Sync {
    /// Makes a group durable: all or nothing, one sync, before it returns.
    fn append(&self, group: &Group) -> Result<Appended, StoreError>;

    /// Commits of a run in order, from the one that holds event `from_seq`; at most `limit`. Those that a fork shares
    /// are its parent's, whose id they bear.
    fn read(
        &self,
        run: RunId,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredCommit>, StoreError>;

    /// Commits of all runs after a position, in log order; at most `limit`.
    fn tail(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, StoredCommit)>, StoreError>;

    /// Rows of runs, newest first.
    fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, StoreError>;

    /// The plain bytes of a blob of the store's own table.
    fn blob(&self, address: Hash) -> Result<Option<Bytes>, StoreError>;

    /// Keeps a snapshot in place of the run's last one, unless that is of a later event. It need not be durable
    /// when this returns. A run without commits keeps none.
    fn keep_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError>;

    /// The snapshot of a run, if one is kept and can be read.
    fn snapshot(&self, run: RunId) -> Result<Option<Snapshot>, StoreError>;

    /// Where a key stands that several runs share; `None` where it is free. A row whose time is over may be gone.
    fn key(&self, key: Hash) -> Result<Option<KeyRow>, StoreError>;

    /// The rows of shared keys that follow `after`, by key; at most `limit`.
    fn keys(&self, after: Option<Hash>, limit: usize) -> Result<Vec<KeyRow>, StoreError>;

    /// What the store tells about itself.
    fn info(&self) -> Result<StoreInfo, StoreError>;

    /// Removes whole runs that ended, and blobs that nothing names; or only tells what it would remove. Appends go
    /// on meanwhile. A run that is gone is as if it had never been; positions are not given out again.
    fn compact(&self, asked: &Compaction) -> Result<Compacted, StoreError>;

    /// Looks at everything: pages, chains, blobs.
    fn check(&self) -> Result<Health, StoreError>;
}
