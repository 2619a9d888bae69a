//! The version of the tables, and what a file must be to be this store's.

use std::path::Path;

use aura_core::commit::FORMAT;
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use rusqlite::{Connection, OptionalExtension};

use crate::fault;

/// "Aura", in the file's header: what tells this program's files from others'.
pub(super) const APPLICATION_ID: u32 = 0x4175_7261;

/// Changes of the tables, in order; the number of those that a file has is its `user_version`. A change that is
/// out in the world is never edited.
const MIGRATIONS: [&str; 7] = [
    include_str!("../../migrations/sqlite/0001_init.sql"),
    include_str!("../../migrations/sqlite/0002_snapshots.sql"),
    include_str!("../../migrations/sqlite/0003_removals.sql"),
    include_str!("../../migrations/sqlite/0004_forks.sql"),
    include_str!("../../migrations/sqlite/0005_keys.sql"),
    include_str!("../../migrations/sqlite/0006_trees.sql"),
    include_str!("../../migrations/sqlite/0007_forks_of.sql"),
];

/// Version of the tables that this build works with.
#[expect(clippy::cast_possible_truncation, reason = "a handful of migrations")]
pub(super) const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// What a store is born with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Stored format of its commits.
    pub(super) format: u32,
    /// What the addresses of its blobs are salted with.
    pub(super) salt: Hash,
}

/// Brings the tables of a file up to this build.
pub(super) fn migrate(conn: &mut Connection, file: &Path) -> Result<(), Problem> {
    let from = version(conn, file)?;
    if from > 0 {
        facts_of_format(conn, file)?;
    }
    apply(conn, from).map_err(|e| fault::of_open(file, &e))
}

fn apply(conn: &mut Connection, from: u32) -> rusqlite::Result<()> {
    for (version, sql) in (1..).zip(MIGRATIONS).skip(from as usize) {
        let change = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        change.execute_batch(sql)?;
        change.pragma_update(None, "user_version", version)?;
        change.commit()?;
    }
    Ok(())
}

/// Gives a new file its format and its salt.
pub(super) fn found(conn: &mut Connection, salt: Hash) -> rusqlite::Result<()> {
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    apply(conn, 0)?;
    let facts = [("format", u32::from(FORMAT).to_be_bytes().to_vec()), ("salt", salt.0.to_vec())];
    for (name, value) in facts {
        conn.execute("INSERT INTO meta (name, value) VALUES (?1, ?2)", (name, value))?;
    }
    Ok(())
}

/// Reads the facts of a file whose tables are those of this build.
pub(super) fn facts(conn: &Connection, file: &Path) -> Result<Facts, Problem> {
    let schema = version(conn, file)?;
    if schema < SCHEMA {
        let what = format!("{} has tables of version {schema}, not {SCHEMA}", file.display());
        return Err(Problem::new(Code::StoreFormat, what)
            .kept("nothing was changed")
            .next("open it once with a command that writes; that brings the tables up to date"));
    }
    facts_of_format(conn, file)
}

fn facts_of_format(conn: &Connection, file: &Path) -> Result<Facts, Problem> {
    let lacks = |name| fault::told(Code::StoreCorrupt, file, &format!("it has no {name}"));
    let format = fact::<4>(conn, file, "format")?.ok_or_else(|| lacks("format"))?;
    let format = u32::from_be_bytes(format);
    if format != u32::from(FORMAT) {
        let what = format!(
            "{} holds commits of format {format}; this build reads format {FORMAT}",
            file.display()
        );
        return Err(Problem::new(Code::StoreFormat, what)
            .kept("nothing was changed")
            .next("use the build that wrote it, or name another data directory"));
    }
    let salt = fact::<32>(conn, file, "salt")?.ok_or_else(|| lacks("salt"))?;
    Ok(Facts { format, salt: Hash(salt) })
}

pub(super) fn fact<const N: usize>(
    conn: &Connection,
    file: &Path,
    name: &str,
) -> Result<Option<[u8; N]>, Problem> {
    conn.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
        .optional()
        .map_err(|e| fault::of_open(file, &e))
}

/// The version of a file's tables, which is not above that of this build.
fn version(conn: &Connection, file: &Path) -> Result<u32, Problem> {
    let version: u32 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|e| fault::of_open(file, &e))?;
    if version > SCHEMA {
        let what = format!(
            "{} was written by a newer build: its tables have version {version}, this build knows {SCHEMA}",
            file.display()
        );
        return Err(Problem::new(Code::StoreNewer, what)
            .kept("nothing was changed")
            .next("use that build, or a later one"));
    }
    Ok(version)
}
