//! What may be removed of a store: whole runs that ended, and blobs that nothing names.

use serde::{Deserialize, Serialize};

use crate::id::RunId;
use crate::time::Millis;

/// Which runs that ended are kept. A run goes if it is beyond any limit that is given; without limits none goes, and
/// a run that has not ended never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// Keep those that ended at or after this.
    pub since: Option<Millis>,
    /// Keep this many, those that ended last.
    pub runs: Option<u64>,
    /// Keep those that ended last and have at most this many events together.
    pub events: Option<u64>,
    /// Keep those that ended last and whose commits take, with those of open runs, at most this many bytes.
    pub bytes: Option<u64>,
}

/// A run that ended, as far as retention goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The run.
    pub run: RunId,
    /// When it ended.
    pub at: Millis,
    /// Its events, without those that it shares with its parent.
    pub events: u64,
    /// Bytes of its commits.
    pub bytes: u64,
}

impl Retention {
    /// The runs that go, of all that ended, given those that ended last first; `open_bytes` are those of the commits
    /// of open runs.
    pub fn beyond(&self, ended: &[Ended], open_bytes: u64) -> Vec<Ended> {
        let (mut events, mut bytes) = (0_u64, open_bytes);
        let mut going = Vec::new();
        for (run, place) in ended.iter().zip(1_u64..) {
            events = events.saturating_add(run.events);
            bytes = bytes.saturating_add(run.bytes);
            if self.since.is_some_and(|since| run.at < since)
                || self.runs.is_some_and(|most| place > most)
                || self.events.is_some_and(|most| events > most)
                || self.bytes.is_some_and(|most| bytes > most)
            {
                going.push(*run);
            }
        }
        going
    }
}

/// A compaction that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Compaction {
    /// Which runs that ended are kept.
    pub retention: Retention,
    /// Blobs that nothing names go if they were put before this; absent if no blob goes.
    pub orphans_before: Option<Millis>,
    /// When it is asked for.
    pub at: Millis,
    /// Who asks.
    pub actor: String,
    /// Whether nothing is removed and only told.
    pub dry_run: bool,
}

/// What a compaction removed, or would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Compacted {
    /// Runs.
    pub runs: u64,
    /// Their events.
    pub events: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of commits and blobs, as they were stored.
    pub bytes: u64,
}
