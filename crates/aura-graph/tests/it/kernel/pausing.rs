//! Pausing: nothing new starts, what happens meanwhile is recorded, and resuming goes on from there.

use aura_core::child::{ChildAccount, ChildEnd};
use aura_core::error::Code;
use aura_core::event::{Doubt, Purpose, RunStarted};
use aura_core::hash::Hash;
use aura_core::input::{ApprovalVerdict, Input};
use aura_core::ports::RunStatus;
use aura_testkit::world::start_family;
use serde_json::json;

use super::bench::{Bench, certain};

fn pause() -> Input {
    Input::Pause { actor: "me".to_owned(), reason: Some("lunch".to_owned()) }
}

fn resume() -> Input {
    Input::Resume { actor: "me".to_owned(), reason: None }
}

fn signal(name: &str) -> Input {
    let (id, name) = (name.to_owned(), name.to_owned());
    Input::Signal { id, name, payload: json!(1).into(), actor: "me".to_owned() }
}

const SIDES: &str = r"
flow: sides
nodes:
  - id: p
    parallel:
      branches:
        acts: [{ id: t, tool: sim.irreversible, with: {} }, { id: u, tool: sim.irreversible, with: {} }]
        tries: [{ id: t, tool: sim.read, with: {} }]
        sleeps: [{ id: t, sleep: 1m }, { id: u, tool: sim.read, with: {} }]
        waits: [{ id: t, wait: { signal: go, timeout: 1h } }, { id: u, tool: sim.pure, with: {} }]
        asks: [{ id: t, approval: { message: well, expires: 2h } }]
  - { id: after, tool: sim.pure, with: {} }
";

#[test]
fn a_paused_run_records_what_happens_and_goes_on_when_it_is_resumed() {
    let mut bench = Bench::new(SIDES, json!({}));
    bench.give(pause());
    bench.nothing(&pause());
    assert_eq!(bench.run.status(), RunStatus::Paused);
    bench.fail("p[tries]/t", certain(Code::RateLimit));
    bench.succeed("p[acts]/t", json!(null));
    bench.give(signal("go"));
    let (step, asked) = bench.run.approvals.iter().next().expect("a question");
    let (step, action) = (step.clone(), Some(asked.request.action));
    let (verdict, actor) = (ApprovalVerdict::Granted, "me".to_owned());
    bench.give(Input::Approval { step, verdict, action, actor, reason: None });
    assert!(bench.run.idle(), "nothing is in flight any more");
    assert_eq!(bench.run.due(), None, "no timer may fire");
    bench.give(resume());
    bench.nothing(&resume());
    insta::assert_snapshot!(bench.history());
    assert_eq!(bench.run.status(), RunStatus::Running);
}

#[test]
fn timers_wait_for_the_resumption_but_attempts_still_run_out_of_time() {
    let mut bench = Bench::new(SIDES, json!({}));
    bench.give(pause());
    bench.now = bench.now.plus(3_600_000);
    let timers: Vec<_> =
        bench.run.timers.iter().map(|(due, step, p)| (due, step.clone(), p)).collect();
    for (due, step, purpose) in timers {
        let input = Input::Timer { step, purpose, due };
        if purpose == Purpose::Attempt {
            bench.give(input);
        } else {
            bench.nothing(&input);
        }
    }
    assert!(bench.run.waits_for_somebody());
    bench.give(resume());
    while bench.run.due().is_some_and(|(due, ..)| due <= bench.now) {
        bench.fire();
    }
    insta::assert_snapshot!(bench.history());
}

#[test]
fn what_waits_for_a_slot_is_asked_about_again() {
    let mut bench = Bench::with_slots(SIDES, json!({}), 0);
    let ready: Vec<_> = bench.run.ready().map(|(step, _)| step.clone()).collect();
    assert_eq!(ready.len(), 2);
    bench.give(pause());
    assert!(bench.run.idle());
    bench.slots = 4;
    bench.nothing(&Input::Granted { steps: ready });
    bench.give(resume());
    assert_eq!(bench.run.outstanding().len(), 2);
}

#[test]
fn a_crash_while_it_is_paused_starts_no_effect_again() {
    let source = "flow: one\nnodes:\n  - { id: a, tool: sim.idempotent, with: {} }\n";
    let mut bench = Bench::new(source, json!({}));
    bench.give(pause());
    bench.give(Input::Unknown { steps: bench.run.outstanding(), doubt: Doubt::Crash });
    assert!(bench.run.outstanding().is_empty());
    bench.give(resume());
    bench.succeed("a", json!(null));
    assert_eq!(bench.run.status(), RunStatus::Completed);
}

