//! Compensation: what is undone, in which order, and what becomes of what can't be.

use aura_core::error::Code;
use aura_core::event::{Doubt, Settlement};
use aura_core::input::Input;
use aura_core::ports::RunStatus;
use serde_json::json;

use super::bench::{Bench, certain, doubtful};

/// Two steps and the items of a map that can be undone, beside a branch that fails.
const ORDER: &str = r"
flow: order
nodes:
  - id: book
    tool: sim.irreversible
    with: { n: 1 }
    compensate: { tool: sim.idempotent, with: { undo: $steps.book.output.id } }
  - id: seats
    map:
      items: [a, b]
      do:
        - id: take
          tool: sim.irreversible
          with: { seat: $item }
          compensate: { tool: sim.idempotent, with: { free: $item, was: $steps.take.output } }
  - { id: free, tool: sim.read, with: {} }
  - id: sides
    parallel:
      branches:
        pay:
          - id: charge
            tool: sim.irreversible
            with: { n: 2 }
            compensate: { tool: sim.irreversible, with: { refund: $steps.charge.output, of: $input.order } }
        check: [{ id: look, tool: sim.read, with: {} }]
";

fn cancel() -> Input {
    Input::Cancel { actor: "me".to_owned(), reason: None }
}

/// A run in which all is done but the branches `charge` and `look`.
fn order() -> Bench {
    let mut bench = Bench::new(ORDER, json!({ "order": 17 }));
    bench.succeed("book", json!({ "id": 7 }));
    bench.succeed("seats[1]/take", json!("second"));
    bench.succeed("seats[0]/take", json!("first"));
    bench.succeed("free", json!(null));
    bench
}

fn undo_all(bench: &mut Bench) {
    while bench.run.status() == RunStatus::Compensating {
        let step = bench.run.tasks.keys().next().expect("a compensation").to_string();
        bench.succeed(&step, json!(null));
    }
}

#[test]
fn what_is_done_is_undone_in_reverse_order_with_items_and_late_finishers() {
    let mut bench = order();
    bench.fail("sides[check]/look", certain(Code::NotFound));
    assert_eq!(bench.run.status(), RunStatus::Running, "a charge that may have acted is awaited");
    bench.succeed("sides[pay]/charge", json!("paid"));
    let task = bench.run.tasks.get(&"sides[pay]/charge/compensate".into()).expect("it is first");
    assert_eq!(json!(task.spec.args)["json"], json!({ "refund": "paid", "of": 17 }));
    undo_all(&mut bench);
    insta::assert_snapshot!(bench.history());
    assert_eq!(bench.run.status(), RunStatus::Compensated);
    let row = bench.run.row().unwrap();
    assert_eq!(row.error, Some(Code::NotFound), "the failure stays visible");
}

#[test]
fn a_compensation_sees_its_item_and_what_its_step_gave() {
    let mut bench = order();
    bench.fail("sides[check]/look", certain(Code::NotFound));
    bench.succeed("sides[pay]/charge", json!(null));
    bench.succeed("sides[pay]/charge/compensate", json!(null));
    let task = bench.run.tasks.get(&"seats[0]/take/compensate".into()).unwrap();
    assert_eq!(json!(task.spec.args)["json"], json!({ "free": "a", "was": "first" }));
}

#[test]
fn a_cancelled_run_is_undone_too() {
    let mut bench = order();
    bench.give(cancel());
    assert_eq!(bench.run.status(), RunStatus::Cancelling);
    bench.succeed("sides[pay]/charge", json!("paid"));
    bench.nothing(&cancel());
    undo_all(&mut bench);
    insta::assert_snapshot!(bench.history());
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
}

#[test]
fn a_compensation_that_fails_three_times_is_listed_and_the_others_still_run() {
    let mut bench = order();
    bench.give(cancel());
    bench.succeed("sides[pay]/charge", json!("paid"));
    for _ in 0..2 {
        bench.fail("sides[pay]/charge/compensate", certain(Code::RateLimit));
        bench.fire();
    }
    bench.fail("sides[pay]/charge/compensate", certain(Code::RateLimit));
    undo_all(&mut bench);
    insta::assert_snapshot!(bench.history());
    assert_eq!(bench.run.status(), RunStatus::CompensationFailed);
}

#[test]
fn doubt_is_settled_before_anything_is_undone() {
    let mut bench = order();
    bench.fail("sides[pay]/charge", doubtful(Code::NetworkError));
    bench.fail("sides[check]/look", certain(Code::NotFound));
    assert_eq!(bench.run.status(), RunStatus::InDoubt);
    settle(&mut bench, Settlement::Succeeded(json!("paid").into()));
    assert!(bench.run.tasks.get(&"sides[pay]/charge/compensate".into()).is_some());
}

