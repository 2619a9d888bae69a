//! Deadlines of whole runs, and signals whose payload must fit.

use aura_core::error::Code;
use aura_core::input::Input;
use aura_core::ports::RunStatus;
use serde_json::{Value, json};

use super::bench::Bench;

const LATE: &str = r"
flow: late
deadline: 1h
nodes:
  - id: act
    tool: sim.irreversible
    with: {}
    compensate: { tool: sim.idempotent, with: {} }
  - id: sides
    parallel:
      branches:
        acts: [{ id: t, tool: sim.irreversible, with: {} }, { id: u, tool: sim.irreversible, with: {} }]
        naps: [{ id: t, sleep: 2h }]
";

#[test]
fn a_run_past_its_deadline_awaits_what_may_have_acted_and_is_undone() {
    let mut bench = Bench::new(LATE, json!({}));
    let deadline = bench.run.started.as_ref().and_then(|started| started.deadline);
    assert_eq!(deadline, Some(bench.now.plus(3_600_000)));
    bench.succeed("act", json!(null));
    bench.now = bench.now.plus(3_600_000);
    let due = bench.now;
    let (step, purpose) = (aura_core::StepPath::root(), aura_core::event::Purpose::Deadline);
    bench.give(Input::Timer { step, purpose, due });
    assert_eq!(bench.run.status(), RunStatus::Running, "a call that may have acted is awaited");
    bench.succeed("sides[acts]/t", json!(null));
    bench.succeed("act/compensate", json!(null));
    insta::assert_snapshot!(bench.history());
    assert_eq!(bench.run.status(), RunStatus::Compensated);
    assert_eq!(bench.run.failure().map(|(error, step)| (error.code, step)), {
        Some((Code::Deadline, None))
    });
}

#[test]
fn an_earlier_deadline_that_a_start_brings_counts() {
    let mut start = aura_testkit::world::start_of(1, LATE, json!({}), aura_core::Hash::ZERO);
    start.started.deadline = Some(super::bench::START.plus(5));
    let bench = Bench::started(start.flows.main, start.started, 1);
    assert_eq!(bench.run.due().map(|(due, ..)| due.since(super::bench::START)), Some(5));
}

fn signal(id: &str, name: &str, payload: Value) -> Input {
    let (id, name, actor) = (id.to_owned(), name.to_owned(), "me".to_owned());
    Input::Signal { id, name, payload: payload.into(), actor }
}

#[test]
fn a_payload_that_does_not_fit_is_refused_whether_it_is_awaited_or_early() {
    let source = r"
flow: paid
signals:
  paid: { type: object, required: [amount], properties: { amount: { type: number } } }
  late: {}
nodes:
  - { id: a, wait: { signal: paid } }
  - { id: b, wait: { signal: paid } }
output: $steps.b.output.amount
";
    let mut bench = Bench::new(source, json!({}));
    for wrong in [json!(null), json!({ "amount": "3" }), json!({})] {
        let problem = bench.refused(&signal("1", "paid", wrong));
        assert_eq!(problem.code, Code::InvalidInput);
    }
    let problem = bench.refused(&signal("1", "payed", json!({ "amount": 3 })));
    assert_eq!((problem.code, problem.next.as_deref()), {
        (Code::InvalidInput, Some("it takes late, paid"))
    });
    bench.give(signal("1", "paid", json!({ "amount": 1 })));
    // One that came before is answered, whatever it carries this time.
    bench.nothing(&signal("1", "paid", json!(null)));
    bench.give(signal("2", "late", json!("anything")));
    bench.give(signal("3", "paid", json!({ "amount": 3 })));
    assert_eq!(bench.run.status(), RunStatus::Completed);
}
