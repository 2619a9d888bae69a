//! Reading histories from lines of JSON into a store.

use std::collections::BTreeSet;

use aura_core::cbor;
use aura_core::commit::StoredCommit;
use aura_core::data::blob_address;
use aura_core::error::{Code, Problem};
use aura_core::event::{Event, EventBody};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::Store;
use aura_engine::Trail;
use aura_graph::Run;
use aura_store::Opened;
use bytes::Bytes;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::arriving::Arriving;
use super::lines::{BlobLine, CommitLine, End, Head, Line, Lines, damaged};
use super::{Found, find, restored};
use crate::resolve;

/// What an import did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Imported {
    /// Runs in the file.
    pub(crate) runs: u64,
    /// Commits that are new here.
    pub(crate) commits: u64,
    /// Commits that were here before.
    pub(crate) already: u64,
    /// Blobs in the file.
    pub(crate) blobs: u64,
    /// Runs that have not ended.
    pub(crate) open: Vec<RunId>,
    /// The last run in the file.
    #[serde(skip)]
    pub(crate) last: Option<RunId>,
}

struct Import<'a> {
    opened: &'a Opened,
    runtime: &'a Runtime,
    dir: &'a std::path::Path,
    taken: Head,
    blobs: BTreeSet<Hash>,
    seen: BTreeSet<RunId>,
    current: Option<Current>,
    arriving: Arriving<'a>,
    commits: u64,
    /// The number of the line that is being read.
    line: u64,
    /// Open runs in the group that are to be kept from being performed.
    unmarked: Vec<RunId>,
    /// Runs that have ended and were kept from being performed until then.
    ended: Vec<RunId>,
    done: Imported,
}

/// The run whose commits are being read.
struct Current {
    trail: Trail,
    /// Whether the store may have its next commit.
    known: bool,
    /// Whether the store lacked some of it.
    added: bool,
    /// Whether it is kept from being performed.
    marked: bool,
}

/// Reads what follows the first line. What is there already is skipped; nothing is ever replaced.
pub(crate) fn read(
    opened: &Opened,
    runtime: &Runtime,
    dir: &std::path::Path,
    taken: Head,
    lines: &mut Lines<'_>,
) -> Result<Imported, Problem> {
    let mut import = Import {
        opened,
        runtime,
        dir,
        taken,
        blobs: BTreeSet::new(),
        seen: BTreeSet::new(),
        current: None,
        arriving: Arriving::new(opened, runtime),
        commits: 0,
        line: lines.number,
        unmarked: Vec::new(),
        ended: Vec::new(),
        done: Imported::default(),
    };
    loop {
        let line = lines.next()?;
        import.line = lines.number;
        match line {
            Some(Line::Blob(blob)) => import.blob(&blob)?,
            Some(Line::Commit(line)) => import.commit(line)?,
            Some(Line::End(end)) => return import.end(&end),
            Some(Line::Aura(_)) => return Err(lines.damaged("it is a second first line")),
            None => return Err(lines.damaged("the last line is missing")),
        }
    }
}

