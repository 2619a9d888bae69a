//! Child runs, runs that go on anew, and the state of a run, by the real binary.

use serde_json::{Value, json};

use crate::support::Place;

const CHILD: &str = r#"
flow: child
input: { type: object, required: [n], properties: { n: { type: integer } } }
nodes:
  - id: ask
    when: "{{ input.n > 1 }}"
    approval: { message: "may {{ input.n }}?" }
  - { id: twice, tool: echo, with: { value: "{{ input.n * 2 }}" } }
output: $steps.twice.output.value
"#;

const PARENT: &str = r"
flow: parent
input: { type: object, required: [n], properties: { n: { type: integer } } }
nodes:
  - { id: sub, flow: { file: parts/child.yaml, input: { n: $input.n } } }
output: { of: $steps.sub.output }
";

fn family() -> Place {
    let place = Place::new();
    place.file("parent.yaml", PARENT);
    place.file("parts/child.yaml", CHILD);
    place
}

fn children(place: &Place, run: &str) -> Vec<Value> {
    let told = place.aura(&["runs", "--where", &format!("parent={run}"), "--json"]).exits(0).json();
    told["runs"].as_array().unwrap().clone()
}

#[test]
fn a_child_runs_below_its_parent() {
    let place = family();
    let told = place.aura(&["run", "parent.yaml", "--set", "n=1", "--json"]).exits(0).json();
    assert_eq!(told["output"], json!({ "of": 2 }));
    let run = told["run_id"].as_str().unwrap();
    let [child] = &children(&place, run)[..] else { panic!("one child") };
    assert_eq!((&child["parent"], &child["root"]), (&json!(run), &json!(run)));
    let id = child["run_id"].as_str().unwrap();
    let listed = place.aura(&["runs", "--json"]).exits(0).json();
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1, "children are listed when asked for");
    let shown = place.aura(&["show", run]).exits(0);
    assert!(shown.out.contains("children") && shown.out.contains(id), "{}", shown.out);
    let shown = place.aura(&["show", run, "--json"]).exits(0).json();
    assert_eq!(shown["children"][0]["run_id"], id);
    for run in [run, id] {
        place.aura(&["replay", run, "--verify"]).exits(0);
    }
    let plan = place.aura(&["plan", "parent.yaml"]).exits(0);
    assert!(plan.out.contains("twice"), "{}", plan.out);
    // What stands in the files now is not what runs pinned.
    place.file("parts/child.yaml", "flow: other\n");
    place.aura(&["replay", id, "--verify"]).exits(0);
}

#[test]
fn a_tree_waits_and_goes_on_as_a_whole() {
    let place = family();
    let told = place.aura(&["run", "parent.yaml", "--set", "n=2", "--json"]).exits(3).json();
    let run = told["run_id"].as_str().unwrap();
    let [child] = &children(&place, run)[..] else { panic!("one child") };
    let child = child["run_id"].as_str().unwrap();
    let needed = told["needs"][0]["command"].as_str().unwrap();
    assert!(needed.starts_with(&format!("aura approve {child}")), "{needed}");
    let why = place.aura(&["why", run]).exits(0);
    assert!(why.out.contains(&format!("aura approve {child}")), "{}", why.out);
    let refused = place.aura(&["resume", child]).exits(2);
    assert!(refused.err.contains(&format!("aura resume {run}")), "{}", refused.err);
    let approved = place.aura(&["approve", child]).exits(0);
    assert!(approved.out.contains(&format!("aura resume {run}")), "{}", approved.out);
    let told = place.aura(&["resume", run, "--json"]).exits(0).json();
    assert_eq!(told["output"], json!({ "of": 4 }));
    let yes = ["run", "parent.yaml", "--set", "n=3", "--yes", "--json"];
    assert_eq!(place.aura(&yes).exits(0).json()["output"], json!({ "of": 6 }));
}

#[test]
fn a_cancelled_parent_takes_its_children_with_it() {
    let place = family();
    let told = place.aura(&["run", "parent.yaml", "--set", "n=2", "--json"]).exits(3).json();
    let run = told["run_id"].as_str().unwrap();
    place.aura(&["cancel", run]).exits(0);
    assert_eq!(children(&place, run)[0]["status"], "cancelled");
    assert_eq!(place.aura(&["show", run, "--json"]).exits(0).json()["status"], "cancelled");
}

