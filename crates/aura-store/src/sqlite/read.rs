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

/// Part of a run's history: its own commits, or those of a run whose beginning it shares.
pub(super) struct Segment {
    number: i64,
    run: RunId,
    /// The last event that counts.
    last: u64,
}

/// The segments of a run, oldest first; none if there is no such run.
pub(super) fn segments(conn: &Connection, run: RunId) -> rusqlite::Result<Vec<Segment>> {
    let first = "SELECT number, run, parent, cut FROM runs WHERE run = ?1";
    let above = "SELECT number, run, parent, cut FROM runs WHERE number = ?1";
    let mut last = u64::MAX;
    let take = |row: &Row<'_>| {
        let run = RunId(Uuid::from_bytes(row.get(1)?));
        Ok((row.get::<_, i64>(0)?, run, row.get::<_, Option<i64>>(2)?, row.get(3)?))
    };
    let mut found =
        conn.prepare_cached(first)?.query_row([&run.0.as_bytes()[..]], take).optional()?;
    let mut segments = Vec::new();
    while let Some((number, run, parent, cut)) = found {
        segments.push(Segment { number, run, last });
        let cut: Option<i64> = cut;
        last = last.min(cut.map_or(0, i64::cast_unsigned));
        found = match parent {
            Some(parent) if last > 0 && segments.len() <= limits::FORK_DEPTH => {
                conn.prepare_cached(above)?.query_row([parent], take).optional()?
            }
            _ => None,
        };
    }
    segments.reverse();
    Ok(segments)
}

/// Commits of a run from the one that holds event `from_seq`; what it shares comes from its parent.
pub(super) fn run(
    conn: &Connection,
    run: RunId,
    from_seq: u64,
    limit: usize,
) -> Result<Vec<StoredCommit>, StoreError> {
    let of_sqlite = |e| fault::of_sqlite(&format!("run {run} can't be read"), &e);
    let mut commits = Vec::new();
    for segment in segments(conn, run).map_err(of_sqlite)? {
        if segment.last >= from_seq && commits.len() < limit {
            let most = limit - commits.len();
            part(conn, &segment, (from_seq, most), &mut commits)?;
        }
    }
    Ok(commits)
}

fn part(
    conn: &Connection,
    segment: &Segment,
    (from_seq, limit): (u64, usize),
    commits: &mut Vec<StoredCommit>,
) -> Result<(), StoreError> {
    let run = segment.run;
    let doing = format!("run {run} can't be read");
    let of_sqlite = |e| fault::of_sqlite(&doing, &e);
    let sql = format!(
        "SELECT {COLUMNS} FROM commits
         WHERE run = ?1
           AND seq >= COALESCE((SELECT MAX(seq) FROM commits WHERE run = ?1 AND seq <= ?2), 0)
           AND seq <= ?4
         ORDER BY seq LIMIT ?3"
    );
    let number = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(&sql).map_err(of_sqlite)?;
    let mut rows = statement
        .query((segment.number, number(from_seq), most, number(segment.last)))
        .map_err(of_sqlite)?;
    while let Some(row) = rows.next().map_err(of_sqlite)? {
        let commit = Raw::of(row).map_err(of_sqlite)?.commit(Some(run));
        let commit = commit.map_err(|(code, why)| broken(code, format!("run {run}: {why}")))?;
        // The last commit before an event that has not come yet does not hold it.
        if commit.header.seq + u64::from(commit.header.count) > from_seq {
            commits.push(commit);
        }
    }
    Ok(())
}

/// The hash of the commit of a fork's history that ends at the last event that it shares.
pub(super) fn shared_head(conn: &Connection, number: i64) -> rusqlite::Result<Shared> {
    let sql = "SELECT run, cut FROM runs WHERE number = ?1";
    let row = conn
        .prepare_cached(sql)?
        .query_row([number], |row| {
            Ok((RunId(Uuid::from_bytes(row.get(0)?)), row.get::<_, Option<i64>>(1)?))
        })
        .optional()?;
    let Some((run, Some(cut))) = row.filter(|(_, cut)| cut.is_some_and(|cut| cut > 0)) else {
        return Ok(Shared::Nothing);
    };
    for segment in segments(conn, run)?.iter().rev().filter(|segment| segment.number != number) {
        let sql = "SELECT header, hash FROM commits WHERE run = ?1 AND seq <= ?2
                   ORDER BY seq DESC LIMIT 1";
        let last: Option<(Vec<u8>, Vec<u8>)> = conn
            .prepare_cached(sql)?
            .query_row((segment.number, cut), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((header, hash)) = last else { continue };
        let ends = Header::decode(&header)
            .is_ok_and(|header| header.seq + u64::from(header.count) == cut.cast_unsigned() + 1);
        let hash = <[u8; 32]>::try_from(hash.as_slice()).ok().filter(|_| ends);
        return Ok(Shared::UpTo(cut.cast_unsigned(), hash.map(Hash)));
    }
    Ok(Shared::UpTo(cut.cast_unsigned(), None))
}

/// What a run shares with its parent.
pub(super) enum Shared {
    /// It is no fork, or shares nothing.
    Nothing,
    /// Up to this event, where a commit of this hash ends; none if there is no such commit.
    UpTo(u64, Option<Hash>),
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
