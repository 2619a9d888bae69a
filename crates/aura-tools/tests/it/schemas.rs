use aura_core::EffectClass;
use aura_core::schema::Schema;
use aura_core::tool::{ClassRule, ToolDef};
use aura_tools::{Options, builtin, definitions};
use serde_json::{Value, json};

use crate::support::Tools;

/// The JSON examples of a tool's help.
fn examples(def: &ToolDef) -> Vec<Value> {
    let blocks = def.help.split("```json\n").skip(1);
    blocks
        .map(|block| {
            let text = block.split("```").next().unwrap();
            serde_json::from_str(text).unwrap_or_else(|e| panic!("{}: {e}: {text}", def.name))
        })
        .collect()
}

#[test]
fn definitions_are_those_of_the_tools() {
    let built: Vec<ToolDef> =
        builtin(Options::default()).iter().map(|tool| tool.def().clone()).collect();
    assert_eq!(built, definitions());
    let names: Vec<_> = built.iter().map(|def| def.name.as_str()).collect();
    let expected = [
        "bench.noop",
        "echo",
        "fail",
        "file.list",
        "file.read",
        "file.write",
        "hash.sha256",
        "http.request",
        "json.query",
        "text.extract",
        "text.split",
        "verify",
    ];
    assert_eq!(names, expected);
}

#[test]
fn schemas_are_closed_objects_with_descriptions() {
    for def in definitions() {
        for (what, schema) in [("input", &def.input), ("output", &def.output)] {
            let name = format!("{} {what}", def.name);
            assert!(Schema::compile(schema).is_ok(), "{name}");
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
            assert_eq!(
                (&schema["type"], &schema["additionalProperties"]),
                (&json!("object"), &json!(false)),
                "{name}"
            );
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            for (field, schema) in properties {
                assert!(schema["description"].is_string(), "{name} {field}: {schema}");
            }
            assert!(!schema.to_string().contains("\"$ref\""), "{name}");
        }
        assert!(!def.summary.is_empty() && !def.summary.contains('\n'), "{}", def.name);
    }
}

#[test]
fn examples_fit_and_nonsense_does_not() {
    for def in definitions() {
        let schema = Schema::compile(&def.input).unwrap();
        let examples = examples(&def);
        assert!(!examples.is_empty(), "{}", def.name);
        for mut example in examples {
            assert_eq!(schema.violations(&example), [], "{} {example}", def.name);
            example["no such parameter"] = json!(1);
            assert!(!schema.fits(&example), "{}", def.name);
        }
        assert!(!schema.fits(&json!([])), "{}", def.name);
    }
}

#[test]
fn classes_are_as_declared() {
    for def in definitions() {
        let repeatable = matches!(def.class, ClassRule::Fixed(class) if class.repeatable());
        assert!(repeatable || !def.inline, "{}: may not run on the shard's thread", def.name);
        let class = |args: Value| def.class.class_of(&args);
        match def.name.as_str() {
            "http.request" => {
                for (method, expected) in [
                    ("GET", EffectClass::Read),
                    ("head", EffectClass::Read),
                    ("OPTIONS", EffectClass::Read),
                    ("put", EffectClass::Idempotent),
                    ("DELETE", EffectClass::Idempotent),
                    ("POST", EffectClass::Irreversible),
                    ("PATCH", EffectClass::Irreversible),
                    (" GET", EffectClass::Irreversible),
                ] {
                    assert_eq!(class(json!({"method": method})), expected, "{method}");
                }
                assert_eq!(class(json!({})), EffectClass::Read);
                assert_eq!(def.secret_params, ["url", "headers", "body"]);
            }
            "text.extract" => {
                assert_eq!(class(json!({"text": ""})), EffectClass::Pure);
                assert_eq!(class(json!({"path": "a"})), EffectClass::Read);
            }
            "file.read" | "file.list" => assert_eq!(class(json!({})), EffectClass::Read),
            "file.write" | "bench.noop" => assert_eq!(class(json!({})), EffectClass::Idempotent),
            _ => assert_eq!(def.class, ClassRule::Fixed(EffectClass::Pure), "{}", def.name),
        }
    }
}

#[tokio::test]
async fn examples_run_and_their_output_fits() {
    let folder = tempfile::tempdir().unwrap();
    let mut tools = Tools::local();
    tools.permissions.roots = vec![folder.path().to_str().unwrap().to_owned()];
    std::fs::create_dir(folder.path().join("contracts")).unwrap();
    std::fs::write(folder.path().join("contracts/lease.pdf"), "a text, whatever its name").unwrap();
    // Written first, so that the others find something.
    let order = ["file.write", "file.read", "file.list"];
    let mut defs = definitions();
    defs.retain(|def| def.name != "http.request" && def.name != "fail");
    defs.sort_by_key(|def| order.iter().position(|&name| name == def.name));
    for def in defs {
        let schema = Schema::compile(&def.output).unwrap();
        for example in examples(&def) {
            let done = tools
                .call(&def.name, example)
                .await
                .unwrap_or_else(|e| panic!("{}: {e:?}", def.name));
            assert_eq!(schema.violations(&done.output), [], "{} {}", def.name, done.output);
        }
    }
}

#[tokio::test]
async fn tools_give_what_they_promise() {
    let tools = Tools::local();
    let cases = [
        ("echo", json!({"value": {"a": 1}}), json!({"value": {"a": 1}})),
        ("echo", json!({}), json!({"value": null})),
        ("bench.noop", json!({}), json!({})),
        ("bench.noop", json!({"value": 7}), json!({"value": 7})),
        (
            "hash.sha256",
            json!({"text": "abc"}),
            json!({"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "bytes": 3}),
        ),
        (
            "hash.sha256",
            json!({"value": null}),
            json!({"sha256": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b", "bytes": 4}),
        ),
    ];
    for (name, args, expected) in cases {
        assert_eq!(tools.call(name, args.clone()).await.unwrap().output, expected, "{name} {args}");
    }
    let verify = json!({"checks": [{"name": "a", "passed": false}]});
    assert_eq!(tools.call("verify", verify).await.unwrap().output["passed"], false);
}

#[tokio::test]
async fn fail_fails_as_told() {
    let tools = Tools::local();
    for (certain, expected) in [(json!(null), true), (json!(true), true), (json!(false), false)] {
        let args = json!({"code": "CONFLICT", "message": "closed", "certain": certain});
        let failure = tools.call("fail", args).await.unwrap_err().failure;
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("CONFLICT", "closed"));
        assert_eq!(failure.certain, expected);
    }
}

#[tokio::test]
async fn hostile_arguments_are_bad_input() {
    let odd = [
        json!(null),
        json!([]),
        json!("x"),
        json!(1.5),
        json!({"value": 1, "text": 1, "path": 1, "url": 1}),
        json!({"text": "", "max_chars": -1}),
        json!({"path": "a\u{0}b"}),
        json!({"path": ""}),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut tools = Tools::local();
    tools.permissions.roots = vec![folder.path().to_str().unwrap().to_owned()];
    for def in definitions() {
        for args in &odd {
            if Schema::compile(&def.input).unwrap().fits(args) && def.name != "file.write" {
                continue;
            }
            let failure = tools.call(&def.name, args.clone()).await.unwrap_err().failure;
            assert!(failure.certain, "{} {args}", def.name);
            assert_eq!(failure.code.as_str(), "INVALID_INPUT", "{} {args}", def.name);
        }
    }
}
