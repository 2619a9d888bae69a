//! Blobs that nothing names: found by reading the log once, and removed under the locks that puts and appends hold.
//!
//! A file is as old as its last put. A blob of the table has no age, so that a sweep notes since when nothing names
//! it, and a later one removes it; a group that brings it again takes the note away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aura_core::cbor;
use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::StoreError;
use aura_core::time::Millis;
use rusqlite::Connection;

use super::SqliteStore;
use super::append::Writer;
use super::keys;
use crate::blobs;
use crate::fault::{self, broken};

/// Commits read in one transaction.
const PAGE: usize = 256;

/// Blobs removed while the writer is held.
const CHUNK: usize = 256;

/// What may be removed: bytes by address, of the table and of files.
pub(super) struct Sweep {
    table: BTreeMap<Hash, Small>,
    files: BTreeMap<Hash, u64>,
    /// Of the table, with a note, and named again.
    cleared: Vec<Hash>,
    before: Millis,
    at: Millis,
    /// The log is read up to here.
    seen: i64,
}

/// A blob of the table.
struct Small {
    bytes: u64,
    /// Since when it is noted that nothing names it.
    orphan_since: Option<Millis>,
}

impl Sweep {
    /// Looks for blobs that were put before `before` and that no commit names, those of the runs in `gone` aside.
    pub(super) fn new(
        store: &SqliteStore,
        (before, at): (Millis, Millis),
        gone: Vec<RunId>,
    ) -> Result<Self, StoreError> {
        let files = old_files(&store.blob_dir(), moment(before))?;
        let table = store
            .readers
            .with(|conn| table(conn).map_err(|e| fault::of_sqlite("blobs can't be listed", &e)))?;
        let mut sweep = Self { table, files, cleared: Vec::new(), before, at, seen: i64::MIN };
        let gone: BTreeSet<RunId> = gone.into_iter().collect();
        store.readers.with(|conn| sweep.keys(conn))?;
        while store.readers.with(|conn| sweep.read(conn, &gone))? {}
        Ok(sweep)
    }

    /// How many there are, and their bytes.
    pub(super) fn found(&self) -> (u64, u64) {
        let small = self.table.values().filter(|small| self.goes(small)).map(|small| small.bytes);
        let sizes: Vec<u64> = small.chain(self.files.values().copied()).collect();
        (sizes.len() as u64, sizes.iter().sum())
    }

    fn goes(&self, small: &Small) -> bool {
        small.orphan_since.is_some_and(|since| since < self.before)
    }

    /// Takes out what the next commits name; whether there are more.
    fn read(&mut self, conn: &Connection, gone: &BTreeSet<RunId>) -> Result<bool, StoreError> {
        if self.table.is_empty() && self.files.is_empty() {
            return Ok(false);
        }
        let page = self.page(conn, gone);
        page.map(|read| read == PAGE).map_err(|e| fault::of_sqlite("the log can't be read", &e))
    }

