use async_trait::async_trait;
use bytes::Bytes;

use crate::data::BlobRef;

/// Why a blob can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// It is not there.
    #[error("blob {0} is missing")]
    Missing(crate::hash::Hash),
    /// Its bytes are not those of its address.
    #[error("blob {0} is damaged")]
    Corrupt(crate::hash::Hash),
    /// The place where it lies can't be used now.
    #[error("blobs can't be reached: {0}")]
    Unavailable(String),
    /// There is no room.
    #[error("no room for blobs: {0}")]
    Full(String),
}

/// Large values by address. Whatever the store's own table holds is found here too.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores bytes durably, before it returns; storing the same bytes again is cheap.
    async fn put(&self, bytes: Bytes) -> Result<BlobRef, BlobError>;

    /// The bytes, checked against their address.
    async fn get(&self, blob: BlobRef) -> Result<Bytes, BlobError>;
}
