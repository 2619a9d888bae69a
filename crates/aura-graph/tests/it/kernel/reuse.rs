//! Calls that are not made, because the same call was made elsewhere.

use aura_core::effect::EffectClass;
use aura_core::event::Settlement;
use aura_core::fork::Origin;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::{Data, Millis};
use aura_graph::decide::Taken;
use serde_json::json;
use uuid::Uuid;

use super::bench::Bench;

fn flow(name: &str, scope: &str) -> String {
    format!(
        "flow: {name}\nnodes:\n  - id: a\n    tool: sim.irreversible\n    with: {{ n: $input }}\n    \
         idempotency: {{ scope: {scope} }}\n"
    )
}

fn key(name: &str, scope: &str, input: i32) -> Hash {
    let bench = Bench::new(&flow(name, scope), json!(input));
    bench.run.tasks.get(&"a".into()).expect("a task").spec.key
}

fn kept() -> Taken {
    let from = Origin { run: RunId(Uuid::from_u128(9)), seq: 3 };
    let outcome = Settlement::Succeeded(Data::from(json!("kept")));
    Taken { from, outcome, truncated: false }
}

#[test]
fn a_key_is_shared_as_far_as_its_scope_says() {
    assert_ne!(key("one", "run", 1), key("one", "flow", 1));
    assert_ne!(key("one", "flow", 1), key("two", "flow", 1), "another flow");
    assert_ne!(key("one", "flow", 1), key("one", "flow", 2), "another call");
    assert_eq!(key("one", "tenant", 1), key("two", "tenant", 1));
    assert_ne!(key("one", "flow", 1), key("one", "tenant", 1));
    let twice = "flow: one\nnodes:\n  - id: b\n    after: []\n    tool: sim.irreversible\n    \
                 with: { n: 1 }\n    idempotency: { scope: flow, ttl: 1h }\n";
    let bench = Bench::new(twice, json!(1));
    let spec = &bench.run.tasks.get(&"b".into()).expect("a task").spec;
    assert_eq!(spec.key, key("one", "flow", 1), "another step");
    assert_eq!(spec.idempotency.map(|idempotency| idempotency.ttl_ms), Some(3_600_000));
}

#[test]
fn a_result_that_is_at_hand_completes_the_step() {
    let mut bench = Bench::with_slots(&flow("one", "flow"), json!(1), 0);
    bench.kept = Some(kept());
    bench.give(Input::Granted { steps: vec!["a".into()] });
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_pure_call_whose_result_is_kept_takes_the_way_of_a_read() {
    let source = flow("one", "flow").replace("sim.irreversible", "sim.pure");
    let bench = Bench::with_slots(&source, json!(1), 0);
    let task = bench.run.tasks.get(&"a".into()).expect("a task");
    assert_eq!(task.spec.class, EffectClass::Read);
    assert_eq!(task.intended, None::<Millis>);
}
