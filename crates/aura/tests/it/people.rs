//! What other terminals do to a run: through the owner's socket, or when nobody owns the store.

use serde_json::json;

use crate::support::{Place, id, until};

/// Waits that are given up some day.
const PEOPLE: &str = "
flow: people
nodes:
  - { id: go, wait: { signal: go, timeout: 24h } }
  - { id: ask, approval: { message: \"Really?\", expires: 24h } }
output: { went: $steps.go.output, by: $steps.ask.output.actor }
";

const ALONE: &str = "
flow: alone
nodes:
  - { id: go, wait: { signal: go } }
  - { id: ask, approval: { message: \"Really?\" } }
  - { id: also, after: [go], approval: { message: \"Also?\" } }
output: $steps.ask.output.reason
";

#[test]
fn a_second_terminal_signals_and_approves() {
    let place = Place::new();
    place.file("people.yaml", PEOPLE);
    let mut first = place.start(&["run", "people.yaml", "--key", "k", "--stay"]);
    let run = id("people", "k");
    first.prints(&format!("next: aura signal {run} go"));
    let args = ["signal", &run, "go", "--payload", "{\"amount\": 3}", "--id", "s1", "--json"];
    let told = place.aura(&args).exits(0).json();
    assert_eq!(told["performed"], true);
    let told = place.aura(&args).exits(0).json();
    assert_eq!(told["already"], true, "the same signal counts once");
    first.prints(&format!("next: aura approve {run} ask"));
    let ended = place.aura(&["approve", &run, "--reason", "fine"]).exits(0);
    assert!(!ended.out.contains("resume"), "somebody performs it: {}", ended.out);
    let printed = first.exits(0);
    assert!(printed.contains("approval.granted ask by local:ada: fine"), "{printed}");
    assert!(printed.contains("\"amount\": 3"), "{printed}");
}

#[test]
fn a_second_terminal_cancels() {
    let place = Place::new();
    place.file("people.yaml", PEOPLE);
    let mut first = place.start(&["run", "people.yaml", "--key", "k", "--stay"]);
    first.prints("step.started go");
    place.aura(&["cancel", &id("people", "k"), "--reason", "enough"]).exits(0);
    let printed = first.exits(1);
    assert!(printed.contains("run.cancelled"), "{printed}");
}

#[test]
fn without_an_owner_inputs_are_kept_until_somebody_resumes() {
    let place = Place::new();
    place.file("alone.yaml", ALONE);
    let run = id("alone", "k");
    let ended = place.aura(&["run", "alone.yaml", "--key", "k"]).exits(3);
    assert!(ended.out.contains(&format!("next: aura signal {run} go")), "{}", ended.out);
    let ended = place.aura(&["approve", &run]).exits(2);
    assert!(ended.err.contains("NOT_WAITING"), "{}", ended.err);
    let ended = place.aura(&["signal", &run, "go"]).exits(0);
    assert!(ended.out.contains(&format!("next: aura resume {run}")), "{}", ended.out);
    let ended = place.aura(&["approve", &run]).exits(2);
    assert!(ended.err.contains("ask") && ended.err.contains("also"), "{}", ended.err);
    place.aura(&["approve", &run, "also"]).exits(0);
    place.aura(&["approve", &run, "--reason", "because"]).exits(0);
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    assert_eq!(told["output"], json!("because"));
}

#[test]
fn nobody_waits_for_a_person_where_nobody_can_answer() {
    let place = Place::new();
    place.file("people.yaml", PEOPLE);
    let (run, quiet) = (id("people", "k"), id("people", "q"));
    let ended = place.aura(&["run", "people.yaml", "--key", "k"]).exits(3);
    assert!(ended.out.contains(&format!("next: aura signal {run} go")), "{}", ended.out);
    place.aura(&["run", "people.yaml", "--key", "q", "-q"]).exits(3);
    for run in [&run, &quiet] {
        place.aura(&["signal", run, "go"]).exits(0);
    }
    let told = place.aura(&["resume", &run, "--json"]).exits(3).json();
    assert_eq!(told["needs"][0]["kind"], "approval");
    place.aura(&["resume", "--all"]).exits(3);
    for run in [&run, &quiet] {
        place.aura(&["approve", run]).exits(0);
    }
    place.aura(&["resume", "--all"]).exits(0);
}

#[test]
fn what_goes_on_beside_a_wait_is_seen_to_its_end() {
    let place = Place::new();
    let text = "
flow: beside
deadline: 24h
nodes:
  - { id: ask, approval: { message: \"Really?\", expires: 24h } }
  - { id: nap, after: [], sleep: 300ms }
  - { id: said, after: [nap], set: { done: true } }
";
    place.file("beside.yaml", text);
    let told = place.aura(&["run", "beside.yaml", "--json"]).exits(3).json();
    let shown = place.aura(&["show", told["run_id"].as_str().expect("an id")]).exits(0);
    assert!(shown.out.contains("✓ said"), "{}", shown.out);
}

#[test]
fn what_a_cancellation_stopped_is_not_running() {
    let place = Place::new();
    place.file("nap.yaml", "flow: nap\nnodes: [{ id: n, sleep: 1h }, { id: m, sleep: 1h }]\n");
    let run = id("nap", "k");
    let mut first = place.start(&["run", "nap.yaml", "--key", "k"]);
    first.prints("timer.set n");
    place.aura(&["cancel", &run]).exits(0);
    first.exits(1);
    let told = place.aura(&["show", &run]).exits(0).out;
    assert!(told.contains("■ n") && told.contains("stopped"), "{told}");
    assert!(!told.contains("running"), "{told}");
    let told = place.aura(&["show", &run, "--json"]).exits(0).json();
    assert_eq!(told["steps"][0]["status"], "stopped");
}

#[test]
fn whoever_says_yes_first_is_told_that_another_must() {
    let place = Place::new();
    let text = "flow: two\nnodes: [{ id: ask, approval: { message: \"Ok?\", quorum: 2 } }]\n";
    place.file("two.yaml", text);
    let run = id("two", "k");
    place.aura(&["run", "two.yaml", "--key", "k"]).exits(3);
    let told = place.aura(&["approve", &run]).exits(0).out;
    assert!(told.contains("it needs 1 more person"), "{told}");
    assert!(told.contains(&format!("next: aura approve {run} ask")), "{told}");
    let told = place.aura(&["approve", &run, "--actor", "bob"]).exits(0).out;
    assert!(!told.contains("next:"), "the run has ended: {told}");
}

#[test]
fn a_denial_fails_the_run() {
    let place = Place::new();
    place.file("deny.yaml", "flow: deny\nnodes: [{ id: ask, approval: { message: \"Ok?\" } }]\n");
    let told = place.aura(&["run", "deny.yaml", "--key", "k", "--json"]).exits(3).json();
    assert_eq!(told["needs"][0]["kind"], "approval");
    place.aura(&["deny", &id("deny", "k"), "--reason", "too dear"]).exits(0);
    let told = place.aura(&["resume", &id("deny", "k"), "--json"]).exits(1).json();
    assert_eq!(told["error"]["code"], "APPROVAL_DENIED");
}

#[test]
fn yes_grants_and_says_who() {
    let place = Place::new();
    place.file("people.yaml", PEOPLE);
    let mut first = place.start(&["run", "people.yaml", "--key", "k", "--yes", "--stay"]);
    first.prints("step.started go");
    place.aura(&["signal", &id("people", "k"), "go"]).exits(0);
    let printed = first.exits(0);
    assert!(printed.contains("approval.granted ask by local:ada: --yes"), "{printed}");
}

#[test]
fn who_waits_takes_the_place_of_an_owner_that_is_gone() {
    let place = Place::new();
    place.file("people.yaml", PEOPLE);
    place.file("nap.yaml", "flow: nap\nnodes: [{ id: nap, sleep: 2s }]\n");
    let mut owner = place.start(&["run", "people.yaml", "--key", "owner", "--stay"]);
    owner.prints("step.started go");
    let mut other = place.start(&["run", "people.yaml", "--key", "other", "--stay"]);
    let mut nap = place.start(&["run", "nap.yaml", "--key", "nap"]);
    other.prints("step.started go");
    nap.prints("timer.set nap");
    owner.kill();
    nap.exits(0);
    // The signal finds whichever of the two took the lock, or takes it for that moment.
    place.aura(&["signal", &id("people", "other"), "go"]).exits(0);
    other.prints("approval.requested");
    place.aura(&["approve", &id("people", "other")]).exits(0);
    other.exits(0);
    assert_eq!(place.aura(&["resume", &id("people", "owner"), "--help"]).code, Some(0));
}

#[test]
fn a_detached_run_ends_by_itself() {
    let place = Place::new();
    place.file("nap.yaml", "flow: nap\nnodes: [{ id: nap, sleep: 700ms }]\noutput: done\n");
    let ended = place.aura(&["run", "nap.yaml", "--key", "k", "--detach"]).exits(0);
    assert_eq!(ended.out, format!("{}\n", id("nap", "k")));
    let more = place.aura(&["run", "nap.yaml", "--key", "l", "--detach", "--json"]).exits(0);
    assert_eq!(more.json()["run_id"], id("nap", "l"));
    // Looked at without becoming the owner: the process in the background leaves by itself.
    let lock = place.data().join("aura.lock");
    until("the end of the process in the background", || {
        std::fs::metadata(&lock).is_ok_and(|meta| meta.len() == 0)
    });
    for key in ["k", "l"] {
        let told = place.aura(&["resume", &id("nap", key), "--json"]).exits(0).json();
        assert_eq!(told["output"], "done");
    }
    assert!(!place.data().join("aura.sock").exists(), "its socket is gone");
}

#[test]
fn a_detached_run_outlives_an_owner_in_the_foreground() {
    let place = Place::new();
    place.file("people.yaml", PEOPLE);
    place.file("nap.yaml", "flow: nap\nnodes: [{ id: nap, sleep: 2s }]\noutput: done\n");
    let mut owner = place.start(&["run", "people.yaml", "--key", "owner", "--stay"]);
    owner.prints("step.started go");
    place.aura(&["run", "nap.yaml", "--key", "k", "--detach"]).exits(0);
    place.aura(&["cancel", &id("people", "owner")]).exits(0);
    owner.exits(1);
    let lock = place.data().join("aura.lock");
    until("the end of the process in the background", || {
        std::fs::metadata(&lock).is_ok_and(|meta| meta.len() == 0)
    });
    let told = place.aura(&["resume", &id("nap", "k"), "--json"]).exits(0).json();
    assert_eq!((&told["output"], &told["steps"]), (&json!("done"), &json!(1)));
}

#[test]
fn a_long_path_puts_the_socket_elsewhere() {
    let place = Place::new();
    place.file("people.yaml", PEOPLE);
    let long = place.data().join("x".repeat(120));
    let long = long.to_str().expect("text");
    let mut first =
        place.start(&["--data-dir", long, "run", "people.yaml", "--key", "k", "--stay"]);
    first.prints("step.started go");
    place.aura(&["--data-dir", long, "cancel", &id("people", "k")]).exits(0);
    first.exits(1);
}
