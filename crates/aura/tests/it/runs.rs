//! Running, resuming, keys, exit codes.

use serde_json::json;

use crate::support::{Place, id};

const HELLO: &str = "
flow: hello
input: { type: object, properties: { name: { type: string } } }
nodes:
  - { id: greet, tool: echo, with: { value: \"Hello, {{ input.name | default('world') }}!\" } }
  - { id: never, when: false, tool: bench.noop }
output: $steps.greet.output.value
";

const NAP: &str = "
flow: nap
nodes:
  - { id: before, tool: echo, with: { value: 1 } }
  - { id: nap, sleep: 1500ms }
  - { id: after, tool: echo, with: { value: 2 } }
";

#[test]
fn a_run_prints_a_line_for_each_fact() {
    let place = Place::new();
    place.file("hello.yaml", HELLO);
    let ended = place.aura(&["run", "hello.yaml", "--set", "name=Ada"]).exits(0);
    insta::with_settings!({filters => vec![
        (r"\d\d:\d\d:\d\d\.\d{3}", "[time]"),
        (r"[0-9a-f]{8}-[0-9a-f-]{27}", "[run]"),
        (r"\d+(\.\d)? m?s\b", "[span]"),
    ]}, {
        insta::assert_snapshot!(ended.out, @r#"
        [time] run.started hello 798ac8ea3e541e5a
        [time] step.started greet echo
        [time] step.completed greet [span]
        [time] step.skipped never its condition does not hold
        completed [run] in [span]
        "Hello, Ada!"
        "#);
    });
    let told = format!("runs are kept in {}\n", place.data().display());
    assert_eq!(ended.err, told, "where runs are kept is said when the place is made");
    assert_eq!(place.aura(&["run", "hello.yaml"]).exits(0).err, "", "and only then");
}

#[test]
fn json_is_one_document_with_stable_names() {
    let place = Place::new();
    place.file("hello.yaml", HELLO);
    let mut told = place.aura(&["run", "hello.yaml", "--key", "k", "--json"]).exits(0).json();
    assert!(told["duration_ms"].take().is_u64());
    let expected = json!({
        "run_id": id("hello", "k"), "flow": "hello", "status": "completed",
        "output": "Hello, world!", "error": null, "duration_ms": null,
        "saga": null, "steps": 2, "events": 6, "needs": [],
    });
    assert_eq!(told, expected);
}

#[test]
fn a_failed_run_exits_1_and_says_why() {
    let place = Place::new();
    place.file(
        "f.yaml",
        "flow: f\nnodes: [{ id: no, tool: fail, with: { code: CONFLICT, message: taken } }]\n",
    );
    let told = place.aura(&["run", "f.yaml", "--json"]).exits(1).json();
    assert_eq!(told["status"], "failed");
    assert_eq!(told["error"]["code"], "CONFLICT");
    assert_eq!(told["error"]["step"], "no");
    let ended = place.aura(&["run", "f.yaml"]).exits(1);
    assert!(ended.out.contains("aura explain CONFLICT"), "{}", ended.out);
}

#[test]
fn what_can_not_start_exits_2_and_leaves_no_run() {
    let place = Place::new();
    place.file("hello.yaml", HELLO);
    place.file("broken.yaml", "flow: b\nnodes: [{ id: a, tool: ecko, with: { value: 1 } }]\n");
    let ended = place.aura(&["run", "broken.yaml"]).exits(2);
    assert!(ended.err.contains("did you mean 'echo'"), "{}", ended.err);
    assert!(ended.err.contains("broken.yaml:2:"), "{}", ended.err);
    let told = place.aura(&["run", "broken.yaml", "--json"]).exits(2).json();
    assert_eq!(told["error"]["code"], "FLOW_INVALID");
    for (args, says) in [
        (vec!["run", "hello.yaml", "--input", "{\"name\": 1}"], "/name"),
        (vec!["run", "hello.yaml", "--input", "{"], "not JSON"),
        (vec!["run", "hello.yaml", "--set", "name"], "--set"),
        (vec!["run", "hello.yaml", "--label", "x"], "--label"),
        (vec!["run", "hello.yaml", "--root", "nowhere"], "--root"),
        (vec!["run", "missing.yaml"], "missing.yaml"),
        (vec!["resume", "0190"], "no store"),
    ] {
        let ended = place.aura(&args).exits(2);
        assert!(ended.err.contains(says), "{args:?}: {}", ended.err);
    }
    assert!(!place.data().exists(), "nothing was made for a run that did not start");
}

#[test]
fn a_store_that_can_not_be_used_exits_4() {
    let place = Place::new();
    place.file("hello.yaml", HELLO);
    std::fs::create_dir(place.data()).expect("a folder");
    std::fs::write(place.data().join("aura.db"), vec![7; 8192]).expect("a file");
    let ended = place.aura(&["run", "hello.yaml"]).exits(4);
    assert!(ended.err.contains("error[STORE_"), "{}", ended.err);
    let told = place.aura(&["run", "hello.yaml", "--detach", "--json"]).exits(4).json();
    assert!(told["error"]["code"].as_str().is_some_and(|code| code.starts_with("STORE_")));
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let place = Place::new();
    place.file("nap.yaml", NAP);
    let mut first = place.start(&["run", "nap.yaml", "--key", "k"]);
    first.prints("timer.set nap");
    first.kill();
    let run = id("nap", "k");
    let ended = place.aura(&["resume", &run[..12]]).exits(0);
    assert!(!ended.out.contains("before"), "what was done is not done again: {}", ended.out);
    assert!(ended.out.contains("step.completed after"), "{}", ended.out);
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    assert_eq!(told["output"], json!({ "value": 2 }));
    assert_eq!(told["steps"], 3);
}

#[test]
fn a_key_names_one_run() {
    let place = Place::new();
    place.file("hello.yaml", HELLO);
    let args = |name| ["run", "hello.yaml", "--key", "k", "--json", "--set", name];
    let first = place.aura(&args("name=Ada")).exits(0).json();
    let again = place.aura(&args("name=Ada")).exits(0).json();
    assert_eq!(first, again);
    let other = place.aura(&args("name=Bob")).exits(2).json();
    assert_eq!(other["error"]["code"], "KEY_CONFLICT");
}

#[test]
fn ctrl_c_drains_and_says_how_to_go_on() {
    let place = Place::new();
    place.file("nap.yaml", &NAP.replace("1500ms", "1h"));
    for signal in ["INT", "TERM"] {
        let mut first = place.start(&["run", "nap.yaml", "--key", signal]);
        first.prints("timer.set nap");
        first.signal(signal);
        let printed = first.exits(3);
        let next = format!("next: aura resume {}", id("nap", signal));
        assert!(printed.contains(&next), "{printed}");
    }
    let mut second = place.start(&["resume", "--all"]);
    second.prints("run ");
    second.signal("INT");
    second.exits(3);
}

#[test]
fn all_unfinished_runs_are_resumed_together() {
    let place = Place::new();
    place.file("nap.yaml", NAP);
    for key in ["a", "b", "c"] {
        let mut first = place.start(&["run", "nap.yaml", "--key", key]);
        first.prints("timer.set nap");
        first.kill();
    }
    place.file("hello.yaml", HELLO);
    let ended = place.aura(&["run", "hello.yaml"]).exits(0);
    assert!(ended.err.contains("3 other runs are unfinished"), "{}", ended.err);
    let told = place.aura(&["resume", "--all", "--json"]).exits(0).json();
    let runs = told["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 3);
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{told}");
    let told = place.aura(&["resume", "--all", "--json"]).exits(0).json();
    assert_eq!(told, json!({ "runs": [] }));
}

#[test]
fn a_prefix_that_fits_several_runs_lists_them() {
    let place = Place::new();
    place.file("hello.yaml", HELLO);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let told = place.aura(&["run", "hello.yaml", "--json"]).exits(0).json();
        ids.push(told["run_id"].as_str().expect("an id").to_owned());
    }
    // Ids begin with the time, so that two runs of one minute share their first digits.
    let ended = place.aura(&["cancel", &ids[0][..4]]).exits(2);
    assert!(ended.err.contains("AMBIGUOUS_ID"), "{}", ended.err);
    assert!(ids.iter().all(|id| ended.err.contains(id)), "{}", ended.err);
    let ended = place.aura(&["cancel", &ids[0]]).exits(2);
    assert!(ended.err.contains("RUN_CLOSED"), "{}", ended.err);
}
