//! Rows of keys that the same call has in several runs.

use aura_core::data::Data;
use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::ports::{KeyRow, KeyState, StoreError};
use aura_core::time::Millis;
use rusqlite::{Connection, OptionalExtension};
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

type Done = (i64, Vec<u8>, bool, i64, i64);

/// Where a key stands.
pub(super) fn read(conn: &Connection, key: Hash) -> Result<Option<KeyRow>, StoreError> {
    let sql = "SELECT run, step, seq, output, truncated, at, until FROM keys WHERE key = ?1";
    let found = conn.prepare_cached(sql).and_then(|mut statement| {
        let columns = |row: &rusqlite::Row<'_>| -> rusqlite::Result<(Uuid, String, Option<Done>)> {
            let done = match row.get(2)? {
                Some(seq) => Some((seq, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)),
                None => None,
            };
            Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?, done))
        };
        statement.query_row([&key.0[..]], columns).optional()
    });
    let found = found.map_err(|e| fault::of_sqlite("a key can't be looked up", &e))?;
    let Some((run, step, done)) = found else { return Ok(None) };
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
    Ok(Some(KeyRow { key, run: RunId(run), step: StepPath::from(step.as_str()), state }))
}
