//! The log and the rows of runs in one SQLite file.
//!
//! One connection writes, behind a mutex; a group is one transaction and one sync of the write-ahead log. Reads
//! have connections of their own and never wait for the writer. A thread of its own moves the write-ahead log into
//! the file, so that an append does it only when that log has become very long.

mod append;
mod check;
mod checkpoint;
mod compact;
mod connect;
mod info;
mod keys;
mod migrate;
mod read;
mod readers;
mod rows;
mod snapshots;
mod sweep;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{
    Appended, Compacted, Compaction, Group, Health, KeyRow, Position, RunQuery, RunRow, Snapshot,
    Store, StoreError, StoreInfo,
};
use bytes::Bytes;

use crate::blobs::LocalBlobs;
use crate::fault::broken;
use crate::lock::OwnerLock;
use append::Writer;
use readers::Readers;

/// Pages of the file, in bytes. A commit writes whole pages, so larger ones would cost more per step.
const PAGE_BYTES: u32 = 4_096;

/// Set once, by the failure after which this handle refuses everything.
type Verdict = Arc<OnceLock<StoreError>>;

/// A store on SQLite.
///
/// An owner's handle closes with a last checkpoint. After [`StoreError::Broken`] from an append, or after a
/// checkpoint that could not be made durable, every method returns that error until the store is opened anew; a
/// group that is refused because it is not what it must be (a gap, a limit, a wrong address) is `Broken` too, as
/// it is a fault of the caller, but changes nothing and leaves the handle usable. A damaged row is told to who
/// reads it and hinders nobody else.
#[derive(Debug)]
pub struct SqliteStore {
    // The order is that in which they are dropped: the lock goes when no connection is left.
    readers: Readers,
    writer: Option<Mutex<Writer>>,
    verdict: Verdict,
    dir: PathBuf,
    facts: migrate::Facts,
    /// Held while a blob's file is removed, and while a put renews its age.
    pub(crate) sweeping: Mutex<()>,
    lock: Option<OwnerLock>,
}

impl SqliteStore {
    /// The database file of a data directory.
    pub(crate) fn file(dir: &Path) -> PathBuf {
        dir.join("aura.db")
    }

    /// Opens for writing with the lock, for reading without it.
    pub(crate) fn open(dir: &Path, lock: Option<OwnerLock>) -> Result<Self, Problem> {
        let file = Self::file(dir);
        let verdict = Verdict::default();
        let (writer, facts) = if lock.is_some() {
            let (conn, facts) = connect::owner(&file)?;
            let writer = Writer::new(conn, &file, &verdict)?;
            (Some(Mutex::new(writer)), facts)
        } else {
            let conn = connect::first_reader(&file)?;
            (None, migrate::facts(&conn, &file)?)
        };
        let dir = dir.to_owned();
        Ok(Self {
            readers: Readers::new(file),
            writer,
            verdict,
            dir,
            facts,
            sweeping: Mutex::default(),
            lock,
        })
    }

    /// Makes an empty store whose blobs have the addresses of another's.
    pub(crate) fn create(dir: &Path, salt: Hash) -> Result<(), Problem> {
        connect::create(&Self::file(dir), salt)
    }

    /// Records where this owner listens, for [`crate::owner`]; `None` when it stops to.
    ///
    /// # Errors
    /// The lock file can't be written, or this handle is not the owner's (`StoreOwned`).
    pub fn announce(&self, socket: Option<&Path>) -> Result<(), Problem> {
        match &self.lock {
            Some(lock) => lock.announce(socket),
            None => Err(Problem::new(Code::StoreOwned, "this process does not own the store")),
        }
    }

    /// What the addresses of this store's blobs are salted with.
    pub fn salt(&self) -> Hash {
        self.facts.salt
    }

    fn blob_dir(&self) -> PathBuf {
        LocalBlobs::dir(&self.dir)
    }

    fn writing(&self) -> Result<&Mutex<Writer>, StoreError> {
        self.writer.as_ref().ok_or_else(|| StoreError::Busy {
            code: Code::StoreReadOnly,
            message: "the store is open for reading only".to_owned(),
        })
    }

    fn usable(&self) -> Result<(), StoreError> {
        self.verdict.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl Store for SqliteStore {
    fn append(&self, group: &Group) -> Result<Appended, StoreError> {
        self.usable()?;
        let writer = self.writing()?;
        let packed = append::prepare(group, self.facts.salt)?;
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.usable()?;
        writer.append(group, &packed)
    }

    fn read(
        &self,
        run: RunId,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredCommit>, StoreError> {
        self.usable()?;
        self.readers.with(|conn| read::run(conn, run, from_seq, limit))
    }

    fn tail(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, StoredCommit)>, StoreError> {
        self.usable()?;
        self.readers.with(|conn| read::tail(conn, after, limit))
    }

    fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, StoreError> {
        self.usable()?;
        self.readers.with(|conn| rows::list(conn, query))
    }

    fn blob(&self, address: Hash) -> Result<Option<Bytes>, StoreError> {
        self.usable()?;
        let stored = self.readers.with(|conn| read::blob(conn, address))?;
        let Some((size, packed)) = stored else { return Ok(None) };
        let plain = read::unpack_blob(self.facts.salt, address, size, &packed);
        plain.map(|plain| Some(plain.into())).ok_or_else(|| {
            broken(Code::BlobCorrupt, format!("blob {address} in the store's table is damaged"))
        })
    }

    fn keep_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.usable()?;
        let writer = self.writing()?;
        let packed = snapshots::packed(snapshot)?;
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.usable()?;
        writer.beside("a snapshot was not written", |conn| snapshots::keep(conn, snapshot, &packed))
    }

    fn snapshot(&self, run: RunId) -> Result<Option<Snapshot>, StoreError> {
        self.usable()?;
        self.readers.with(|conn| snapshots::of(conn, run))
    }

    fn key(&self, key: Hash) -> Result<Option<KeyRow>, StoreError> {
        self.usable()?;
        self.readers.with(|conn| keys::read(conn, key))
    }

    fn keys(&self, after: Option<Hash>, limit: usize) -> Result<Vec<KeyRow>, StoreError> {
        self.usable()?;
        self.readers.with(|conn| keys::list(conn, after, limit))
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        self.usable()?;
        let mut info = self.readers.with(|conn| info::of(conn, &self.dir, &self.facts))?;
        // A setting of each connection, not of the file: only who writes can tell.
        if let Some(writer) = &self.writer {
            let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            info.engine.insert("synchronous".to_owned(), writer.synchronous()?);
        }
        Ok(info)
    }

    fn compact(&self, asked: &Compaction) -> Result<Compacted, StoreError> {
        self.usable()?;
        compact::compact(self, self.writing()?, asked)
    }

    fn check(&self) -> Result<Health, StoreError> {
        self.usable()?;
        self.readers.with(|conn| check::all(conn, &self.blob_dir(), self.facts.salt))
    }
}
