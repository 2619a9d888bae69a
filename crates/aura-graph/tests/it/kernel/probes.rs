//! Probes: looking what became of an effect in doubt, and what follows from what is found.

use aura_core::error::Code;
use aura_core::event::{Doubt, Settlement};
use aura_core::input::Input;
use aura_core::limits;
use aura_core::task::TaskResult;
use aura_graph::state::TaskPhase;
use serde_json::{Value, json};

use super::bench::{Bench, certain, doubtful, succeeded};

const FLOW: &str = r#"
flow: one
nodes:
  - id: a
    tool: sim.irreversible
    with: { order: 7 }
    effect: reconcilable
    probe:
      tool: sim.look
      with: { key: $effect.key, order: $effect.args.order }
      done: "{{ probe.output.found }}"
      not_done: "{{ probe.output.found == false or probe.error.code == 'NOT_FOUND' }}"
      output: { told: $probe.output.what, order: $effect.args.order }
"#;

fn one() -> Bench {
    Bench::new(FLOW, json!({}))
}

fn crash(bench: &mut Bench) {
    bench.give(Input::Unknown { steps: bench.run.outstanding(), doubt: Doubt::Crash });
}

fn found(bench: &mut Bench, number: u32, output: Value) {
    bench.succeed(&format!("a[probe{number}]"), output);
}

#[test]
fn a_probe_is_rendered_when_its_step_starts() {
    let bench = one();
    let task = bench.run.tasks.get(&"a".into()).unwrap();
    let probe = task.spec.probe.as_ref().expect("a probe");
    let args = json!({ "key": task.spec.key, "order": 7 });
    assert_eq!(probe.args.as_json(), Some(&args));
    assert_ne!(probe.key, task.spec.key);
}

