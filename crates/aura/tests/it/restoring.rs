//! What comes out of a backup or an export is what went in: forks and what they share, and calls that are not made
//! again.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Ended, Place, Server, id, until};

const STEPS: &str = "
flow: steps
nodes:
  - { id: a, tool: bench.noop, with: { value: 1 } }
  - { id: b, tool: bench.noop, with: { value: 2 } }
  - { id: c, tool: bench.noop, with: { value: 3 } }
";

const ORDER: &str = r#"
flow: order
input: { type: object, required: [url], properties: { url: { type: string } } }
nodes:
  - id: charge
    tool: http.request
    with: { method: POST, url: "{{ input.url }}/charge", json: { amount: 3 } }
    idempotency: { scope: tenant, ttl: 1h }
output: $steps.charge.output.json.head
"#;

/// Ways of a store into another data directory.
const WAYS: [&str; 2] = ["restored", "imported"];

/// Brings the store of a place into a data directory in the work folder.
fn bring(place: &Place, way: &str) -> std::path::PathBuf {
    let data = place.work().join(way);
    if way == "restored" {
        place.aura(&["store", "backup", "backup"]).exits(0);
        at(place, &data, &["store", "restore", "backup"]).exits(0);
    } else {
        place.aura(&["store", "export", "-o", "all.ndjson"]).exits(0);
        at(place, &data, &["store", "import", "all.ndjson"]).exits(0);
    }
    at(place, &data, &["store", "check"]).exits(0);
    data
}

fn at(place: &Place, data: &Path, args: &[&str]) -> Ended {
    let mut all = vec!["--data-dir", data.to_str().unwrap()];
    all.extend(args);
    place.aura(&all)
}

fn fork(place: &Place, run: &str, step: &str) -> String {
    let forked = place.aura(&["fork", run, "--at", step, "--json"]).exits(0).json();
    forked["run_id"].as_str().expect("an id").to_owned()
}

/// Runs that an export of this one holds: it, and those whose beginning it has.
fn with_parents(place: &Place, data: &Path, run: &str) -> Value {
    let told = at(place, data, &["store", "export", "--run", run, "-o", "-"]).exits(0).out;
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).expect("json");
    last["end"]["runs"].clone()
}

#[test]
fn forks_are_forks_afterwards() {
    let place = Place::new();
    place.file("steps.yaml", STEPS);
    place.aura(&["run", "steps.yaml", "--key", "k"]).exits(0);
    let run = id("steps", "k");
    let early = fork(&place, &run, "a");
    let late = fork(&place, &run, "c");
    let of_fork = fork(&place, &late, "c");
    let all = [(&run, 1), (&early, 2), (&late, 2), (&of_fork, 3)];
    for (one, runs) in all {
        assert_eq!(with_parents(&place, &place.data(), one), runs, "{one}");
    }
    let before = place.aura(&["runs", "--json"]).exits(0).out;
    for way in WAYS {
        let data = bring(&place, way);
        for (one, runs) in all {
            at(&place, &data, &["replay", one, "--verify"]).exits(0);
            assert_eq!(with_parents(&place, &data, one), runs, "{way} {one}");
            let events = at(&place, &data, &["events", one, "--json"]).exits(0).out;
            assert_eq!(events, place.aura(&["events", one, "--json"]).exits(0).out, "{way}");
        }
        assert_eq!(at(&place, &data, &["runs", "--json"]).exits(0).out, before, "{way}");
        let kept = at(&place, &data, &["store", "compact", "--keep-runs", "0", "--json"]);
        assert_eq!(kept.exits(0).json()["runs"], 2, "{way}: what is shared stays");
    }
}

fn start(place: &Place, data: &Path, key: &str, server: &Server) -> Ended {
    let allow = server.address.to_string();
    let url = format!("url=http://{allow}");
    let run = ["run", "order.yaml", "--key", key, "--set", &url, "--allow-net", &allow, "--json"];
    at(place, data, &run)
}

#[test]
fn a_call_that_was_made_is_not_made_again() {
    let (place, server) = (Place::new(), Server::new());
    place.file("order.yaml", ORDER);
    start(&place, &place.data(), "1", &server).exits(0);
    for way in WAYS {
        let data = bring(&place, way);
        let told = start(&place, &data, "2", &server).exits(0).json();
        assert!(told["output"].as_str().is_some_and(|head| head.contains("/charge")), "{told}");
        assert_eq!(server.requests().len(), 1, "{way}");
    }
}

