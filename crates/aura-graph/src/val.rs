//! Values of a state: in place, in a blob, or gathered by reference from the outputs of bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::data::{BlobRef, Data};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A value of the state; cheap to clone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Val {
    /// As the log has it.
    Data(Data),
    /// The outputs of a map or loop, in order.
    List(Arc<Vec<Self>>),
    /// The outputs of a parallel, by branch; or the result of a map's item.
    Object(Arc<BTreeMap<String, Self>>),
}

impl Val {
    /// The value `null`.
    pub fn null() -> Self {
        Self::Data(Data::null())
    }

    /// Whether it is `null`, in place.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Data(Data::Json(value)) if value.is_null())
    }

    /// The whole value; blobs come from `blob`, and those that it lacks are added to `missing`.
    pub fn to_json(
        &self,
        blob: &dyn Fn(BlobRef) -> Option<Arc<Value>>,
        missing: &mut Vec<BlobRef>,
    ) -> Value {
        match self {
            Self::Data(Data::Json(value)) => Value::clone(value),
            Self::Data(Data::Blob(address)) => blob(*address).map_or_else(
                || {
                    missing.push(*address);
                    Value::Null
                },
                Arc::unwrap_or_clone,
            ),
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.to_json(blob, missing)).collect())
            }
            Self::Object(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, item)| (key.clone(), item.to_json(blob, missing)))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Bytes of the blobs in it.
    pub fn blob_bytes(&self) -> u64 {
        match self {
            Self::Data(data) => data.as_blob().map_or(0, |blob| blob.bytes),
            Self::List(items) => items.iter().map(Self::blob_bytes).sum(),
            Self::Object(entries) => entries.values().map(Self::blob_bytes).sum(),
        }
    }

    /// The value as a person sees it where blobs stay blobs: `{"blob": "…", "bytes": n}`.
    pub fn outline(&self) -> Value {
        match self {
            Self::Data(Data::Json(value)) => Value::clone(value),
            Self::Data(Data::Blob(address)) => {
                serde_json::json!({ "blob": address.blob, "bytes": address.bytes })
            }
            Self::List(items) => Value::Array(items.iter().map(Self::outline).collect()),
            Self::Object(entries) => Value::Object(
                entries.iter().map(|(key, item)| (key.clone(), item.outline())).collect(),
            ),
        }
    }
}

impl From<Data> for Val {
    fn from(data: Data) -> Self {
        Self::Data(data)
    }
}

impl Default for Val {
    fn default() -> Self {
        Self::null()
    }
}
