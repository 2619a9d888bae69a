//! Rows of keys that the same call has in several runs.

use aura_core::data::Data;
use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::ports::{KeyRow, KeyState, StoreError};
use aura_core::time::Millis;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use crate::fault::{self, broken};

/// Writes where a key stands.
pub(super) fn write(conn: &Connection, row: &KeyRow) -> rusqlite::Result<()> {
    let key = &row.key.0[..];
    let (seq, output, truncated, at, until) = match &row.state {
        KeyState::Free => {
            conn.prepare_cached("DELETE FROM keys WHERE key = ?1")?.execute([key])?;
            return Ok(());
        }
        KeyState::Held => (None, None, None, None, None),
        KeyState::Done { seq, output, truncated, at, until } => {
            let output = serde_json::to_vec(output)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            (Some(seq.cast_signed()), Some(output), Some(*truncated), Some(at.0), Some(until.0))
        }
    };
    let sql = "INSERT OR REPLACE INTO keys (key, run, step, seq, output, truncated, at, until)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let run = &row.run.0.as_bytes()[..];
    let values = (key, run, row.step.as_str(), seq, output, truncated, at, until);
    conn.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Sweeps out some of the rows whose time is over.
pub(super) fn sweep(conn: &Connection, now: Millis) -> rusqlite::Result<()> {
    let sql = "DELETE FROM keys WHERE key IN
                   (SELECT key FROM keys WHERE until <= ?1 ORDER BY until LIMIT ?2)";
    conn.prepare_cached(sql)?.execute((now.0, limits::KEYS_SWEPT))?;
    Ok(())
}

/// Shows the blob of each result that is kept, where it has one.
pub(super) fn blobs(conn: &Connection, see: &mut dyn FnMut(Hash)) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("SELECT output FROM keys WHERE output IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let output = row.get_ref(0)?.as_blob().unwrap_or_default();
        if let Ok(Data::Blob(blob)) = serde_json::from_slice(output) {
            see(blob.blob);
        }
    }
    Ok(())
}

/// Where a key stands.
pub(super) fn read(conn: &Connection, key: Hash) -> Result<Option<KeyRow>, StoreError> {
    Ok(select(conn, "key = ?1 LIMIT ?2", key, 1)?.pop())
}

/// The rows that follow a key.
pub(super) fn list(
    conn: &Connection,
    after: Option<Hash>,
    limit: usize,
) -> Result<Vec<KeyRow>, StoreError> {
    match after {
        Some(after) => select(conn, "key > ?1 ORDER BY key LIMIT ?2", after, limit),
        None => select(conn, "key >= ?1 ORDER BY key LIMIT ?2", Hash::ZERO, limit),
    }
}

fn select(
    conn: &Connection,
    which: &str,
    key: Hash,
    limit: usize,
) -> Result<Vec<KeyRow>, StoreError> {
    let failed = |e| fault::of_sqlite("a key can't be looked up", &e);
    let sql =
        format!("SELECT key, run, step, seq, output, truncated, at, until FROM keys WHERE {which}");
    let mut statement = conn.prepare_cached(&sql).map_err(failed)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((&key.0[..], limit), columns).map_err(failed)?;
    rows.map(|row| decode(row.map_err(failed)?)).collect()
}

type Done = (i64, Vec<u8>, bool, i64, i64);
type Columns = (Hash, RunId, String, Option<Done>);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    let done = match row.get(3)? {
        Some(seq) => Some((seq, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?)),
        None => None,
    };
    Ok((Hash(row.get(0)?), RunId(Uuid::from_bytes(row.get(1)?)), row.get(2)?, done))
}

fn decode((key, run, step, done): Columns) -> Result<KeyRow, StoreError> {
    let state = match done {
        None => KeyState::Held,
        Some((seq, output, truncated, at, until)) => KeyState::Done {
            seq: seq.cast_unsigned(),
            output: serde_json::from_slice(&output).map_err(|e| {
                broken(Code::StoreCorrupt, format!("the result of key {key} is damaged: {e}"))
            })?,
            truncated,
            at: Millis(at),
            until: Millis(until),
        },
    };
    Ok(KeyRow { key, run, step: StepPath::from(step.as_str()), state })
}
