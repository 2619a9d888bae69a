//! The writer: a group is one transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::path::Path;

use aura_core::commit::{BadCommit, Header, StoredCommit};
use aura_core::data::blob_address;
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Appended, Group, Mark, Position, RunRow, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use super::checkpoint::Checkpointer;
use super::{Verdict, keys, migrate, rows};
use crate::fault::{self, Consequence, broken};
use crate::pack;

/// Runs whose place is remembered between groups; looking one up again costs two reads of an index.
const KNOWN_RUNS: usize = 16_384;

/// The blobs of a group, compressed: address, plain length, bytes.
pub(super) type Packed = Vec<(Hash, i64, Vec<u8>)>;

/// Checks the sizes of a group and compresses its blobs, before the writer is held.
pub(super) fn prepare(group: &Group, salt: Hash) -> Result<Packed, StoreError> {
    for commit in &group.commits {
        let Header { run, seq, count, .. } = commit.header;
        if commit.payload.len() > limits::COMMIT_BYTES || count as usize > limits::COMMIT_EVENTS {
            let bytes = commit.payload.len();
            let message =
                format!("run {run}: the commit at event {seq} has {count} events, {bytes} bytes");
            return Err(broken(Code::LimitExceeded, message));
        }
    }
    let mut packed = Packed::with_capacity(group.blobs.len());
    for (address, bytes) in &group.blobs {
        let size = bytes.len();
        if size > limits::BLOB_TABLE_BYTES {
            let message = format!("blob {address} has {size} bytes: too many for the table");
            return Err(broken(Code::LimitExceeded, message));
        }
        if blob_address(salt, bytes).blob != *address {
            let message = format!("blob {address} has other bytes than its address says");
            return Err(broken(Code::BlobCorrupt, message));
        }
        let small = pack::pack(bytes)
            .map_err(|e| broken(Code::StoreUnavailable, format!("blob {address}: {e}")))?;
        // The table's limit is far below what an i64 holds.
        packed.push((*address, i64::try_from(size).unwrap_or(i64::MAX), small));
    }
    Ok(packed)
}

/// The one connection that writes, and what it knows without looking.
pub(super) struct Writer {
    pub(super) conn: Connection,
    /// Runs by id. Emptied whenever a group fails, as it is changed while the group is written.
    known: HashMap<RunId, Known>,
    last: i64,
    pub(super) checkpointer: Checkpointer,
    verdict: Verdict,
}

struct Known {
    number: i64,
    next: u64,
    /// The last row written, as far as the columns go that seldom change.
    row: Option<RunRow>,
}

/// Why a group was not written.
enum Stop {
    /// It is not what it must be.
    Caller(StoreError),
    /// SQLite says no.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Writer {
    pub(super) fn new(
        mut conn: Connection,
        file: &Path,
        verdict: &Verdict,
    ) -> Result<Self, Problem> {
        let last: i64 = conn
            .query_row("SELECT COALESCE(MAX(position), 0) FROM commits", [], |row| row.get(0))
            .map_err(|e| fault::of_open(file, &e))?;
        // Those that were given out and removed since are not given out again.
        let given = migrate::fact::<8>(&conn, file, "position")?.map_or(0, i64::from_be_bytes);
        let last = given.max(last);
        let checkpointer = Checkpointer::start(&mut conn, file, verdict)?;
        let verdict = Verdict::clone(verdict);
        Ok(Self { conn, known: HashMap::new(), last, checkpointer, verdict })
    }

