//! Blobs in memory, on the disk of a [`ModelStore`], so that a copy of that disk has them too.

use std::sync::Arc;

use async_trait::async_trait;
use aura_core::data::{BlobRef, blob_address};
use aura_core::limits;
use aura_core::ports::{BlobError, Blobs};
use bytes::Bytes;

use crate::model_store::ModelStore;

/// The blobs of a [`ModelStore`].
#[derive(Debug, Clone)]
pub struct ModelBlobs {
    store: Arc<ModelStore>,
}

impl ModelBlobs {
    /// The blobs that lie on the disk of `store`.
    pub fn new(store: Arc<ModelStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Blobs for ModelBlobs {
    async fn put(&self, bytes: Bytes) -> Result<BlobRef, BlobError> {
        if bytes.len() > limits::BLOB_BYTES {
            return Err(BlobError::Full(format!("{} bytes are too many", bytes.len())));
        }
        let mut stored = None;
        self.store.tamper(|disk| {
            let blob = blob_address(disk.salt, &bytes);
            disk.files.insert(blob.blob, bytes);
            stored = Some(blob);
        });
        stored.ok_or_else(|| BlobError::Unavailable("the disk is gone".to_owned()))
    }

    async fn get(&self, blob: BlobRef) -> Result<Bytes, BlobError> {
        let disk = self.store.disk();
        let found = disk.table.get(&blob.blob).or_else(|| disk.files.get(&blob.blob));
        let bytes = found.cloned().ok_or(BlobError::Missing(blob.blob))?;
        if blob_address(disk.salt, &bytes) != blob {
            return Err(BlobError::Corrupt(blob.blob));
        }
        Ok(bytes)
    }
}
