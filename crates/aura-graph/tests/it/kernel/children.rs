//! Child runs as their parent decides about them, and runs that go on anew.

use aura_core::child::{ChildAccount, ChildEnd};
use aura_core::data::Data;
use aura_core::error::{Code, Failure};
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_graph::Decision;
use aura_graph::state::Phase;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::Bench;

const SMALL: &str = r"
flow: small
input: { type: object, required: [n], properties: { n: { type: integer } } }
nodes: [{ id: s, sleep: 1h }]
";

fn bench(source: &str) -> Bench {
    Bench::with_files(source, &[("small.yaml", SMALL)], json!({}), usize::MAX)
}

/// The child that a step waits for.
fn child(bench: &Bench, step: &str) -> RunId {
    let step = step.into();
    bench.run.children.get(&step).unwrap_or_else(|| panic!("no child at {step}")).run
}

fn ended(bench: &Bench, step: &str, end: ChildEnd) -> Input {
    Input::Child {
        step: step.into(),
        run: child(bench, step),
        end,
        account: ChildAccount::default(),
    }
}

fn completed(value: Value) -> ChildEnd {
    ChildEnd::Completed(Data::from(value))
}

#[test]
fn a_step_ends_as_its_child_does() {
    let mut bench = bench(
        "flow: f\nnodes:\n  - { id: a, flow: { file: small.yaml, input: { n: 1 } } }\n  - { id: b, flow: { file: ./small.yaml, input: { n: $steps.a.output.m } } }\n",
    );
    let [(run, Input::Start(started))] = &bench.messages[..] else { panic!("one start") };
    let parent = started.parent.clone().unwrap();
    assert_eq!((*run, parent.run, parent.depth), (child(&bench, "a"), bench.run.id, 1));
    assert_eq!(started.input, Data::from(json!({ "n": 1 })));
    assert_eq!(started.flow.file.as_deref(), Some("small.yaml"));
    let first = ended(&bench, "a", completed(json!({ "m": 2 })));
    bench.give(first.clone());
    bench.nothing(&first);
    let failed = ChildEnd::Failed(Failure::certain(Code::Conflict, "so it is"));
    bench.give(ended(&bench, "b", failed));
    let Phase::Failed(error, _) = &bench.run.phase else { panic!("{:?}", bench.run.phase) };
    assert_eq!(error.code, Code::Conflict);
    assert!(error.message.contains("(small) failed: so it is"), "{}", error.message);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_child_of_another_run_or_step_changes_nothing() {
    let bench = bench("flow: f\nnodes: [{ id: a, flow: { file: small.yaml, input: { n: 1 } } }]\n");
    let other = RunId(Uuid::from_u128(99));
    let end = completed(Value::Null);
    bench.nothing(&Input::Child {
        step: "a".into(),
        run: other,
        end: end.clone(),
        account: ChildAccount::default(),
    });
    let run = child(&bench, "a");
    bench.nothing(&Input::Child { step: "b".into(), run, end, account: ChildAccount::default() });
}

#[test]
fn a_parent_that_fails_or_is_cancelled_awaits_its_children() {
    const SIDES: &str = "flow: f\nnodes:\n  - id: p\n    parallel:\n      branches:\n        x: [{ id: a, flow: { file: small.yaml, input: { n: 1 } } }]\n        y: [{ id: b, tool: sim.read, with: {} }]\n";
    let mut failing = bench(SIDES);
    failing.fail("p[y]/b", Failure::certain(Code::NotFound, "no"));
    let [(run, Input::Cancel { .. })] = &failing.messages[..] else { panic!("one cancel") };
    assert_eq!(*run, child(&failing, "p[x]/a"));
    failing.give(ended(&failing, "p[x]/a", ChildEnd::Cancelled));
    assert!(matches!(&failing.run.phase, Phase::Failed(e, _) if e.code == Code::NotFound));

    let mut cancelled = bench(SIDES);
    cancelled.give(Input::Cancel { actor: "me".to_owned(), reason: None });
    assert!(!cancelled.run.closed());
    // A child may go on anew before it hears that it must stop.
    let next = RunId(Uuid::from_u128(7));
    cancelled.give(ended(&cancelled, "p[x]/a", ChildEnd::Continued(next)));
    assert!(matches!(&cancelled.messages[..], [(run, Input::Cancel { .. })] if *run == next));
    cancelled.give(ended(&cancelled, "p[x]/a", completed(Value::Null)));
    assert_eq!(cancelled.run.phase, Phase::Cancelled);
    insta::assert_snapshot!(format!("{}==\n{}", failing.history(), cancelled.history()));
}

#[test]
fn a_deadline_stops_the_child_before_the_step_fails() {
    let mut bench = bench(
        "flow: f\nnodes: [{ id: a, deadline: 10s, flow: { file: small.yaml, input: { n: 1 } } }]\n",
    );
    bench.fire();
    assert!(matches!(&bench.messages[..], [(_, Input::Cancel { .. })]));
    // Too late, also if it went well after all.
    bench.give(ended(&bench, "a", completed(json!(1))));
    assert!(matches!(&bench.run.phase, Phase::Failed(e, _) if e.code == Code::Deadline));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_detached_child_is_not_awaited() {
    let bench = bench(
        "flow: f\nnodes: [{ id: a, flow: { file: small.yaml, input: { n: 1 }, detached: true } }]\n",
    );
    let [(run, Input::Start(started))] = &bench.messages[..] else { panic!("one start") };
    let parent = started.parent.clone().unwrap();
    assert!(parent.detached && parent.root == *run, "it is the top of a tree of its own");
    assert!(
        matches!(&bench.run.phase, Phase::Completed(out) if *out == Data::from(json!({ "run": run })))
    );
}

#[test]
fn what_a_child_does_not_take_fails_the_step() {
    let bench = bench(
        "flow: f\nvars: { n: many }\nnodes: [{ id: a, flow: { file: small.yaml, input: { n: $vars.n } } }]\n",
    );
    assert!(matches!(&bench.run.phase, Phase::Failed(e, _) if e.code == Code::InvalidInput));
    assert!(bench.messages.is_empty());
}

#[test]
fn runs_are_nested_only_so_deep() {
    let own = "flow: f\nnodes: [{ id: a, flow: { file: f.yaml } }]\n";
    let mut bench = Bench::with_files(own, &[("f.yaml", own)], json!({}), usize::MAX);
    let mut depth = 0;
    while let [(run, Input::Start(started))] = &bench.messages[..] {
        depth += 1;
        assert_eq!(started.parent.as_ref().unwrap().depth, depth);
        let started = started.clone();
        let child = bench.child_of(*run, Input::Start(started));
        assert!(child.run.more, "a child goes on in a turn of its own");
        bench = child;
        bench.give(Input::Continue);
    }
    assert_eq!(depth, 16);
    assert!(matches!(&bench.run.phase, Phase::Failed(e, _) if e.code == Code::LimitExceeded));
}

#[test]
fn a_run_goes_on_anew_with_the_signals_that_it_did_not_take() {
    let mut bench = Bench::new(
        "flow: f\ninput: { type: object, properties: { n: { type: integer } } }\nnodes:\n  - { id: w, wait: { signal: go } }\n  - { id: on, continue: { input: { n: 1 } } }\n",
        json!({}),
    );
    let signal = |id: &str, name: &str| Input::Signal {
        id: id.to_owned(),
        name: name.to_owned(),
        payload: Data::from(json!(id)),
        actor: "me".to_owned(),
    };
    bench.give(signal("1", "other"));
    bench.give(signal("2", "go"));
    let Phase::Completed(_) = &bench.run.phase else { panic!("{:?}", bench.run.phase) };
    let [(next, Input::Start(started))] = &bench.messages[..] else { panic!("one start") };
    assert_eq!(bench.run.continued.as_ref().map(|c| c.next), Some(*next));
    assert_eq!(started.continues, Some(bench.run.id));
    let kept: Vec<_> = started.signals.iter().map(|s| (s.id.as_str(), s.name.as_str())).collect();
    assert_eq!(kept, [("1", "other")]);
    let next = bench.child_of(*next, Input::Start(started.clone()));
    next.nothing(&signal("1", "other"));
    assert_eq!(next.run.signals.kept.size(), 1);
    let closed = bench.refused(&signal("3", "go"));
    assert!(closed.next.unwrap().contains(&next.run.id.to_string()));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_run_does_not_go_on_anew_while_something_is_in_work() {
    let mut bench = Bench::new(
        "flow: f\nnodes:\n  - { id: t, tool: sim.read, with: {} }\n  - { id: s, after: [], sleep: 1h }\n  - { id: on, after: [t], continue: {} }\n",
        json!({}),
    );
    bench.succeed("t", Value::Null);
    assert!(matches!(&bench.run.phase, Phase::Failed(e, _) if e.code == Code::Conflict));
    assert!(bench.run.continued.is_none());
}

#[test]
fn more_than_a_thousand_children_at_once_are_refused() {
    let mut bench = bench(
        "flow: f\nnodes:\n  - id: p\n    parallel:\n      branches:\n        x: [{ id: m, map: { items: \"{{ range(1000) | list }}\", concurrency: 1000, do: [{ id: c, flow: { file: small.yaml, input: { n: $item } } }] } }]\n        y: [{ id: m, map: { items: \"{{ range(100) | list }}\", concurrency: 100, do: [{ id: c, flow: { file: small.yaml, input: { n: $item } } }] } }]\n",
    );
    while bench.run.more {
        match bench.decide(&Input::Continue) {
            Decision::Turn(_) => bench.give(Input::Continue),
            other => panic!("{other:?}"),
        }
    }
    assert!(bench.run.children.size() <= 1_024);
    // The map that could not go on stops, and so do its children; the other map ends when that one has.
    for (step, child) in &bench.run.children {
        assert_eq!(child.cancelling.is_some(), step.as_str().starts_with("p[x]"), "{step}");
    }
}
