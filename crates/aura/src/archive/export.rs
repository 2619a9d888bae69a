//! Writing histories as lines of JSON.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::Path;

use aura_core::cbor;
use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{Clock, RunQuery, Store};
use aura_engine::read_all;
use aura_store::Opened;
use tokio::runtime::Runtime;

use super::lines::{BlobLine, CommitLine, End, Head, Line};
use super::{Copied, find, runtime};
use crate::output::Output;
use crate::resolve;
use crate::whole::WholeFile;
use crate::wire::SystemClock;

struct Export<'a> {
    opened: &'a Opened,
    runtime: &'a Runtime,
    out: &'a mut dyn Write,
    blobs: BTreeSet<Hash>,
    done: Copied,
}

/// Writes the histories of `runs` to standard output; a reader that goes away ends it quietly.
pub(crate) fn print(opened: &Opened, runs: &[RunId], out: &Output) -> Result<(), Problem> {
    match write(opened, &runtime()?, runs, &mut BufWriter::new(out.stream())) {
        Err(_) if out.closed() => Ok(()),
        done => done.map(|_| ()),
    }
}

/// Writes the histories of `runs` to a file, which is whole or as it was.
pub(crate) fn keep(opened: &Opened, runs: &[RunId], path: &Path) -> Result<Copied, Problem> {
    let failed = |e: std::io::Error| {
        let what = format!("{} can't be written: {e}", path.display());
        Problem::new(Code::StoreUnavailable, what)
            .kept("the store, and what was in that place")
            .next("name another file: -o FILE")
    };
    let mut file = WholeFile::create(path).map_err(failed)?;
    let done = write(opened, &runtime()?, runs, &mut file)?;
    file.finish().map_err(failed)?;
    Ok(done)
}

/// Writes the histories of `runs`, with the blobs that they name.
fn write(
    opened: &Opened,
    runtime: &Runtime,
    runs: &[RunId],
    out: &mut dyn Write,
) -> Result<Copied, Problem> {
    let info = opened.store.info().map_err(|e| resolve::unreadable(&e))?;
    let mut export =
        Export { opened, runtime, out, blobs: BTreeSet::new(), done: Copied::default() };
    export.line(&Line::Aura(Head {
        format: info.format,
        salt: info.salt,
        at: SystemClock.now(),
    }))?;
    for run in with_parents(&*opened.store, runs)? {
        // What a fork shares stands with its parent.
        read_all(&*opened.store, run, &mut |commit| {
            if commit.header.run == run { export.commit(&commit) } else { Ok(()) }
        })?;
        export.done.runs += 1;
    }
    let Copied { runs, commits, blobs, .. } = export.done;
    export.line(&Line::End(End { runs, commits, blobs }))?;
    export.out.flush().map_err(|e| unwritten(&e))?;
    Ok(export.done)
}

/// The runs, each after those whose beginning it shares.
fn with_parents(store: &dyn Store, runs: &[RunId]) -> Result<Vec<RunId>, Problem> {
    let (mut ordered, mut seen) = (Vec::new(), BTreeSet::new());
    for run in runs {
        let (mut line, mut at) = (Vec::new(), Some(*run));
        while let Some(run) = at.filter(|run| !seen.contains(run)) {
            seen.insert(run);
            line.push(run);
            let query = RunQuery { id_prefix: Some(run.to_string()), ..RunQuery::default() };
            let rows = store.runs(&query).map_err(|e| resolve::unreadable(&e))?;
            at = rows.first().and_then(|row| row.forked).map(|point| point.parent);
        }
        ordered.extend(line.into_iter().rev());
    }
    Ok(ordered)
}

impl Export<'_> {
    fn commit(&mut self, commit: &StoredCommit) -> Result<(), Problem> {
        let mut named = Vec::new();
        cbor::blob_references(&commit.payload, &mut named);
        for blob in named {
            if self.blobs.insert(blob.blob) {
                let found = find(self.opened, self.runtime, blob)?;
                self.line(&Line::Blob(BlobLine::new(blob.blob, found.table, &found.bytes)))?;
                self.done.blobs += 1;
            }
        }
        self.done.commits += 1;
        self.done.events += u64::from(commit.header.count);
        self.line(&Line::Commit(CommitLine::new(commit)?))
    }

    fn line(&mut self, line: &Line) -> Result<(), Problem> {
        serde_json::to_writer(&mut *self.out, line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|e| unwritten(&e))
    }
}

fn unwritten(error: &std::io::Error) -> Problem {
    Problem::new(Code::StoreUnavailable, format!("the export can't be written: {error}"))
        .kept("the store is as it was")
        .next("name another file: -o FILE")
}
