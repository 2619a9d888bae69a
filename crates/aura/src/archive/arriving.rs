//! Histories that come into a store from elsewhere: commits with what belongs to them, in groups.

use std::collections::BTreeMap;

use aura_core::commit::StoredCommit;
use aura_core::error::Problem;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Blobs, Group, KeyRow, RunRow, Store};
use aura_core::time::Millis;
use aura_engine::goes_before;
use aura_store::Opened;
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::{Found, lost};
use crate::resolve;

/// Commits, and bytes of their payloads and blobs, that are appended at a time.
const GROUP_COMMITS: usize = 256;
const GROUP_BYTES: usize = 8 << 20;

/// What is to be appended next.
pub(crate) struct Arriving<'a> {
    to: &'a Opened,
    runtime: &'a Runtime,
    group: Group,
    /// The rows of the group; without that of its first commit a fork would not be one.
    rows: BTreeMap<RunId, RunRow>,
    keys: BTreeMap<Hash, KeyRow>,
    bytes: usize,
}

impl<'a> Arriving<'a> {
    pub(crate) fn new(to: &'a Opened, runtime: &'a Runtime) -> Self {
        let (group, rows, keys) = (Group::default(), BTreeMap::new(), BTreeMap::new());
        Self { to, runtime, group, rows, keys, bytes: 0 }
    }

    /// Takes a blob to where it lay.
    pub(crate) fn blob(&mut self, address: Hash, found: Found) -> Result<(), Problem> {
        let Found { bytes, table } = found;
        if table && bytes.len() <= limits::BLOB_TABLE_BYTES {
            self.bytes += bytes.len();
            self.group.blobs.push((address, bytes));
            return Ok(());
        }
        self.put(bytes)
    }

    fn put(&self, bytes: Bytes) -> Result<(), Problem> {
        let put = self.runtime.block_on(self.to.blobs.put(bytes));
        put.map(|_| ()).map_err(|e| lost(&e))
    }

    /// Takes a commit; the row of its run stands in the same group if it is the run's first.
    pub(crate) fn commit(&mut self, commit: StoredCommit) {
        self.bytes += commit.payload.len();
        self.group.commits.push(commit);
    }

    /// Takes the row of a run.
    pub(crate) fn row(&mut self, row: RunRow) {
        self.rows.insert(row.run, row);
    }

    /// Takes where a shared key stands at a time, unless the store knows better.
    pub(crate) fn key(&mut self, row: KeyRow, now: Millis) -> Result<(), Problem> {
        let goes = if let Some(old) = self.keys.get(&row.key) {
            goes_before(&row, old, now)
        } else {
            let stored = self.to.store.key(row.key).map_err(|e| resolve::unreadable(&e))?;
            stored.is_none_or(|old| goes_before(&row, &old, now))
        };
        if goes {
            self.keys.insert(row.key, row);
        }
        Ok(())
    }

    /// Whether the group is as large as one may be.
    pub(crate) fn full(&self) -> bool {
        self.group.commits.len() >= GROUP_COMMITS
            || self.rows.len() >= GROUP_COMMITS
            || self.bytes >= GROUP_BYTES
    }

    /// Appends the group.
    pub(crate) fn append(&mut self) -> Result<(), Problem> {
        let mut group = std::mem::take(&mut self.group);
        self.bytes = 0;
        group.rows = std::mem::take(&mut self.rows).into_values().collect();
        group.keys = std::mem::take(&mut self.keys).into_values().collect();
        self.to.store.append(&group).map_err(|e| resolve::unreadable(&e))?;
        Ok(())
    }
}
