//! Removing whole runs that ended, and blobs that nothing names.
//!
//! Each transaction removes a bounded number of commits, so that appends go on between them. A run that is being
//! removed first loses its name, so that nobody finds half of it; what a crash leaves of it goes with the next
//! compaction.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use aura_core::id::RunId;
use aura_core::ports::{Compacted, Compaction, Ended, StoreError};
use aura_core::time::Millis;
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::SqliteStore;
use super::append::Writer;
use super::rows::OPEN;
use super::sweep::Sweep;
use crate::fault;

/// Commits removed in one transaction.
const CHUNK: usize = 2_000;

/// Removals that are remembered.
const REMEMBERED: i64 = 1_000;

/// Bytes of a commit's row beside its payload.
const ROW_BYTES: i64 = 98;

/// Runs that stay whatever is asked for: a fork has their events in its history, or the run that awaits them may not
/// have heard how they ended. Looked at again where a run begins to go, as both may have come since the plan.
fn stays() -> String {
    format!(
        "(EXISTS (SELECT 1 FROM runs AS fork WHERE fork.parent = runs.number)
          OR EXISTS (SELECT 1 FROM runs AS above WHERE above.run = runs.parent_run AND {OPEN}))"
    )
}

/// Free pages of the file, of how many, at which it is written anew.
const FREE_SHARE: i64 = 4;

/// The first half of the name of a run that is being removed; no UUID of a run begins so.
const GOING: [u8; 8] = [0xff; 8];

/// Whether a run is being removed.
pub(super) fn is_going(run: RunId) -> bool {
    run.0.as_bytes().starts_with(&GOING)
}

/// Does what is asked for, or tells what it would do.
pub(super) fn compact(
    store: &SqliteStore,
    writer: &Mutex<Writer>,
    asked: &Compaction,
) -> Result<Compacted, StoreError> {
    let going = store.readers.with(|conn| plan(conn, asked))?;
    let mut done = Compacted::default();
    for run in &going {
        done.runs += 1;
        done.events += run.events;
        done.bytes += run.bytes;
    }
    if !asked.dry_run {
        remove_runs(writer, &going)?;
    }
    if let Some(before) = asked.orphans_before {
        let gone =
            if asked.dry_run { going.iter().map(|run| run.run).collect() } else { Vec::new() };
        let sweep = Sweep::new(store, (before, asked.at), gone)?;
        let (blobs, bytes) =
            if asked.dry_run { sweep.found() } else { sweep.remove(store, writer)? };
        done.blobs = blobs;
        done.bytes += bytes;
    }
    if !asked.dry_run && done != Compacted::default() {
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.beside("the removal was not noted", |conn| note(conn, asked, &done))?;
        writer.shrink()?;
    }
    Ok(done)
}

/// The runs that go.
fn plan(conn: &Connection, asked: &Compaction) -> Result<Vec<Ended>, StoreError> {
    let retention = asked.retention;
    if retention == aura_core::ports::Retention::default() {
        return Ok(Vec::new());
    }
    let found = ended(conn).and_then(|ended| {
        let open = if retention.bytes.is_some() { open_bytes(conn)? } else { 0 };
        Ok(retention.beyond(&ended, open))
    });
    let mut found = found.map_err(|e| fault::of_sqlite("runs can't be listed", &e))?;
    let stay = staying(conn).map_err(|e| fault::of_sqlite("runs can't be listed", &e))?;
    found.retain(|run| !stay.contains(&run.run));
    Ok(found)
}

fn staying(conn: &Connection) -> rusqlite::Result<BTreeSet<RunId>> {
    let sql = format!("SELECT run FROM runs WHERE NOT ({OPEN}) AND {}", stays());
    let mut statement = conn.prepare(&sql)?;
    let runs = statement.query_map([], |row| Ok(RunId(Uuid::from_bytes(row.get(0)?))))?;
    runs.collect()
}

/// Those that ended last first.
fn ended(conn: &Connection) -> rusqlite::Result<Vec<Ended>> {
    let sql = format!(
        "SELECT run, updated, MAX(events - COALESCE(cut, 0), 0), (SELECT SUM(LENGTH(payload) + {ROW_BYTES}) FROM commits
             WHERE commits.run = runs.number)
         FROM runs WHERE NOT ({OPEN}) ORDER BY updated DESC, run DESC"
    );
    let mut statement = conn.prepare(&sql)?;
    let ended = statement.query_map([], |row| {
        Ok(Ended {
            run: RunId(Uuid::from_bytes(row.get(0)?)),
            at: Millis(row.get(1)?),
            events: row.get::<_, i64>(2)?.cast_unsigned(),
            bytes: row.get::<_, Option<i64>>(3)?.unwrap_or(0).cast_unsigned(),
        })
    })?;
    ended.collect()
}

fn open_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    let sql = format!(
        "SELECT COALESCE(SUM(LENGTH(payload) + {ROW_BYTES}), 0) FROM commits
         WHERE run IN (SELECT number FROM runs WHERE {OPEN})"
    );
    conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

