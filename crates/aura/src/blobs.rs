//! Large values of a store, for code that can't wait: folding, deciding again, showing.

use std::sync::{Arc, Mutex, PoisonError};

use aura_core::data::{BlobRef, Data};
use aura_core::error::{Code, Problem};
use aura_core::ports::{BlobError, Blobs};
use aura_engine::BlobCache;
use aura_graph::expr::BlobLookup;
use aura_store::{LocalBlobs, Opened};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// Reads blobs where they are asked for; the newest stay at hand.
pub(crate) struct StoreBlobs {
    blobs: Arc<LocalBlobs>,
    runtime: Runtime,
    cache: BlobCache,
    trouble: Mutex<Option<BlobError>>,
}

impl StoreBlobs {
    /// The blobs of an open store.
    pub(crate) fn new(opened: &Opened) -> Result<Self, Problem> {
        let runtime = Builder::new_current_thread().build().map_err(|e| {
            Problem::new(Code::Internal, format!("blobs can't be read: no runtime: {e}"))
        })?;
        let (cache, trouble) = (BlobCache::default(), Mutex::default());
        Ok(Self { blobs: Arc::clone(&opened.blobs), runtime, cache, trouble })
    }

    /// The value of a blob.
    pub(crate) fn read(&self, blob: BlobRef) -> Result<Arc<Value>, BlobError> {
        if let Some(value) = self.cache.value(blob) {
            return Ok(value);
        }
        let bytes = self.runtime.block_on(self.blobs.get(blob))?;
        let value = serde_json::from_slice(&bytes).map_err(|_| BlobError::Corrupt(blob.blob))?;
        let value: Arc<Value> = Arc::new(value);
        self.cache.put(blob, Arc::clone(&value));
        Ok(value)
    }

    /// A value of the log in full.
    pub(crate) fn json(&self, data: &Data) -> Result<Arc<Value>, Problem> {
        match data {
            Data::Json(value) => Ok(Arc::clone(value)),
            Data::Blob(blob) => self.read(*blob).map_err(|e| unreadable(&e)),
        }
    }

    /// What a replay that lacked a blob ran into: it is told only that there is none.
    pub(crate) fn explain(&self, problem: Problem) -> Problem {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*trouble, problem.code) {
            (Some(error), Code::BlobMissing) => Problem {
                code: unreadable(error).code,
                what: format!("{} ({error})", problem.what),
                ..problem
            },
            _ => problem,
        }
    }
}

impl BlobLookup for StoreBlobs {
    fn value(&self, blob: BlobRef) -> Option<Arc<Value>> {
        match self.read(blob) {
            Ok(value) => Some(value),
            Err(error) => {
                *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    }
}

fn unreadable(error: &BlobError) -> Problem {
    let code = match error {
        BlobError::Missing(_) => Code::BlobMissing,
        BlobError::Corrupt(_) => Code::BlobCorrupt,
        BlobError::Unavailable(_) => Code::StoreUnavailable,
        BlobError::Full(_) => Code::StoreFull,
    };
    Problem::new(code, error.to_string())
        .kept("the log itself, which names the value by its hash")
        .next("aura store check")
}
