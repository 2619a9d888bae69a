//! Runs as files: `aura export`, `aura open`, and recorded runs as tests of a flow.

use serde_json::json;

use crate::support::{Place, Server, id};

const FLOW: &str = "
flow: greet
nodes:
  - { id: read, tool: bench.noop, with: { value: '{{ input.name }}' } }
  - { id: say, tool: echo, with: { value: 'Hello {{ steps.read.output.value }}' } }
output: $steps.say.output.value
";

fn place() -> (Place, String) {
    let place = Place::new();
    place.file("greet.yaml", FLOW);
    place.aura(&["run", "greet.yaml", "--key", "a", "--set", "name=Ada", "-q"]).exits(0);
    (place, id("greet", "a"))
}

#[test]
fn a_run_is_carried_to_somebody_else_and_looked_at_there() {
    let (place, id) = place();
    place.aura(&["export", &id, "-o", "one.aura"]).exits(0);
    let other = Place::new();
    std::fs::copy(place.work().join("one.aura"), other.work().join("one.aura")).expect("a file");

    let shown = other.aura(&["open", "one.aura"]).exits(0);
    assert!(shown.out.contains(&format!("run {id}")) && shown.out.contains("Hello Ada"));
    assert!(shown.err.contains("verified: one.aura"), "{}", shown.err);
    let theirs = other.aura(&["open", "one.aura", "events", "--json"]).exits(0).out;
    assert_eq!(theirs, place.aura(&["events", &id, "--json"]).exits(0).out);
    let told = other.aura(&["--json", "open", "one.aura", "replay", "--verify"]).exits(0).json();
    assert_eq!(told["run_id"], json!(id));
    assert!(!other.data().exists(), "no store was needed, and none was made");

    other.aura(&["open", "one.aura", "cancel"]).exits(2);
    other.aura(&["open", "one.aura", "events", "--nonsense"]).exits(2);
    other.aura(&["open", "none.aura"]).exits(2);
    let text = std::fs::read_to_string(other.work().join("one.aura")).expect("a file");
    let hash = text.rfind("\"hash\":\"").expect("a hash") + 8;
    let turned = if &text[hash..=hash] == "0" { "1" } else { "0" };
    let changed = format!("{}{turned}{}", &text[..hash], &text[hash + 1..]);
    other.file("changed.aura", &changed);
    other.aura(&["open", "changed.aura"]).exits(2);
    // What stands in the file to be read is what was verified.
    other.file("told.aura", &text.replacen("Hello Ada", "Hello Eve", 1));
    let refused = other.aura(&["open", "told.aura"]).exits(2);
    let line = 1 + text.lines().position(|line| line.contains("Hello Ada")).expect("a line");
    assert!(refused.err.contains(&format!("line {line}: run {id}")), "{}", refused.err);
    assert!(refused.err.contains("aura export RUN -o FILE"), "{}", refused.err);
    other.file("cut.aura", &text[..text.len() / 2]);
    other.aura(&["open", "cut.aura"]).exits(2);
}

#[test]
fn a_fork_is_carried_with_what_it_shares() {
    let (place, id) = place();
    let fork = place.aura(&["fork", &id, "--at", "say", "--json"]).exits(0).json();
    let fork = fork["run_id"].as_str().expect("an id");
    place.aura(&["export", fork]).exits(0);
    let file = format!("{}.aura", &fork[..13]);
    let told = place.aura(&["open", &file, "--json"]).exits(0).json();
    assert_eq!((&told["run_id"], &told["output"]), (&json!(fork), &json!("Hello Ada")));
}

