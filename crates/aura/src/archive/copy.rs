//! Copying the log of a store that is in use into a new one.
//!
//! The log only grows, so a copy of it up to one position is the store as it was at one moment. It is read in short
//! pages and nobody waits for it.

use std::collections::{BTreeMap, BTreeSet};

use aura_core::cbor;
use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{Blobs, Group, Position, RunQuery, RunRow, Store, StoreInfo};
use aura_engine::open_history;
use aura_store::Opened;
use tokio::runtime::Runtime;

use super::{Copied, find, lost};
use crate::resolve;

/// Commits read and written at a time.
const PAGE: usize = 256;

struct Copy<'a> {
    from: &'a Opened,
    to: &'a Opened,
    runtime: &'a Runtime,
    blobs: BTreeSet<Hash>,
    /// The last event copied of each run.
    ends: BTreeMap<RunId, u64>,
    done: Copied,
}

/// Copies everything that is durable now, and gives back the position up to which that is.
pub(crate) fn everything(
    from: &Opened,
    to: &Opened,
    runtime: &Runtime,
) -> Result<(Copied, Position), Problem> {
    let before = info(from)?;
    let blobs = BTreeSet::new();
    let mut copy =
        Copy { from, to, runtime, blobs, ends: BTreeMap::new(), done: Copied::default() };
    copy.log(before.position)?;
    copy.rows()?;
    if info(from)?.removals != before.removals {
        let what = "the store was compacted while it was copied";
        return Err(Problem::new(Code::Busy, what).next("try again"));
    }
    Ok((copy.done, before.position))
}

fn info(opened: &Opened) -> Result<StoreInfo, Problem> {
    opened.store.info().map_err(|e| resolve::unreadable(&e))
}

impl Copy<'_> {
    fn log(&mut self, until: Position) -> Result<(), Problem> {
        let mut after = Position::default();
        loop {
            let page = self.from.store.tail(after, PAGE).map_err(|e| resolve::unreadable(&e))?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            let commits = page.into_iter().filter(|(at, _)| *at <= until).map(|(_, c)| c);
            self.append(commits.collect())?;
            if after >= until {
                return Ok(());
            }
        }
    }

    fn append(&mut self, commits: Vec<StoredCommit>) -> Result<(), Problem> {
        let mut group = Group::default();
        for commit in &commits {
            let mut named = Vec::new();
            cbor::blob_references(&commit.payload, &mut named);
            for blob in named {
                if !self.blobs.insert(blob.blob) {
                    continue;
                }
                self.done.blobs += 1;
                let found = find(self.from, self.runtime, blob)?;
                if found.table {
                    group.blobs.push((blob.blob, found.bytes));
                } else {
                    let put = self.runtime.block_on(self.to.blobs.put(found.bytes));
                    put.map_err(|e| lost(&e))?;
                }
            }
            self.ends.insert(commit.header.run, commit.header.next_seq() - 1);
            self.done.commits += 1;
            self.done.events += u64::from(commit.header.count);
        }
        group.commits = commits;
        self.to.store.append(&group).map_err(|e| resolve::unreadable(&e))?;
        Ok(())
    }

    /// The row of a run that went on since is that of the history as it was copied.
    fn rows(&mut self) -> Result<(), Problem> {
        let query = RunQuery { limit: usize::MAX, ..RunQuery::default() };
        let rows = self.from.store.runs(&query).map_err(|e| resolve::unreadable(&e))?;
        let mut rows: BTreeMap<RunId, RunRow> =
            rows.into_iter().map(|row| (row.run, row)).collect();
        let mut group = Group::default();
        for (run, events) in &self.ends {
            let row = rows.remove(run).filter(|row| row.events == *events);
            let row = match row {
                Some(row) => Some(row),
                None => open_history(&*self.to.store, *run)?.and_then(|found| found.run.row()),
            };
            group.rows.extend(row);
            if group.rows.len() >= PAGE {
                let group = std::mem::take(&mut group);
                self.to.store.append(&group).map_err(|e| resolve::unreadable(&e))?;
            }
        }
        self.to.store.append(&group).map_err(|e| resolve::unreadable(&e))?;
        self.done.runs = self.ends.len() as u64;
        Ok(())
    }
}
