//! `aura backtest`: recorded runs against a changed flow, without a call and without a change of the store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Place, Server, files};

/// A flow with calls to a server, a wait for a signal, an approval, a pause and a loop.
fn flow(server: &Server, greeting: &str, path: &str) -> String {
    let at = server.address;
    format!(
        "flow: order
nodes:
  - {{ id: fetch, tool: http.request, with: {{ url: 'http://{at}/{path}' }} }}
  - {{ id: nap, sleep: 20ms }}
  - {{ id: say, tool: echo, with: {{ value: '{greeting} {{{{ input.name }}}}' }} }}
  - id: items
    map:
      items: [1, 2]
      do: [{{ id: one, tool: bench.noop, with: {{ value: $item }} }}]
  - {{ id: paid, wait: {{ signal: paid }} }}
  - {{ id: may, approval: {{ message: 'Send {{{{ steps.paid.output }}}}?' }} }}
  - {{ id: send, tool: http.request, with: {{ method: POST, url: 'http://{at}/send' }} }}
output: $steps.say.output.value
"
    )
}

/// A place with one run of the flow that ended.
fn recorded() -> (Place, Server, String) {
    let (place, server) = (Place::new(), Server::new());
    place.file("order.yaml", &flow(&server, "Hello", "order"));
    let net = server.address.to_string();
    let run = ["run", "order.yaml", "--set", "name=Ada", "--allow-net", &net, "--json"];
    let id = place.aura(&run).exits(3).json()["run_id"].as_str().expect("an id").to_owned();
    place.aura(&["signal", &id, "paid", "--payload", "17"]).exits(0);
    place.aura(&["resume", &id, "--yes"]).exits(0);
    assert_eq!(server.requests().len(), 2);
    (place, server, id)
}

fn verdict(place: &Place, file: &str, code: i32) -> Value {
    place.aura(&["backtest", file, "--json"]).exits(code).json()["runs"][0].take()
}

#[test]
fn a_run_is_the_same_different_or_needs_what_was_never_recorded() {
    let (place, server, id) = recorded();
    let before = files(&place.data());
    let same = verdict(&place, "order.yaml", 0);
    assert_eq!(same, json!({ "run_id": id, "verdict": "same" }));

    // A step with another name makes the same call.
    let renamed = flow(&server, "Hello", "order").replace("id: fetch", "id: get");
    place.file("renamed.yaml", &renamed);
    let told = verdict(&place, "renamed.yaml", 1);
    assert_eq!(told["verdict"], "different", "{told}");
    assert_eq!(told["divergence"]["a"]["step"], "fetch");

    place.file("greets.yaml", &flow(&server, "Goodbye", "order"));
    let told = verdict(&place, "greets.yaml", 1);
    assert_eq!(told["verdict"], "different", "{told}");
    assert_eq!(
        told["divergence"]["b"]["data"]["work"]["task"]["args"]["json"]["value"],
        "Goodbye Ada"
    );

    place.file("calls.yaml", &flow(&server, "Hello", "elsewhere"));
    let told = verdict(&place, "calls.yaml", 1);
    assert_eq!(told["verdict"], "needs", "{told}");
    assert_eq!(told["needs"][0]["step"], "fetch");
    assert_eq!(told["needs"][0]["tool"], "http.request");
    assert_eq!(told["divergence"]["b"]["step"], "fetch");

    assert_eq!(server.requests().len(), 2, "nothing was called");
    let told = |files: Vec<(PathBuf, Vec<u8>)>| -> BTreeMap<PathBuf, Vec<u8>> {
        // What SQLite keeps for its readers: its shared memory, and a write-ahead log with nothing in it.
        let kept = |(path, bytes): &(PathBuf, Vec<u8>)| {
            !path.to_string_lossy().ends_with("-shm") && !bytes.is_empty()
        };
        files.into_iter().filter(kept).collect()
    };
    assert!(told(before) == told(files(&place.data())), "nothing was written");
}

#[test]
fn which_runs_are_tried_can_be_said() {
    let (place, server, id) = recorded();
    place
        .file("other.yaml", "flow: other\nnodes:\n  - { id: a, tool: echo, with: { value: 1 } }\n");
    let none = place.aura(&["backtest", "other.yaml"]).exits(2);
    assert!(none.err.contains("no recorded run of a flow 'other'"), "{}", none.err);
    place.aura(&["run", "other.yaml", "-q"]).exits(0);
    place.aura(&["backtest", "other.yaml", "--runs", "status=completed"]).exits(0);
    let told = place.aura(&["backtest", "other.yaml", "--run", &id]).exits(1);
    assert!(told.out.contains("different") && told.out.contains("recorded event"), "{}", told.out);
    place.file("broken.yaml", "flow: broken\nnodes: [{ id: a, tool: none }]\n");
    place.aura(&["backtest", "broken.yaml"]).exits(2);
    let strict = flow(&server, "Hello", "order")
        .replace("flow: order", "flow: order\ninput: { type: object, required: [amount] }");
    place.file("strict.yaml", &strict);
    let told = verdict(&place, "strict.yaml", 1);
    assert_eq!(told["verdict"], "untold");
    assert!(told["why"].as_str().is_some_and(|why| why.contains("amount")), "{told}");
}