    pub(super) fn append(
        &mut self,
        group: &Group,
        packed: &Packed,
    ) -> Result<Appended, StoreError> {
        let Group { commits, rows, keys, .. } = group;
        if commits.is_empty() && rows.is_empty() && keys.is_empty() && packed.is_empty() {
            return Ok(self.appended());
        }
        self.checkpointer.make_room(&self.conn);
        if let Some(error) = self.verdict.get() {
            return Err(error.clone());
        }
        let before = self.last;
        let written = self.write(group, packed);
        let Err(stop) = written else {
            self.checkpointer.written();
            return Ok(self.appended());
        };
        self.known.clear();
        self.last = before;
        // Some errors end the transaction by themselves.
        let undone = self.conn.is_autocommit() || self.conn.execute_batch("ROLLBACK").is_ok();
        match stop {
            Stop::Caller(error) if undone => Err(error),
            Stop::Sqlite(error) if undone && fault::classify(&error).1 == Consequence::Later => {
                Err(fault::of_sqlite("the group was not written", &error))
            }
            Stop::Caller(error) => Err(self.give_up(error)),
            Stop::Sqlite(error) => {
                let (code, _) = fault::classify(&error);
                Err(self.give_up(broken(code, format!("the store failed while writing: {error}"))))
            }
        }
    }

    /// Looks up the runs again, as some may be gone.
    pub(super) fn forget_known(&mut self) {
        self.known.clear();
    }

    /// Does something else in a transaction of its own, between two groups.
    pub(super) fn beside<T>(
        &mut self,
        doing: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let done = self.conn.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            let done = work(&self.conn)?;
            self.conn.execute_batch("COMMIT")?;
            Ok(done)
        });
        let error = match done {
            Ok(done) => {
                self.checkpointer.written();
                return Ok(done);
            }
            Err(error) => error,
        };
        let undone = self.conn.is_autocommit() || self.conn.execute_batch("ROLLBACK").is_ok();
        if undone && fault::classify(&error).1 == Consequence::Later {
            return Err(fault::of_sqlite(doing, &error));
        }
        let (code, _) = fault::classify(&error);
        Err(self.give_up(broken(code, format!("{doing}: {error}"))))
    }

    /// How far a commit is synced before it counts, as SQLite says it of this connection.
    pub(super) fn synchronous(&self) -> Result<String, StoreError> {
        let level = self.conn.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
        let level = level.map_err(|e| fault::of_sqlite("the writer can't be asked", &e))?;
        Ok(match level {
            0 => "off".to_owned(),
            1 => "normal".to_owned(),
            2 => "full".to_owned(),
            other => other.to_string(),
        })
    }

    fn appended(&self) -> Appended {
        Appended { position: Position(self.last.cast_unsigned()) }
    }

    /// From here on this handle refuses everything: what is in its write-ahead log may or may not be on the disk.
    fn give_up(&self, error: StoreError) -> StoreError {
        self.verdict.get_or_init(|| error).clone()
    }

    fn write(&mut self, group: &Group, packed: &Packed) -> Result<(), Stop> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for (address, size, bytes) in packed {
            let sql = "INSERT INTO blobs (address, size, bytes) VALUES (?1, ?2, ?3)
                       ON CONFLICT (address) DO UPDATE SET orphan_since = NULL
                       WHERE orphan_since IS NOT NULL";
            self.conn.prepare_cached(sql)?.execute((&address.0[..], size, bytes))?;
        }
        let rows: HashMap<RunId, &RunRow> = group.rows.iter().map(|row| (row.run, row)).collect();
        for commit in &group.commits {
            self.write_commit(commit, &rows)?;
        }
        for row in &group.rows {
            if rows.get(&row.run).is_some_and(|last| std::ptr::eq(*last, row)) {
                self.write_row(row, &rows)?;
            }
        }
        self.write_keys(group)?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn write_commit(
        &mut self,
        commit: &StoredCommit,
        rows: &HashMap<RunId, &RunRow>,
    ) -> Result<(), Stop> {
        let header = &commit.header;
        let position = self.last + 1;
        let known = known(&self.conn, &mut self.known, header.run, rows)?;
        if header.count == 0 || header.seq != known.next {
            let bad = BadCommit::Gap { expected: known.next, found: header.seq };
            let message = format!("run {}: {bad}", header.run);
            return Err(Stop::Caller(broken(Code::ChainBroken, message)));
        }
        let sql = "INSERT INTO commits (position, run, seq, header, hash, payload)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.conn.prepare_cached(sql)?.execute((
            position,
            known.number,
            header.seq.cast_signed(),
            &header.encode()[..],
            &commit.hash.0[..],
            &commit.payload,
        ))?;
        known.next += u64::from(header.count);
        self.last = position;
        Ok(())
    }

    /// Keys that several runs share; most groups have none.
    fn write_keys(&self, group: &Group) -> Result<(), Stop> {
        for row in &group.keys {
            keys::write(&self.conn, row)?;
        }
        let now = group.commits.iter().map(|commit| commit.header.at).max();
        if let Some(now) = now.filter(|_| !group.keys.is_empty()) {
            keys::sweep(&self.conn, now)?;
        }
        Ok(())
    }

    fn write_row(&mut self, row: &RunRow, rows: &HashMap<RunId, &RunRow>) -> Result<(), Stop> {
        let known = known(&self.conn, &mut self.known, row.run, rows)?;
        match &known.row {
            // How far a run is that goes on, its commits tell.
            Some(old) if row.mark != Mark::Closed && rows::same_but_progress(old, row) => {
                return Ok(());
            }
            Some(old) if rows::same_head(old, row) => {
                rows::update_often(&self.conn, known.number, row)?;
            }
            _ => rows::update_all(&self.conn, known.number, row)?,
        }
        known.row = Some(row.clone());
        Ok(())
    }
}

