//! `echo`: gives back what it gets.

use std::sync::Arc;

use aura_core::EffectClass;
use aura_core::ports::Activity;
use aura_core::tool::ToolDef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::typed::{About, Pure};

const HELP: &str = r#"
Gives back `value` unchanged; handy in tests and for naming a computed value.

```json
{"value": {"order": 17}}
```
"#;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// What to give back; `null` if absent.
    #[serde(default)]
    value: Value,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// The argument.
    value: Value,
}

pub(super) fn def() -> ToolDef {
    About::new("echo", EffectClass::Pure, "Give back a value", HELP)
        .inline()
        .define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Pure::new(def(), |input: Input| Ok(Output { value: input.value })))
}