#[test]
fn what_a_probe_finds_done_completes_the_step() {
    let mut bench = one();
    crash(&mut bench);
    found(&mut bench, 1, json!({ "found": true, "what": "paid" }));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn what_a_probe_finds_not_done_is_tried_again_while_tries_are_left() {
    let mut bench = one();
    for number in 1..=3 {
        bench.fail("a", doubtful(Code::NetworkError));
        found(&mut bench, number, json!({ "found": false }));
        if number < 3 {
            bench.fire();
        }
    }
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_probe_that_can_not_tell_parks() {
    let mut bench = one();
    crash(&mut bench);
    found(&mut bench, 1, json!({ "found": null }));
    let (_, task) = bench.run.in_doubt().next().expect("it parks");
    let why = task.error.as_ref().map(|error| error.message.clone());
    assert_eq!(why.as_deref(), Some("the probe can't tell"));
    let (key, actor) = (task.spec.key, "me".to_owned());
    bench.give(Input::Settle { key, outcome: Settlement::Retry, actor, reason: None });
    bench.fail("a", doubtful(Code::NetworkError));
    found(&mut bench, 2, json!({ "found": true, "what": "paid" }));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_probe_that_fails_is_asked_again_like_a_read() {
    let mut bench = one();
    crash(&mut bench);
    for _ in 0..2 {
        bench.fail("a[probe1]", doubtful(Code::NetworkError));
        bench.fire();
    }
    bench.fail("a[probe1]", certain(Code::Unavailable));
    assert_eq!(bench.run.in_doubt().count(), 1);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn the_failure_of_a_probe_can_tell_too() {
    let mut bench = one();
    crash(&mut bench);
    bench.fail("a[probe1]", certain(Code::NotFound));
    let task = bench.run.tasks.get(&"a".into()).unwrap();
    assert_eq!((task.phase, task.attempt), (TaskPhase::Backoff, 2), "{}", bench.history());
}

#[test]
fn a_crash_during_a_probe_costs_it_no_attempt_but_ten_of_them_park() {
    let mut bench = one();
    crash(&mut bench);
    for crashes in 1..limits::TASK_RECOVERIES {
        crash(&mut bench);
        assert_eq!(bench.run.in_doubt().count(), 0, "after {crashes}");
    }
    crash(&mut bench);
    assert_eq!(bench.run.in_doubt().count(), 1);
    assert_eq!(bench.run.tasks.size(), 1, "the probe is gone");
}

#[test]
fn the_outcome_of_the_call_itself_wins_over_its_probe() {
    let mut bench = one();
    let late = bench.outcome("a", succeeded(json!("late")));
    bench.fire();
    let stale = bench.outcome("a[probe1]", succeeded(json!({ "found": false })));
    bench.give(late);
    assert!(bench.run.closed());
    bench.nothing(&stale);
    let mut bench = one();
    let failure = certain(Code::NotFound);
    let late = bench.outcome("a", TaskResult::Failed { failure, retry_after_ms: None });
    bench.fire();
    bench.give(late);
    assert!(bench.run.closed());
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_probe_waits_for_a_slot_like_any_call() {
    let mut bench = one();
    bench.slots = 0;
    crash(&mut bench);
    assert!(bench.run.outstanding().is_empty());
    bench.slots = 1;
    bench.give(Input::Granted { steps: vec!["a[probe1]".into()] });
    found(&mut bench, 1, json!({ "found": true, "what": 1 }));
    assert!(bench.run.closed());
}

#[test]
fn an_output_that_a_probe_makes_up_must_be_known() {
    let source = FLOW.replace("$probe.output.what", "$probe.output.what.more");
    let mut bench = Bench::new(&source, json!({}));
    crash(&mut bench);
    found(&mut bench, 1, json!({ "found": true, "what": {} }));
    let (_, task) = bench.run.in_doubt().next().expect("it parks");
    let why = task.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
    assert!(why.contains("'output'") && why.contains("probe.output.what"), "{why}");
}

#[test]
fn a_cancelled_run_still_finds_out_but_tries_nothing_again() {
    let mut bench = one();
    crash(&mut bench);
    bench.give(Input::Cancel { actor: "me".to_owned(), reason: None });
    assert!(!bench.run.closed(), "what may have acted is awaited");
    found(&mut bench, 1, json!({ "found": false }));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn nothing_is_tried_again_after_the_deadline() {
    let source = FLOW.replace("effect:", "deadline: 1s\n    effect:");
    let mut called = Bench::new(&source, json!({}));
    called.fire();
    found(&mut called, 1, json!({ "found": false }));
    assert!(called.run.closed(), "{}", called.history());
    let mut probing = Bench::new(&source, json!({}));
    crash(&mut probing);
    probing.fire();
    found(&mut probing, 2, json!({ "found": false }));
    insta::assert_snapshot!(probing.history());
}

#[test]
fn an_idempotent_call_asks_its_probe_when_its_tries_are_used_up() {
    let source = FLOW
        .replace("sim.irreversible", "sim.idempotent")
        .replace("effect: reconcilable", "on_unknown: probe\n    retry: { max_attempts: 2 }");
    let mut bench = Bench::new(&source, json!({}));
    bench.fail("a", doubtful(Code::NetworkError));
    bench.fire();
    bench.fail("a", doubtful(Code::NetworkError));
    found(&mut bench, 1, json!({ "found": true, "what": 1 }));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_step_may_fail_where_its_probe_can_not_tell() {
    let source = FLOW.replace("effect:", "on_unknown: fail\n    effect:");
    let mut bench = Bench::new(&source, json!({}));
    crash(&mut bench);
    found(&mut bench, 1, json!(null));
    assert!(bench.history().ends_with("run.failed IN_DOUBT\n--\n"), "{}", bench.history());
}

#[test]
fn a_probe_that_would_act_fails_its_step() {
    let source = FLOW.replace("sim.look", "sim.any").replace("{ key:", "{ mode: $input.mode, key:");
    let bench = Bench::new(&source, json!({ "mode": "act" }));
    assert!(bench.history().ends_with("run.failed INVALID_INPUT\n--\n"), "{}", bench.history());
}
