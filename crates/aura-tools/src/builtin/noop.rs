//! `bench.noop`: an effect that leaves no mark, to measure what recording an effect costs.

use std::sync::Arc;

use async_trait::async_trait;
use aura_core::EffectClass;
use aura_core::ports::{Activity, Call, Failed};
use aura_core::task::Success;
use aura_core::tool::ToolDef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::typed::{self, About};

const HELP: &str = r#"
Does nothing, but is recorded like any `idempotent` effect: intent before the call, outcome after it.

```json
{"value": 1}
```
"#;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// What to give back.
    #[serde(default)]
    value: Option<Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// The argument, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

struct Noop {
    def: ToolDef,
}

#[async_trait]
impl Activity for Noop {
    fn def(&self) -> &ToolDef {
        &self.def
    }

    async fn perform(&self, call: Call) -> Result<Success, Failed> {
        let input: Input = typed::parse(call.args)?;
        Ok(Success::of(typed::output(&Output { value: input.value })?))
    }
}

pub(super) fn def() -> ToolDef {
    About::new("bench.noop", EffectClass::Idempotent, "Do nothing, recorded as an effect", HELP)
        .inline()
        .define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Noop { def: def() })
}
