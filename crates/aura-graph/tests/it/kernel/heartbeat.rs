//! Heartbeats: an attempt that tells that it is alive goes on, one that does not is lost, and the next one is told
//! how far it had come.

use aura_core::error::Code;
use aura_core::event::{Doubt, Purpose};
use aura_core::input::{Heartbeat, Input};
use serde_json::{Value, json};

use super::bench::{Bench, certain};

fn one(class: &str) -> Bench {
    let source = format!(
        "flow: one\nnodes:\n  - {{ id: a, tool: sim.{class}, with: {{}}, heartbeat: 5s, timeout: 1h }}\n"
    );
    Bench::new(&source, json!({}))
}

fn beat(bench: &Bench, attempt: u32, details: Value) -> Input {
    let task = bench.run.tasks.get(&"a".into()).expect("a task");
    let (call, details) = (task.spec.call, details.into());
    Input::Heartbeat(Heartbeat { step: "a".into(), attempt, call, details })
}

fn details(bench: &Bench) -> Value {
    let task = bench.run.tasks.get(&"a".into()).expect("a task");
    task.details.as_ref().and_then(|details| details.as_json().cloned()).unwrap_or_default()
}

#[test]
fn an_attempt_that_beats_goes_on_and_one_that_does_not_is_lost_as_its_class_says() {
    for class in ["pure", "read", "idempotent", "irreversible"] {
        let mut bench = one(class);
        for second in [3, 6, 9] {
            bench.now = super::bench::START.plus(second * 1_000);
            bench.give(beat(&bench, 1, json!({ "rows": second })));
        }
        let due = bench.run.timers.due(&"a".into(), Purpose::Heartbeat);
        assert_eq!(due, Some(bench.now.plus(5_000)));
        bench.fire();
        assert_eq!(details(&bench), json!({ "rows": 9 }), "the next attempt is told");
        insta::assert_snapshot!(format!("silent_{class}"), bench.history());
    }
}

#[test]
fn a_crash_forgets_nothing_that_was_told() {
    let mut bench = one("idempotent");
    bench.give(beat(&bench, 1, json!("half")));
    bench.give(Input::Unknown { steps: bench.run.outstanding(), doubt: Doubt::Crash });
    assert_eq!(details(&bench), json!("half"));
    assert!(bench.run.timers.due(&"a".into(), Purpose::Heartbeat).is_some(), "it must beat anew");
}

#[test]
fn only_the_attempt_in_flight_of_a_node_that_asks_is_heard() {
    let mut bench = one("read");
    bench.nothing(&beat(&bench, 2, json!(1)));
    let early = beat(&bench, 1, json!(1));
    bench.fail("a", certain(Code::RateLimit));
    assert_eq!(bench.run.timers.due(&"a".into(), Purpose::Heartbeat), None);
    bench.nothing(&early);
    let source = "flow: one\nnodes:\n  - { id: a, tool: sim.read, with: {} }\n";
    let bench = Bench::new(source, json!({}));
    bench.nothing(&beat(&bench, 1, json!(1)));
}
