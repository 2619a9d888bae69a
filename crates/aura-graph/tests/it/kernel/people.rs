//! Signals, and the clock that does not wait for them.

use aura_core::Data;
use aura_core::error::Code;
use aura_core::input::Input;
use aura_core::limits;
use serde_json::json;

use super::bench::Bench;

fn signal(id: &str, name: &str, payload: i32) -> Input {
    Input::Signal {
        id: id.to_owned(),
        name: name.to_owned(),
        payload: Data::from(json!(payload)),
        actor: "me".to_owned(),
    }
}

const WAITS: &str = r"
flow: waits
nodes:
  - { id: a, wait: { signal: go, timeout: 5m } }
  - { id: b, wait: { signal: go } }
output: [$steps.a.output, $steps.b.output]
";

#[test]
fn signals_are_kept_in_order_and_known_by_their_id() {
    let mut bench = Bench::new(WAITS, json!({}));
    bench.give(signal("1", "other", 0));
    bench.give(signal("2", "go", 1));
    bench.nothing(&signal("2", "go", 1));
    bench.give(signal("3", "go", 2));
    assert!(bench.run.closed());
    bench.nothing(&signal("3", "go", 2));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_signal_before_its_wait_is_taken_by_it() {
    let source =
        "flow: kept\nnodes:\n  - { id: a, sleep: 1s }\n  - { id: b, wait: { signal: go } }\n";
    let mut bench = Bench::new(source, json!({}));
    bench.give(signal("1", "go", 1));
    bench.give(signal("2", "go", 2));
    bench.fire();
    insta::assert_snapshot!(bench.history());
    assert!(bench.run.closed());
}

#[test]
fn a_wait_gives_up_when_its_time_is_over() {
    let mut bench = Bench::new(WAITS, json!({}));
    bench.fire();
    insta::assert_snapshot!(bench.history());
}

#[test]
fn too_many_signals_are_refused_and_none_is_lost() {
    let source =
        "flow: full\nnodes:\n  - { id: a, sleep: 1s }\n  - { id: b, wait: { signal: go } }\n";
    let mut bench = Bench::new(source, json!({}));
    for number in 0..limits::SIGNALS {
        bench.give(signal(&number.to_string(), "go", 1));
    }
    assert_eq!(bench.refused(&signal("one more", "go", 1)).code, Code::TooManySignals);
    bench.fire();
    assert!(bench.run.closed());
}

#[test]
fn a_signal_passes_over_a_wait_that_stops() {
    let source = r"
flow: stops
nodes:
  - id: p
    parallel:
      branches:
        a:
          - id: inner
            on_error: continue
            parallel:
              branches:
                acts: [{ id: t, tool: sim.irreversible, with: {} }]
                fails: [{ id: t, tool: sim.pure, with: {} }]
                waits: [{ id: w, wait: { signal: go } }]
        b: [{ id: w, wait: { signal: go } }]
output: $steps.p.output
";
    let mut bench = Bench::new(source, json!({}));
    bench.fail("p[a]/inner[fails]/t", aura_core::Failure::certain(Code::NotFound, "no"));
    bench.give(signal("1", "go", 7));
    bench.succeed("p[a]/inner[acts]/t", json!(null));
    assert!(
        bench.history().ends_with("run.completed {\"a\":null,\"b\":7}\n--\n"),
        "{}",
        bench.history()
    );
}

#[test]
fn what_is_sent_is_bounded_whoever_sends_it() {
    let bench = Bench::new(WAITS, json!({}));
    let large = Input::Signal {
        id: "1".to_owned(),
        name: "go".to_owned(),
        payload: Data::from(json!("x".repeat(limits::BLOB_TABLE_BYTES))),
        actor: "me".to_owned(),
    };
    assert_eq!(bench.refused(&large).code, Code::LimitExceeded);
    let mut deep = json!(1);
    for _ in 0..=limits::VALUE_NESTING {
        deep = json!([deep]);
    }
    let deep = Input::Signal {
        id: "1".to_owned(),
        name: "go".to_owned(),
        payload: Data::from(deep),
        actor: "me".to_owned(),
    };
    assert_eq!(bench.refused(&deep).code, Code::LimitExceeded);
    let long = signal("1", &"n".repeat(limits::NAME_BYTES + 1), 1);
    assert_eq!(bench.refused(&long).code, Code::LimitExceeded);
}
