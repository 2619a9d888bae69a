//! Keeping a store: removing what is old, backups while it is in use, exports and imports.

use std::path::Path;

use serde_json::Value;

use crate::support::{Ended, Place, id, until};

const HELLO: &str = "flow: hello\nnodes:\n  - { id: a, tool: echo, with: { value: hi } }\n";

/// An output of 100 kB, which lies in a blob.
const LARGE: &str = "flow: large\nnodes:\n  - { id: a, tool: echo, with: { value: \"{{ 'x' * 100000 }}\" } }\noutput: $steps.a.output\n";

/// Waits for somebody after a call that is not pure.
const WAITS: &str = "flow: waits\nnodes:\n  - { id: a, tool: bench.noop, with: {} }\n  - { id: b, wait: { signal: go } }\n  - { id: c, tool: bench.noop, with: {} }\n";

/// Many durable steps.
const LOAD: &str = "flow: load\nnodes:\n  - id: l\n    loop:\n      times: 100000\n      do:\n        - { id: s, tool: bench.noop, with: {} }\n        - { id: t, tool: echo, with: { value: $loop.index } }\n";

fn run(place: &Place, source: &str) -> String {
    place.file("flow.yaml", source);
    let ran = place.aura(&["run", "flow.yaml", "--json"]).exits(0);
    ran.json()["run_id"].as_str().unwrap().to_owned()
}

/// Runs the binary over another data directory.
fn at(place: &Place, data: &Path, args: &[&str]) -> Ended {
    let mut all = vec!["--data-dir", data.to_str().unwrap()];
    all.extend(args);
    place.aura(&all)
}

