//! Reading runs: lists, whole runs, why they wait, their events, and replaying them.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::effects::in_doubt;
use crate::shown::assert_shown;
use crate::support::{Ended, Place, Server, id, until};

/// One of each thing that shows differently, ending in a question.
const TOUR: &str = "
flow: tour
version: '1.0'
vars: { total: 0 }
nodes:
  - id: greet
    tool: echo
    with: { value: 'Hello {{ input.name }}' }
  - id: never
    when: false
    tool: echo
  - id: items
    map:
      items: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
      as: n
      concurrency: 1
      do:
        - id: one
          tool: bench.noop
          with: { value: $n }
  - id: sum
    set: { total: '{{ steps.items.output | length }}' }
  - id: ask
    approval: { message: 'Publish {{ vars.total }}?' }
output: { total: $vars.total }
";

const FAILS: &str = "
flow: fails
nodes:
  - id: stop
    tool: fail
    with: { code: CONFLICT, message: 'the order is closed' }
";

const WAITS: &str = "
flow: waits
nodes:
  - id: paid
    wait: { signal: payment }
";

/// A place where a tour waits for its answer.
fn tour() -> (Place, String) {
    let place = Place::new();
    place.file("tour.yaml", TOUR);
    let args = ["run", "tour.yaml", "--key", "a", "--set", "name=Ada", "--label", "team=pay", "-q"];
    place.aura(&args).exits(3);
    let id = id("tour", "a");
    (place, id)
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_waiting_run_is_shown_whole() {
    let (place, id) = tour();
    assert_shown("show_waiting", &place, &place.aura(&["show", &id]).exits(0));
    assert_shown("why_approval", &place, &place.aura(&["why", &id[..8]]).exits(0));
    let told = place.aura(&["why", &id, "--json"]).exits(0).json();
    assert_eq!(told["reasons"][0]["commands"][0], format!("aura approve {id}"));
    let told = place.aura(&["show", &id, "--json"]).exits(0).json();
    assert_eq!((&told["status"], &told["input"]), (&json!("waiting"), &json!({ "name": "Ada" })));
    assert_eq!(told["effects"].as_array().unwrap().len(), 12);
    assert_eq!(told["steps"].as_array().unwrap().len(), 17);
    assert_eq!(told["steps"][0]["output"], json!({ "json": { "value": "Hello Ada" } }));
}

#[test]
fn runs_are_listed_by_what_is_asked_for() {
    let (place, _) = tour();
    place.file("fails.yaml", FAILS);
    place.aura(&["run", "fails.yaml", "--key", "b"]).exits(1);
    let flows = |args: &[&str]| {
        let told = place.aura(&[&["runs", "--json"], args].concat()).exits(0).json();
        let runs = told["runs"].as_array().unwrap().iter();
        runs.map(|run| run["flow"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(flows(&[]), ["fails", "tour"]);
    assert_eq!(flows(&["--where", "status=waiting", "--where", "status=running"]), ["tour"]);
    assert_eq!(flows(&["--where", "label.team=pay"]), ["tour"]);
    assert_eq!(flows(&["--where", "flow=fails"]), ["fails"]);
    assert_eq!(flows(&["--where", "flow=fails", "--where", "label.team=pay"]), [""; 0]);
    assert_eq!(flows(&["--limit", "1"]), ["fails"]);
    assert_shown("runs", &place, &place.aura(&["runs"]).exits(0));
    let ended = place.aura(&["runs", "--where", "status=done"]).exits(2);
    assert!(ended.err.contains("a status is one of running"), "{}", ended.err);
}

#[test]
fn a_place_without_a_store_has_no_runs() {
    let place = Place::new();
    let ended = place.aura(&["runs"]).exits(0);
    assert!(ended.out.is_empty() && ended.err.starts_with("no runs yet"), "{}", ended.err);
    assert!(!place.data().exists(), "looking makes nothing");
    place.aura(&["show", "0198"]).exits(2);
}

#[test]
fn a_failed_run_says_where_and_what_to_read() {
    let place = Place::new();
    place.file("fails.yaml", FAILS);
    place.aura(&["run", "fails.yaml", "--key", "a"]).exits(1);
    let id = id("fails", "a");
    assert_shown("show_failed", &place, &place.aura(&["show", &id]).exits(0));
    assert_shown("why_failed", &place, &place.aura(&["why", &id]).exits(0));
}

#[test]
fn a_run_that_waits_for_a_signal_names_it() {
    let place = Place::new();
    place.file("waits.yaml", WAITS);
    place.aura(&["run", "waits.yaml", "--key", "a"]).exits(3);
    assert_shown("why_signal", &place, &place.aura(&["why", &id("waits", "a")]).exits(0));
}

#[test]
fn events_are_lines_with_their_place() {
    let (place, id) = tour();
    let all = lines(&place.aura(&["events", &id, "--json"]).exits(0));
    let numbers: Vec<_> = all.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!((&all[0]["type"], &all[0]["stream"]), (&json!("run.started"), &json!(id)));
    assert!(all.iter().all(|event| event["at"].is_i64() && event["data"].is_object()));
    let some =
        lines(&place.aura(&["events", &id, "--json", "--type", "tool", "--from", "20"]).exits(0));
    let wanted = |event: &&Value| {
        event["seq"].as_u64() >= Some(20) && event["type"].as_str().unwrap().starts_with("tool.")
    };
    assert_eq!(some, all.iter().filter(wanted).cloned().collect::<Vec<_>>());
    assert_shown(
        "events",
        &place,
        &place.aura(&["events", &id, "--type", "step.completed"]).exits(0),
    );
    let ended = place.aura(&["events", &id, "--type", "step.complete"]).exits(2);
    assert!(ended.err.contains("did you mean 'step.completed'?"), "{}", ended.err);
}

#[test]
fn a_follower_prints_until_the_run_ends() {
    let (place, id) = tour();
    let mut command = place.command(&["events", &id, "--follow", "--json"]);
    let follower = command.stdout(Stdio::piped()).spawn().unwrap();
    place.aura(&["approve", &id]).exits(0);
    place.aura(&["resume", &id]).exits(0);
    let printed = follower.wait_with_output().unwrap();
    let last = String::from_utf8(printed.stdout).unwrap().lines().last().unwrap().to_owned();
    assert!(printed.status.success());
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["type"], "run.completed");
}

#[test]
fn a_history_is_replayed_step_by_step_and_verified() {
    let (place, id) = tour();
    let ended = place.aura(&["replay", &id, "--verify"]).exits(0);
    assert_shown("replay_verify", &place, &ended);
    let told = place.aura(&["replay", &id, "--verify", "--json"]).exits(0).json();
    assert_eq!((&told["verified"], &told["redecided"]), (&json!(true), &json!(true)));
    let commits = usize::try_from(told["commits"].as_u64().unwrap()).unwrap();
    let records = lines(&place.aura(&["replay", &id, "--json"]).exits(0));
    assert_eq!(records.len(), commits);
    assert_eq!(records.last().unwrap()["state_hash"], told["state"]);
    let verbose = place.aura(&["replay", &id, "--verify", "--verbose"]).exits(0);
    assert_eq!(verbose.out.lines().count(), commits + 1);
    assert_shown("replay", &place, &place.aura(&["replay", &id]).exits(0));
}

#[test]
fn a_state_in_the_middle_of_a_commit_is_shown() {
    let (place, id) = tour();
    assert_shown("replay_to", &place, &place.aura(&["replay", &id, "--to", "12"]).exits(0));
    let told = place.aura(&["replay", &id, "--to", "12", "--json"]).exits(0).json();
    assert_eq!((&told["seq"], &told["vars"]), (&json!(12), &json!({ "total": 0 })));
    let ended = place.aura(&["replay", &id, "--to", "9999"]).exits(2);
    assert!(ended.err.contains("the run has the events 1 to"), "{}", ended.err);
}

#[test]
fn effects_of_all_runs_are_one_list() {
    let (place, id) = tour();
    let told = place.aura(&["effects", "--json"]).exits(0).json();
    let effects = told["effects"].as_array().unwrap();
    assert_eq!(effects.len(), 12);
    assert!(effects.iter().all(|effect| effect["status"] == "succeeded" && effect["run_id"] == id));
    let told = place.aura(&["effects", &id, "--limit", "3", "--json"]).exits(0).json();
    assert_eq!((told["effects"].as_array().unwrap().len(), &told["omitted"]), (3, &json!(true)));
    let ended = place.aura(&["effects", "--in-doubt"]).exits(0);
    assert_eq!(ended.err.trim(), "no effect is in doubt");
    assert_shown("effects", &place, &place.aura(&["effects", "--limit", "2"]).exits(0));
}

#[test]
fn an_effect_in_doubt_is_shown_with_what_to_type() {
    let (place, server) = (Place::new(), Server::new());
    let key = in_doubt(&place, &server, "shown");
    let run = id("post", "shown");
    assert_shown("effects_in_doubt", &place, &place.aura(&["effects", "--in-doubt"]).exits(0));
    assert_shown("why_in_doubt", &place, &place.aura(&["why", &run]).exits(0));
    assert_shown("show_in_doubt", &place, &place.aura(&["show", &run]).exits(0));
    let told = place.aura(&["effects", "--in-doubt", "--json"]).exits(0).json();
    let effect = &told["effects"][0];
    assert_eq!((&effect["status"], &effect["class"]), (&json!("in_doubt"), &json!("irreversible")));
    assert!(effect["commands"][0].as_str().unwrap().contains(&key), "{effect}");
    place.aura(&["effects", "settle", &key, "--retry", "--reason", "they never got it"]).exits(0);
    place.aura(&["resume", &run]).exits(0);
    let told = place.aura(&["effects", &run, "--json"]).exits(0).json();
    let effect = &told["effects"][0];
    assert_eq!((&effect["status"], &effect["attempts"]), (&json!("succeeded"), &json!(2)));
    assert_eq!(effect["settled"]["outcome"], "retry");
    assert_shown("effects_settled", &place, &place.aura(&["effects", &run]).exits(0));
    place.aura(&["replay", &run, "--verify"]).exits(0);
}

#[test]
fn a_run_that_nobody_performs_says_so() {
    let (place, server) = (Place::new(), Server::new());
    let flow = "
flow: get
nodes:
  - id: look
    tool: http.request
    with: { url: 'http://ADDRESS/' }
";
    place.file("get.yaml", &flow.replace("ADDRESS", &server.address.to_string()));
    server.hold(true);
    let allow = server.address.to_string();
    let mut run = place.start(&["run", "get.yaml", "--key", "a", "--allow-net", &allow]);
    until("the request", || !server.requests().is_empty());
    run.kill();
    assert_shown("why_nobody", &place, &place.aura(&["why", &id("get", "a")]).exits(0));
    server.hold(false);
}
