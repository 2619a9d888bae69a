//! Calls whose key several runs share: made once, whoever asks.

use serde_json::{Value, json};

use crate::support::{Ended, Place, Server, id, until};

const ORDER: &str = r#"
flow: order
input: { type: object, required: [url], properties: { url: { type: string } } }
nodes:
  - id: charge
    tool: http.request
    with: { method: POST, url: "{{ input.url }}/charge", json: { amount: 3 } }
    idempotency: { scope: flow, ttl: 1h }
  - id: look
    tool: http.request
    with: { url: "{{ input.url }}/rates" }
    idempotency: { scope: tenant }
output: $steps.charge.output.json.head
"#;

/// Where orders are taken, and what tells a run of it.
struct Shop {
    place: Place,
    server: Server,
    allow: String,
    url: String,
}

impl Shop {
    fn open() -> Self {
        let (place, server) = (Place::new(), Server::new());
        place.file("order.yaml", ORDER);
        let allow = server.address.to_string();
        let url = format!("url=http://{allow}");
        Self { place, server, allow, url }
    }
}

fn started<'a>(key: &'a str, url: &'a str, allow: &'a str) -> [&'a str; 9] {
    ["run", "order.yaml", "--key", key, "--set", url, "--allow-net", allow, "--json"]
}

fn cache(place: &Place, run: &str) -> Value {
    place.aura(&["show", run, "--json"]).exits(0).json()["cache"].clone()
}

fn key_of(place: &Place, run: &str) -> String {
    let effects = place.aura(&["effects", run, "--json"]).exits(0).json();
    effects["effects"][0]["key"].as_str().expect("a key").to_owned()
}

#[test]
fn a_second_run_makes_no_call_that_the_first_made() {
    let Shop { place, server, allow, url } = Shop::open();
    let first = place.aura(&started("1", &url, &allow)).exits(0).json();
    assert_eq!(server.requests().len(), 2);
    let second = place.aura(&started("2", &url, &allow)).exits(0).json();
    assert_eq!(server.requests().len(), 2, "nothing was called again");
    assert_eq!(first["output"], second["output"]);
    let (one, two) = (id("order", "1"), id("order", "2"));
    assert_eq!(cache(&place, &one), json!({ "hits": 0, "misses": 2 }));
    assert_eq!(cache(&place, &two), json!({ "hits": 2, "misses": 0 }));
    let stats = place.aura(&["effects", "--stats", "--json"]).exits(0).json();
    assert_eq!(stats["cache"], json!({ "hits": 2, "misses": 2 }));
    let listed = place.aura(&["effects", &two, "--status", "reused"]).exits(0);
    assert!(listed.out.contains(&format!("from run {}", &one[..8])), "{}", listed.out);
    place.aura(&["replay", &two, "--verify"]).exits(0);
    place.aura(&["store", "check"]).exits(0);
    let key = key_of(&place, &two);
    let told = place.aura(&["effects", "check", &key, "--json"]).exits(0).json();
    assert_eq!((&told["state"], &told["run_id"]), (&json!("done"), &json!(one)));
    let free = "0".repeat(64);
    let told = place.aura(&["effects", "check", &free, "--json"]).exits(0).json();
    assert_eq!(told["state"], "free");
}

#[test]
fn of_two_runs_at_once_the_second_waits_for_the_first() {
    let Shop { place, server, allow, url } = Shop::open();
    server.hold(true);
    let mut first = place.start(&started("1", &url, &allow));
    until("the call", || server.requests().len() == 1);
    let mut second = place.start(&started("2", &url, &allow));
    let run = id("order", "2");
    let why = || {
        let told = place.aura(&["why", &run, "--json"]);
        let told: Value = serde_json::from_str(&told.out).unwrap_or_default();
        told["reasons"][0]["kind"] == json!("key")
    };
    until("waiting for the key", why);
    server.hold(false);
    first.exits(0);
    second.exits(0);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_call_in_doubt_keeps_every_other_run_from_making_it() {
    let Shop { place, server, allow, url } = Shop::open();
    server.hold(true);
    let mut first = place.start(&started("1", &url, &allow));
    until("the call", || server.requests().len() == 1);
    first.kill();
    server.hold(false);
    let told = place.aura(&["resume", &id("order", "1"), "--json"]).exits(3).json();
    let key = told["needs"][0]["command"].as_str().expect("a command").to_owned();
    let key = key.split(' ').nth(3).expect("a key");
    let mut second = place.start(&started("2", &url, &allow));
    let run = id("order", "2");
    until("waiting for the key", || place.aura(&["why", &run]).out.contains(&id("order", "1")));
    let output = json!({
        "status": 200, "headers": {}, "url": "http://shop.test/", "bytes": 0, "truncated": false,
        "json": { "head": "seen" },
    });
    let said = ["effects", "settle", key, "--succeeded", "--output", &output.to_string()];
    let settled = |ended: &Ended| ended.code;
    assert_eq!(settled(&place.aura(&said)), Some(0));
    let printed = second.exits(0);
    assert!(printed.contains("\"seen\""), "{printed}");
    let posts = server.requests().iter().filter(|head| head.starts_with("POST")).count();
    assert_eq!(posts, 1, "nothing is blindly done twice");
    // Sent again, the same answer changes nothing.
    let again = place.aura(&said).exits(0);
    assert!(again.out.contains("it was so before"), "{}", again.out);
}
