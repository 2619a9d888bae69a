//! Budgets as people meet them: what they see of them, what they are asked, and what a killed process leaves.

use serde_json::json;

use crate::support::{Place, Server, id, until};

const ASKS: &str = r#"
flow: asks
budget: { usd: 0.50, tool_calls: 3, on_exceeded: ask }
nodes:
  - id: writes
    map:
      items: [a, b, c, d, e]
      concurrency: 1
      do:
        - id: write
          tool: file.write
          with: { path: "{{ item }}.txt", text: "{{ item }}" }
          cost: { usd: 0.10, actual: { usd: "{{ output.bytes / 100 }}" } }
output: "{{ steps.writes.output | length }}"
"#;

#[test]
fn a_person_is_asked_for_more_and_says_yes() {
    let place = Place::new();
    place.file("asks.yaml", ASKS);
    let run = id("asks", "k");
    let told = place.aura(&["run", "asks.yaml", "--key", "k", "--yes", "--json"]).exits(3).json();
    let need = &told["needs"][0];
    assert_eq!((&need["kind"], &need["step"]), (&json!("approval"), &json!(".")));
    assert!(place.work().join("c.txt").exists() && !place.work().join("d.txt").exists());
    let asked = place.aura(&["approvals", "--json"]).exits(0).json();
    let asked = &asked["approvals"][0];
    assert_eq!(asked["raise"], json!({ "resource": "tool_calls", "by": 3 }));
    assert_eq!(asked["step"], "");
    let ended = place.aura(&["approvals", &run]).exits(0);
    assert!(ended.out.contains("at the run"), "{}", ended.out);
    assert!(ended.out.contains("3 more"), "{}", ended.out);
    let ended = place.aura(&["why", &run]).exits(0);
    assert!(ended.out.contains("it asks for more budget: The budget of the run"), "{}", ended.out);
    assert!(ended.out.contains(&format!("aura approve {run}")), "{}", ended.out);
    assert!(!ended.out.contains("no process performs it"), "{}", ended.out);
    let shown = place.aura(&["show", &run]).exits(0);
    assert!(shown.out.contains("$0.03 of $0.50, 3 of 3 calls"), "{}", shown.out);
    place.aura(&["approve", &run, "."]).exits(0);
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    assert_eq!(told["output"], json!(5));
    let shown = place.aura(&["show", &run, "--json"]).exits(0).json();
    let budget = &shown["budget"];
    assert_eq!(budget["usd_micros"]["spent"], json!(50_000));
    assert_eq!(budget["tool_calls"], json!({ "limit": 6, "spent": 5, "reserved": 0, "left": 1 }));
    let events = place.aura(&["events", &run, "--type", "budget"]).exits(0).out;
    assert!(events.contains("budget.raised"), "{events}");
    assert!(events.contains("$0.01 used, $0.10 reserved"), "{events}");
    place.aura(&["replay", &run, "--verify"]).exits(0);
}

#[test]
fn what_children_use_counts_for_their_parent() {
    let place = Place::new();
    place.file(
        "parent.yaml",
        r#"
flow: parent
budget: { tool_calls: 3 }
nodes:
  - id: m
    on_error: continue
    map: { items: [a, b, c], on_item_error: collect, do: [{ id: c, flow: { file: child.yaml, input: { name: $item } } }] }
output: "{{ steps.m.output | map(attribute='status') | list }}"
"#,
    );
    place.file(
        "child.yaml",
        r#"
flow: child
input: { type: object, properties: { name: { type: string } } }
nodes:
  - { id: one, tool: file.write, with: { path: "{{ input.name }}1", text: x } }
  - { id: two, tool: file.write, with: { path: "{{ input.name }}2", text: x } }
"#,
    );
    let told = place.aura(&["run", "parent.yaml", "--json"]).exits(0).json();
    assert_eq!(told["output"], json!(["completed", "failed", "failed"]));
    let written = ["a1", "a2", "b1", "b2", "c1"].map(|name| place.work().join(name).exists());
    assert_eq!(written, [true, true, true, false, false]);
    let run = told["run_id"].as_str().unwrap();
    let shown = place.aura(&["show", run]).exits(0);
    assert!(shown.out.contains("3 of 3 calls"), "{}", shown.out);
    let events = place.aura(&["events", run, "--type", "budget"]).exits(0).out;
    assert!(events.contains("budget.reserved") && events.contains("budget.settled"), "{events}");
    place.aura(&["replay", run, "--verify"]).exits(0);
    // A child that waits keeps what is set aside for it.
    place.file("child.yaml", "flow: child\nnodes: [{ id: w, wait: { signal: go } }]\n");
    let told = place.aura(&["run", "parent.yaml", "--json"]).exits(3).json();
    let why = place.aura(&["why", told["run_id"].as_str().unwrap()]).exits(0);
    assert!(why.out.contains("which may use 3 calls"), "{}", why.out);
}

