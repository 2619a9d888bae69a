//! Compensation with the real binary against a server that counts.

use serde_json::Value;

use crate::support::{Place, Server, id, until};

/// Books a hotel and two seats, then fails, or waits where `wait` says so. `undo` is where the hotel is undone.
fn trip(place: &Place, server: &Server, undo: &str, last: &str) {
    let host = server.address;
    let flow = format!(
        r#"
flow: trip
nodes:
  - id: hotel
    tool: http.request
    with: {{ method: POST, url: "http://{host}/hotel" }}
    effect: idempotent
    compensate:
      tool: http.request
      with: {{ {undo}, url: "http://{host}/undo/hotel/{{{{ steps.hotel.output.status }}}}" }}
      retry: {{ initial: 1ms, max: 1ms }}
  - id: seats
    map:
      items: [7, 8]
      as: seat
      concurrency: 1
      do:
        - id: take
          tool: http.request
          with: {{ method: PUT, url: "http://{host}/seat/{{{{ seat }}}}" }}
          compensate: {{ tool: http.request, with: {{ method: DELETE, url: "http://{host}/undo/seat/{{{{ seat }}}}" }} }}
  - id: last
    {last}
"#
    );
    place.file("trip.yaml", &flow);
}

const FAILS: &str = "tool: fail\n    with: { code: CONFLICT, message: sold out }";

fn args<'a>(command: &'a str, key: &'a str, host: &'a str) -> [&'a str; 7] {
    [command, "trip.yaml", "--key", key, "--allow-net", host, "--json"]
}

/// Method and path of the requests that undid something, in order.
fn undone(server: &Server) -> Vec<String> {
    let line = |head: String| head.lines().next().unwrap_or_default().to_owned();
    let undo = |line: &String| line.contains("/undo/");
    let path = |line: String| line.split(" HTTP").next().unwrap_or_default().to_owned();
    server.requests().into_iter().map(line).filter(undo).map(path).collect()
}

#[test]
fn a_run_that_fails_undoes_what_it_did_the_last_first() {
    let (place, server) = (Place::new(), Server::new());
    trip(&place, &server, "method: DELETE", FAILS);
    let host = server.address.to_string();
    let told = place.aura(&args("run", "k", &host)).exits(1).json();
    assert_eq!(told["status"], "compensated");
    assert_eq!(told["error"]["code"], "CONFLICT", "the failure stays visible");
    assert_eq!(told["saga"]["compensated"], 3);
    let order = ["DELETE /undo/seat/8", "DELETE /undo/seat/7", "DELETE /undo/hotel/200"];
    assert_eq!(undone(&server), order);
    let run = id("trip", "k");
    let shown = place.aura(&["show", &run]).exits(0).out;
    assert!(shown.contains("compensated") && shown.contains("↩ hotel"), "{shown}");
    assert!(shown.contains("undone   3 steps"), "{shown}");
    let why = place.aura(&["why", &run]).exits(0).out;
    assert!(why.contains("CONFLICT") && why.contains("undone 3 steps"), "{why}");
    let listed = place.aura(&["runs", "--where", "status=compensated"]).exits(0).out;
    assert!(listed.contains("trip"), "{listed}");
    let effects: Value = place.aura(&["effects", "--json"]).exits(0).json();
    assert!(effects.to_string().contains("seats[1]/take/compensate"), "{effects}");
    place.aura(&["replay", &run, "--verify"]).exits(0);
    let plan = place.aura(&["plan", "trip.yaml"]).exits(0).out;
    assert!(plan.contains("undone by http.request  idempotent"), "{plan}");
}

#[test]
fn a_compensation_that_fails_three_times_is_told_and_not_swallowed() {
    let (place, server) = (Place::new(), Server::new());
    trip(&place, &server, "method: DELETE", FAILS);
    let flow = std::fs::read_to_string(place.work().join("trip.yaml")).expect("the flow");
    place.file("trip.yaml", &flow.replace("/undo/seat/{{ seat }}", "/undo/status/429/{{ seat }}"));
    let flow = std::fs::read_to_string(place.work().join("trip.yaml")).expect("the flow");
    let quick =
        "retry: { initial: 1ms, max: 1ms }, tool: http.request, with: { method: DELETE, url";
    place
        .file("trip.yaml", &flow.replace("tool: http.request, with: { method: DELETE, url", quick));
    let host = server.address.to_string();
    let told = place.aura(&args("run", "k", &host)).exits(1).json();
    assert_eq!(told["status"], "compensation_failed");
    assert_eq!(told["error"]["code"], "CONFLICT");
    assert_eq!(told["saga"]["uncompensated"][0]["step"], "seats[1]/take");
    assert_eq!(told["saga"]["uncompensated"][0]["error"]["code"], "RATE_LIMIT");
    let undone = undone(&server);
    let tries = |path: &str| undone.iter().filter(|line| line.ends_with(path)).count();
    assert_eq!((tries("/429/8"), tries("/429/7"), tries("/hotel/200")), (3, 3, 1));
    let run = id("trip", "k");
    let shown = place.aura(&["show", &run]).exits(0).out;
    assert!(shown.contains("left     seats[1]/take: RATE_LIMIT"), "{shown}");
    let why = place.aura(&["why", &run]).exits(0).out;
    assert!(why.contains("undone 1 of 3 steps; not seats[1]/take"), "{why}");
}