#[test]
fn a_paused_run_that_fails_or_is_cancelled_undoes_nothing_before_it_is_resumed() {
    let source = r"
flow: undo
nodes:
  - { id: a, tool: sim.irreversible, with: {}, compensate: { tool: sim.idempotent, with: {} } }
  - { id: b, tool: sim.read, with: {} }
";
    for cancelled in [false, true] {
        let mut bench = Bench::new(source, json!({}));
        bench.succeed("a", json!(null));
        bench.give(pause());
        if cancelled {
            bench.give(Input::Cancel { actor: "me".to_owned(), reason: None });
        } else {
            bench.fail("b", certain(Code::NotFound));
        }
        assert_eq!(bench.run.status(), RunStatus::Paused);
        assert!(bench.run.outstanding().is_empty());
        bench.give(resume());
        assert_eq!(bench.run.outstanding(), ["a/compensate".into()]);
        bench.succeed("a/compensate", json!(null));
        assert!(bench.run.closed());
    }
}

#[test]
fn a_run_that_has_ended_is_neither_paused_nor_resumed() {
    let mut bench = Bench::new("flow: no\nnodes:\n  - { id: a, set: { b: 1 } }\n", json!({}));
    for input in [pause(), resume()] {
        assert_eq!(bench.refused(&input).code, Code::RunClosed);
    }
    bench = Bench::new("flow: nap\nnodes:\n  - { id: a, sleep: 1h }\n", json!({}));
    bench.give(pause());
    bench.give(Input::Cancel { actor: "me".to_owned(), reason: None });
    assert_eq!(bench.run.status(), RunStatus::Cancelled, "there is nothing to start");
}

#[test]
fn children_stand_still_and_go_on_with_their_parent_unless_somebody_paused_them() {
    let source = "flow: f\nnodes: [{ id: m, map: { items: [1, 2], do: [{ id: c, flow: { file: nap.yaml } }] } }]\n";
    let nap = "flow: nap\nnodes: [{ id: s, sleep: 1m }, { id: t, sleep: 1m }]\n";
    let mut parent = Bench::with_files(source, &[("nap.yaml", nap)], json!({}), usize::MAX);
    let by = format!("run {}", parent.run.id);
    let children: Vec<_> = parent.messages.clone();
    let [(first, start), (second, _)] = &children[..] else { panic!("two children") };
    parent.give(pause());
    let reason = Some("lunch".to_owned());
    let told = Input::Pause { actor: by.clone(), reason };
    assert_eq!(parent.messages, [(*first, told.clone()), (*second, told.clone())]);

    let flow = start_family(1, (nap, &std::collections::BTreeMap::new()), json!({}), Hash::ZERO);
    let Input::Start(started) = start else { panic!("a start") };
    let mut child = Bench::started(flow.flows.main, RunStarted::clone(started), usize::MAX);
    child.give(Input::Continue);
    let mut by_hand = child.clone_of();
    child.give(told.clone());
    child.nothing(&told);
    assert_eq!(child.run.status(), RunStatus::Paused);
    assert_eq!(child.run.due(), None);
    let refused = child.refused(&resume());
    assert_eq!(refused.code, Code::Conflict);
    assert_eq!(refused.next.unwrap(), format!("aura resume {}", parent.run.id));

    parent.give(resume());
    let go_on = Input::Resume { actor: by, reason: None };
    assert_eq!(parent.messages, [(*first, go_on.clone()), (*second, go_on.clone())]);
    child.give(go_on.clone());
    child.nothing(&go_on);
    assert!(child.run.due().is_some());

    by_hand.give(pause());
    by_hand.nothing(&told);
    by_hand.nothing(&go_on);
    by_hand.give(resume());
    assert!(by_hand.run.due().is_some());
}

#[test]
fn the_run_that_goes_on_in_the_place_of_a_child_stands_still_with_the_parent() {
    let source = "flow: f\nnodes: [{ id: c, flow: { file: nap.yaml } }]\n";
    let files = [("nap.yaml", "flow: nap\nnodes: [{ id: s, sleep: 1m }]\n")];
    let mut parent = Bench::with_files(source, &files, json!({}), usize::MAX);
    parent.give(pause());
    let next = aura_core::RunId(uuid::Uuid::from_u128(7));
    let step: aura_core::StepPath = "c".into();
    let run = parent.run.children[&step].run;
    let (end, account) = (ChildEnd::Continued(next), ChildAccount::default());
    parent.give(Input::Child { step, run, end, account });
    let [(to, Input::Pause { .. })] = &parent.messages[..] else { panic!("{:?}", parent.messages) };
    assert_eq!(*to, next);
}