/// What is known of a run; a run that is new gets its number, and is a fork if `forks` says so.
fn known<'a>(
    conn: &Connection,
    runs: &'a mut HashMap<RunId, Known>,
    run: RunId,
    rows: &HashMap<RunId, &RunRow>,
) -> Result<&'a mut Known, Stop> {
    if runs.len() >= KNOWN_RUNS && !runs.contains_key(&run) {
        runs.clear();
    }
    match runs.entry(run) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(place) => Ok(place.insert(look_up(conn, run, rows.get(&run).copied())?)),
    }
}

fn look_up(conn: &Connection, run: RunId, row: Option<&RunRow>) -> Result<Known, Stop> {
    let id = run.0.as_bytes();
    let found: Option<(i64, Option<i64>)> = conn
        .prepare_cached("SELECT number, cut FROM runs WHERE run = ?1")?
        .query_row([&id[..]], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((number, cut)) = found else {
        if let Some(row) = row {
            return new_run(conn, row);
        }
        conn.prepare_cached("INSERT INTO runs (run) VALUES (?1)")?.execute([&id[..]])?;
        return Ok(Known { number: conn.last_insert_rowid(), next: 1, row: None });
    };
    let shared = cut.map_or(0, i64::cast_unsigned);
    let header: Option<Vec<u8>> = conn
        .prepare_cached("SELECT header FROM commits WHERE run = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    let next = match header.map(|bytes| Header::decode(&bytes)).transpose() {
        Ok(header) => header.map_or(shared + 1, |header| header.seq + u64::from(header.count)),
        Err(e) => {
            let message = format!("run {run}: its last commit is damaged: {e}");
            return Err(Stop::Caller(broken(Code::ChainBroken, message)));
        }
    };
    Ok(Known { number, next, row: None })
}

/// A run that is new to the store; where its row says so, it goes on after what it shares with another.
fn new_run(conn: &Connection, row: &RunRow) -> Result<Known, Stop> {
    let number = rows::insert(conn, row)?;
    let shared = row.forked.map_or(0, |point| point.seq);
    if let Some(point) = &row.forked
        && !rows::set_parent(conn, number, point)?
    {
        let (run, parent) = (row.run, point.parent);
        // A compaction was faster. Nothing is damaged: who asks again is told that the run is not here.
        let message = format!("run {run} shares the beginning of run {parent}, which is gone");
        return Err(Stop::Caller(StoreError::Busy { code: Code::RunNotFound, message }));
    }
    Ok(Known { number, next: shared + 1, row: Some(row.clone()) })
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.checkpointer.stop();
        if self.verdict.get().is_some() {
            // Nothing of a log that may not be on the disk may reach the file.
            let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = self.conn.set_db_config(keep, true);
        } else {
            self.checkpointer.last(&self.conn);
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("last", &self.last).finish_non_exhaustive()
    }
}
