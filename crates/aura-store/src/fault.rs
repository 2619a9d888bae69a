//! What SQLite and the operating system say went wrong, in the words of the runtime.

use std::io;
use std::path::Path;

use aura_core::error::{Code, Problem};
use aura_core::ports::StoreError;
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// What follows for a handle that met an error of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Try again later.
    Later,
    /// Reopen.
    Reopen,
}

/// The code and the consequence of an error of SQLite.
pub(crate) fn classify(error: &rusqlite::Error) -> (Code, Consequence) {
    let rusqlite::Error::SqliteFailure(cause, _) = error else {
        // A column of another type than the tables declare, or a text that is not UTF-8.
        return (Code::StoreCorrupt, Consequence::Reopen);
    };
    match cause.code {
        ErrorCode::DiskFull => (Code::StoreFull, Consequence::Later),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (Code::Busy, Consequence::Later),
        ErrorCode::ReadOnly => (Code::StoreReadOnly, Consequence::Later),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            (Code::StoreCorrupt, Consequence::Reopen)
        }
        ErrorCode::SystemIoFailure
            if cause.extended_code == ffi::SQLITE_IOERR_SHORT_READ
                || cause.extended_code == ffi::SQLITE_IOERR_CORRUPTFS =>
        {
            (Code::StoreCorrupt, Consequence::Reopen)
        }
        // The log holds an event, or a position, that the writer believes to be free.
        ErrorCode::ConstraintViolation => (Code::ChainBroken, Consequence::Reopen),
        _ => (Code::StoreUnavailable, Consequence::Reopen),
    }
}

/// An error of SQLite while `doing` something.
pub(crate) fn of_sqlite(doing: &str, error: &rusqlite::Error) -> StoreError {
    let (code, consequence) = classify(error);
    let message = format!("{doing}: {error}");
    match consequence {
        Consequence::Later => StoreError::Busy { code, message },
        Consequence::Reopen => StoreError::Broken { code, message },
    }
}

/// A group or row that can't be what it says.
pub(crate) fn broken(code: Code, message: impl Into<String>) -> StoreError {
    StoreError::Broken { code, message: message.into() }
}

/// An error of the operating system about `path`, while a store is opened.
pub(crate) fn of_io(path: &Path, error: &io::Error) -> Problem {
    told(io_code(error), path, &error.to_string())
}

/// An error of SQLite about the file at `path`, while a store is opened.
pub(crate) fn of_open(path: &Path, error: &rusqlite::Error) -> Problem {
    told(classify(error).0, path, &error.to_string())
}

/// The code of an error of the operating system.
pub(crate) fn io_code(error: &io::Error) -> Code {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Code::StoreReadOnly,
        Kind::StorageFull | Kind::QuotaExceeded => Code::StoreFull,
        _ => Code::StoreUnavailable,
    }
}

/// A problem with `path`, with what was kept and what to do by its code.
pub(crate) fn told(code: Code, path: &Path, why: &str) -> Problem {
    let shown = path.display();
    let (what, next) = match code {
        Code::StoreFull => (
            format!("no room is left for {shown}: {why}"),
            "make room on that disk, then try again".to_owned(),
        ),
        Code::StoreReadOnly => (
            format!("{shown} can't be written: {why}"),
            "give yourself the right to write there, or name another data directory".to_owned(),
        ),
        Code::StoreCorrupt => (
            format!("{shown} is damaged: {why}"),
            "keep a copy of the whole data directory, then restore it from a backup".to_owned(),
        ),
        Code::Busy => (
            format!("{shown} is held by another program: {why}"),
            "close the program that holds it, then try again".to_owned(),
        ),
        _ => (
            format!("{shown} can't be used: {why}"),
            "check that the data directory is on a local disk that works".to_owned(),
        ),
    };
    Problem::new(code, what).kept("nothing was changed").next(next)
}
