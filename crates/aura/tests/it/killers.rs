//! Calls that take the process with them, again and again.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Place, Started, id, until};

/// Kills before a task is given up: the tenth recovery parks it.
const KILLS: usize = 10;

/// How long a process works before it is looked at.
const TURN: Duration = Duration::from_millis(10);

/// A server that ends whoever calls it, as a power cut would.
struct Killer {
    address: SocketAddr,
    kills: Arc<AtomicUsize>,
}

impl Killer {
    /// Ends the owner of the store in this folder.
    fn of(data: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let kills = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&kills);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.read(&mut [0; 1024]);
                let lock = std::fs::read_to_string(data.join("aura.lock")).expect("a lock");
                let owner: Value = serde_json::from_str(&lock).expect("an owner");
                count.fetch_add(1, Ordering::SeqCst);
                let killed = Command::new("kill").args(["-9", &owner["pid"].to_string()]).status();
                assert!(killed.expect("kill").success());
            }
        });
        Self { address, kills }
    }

    fn kills(&self) -> usize {
        self.kills.load(Ordering::SeqCst)
    }
}

const KILLED: &str = r"
flow: killed
input: { type: object, required: [url], properties: { url: { type: string } } }
nodes:
  - id: before
    tool: echo
    with: { value: 1 }
  - id: call
    tool: http.request
    with: { url: $input.url }
";

const CALM: &str = "
flow: calm
nodes:
  - { id: rest, sleep: 1ms }
  - { id: say, tool: echo, with: { value: well } }
output: $steps.say.output.value
";

#[test]
fn a_call_that_kills_the_process_ten_times_parks() {
    let place = Place::new();
    place.file("killed.yaml", KILLED);
    place.file("calm.yaml", CALM);
    let killer = Killer::of(place.data());
    let allow = killer.address.to_string();
    let url = format!("url=http://{allow}/");
    let args = ["run", "killed.yaml", "--key", "k", "--set", &url, "--allow-net", &allow];
    let ended = place.aura(&args);
    assert_eq!(ended.code, None, "the process is gone: {}", ended.err);
    let run = id("killed", "k");
    for kills in 2..=KILLS {
        assert_eq!(place.aura(&["resume", &run]).code, None, "kill {kills}");
        assert_eq!(killer.kills(), kills);
    }
    let told = place.aura(&["resume", &run, "--json"]).exits(3).json();
    assert_eq!(told["status"], "in_doubt");
    assert_eq!(killer.kills(), KILLS, "it is not called again");
    let why = place.aura(&["why", &run]).exits(0);
    assert!(why.out.contains("the process ended 10 times"), "{}", why.out);
    // Nothing of this keeps other runs from going on, now or at the next start.
    let told = place.aura(&["run", "calm.yaml", "--json"]).exits(0).json();
    assert_eq!(told["output"], "well");
    place.aura(&["resume", "--all"]).exits(3);
    let key = place.aura(&["effects", "--in-doubt", "--json"]).exits(0).json();
    let key = key["effects"][0]["key"].as_str().expect("a key").to_owned();
    place.aura(&["effects", "settle", &key, "--failed", "--reason", "it kills"]).exits(0);
    let told = place.aura(&["resume", &run, "--json"]).exits(1).json();
    assert_eq!(told["status"], "failed");
    place.aura(&["replay", &run, "--verify"]).exits(0);
}

/// A pure call that is under way for a long time: many visits of a long list.
const LONG: &str = r#"
flow: long
vars: { list: "{{ range(3000) | list }}" }
nodes:
  - id: search
    tool: json.query
    with: { value: $vars.list, path: "$[?count($[*]) > 5]" }
"#;

/// Lets a process work for moments, and looks while it stands still, so that it is not through before it is looked at.
fn in_turns(what: &str, process: &Started, mut holds: impl FnMut() -> bool) {
    let send = |signal: &str| {
        let sent = Command::new("kill").args([signal, &process.pid().to_string()]).status();
        assert!(sent.expect("kill").success());
    };
    until(what, || {
        send("-CONT");
        std::thread::sleep(TURN);
        send("-STOP");
        holds()
    });
}

#[test]
fn a_pure_call_during_which_the_process_dies_ten_times_parks() {
    let place = Place::new();
    place.file("long.yaml", LONG);
    let run = id("long", "k");
    let recoveries = |place: &Place| {
        let told = place.aura(&["events", &run, "--type", "effect", "--json"]);
        told.out.lines().filter(|line| line.contains("effect.unknown")).count()
    };
    let started =
        |place: &Place| place.aura(&["events", &run, "--json"]).out.contains("step.started");
    let mut process = place.start(&["run", "long.yaml", "--key", "k"]);
    in_turns("the call", &process, || started(&place));
    process.kill();
    for kills in 2..=KILLS {
        let mut process = place.start(&["resume", &run]);
        in_turns("the recovery", &process, || recoveries(&place) == kills - 1);
        process.kill();
    }
    let told = place.aura(&["resume", &run, "--json"]).exits(3).json();
    assert_eq!((&told["status"], recoveries(&place)), (&json!("in_doubt"), KILLS));
}