#[test]
fn files_outside_of_the_folder_are_refused() {
    let place = family();
    place.file("deep/flow.yaml", "flow: f\nnodes: [{ id: a, flow: { file: ../parent.yaml } }]\n");
    let ended = place.aura(&["run", "deep/flow.yaml"]).exits(2);
    assert!(ended.err.contains("lies outside"), "{}", ended.err);
    std::os::unix::fs::symlink(
        place.work().join("parent.yaml"),
        place.work().join("deep/link.yaml"),
    )
    .unwrap();
    place.file("deep/flow.yaml", "flow: f\nnodes: [{ id: a, flow: { file: link.yaml } }]\n");
    let ended = place.aura(&["run", "deep/flow.yaml"]).exits(2);
    assert!(ended.err.contains("leads out of the folder"), "{}", ended.err);
    place.file("deep/flow.yaml", "flow: f\nnodes: [{ id: a, flow: { file: /etc/passwd } }]\n");
    place.aura(&["validate", "deep/flow.yaml"]).exits(2);
    place.file("deep/flow.yaml", "flow: f\nnodes: [{ id: a, flow: { file: none.yaml } }]\n");
    place.aura(&["validate", "deep/flow.yaml"]).exits(2);
    place.file("deep/bad.yaml", "flow: bad\nnodes: [{ id: a, tool: ech }]\n");
    place.file("deep/flow.yaml", "flow: f\nnodes: [{ id: a, flow: { file: bad.yaml } }]\n");
    let ended = place.aura(&["validate", "deep/flow.yaml"]).exits(2);
    assert!(
        ended.err.contains("deep/bad.yaml"),
        "the mistake is told with its file: {}",
        ended.err
    );
    // An input that is written out is checked before anything runs.
    place.file("wrong.yaml", "flow: f\nnodes: [{ id: a, flow: { file: parts/child.yaml } }]\n");
    let ended = place.aura(&["validate", "wrong.yaml"]).exits(2);
    assert!(ended.err.contains("required"), "{}", ended.err);
}

