//! `aura fork`: from a step of a run, with another flow, other values, and without calling twice.

use serde_json::json;

use crate::support::{Place, Server};

fn flow(server: &Server, message: &str) -> String {
    let at = server.address;
    format!(
        "flow: pay
vars: {{ limit: 10 }}
nodes:
  - {{ id: fetch, tool: http.request, with: {{ method: POST, url: 'http://{at}/fetch' }} }}
  - {{ id: say, tool: echo, with: {{ value: '{message} {{{{ vars.limit }}}}' }} }}
  - {{ id: send, tool: http.request, with: {{ method: POST, url: 'http://{at}/send' }} }}
output: $steps.say.output
"
    )
}

#[test]
fn a_fork_goes_on_with_another_flow_and_calls_nothing_twice() {
    let (place, server) = (Place::new(), Server::new());
    place.file("one.yaml", &flow(&server, "one"));
    place.file("two.yaml", &flow(&server, "two"));
    let net = server.address.to_string();
    let run = place.aura(&["run", "one.yaml", "--allow-net", &net, "--json"]).exits(0).json();
    let id = run["run_id"].as_str().expect("an id");
    assert_eq!(server.requests().len(), 2);
    let before = place.aura(&["events", id, "--json"]).exits(0).out;

    let fork =
        ["fork", id, "--at", "say", "--flow", "two.yaml", "--set", "vars.limit=20", "--json"];
    let forked = place.aura(&fork).exits(0).json();
    assert_eq!(forked["output"]["value"], json!("two 20"));
    assert_eq!(server.requests().len(), 2, "outcomes are reused");
    assert_eq!(
        place.aura(&["events", id, "--json"]).exits(0).out,
        before,
        "the parent is as it was"
    );
    let new = forked["run_id"].as_str().expect("an id");
    place.aura(&["replay", new, "--verify"]).exits(0);
    place.aura(&["store", "check"]).exits(0);
    let shown = place.aura(&["effects", new, "--json"]).exits(0).out;
    assert!(shown.contains("\"reused\":true") || shown.contains("\"reused\": true"), "{shown}");

    let unknown = ["fork", id, "--at", "say", "--set", "vars.limits=20"];
    let refused = place.aura(&unknown).exits(2).err;
    assert!(refused.contains("no variable 'limits'") && refused.contains("limit"), "{refused}");
    place.file("mocks.json", "{\"steps\": {\"send\": {\"output\": {\"status\": 418}}}}");
    let mock = ["fork", id, "--at", "send", "--mock", "mocks.json", "--json"];
    place.aura(&mock).exits(0);
    assert_eq!(server.requests().len(), 2, "a file with outcomes is where they come from");
    place.aura(&[&mock[..], &["--effects", "live"]].concat()).exits(2);

    let live = ["fork", id, "--at", "send", "--effects", "live", "--json"];
    place.aura(&live).exits(0);
    assert_eq!(server.requests().len(), 3);
    let keys: Vec<_> = server
        .requests()
        .iter()
        .map(|head| {
            head.lines()
                .find(|l| l.to_lowercase().starts_with("idempotency-key"))
                .map(str::to_owned)
        })
        .collect();
    assert_ne!(keys[1], keys[2], "a fork calls under its own keys");
}

#[test]
fn a_call_that_the_parent_never_made_waits_until_somebody_lets_it_out() {
    let (place, server) = (Place::new(), Server::new());
    place.file("one.yaml", &flow(&server, "one"));
    place.file("two.yaml", &flow(&server, "one").replace("/send", "/elsewhere"));
    let net = server.address.to_string();
    let run = place.aura(&["run", "one.yaml", "--allow-net", &net, "--json"]).exits(0).json();
    let id = run["run_id"].as_str().expect("an id");
    let fork = ["fork", id, "--at", "send", "--flow", "two.yaml", "--json"];
    let forked = place.aura(&fork).exits(3).json();
    assert_eq!(server.requests().len(), 2);
    let new = forked["run_id"].as_str().expect("an id");
    let why = place.aura(&["why", new]).exits(0).out;
    assert!(why.contains("no unused outcome of this call"), "{why}");
    let command = forked["needs"][0]["others"][1].as_str().expect("a command");
    let words: Vec<_> = command.split(' ').skip(1).collect();
    assert_eq!(words.last(), Some(&"--live"), "{command}");
    place.aura(&["effects", "settle", words[2], "--retry"]).exits(2);
    place.aura(&words).exits(0);
    place.aura(&["resume", new]).exits(0);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn outcomes_come_from_a_file() {
    let (place, server) = (Place::new(), Server::new());
    place.file("one.yaml", &flow(&server, "one"));
    let net = server.address.to_string();
    let run = place.aura(&["run", "one.yaml", "--allow-net", &net, "--json"]).exits(0).json();
    let id = run["run_id"].as_str().expect("an id");
    place.file(
        "mocks.json",
        r#"{"steps": {"send": {"error": {"code": "UNAVAILABLE", "message": "down"}}}}"#,
    );
    let fork = ["fork", id, "--at", "send", "--effects", "mock", "--mock", "mocks.json", "--json"];
    let forked = place.aura(&fork).exits(1).json();
    assert_eq!(forked["error"]["code"], json!("UNAVAILABLE"));
    assert_eq!(server.requests().len(), 2);
    place.file("wrong.json", r#"{"step": {}}"#);
    place.aura(&["fork", id, "--at", "send", "--effects", "mock", "--mock", "wrong.json"]).exits(2);
}

#[test]
fn what_can_not_be_forked_says_what_can() {
    let (place, server) = (Place::new(), Server::new());
    place.file("one.yaml", &flow(&server, "one"));
    let net = server.address.to_string();
    let run = place.aura(&["run", "one.yaml", "--allow-net", &net, "--json"]).exits(0).json();
    let id = run["run_id"].as_str().expect("an id");
    let absent = place.aura(&["fork", id, "--at", "nowhere"]).exits(2);
    assert!(absent.err.contains("has not started a step 'nowhere'"), "{}", absent.err);
    let early = place.aura(&["fork", id, "--at", "say", "--set", "steps.send.output=1"]).exits(2);
    assert!(early.err.contains("CANNOT_FORK"), "{}", early.err);
    place.aura(&["fork", id, "--at", "say", "--set", "nonsense=1"]).exits(2);
}
