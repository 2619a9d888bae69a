//! Retries and doubt: what is tried again, what parks, and what a person says.

use aura_core::Data;
use aura_core::error::{Code, Failure};
use aura_core::event::{Doubt, Settlement};
use aura_core::input::Input;
use aura_core::limits;
use aura_core::task::TaskResult;
use serde_json::json;

use super::bench::{Bench, certain, doubtful, succeeded};

fn one(class: &str) -> Bench {
    let source = format!("flow: one\nnodes:\n  - {{ id: a, tool: sim.{class}, with: {{}} }}\n");
    Bench::new(&source, json!({}))
}

fn crash(bench: &mut Bench) {
    bench.give(Input::Unknown { steps: bench.run.outstanding(), doubt: Doubt::Crash });
}

fn settle(bench: &Bench, outcome: Settlement) -> Input {
    let (_, task) = bench.run.in_doubt().next().expect("something in doubt");
    Input::Settle { key: task.spec.key, outcome, actor: "me".to_owned(), reason: None }
}

#[test]
fn what_certainly_did_not_act_is_tried_three_times() {
    let mut bench = one("irreversible");
    bench.fail("a", certain(Code::RateLimit));
    bench.fire();
    bench.fail("a", certain(Code::RateLimit));
    bench.fire();
    bench.fail("a", certain(Code::RateLimit));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn what_another_try_cannot_help_fails_at_once() {
    let mut bench = one("irreversible");
    bench.fail("a", certain(Code::InvalidInput));
    assert!(bench.run.closed());
}

#[test]
fn a_wait_that_is_asked_for_is_obeyed() {
    let mut bench = one("read");
    let failure = certain(Code::RateLimit);
    let input = bench.outcome("a", TaskResult::Failed { failure, retry_after_ms: Some(90_000) });
    bench.give(input);
    let (due, ..) = bench.run.timers.first().unwrap();
    assert_eq!(due.since(bench.now), 90_000);
}

#[test]
fn each_class_meets_doubt_in_its_own_way() {
    for class in ["pure", "read", "idempotent", "irreversible"] {
        let mut lost = one(class);
        lost.fail("a", doubtful(Code::NetworkError));
        let mut timeout = one(class);
        timeout.fire();
        let mut crashed = one(class);
        crash(&mut crashed);
        let history = format!(
            "lost\n{}\ntimed out\n{}\ncrashed\n{}",
            lost.history(),
            timeout.history(),
            crashed.history()
        );
        insta::assert_snapshot!(class, history);
    }
}

#[test]
fn an_idempotent_effect_that_stays_in_doubt_parks_after_its_tries() {
    let mut bench = one("idempotent");
    for _ in 0..2 {
        bench.fail("a", doubtful(Code::NetworkError));
        bench.fire();
    }
    bench.fail("a", doubtful(Code::NetworkError));
    assert_eq!(bench.run.in_doubt().count(), 1);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_keyed_call_is_not_sent_again_when_its_key_is_too_old() {
    let source =
        "flow: one\nnodes:\n  - { id: a, tool: sim.irreversible, effect: idempotent, with: {} }\n";
    let mut young = Bench::new(source, json!({}));
    crash(&mut young);
    assert_eq!(young.run.in_doubt().count(), 0);
    let mut old = Bench::new(source, json!({}));
    old.now = old.now.plus(limits::KEY_TTL_MS);
    crash(&mut old);
    assert_eq!(old.run.in_doubt().count(), 1);
}

#[test]
fn a_crash_costs_no_attempt_but_ten_of_them_park() {
    for class in ["pure", "idempotent"] {
        let mut bench = one(class);
        for crashes in 1..limits::TASK_RECOVERIES {
            crash(&mut bench);
            assert_eq!(bench.run.in_doubt().count(), 0, "{class} after {crashes}");
            assert_eq!(bench.run.tasks.get(&"a".into()).unwrap().attempt, 1);
        }
        crash(&mut bench);
        let (_, task) = bench.run.in_doubt().next().expect("it parks");
        assert_eq!(task.error.as_ref().map(|e| e.code), Some(Code::LimitExceeded), "{class}");
    }
}

#[test]
fn a_person_settles_what_is_in_doubt() {
    let parked = || {
        let mut bench = one("irreversible");
        crash(&mut bench);
        bench
    };
    let mut succeeded = parked();
    let said = settle(&succeeded, Settlement::Succeeded(Data::from(json!({ "paid": true }))));
    succeeded.give(said);
    insta::assert_snapshot!("settled_as_succeeded", succeeded.history());
    let mut failed = parked();
    let said = settle(&failed, Settlement::Failed(Failure::certain(Code::NotFound, "no trace")));
    failed.give(said);
    insta::assert_snapshot!("settled_as_failed", failed.history());
    let mut again = parked();
    let said = settle(&again, Settlement::Retry);
    again.give(said);
    again.succeed("a", json!(null));
    insta::assert_snapshot!("settled_for_another_try", again.history());
}

#[test]
fn settling_what_is_not_in_doubt_is_refused() {
    let bench = one("irreversible");
    let (_, task) = bench.run.tasks.iter().next().unwrap();
    let input = Input::Settle {
        key: task.spec.key,
        outcome: Settlement::Retry,
        actor: "me".to_owned(),
        reason: None,
    };
    assert_eq!(bench.refused(&input).code, Code::NotWaiting);
}

#[test]
fn the_same_answer_may_come_twice_but_no_other() {
    let source = "flow: one\nnodes:\n  - { id: a, tool: sim.irreversible, with: {} }\n  - { id: b, tool: sim.irreversible, with: {} }\n";
    for large in [false, true] {
        let output = if large { "x".repeat(limits::INLINE_BYTES) } else { "x".to_owned() };
        let mut bench = Bench::new(source, json!({}));
        crash(&mut bench);
        let said = settle(&bench, Settlement::Succeeded(Data::from(json!(output))));
        let other = settle(&bench, Settlement::Retry);
        bench.give(said.clone());
        bench.nothing(&said);
        assert_eq!(bench.refused(&other).code, Code::NotWaiting);
        bench.succeed("b", json!(null));
        bench.nothing(&said);
        assert_eq!(bench.refused(&other).code, Code::RunClosed);
    }
    let mut bench = one("irreversible");
    crash(&mut bench);
    let again = settle(&bench, Settlement::Retry);
    bench.give(again.clone());
    bench.nothing(&again);
    crash(&mut bench);
    bench.give(again);
}

#[test]
fn a_late_success_of_any_attempt_wins() {
    let mut bench = one("idempotent");
    let first = bench.outcome("a", succeeded(json!("first")));
    bench.fire();
    bench.fire();
    assert_eq!(bench.run.tasks.get(&"a".into()).unwrap().attempt, 2);
    bench.give(first);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_late_outcome_settles_what_parked() {
    let mut bench = one("irreversible");
    let late = bench.outcome("a", succeeded(json!("late")));
    bench.fire();
    assert_eq!(bench.run.in_doubt().count(), 1);
    bench.give(late);
    assert!(bench.run.closed());
    let mut bench = one("irreversible");
    let failure = certain(Code::NotFound);
    let late = bench.outcome("a", TaskResult::Failed { failure, retry_after_ms: None });
    bench.fire();
    bench.give(late);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_step_may_fail_instead_of_asking() {
    let source = "flow: one\nnodes:\n  - { id: a, tool: sim.irreversible, with: {}, on_unknown: fail, on_error: continue }\n";
    let mut bench = Bench::new(source, json!({}));
    crash(&mut bench);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_certain_failure_does_not_erase_doubt_about_an_earlier_attempt() {
    let mut bench = one("idempotent");
    bench.fail("a", doubtful(Code::NetworkError));
    bench.fire();
    bench.fail("a", certain(Code::Conflict));
    assert_eq!(bench.run.in_doubt().count(), 1, "{}", bench.history());
}

#[test]
fn an_effect_that_parks_in_its_wait_is_not_sent_again_by_itself() {
    let source =
        "flow: late\nnodes:\n  - { id: a, tool: sim.idempotent, with: {}, deadline: 1s }\n";
    let mut bench = Bench::new(source, json!({}));
    bench.fail("a", doubtful(Code::NetworkError));
    bench.fire();
    assert_eq!(bench.run.in_doubt().count(), 1, "{}", bench.history());
    assert!(bench.run.timers.first().is_none(), "a wait is left behind");
}

#[test]
fn another_try_after_settling_has_a_number_of_its_own() {
    let mut bench = one("irreversible");
    let first = bench.outcome("a", succeeded(json!("first")));
    crash(&mut bench);
    bench.slots = 0;
    let said = settle(&bench, Settlement::Retry);
    bench.give(said);
    bench.slots = 1;
    bench.give(Input::Granted { steps: vec!["a".into()] });
    bench.nothing(&first);
    bench.succeed("a", json!("second"));
    assert!(bench.history().ends_with("run.completed \"second\"\n--\n"), "{}", bench.history());
}
