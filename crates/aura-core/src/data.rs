//! Values as the log keeps them: in place, or as a blob that they name.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cbor;
use crate::hash::Hash;

/// The address of a blob: SHA-256(tenant salt ‖ plain bytes), with the length of the plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// The address.
    pub blob: Hash,
    /// Length of the plain bytes.
    pub bytes: u64,
}

/// A JSON value of the log; cheap to clone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(flat)]
pub enum Data {
    /// The value itself.
    #[n(0)]
    Json(#[cbor(n(0), with = "cbor::value")] Arc<Value>),
    /// The address of its canonical JSON text.
    #[n(1)]
    Blob(#[n(0)] BlobRef),
}

impl Data {
    /// The value `null`.
    pub fn null() -> Self {
        Self::Json(Arc::new(Value::Null))
    }

    /// The value, if it is in place.
    pub fn as_json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Blob(_) => None,
        }
    }

    /// The blob that holds the value, if it is not in place.
    pub fn as_blob(&self) -> Option<BlobRef> {
        match self {
            Self::Json(_) => None,
            Self::Blob(blob) => Some(*blob),
        }
    }
}

impl From<Value> for Data {
    fn from(value: Value) -> Self {
        Self::Json(Arc::new(value))
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::null()
    }
}

/// The address of a blob in a store whose addresses are salted with `salt`.
pub fn blob_address(salt: Hash, bytes: &[u8]) -> BlobRef {
    BlobRef { blob: Hash::of_all(&[&salt.0, bytes]), bytes: bytes.len() as u64 }
}
