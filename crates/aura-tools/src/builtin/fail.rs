//! `fail`: fails as it is told.

use std::sync::Arc;

use aura_core::ports::Activity;
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::typed::{About, Pure};

const HELP: &str = r#"
Fails with the given code and message: to stop a run on purpose, or to see how a flow handles a failure.
With `certain: false` the failure is one after which it is not known whether something happened.

```json
{"code": "CONFLICT", "message": "the order is closed"}
```
"#;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// An error code, such as `INVALID_INPUT`.
    #[schemars(with = "String", transform = list_codes)]
    code: Code,
    /// What happened, for a person.
    message: String,
    /// Whether it is certain that nothing outside was changed; `true` if absent.
    #[serde(default)]
    certain: Option<bool>,
}

/// It never succeeds.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {}

fn list_codes(schema: &mut Schema) {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    schema.insert("enum".to_owned(), names.into());
}

pub(super) fn def() -> ToolDef {
    About::new("fail", EffectClass::Pure, "Fail with a code and a message", HELP)
        .inline()
        .define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Pure::new(def(), |input: Input| -> Result<Output, Failure> {
        Err(if input.certain.unwrap_or(true) {
            Failure::certain(input.code, input.message)
        } else {
            Failure::in_doubt(input.code, input.message)
        })
    }))
}
