//! `aura diff`: what two runs share, where they part, and what came of it.

use serde_json::{Value, json};

use crate::shown::assert_shown;
use crate::support::{Place, Server};

fn flow(version: &str, greeting: &str) -> String {
    format!(
        "flow: greet
version: '{version}'
nodes:
  - {{ id: read, tool: bench.noop, with: {{ value: '{{{{ input.name }}}}' }} }}
  - {{ id: say, tool: echo, with: {{ value: '{greeting} {{{{ steps.read.output.value }}}}' }} }}
  - {{ id: note, tool: bench.noop, with: {{ value: $steps.say.output.value }} }}
output: $steps.say.output.value
"
    )
}

fn started(place: &Place, file: &str, name: &str) -> String {
    let set = format!("name={name}");
    let run = place.aura(&["run", file, "--set", &set, "--json"]).exits(0).json();
    run["run_id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_fork_with_another_version_shares_its_prefix_and_differs_from_there() {
    let place = Place::new();
    place.file("one.yaml", &flow("1.0.0", "Hello"));
    place.file("two.yaml", &flow("2.0.0", "Goodbye"));
    let a = started(&place, "one.yaml", "Ada");
    let fork = ["fork", &a, "--at", "say", "--flow", "two.yaml", "--effects", "live", "--json"];
    let b = place.aura(&fork).exits(0).json()["run_id"].as_str().expect("an id").to_owned();

    let told = place.aura(&["diff", &a, &b, "--json"]).exits(1).json();
    let shared = told["shared_events"].as_u64().expect("a number");
    assert!(shared > 2, "{told}");
    assert_eq!(told["divergence"]["a"]["step"], "say");
    assert_eq!(
        told["divergence"]["b"]["data"]["work"]["task"]["args"]["json"]["value"],
        "Goodbye Ada"
    );
    assert_eq!(told["a"]["version"], "1.0.0");
    assert_eq!(told["b"]["version"], "2.0.0");
    assert_eq!(
        (&told["a"]["output"], &told["b"]["output"]),
        (&json!("Hello Ada"), &json!("Goodbye Ada"))
    );
    assert_eq!(told["b"]["effects"]["calls"], 1, "the first call was the parent's");
    assert_eq!(told["b"]["forked"]["parent"], json!(a));
    let same = |step: &Value| (step["path"].clone(), step["same"].clone());
    let steps: Vec<_> = told["steps"].as_array().expect("steps").iter().map(same).collect();
    assert_eq!(
        steps,
        [(json!("read"), json!(true)), (json!("say"), json!(false)), (json!("note"), json!(false)),]
    );

    // The commits of what is shared have the same hashes.
    let hashes = |run: &str| {
        let out = place.aura(&["replay", run, "--verify", "-v"]).exits(0).out;
        out.lines().filter(|line| line.starts_with("commit")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, other) = (hashes(&a), hashes(&b));
    let common = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    assert!(common > 0 && one[common - 1].contains(&format!("–{shared} ")), "{one:#?} {other:#?}");
    let mut shown = place.aura(&["diff", &a, &b]).exits(1);
    shown.out = shown.out.replace(&a[..13], "[run of a]").replace(&b[..13], "[run of b]");
    // The widths of columns follow from the times.
    let calm = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    shown.out = shown.out.lines().map(calm).collect();
    assert_shown("diff", &place, &shown);
}

#[test]
fn runs_that_did_the_same_are_the_same_whenever_they_ran() {
    let place = Place::new();
    place.file("one.yaml", &flow("1.0.0", "Hello"));
    let (a, b) = (started(&place, "one.yaml", "Ada"), started(&place, "one.yaml", "Ada"));
    let told = place.aura(&["diff", &a, &b, "--json"]).exits(0).json();
    assert_eq!((&told["same"], &told["shared_events"]), (&json!(true), &json!(0)));
    let c = started(&place, "one.yaml", "Bob");
    let told = place.aura(&["diff", &a, &c, "--json"]).exits(1).json();
    assert_eq!(told["divergence"]["a"]["type"], "run.started");
    place.aura(&["diff", &a, "ffff"]).exits(2);
}

#[test]
fn outcomes_that_a_fork_reused_are_no_difference() {
    let (place, server) = (Place::new(), Server::new());
    let net = server.address.to_string();
    let call = |id: &str| {
        format!(
            "{{ id: {id}, tool: http.request, with: {{ method: POST, url: 'http://{net}/{id}' }} }}"
        )
    };
    place.file("pay.yaml", &format!("flow: pay\nnodes:\n  - {}\n  - {}\n", call("a"), call("b")));
    let run = place.aura(&["run", "pay.yaml", "--allow-net", &net, "--json"]).exits(0).json();
    let id = run["run_id"].as_str().expect("an id");
    let fork = place.aura(&["fork", id, "--at", "b", "--json"]).exits(0).json();
    let told = place.aura(&["diff", id, fork["run_id"].as_str().expect("an id"), "--json"]);
    let told = told.exits(0).json();
    assert_eq!(
        (&told["a"]["effects"]["calls"], &told["b"]["effects"]["reused"]),
        (&json!(2), &json!(1))
    );
}