#[test]
fn a_call_that_a_removed_run_made_is_not_made_again() {
    let (place, server) = (Place::new(), Server::new());
    place.file("order.yaml", ORDER);
    start(&place, &place.data(), "1", &server).exits(0);
    let gone = place.aura(&["store", "compact", "--keep-runs", "0", "--json"]).exits(0).json();
    assert_eq!(gone["runs"], 1);
    let data = bring(&place, "restored");
    start(&place, &data, "2", &server).exits(0);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_call_in_doubt_keeps_its_key() {
    let (place, server) = (Place::new(), Server::new());
    place.file("order.yaml", ORDER);
    let allow = server.address.to_string();
    let url = format!("url=http://{allow}");
    let run = |key| ["run", "order.yaml", "--key", key, "--set", &url, "--allow-net", &allow];
    server.hold(true);
    let mut first = place.start(&run("1"));
    until("the call", || server.requests().len() == 1);
    first.kill();
    server.hold(false);
    let (one, two) = (id("order", "1"), id("order", "2"));
    place.aura(&["resume", &one]).exits(3);
    let effects = place.aura(&["effects", &one, "--json"]).exits(0).json();
    let key = effects["effects"][0]["key"].as_str().expect("a key");
    for way in WAYS {
        let data = bring(&place, way);
        let told = at(&place, &data, &["effects", "check", key, "--json"]).exits(0).json();
        assert_eq!((&told["state"], &told["run_id"]), (&json!("held"), &json!(one)), "{way}");
        let mut args = vec!["--data-dir", data.to_str().unwrap()];
        args.extend(run("2"));
        let mut second = place.start(&args);
        until("waiting for the key", || at(&place, &data, &["why", &two]).out.contains(&one));
        assert_eq!(server.requests().len(), 1, "{way}: nothing is blindly done twice");
        second.kill();
    }
}

/// The texts of files, which a tool hands in as blobs of their own.
const LARGE: &str = "flow: large\nnodes: [{ id: a, tool: file.read, with: { path: large.txt } }]\n";

#[test]
fn a_restore_is_whole_or_nothing() {
    let (place, server) = (Place::new(), Server::new());
    place.file("order.yaml", ORDER);
    start(&place, &place.data(), "1", &server).exits(0);
    place.aura(&["store", "backup", "backup"]).exits(0);
    let (good, bad) = (place.work().join("backup"), place.work().join("bad"));
    std::fs::create_dir(&bad).expect("a folder");
    for file in std::fs::read_dir(&good).expect("a folder").map(|e| e.expect("an entry")) {
        if file.path().is_file() {
            std::fs::copy(file.path(), bad.join(file.file_name())).expect("a file");
        }
    }
    let mut bytes = std::fs::read(bad.join("aura.db")).expect("a file");
    let calls: Vec<_> = bytes.windows(7).enumerate().filter(|(_, b)| *b == b"/charge").collect();
    let calls: Vec<_> = calls.into_iter().map(|(place, _)| place).collect();
    for place in calls {
        bytes[place] = b'x';
    }
    std::fs::write(bad.join("aura.db"), bytes).expect("a file");
    // One that is not there yet, and one that holds something else.
    for name in ["absent", "there"] {
        let data = place.work().join(name);
        if name == "there" {
            std::fs::create_dir_all(data.join("secrets")).expect("a folder");
        }
        let before = data.exists();
        let refused = at(&place, &data, &["store", "restore", "bad"]);
        assert_ne!(refused.code, Some(0), "{}", refused.out);
        assert!(refused.err.contains("nothing was restored"), "{}", refused.err);
        assert_eq!(data.exists(), before);
        at(&place, &data, &["store", "restore", "backup"]).exits(0);
        at(&place, &data, &["store", "check"]).exits(0);
        start(&place, &data, "2", &server).exits(0);
        assert_eq!(server.requests().len(), 1);
        let left = std::fs::read_dir(&data).expect("a folder").map(|e| e.expect("an entry"));
        let hidden: Vec<_> = left.filter(|e| e.file_name().as_encoded_bytes()[0] == b'.').collect();
        assert!(hidden.is_empty(), "{hidden:?}");
    }
}

#[test]
fn an_export_that_fails_leaves_the_file_that_was_there() {
    let place = Place::new();
    place.file("large.yaml", LARGE);
    place.file("large.txt", &"x".repeat(500_000));
    place.aura(&["run", "large.yaml", "--key", "k", "--root", "."]).exits(0);
    let run = id("large", "k");
    place.aura(&["store", "export", "-o", "all.ndjson"]).exits(0);
    place.aura(&["export", &run, "-o", "one.aura"]).exits(0);
    let read = |name| std::fs::read(place.work().join(name)).expect("a file");
    let before = [read("all.ndjson"), read("one.aura")];
    // Whoever read has seen enough.
    for args in [&["store", "export", "-o", "-"][..], &["export", &run, "-o", "-"]] {
        let mut command = place.command(args);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("the binary");
        drop(child.stdout.take());
        let ended = Ended::of(child.wait_with_output().expect("it ends"), args).exits(0);
        assert_eq!(ended.err, "");
    }
    let blobs = place.data().join("blobs");
    assert!(!crate::support::files(&blobs).is_empty(), "a blob is a file");
    std::fs::remove_dir_all(blobs).expect("a folder");
    place.aura(&["store", "export", "-o", "all.ndjson"]).exits(1);
    let refused = place.aura(&["export", &run, "-o", "one.aura"]).exits(1);
    assert!(refused.err.contains("BLOB_MISSING"), "{}", refused.err);
    assert!([read("all.ndjson"), read("one.aura")] == before);
    let refused = place.aura(&["export", &run, "-o", "nowhere/one.aura"]).exits(4);
    assert!(refused.err.contains("name another file: -o FILE"), "{}", refused.err);
}
