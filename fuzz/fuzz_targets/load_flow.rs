//! The loader of flow files: whatever the text, it gives a flow or problems, soon and in little memory.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aura_core::effect::EffectClass;
use aura_core::tool::{ClassRule, ToolDef};
use aura_graph::definition::load;
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Value, json};

/// Tools with closed and with open schemas, so that the checks of arguments and references are reached.
static TOOLS: LazyLock<BTreeMap<String, ToolDef>> = LazyLock::new(|| {
    let any = json!({});
    let closed = json!({
        "type": "object",
        "properties": { "method": { "type": "string" }, "url": { "type": "string" }, "json": {} },
        "required": ["url"],
        "additionalProperties": false,
    });
    let answer = json!({
        "type": "object",
        "properties": { "status": { "type": "integer" }, "json": {} },
        "additionalProperties": false,
    });
    [
        tool("echo", EffectClass::Pure, any.clone(), any),
        tool("http.request", EffectClass::Irreversible, closed, answer),
    ]
    .into_iter()
    .map(|tool| (tool.name.clone(), tool))
    .collect()
});

fn tool(name: &str, class: EffectClass, input: Value, output: Value) -> ToolDef {
    ToolDef {
        name: name.to_owned(),
        summary: String::new(),
        help: String::new(),
        class: ClassRule::Fixed(class),
        input,
        output,
        secret_params: vec!["url".to_owned()],
        inline: false,
    }
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // Files that are not text are refused before the loader sees them.
    let Ok(source) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    if let Err(refused) = load(source, &*TOOLS) {
        assert!(!refused.problems.is_empty(), "a flow was refused without a reason");
        for problem in &refused.problems {
            let marked = source.get(problem.span.clone());
            assert!(marked.is_some(), "a mark that no text has: {problem:?}");
        }
    }
    Corpus::Keep
});
