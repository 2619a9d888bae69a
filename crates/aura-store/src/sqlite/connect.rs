//! Connections: how a file is made, told from foreign ones, and set up.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::PAGE_BYTES;
use super::migrate::{self, APPLICATION_ID, Facts};
use crate::fault;

/// How long a connection waits for a lock that another program holds.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Pages that the writer keeps, in KiB.
const WRITER_CACHE_KIB: i64 = 32 << 10;

/// Pages that each reader keeps, in KiB.
const READER_CACHE_KIB: i64 = 4 << 10;

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 64;

/// What stands at the start of every SQLite file, and where its header has the application's id.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const APPLICATION_ID_AT: usize = 68;

/// The writing connection; makes the file if there is none. The caller holds the owner's lock.
pub(super) fn owner(file: &Path) -> Result<(Connection, Facts), Problem> {
    match File::open(file) {
        Ok(found) => inspect(file, found)?,
        Err(e) if e.kind() == ErrorKind::NotFound => create(file, new_salt(file)?)?,
        Err(e) => return Err(fault::of_io(file, &e)),
    }
    sync_log(file)?;
    let mut conn = writing(file).map_err(|e| fault::of_open(file, &e))?;
    let read_only = conn.is_readonly(MAIN_DB).map_err(|e| fault::of_open(file, &e))?;
    if read_only {
        return Err(fault::told(Code::StoreReadOnly, file, "it may only be read"));
    }
    migrate::migrate(&mut conn, file)?;
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(|e| fault::of_open(file, &e))?;
    if mode != "wal" {
        let why = "the file system can't share memory between processes";
        return Err(fault::told(Code::StoreUnavailable, file, why));
    }
    let facts = migrate::facts(&conn, file)?;
    Ok((conn, facts))
}

/// A connection that writes to an existing file.
pub(super) fn writing(file: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // Where a plain sync does not reach the platter (macOS), these do; elsewhere they mean nothing.
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "checkpoint_fullfsync", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    Ok(conn)
}

/// A connection that only reads, if what is there is a store.
pub(super) fn first_reader(file: &Path) -> Result<Connection, Problem> {
    let found = File::open(file).map_err(|e| fault::of_io(file, &e))?;
    inspect(file, found)?;
    reader(file).map_err(|e| fault::of_open(file, &e))
}

/// A connection that only reads.
pub(super) fn reader(file: &Path) -> rusqlite::Result<Connection> {
    // A file in a folder that can't be written has no shared memory for readers; without a log beside it, the file
    // alone is the whole store.
    match sharing(file) {
        Err(e) if cannot_share(&e) && !log_file(file).exists() => unchanging(file),
        other => other,
    }
}

/// A connection that reads beside a writer.
fn sharing(file: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    conn.pragma_query(None, "user_version", |_| Ok(()))?;
    Ok(conn)
}

fn cannot_share(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly))
}

/// A connection to a file that nobody can be writing.
fn unchanging(file: &Path) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => {
                let digit = |four: u8| char::from_digit(u32::from(four), 16);
                uri.push('%');
                uri.extend([digit(byte >> 4), digit(byte & 15)].into_iter().flatten());
            }
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    connect(Path::new(&uri), flags)
}

fn connect(file: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(LOCK_WAIT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "trusted_schema", false)?;
    Ok(conn)
}

/// Refuses what is not this program's file, before SQLite touches it.
fn inspect(file: &Path, found: File) -> Result<(), Problem> {
    let metadata = found.metadata().map_err(|e| fault::of_io(file, &e))?;
    if !metadata.is_file() {
        return Err(fault::told(Code::StoreUnavailable, file, "it is not a file"));
    }
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let read = found.take(HEADER_BYTES as u64).read_to_end(&mut header);
    read.map_err(|e| fault::of_io(file, &e))?;
    if !header.starts_with(&MAGIC[..header.len().min(MAGIC.len())]) {
        return Err(fault::told(Code::StoreCorrupt, file, "it is not a database"));
    }
    if header.len() < HEADER_BYTES {
        let why = format!("it was cut off: only {} bytes are left", metadata.len());
        return Err(fault::told(Code::StoreCorrupt, file, &why));
    }
    let id = &header[APPLICATION_ID_AT..APPLICATION_ID_AT + 4];
    if id != APPLICATION_ID.to_be_bytes() {
        let what = format!("{} is a database of another program", file.display());
        return Err(Problem::new(Code::StoreFormat, what)
            .kept("nothing was changed")
            .next("name another data directory, or move that file away"));
    }
    Ok(())
}

fn new_salt(file: &Path) -> Result<Hash, Problem> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt)
        .map_err(|e| fault::told(Code::StoreUnavailable, file, &format!("no randomness: {e}")))?;
    Ok(Hash(salt))
}

/// Makes the file beside its place and renames it there, so that a file in its place is always a whole store and
/// an empty one is known to be damaged.
pub(super) fn create(file: &Path, salt: Hash) -> Result<(), Problem> {
    if log_file(file).exists() {
        let why = "it is missing, but its write-ahead log is there";
        return Err(fault::told(Code::StoreCorrupt, file, why));
    }
    let new = beside(file, "-new");
    let of_io = |e: std::io::Error| fault::of_io(file, &e);
    for leftover in ["", "-journal", "-wal", "-shm"].map(|suffix| beside(&new, suffix)) {
        match std::fs::remove_file(&leftover) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(fault::of_io(&leftover, &e)),
            _ => {}
        }
    }
    build(&new, salt).map_err(|e| fault::of_open(file, &e))?;
    File::open(&new).and_then(|new| new.sync_all()).map_err(of_io)?;
    let folder = file.parent().unwrap_or(file);
    // Before the rename, so that a file in its place can't be lost with its folder.
    sync_above(folder).map_err(of_io)?;
    std::fs::rename(&new, file).map_err(of_io)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(of_io)
}

/// Makes the names of the folders durable that `folder` lies in: some of them may have been made just now, by this
/// process or by one that did not live to sync them.
fn sync_above(folder: &Path) -> std::io::Result<()> {
    for above in folder.ancestors().skip(1) {
        match File::open(above).and_then(|above| above.sync_all()) {
            // A folder that may not be read, or that can't be synced, is not one that was just made.
            Err(e) if is_no_folder_of_ours(e.kind()) => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

fn is_no_folder_of_ours(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::PermissionDenied
            | ErrorKind::InvalidInput
            | ErrorKind::Unsupported
            | ErrorKind::ReadOnlyFilesystem
    )
}

fn build(file: &Path, salt: Hash) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut conn = connect(file, flags)?;
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    migrate::found(&mut conn, salt)?;
    // Written into the file, so that no reader ever sees it in another mode; the owner checks that it took.
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    conn.close().map_err(|(_, e)| e)
}

/// What a killed owner wrote may be in the log's file but not on the disk; it counts from now on, so it must be.
fn sync_log(file: &Path) -> Result<(), Problem> {
    let log = log_file(file);
    match File::open(&log).and_then(|open| open.sync_all()) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(fault::of_io(&log, &e)),
        _ => Ok(()),
    }
}

/// The write-ahead log of a database file.
pub(super) fn log_file(file: &Path) -> PathBuf {
    beside(file, "-wal")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