impl Import<'_> {
    fn damaged(&self, why: &str) -> Problem {
        damaged(self.line, why)
    }

    fn blob(&mut self, line: &BlobLine) -> Result<(), Problem> {
        let bytes = Bytes::from(line.bytes().map_err(|why| self.damaged(&why))?);
        if blob_address(self.taken.salt, &bytes).blob != line.address {
            return Err(self.damaged(&format!("blob {} has other bytes", line.address)));
        }
        self.done.blobs += 1;
        self.blobs.insert(line.address);
        self.arriving.blob(line.address, Found { bytes, table: line.table })
    }

    fn commit(&mut self, line: CommitLine) -> Result<(), Problem> {
        let (commit, events) = line.commit().map_err(|why| self.damaged(&why))?;
        let run = commit.header.run;
        if self.current.as_ref().is_none_or(|current| current.trail.run.id != run) {
            self.leave();
            if !self.seen.insert(run) {
                return Err(
                    self.damaged(&format!("the commits of run {run} do not stand together"))
                );
            }
            let (state, head) = self.beginning(&commit, &events)?;
            let trail = Trail::new(state, head);
            self.current = Some(Current { trail, known: true, added: false, marked: false });
            self.done.runs += 1;
            self.done.last = Some(run);
        }
        self.blobs_are_there(&commit)?;
        let Some(current) = &mut self.current else { return Ok(()) };
        let keys = current.trail.take(&commit, &events);
        let keys = keys.map_err(|e| damaged(self.line, &format!("run {run}: {e}")))?;
        self.commits += 1;
        if current.known {
            let here = self.opened.store.read(run, commit.header.seq, 1);
            match here.map_err(|e| resolve::unreadable(&e))?.first() {
                Some(here) if here.hash == commit.hash => {
                    self.done.already += 1;
                    return Ok(());
                }
                Some(_) => return Err(differs(run, commit.header.seq)),
                None => current.known = false,
            }
        }
        current.added = true;
        self.done.commits += 1;
        let at = commit.header.at;
        self.arriving.commit(commit);
        keys.into_iter().try_for_each(|key| self.arriving.key(key, at))?;
        if self.arriving.full() { self.append() } else { Ok(()) }
    }

    /// The state before the first commit of a run: of a fork, what it shares with its parent, which stands before it.
    fn beginning(
        &mut self,
        commit: &StoredCommit,
        events: &[Event],
    ) -> Result<(Run, Hash), Problem> {
        let run = commit.header.run;
        if commit.header.seq == 1 {
            return Ok((Run::new(run), Hash::ZERO));
        }
        let Some(EventBody::RunForked(forked)) = events.first().map(|event| &event.body) else {
            return Err(self.damaged(&format!("run {run} does not begin with its start")));
        };
        self.append()?;
        aura_engine::shared(&*self.opened.store, run, (forked.parent, forked.seq))
    }

    fn blobs_are_there(&self, commit: &StoredCommit) -> Result<(), Problem> {
        let mut named = Vec::new();
        cbor::blob_references(&commit.payload, &mut named);
        for blob in named {
            if !self.blobs.contains(&blob.blob) {
                find(self.opened, self.runtime, blob)?;
            }
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), Problem> {
        let mut open = std::mem::take(&mut self.unmarked);
        if let Some(current) = self.current.as_mut().filter(|current| current.added) {
            let run = &current.trail.run;
            if let Some(row) = run.row() {
                self.arriving.row(row);
            }
            if !run.closed() && !current.marked {
                current.marked = true;
                open.push(run.id);
            }
        }
        if !open.is_empty() {
            // Before their commits, so that nobody performs them unasked.
            restored::mark(self.dir, &open, self.taken.at)?;
        }
        self.arriving.append()?;
        let ended = std::mem::take(&mut self.ended);
        if ended.is_empty() { Ok(()) } else { restored::clear(self.dir, &ended) }
    }

    /// Ends the run whose commits were read.
    fn leave(&mut self) {
        let Some(current) = self.current.take().filter(|current| current.added) else { return };
        let run = &current.trail.run;
        if let Some(row) = run.row() {
            self.arriving.row(row);
        }
        match (run.closed(), current.marked) {
            (true, true) => self.ended.push(run.id),
            (true, false) => {}
            (false, marked) => {
                self.done.open.push(run.id);
                if !marked {
                    self.unmarked.push(run.id);
                }
            }
        }
    }

    fn end(mut self, end: &End) -> Result<Imported, Problem> {
        self.leave();
        self.append()?;
        let found = End { runs: self.done.runs, commits: self.commits, blobs: self.done.blobs };
        if *end != found {
            return Err(self.damaged("it speaks of more, or fewer, than there are"));
        }
        Ok(self.done)
    }
}

fn differs(run: RunId, seq: u64) -> Problem {
    let what = format!("run {run} is here with another history, from event {seq} on");
    Problem::new(Code::Conflict, what)
        .kept("the run that is here; runs that stand before it in the file were imported")
        .next("import into a new data directory: aura --data-dir DIR store import FILE")
}
