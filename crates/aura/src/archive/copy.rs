//! Copying the log of a store that is in use into a new one.
//!
//! The log only grows, so a copy of it up to one position is the store as it was at one moment. It is read in short
//! pages and nobody waits for it. What the store has beside its log is that of now: it is taken over for the runs that
//! have not gone on since, and follows from the events of those that have.

use std::collections::{BTreeMap, BTreeSet};

use aura_core::cbor;
use aura_core::commit::StoredCommit;
use aura_core::data::{BlobRef, Data};
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{KeyRow, KeyState, Position, RunQuery, RunRow, Store, StoreInfo};
use aura_core::time::Millis;
use aura_engine::{Trail, read_all};
use aura_graph::Run;
use aura_store::Opened;
use tokio::runtime::Runtime;

use super::arriving::Arriving;
use super::{Copied, find};
use crate::resolve;

/// Commits and rows of keys read at a time.
const PAGE: usize = 256;

struct Copy<'a> {
    from: &'a Opened,
    to: &'a Opened,
    runtime: &'a Runtime,
    arriving: Arriving<'a>,
    /// The rows of the runs, as they were when the copy began or later.
    rows: BTreeMap<RunId, RunRow>,
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
    let mut copy = Copy {
        from,
        to,
        runtime,
        arriving: Arriving::new(to, runtime),
        rows: rows(from)?,
        blobs: BTreeSet::new(),
        ends: BTreeMap::new(),
        done: Copied::default(),
    };
    copy.log(before.position)?;
    // Before it is asked which runs have gone on: of those that have not by then, the keys are still the same.
    copy.keys()?;
    copy.ends()?;
    if info(from)?.removals != before.removals {
        let what = "the store was compacted while it was copied";
        return Err(Problem::new(Code::Busy, what).next("try again"));
    }
    Ok((copy.done, before.position))
}

fn info(opened: &Opened) -> Result<StoreInfo, Problem> {
    opened.store.info().map_err(|e| resolve::unreadable(&e))
}

fn rows(opened: &Opened) -> Result<BTreeMap<RunId, RunRow>, Problem> {
    let query = RunQuery { limit: usize::MAX, ..RunQuery::default() };
    let rows = opened.store.runs(&query).map_err(|e| resolve::unreadable(&e))?;
    Ok(rows.into_iter().map(|row| (row.run, row)).collect())
}

impl Copy<'_> {
    fn log(&mut self, until: Position) -> Result<(), Problem> {
        let mut after = Position::default();
        loop {
            let page = self.from.store.tail(after, PAGE).map_err(|e| resolve::unreadable(&e))?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (_, commit) in page.into_iter().filter(|(at, _)| *at <= until) {
                self.commit(commit)?;
            }
            if after >= until {
                break;
            }
        }
        self.arriving.append()
    }

    fn commit(&mut self, commit: StoredCommit) -> Result<(), Problem> {
        let mut named = Vec::new();
        cbor::blob_references(&commit.payload, &mut named);
        for blob in named {
            self.blob(blob)?;
        }
        let run = commit.header.run;
        if self.ends.insert(run, commit.header.next_seq() - 1).is_none()
            && let Some(row) = self.rows.remove(&run)
        {
            self.arriving.row(row);
        }
        self.done.commits += 1;
        self.done.events += u64::from(commit.header.count);
        self.arriving.commit(commit);
        if self.arriving.full() { self.arriving.append() } else { Ok(()) }
    }

    fn blob(&mut self, blob: BlobRef) -> Result<(), Problem> {
        if !self.blobs.insert(blob.blob) {
            return Ok(());
        }
        self.done.blobs += 1;
        let found = find(self.from, self.runtime, blob)?;
        self.arriving.blob(blob.blob, found)
    }

    /// The shared keys of runs that have not gone on, and those that removed runs have left.
    fn keys(&mut self) -> Result<(), Problem> {
        let mut after = None;
        loop {
            let page = self.from.store.keys(after, PAGE).map_err(|e| resolve::unreadable(&e))?;
            let Some(last) = page.last() else { return self.arriving.append() };
            after = Some(last.key);
            for row in page {
                if self.stands(&row)? {
                    self.key(row)?;
                }
            }
            self.arriving.append()?;
        }
    }

    /// Whether a row says how its key stood when the copy began.
    fn stands(&self, row: &KeyRow) -> Result<bool, Problem> {
        let Some(end) = self.ends.get(&row.run) else {
            // A run that is gone, and not one that has begun since.
            let here = self.from.store.read(row.run, 1, 1).map_err(|e| resolve::unreadable(&e))?;
            return Ok(here.is_empty());
        };
        let later = self.from.store.read(row.run, end + 1, 1);
        Ok(later.map_err(|e| resolve::unreadable(&e))?.is_empty())
    }

    fn key(&mut self, row: KeyRow) -> Result<(), Problem> {
        if let KeyState::Done { output: Data::Blob(blob), .. } = &row.state {
            self.blob(*blob)?;
        }
        self.arriving.key(row, Millis(i64::MAX))
    }

    /// What stands beside the log: of a run that has gone on since, as its history says that was copied.
    fn ends(&mut self) -> Result<(), Problem> {
        let mut rows = rows(self.from)?;
        for (run, events) in std::mem::take(&mut self.ends) {
            self.done.runs += 1;
            match rows.remove(&run).filter(|row| row.events == events) {
                Some(row) => self.arriving.row(row),
                None => self.refold(run)?,
            }
            if self.arriving.full() {
                self.arriving.append()?;
            }
        }
        self.arriving.append()
    }

    fn refold(&mut self, run: RunId) -> Result<(), Problem> {
        let mut trail = Trail::new(Run::new(run), Hash::ZERO);
        let to = &*self.to.store;
        let arriving = &mut self.arriving;
        read_all(to, run, &mut |commit| {
            let damaged = |e: String| {
                Problem::new(Code::ChainBroken, format!("run {run}: {e}")).next("aura store check")
            };
            let events = commit.events().map_err(|e| damaged(e.to_string()))?;
            let keys = trail.take(&commit, &events).map_err(|e| damaged(e.to_string()))?;
            // What a fork shares is another run's.
            let own = keys.into_iter().filter(|_| commit.header.run == run);
            own.into_iter().try_for_each(|key| arriving.key(key, commit.header.at))
        })?;
        if let Some(row) = trail.run.row() {
            self.arriving.row(row);
        }
        Ok(())
    }
}
