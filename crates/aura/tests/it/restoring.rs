//! What comes out of a backup or an export is what went in: forks and what they share, and calls that are not made
//! again.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Ended, Place, Server, id, until};

const STEPS: &str = "
flow: steps
nodes:
  - { id: a, tool: bench.noop, with: { value: 1 } }
  - { id: b, tool: bench.noop, with: { value: 2 } }
  - { id: c, tool: bench.noop, with: { value: 3 } }
";

const ORDER: &str = r#"
flow: order
input: { type: object, required: [url], properties: { url: { type: string } } }
nodes:
  - id: charge
    tool: http.request
    with: { method: POST, url: "{{ input.url }}/charge", json: { amount: 3 } }
    idempotency: { scope: tenant, ttl: 1h }
output: $steps.charge.output.json.head
"#;

/// Ways of a store into another data directory.
const WAYS: [&str; 2] = ["restored", "imported"];

/// Brings the store of a place into a data directory in the work folder.
fn bring(place: &Place, way: &str) -> std::path::PathBuf {
    let data = place.work().join(way);
    if way == "restored" {
        place.aura(&["store", "backup", "backup"]).exits(0);
        at(place, &data, &["store", "restore", "backup"]).exits(0);
    } else {
        place.aura(&["store", "export", "-o", "all.ndjson"]).exits(0);
        at(place, &data, &["store", "import", "all.ndjson"]).exits(0);
    }
    at(place, &data, &["store", "check"]).exits(0);
    data
}

fn at(place: &Place, data: &Path, args: &[&str]) -> Ended {
    let mut all = vec!["--data-dir", data.to_str().unwrap()];
    all.extend(args);
    place.aura(&all)
}

fn fork(place: &Place, run: &str, step: &str) -> String {
    let forked = place.aura(&["fork", run, "--at", step, "--json"]).exits(0).json();
    forked["run_id"].as_str().expect("an id").to_owned()
}

/// Runs that an export of this one holds: it, and those whose beginning it has.
fn with_parents(place: &Place, data: &Path, run: &str) -> Value {
    let told = at(place, data, &["store", "export", "--run", run, "-o", "-"]).exits(0).out;
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).expect("json");
    last["end"]["runs"].clone()
}

#[test]
fn forks_are_forks_afterwards() {
    let place = Place::new();
    place.file("steps.yaml", STEPS);
    place.aura(&["run", "steps.yaml", "--key", "k"]).exits(0);
    let run = id("steps", "k");
    let early = fork(&place, &run, "a");
    let late = fork(&place, &run, "c");
    let of_fork = fork(&place, &late, "c");
    let all = [(&run, 1), (&early, 2), (&late, 2), (&of_fork, 3)];
    for (one, runs) in all {
        assert_eq!(with_parents(&place, &place.data(), one), runs, "{one}");
    }
    let before = place.aura(&["runs", "--json"]).exits(0).out;
    for way in WAYS {
        let data = bring(&place, way);
        for (one, runs) in all {
            at(&place, &data, &["replay", one, "--verify"]).exits(0);
            assert_eq!(with_parents(&place, &data, one), runs, "{way} {one}");
            let events = at(&place, &data, &["events", one, "--json"]).exits(0).out;
            assert_eq!(events, place.aura(&["events", one, "--json"]).exits(0).out, "{way}");
        }
        assert_eq!(at(&place, &data, &["runs", "--json"]).exits(0).out, before, "{way}");
        let kept = at(&place, &data, &["store", "compact", "--keep-runs", "0", "--json"]);
        assert_eq!(kept.exits(0).json()["runs"], 2, "{way}: what is shared stays");
    }
}

fn start(place: &Place, data: &Path, key: &str, server: &Server) -> Ended {
    let allow = server.address.to_string();
    let url = format!("url=http://{allow}");
    let run = ["run", "order.yaml", "--key", key, "--set", &url, "--allow-net", &allow, "--json"];
    at(place, data, &run)
}

#[test]
fn a_call_that_was_made_is_not_made_again() {
    let (place, server) = (Place::new(), Server::new());
    place.file("order.yaml", ORDER);
    start(&place, &place.data(), "1", &server).exits(0);
    for way in WAYS {
        let data = bring(&place, way);
        let told = start(&place, &data, "2", &server).exits(0).json();
        assert!(told["output"].as_str().is_some_and(|head| head.contains("/charge")), "{told}");
        assert_eq!(server.requests().len(), 1, "{way}");
    }
}

#[test]
fn a_call_that_a_removed_run_made_is_not_made_again() {
    let (place, server) = (Place::new(), Server::new());
    place.file("order.yaml", ORDER);
    start(&place, &place.data(), "1", &server).exits(0);
    let gone = place.aura(&["store", "compact", "--keep-runs", "0", "--json"]).exits(0).json();
    assert_eq!(gone["runs"], 1);
    let data = bring(&place, "restored");
    start(&place, &data, "2", &server).exits(0);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_call_in_doubt_keeps_its_key() {
    let (place, server) = (Place::new(), Server::new());
    place.file("order.yaml", ORDER);
    let allow = server.address.to_string();
    let url = format!("url=http://{allow}");
    let run = |key| ["run", "order.yaml", "--key", key, "--set", &url, "--allow-net", &allow];
    server.hold(true);
    let mut first = place.start(&run("1"));
    until("the call", || server.requests().len() == 1);
    first.kill();
    server.hold(false);
    let (one, two) = (id("order", "1"), id("order", "2"));
    place.aura(&["resume", &one]).exits(3);
    let effects = place.aura(&["effects", &one, "--json"]).exits(0).json();
    let key = effects["effects"][0]["key"].as_str().expect("a key");
    for way in WAYS {
        let data = bring(&place, way);
        let told = at(&place, &data, &["effects", "check", key, "--json"]).exits(0).json();
        assert_eq!((&told["state"], &told["run_id"]), (&json!("held"), &json!(one)), "{way}");
        let mut args = vec!["--data-dir", data.to_str().unwrap()];
        args.extend(run("2"));
        let mut second = place.start(&args);
        until("waiting for the key", || at(&place, &data, &["why", &two]).out.contains(&one));
        assert_eq!(server.requests().len(), 1, "{way}: nothing is blindly done twice");
        second.kill();
    }
}
