//! What can be wrong with a store: each fault has its own code and help, and what was acknowledged is still there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Ended, Place, files, until};

const HELLO: &str = "flow: hello\nnodes:\n  - { id: a, tool: echo, with: { value: hi } }\n";

/// An output of 100 kB, which lies in a blob.
const LARGE: &str = "flow: large\nnodes:\n  - { id: a, tool: echo, with: { value: \"{{ 'x' * 100000 }}\" } }\noutput: $steps.a.output\n";

fn run(place: &Place, source: &str) -> String {
    place.file("flow.yaml", source);
    let ran = place.aura(&["run", "flow.yaml", "--json"]).exits(0);
    ran.json()["run_id"].as_str().unwrap().to_owned()
}

/// The fault is told with its code, and the code has a page.
#[track_caller]
fn told(ran: &Ended, code: &str, exit: i32) {
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains(code), "no {code} in: {said}");
    assert_eq!(ran.code, Some(exit), "{said}");
    let page = Place::new().aura(&["explain", code]).exits(0);
    assert!(page.out.contains(code), "{}", page.out);
}

/// Runs the binary over another data directory.
fn at(place: &Place, data: &Path, args: &[&str]) -> Ended {
    let mut all = vec!["--data-dir", data.to_str().unwrap()];
    all.extend(args);
    place.aura(&all)
}

fn database(data: &Path) -> std::path::PathBuf {
    data.join("aura.db")
}

#[test]
fn a_truncated_store_is_told_and_never_written_over() {
    let place = Place::new();
    run(&place, HELLO);
    let file = database(&place.data());
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let cut = fs::read(&file).unwrap();
    let ran = place.aura(&["run", "flow.yaml"]);
    told(&ran, "STORE_CORRUPT", 4);
    assert_eq!(fs::read(&file).unwrap(), cut, "the damaged file is kept as it is");
}

#[test]
fn a_store_that_is_something_else_is_told() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(
        database(&place.data()),
        b"not a database, but somebody's notes, long enough to be read",
    )
    .unwrap();
    place.file("flow.yaml", HELLO);
    told(&place.aura(&["run", "flow.yaml"]), "STORE_CORRUPT", 4);
}

#[test]
fn a_damaged_commit_is_found_and_other_runs_go_on() {
    let place = Place::new();
    let (first, second) = (run(&place, HELLO), run(&place, HELLO));
    let id = first.replace('-', "").to_uppercase();
    let sql = format!(
        // The text "hi" in CBOR, and "ho".
        "UPDATE commits SET payload = unhex(replace(hex(payload), '626869', '62686F'))
         WHERE instr(hex(payload), '626869') AND instr(hex(header), '{id}')"
    );
    let connection = rusqlite::Connection::open(database(&place.data())).unwrap();
    assert!(connection.execute(&sql, []).unwrap() > 0);
    drop(connection);
    told(&place.aura(&["replay", &first, "--verify"]), "CHAIN_BROKEN", 1);
    let check = place.aura(&["store", "check"]);
    told(&check, "CHAIN_BROKEN", 1);
    let said = check.out.clone() + &check.err;
    assert!(said.contains(&first), "{said}");
    assert!(!said.contains(&second), "{said}");
    place.aura(&["replay", &second, "--verify"]).exits(0);
    run(&place, HELLO);
}

#[test]
fn a_damaged_blob_is_found() {
    let place = Place::new();
    let id = run(&place, LARGE);
    let blobs = files(&place.data().join("blobs"));
    assert_eq!(blobs.len(), 1, "{blobs:?}");
    fs::write(&blobs[0].0, b"something else").unwrap();
    told(&place.aura(&["store", "check"]), "BLOB_CORRUPT", 1);
    let shown = place.aura(&["show", &id]);
    assert_eq!(shown.code, Some(0), "a run can be shown without its blobs: {}", shown.err);
}

#[test]
fn a_second_owner_is_refused_and_named() {
    let place = Place::new();
    place.file(
        "flow.yaml",
        "flow: sleeps\nnodes:\n  - { id: a, wait: { signal: go, timeout: 1h } }\n",
    );
    let mut owner = place.command(&["run", "flow.yaml", "--stay"]).spawn().unwrap();
    until("an owner", || aura_pid(&place) == Some(owner.id()));
    let opened = aura_store::open(&place.data(), aura_store::Access::Owner);
    let problem = opened.expect_err("a refusal");
    assert_eq!(problem.code.as_str(), "STORE_OWNED");
    assert!(problem.what.contains(&owner.id().to_string()), "{}", problem.what);
    owner.kill().unwrap();
    owner.wait().unwrap();
}

/// A small file system of its own.
struct Small(tempfile::TempDir);

impl Small {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test needs a small file system: run it as a user who may mount one"
        );
        Self(dir)
    }

    fn read_only(&self) {
        let status =
            Command::new("mount").args(["-o", "remount,ro"]).arg(self.0.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_what_was_acknowledged_is_there() {
    let small = Small::new("size=2m");
    let place = Place::new();
    let data = small.0.path().join("data");
    place.file("flow.yaml", HELLO);
    let mut done = Vec::new();
    let full = loop {
        let ran = at(&place, &data, &["run", "flow.yaml", "--json"]);
        if ran.code != Some(0) {
            break ran;
        }
        done.push(ran.json()["run_id"].as_str().unwrap().to_owned());
        if done.len() == 3 {
            // The rest is filled by somebody else.
            let _ = fs::write(small.0.path().join("filler"), vec![7; 4 << 20]);
        }
        assert!(done.len() < 500, "2 MiB never fill");
    };
    told(&full, "STORE_FULL", 4);
    fs::remove_file(small.0.path().join("filler")).unwrap();
    for id in &done {
        at(&place, &data, &["replay", id, "--verify"]).exits(0);
    }
    at(&place, &data, &["run", "flow.yaml"]).exits(0);
}

#[test]
fn a_read_only_directory_is_told_and_can_still_be_read() {
    let small = Small::new("size=8m");
    let place = Place::new();
    let data = small.0.path().join("data");
    place.file("flow.yaml", HELLO);
    let run = ["run", "flow.yaml", "--json"];
    let first = at(&place, &data, &run).exits(0);
    small.read_only();
    told(&at(&place, &data, &run), "STORE_READ_ONLY", 4);
    let id = first.json()["run_id"].as_str().unwrap().to_owned();
    at(&place, &data, &["replay", &id, "--verify"]).exits(0);
}

fn aura_pid(place: &Place) -> Option<u32> {
    aura_store::owner(&place.data()).map(|owner| owner.pid)
}
