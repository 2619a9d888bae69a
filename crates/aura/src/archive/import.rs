//! Reading histories from lines of JSON into a store.

use std::collections::BTreeSet;
use std::io::BufRead;

use aura_core::cbor;
use aura_core::commit::StoredCommit;
use aura_core::data::blob_address;
use aura_core::error::{Code, Problem};
use aura_core::event::EventBody;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Blobs, Group, Store};
use aura_graph::Run;
use aura_graph::state::fold_commit;
use aura_store::Opened;
use bytes::Bytes;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::lines::{BlobLine, End, Head, Line, damaged};
use super::{find, lost, restored};
use crate::resolve;

/// Commits, and bytes of their payloads and blobs, that are appended at a time.
const GROUP_COMMITS: usize = 256;
const GROUP_BYTES: usize = 8 << 20;

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
    group: Group,
    bytes: usize,
    commits: u64,
    /// Open runs in the group that are to be kept from being performed.
    unmarked: Vec<RunId>,
    done: Imported,
}

/// The run whose commits are being read.
struct Current {
    run: Run,
    head: Hash,
    /// Whether the store may have its next commit.
    known: bool,
    /// Whether the store lacked some of it.
    added: bool,
    /// Whether it is kept from being performed.
    marked: bool,
}

/// The first line of a file.
pub(crate) fn head(file: &mut dyn BufRead) -> Result<Head, Problem> {
    match next(file)? {
        Some(Line::Aura(head)) => Ok(head),
        _ => Err(damaged("its first line does not say what it is")),
    }
}

/// Reads what follows the first line. What is there already is skipped; nothing is ever replaced.
pub(crate) fn read(
    opened: &Opened,
    runtime: &Runtime,
    dir: &std::path::Path,
    taken: Head,
    file: &mut dyn BufRead,
) -> Result<Imported, Problem> {
    let mut import = Import {
        opened,
        runtime,
        dir,
        taken,
        blobs: BTreeSet::new(),
        seen: BTreeSet::new(),
        current: None,
        group: Group::default(),
        bytes: 0,
        commits: 0,
        unmarked: Vec::new(),
        done: Imported::default(),
    };
    loop {
        match next(file)? {
            Some(Line::Blob(blob)) => import.blob(&blob)?,
            Some(Line::Commit(line)) => import.commit(line.commit()?)?,
            Some(Line::End(end)) => return import.end(&end),
            Some(Line::Aura(_)) => return Err(damaged("it has two first lines")),
            None => return Err(damaged("its last line is missing")),
        }
    }
}

fn next(file: &mut dyn BufRead) -> Result<Option<Line>, Problem> {
    let mut line = Vec::new();
    let most = limits::EXPORT_LINE_BYTES as u64;
    let mut limited = std::io::Read::take(&mut *file, most);
    let read = limited.read_until(b'\n', &mut line);
    match read.map_err(|e| damaged(&e.to_string()))? {
        0 => Ok(None),
        _ if !line.ends_with(b"\n") => Err(damaged("a line is cut off, or too long")),
        _ => serde_json::from_slice(&line).map(Some).map_err(|e| damaged(&e.to_string())),
    }
}

impl Import<'_> {
    fn blob(&mut self, line: &BlobLine) -> Result<(), Problem> {
        let bytes = Bytes::from(line.bytes()?);
        if blob_address(self.taken.salt, &bytes).blob != line.address {
            return Err(damaged(&format!("blob {} has other bytes", line.address)));
        }
        self.done.blobs += 1;
        self.blobs.insert(line.address);
        if line.table && bytes.len() <= limits::BLOB_TABLE_BYTES {
            self.bytes += bytes.len();
            self.group.blobs.push((line.address, bytes));
        } else {
            self.runtime.block_on(self.opened.blobs.put(bytes)).map_err(|e| lost(&e))?;
        }
        Ok(())
    }

    fn commit(&mut self, commit: StoredCommit) -> Result<(), Problem> {
        let run = commit.header.run;
        if self.current.as_ref().is_none_or(|current| current.run.id != run) {
            self.leave()?;
            if !self.seen.insert(run) {
                return Err(damaged(&format!("the commits of run {run} do not stand together")));
            }
            let (state, head) = self.beginning(&commit)?;
            self.current =
                Some(Current { run: state, head, known: true, added: false, marked: false });
            self.done.runs += 1;
            self.done.last = Some(run);
        }
        self.blobs_are_there(&commit)?;
        let Some(current) = &mut self.current else { return Ok(()) };
        fold_commit(&mut current.run, &mut current.head, &commit)
            .map_err(|e| damaged(&format!("run {run}: {e}")))?;
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
        self.bytes += commit.payload.len();
        self.group.commits.push(commit);
        if self.group.commits.len() >= GROUP_COMMITS || self.bytes >= GROUP_BYTES {
            self.append()?;
        }
        Ok(())
    }

    /// The state before the first commit of a run: of a fork, what it shares with its parent, which stands before it.
    fn beginning(&mut self, commit: &StoredCommit) -> Result<(Run, Hash), Problem> {
        let run = commit.header.run;
        if commit.header.seq == 1 {
            return Ok((Run::new(run), Hash::ZERO));
        }
        let events = commit.events().map_err(|e| damaged(&format!("run {run}: {e}")))?;
        let Some(EventBody::RunForked(forked)) = events.first().map(|event| &event.body) else {
            return Err(damaged(&format!("run {run} does not begin with its start")));
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
        let mut group = std::mem::take(&mut self.group);
        self.bytes = 0;
        let mut open = std::mem::take(&mut self.unmarked);
        if let Some(current) = self.current.as_mut().filter(|current| current.added) {
            group.rows.extend(current.run.row());
            if !current.run.closed() && !current.marked {
                current.marked = true;
                open.push(current.run.id);
            }
        }
        if !open.is_empty() {
            // Before their commits, so that nobody performs them unasked.
            restored::mark(self.dir, &open, self.taken.at)?;
        }
        self.opened.store.append(&group).map_err(|e| resolve::unreadable(&e))?;
        Ok(())
    }

    /// Ends the run whose commits were read.
    fn leave(&mut self) -> Result<(), Problem> {
        let Some(current) = self.current.take().filter(|current| current.added) else {
            return Ok(());
        };
        self.group.rows.extend(current.run.row());
        let run = current.run.id;
        match (current.run.closed(), current.marked) {
            (true, true) => restored::clear(self.dir, &[run])?,
            (true, false) => {}
            (false, marked) => {
                self.done.open.push(run);
                if !marked {
                    self.unmarked.push(run);
                }
            }
        }
        Ok(())
    }

    fn end(mut self, end: &End) -> Result<Imported, Problem> {
        self.leave()?;
        self.append()?;
        let found = End { runs: self.done.runs, commits: self.commits, blobs: self.done.blobs };
        if *end != found {
            return Err(damaged("lines of it are missing"));
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