#[test]
fn a_no_lets_what_would_pass_a_limit_fail() {
    let place = Place::new();
    place.file("asks.yaml", ASKS);
    let run = id("asks", "k");
    place.aura(&["run", "asks.yaml", "--key", "k"]).exits(3);
    let ended = place.aura(&["deny", &run, "--reason", "enough"]).exits(0);
    assert!(ended.out.contains("more budget for the run is denied"), "{}", ended.out);
    let told = place.aura(&["resume", &run, "--json"]).exits(1).json();
    assert_eq!(told["error"]["code"], "BUDGET_EXCEEDED");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("local:ada said no to more"), "{message}");
    let ended = place.aura(&["explain", "BUDGET_EXCEEDED"]).exits(0);
    assert!(ended.out.contains("on_exceeded: ask"), "{}", ended.out);
    // A fork under a flow that allows more goes on from what was used.
    place.file("more.yaml", &ASKS.replace("tool_calls: 3, on_exceeded: ask", "tool_calls: 5"));
    let forked = [
        "fork",
        &run,
        "--at",
        "writes[3]/write",
        "--flow",
        "more.yaml",
        "--effects",
        "live",
        "--json",
    ];
    let told = place.aura(&forked).exits(0).json();
    let run = told["run_id"].as_str().unwrap();
    let shown = place.aura(&["show", run, "--json"]).exits(0).json();
    let calls = json!({ "limit": 5, "spent": 5, "reserved": 0, "left": 0 });
    assert_eq!(shown["budget"]["tool_calls"], calls);
    place.aura(&["replay", run, "--verify"]).exits(0);
}

#[test]
fn whoever_starts_a_run_may_tighten_its_budget() {
    let place = Place::new();
    place.file("asks.yaml", ASKS);
    let args = ["run", "asks.yaml", "--budget", "tool_calls=1,duration=1h", "--json"];
    let told = place.aura(&args).exits(1).json();
    assert_eq!(told["error"]["code"], "BUDGET_EXCEEDED");
    assert!(place.work().join("a.txt").exists() && !place.work().join("b.txt").exists());
    for wrong in ["tool_calls", "euros=1", "usd=-1", "usd=many", "steps=1.5", "duration=60"] {
        let ended = place.aura(&["run", "asks.yaml", "--budget", wrong]).exits(2);
        assert!(ended.err.contains(&format!("--budget '{wrong}'")), "{}", ended.err);
    }
}

#[test]
fn the_time_of_a_budget_ends_a_run() {
    let place = Place::new();
    place.file(
        "slow.yaml",
        "flow: slow\nbudget: { duration: 200ms }\nnodes: [{ id: s, sleep: 1h }]\n",
    );
    let ended = place.aura(&["run", "slow.yaml"]).exits(1);
    assert!(ended.err.contains("BUDGET_EXCEEDED") || ended.out.contains("BUDGET_EXCEEDED"));
}

#[test]
fn a_plan_tells_budgets_and_costs() {
    let place = Place::new();
    let flow = ASKS.replace("    map:", "    budget: { usd: 0.25 }\n    map:");
    place.file("asks.yaml", &flow);
    let planned = place.aura(&["plan", "asks.yaml"]).exits(0).out;
    assert!(planned.contains("budget $0.50, 3 calls; asks for more"), "{planned}");
    assert!(planned.contains("budget $0.25\n"), "{planned}");
    assert!(planned.contains("a try costs at most $0.10"), "{planned}");
}

const CHARGES: &str = "
flow: charges
input: { type: object, required: [url], properties: { url: { type: string } } }
budget: { usd: 0.50 }
nodes:
  - id: charge
    tool: http.request
    with: { method: POST, url: $input.url, json: { amount: 3 } }
    timeout: 60s
    cost: { usd: 0.30 }
    on_error: continue
  - id: again
    tool: http.request
    with: { method: POST, url: $input.url, json: { amount: 4 } }
    cost: { usd: 0.30 }
";

#[test]
fn what_a_killed_process_had_reserved_is_kept_until_somebody_says_what_became_of_it() {
    let (place, server) = (Place::new(), Server::new());
    place.file("charges.yaml", CHARGES);
    let (run, allow) = (id("charges", "k"), server.address.to_string());
    let url = format!("url=http://{allow}/charge");
    server.hold(true);
    let args = ["run", "charges.yaml", "--key", "k", "--set", &url, "--allow-net", &allow];
    let mut first = place.start(&args);
    until("the request", || server.requests().len() == 1);
    first.kill();
    server.hold(false);
    let told = place.aura(&["resume", &run, "--json"]).exits(3).json();
    let shown = place.aura(&["show", &run, "--json"]).exits(0).json();
    let usd = json!({ "limit": 500_000, "spent": 0, "reserved": 300_000, "left": 200_000 });
    assert_eq!(shown["budget"]["usd_micros"], usd);
    let command = told["needs"][0]["command"].as_str().expect("a command");
    let key = command.split(' ').nth(3).expect("a key");
    place.aura(&["effects", "settle", key, "--failed", "--reason", "not there"]).exits(0);
    place.aura(&["resume", &run]).exits(0);
    let shown = place.aura(&["show", &run, "--json"]).exits(0).json();
    let usd = json!({ "limit": 500_000, "spent": 300_000, "reserved": 0, "left": 200_000 });
    assert_eq!(shown["budget"]["usd_micros"], usd, "the call that did not happen was free");
    assert_eq!(server.requests().len(), 2);
    place.aura(&["replay", &run, "--verify"]).exits(0);
}
