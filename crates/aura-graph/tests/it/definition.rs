//! The loader of flow files.
mod arbitrary;
mod edges;
mod files;
mod limits;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use aura_core::effect::EffectClass;
use aura_core::tool::{ClassRule, ToolDef};
use aura_graph::definition::{Diagnostics, Flow, load};
use serde_json::{Value, json};

fn tool(name: &str, class: EffectClass, input: Value, output: Value) -> (String, ToolDef) {
    let def = ToolDef {
        name: name.to_owned(),
        summary: String::new(),
        help: String::new(),
        class: ClassRule::Fixed(class),
        input,
        output,
        secret_params: Vec::new(),
        inline: false,
    };
    (name.to_owned(), def)
}

#[expect(clippy::needless_pass_by_value, reason = "every caller has just made it")]
fn closed(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// The built-in tools as far as the fixtures use them.
#[expect(clippy::too_many_lines, reason = "one table")]
fn tools() -> BTreeMap<String, ToolDef> {
    use EffectClass::{Idempotent, Irreversible, Pure, Read};
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer" });
    let (request_name, mut request) = tool(
        "http.request",
        Read,
        closed(
            json!({
                "method": { "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] },
                "url": text,
                "headers": { "type": "object", "additionalProperties": { "type": "string" } },
                "query": { "type": "object" },
                "json": {},
                "body": text,
                "accept_status": { "type": "array", "items": { "type": ["string", "integer"] } },
            }),
            &["url"],
        ),
        closed(
            json!({ "status": number, "headers": { "type": "object" }, "body": text, "json": {} }),
            &[],
        ),
    );
    request.secret_params = ["url", "headers", "body"].map(str::to_owned).to_vec();
    request.class = ClassRule::ByParam {
        param: "method".to_owned(),
        absent: "GET".to_owned(),
        cases: BTreeMap::from([("GET".to_owned(), Read), ("PUT".to_owned(), Idempotent)]),
        otherwise: Irreversible,
    };
    let entries = json!({ "type": "array", "items": { "type": "object" } });
    BTreeMap::from([
        (request_name, request),
        tool(
            "echo",
            Pure,
            closed(json!({ "value": {} }), &[]),
            closed(json!({ "value": {} }), &[]),
        ),
        tool(
            "fail",
            Pure,
            closed(
                json!({ "code": text, "message": text, "certain": { "type": ["boolean", "null"] } }),
                &["code", "message"],
            ),
            closed(json!({}), &[]),
        ),
        tool(
            "bench.noop",
            Idempotent,
            closed(json!({ "value": {} }), &[]),
            closed(json!({ "value": {} }), &[]),
        ),
        tool(
            "json.query",
            Pure,
            closed(
                json!({ "value": {}, "path": text, "first": { "type": "boolean" } }),
                &["value", "path"],
            ),
            closed(json!({ "matches": { "type": "array" }, "count": number, "first": {} }), &[]),
        ),
        tool(
            "hash.sha256",
            Pure,
            closed(json!({ "text": { "type": ["string", "null"] }, "value": {} }), &[]),
            closed(json!({ "sha256": text, "bytes": number }), &[]),
        ),
        tool(
            "file.read",
            Read,
            closed(json!({ "path": text, "encoding": { "enum": ["text", "base64"] } }), &["path"]),
            closed(
                json!({ "path": text, "text": text, "bytes": number, "sha256": text, "media_type": text }),
                &[],
            ),
        ),
        tool(
            "file.write",
            Idempotent,
            closed(
                json!({ "path": text, "text": text, "create_dirs": { "type": "boolean" } }),
                &["path"],
            ),
            closed(
                json!({ "path": text, "bytes": number, "sha256": text, "media_type": text }),
                &[],
            ),
        ),
        tool(
            "file.list",
            Read,
            closed(
                json!({ "path": text, "recursive": { "type": "boolean" }, "suffix": text }),
                &[],
            ),
            closed(json!({ "path": text, "entries": entries, "count": number }), &[]),
        ),
        tool(
            "verify",
            Pure,
            json!({ "type": "object" }),
            closed(
                json!({ "passed": { "type": "boolean" }, "score": { "type": "number" }, "min_score": { "type": "number" }, "violations": {}, "checks": {} }),
                &[],
            ),
        ),
    ])
}

fn read(source: &str) -> Result<Flow, Diagnostics> {
    load(source, &tools())
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a folder of `fixtures/flows`, by name.
fn fixtures(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(root().join("fixtures/flows").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// What is wrong with a file, without places.
fn messages(source: &str) -> Vec<String> {
    match read(source) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.problems.into_iter().map(|problem| problem.message).collect(),
    }
}
