//! Opening a data directory.

use std::fs::DirBuilder;
use std::path::Path;
use std::sync::Arc;

use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;

use crate::blobs::LocalBlobs;
use crate::fault;
use crate::lock::OwnerLock;
use crate::sqlite::SqliteStore;

/// What a process wants of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To write, alone; makes the store if there is none.
    Owner,
    /// To read, beside an owner or without one; appends and puts are refused.
    Reader,
}

/// An open store. The last handle that is dropped ends the ownership.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The log, the rows of runs, and small blobs.
    pub store: Arc<SqliteStore>,
    /// Blobs, those of the store's own table included.
    pub blobs: Arc<LocalBlobs>,
}

/// Opens the store in the data directory `dir`.
///
/// # Errors
/// A [`Problem`] that says what was kept and what to do, with code
/// - `StoreOwned`: another process owns it (its pid is named; see [`crate::owner`]),
/// - `NotFound`: a reader finds no store,
/// - `StoreNewer`: its tables are those of a newer build,
/// - `StoreFormat`: its commits have a format that this build does not read, or the file is another program's,
/// - `StoreReadOnly`, `StoreFull`: it can't be written,
/// - `StoreCorrupt`: it is damaged, or not a database,
/// - `StoreUnavailable`, `Busy`: it can't be reached, or another program holds it.
pub fn open(dir: &Path, access: Access) -> Result<Opened, Problem> {
    let dir = std::path::absolute(dir).map_err(|e| fault::of_io(dir, &e))?;
    let lock = match access {
        Access::Owner => {
            make_dir(&dir)?;
            let lock = OwnerLock::take(&dir)?;
            make_dir(&LocalBlobs::dir(&dir))?;
            Some(lock)
        }
        Access::Reader => {
            if !SqliteStore::file(&dir).exists() {
                return Err(missing(&dir));
            }
            None
        }
    };
    let store = Arc::new(SqliteStore::open(&dir, lock)?);
    let blobs = Arc::new(LocalBlobs::open(&dir, Arc::clone(&store), access)?);
    Ok(Opened { store, blobs })
}

/// Makes an empty store in `dir` whose blobs have the addresses of the store with the salt `salt`, so that histories
/// can be copied into it byte for byte.
///
/// # Errors
/// As [`open`] for an owner; `Conflict` if there is a store already.
pub fn create(dir: &Path, salt: Hash) -> Result<(), Problem> {
    let dir = std::path::absolute(dir).map_err(|e| fault::of_io(dir, &e))?;
    make_dir(&dir)?;
    let _lock = OwnerLock::take(&dir)?;
    if SqliteStore::file(&dir).exists() {
        let what = format!("there is a store in {} already", dir.display());
        return Err(Problem::new(Code::Conflict, what)
            .kept("nothing was changed")
            .next("name a folder that is not there yet"));
    }
    SqliteStore::create(&dir, salt)
}

fn missing(dir: &Path) -> Problem {
    Problem::new(Code::NotFound, format!("there is no store in {}", dir.display()))
        .next("name the data directory of an existing store; a run makes a new one")
}

/// Makes a folder that only its user can look into, as the log holds what runs were given.
fn make_dir(dir: &Path) -> Result<(), Problem> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|e| fault::of_io(dir, &e))
}
