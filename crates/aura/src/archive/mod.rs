//! Histories outside a store: exports, imports, backups, and what a run that comes from one may have done since.

mod arriving;
pub(crate) mod aside;
pub(crate) mod copy;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod lines;
pub(crate) mod making;
pub(crate) mod restored;

use aura_core::data::BlobRef;
use aura_core::error::{Code, Problem};
use aura_core::ports::{BlobError, Blobs, Store};
use aura_store::Opened;
use bytes::Bytes;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::resolve;

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Copied {
    pub(crate) runs: u64,
    pub(crate) commits: u64,
    pub(crate) events: u64,
    pub(crate) blobs: u64,
}

/// A blob and where it lay.
pub(crate) struct Found {
    pub(crate) bytes: Bytes,
    /// Whether it lay in the store's table rather than in a file.
    pub(crate) table: bool,
}

/// Reads a blob, and tells where it lay.
pub(crate) fn find(opened: &Opened, runtime: &Runtime, blob: BlobRef) -> Result<Found, Problem> {
    if let Some(bytes) = opened.store.blob(blob.blob).map_err(|e| resolve::unreadable(&e))? {
        return Ok(Found { bytes, table: true });
    }
    let bytes = runtime.block_on(opened.blobs.get(blob)).map_err(|e| lost(&e))?;
    Ok(Found { bytes, table: false })
}

/// What a blob that can't be had means to the person who copies.
pub(crate) fn lost(error: &BlobError) -> Problem {
    let code = match error {
        BlobError::Missing(_) => Code::BlobMissing,
        BlobError::Corrupt(_) => Code::BlobCorrupt,
        BlobError::Unavailable(_) => Code::StoreUnavailable,
        BlobError::Full(_) => Code::StoreFull,
    };
    Problem::new(code, error.to_string()).kept("the store is as it was").next("aura store check")
}

/// A runtime for reading and writing files of blobs.
pub(crate) fn runtime() -> Result<Runtime, Problem> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| Problem::new(Code::Internal, format!("no threads to work on: {e}")))
}
