//! Pausing and resuming, deadlines of runs, and signals whose payload must fit.

use crate::support::{Place, Server, id, until};

const ALONE: &str = "
flow: alone
nodes:
  - { id: go, wait: { signal: go } }
  - { id: then, tool: echo, with: { value: $steps.go.output } }
output: $steps.then.output.value
";

#[test]
fn a_run_is_paused_from_another_terminal_and_goes_on_when_it_is_resumed() {
    let place = Place::new();
    place.file("nap.yaml", "flow: nap\nnodes:\n  - { id: a, sleep: 24h }\n");
    let mut first = place.start(&["run", "nap.yaml", "--key", "k"]);
    first.prints("step.started a");
    let run = id("nap", "k");
    let told = place.aura(&["pause", &run, "--reason", "lunch", "--json"]).exits(0).json();
    assert_eq!(told["status"], "paused");
    let printed = first.exits(3);
    assert!(printed.contains("run.paused by local:ada"), "{printed}");
    assert!(printed.contains(&format!("aura resume {run}")), "{printed}");
    let why = place.aura(&["why", &run]).exits(0).out;
    assert!(why.contains("it is paused, by local:ada: lunch"), "{why}");
    let listed = place.aura(&["runs", "--where", "status=paused"]).exits(0).out;
    assert!(listed.contains("nap"), "{listed}");
    let told = place.aura(&["pause", &run, "--json"]).exits(0).json();
    assert_eq!(told["already"], true);
    let second = place.start(&["resume", &run]);
    second.prints("was paused; it goes on now");
    let shown = place.aura(&["show", &run]).exits(0).out;
    assert!(shown.contains("waiting"), "{shown}");
}

#[test]
fn without_an_owner_a_pause_is_kept_and_so_is_what_comes_meanwhile() {
    let place = Place::new();
    place.file("alone.yaml", ALONE);
    let run = id("alone", "k");
    place.aura(&["run", "alone.yaml", "--key", "k"]).exits(3);
    place.aura(&["pause", &run]).exits(0);
    let told = place.aura(&["signal", &run, "go", "--payload", "7", "--json"]).exits(0).json();
    assert_eq!(told["status"], "paused", "the signal is recorded, and nothing starts");
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    assert_eq!((&told["status"], &told["output"]), (&"completed".into(), &7.into()));
    let ended = place.aura(&["pause", &run]).exits(2);
    assert!(ended.err.contains("RUN_CLOSED"), "{}", ended.err);
    place.aura(&["replay", &run, "--verify"]).exits(0);
}