fn remove_runs(writer: &Mutex<Writer>, going: &[Ended]) -> Result<(), StoreError> {
    let mut queue: VecDeque<RunId> = going.iter().map(|run| run.run).collect();
    let mut left = true;
    while left {
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        left = writer.beside("runs were not removed", |conn| chunk(conn, &mut queue))?;
        writer.forget_known();
    }
    Ok(())
}

/// Removes some commits, of what an earlier compaction left or of the next runs; whether there are more.
fn chunk(conn: &Connection, queue: &mut VecDeque<RunId>) -> rusqlite::Result<bool> {
    let mut room = CHUNK;
    keep_position(conn)?;
    while room > 0 {
        let number = match unfinished(conn)? {
            Some(number) => number,
            None => match queue.pop_front() {
                Some(run) => match begin(conn, run)? {
                    Some(number) => number,
                    // It was started anew, is gone, or must stay by now.
                    None => continue,
                },
                None => return Ok(false),
            },
        };
        let sql = "DELETE FROM commits WHERE position IN
                       (SELECT position FROM commits WHERE run = ?1 LIMIT ?2)";
        let most = i64::try_from(room).unwrap_or(i64::MAX);
        let removed = conn.prepare_cached(sql)?.execute((number, most))?;
        if removed < room {
            conn.prepare_cached("DELETE FROM runs WHERE number = ?1")?.execute([number])?;
        }
        // A run costs something even if it has few commits.
        room = room.saturating_sub(removed + 8);
    }
    Ok(true)
}

/// Positions are never given out twice, even if the last ones are removed.
fn keep_position(conn: &Connection) -> rusqlite::Result<()> {
    let last: i64 =
        conn.query_row("SELECT COALESCE(MAX(position), 0) FROM commits", [], |row| row.get(0))?;
    let sql = "INSERT INTO meta (name, value) VALUES ('position', ?1)
               ON CONFLICT (name) DO UPDATE SET value = MAX(value, excluded.value)";
    conn.prepare_cached(sql)?.execute([&last.to_be_bytes()[..]])?;
    Ok(())
}

fn unfinished(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT number FROM runs WHERE run >= ?1 AND status IS NULL LIMIT 1";
    let mut from = [0_u8; 16];
    from[..8].copy_from_slice(&GOING);
    conn.prepare_cached(sql)?.query_row([&from[..]], |row| row.get(0)).optional()
}

/// Takes its name from a run that has ended, if it need not stay.
fn begin(conn: &Connection, run: RunId) -> rusqlite::Result<Option<i64>> {
    let sql =
        format!("SELECT number FROM runs WHERE run = ?1 AND NOT ({OPEN}) AND NOT {}", stays());
    let number: Option<i64> = conn
        .prepare_cached(&sql)?
        .query_row([&run.0.as_bytes()[..]], |row| row.get(0))
        .optional()?;
    let Some(number) = number else { return Ok(None) };
    let mut name = [0_u8; 16];
    name[..8].copy_from_slice(&GOING);
    name[8..].copy_from_slice(&number.to_be_bytes());
    conn.prepare_cached("UPDATE runs SET run = ?2, status = NULL WHERE number = ?1")?
        .execute((number, &name[..]))?;
    conn.prepare_cached("DELETE FROM snapshots WHERE run = ?1")?.execute([number])?;
    Ok(Some(number))
}

fn note(conn: &Connection, asked: &Compaction, done: &Compacted) -> rusqlite::Result<()> {
    let kept = serde_json::to_string(&asked.retention).unwrap_or_default();
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    conn.execute(
        "INSERT INTO removals (at, actor, kept, runs, events, blobs, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            asked.at.0,
            &asked.actor,
            kept,
            number(done.runs),
            number(done.events),
            number(done.blobs),
            number(done.bytes),
        ),
    )?;
    let sql = "DELETE FROM removals WHERE number <= (SELECT MAX(number) FROM removals) - ?1";
    conn.execute(sql, [REMEMBERED])?;
    Ok(())
}

impl Writer {
    /// Writes the file anew if much of it is free; appends wait meanwhile. A file that can't be written anew now is
    /// only larger than it need be.
    fn shrink(&mut self) -> Result<(), StoreError> {
        let pages = |name: &str| -> rusqlite::Result<i64> {
            self.conn.pragma_query_value(None, name, |row| row.get(0))
        };
        let sizes = pages("freelist_count").and_then(|free| Ok((free, pages("page_count")?)));
        let (free, all) = sizes.map_err(|e| fault::of_sqlite("the file can't be measured", &e))?;
        if free == 0 || free * FREE_SHARE < all {
            return Ok(());
        }
        // What is written anew may be larger than what memory holds.
        let written = self
            .conn
            .execute_batch("PRAGMA temp_store = FILE; VACUUM;")
            .and_then(|()| self.conn.execute_batch("PRAGMA temp_store = MEMORY;"));
        match written {
            Err(e) if fault::classify(&e).1 == fault::Consequence::Reopen => {
                Err(fault::of_sqlite("the file can't be written anew", &e))
            }
            _ => {
                self.checkpointer.last(&self.conn);
                Ok(())
            }
        }
    }
}
