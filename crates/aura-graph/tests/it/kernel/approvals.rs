//! Approvals: who must say yes, to exactly what, and for how long.

use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::input::{ApprovalVerdict, Input};
use aura_core::{Failure, limits};
use serde_json::json;

use super::bench::Bench;

fn said(actor: &str, step: &str, verdict: ApprovalVerdict) -> Input {
    Input::Approval {
        step: step.into(),
        verdict,
        action: None,
        actor: actor.to_owned(),
        reason: Some("because".to_owned()),
    }
}

fn answer(step: &str, verdict: ApprovalVerdict) -> Input {
    said("me", step, verdict)
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
    assert_eq!(asked.request.message, "Pay 40?");
    assert_eq!(asked.request.shows.as_json().unwrap()["with"], json!({ "amount": 40 }));
    bench.give(answer("ask", ApprovalVerdict::Granted));
    bench.succeed("pay", json!(null));
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

/// The amount changes after it was approved, and the payment is visited again.
const CHANGES: &str = r#"
flow: changes
vars: { amount: 40 }
nodes:
  - { id: ask, approval: { of: pay, message: "Pay {{ vars.amount }}?", roles: [boss], expires: 1h } }
  - { id: pay, tool: sim.irreversible, with: { amount: $vars.amount } }
  - id: change
    set: { amount: 4000 }
    next: [{ when: "{{ steps.pay.visit < 2 }}", to: pay }]
"#;

/// A run that is about to pay what nobody approved.
fn changed() -> Bench {
    let mut bench = Bench::new(CHANGES, json!({}));
    bench.give(answer("ask", ApprovalVerdict::Granted));
    bench.succeed("pay", json!(null));
    bench
}

#[test]
fn a_call_that_is_not_the_approved_one_is_held_back_and_asked_about_again() {
    let mut bench = changed();
    let (step, asked) = bench.run.approvals.iter().next().unwrap();
    assert_eq!(step.as_str(), "pay#2");
    assert_eq!(asked.request.message, "Pay 4000?");
    assert_eq!(asked.request.roles, ["boss"]);
    assert_eq!(asked.request.shows.as_json().unwrap()["with"], json!({ "amount": 4000 }));
    assert!(!bench.history().contains("tool.called pay#2"));
    assert_eq!(bench.run.status().as_str(), "waiting");
    bench.give(answer("pay#2", ApprovalVerdict::Granted));
    bench.succeed("pay#2", json!(null));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_call_that_is_held_back_fails_on_no_and_on_nothing() {
    let mut denied = changed();
    denied.give(answer("pay#2", ApprovalVerdict::Denied));
    assert!(denied.history().ends_with("run.failed APPROVAL_DENIED\n--\n"), "{}", denied.history());
    let mut expired = changed();
    expired.fire();
    assert!(
        expired.history().ends_with("run.failed APPROVAL_EXPIRED\n--\n"),
        "{}",
        expired.history()
    );
}

#[test]
fn an_answer_to_the_first_question_is_none_to_the_second() {
    let first = Bench::new(CHANGES, json!({}));
    let action = first.run.approvals.iter().next().map(|(_, asked)| asked.request.action);
    let stale = Input::Approval {
        step: "pay#2".into(),
        verdict: ApprovalVerdict::Granted,
        action,
        actor: "me".to_owned(),
        reason: None,
    };
    assert_eq!(changed().refused(&stale).code, Code::ApprovalMismatch);
}

#[test]
fn each_approval_of_a_call_is_asked_again_before_it_goes_on() {
    let source = r#"
flow: two
nodes:
  - { id: legal, approval: { of: pay } }
  - { id: money, approval: { of: pay } }
  - { id: pay, tool: sim.pure, with: {} }
  - { id: check, set: { x: 1 }, next: [{ when: "{{ steps.pay.visit < 2 }}", to: pay }] }
"#;
    let mut bench = Bench::new(source, json!({}));
    for step in ["legal", "money"] {
        bench.give(answer(step, ApprovalVerdict::Granted));
    }
    bench.succeed("pay", json!(null));
    bench.give(answer("pay#2", ApprovalVerdict::Granted));
    assert!(!bench.run.tasks.get(&"pay#2".into()).unwrap().in_flight());
    bench.give(answer("pay#2", ApprovalVerdict::Granted));
    bench.succeed("pay#2", json!(null));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_quorum_counts_each_person_once() {
    let source = r"
flow: quorum
nodes:
  - { id: ask, approval: { of: pay, quorum: 2, roles: [a, b] } }
  - { id: pay, tool: sim.irreversible, with: {} }
output: $steps.ask.output.answers
";
    let mut bench = Bench::new(source, json!({}));
    bench.give(said("ada", "ask", ApprovalVerdict::Granted));
    bench.nothing(&said("ada", "ask", ApprovalVerdict::Granted));
    let (_, asked) = bench.run.approvals.iter().next().unwrap();
    assert_eq!(asked.missing(), 1);
    assert_eq!(asked.granted[0].roles, ["a", "b"], "nobody is authenticated: all roles count");
    assert!(!asked.granted[0].authenticated);
    bench.give(said("bob", "ask", ApprovalVerdict::Granted));
    bench.succeed("pay", json!(null));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn one_no_is_enough_also_from_who_said_yes() {
    let source = "flow: q\nnodes: [{ id: ask, approval: { quorum: 2 } }]\n";
    let mut bench = Bench::new(source, json!({}));
    bench.give(said("ada", "ask", ApprovalVerdict::Granted));
    bench.give(said("ada", "ask", ApprovalVerdict::Denied));
    assert!(bench.history().ends_with("run.failed APPROVAL_DENIED\n--\n"), "{}", bench.history());
}

#[test]
fn an_answer_is_bounded() {
    let bench = Bench::new(PAYS, json!({ "amount": 40 }));
    let long = said(&"n".repeat(limits::NAME_BYTES + 1), "ask", ApprovalVerdict::Granted);
    assert_eq!(bench.refused(&long).code, Code::LimitExceeded);
    let Input::Approval { step, verdict, action, actor, .. } =
        answer("ask", ApprovalVerdict::Denied)
    else {
        unreachable!()
    };
    let reason = Some("r".repeat(limits::MESSAGE_BYTES + 1));
    let long = Input::Approval { step, verdict, action, actor, reason };
    assert_eq!(bench.refused(&long).code, Code::LimitExceeded);
}

#[test]
fn what_is_held_back_does_not_outlive_its_body() {
    let source = r#"
flow: beside
vars: { n: 1 }
nodes:
  - id: both
    parallel:
      branches:
        pays:
          - { id: ask, approval: { of: pay } }
          - { id: pay, tool: sim.irreversible, with: {} }
          - { id: check, set: { x: 1 }, next: [{ when: "{{ steps.pay.visit < 2 }}", to: pay }] }
        fails: [{ id: t, tool: sim.pure, with: {} }]
"#;
    let mut bench = Bench::new(source, json!({}));
    bench.give(answer("both[pays]/ask", ApprovalVerdict::Granted));
    bench.succeed("both[pays]/pay", json!(null));
    assert_eq!(bench.run.approvals.size(), 1);
    bench.fail("both[fails]/t", Failure::certain(Code::NotFound, "no"));
    assert!(bench.run.closed() && bench.run.approvals.is_empty(), "{}", bench.history());
}
