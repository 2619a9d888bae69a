//! The blobs that a payload names.
//!
//! Found by their form in the JSON text, so that the store needs to know nothing else of events.

use aura_core::data::BlobRef;
use serde_json::Value;

/// Adds the blobs that a payload names; a payload that is not JSON names none.
pub(super) fn of(payload: &[u8], found: &mut Vec<BlobRef>) {
    // Most payloads name none, and looking for the word is far cheaper than parsing.
    if payload.windows(6).any(|part| part == b"\"blob\"")
        && let Ok(value) = serde_json::from_slice(payload)
    {
        walk(value, found);
    }
}

fn walk(value: Value, found: &mut Vec<BlobRef>) {
    match value {
        Value::Array(items) => items.into_iter().for_each(|item| walk(item, found)),
        Value::Object(mut fields) => {
            // What stands in place under `json` is a value of the flow, whatever it looks like.
            if fields.len() == 1 && fields.contains_key("json") {
                return;
            }
            let address = fields.get("blob").and_then(Value::as_str).map(str::parse);
            let bytes = fields.get("bytes").and_then(Value::as_u64);
            if let (2, Some(Ok(blob)), Some(bytes)) = (fields.len(), address, bytes) {
                found.push(BlobRef { blob, bytes });
                return;
            }
            fields.values_mut().for_each(|field| walk(field.take(), found));
        }
        _ => {}
    }
}
