//! `aura flows`: deployed versions, runs by name, and the open runs that a new version would break.

use serde_json::json;

use crate::support::{Place, files};

fn flow(version: &str, greeting: &str, end: &str) -> String {
    format!(
        "flow: greet
version: '{version}'
nodes:
  - {{ id: say, tool: echo, with: {{ value: '{greeting} {{{{ input.name }}}}' }} }}
  - {{ id: paid, wait: {{ signal: paid }} }}
  - {{ id: note, tool: bench.noop, with: {{ value: {end} }} }}
output: $steps.say.output.value
"
    )
}

#[test]
fn a_version_is_deployed_once_and_runs_start_from_it_by_name() {
    let place = Place::new();
    let none = place.aura(&["flows"]).exits(0);
    assert!(none.err.contains("no flow is deployed"), "{}", none.err);
    place.aura(&["run", "greet", "--set", "name=Ada"]).exits(2);
    place.file("one.yaml", &flow("1.0.0", "Hello", "done"));
    let told = place.aura(&["flows", "deploy", "one.yaml"]).exits(0);
    assert!(told.out.starts_with("deployed greet 1.0.0"), "{}", told.out);
    let again = place.aura(&["flows", "deploy", "one.yaml", "--json"]).exits(0).json();
    assert_eq!((&again["already"], &again["version"]), (&json!(true), &json!("1.0.0")));

    place.file("other.yaml", &flow("1.0.0", "Hi", "done"));
    let refused = place.aura(&["flows", "deploy", "other.yaml"]).exits(2);
    assert!(refused.err.contains("CONFLICT") && refused.err.contains("a new version"));
    place.file("bare.yaml", "flow: bare\nnodes: [{ id: a, tool: echo }]\n");
    let refused = place.aura(&["flows", "deploy", "bare.yaml"]).exits(2);
    assert!(refused.err.contains("does not say its version"), "{}", refused.err);

    place.file("child.yaml", "flow: child\nnodes: [{ id: a, tool: echo, with: { value: 1 } }]\n");
    let parent = "flow: parent\nversion: '1'\nnodes: [{ id: c, flow: { file: child.yaml } }]\n";
    place.file("parent.yaml", parent);
    place.aura(&["flows", "deploy", "parent.yaml"]).exits(0);
    let named = |(_, bytes): &(_, Vec<u8>)| String::from_utf8_lossy(bytes).contains("child.yaml");
    let files = files(&place.data().join("flows"));
    let (path, bytes) = files.iter().find(|file| named(file)).expect("a file");
    let text = String::from_utf8_lossy(bytes).replace("value: 1", "value: 2");
    std::fs::write(path, text).expect("a file");
    let refused = place.aura(&["run", "parent"]).exits(4);
    assert!(refused.err.contains("not what was deployed"), "{}", refused.err);
    std::fs::remove_file(path).expect("a file");

    std::fs::remove_file(place.work().join("one.yaml")).expect("a file");
    let run = place.aura(&["run", "greet", "--set", "name=Ada", "--json"]).exits(3).json();
    place.file("two.yaml", &flow("2.0.0", "Good day", "done"));
    place.aura(&["flows", "deploy", "two.yaml"]).exits(0);
    let told = place.aura(&["flows", "--json"]).exits(0).json();
    let version = |place: usize| {
        let version = &told["flows"][place];
        json!([version["version"], version["in_force"], version["open_runs"]])
    };
    assert_eq!((version(0), version(1)), (json!(["1.0.0", false, 1]), json!(["2.0.0", true, 0])));
    let shown = place.aura(&["flows"]).exits(0).out;
    assert!(shown.contains("in force") && shown.lines().count() == 3, "{shown}");

    // What began with a version ends with it.
    let id = run["run_id"].as_str().expect("an id");
    place.aura(&["signal", id, "paid"]).exits(0);
    let ended = place.aura(&["resume", id, "--json"]).exits(0);
    assert!(ended.out.contains("Hello Ada"), "{}", ended.out);
}

