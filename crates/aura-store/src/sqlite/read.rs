//! Reading commits and small blobs. A damaged row is told by run and event, to who asked for it.

use aura_core::commit::{Header, NotAHeader, StoredCommit};
use aura_core::data::blob_address;
use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Position, StoreError};
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use crate::fault::{self, broken};
use crate::pack;

/// The columns that [`Raw::of`] takes.
pub(super) const COLUMNS: &str = "position, run, seq, header, hash, payload";

/// A row of the log, not yet believed.
pub(super) struct Raw {
    pub(super) position: i64,
    pub(super) number: i64,
    pub(super) seq: i64,
    header: Vec<u8>,
    hash: Vec<u8>,
    payload: Vec<u8>,
}

impl Raw {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            position: row.get(0)?,
            number: row.get(1)?,
            seq: row.get(2)?,
            header: row.get(3)?,
            hash: row.get(4)?,
            payload: row.get(5)?,
        })
    }

    /// The commit, if the row can be one of `run` (where that is known) at its event.
    pub(super) fn commit(self, run: Option<RunId>) -> Result<StoredCommit, (Code, String)> {
        let seq = self.seq;
        let header = Header::decode(&self.header).map_err(|e| {
            let code = match e {
                NotAHeader::Damaged => Code::ChainBroken,
                NotAHeader::Format(_) => Code::StoreFormat,
            };
            (code, format!("the commit at event {seq}: {e}"))
        })?;
        let hash = <[u8; 32]>::try_from(self.hash.as_slice())
            .map_err(|_| (Code::ChainBroken, format!("the hash at event {seq} is damaged")))?;
        if header.seq != seq.cast_unsigned() || run.is_some_and(|run| run != header.run) {
            let (run, found) = (header.run, header.seq);
            let text =
                format!("the commit at event {seq} says that it is run {run}, event {found}");
            return Err((Code::ChainBroken, text));
        }
        Ok(StoredCommit { header, payload: self.payload, hash: Hash(hash) })
    }
}

/// Commits of a run from the one that holds event `from_seq`.
pub(super) fn run(
    conn: &Connection,
    run: RunId,
    from_seq: u64,
    limit: usize,
) -> Result<Vec<StoredCommit>, StoreError> {
    let doing = format!("run {run} can't be read");
    let of_sqlite = |e| fault::of_sqlite(&doing, &e);
    // Whoever starts a run asks first whether it is there: that must cost one look into an index.
    let number: Option<i64> = conn
        .prepare_cached("SELECT number FROM runs WHERE run = ?1")
        .and_then(|mut look| look.query_row([&run.0.as_bytes()[..]], |row| row.get(0)).optional())
        .map_err(of_sqlite)?;
    let Some(number) = number else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT {COLUMNS} FROM commits
         WHERE run = ?1 AND seq >= COALESCE(
             (SELECT MAX(seq) FROM commits WHERE run = ?1 AND seq <= ?2), 0)
         ORDER BY seq LIMIT ?3"
    );
    let from = i64::try_from(from_seq).unwrap_or(i64::MAX);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(&sql).map_err(of_sqlite)?;
    let mut rows = statement.query((number, from, most)).map_err(of_sqlite)?;
    let mut commits = Vec::new();
    while let Some(row) = rows.next().map_err(of_sqlite)? {
        let commit = Raw::of(row).map_err(of_sqlite)?.commit(Some(run));
        let commit = commit.map_err(|(code, why)| broken(code, format!("run {run}: {why}")))?;
        // The last commit before an event that has not come yet does not hold it.
        if commit.header.seq + u64::from(commit.header.count) > from_seq {
            commits.push(commit);
        }
    }
    Ok(commits)
}

/// Commits after a position. A page ends before a damaged row; only a page that begins with one is an error.
pub(super) fn tail(
    conn: &Connection,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, StoredCommit)>, StoreError> {
    let of_sqlite = |e| fault::of_sqlite("the log can't be read", &e);
    let sql =
        format!("SELECT {COLUMNS} FROM commits WHERE position > ?1 ORDER BY position LIMIT ?2");
    let from = i64::try_from(after.0).unwrap_or(i64::MAX);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(&sql).map_err(of_sqlite)?;
    let mut rows = statement.query((from, most)).map_err(of_sqlite)?;
    let mut commits = Vec::new();
    while let Some(row) = rows.next().map_err(of_sqlite)? {
        let raw = Raw::of(row).map_err(of_sqlite)?;
        let (position, number) = (raw.position, raw.number);
        match raw.commit(None) {
            Ok(commit) => commits.push((Position(position.cast_unsigned()), commit)),
            Err(_) if !commits.is_empty() => break,
            Err((code, why)) => {
                let run = run_of(conn, number).map_err(of_sqlite)?;
                let run =
                    run.map_or_else(|| "a run without a row".to_owned(), |run| run.to_string());
                return Err(broken(code, format!("position {position}, run {run}: {why}")));
            }
        }
    }
    Ok(commits)
}

/// The id of a run by its number in this store.
pub(super) fn run_of(conn: &Connection, number: i64) -> rusqlite::Result<Option<RunId>> {
    conn.prepare_cached("SELECT run FROM runs WHERE number = ?1")?
        .query_row([number], |row| Ok(RunId(Uuid::from_bytes(row.get(0)?))))
        .optional()
}

/// The length and the compressed bytes of a small blob.
pub(super) fn blob(conn: &Connection, address: Hash) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    let sql = "SELECT size, bytes FROM blobs WHERE address = ?1";
    let found = conn.prepare_cached(sql).and_then(|mut statement| {
        statement.query_row([&address.0[..]], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    });
    found.map_err(|e| fault::of_sqlite(&format!("blob {address} can't be read"), &e))
}

/// The plain bytes of a small blob, if they are those of its address.
pub(super) fn unpack_blob(salt: Hash, address: Hash, size: i64, packed: &[u8]) -> Option<Vec<u8>> {
    let size = usize::try_from(size).ok().filter(|size| *size <= limits::BLOB_TABLE_BYTES)?;
    let plain = pack::unpack(packed, size).ok()?;
    (blob_address(salt, &plain).blob == address).then_some(plain)
}
