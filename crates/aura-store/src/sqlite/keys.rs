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
    let (seq, output, at, until) = match &row.state {
        KeyState::Free => {
            conn.prepare_cached("DELETE FROM keys WHERE key = ?1")?.execute([key])?;
            return Ok(());
        }
        KeyState::Held => (None, None, None, None),
        KeyState::Done { seq, output, at, until } => {
            let output = serde_json::to_vec(output)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            (Some(seq.cast_signed()), Some(output), Some(at.0), Some(until.0))
        }
    };
    let sql = "INSERT OR REPLACE INTO keys (key, run, step, seq, output, at, until)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let run = &row.run.0.as_bytes()[..];
    let values = (key, run, row.step.as_str(), seq, output, at, until);
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

type Columns = (Uuid, String, Option<i64>, Option<Vec<u8>>, Option<i64>, Option<i64>);

/// Where a key stands.
pub(super) fn read(conn: &Connection, key: Hash) -> Result<Option<KeyRow>, StoreError> {
    let sql = "SELECT run, step, seq, output, at, until FROM keys WHERE key = ?1";
    let found = conn.prepare_cached(sql).and_then(|mut statement| {
        let columns = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Columns> {
            let run = Uuid::from_bytes(row.get(0)?);
            Ok((run, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        };
        statement.query_row([&key.0[..]], columns).optional()
    });
    let found = found.map_err(|e| fault::of_sqlite("a key can't be looked up", &e))?;
    let Some((run, step, seq, output, at, until)) = found else { return Ok(None) };
    let state = match (seq, output, at, until) {
        (Some(seq), Some(output), Some(at), Some(until)) => {
            let output: Data = serde_json::from_slice(&output).map_err(|e| {
                broken(Code::StoreCorrupt, format!("the result of key {key} is damaged: {e}"))
            })?;
            KeyState::Done {
                seq: seq.cast_unsigned(),
                output,
                at: Millis(at),
                until: Millis(until),
            }
        }
        _ => KeyState::Held,
    };
    Ok(Some(KeyRow { key, run: RunId(run), step: StepPath::from(step.as_str()), state }))
}
