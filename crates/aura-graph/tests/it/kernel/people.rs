//! Signals, approvals, and the clock that does not wait for them.

use aura_core::Data;
use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::input::{ApprovalVerdict, Input};
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

fn answer(step: &str, verdict: ApprovalVerdict) -> Input {
    Input::Approval {
        step: step.into(),
        verdict,
        action: None,
        actor: "me".to_owned(),
        reason: Some("because".to_owned()),
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

const PAYS: &str = r#"
flow: pays
nodes:
  - id: ask
    approval: { of: pay, message: "Pay {{ input.amount }}?", expires: 1h }
  - id: pay
    tool: sim.irreversible
    with: { amount: $input.amount }
"#;

#[test]
fn an_approval_lets_exactly_its_call_pass() {
    let mut bench = Bench::new(PAYS, json!({ "amount": 40 }));
    let (_, asked) = bench.run.approvals.iter().next().unwrap();
    assert_eq!(asked.message, "Pay 40?");
    assert_eq!(asked.shows.as_json().unwrap()["with"], json!({ "amount": 40 }));
    bench.give(answer("ask", ApprovalVerdict::Granted));
    bench.succeed("pay", json!(null));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn what_is_approved_is_not_another_call() {
    let source = r"
flow: changes
vars: { amount: 40 }
nodes:
  - { id: nap, sleep: 1s }
  - { id: change, set: { amount: 4000 } }
  - { id: ask, after: [], approval: { of: pay } }
  - { id: pay, after: [ask], tool: sim.irreversible, with: { amount: $vars.amount } }
";
    let mut bench = Bench::new(source, json!({}));
    bench.fire();
    bench.give(answer("ask", ApprovalVerdict::Granted));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn an_answer_to_what_is_not_asked_is_refused() {
    let bench = Bench::new(PAYS, json!({ "amount": 40 }));
    assert_eq!(bench.refused(&answer("pay", ApprovalVerdict::Granted)).code, Code::NotWaiting);
    let Input::Approval { step, verdict, actor, reason, .. } =
        answer("ask", ApprovalVerdict::Granted)
    else {
        unreachable!()
    };
    let action = Some(Hash::of(b"what was shown before"));
    let stale = Input::Approval { step, verdict, action, actor, reason };
    assert_eq!(bench.refused(&stale).code, Code::ApprovalMismatch);
}

#[test]
fn no_and_nothing_both_fail_the_approval() {
    let mut denied = Bench::new(PAYS, json!({ "amount": 40 }));
    denied.give(answer("ask", ApprovalVerdict::Denied));
    insta::assert_snapshot!("denied", denied.history());
    let mut expired = Bench::new(PAYS, json!({ "amount": 40 }));
    expired.fire();
    insta::assert_snapshot!("expired", expired.history());
}

#[test]
fn one_approval_covers_one_visit() {
    let source = r#"
flow: twice
nodes:
  - { id: ask, approval: { of: pay } }
  - { id: pay, tool: sim.irreversible, with: { amount: 40 } }
  - { id: check, tool: sim.pure, with: {}, next: [{ when: "{{ steps.check.visit < 2 }}", to: pay }] }
"#;
    let mut bench = Bench::new(source, json!({}));
    bench.give(answer("ask", ApprovalVerdict::Granted));
    bench.succeed("pay", json!(null));
    bench.succeed("check", json!(null));
    assert!(bench.history().ends_with("run.failed APPROVAL_MISMATCH\n--\n"), "{}", bench.history());
}

#[test]
fn what_was_not_approved_does_not_run_even_where_the_flow_goes_on() {
    let source = r"
flow: denied
nodes:
  - { id: ask, approval: { of: pay }, on_error: continue }
  - { id: pay, tool: sim.irreversible, with: { amount: 40 } }
";
    let mut bench = Bench::new(source, json!({}));
    bench.give(answer("ask", ApprovalVerdict::Denied));
    assert!(bench.history().ends_with("run.failed APPROVAL_DENIED\n--\n"), "{}", bench.history());
}

#[test]
fn an_expired_approval_can_not_be_granted() {
    let mut bench = Bench::new(PAYS, json!({ "amount": 40 }));
    bench.now = bench.now.plus(3_600_000);
    let refused = bench.refused(&answer("ask", ApprovalVerdict::Granted));
    assert_eq!(refused.code, Code::ApprovalExpired);
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
