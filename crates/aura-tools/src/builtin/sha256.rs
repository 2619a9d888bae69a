//! `hash.sha256`: the SHA-256 value of a text, or of a JSON value in its canonical form.

use std::sync::Arc;

use aura_core::ports::Activity;
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure, Hash, canonical};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::typed::{About, Pure, given};

const HELP: &str = r#"
SHA-256 of the UTF-8 bytes of `text`, or of the canonical JSON text of `value` (keys sorted, no white space), so that
equal values have equal hashes whatever the order of their keys. Exactly one of the two must be given.

```json
{"text": "abc"}
```
"#;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// A text.
    #[serde(default)]
    text: Option<String>,
    /// Any JSON value, `null` included.
    #[serde(default, deserialize_with = "given")]
    value: Option<Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// 64 lower-case hexadecimal digits.
    sha256: String,
    /// Number of bytes that were hashed.
    bytes: u64,
}

pub(super) fn def() -> ToolDef {
    About::new("hash.sha256", EffectClass::Pure, "SHA-256 of a text or a JSON value", HELP)
        .inline()
        .define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Pure::new(def(), run))
}

fn run(input: Input) -> Result<Output, Failure> {
    let bytes = match (input.text, input.value) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(value)) => canonical::to_vec(&value),
        _ => {
            return Err(Failure::certain(
                Code::InvalidInput,
                "give either 'text' or 'value', not both and not neither",
            ));
        }
    };
    Ok(Output { sha256: Hash::of(&bytes).to_string(), bytes: bytes.len() as u64 })
}