fn settle(bench: &mut Bench, outcome: Settlement) {
    let (_, task) = bench.run.in_doubt().next().expect("something in doubt");
    let key = task.spec.key;
    bench.give(Input::Settle { key, outcome, actor: "me".to_owned(), reason: None });
}

#[test]
fn a_compensation_in_doubt_waits_for_a_person() {
    for (name, outcome) in [
        ("undo_succeeded", Settlement::Succeeded(json!(null).into())),
        ("undo_failed", Settlement::Failed(certain(Code::NotFound))),
        ("undo_retry", Settlement::Retry),
    ] {
        let mut bench = order();
        bench.give(cancel());
        bench.succeed("sides[pay]/charge", json!("paid"));
        bench.fail("sides[pay]/charge/compensate", doubtful(Code::NetworkError));
        assert_eq!(bench.run.in_doubt().count(), 1);
        assert_eq!(bench.run.status(), RunStatus::Compensating);
        settle(&mut bench, outcome);
        undo_all(&mut bench);
        insta::assert_snapshot!(name, bench.history());
    }
}

#[test]
fn a_crash_while_undoing_goes_on_where_it_was() {
    let mut bench = order();
    bench.give(cancel());
    bench.succeed("sides[pay]/charge", json!("paid"));
    bench.succeed("sides[pay]/charge/compensate", json!(null));
    let steps = bench.run.outstanding();
    assert_eq!(steps, ["seats[0]/take/compensate".into()]);
    bench.give(Input::Unknown { steps, doubt: Doubt::Crash });
    undo_all(&mut bench);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_compensation_that_cannot_be_rendered_loses_no_effect() {
    let source = r#"
flow: broken
nodes:
  - id: act
    tool: sim.irreversible
    with: {}
    compensate: { tool: sim.idempotent, with: { undo: "{{ steps.act.output.id.of.it }}" } }
  - { id: look, tool: sim.read, with: {} }
"#;
    let mut bench = Bench::new(source, json!({}));
    bench.succeed("act", json!({}));
    bench.fail("look", certain(Code::NotFound));
    insta::assert_snapshot!(bench.history());
    assert_eq!(bench.run.status(), RunStatus::CompensationFailed);
}

#[test]
fn a_step_that_fails_after_it_acted_is_undone() {
    let source = r#"
flow: routes
nodes:
  - id: act
    tool: sim.irreversible
    with: {}
    compensate: { tool: sim.idempotent, with: {} }
    next: [{ when: "{{ steps.act.output.a.b.c }}", to: other }]
  - { id: other, tool: sim.read, with: {} }
"#;
    let mut bench = Bench::new(source, json!({}));
    bench.succeed("act", json!({}));
    undo_all(&mut bench);
    insta::assert_snapshot!(bench.history());
    assert_eq!(bench.run.status(), RunStatus::Compensated);
}

#[test]
fn what_is_given_up_as_unknown_is_told_as_not_undone() {
    let source = r"
flow: unknown
nodes:
  - id: act
    tool: sim.irreversible
    with: {}
    on_unknown: fail
    compensate: { tool: sim.idempotent, with: {} }
";
    let mut bench = Bench::new(source, json!({}));
    bench.fail("act", doubtful(Code::NetworkError));
    assert_eq!(bench.run.status(), RunStatus::CompensationFailed);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_failure_that_the_flow_handles_undoes_nothing() {
    let source = r"
flow: handled
nodes:
  - { id: act, tool: sim.irreversible, with: {}, compensate: { tool: sim.idempotent, with: {} } }
  - { id: look, tool: sim.read, with: {}, on_error: continue }
";
    let mut bench = Bench::new(source, json!({}));
    bench.succeed("act", json!({}));
    bench.fail("look", certain(Code::NotFound));
    assert_eq!(bench.run.status(), RunStatus::Completed);
    assert_eq!(bench.run.saga.as_ref().map(|saga| saga.waiting()), Some(0));
}

#[test]
fn without_a_slot_a_compensation_waits_for_its_grant() {
    let mut bench = order();
    bench.succeed("sides[pay]/charge", json!("paid"));
    bench.slots = 0;
    bench.fail("sides[check]/look", certain(Code::NotFound));
    let ready: Vec<_> = bench.run.ready().map(|(step, _)| step.clone()).collect();
    assert_eq!(ready, ["sides[pay]/charge/compensate".into()]);
    assert!(!bench.run.idle());
    bench.slots = 1;
    bench.give(Input::Granted { steps: ready });
    assert_eq!(bench.run.outstanding().len(), 1);
}
