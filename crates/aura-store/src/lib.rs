//! The store in a data directory: the log, the rows of runs and small blobs in SQLite, large blobs as files.
//!
//! ```text
//! DIR/aura.db     the log, rows and small blobs (with aura.db-wal and aura.db-shm while it is open)
//! DIR/aura.lock   held by the owner; its pid and socket as one line of JSON
//! DIR/blobs/      blobs by address, two hexadecimal digits per folder, compressed with zstd
//! ```
//!
//! One process owns a store and writes; any number of processes read, with or without an owner. This is the only
//! crate that knows SQL. It knows nothing of what events mean: payloads are bytes to it, kept and given back as
//! they came.
//!
//! ```no_run
//! use aura_store::{Access, open, owner};
//! # fn main() -> Result<(), aura_core::error::Problem> {
//! let dir = std::path::Path::new(".aura");
//! match open(dir, Access::Owner) {
//!     Ok(opened) => opened.store.announce(Some(&dir.join("aura.sock")))?,
//!     Err(problem) => println!("{problem}; owner: {:?}", owner(dir)),
//! }
//! # Ok(())
//! # }
//! ```

mod blobs;
mod fault;
mod lock;
mod open;
mod pack;
mod sqlite;

pub use blobs::LocalBlobs;
pub use lock::{OwnerInfo, owner};
pub use open::{Access, Opened, create, open};
pub use sqlite::SqliteStore;