#[test]
fn an_older_version_is_put_back_in_force() {
    let place = Place::new();
    place.file("one.yaml", &flow("1.0.0", "Hello", "done"));
    place.file("two.yaml", &flow("2.0.0", "Good day", "done"));
    let deploy = |file: &str| place.aura(&["flows", "deploy", file]).exits(0).out;
    let greeting = || {
        let run = place.aura(&["run", "greet", "--set", "name=Ada", "--json"]).exits(3).json();
        let events = ["events", run["run_id"].as_str().expect("an id"), "--json"];
        let told = place.aura(&events).exits(0).out;
        if told.contains("Hello Ada") { "1.0.0" } else { "2.0.0" }
    };
    deploy("one.yaml");
    deploy("two.yaml");
    assert_eq!(greeting(), "2.0.0");
    assert!(deploy("two.yaml").starts_with("in force already: greet 2.0.0"));
    assert!(deploy("one.yaml").starts_with("in force again: greet 1.0.0"));
    assert_eq!(greeting(), "1.0.0");
    let told = place.aura(&["flows", "--json"]).exits(0).json();
    assert_eq!(told["flows"][1]["version"], "1.0.0");
    assert_eq!(told["flows"][1]["in_force"], true);
    assert_eq!(told["flows"][1]["again"]["actor"], "local:ada");
    deploy("two.yaml");
    assert_eq!(greeting(), "2.0.0");
    // A copy keeps which is in force.
    deploy("one.yaml");
    let copy = place.work().join("copy");
    let copy = copy.to_str().expect("text");
    place.aura(&["store", "backup", copy]).exits(0);
    let told = place.aura(&["flows", "--json", "--data-dir", copy]).exits(0).json();
    assert_eq!(
        (&told["flows"][1]["version"], &told["flows"][1]["in_force"]),
        (&json!("1.0.0"), &json!(true))
    );
}

#[test]
fn with_strict_nothing_is_deployed_that_breaks_a_run() {
    let place = Place::new();
    place.file("one.yaml", &flow("1.0.0", "Hello", "done"));
    place.file("two.yaml", &flow("2.0.0", "Goodbye", "done"));
    place.aura(&["flows", "deploy", "one.yaml", "--strict"]).exits(0);
    place.aura(&["run", "greet", "--set", "name=Ada"]).exits(3);
    let told = place.aura(&["flows", "deploy", "two.yaml", "--strict"]).exits(1);
    assert!(told.out.starts_with("not deployed: greet 2.0.0"), "{}", told.out);
    assert!(told.out.contains("1 open run would break"), "{}", told.out);
    let told = place.aura(&["flows", "deploy", "two.yaml", "--strict", "--json"]).exits(1).json();
    assert_eq!(
        (&told["deployed"], &told["pinned"][0]["verdict"]),
        (&json!(false), &json!("different"))
    );
    let told = place.aura(&["flows", "--json"]).exits(0).json();
    assert_eq!(told["flows"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_gate_names_the_open_runs_that_a_new_version_would_break() {
    let place = Place::new();
    place.file("one.yaml", &flow("1.0.0", "Hello", "done"));
    let run = place.aura(&["run", "one.yaml", "--set", "name=Ada", "--json"]).exits(3).json();
    // What lies ahead of the run may change.
    place.file("later.yaml", &flow("1.1.0", "Hello", "over"));
    let told = place.aura(&["flows", "deploy", "later.yaml", "--gate"]).exits(0);
    assert!(told.out.contains("no open run would have done anything else"), "{}", told.out);
    place.file("two.yaml", &flow("2.0.0", "Goodbye", "done"));
    let told = place.aura(&["flows", "deploy", "two.yaml", "--gate", "--json"]).exits(0).json();
    let pinned = &told["pinned"][0];
    assert_eq!((&pinned["run_id"], &pinned["verdict"]), (&run["run_id"], &json!("different")));
    assert_eq!(pinned["divergence"]["b"]["step"], "say");
    let shown = place.aura(&["flows", "deploy", "two.yaml", "--gate"]).exits(0).out;
    assert!(
        shown.contains("pinned to") && shown.contains("1 open run keeps its version"),
        "{shown}"
    );
    let id = run["run_id"].as_str().expect("an id");
    place.aura(&["signal", id, "paid"]).exits(0);
    let ended = place.aura(&["resume", id, "--json"]).exits(0);
    assert!(ended.out.contains("Hello Ada"), "{}", ended.out);
}