#[test]
fn a_call_in_flight_ends_in_a_paused_run_and_the_next_one_does_not_start() {
    let (place, server) = (Place::new(), Server::new());
    let host = server.address.to_string();
    let call = |id: &str| {
        let url = format!("http://{host}/{id}");
        format!("  - {{ id: {id}, tool: http.request, with: {{ method: PUT, url: \"{url}\" }} }}\n")
    };
    place.file("calls.yaml", &format!("flow: calls\nnodes:\n{}{}", call("one"), call("two")));
    server.hold(true);
    let args = ["run", "calls.yaml", "--key", "k", "--allow-net", &host];
    let mut first = place.start(&args);
    until("the first request", || server.requests().len() == 1);
    let run = id("calls", "k");
    place.aura(&["pause", &run]).exits(0);
    server.hold(false);
    let printed = first.exits(3);
    assert!(printed.contains("step.completed one"), "{printed}");
    assert_eq!(server.requests().len(), 1);
    place.aura(&["resume", &run]).exits(0);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_run_that_passes_its_deadline_fails() {
    let place = Place::new();
    place.file("late.yaml", "flow: late\ndeadline: 50ms\nnodes:\n  - { id: a, sleep: 24h }\n");
    let told = place.aura(&["run", "late.yaml", "--key", "k", "--json"]).exits(1).json();
    assert_eq!(told["error"]["code"], "DEADLINE");
    let shown = place.aura(&["show", &id("late", "k")]).exits(0).out;
    assert!(shown.contains("deadline") && shown.contains("DEADLINE"), "{shown}");
    place.aura(&["replay", &id("late", "k"), "--verify"]).exits(0);
}

const PAID: &str = "
flow: paid
signals:
  paid:
    type: object
    required: [amount]
    properties: { amount: { type: number, minimum: 1 } }
nodes:
  - { id: paid, wait: { signal: paid } }
output: $steps.paid.output.amount
";

#[test]
fn a_payload_that_does_not_fit_is_refused_and_nothing_is_recorded() {
    let place = Place::new();
    place.file("paid.yaml", PAID);
    let run = id("paid", "k");
    let before = place.aura(&["run", "paid.yaml", "--key", "k", "--json"]).exits(3).json();
    let ended = place.aura(&["signal", &run, "paid", "--payload", "{\"amount\": 0}"]).exits(2);
    assert!(ended.err.contains("INVALID_INPUT") && ended.err.contains("amount"), "{}", ended.err);
    let ended = place.aura(&["signal", &run, "payed"]).exits(2);
    assert!(ended.err.contains("it takes paid"), "{}", ended.err);
    let shown = place.aura(&["show", &run, "--json"]).exits(0).json();
    assert_eq!(shown["events"], before["events"], "nothing was recorded");
    place.aura(&["signal", &run, "paid", "--payload", "{\"amount\": 4}"]).exits(0);
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    assert_eq!(told["output"], 4);
}

#[test]
fn children_are_paused_and_resumed_with_their_parent_or_by_themselves() {
    let place = Place::new();
    place.file("top.yaml", "flow: top\nnodes: [{ id: c, flow: { file: alone.yaml } }]\n");
    place.file("alone.yaml", ALONE);
    let run = id("top", "k");
    place.aura(&["run", "top.yaml", "--key", "k"]).exits(3);
    let listed = place.aura(&["runs", "--where", &format!("parent={run}"), "--json"]).exits(0);
    let child = listed.json()["runs"][0]["run_id"].as_str().unwrap().to_owned();
    let status = |run: &str| {
        let shown = place.aura(&["show", run, "--json"]).exits(0).json();
        shown["status"].as_str().unwrap().to_owned()
    };
    // By itself: its parent goes on waiting for it, also when that is paused and resumed.
    place.aura(&["pause", &child]).exits(0);
    let told = place.aura(&["resume", &run, "--json"]).exits(3).json();
    assert_eq!(status(&child), "paused");
    let command = told["needs"][0]["command"].as_str().unwrap();
    assert_eq!(command, format!("aura resume {child}"), "{told}");
    place.aura(&["pause", &run]).exits(0);
    let refused = place.aura(&["resume", &child]).exits(2);
    assert!(refused.err.contains("CONFLICT") && refused.err.contains(&run), "{}", refused.err);
    place.aura(&["resume", &run]).exits(3);
    assert_eq!(status(&child), "paused");
    place.aura(&["resume", &child]).exits(3);
    assert_eq!(status(&child), "waiting");
    // With its parent.
    place.aura(&["pause", &run, "--reason", "lunch"]).exits(0);
    place.aura(&["signal", &child, "go", "--payload", "7"]).exits(0);
    assert_eq!(status(&child), "paused");
    let why = place.aura(&["why", &child]).exits(0).out;
    assert!(why.contains(&format!("by run {run}: lunch")), "{why}");
    assert!(why.contains(&format!("aura resume {run}")), "{why}");
    let refused = place.aura(&["resume", &child]).exits(2);
    assert!(refused.err.contains("CONFLICT") && refused.err.contains(&run), "{}", refused.err);
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    assert_eq!(told["output"], 7);
    for run in [&run, &child] {
        place.aura(&["replay", run, "--verify"]).exits(0);
    }
}