    fn page(&mut self, conn: &Connection, gone: &BTreeSet<RunId>) -> rusqlite::Result<usize> {
        let sql = format!(
            "SELECT position, payload, header FROM commits WHERE position > ?1
             ORDER BY position LIMIT {PAGE}"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query([self.seen])?;
        let (mut read, mut named) = (0, Vec::new());
        while let Some(row) = rows.next()? {
            read += 1;
            self.seen = row.get(0)?;
            if !gone.is_empty() {
                let header: Vec<u8> = row.get(2)?;
                let header = aura_core::commit::Header::decode(&header);
                if header.is_ok_and(|header| gone.contains(&header.run)) {
                    continue;
                }
            }
            let payload = row.get_ref(1)?;
            cbor::blob_references(payload.as_blob().unwrap_or_default(), &mut named);
        }
        for blob in named {
            self.spare(blob.blob);
        }
        Ok(read)
    }

    /// Takes out the results of shared keys: they are given to other runs even when the run that had it is gone. A
    /// row that comes later names a blob that its commit names, so that reading them once is enough.
    fn keys(&mut self, conn: &Connection) -> Result<(), StoreError> {
        if self.table.is_empty() && self.files.is_empty() {
            return Ok(());
        }
        keys::blobs(conn, &mut |blob| self.spare(blob))
            .map_err(|e| fault::of_sqlite("keys can't be read", &e))
    }

    fn spare(&mut self, blob: Hash) {
        if self.table.remove(&blob).is_some_and(|small| small.orphan_since.is_some()) {
            self.cleared.push(blob);
        }
        self.files.remove(&blob);
    }

    /// Removes them; what a commit names by now, or a put has renewed, stays.
    pub(super) fn remove(
        mut self,
        store: &SqliteStore,
        writer: &Mutex<Writer>,
    ) -> Result<(u64, u64), StoreError> {
        let (mut blobs, mut bytes) = (0, 0);
        loop {
            // No commit is appended while this is held.
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let nothing = BTreeSet::new();
            let dir = store.blob_dir();
            let _turn = store.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
            let removed = writer.beside("blobs were not removed", |conn| {
                while self.page(conn, &nothing)? == PAGE {}
                for address in std::mem::take(&mut self.cleared) {
                    note(conn, address, None)?;
                }
                for _ in 0..CHUNK {
                    let Some((address, small)) = self.table.pop_first() else { break };
                    if self.goes(&small) {
                        conn.prepare_cached("DELETE FROM blobs WHERE address = ?1")?
                            .execute([&address.0[..]])?;
                        blobs += 1;
                        bytes += small.bytes;
                    } else if small.orphan_since.is_none() {
                        note(conn, address, Some(self.at))?;
                    }
                }
                Ok(())
            });
            removed?;
            for _ in 0..CHUNK {
                let Some((address, size)) = self.files.pop_first() else { break };
                let path = blobs::path_of(&dir, address);
                let modified = path.metadata().and_then(|metadata| metadata.modified());
                let old = modified.is_ok_and(|at| at < moment(self.before));
                if old && std::fs::remove_file(&path).is_ok() {
                    blobs += 1;
                    bytes += size;
                }
            }
            if self.table.is_empty() && self.files.is_empty() {
                return Ok((blobs, bytes));
            }
        }
    }
}

fn moment(at: Millis) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}

/// Notes since when nothing names a blob of the table, or that something does.
fn note(conn: &Connection, address: Hash, since: Option<Millis>) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE blobs SET orphan_since = ?2 WHERE address = ?1")?
        .execute((&address.0[..], since.map(|since| since.0)))?;
    Ok(())
}

fn table(conn: &Connection) -> rusqlite::Result<BTreeMap<Hash, Small>> {
    let most = limits::SWEEP_BLOBS;
    let sql = format!("SELECT address, LENGTH(bytes), orphan_since FROM blobs LIMIT {most}");
    let mut statement = conn.prepare(&sql)?;
    let found = statement.query_map([], |row| {
        let bytes = row.get::<_, i64>(1)?.cast_unsigned();
        let orphan_since = row.get::<_, Option<i64>>(2)?.map(Millis);
        Ok((Hash(row.get(0)?), Small { bytes, orphan_since }))
    })?;
    found.collect()
}

/// Files of blobs that are old enough; those that are still being written have other names.
fn old_files(dir: &Path, before: SystemTime) -> Result<BTreeMap<Hash, u64>, StoreError> {
    let unreadable = |e: std::io::Error| {
        broken(Code::StoreUnavailable, format!("{} can't be read: {e}", dir.display()))
    };
    let folders = match std::fs::read_dir(dir) {
        Ok(folders) => folders,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(unreadable(e)),
    };
    let mut found = BTreeMap::new();
    for folder in folders {
        let folder = folder.map_err(unreadable)?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&folder).map_err(unreadable)? {
            let file = file.map_err(unreadable)?;
            let address = file.file_name().to_str().and_then(blobs::address_of);
            // One that disappears meanwhile was removed by somebody else.
            let (Some(address), Ok(metadata)) = (address, file.metadata()) else { continue };
            if metadata.modified().is_ok_and(|at| at < before) && found.len() < limits::SWEEP_BLOBS
            {
                found.insert(address, metadata.len());
            }
        }
    }
    Ok(found)
}