#[test]
fn a_recorded_run_tests_its_flow() {
    let (place, id) = place();
    place.aura(&["test"]).exits(2);
    place.aura(&["test", "record", &id, "--flow", "greet.yaml", "--name", "ada"]).exits(0);
    assert!(place.work().join("greet.tests/ada.aura").exists());
    // Tests need no store: they are files beside the flow.
    std::fs::remove_dir_all(place.data()).expect("a folder");
    let told = place.aura(&["test"]).exits(0);
    assert!(told.out.contains("greet.yaml ada") && told.out.contains("1 passed"), "{}", told.out);
    assert!(!place.data().exists());

    place.file("greet.yaml", &FLOW.replace("Hello", "Goodbye"));
    let told = place.aura(&["test", "greet.yaml"]).exits(1);
    assert!(told.out.contains("FAILED greet.yaml ada"), "{}", told.out);
    assert!(told.out.contains("\"Hello Ada\" → \"Goodbye Ada\""), "{}", told.out);
    let told = place.aura(&["test", ".", "--json"]).exits(1).json();
    assert_eq!((&told["failed"], &told["tests"][0]["verdict"]), (&json!(1), &json!("different")));

    place.file("greet.yaml", "flow: greet\nnodes: [{ id: a, tool: nothing }]\n");
    let told = place.aura(&["test"]).exits(1);
    assert!(told.out.contains("the flow does not load"), "{}", told.out);
    place.aura(&["test", "record", &id, "--flow", "greet.yaml", "--name", "../x"]).exits(2);
}

#[test]
fn a_test_that_can_not_be_tried_fails_by_its_name() {
    let (place, id) = place();
    for name in ["ada", "bob"] {
        place.aura(&["test", "record", &id, "--flow", "greet.yaml", "--name", name]).exits(0);
    }
    place.file("greet.tests/bad.aura", "no run\n");
    let told = place.aura(&["test"]).exits(1).out;
    assert!(told.contains("FAILED ./greet.yaml bad"), "{told}");
    assert!(told.contains("3 tests: 2 passed, 1 failed"), "{told}");
    let told = place.aura(&["test", "greet.yaml", "--json"]).exits(1).json();
    assert_eq!((&told["passed"], &told["failed"]), (&json!(2), &json!(1)));
    std::fs::remove_file(place.work().join("greet.tests/bad.aura")).expect("a file");
    std::fs::remove_file(place.work().join("greet.yaml")).expect("a file");
    let told = place.aura(&["test"]).exits(1).out;
    assert!(told.contains("its flow is gone: ./greet.yaml"), "{told}");
    assert!(told.contains("2 tests: 0 passed, 2 failed"), "{told}");
    place.file("a/b/c/d/e/f/g/h/i/notes.txt", "deep");
    let told = place.aura(&["test"]).exits(1);
    assert!(told.err.contains("1 folder deeper than 8"), "{}", told.err);
}

#[test]
fn a_file_is_looked_at_with_the_flags_that_were_given() {
    let (place, id) = place();
    place.aura(&["export", &id, "-o", "run.aura"]).exits(0);
    let told = place.aura(&["--color", "always", "-q", "open", "run.aura", "show"]).exits(0);
    assert!(told.out.contains("\x1b[32m") && told.err.is_empty(), "{}{}", told.out, told.err);
    let told = place.aura(&["open", "run.aura", "show"]).exits(0);
    assert!(!told.out.contains('\x1b') && told.err.contains("verified"), "{}", told.out);
    let told = place.aura(&["--json", "open", "run.aura", "show", "--nothing"]).exits(2).json();
    assert_eq!(told["error"]["code"], "USAGE");
}

#[test]
fn a_saved_flow_goes_on_from_where_it_changed() {
    let (place, server) = (Place::new(), Server::new());
    let net = server.address.to_string();
    let flow = |greeting: &str| {
        format!(
            "flow: watch
nodes:
  - {{ id: pay, tool: http.request, with: {{ method: POST, url: 'http://{net}/pay' }} }}
  - {{ id: say, tool: echo, with: {{ value: {greeting} }} }}
output: $steps.say.output.value
"
        )
    };
    place.file("watch.yaml", &flow("one"));
    let mut watching = place.start(&["run", "watch.yaml", "--allow-net", &net, "--watch"]);
    watching.prints("watching watch.yaml");
    place.file("watch.yaml", "flow: watch\nnodes: [{ id: a, tool: nothing }]\n");
    watching.prints("nothing");
    place.file("watch.yaml", &flow("two"));
    watching.prints("what changed");
    watching.prints("\"one\" → \"two\"");
    place.file("watch.yaml", &format!("# a remark\n{}", flow("two")));
    watching.prints("would do the same");
    watching.signal("INT");
    watching.exits(0);
    assert_eq!(server.requests().len(), 1, "what was recorded is not done again");
    let runs = place.aura(&["runs", "--json"]).exits(0).json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2));
}