#[test]
fn a_cancelled_run_is_undone_when_somebody_performs_it() {
    let (place, server) = (Place::new(), Server::new());
    trip(&place, &server, "method: DELETE", "wait: { signal: go }");
    let host = server.address.to_string();
    let told = place.aura(&args("run", "k", &host)).exits(3).json();
    assert_eq!(told["status"], "waiting");
    let run = id("trip", "k");
    place.aura(&["cancel", &run, "--reason", "changed plans"]).exits(0);
    let why = place.aura(&["why", &run]).exits(0).out;
    assert!(why.contains("it undoes what it did") && why.contains("changed plans"), "{why}");
    assert_eq!(undone(&server).len(), 0, "nobody performs it");
    let told = place.aura(&["resume", &run, "--json"]).exits(1).json();
    assert_eq!(told["status"], "cancelled");
    assert_eq!(told["saga"]["compensated"], 3);
    assert_eq!(undone(&server).len(), 3);
}

#[test]
fn a_crash_while_undoing_repeats_no_compensation_and_doubt_waits_for_a_person() {
    let (place, server) = (Place::new(), Server::new());
    // Undoing the hotel is irreversible.
    trip(&place, &server, "method: POST", FAILS);
    let host = server.address.to_string();
    let held = Server::new();
    let flow = std::fs::read_to_string(place.work().join("trip.yaml")).expect("the flow");
    let elsewhere = format!("http://{}/undo/hotel", held.address);
    place.file("trip.yaml", &flow.replace(&format!("http://{host}/undo/hotel"), &elsewhere));
    held.hold(true);
    let also = held.address.to_string();
    let mut arguments = args("run", "k", &host).to_vec();
    arguments.extend(["--allow-net", &also]);
    let mut run = place.start(&arguments);
    until("the last compensation", || held.requests().len() == 1);
    run.kill();
    held.hold(false);
    let run = id("trip", "k");
    let told = place.aura(&["resume", &run, "--json"]).exits(3).json();
    assert_eq!(told["status"], "compensating");
    assert_eq!((undone(&server).len(), held.requests().len()), (2, 1));
    let command = told["needs"][0]["command"].as_str().expect("what to type");
    let key = command.split(' ').nth(3).expect("a key");
    place.aura(&["effects", "settle", key, "--failed", "--message", "still booked"]).exits(0);
    let told = place.aura(&["resume", &run, "--json"]).exits(1).json();
    assert_eq!(told["status"], "compensation_failed");
    assert_eq!(told["saga"]["compensated"], 2);
    assert_eq!(told["saga"]["uncompensated"][0]["error"]["message"], "still booked");
}

#[test]
fn a_child_that_completed_is_undone_by_its_parent() {
    let (place, server) = (Place::new(), Server::new());
    trip(&place, &server, "method: DELETE", "tool: echo\n    with: { value: done }");
    place.file(
        "parent.yaml",
        "flow: parent\nnodes:\n  - { id: trip, flow: { file: trip.yaml } }\n  - { id: last, tool: fail, with: { code: CONFLICT, message: sold out } }\n",
    );
    let host = server.address.to_string();
    let told = place
        .aura(&["run", "parent.yaml", "--key", "k", "--allow-net", &host, "--json"])
        .exits(1)
        .json();
    assert_eq!(told["status"], "compensated");
    assert_eq!(told["saga"]["compensated"], 3);
    let order = ["DELETE /undo/seat/8", "DELETE /undo/seat/7", "DELETE /undo/hotel/200"];
    assert_eq!(undone(&server), order);
    let run = id("parent", "k");
    let shown = place.aura(&["show", &run]).exits(0).out;
    assert!(shown.contains("↩ [child]") && shown.contains("↩ [1]/take"), "{shown}");
    assert!(!shown.contains("running"), "{shown}");
    let shown = place.aura(&["show", &run, "--json"]).exits(0).json();
    let undone = shown["steps"].as_array().unwrap().iter();
    let undone = undone.filter(|step| step["status"] == "compensated");
    assert!(undone.clone().any(|step| step["path"] == "trip[child]/seats[1]/take"), "{shown}");
    let children = place.aura(&["runs", "--where", &format!("parent={run}"), "--json"]).exits(0);
    let child = children.json()["runs"][0]["run_id"].as_str().unwrap().to_owned();
    let shown = place.aura(&["show", &child]).exits(0).out;
    assert!(shown.contains("3 steps for its parent to undo if that fails"), "{shown}");
    for run in [&run, &child] {
        place.aura(&["replay", run, "--verify"]).exits(0);
    }
    place.aura(&["store", "check"]).exits(0);
}
