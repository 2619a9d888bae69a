//! What a store tells about itself.

use std::collections::BTreeMap;
use std::path::Path;

use aura_core::commit::Header;
use aura_core::ports::{Position, StoreError, StoreInfo};
use rusqlite::Connection;

use super::migrate::{Facts, SCHEMA};
use super::{SqliteStore, connect};
use crate::blobs::LocalBlobs;
use crate::fault;

/// The flags that SQLite was compiled with beyond its own; it does not report them itself.
const BUILD_FLAGS: Option<&str> = option_env!("LIBSQLITE3_FLAGS");

pub(super) fn of(conn: &Connection, dir: &Path, facts: &Facts) -> Result<StoreInfo, StoreError> {
    read(conn, dir, facts).map_err(|e| fault::of_sqlite("the store can't tell about itself", &e))
}

fn read(conn: &Connection, dir: &Path, facts: &Facts) -> rusqlite::Result<StoreInfo> {
    let (commits, position): (i64, i64) =
        conn.query_row("SELECT COUNT(*), COALESCE(MAX(position), 0) FROM commits", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let (runs, closed): (i64, i64) = conn.query_row(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN mark = 2 THEN MAX(events - COALESCE(cut, 0), 0) END), 0)
         FROM runs WHERE status IS NOT NULL",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let events = closed.cast_unsigned() + open_events(conn)?;
    let removals: i64 =
        conn.query_row("SELECT COALESCE(MAX(number), 0) FROM removals", [], |row| row.get(0))?;
    let file = SqliteStore::file(dir);
    let bytes =
        length(&file) + length(&connect::log_file(&file)) + folder_length(&LocalBlobs::dir(dir));
    Ok(StoreInfo {
        location: dir.display().to_string(),
        format: facts.format,
        schema: SCHEMA,
        salt: facts.salt,
        commits: commits.cast_unsigned(),
        events,
        runs: runs.cast_unsigned(),
        bytes,
        position: Position(position.cast_unsigned()),
        removals: removals.cast_unsigned(),
        engine: engine(conn)?,
    })
}

/// How far a run is that goes on, its row does not say; its last commit does. What a fork shares is its parent's.
fn open_events(conn: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT (SELECT header FROM commits WHERE commits.run = runs.number
                       ORDER BY seq DESC LIMIT 1), events, COALESCE(cut, 0)
               FROM runs WHERE status IS NOT NULL AND mark <> 2";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut events = 0;
    while let Some(row) = rows.next()? {
        let header: Option<Vec<u8>> = row.get(0)?;
        let shared = row.get::<_, i64>(2)?.cast_unsigned();
        let last = match header.map(|bytes| Header::decode(&bytes)) {
            Some(Ok(last)) => last.next_seq() - 1,
            _ => row.get::<_, i64>(1)?.cast_unsigned(),
        };
        events += last.saturating_sub(shared);
    }
    Ok(events)
}

fn engine(conn: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut facts = BTreeMap::new();
    let mut tell = |name: &str, value: String| facts.insert(name.to_owned(), value);
    tell("name", "sqlite".to_owned());
    tell("version", rusqlite::version().to_owned());
    for pragma in ["journal_mode", "page_size"] {
        let value: rusqlite::types::Value =
            conn.pragma_query_value(None, pragma, |row| row.get(0))?;
        tell(pragma, shown(&value));
    }
    let mut statement = conn.prepare("PRAGMA compile_options")?;
    let options = statement.query_map([], |row| row.get::<_, String>(0))?;
    tell("compile_options", options.collect::<rusqlite::Result<Vec<_>>>()?.join(" "));
    let flags = BUILD_FLAGS.unwrap_or_default();
    tell("build_flags", flags.to_owned());
    let fdatasync = flags.split_whitespace().any(|flag| flag == "-DHAVE_FDATASYNC=1");
    tell("fdatasync", fdatasync.to_string());
    Ok(facts)
}

fn shown(value: &rusqlite::types::Value) -> String {
    match value {
        rusqlite::types::Value::Text(text) => text.clone(),
        rusqlite::types::Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn length(file: &Path) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// Bytes of the files two folders deep; what disappears meanwhile is not counted.
fn folder_length(dir: &Path) -> u64 {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries(dir).flat_map(|folder| entries(&folder.path())).map(|file| length(&file.path())).sum()
}
