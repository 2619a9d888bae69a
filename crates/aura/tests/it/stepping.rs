//! `aura replay --step` and `--all --verify`: a history event by event, and every history of a store.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::shown::assert_shown;
use crate::support::{Ended, Place, id};

const FLOW: &str = "
flow: sums
vars: { total: 0 }
nodes:
  - { id: a, tool: echo, with: { value: 1 } }
  - { id: add, set: { total: '{{ vars.total + steps.a.output.value }}' } }
  - { id: b, tool: bench.noop, with: { value: $vars.total } }
output: $vars.total
";

fn place() -> (Place, String) {
    let place = Place::new();
    place.file("sums.yaml", FLOW);
    place.aura(&["run", "sums.yaml", "--key", "a", "-q"]).exits(0);
    (place, id("sums", "a"))
}

/// Steps through a run as these lines say.
fn steps(place: &Place, args: &[&str], lines: &str) -> Ended {
    let mut command = place.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).expect("it reads");
    drop(input);
    Ended::of(child.wait_with_output().expect("it ends"), args)
}

#[test]
fn a_history_is_gone_through_forwards_and_back() {
    let (place, id) = place();
    let lines = "next\nbreak add\nbreaks\ncontinue\ninspect vars.total\nnext\nback 2\n\ngoto 99\nnext\n\
                 clear\ngoto 1\nback\ninspect nothing.here\nwhat\nhelp\nquit\nnext\n";
    let told = steps(&place, &["replay", &id, "--step"], lines).exits(0);
    assert_shown("replay_step", &place, &told);
}

#[test]
fn stepping_is_for_programs_too_and_the_end_of_input_ends_it() {
    let (place, id) = place();
    let args = ["replay", &id, "--step", "--json"];
    let told = steps(&place, &args, "break run.completed\nc\ni vars.total\n").exits(0);
    let lines: Vec<Value> =
        told.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["seq"], 1);
    let [.., end, value] = &lines[..] else { panic!("{}", told.out) };
    assert_eq!((&end["type"], &end["status"]), (&json!("run.completed"), &json!("completed")));
    assert_eq!(end["changes"].as_array().map(Vec::len), Some(2), "{end}");
    assert_eq!(value["value"], 1);
    // Each state that is stepped to is the one that --to shows.
    let to = place.aura(&["replay", &id, "--to", "1", "--json"]).exits(0).json();
    assert_eq!(to["changes"], lines[0]["changes"]);
    place.aura(&["replay", &id, "--step", "--verify"]).exits(2);
}

#[test]
fn every_run_of_a_store_is_verified() {
    let (place, _) = place();
    for _ in 0..4 {
        place.aura(&["run", "sums.yaml", "-q"]).exits(0);
    }
    let told = place.aura(&["replay", "--all", "--verify", "--json"]).exits(0).json();
    assert_eq!((&told["verified"], &told["steps"]), (&json!(5), &json!(15)));
    assert!(told["steps_per_second"].as_u64().is_some_and(|rate| rate > 0), "{told}");
    let told = place.aura(&["replay", "--all", "--verify", "--where", "status=failed"]).exits(0);
    assert!(told.out.starts_with("verified 0 runs"), "{}", told.out);

    let db = rusqlite::Connection::open(place.data().join("aura.db")).expect("a database");
    db.execute("UPDATE commits SET hash = zeroblob(32) WHERE run = 2 AND seq > 1", [])
        .expect("damage");
    drop(db);
    let told = place.aura(&["replay", "--all", "--verify"]).exits(1);
    assert!(told.out.contains("CHAIN_BROKEN"), "{}", told.out);
    assert!(told.out.contains("verified 4 runs") && told.out.contains("1 run does not hold"));
    place.aura(&["replay", "--all"]).exits(2);
    place.aura(&["replay"]).exits(2);
}