fn ids(ran: &Ended) -> Vec<String> {
    let document = ran.json();
    let runs = document["runs"].as_array().unwrap();
    runs.iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

fn info(place: &Place) -> Value {
    place.aura(&["store", "info", "--json"]).exits(0).json()
}

#[test]
fn runs_beyond_a_limit_go_and_the_rest_is_whole() {
    let place = Place::new();
    let old = [run(&place, LARGE), run(&place, HELLO)];
    let new = run(&place, HELLO);
    place.file("waits.yaml", WAITS);
    place.aura(&["run", "waits.yaml", "--key", "k"]).exits(3);
    let refused = place.aura(&["store", "compact"]).exits(2);
    assert!(refused.err.contains("nothing says which runs may go"), "{}", refused.err);
    let would = place.aura(&["store", "compact", "--keep-runs", "1", "--dry-run", "--json"]);
    let would = would.exits(0).json();
    assert_eq!((&would["runs"], &would["dry_run"]), (&2.into(), &true.into()));
    assert_eq!(info(&place)["runs"], 4, "nothing was removed");
    let done = place.aura(&["store", "compact", "--keep-runs", "1", "--json"]).exits(0).json();
    assert_eq!(done["runs"], would["runs"]);
    assert_eq!(done["events"], would["events"]);
    let left = ids(&place.aura(&["runs", "--json"]).exits(0));
    assert_eq!(left.len(), 2);
    assert!(left.contains(&new) && left.contains(&id("waits", "k")), "{left:?}");
    for run in &old {
        place.aura(&["show", run]).exits(2);
    }
    place.aura(&["store", "check"]).exits(0);
    let info = info(&place);
    assert_eq!((&info["runs"], &info["removals"]), (&2.into(), &1.into()));
    let again = place.aura(&["store", "compact", "--keep-runs", "1"]).exits(0);
    assert_eq!(again.out, "there is nothing to remove\n");
    // The store goes on: positions, numbers and keys.
    run(&place, HELLO);
    place.aura(&["signal", &id("waits", "k"), "go"]).exits(0);
    place.aura(&["resume", &id("waits", "k")]).exits(0);
    place.aura(&["replay", &new, "--verify"]).exits(0);
    place.aura(&["store", "check"]).exits(0);
}

#[test]
fn the_file_shrinks() {
    let place = Place::new();
    for _ in 0..3 {
        run(&place, &LARGE.replace("'x' * 100000", "'x' * 60000"));
    }
    let before = info(&place)["bytes"].as_u64().unwrap();
    place.aura(&["store", "compact", "--keep-runs", "0"]).exits(0);
    let after = info(&place)["bytes"].as_u64().unwrap();
    assert!(after < before, "{after} bytes, {before} before");
    assert_eq!(info(&place)["runs"], 0);
}

#[test]
fn runs_are_removed_while_their_owner_works() {
    let place = Place::new();
    run(&place, HELLO);
    place.file("waits.yaml", WAITS);
    let owner = place.start(&["run", "waits.yaml", "--key", "k"]);
    owner.prints("go");
    let done = place.aura(&["store", "compact", "--keep-runs", "0", "--json"]).exits(0).json();
    assert_eq!(done["runs"], 1);
    assert_eq!(ids(&place.aura(&["runs", "--json"]).exits(0)), [id("waits", "k")]);
}

#[test]
fn a_backup_is_made_while_runs_go_on() {
    let place = Place::new();
    let large = run(&place, LARGE);
    place.file("load.yaml", LOAD);
    let mut load = place.start(&["run", "load.yaml", "--key", "k", "--json"]);
    until("some steps", || info(&place)["commits"].as_u64().unwrap() > 200);
    let backup = place.work().join("backup");
    let made = place.aura(&["store", "backup", "backup", "--json"]).exits(0).json();
    assert_eq!(made["runs"], 2);
    place.aura(&["store", "backup", "backup"]).exits(2);
    let after = info(&place)["commits"].as_u64().unwrap();
    until("it goes on", || info(&place)["commits"].as_u64().unwrap() > after);
    load.kill();
    at(&place, &backup, &["store", "check"]).exits(0);
    at(&place, &backup, &["replay", &large, "--verify"]).exits(0);
    let copied = at(&place, &backup, &["store", "info", "--json"]).exits(0).json();
    assert_eq!(copied["events"], made["events"]);

    let restored = place.work().join("restored");
    at(&place, &restored, &["store", "restore", "nowhere"]).exits(2);
    let told = at(&place, &restored, &["store", "restore", "backup", "--json"]).exits(0).json();
    assert_eq!(told["open"], serde_json::json!([id("load", "k")]));
    at(&place, &restored, &["store", "restore", "backup"]).exits(2);
    at(&place, &restored, &["replay", &id("load", "k"), "--verify"]).exits(0);
    let shown = at(&place, &restored, &["show", &large, "--json"]).exits(0).json();
    assert_eq!(shown["output"]["value"].as_str().map(str::len), Some(100_000));
}

#[test]
fn a_restored_run_goes_on_only_when_somebody_says_so() {
    let place = Place::new();
    place.file("waits.yaml", WAITS);
    place.aura(&["run", "waits.yaml", "--key", "k"]).exits(3);
    place.aura(&["store", "backup", "backup"]).exits(0);
    let restored = place.work().join("restored");
    let run = id("waits", "k");
    at(&place, &restored, &["store", "restore", "backup"]).exits(0);
    for args in [&["resume", &run][..], &["resume", "--all"]] {
        let refused = at(&place, &restored, args).exits(2);
        assert!(refused.err.contains("RUN_RESTORED"), "{}", refused.err);
        assert!(refused.err.contains("for the signal"), "{}", refused.err);
    }
    at(&place, &restored, &["signal", &run, "go"]).exits(0);
    at(&place, &restored, &["resume", &run]).exits(2);
    at(&place, &restored, &["resume", &run, "--restored"]).exits(0);
    // The place from which it was taken is another matter.
    place.aura(&["resume", &run]).exits(3);
}

#[test]
fn what_is_exported_is_imported() {
    let place = Place::new();
    let large = run(&place, LARGE);
    let hello = run(&place, HELLO);
    place.aura(&["store", "export", "-o", "all.ndjson"]).exits(0);
    let one = place.aura(&["store", "export", "--run", &hello, "-o", "-"]).exits(0);
    let lines: Vec<Value> =
        one.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["aura"]["salt"].is_string());
    assert!(lines.iter().any(|line| line["commit"]["events"][0]["type"] == "run.started"));
    assert_eq!(lines.last().unwrap()["end"]["runs"], 1);

    let other = place.work().join("other");
    let done = at(&place, &other, &["store", "import", "all.ndjson", "--json"]).exits(0).json();
    assert_eq!((&done["runs"], &done["already"]), (&2.into(), &0.into()));
    at(&place, &other, &["store", "check"]).exits(0);
    at(&place, &other, &["replay", &large, "--verify"]).exits(0);
    let same = at(&place, &other, &["store", "export", "--run", &hello, "-o", "-"]).exits(0);
    let tail = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(tail(&same.out), tail(&one.out), "the same bytes come out again");

    let again = at(&place, &other, &["store", "import", "all.ndjson", "--json"]).exits(0).json();
    assert_eq!((&again["commits"], &again["already"]), (&0.into(), &done["commits"]));
    // Blobs have other addresses in a store that was there before.
    let third = Place::new();
    run(&third, HELLO);
    let file = place.work().join("all.ndjson");
    let refused = third.aura(&["store", "import", file.to_str().unwrap()]).exits(2);
    assert!(refused.err.contains("CONFLICT"), "{}", refused.err);
}

#[test]
fn a_damaged_export_is_told() {
    let place = Place::new();
    run(&place, HELLO);
    place.aura(&["store", "export", "-o", "all.ndjson"]).exits(0);
    let text = std::fs::read_to_string(place.work().join("all.ndjson")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n") + "\n";
    let fewer: Vec<_> =
        lines.iter().copied().filter(|line| !line.contains("run.completed")).collect();
    let fewer = fewer.join("\n") + "\n";
    let changed = text.replacen("\"header\":\"", "\"header\":\"AAAA", 1);
    for (name, text) in
        [("cut", cut), ("fewer", fewer), ("changed", changed), ("other", "{}\n".to_owned())]
    {
        place.file(name, &text);
        let refused =
            at(&place, &place.work().join(format!("at-{name}")), &["store", "import", name]);
        let refused = refused.exits(2);
        assert!(refused.err.contains("INVALID_INPUT"), "{name}: {}", refused.err);
    }
}
