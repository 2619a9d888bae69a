//! Flow files before they run: checking, planning, starting one; the schemas and the tools they can use.

use serde_json::{Value, json};

use crate::shown::assert_shown;
use crate::support::Place;

const REFUND: &str = r#"
flow: refund
version: 1.2.0
description: Give money back
input: { type: object, required: [order, amount], properties: { order: { type: integer }, amount: { type: number }, urls: { type: array } } }
nodes:
  - id: fetch
    tool: http.request
    with: { url: "http://shop.test/orders/{{ input.order }}", headers: { authorization: "Bearer {{ secret('SHOP') }}" } }
  - id: approve
    when: "{{ input.amount > 100 }}"
    approval: { of: charge_back, roles: [approver], expires: 24h }
  - id: charge_back
    tool: http.request
    effect: idempotent
    with: { method: POST, url: "http://pay.test/refunds", json: { order: "{{ input.order }}" } }
    retry: { max_attempts: 5 }
  - id: each
    map:
      items: "{{ input.urls }}"
      do: [{ id: tell, tool: http.request, with: { method: POST, url: "{{ item }}" } }]
  - id: pick
    switch:
      cases: [{ when: "{{ input.amount > 1 }}", do: [{ id: a, tool: echo }] }]
      else: [{ id: b, tool: echo }]
  - id: again
    loop: { times: 3, do: [{ id: x, tool: file.write, with: { path: "{{ loop.index }}.txt", text: x } }] }
    on_error: continue
"#;

#[test]
fn a_plan_tells_what_would_be_in_doubt() {
    let place = Place::new();
    place.file("refund.yaml", REFUND);
    assert_shown("plan", &place, &place.aura(&["plan", "refund.yaml"]).exits(0));
    let input = r#"{"order": 1, "amount": 3, "urls": ["http://a.test/x", "http://b.test/y"]}"#;
    let told = place.aura(&["plan", "refund.yaml", "--input", input, "--json"]).exits(0).json();
    assert_eq!(told["steps"], json!({ "most": 12, "times_unknown": [] }));
    assert_eq!(told["secrets"], json!([{ "name": "SHOP", "set": false }]));
    let node = |path: &str| {
        let nodes = told["nodes"].as_array().unwrap().iter();
        nodes.clone().find(|node| node["path"] == path).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(
        (&node("fetch")["class"], &node("fetch")["target"]),
        (&json!("read"), &json!("shop.test"))
    );
    assert_eq!(node("each[]/tell")["if_killed"], "waits for a person");
    assert_eq!(node("charge_back")["attempts"], 5);
    let ended = place.aura(&["plan", "refund.yaml", "--input", r#"{"order": 1}"#]).exits(2);
    assert!(ended.err.contains("\"amount\" is a required property"), "{}", ended.err);
    assert!(!place.data().exists(), "planning records nothing");
}

#[test]
fn a_plan_knows_the_secrets_that_are_set() {
    let place = Place::new();
    place.file("refund.yaml", REFUND);
    let mut command = place.command(&["plan", "refund.yaml", "--json"]);
    let output = command.env("AURA_SECRET_SHOP", "hunter2hunter2").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["secrets"], json!([{ "name": "SHOP", "set": true }]));
    assert!(!text.contains("hunter2"));
}

#[test]
fn every_problem_of_every_file_is_told() {
    let place = Place::new();
    place.file("good.yaml", REFUND);
    place.file("bad.yaml", "flow: bad\nnodes:\n  - id: a\n    tool: ech\n    witth: {}\n");
    let ended = place.aura(&["validate", "good.yaml", "bad.yaml", "none.yaml"]).exits(2);
    assert_shown("validate", &place, &ended);
    let told = place.aura(&["validate", "good.yaml", "bad.yaml", "--json"]).exits(2).json();
    assert_eq!(told["ok"], false);
    assert_eq!(told["files"][0], json!({ "file": "good.yaml", "ok": true, "flow": "refund" }));
    let problems = told["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2);
    for problem in problems {
        assert_eq!(problem["file"], "bad.yaml");
        for field in ["line", "column", "message", "suggestion", "path"] {
            assert!(problem.get(field).is_some(), "{field}: {problem}");
        }
    }
    place.aura(&["validate", "good.yaml"]).exits(0);
}

#[test]
fn a_new_flow_runs_as_it_is() {
    let place = Place::new();
    let ended = place.aura(&["new", "first", "--dir", "flows"]).exits(0);
    assert_shown("new", &place, &ended);
    let text = std::fs::read_to_string(place.work().join("flows/first.yaml")).unwrap();
    assert!(text.starts_with("# yaml-language-server: $schema=.aura/flow.schema.json\n"));
    let schema = std::fs::read(place.work().join("flows/.aura/flow.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    assert_eq!(schema, place.aura(&["schema"]).exits(0).json());
    let told =
        place.aura(&["run", "flows/first.yaml", "--set", "name=Ada", "--json"]).exits(0).json();
    assert_eq!(told["output"]["said"], "Hello Ada, how are you?");
    place.file("flows/first.yaml", "mine");
    place.aura(&["new", "first", "--dir", "flows"]).exits(2);
    assert_eq!(std::fs::read_to_string(place.work().join("flows/first.yaml")).unwrap(), "mine");
    place.aura(&["new", "../escape"]).exits(2);
}

#[test]
fn tools_have_help_and_schemas() {
    let place = Place::new();
    assert_shown("tools", &place, &place.aura(&["tools"]).exits(0));
    assert_shown("tools_show", &place, &place.aura(&["tools", "show", "file.write"]).exits(0));
    let told = place.aura(&["tools", "--json"]).exits(0).json();
    for tool in told["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        let shown = place.aura(&["tools", "show", name, "--json"]).exits(0).json();
        let input = place.aura(&["schema", "tool", name]).exits(0).json();
        assert_eq!(shown["input"], input);
        let output = place.aura(&["schema", "tool", name, "output"]).exits(0).json();
        assert_eq!(shown["output"], output);
    }
    let ended = place.aura(&["tools", "show", "http.requst"]).exits(2);
    assert!(ended.err.contains("did you mean 'http.request'?"), "{}", ended.err);
}

#[test]
fn a_flow_with_a_function_is_checked_and_planned_but_not_performed_here() {
    let place = Place::new();
    let flow =
        "flow: f\nnodes:\n  - { id: q, code: quote, tools: [http.request], with: { a: 1 } }\n";
    place.file("code.yaml", flow);
    place.aura(&["validate", "code.yaml"]).exits(0);
    let plan = place.aura(&["plan", "code.yaml"]).exits(0).out;
    assert!(plan.contains("code quote, may call http.request"), "{plan}");
    let refused = place.aura(&["run", "code.yaml"]).exits(2);
    assert!(refused.err.contains("FUNCTION_MISSING"), "{}", refused.err);
    assert!(refused.err.contains("the function 'quote'"), "{}", refused.err);
    assert!(refused.err.contains("nothing was started"), "{}", refused.err);
    let told = place.aura(&["runs", "--json"]).exits(0);
    assert!(!told.out.contains("run_id"), "{}", told.out);
    place.aura(&["explain", "NON_DETERMINISM"]).exits(0);
}
