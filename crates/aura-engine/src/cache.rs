//! Values of blobs, kept for expressions: bounded by bytes, the oldest leave first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aura_core::data::BlobRef;
use aura_core::limits;
use aura_graph::expr::BlobLookup;
use serde_json::Value;

/// A bounded cache of values by address.
#[derive(Debug, Default)]
pub struct BlobCache {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    values: BTreeMap<BlobRef, Arc<Value>>,
    order: VecDeque<BlobRef>,
    bytes: u64,
}

impl BlobCache {
    /// Keeps a value; what no longer fits beside it leaves.
    pub fn put(&self, blob: BlobRef, value: Arc<Value>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.values.insert(blob, value).is_none() {
            kept.order.push_back(blob);
            kept.bytes += blob.bytes;
        }
        while kept.bytes > limits::BLOB_CACHE_BYTES as u64 && kept.order.len() > 1 {
            if let Some(oldest) = kept.order.pop_front() {
                kept.values.remove(&oldest);
                kept.bytes -= oldest.bytes;
            }
        }
    }
}

impl BlobLookup for BlobCache {
    fn value(&self, blob: BlobRef) -> Option<Arc<Value>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).values.get(&blob).cloned()
    }
}

/// The cache, and beside it the values that one blocked input waits for: they stay until it is decided, however
/// full the cache is.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) cache: Arc<BlobCache>,
    pub(crate) pins: BTreeMap<BlobRef, Arc<Value>>,
}

impl BlobLookup for Pinned {
    fn value(&self, blob: BlobRef) -> Option<Arc<Value>> {
        self.pins.get(&blob).cloned().or_else(|| self.cache.value(blob))
    }
}