#[test]
fn a_run_that_goes_on_anew_is_followed_to_its_last() {
    let place = Place::new();
    place.file(
        "count.yaml",
        "flow: count\nvars: { n: \"{{ input.n | default(0) }}\" }\nnodes:\n  - id: on\n    when: \"{{ vars.n < 3 }}\"\n    continue: { input: { n: \"{{ vars.n + 1 }}\" } }\noutput: $vars.n\n",
    );
    let told = place.aura(&["run", "count.yaml", "--key", "k", "--json"]).exits(0).json();
    assert_eq!(told["output"], 3);
    let rows = place.aura(&["runs", "--json"]).exits(0).json();
    let rows = rows["runs"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let first =
        rows.iter().find(|row| !rows.iter().any(|other| other["continued_by"] == row["run_id"]));
    let first = first.unwrap()["run_id"].as_str().unwrap();
    let why = place.aura(&["why", first]).exits(0);
    assert!(why.out.contains("goes on in its place"), "{}", why.out);
    let shown = place.aura(&["show", told["run_id"].as_str().unwrap(), "--json"]).exits(0).json();
    assert_eq!((&shown["key"], shown["continues"].is_string()), (&json!("k"), true));
    // The key names the first; asked for again, it leads to the last.
    let again = place.aura(&["run", "count.yaml", "--key", "k", "--json"]).exits(0).json();
    assert_eq!(again["run_id"], told["run_id"]);
    place.aura(&["replay", first, "--verify"]).exits(0);
}

#[test]
fn the_state_of_a_run_can_be_asked_for_at_any_event() {
    let place = family();
    let told = place.aura(&["run", "parent.yaml", "--set", "n=2", "--json"]).exits(3).json();
    let run = told["run_id"].as_str().unwrap();
    let state = place.aura(&["state", run, "--json"]).exits(0).json();
    assert_eq!(state["input"], json!({ "n": 2 }));
    assert_eq!(state["steps"]["sub"]["status"], "running");
    let child = state["children"]["sub"]["run_id"].as_str().unwrap();
    let output = place.aura(&["state", child, "steps.ask.status"]).exits(0);
    assert_eq!(output.out.trim(), "\"running\"");
    place.aura(&["resume", run, "--yes"]).exits(0);
    let now = place.aura(&["state", run, "output.of"]).exits(0);
    assert_eq!(now.out.trim(), "4");
    let then = place.aura(&["state", run, "--at", "1", "--json"]).exits(0).json();
    assert_eq!((&then["event"], &then["steps"]), (&json!(1), &json!({})));
    let missing = place.aura(&["state", run, "steps.none"]).exits(2);
    assert!(missing.err.contains("one of sub"), "{}", missing.err);
    place.aura(&["state", run, "--at", "9999"]).exits(2);
}

#[test]
fn a_family_is_compared_tried_deployed_and_carried_whole() {
    let place = family();
    let parent = PARENT.replace("flow: parent", "flow: parent\nversion: '1.0'");
    place.file("parent.yaml", &parent);
    let run = |args: &[&str]| {
        let told = place.aura(args).exits(0).json();
        told["run_id"].as_str().unwrap().to_owned()
    };
    let a = run(&["run", "parent.yaml", "--set", "n=1", "--json"]);
    place.aura(&["flows", "deploy", "parent.yaml"]).exits(0);
    let b = run(&["run", "parent", "--set", "n=1", "--json"]);
    // A child has another id in each, which is no difference.
    place.aura(&["diff", &a, &b]).exits(0);
    let told = place.aura(&["replay", "--all", "--verify", "--json"]).exits(0).json();
    assert_eq!(told["verified"], 4, "children too");

    place.aura(&["backtest", "parent.yaml"]).exits(0);
    place.file("parts/child.yaml", &CHILD.replace("* 2", "* 3"));
    let told = place.aura(&["backtest", "parent.yaml", "--run", &a, "--json"]).exits(1).json();
    assert_eq!(told["runs"][0]["verdict"], "needs", "{told}");
    assert_eq!(told["runs"][0]["needs"][0]["needs"], "child", "{told}");

    place.aura(&["export", &a, "-o", "family.aura"]).exits(0);
    std::fs::remove_dir_all(place.data()).unwrap();
    let shown = place.aura(&["open", "family.aura", "--json"]).exits(0).json();
    assert_eq!((&shown["run_id"], &shown["output"]), (&json!(a), &json!({ "of": 2 })));
    assert_eq!(shown["children"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_child_that_is_set_aside_is_named_by_whoever_performs_its_tree() {
    let place = Place::new();
    place.file("parent.yaml", "flow: parent\nnodes: [{ id: c, flow: { file: large.yaml } }]\n");
    place.file(
        "large.yaml",
        r#"
flow: large
nodes:
  - { id: read, tool: file.read, with: { path: big.txt } }
  - { id: ask, approval: { message: "go on?" } }
  - { id: between, tool: echo, with: { value: 1 } }
  - { id: count, set: { n: "{{ steps.read.output.text | length }}" } }
output: $vars.n
"#,
    );
    place.file("big.txt", &"x".repeat(200_000));
    let told = place.aura(&["run", "parent.yaml", "--json"]).exits(3).json();
    let run = told["run_id"].as_str().unwrap();
    let [child] = &children(&place, run)[..] else { panic!("one child") };
    let child = child["run_id"].as_str().unwrap();
    let blobs = place.data().join("blobs");
    let kept = place.data().join("kept");
    std::fs::rename(&blobs, &kept).unwrap();
    place.aura(&["approve", child, "ask"]).exits(0);
    let ended = place.aura(&["resume", run]);
    assert!(ended.err.contains("BLOB_MISSING") && ended.err.contains(child), "{}", ended.err);
    let shown = place.aura(&["show", run, "--json"]).exits(0).json();
    assert_eq!(shown["status"], "running", "it waits for the child");
    let _ = std::fs::remove_dir_all(&blobs);
    std::fs::rename(&kept, &blobs).unwrap();
    let told = place.aura(&["resume", run, "--json"]).exits(0).json();
    assert_eq!(told["output"], 200_000);
}
