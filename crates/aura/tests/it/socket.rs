//! The owner's socket, spoken to by a stranger.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::support::{Place, Started, id, until};

const WAIT: &str = "flow: wait\nnodes: [{ id: go, wait: { signal: go, timeout: 24h } }]\n";

fn owner(place: &Place) -> Started {
    place.file("wait.yaml", WAIT);
    let owner = place.start(&["run", "wait.yaml", "--key", "k", "--stay"]);
    owner.prints("step.started go");
    owner
}

fn ask(stream: &UnixStream, line: &str) -> Option<Value> {
    let mut stream = stream;
    stream.write_all(line.as_bytes()).expect("it takes a line");
    stream.write_all(b"\n").expect("it takes a line");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("an answer");
    serde_json::from_str(&answer).ok()
}

#[test]
fn what_is_no_request_is_refused_and_nothing_breaks() {
    let place = Place::new();
    let mut owner = owner(&place);
    let path = place.data().join("aura.sock");
    let mode = std::fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its user may speak to it");
    let stream = UnixStream::connect(&path).expect("a connection");
    for line in ["", "x", "{\"do\":\"dance\"}", "{\"do\":\"perform\",\"run\":7}", "[[[[", "\u{0}"] {
        let answer = ask(&stream, line).expect("an answer");
        assert_eq!(answer["refused"]["code"], "USAGE", "{line}: {answer}");
    }
    let unknown =
        "{\"do\":\"perform\",\"run\":\"00000000-0000-0000-0000-000000000000\",\"detached\":false}";
    let answer = ask(&stream, unknown).expect("an answer");
    assert_eq!(answer["refused"]["code"], "RUN_NOT_FOUND");
    assert_eq!(ask(&stream, "{\"do\":\"ping\"}").expect("an answer"), "here");
    place.aura(&["signal", &id("wait", "k"), "go"]).exits(0);
    owner.exits(0);
}

#[test]
fn clients_that_say_nothing_do_not_keep_others_out_for_ever() {
    let place = Place::new();
    let mut owner = owner(&place);
    let path = place.data().join("aura.sock");
    // As many as are served at once, less the one place that a person needs.
    let silent: Vec<_> =
        (1..64).map(|_| UnixStream::connect(&path).expect("a connection")).collect();
    place.aura(&["signal", &id("wait", "k"), "go"]).exits(0);
    drop(silent);
    owner.exits(0);
}

#[test]
fn a_leftover_socket_is_removed_by_the_next_owner() {
    let place = Place::new();
    let mut first = owner(&place);
    first.kill();
    let path = place.data().join("aura.sock");
    assert!(path.exists(), "a killed process leaves it");
    let run = id("wait", "k");
    let mut second = place.start(&["resume", &run, "--stay"]);
    until("the socket answers", || UnixStream::connect(&path).is_ok());
    place.aura(&["signal", &run, "go"]).exits(0);
    second.exits(0);
    assert!(!path.exists(), "an owner that leaves takes it along");
}
