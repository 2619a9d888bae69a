//! The last snapshot of each run. It is written by the one writer, between two groups, in a transaction of its own.

use aura_core::error::Code;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Snapshot, StoreError};
use rusqlite::{Connection, OptionalExtension};

use crate::fault::{self, broken};
use crate::pack;

/// The bytes of a snapshot as they are stored; made before the writer is held.
pub(super) fn packed(snapshot: &Snapshot) -> Result<Vec<u8>, StoreError> {
    let run = snapshot.run;
    if snapshot.bytes.len() > limits::SNAPSHOT_BYTES {
        let message = format!("run {run}: a snapshot of {} bytes", snapshot.bytes.len());
        return Err(broken(Code::LimitExceeded, message));
    }
    pack::pack(&snapshot.bytes)
        .map_err(|e| broken(Code::StoreUnavailable, format!("the snapshot of run {run}: {e}")))
}

/// Puts a snapshot in place of an older one.
pub(super) fn keep(conn: &Connection, snapshot: &Snapshot, packed: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO snapshots (run, seq, size, bytes)
               SELECT number, ?2, ?3, ?4 FROM runs WHERE run = ?1
               ON CONFLICT (run) DO UPDATE
               SET seq = excluded.seq, size = excluded.size, bytes = excluded.bytes
               WHERE excluded.seq >= seq";
    let size = i64::try_from(snapshot.bytes.len()).unwrap_or(i64::MAX);
    let run = snapshot.run.0.as_bytes();
    conn.prepare_cached(sql)?.execute((&run[..], snapshot.seq.cast_signed(), size, packed))?;
    Ok(())
}

/// The snapshot of a run; one that can't be unpacked is none.
pub(super) fn of(conn: &Connection, run: RunId) -> Result<Option<Snapshot>, StoreError> {
    let sql = "SELECT seq, size, bytes FROM snapshots
               WHERE run = (SELECT number FROM runs WHERE run = ?1)";
    let found = conn.prepare_cached(sql).and_then(|mut statement| {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        statement.query_row([&run.0.as_bytes()[..]], row).optional()
    });
    let doing = format!("the snapshot of run {run} can't be read");
    let found: Option<(i64, i64, Vec<u8>)> =
        found.map_err(|error| fault::of_sqlite(&doing, &error))?;
    let Some((seq, size, packed)) = found else { return Ok(None) };
    let size = usize::try_from(size).ok().filter(|size| *size <= limits::SNAPSHOT_BYTES);
    let plain = size.and_then(|size| pack::unpack(&packed, size).ok());
    Ok(plain.map(|plain| Snapshot { run, seq: seq.cast_unsigned(), bytes: plain.into() }))
}
