//! Forks on the shard: the parent stays as it was, outcomes are taken once, and a crash leaves all or nothing.

use aura_core::event::EventBody;
use aura_core::fork::{ForkEffects, RunForked, Withheld};
use aura_core::hash::Hash;
use aura_engine::{At, ForkRun, cut, read_all};

use super::*;

const FLOW: &str = "
flow: chain
nodes:
  - { id: a, tool: sim.irreversible, with: { v: 1 } }
  - { id: b, tool: sim.irreversible, with: { a: $steps.a.output } }
  - { id: c, tool: sim.irreversible, with: { a: $steps.a.output } }
  - { id: d, tool: sim.pure, with: { c: $steps.c.output } }
";

fn parent(bench: &mut Bench) -> RunId {
    let run = bench.start(1, FLOW);
    for output in ["A", "B", "C", "D"] {
        bench.tell(run, done(json!(output)));
    }
    assert!(bench.run(run).closed());
    run
}

fn forked(bench: &Bench, parent: RunId, at: &At) -> RunForked {
    let cut = cut(&*bench.store, parent, at).unwrap();
    RunForked {
        parent,
        seq: cut.seq,
        hash: cut.hash,
        flow: cut.flow,
        seed: Hash::of(b"fork"),
        effects: ForkEffects::Reuse,
        mocks: None,
        changes: cut.changes,
        labels: std::collections::BTreeMap::new(),
        actor: "me".to_owned(),
        then: cut.then,
        open: Vec::new(),
        budget: None,
        state: Hash::ZERO,
    }
}

fn fork(bench: &mut Bench, number: u128, forked: RunForked, flow: Option<&str>) -> RunId {
    let run = RunId(Uuid::from_u128(number));
    let mut fork = ForkRun { forked, flows: None, perform: true };
    if let Some(source) = flow {
        let salt = bench.store.info().unwrap().salt;
        let start = start_of(2, source, json!({}), salt);
        fork.forked.flow = start.started.flow;
        fork.flows = Some((start.bundle, start.flows));
    }
    bench.submit(run, Submitted::Fork(Box::new(fork)));
    run
}

fn kinds(bench: &Bench, run: RunId) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    read_all(&*bench.store, run, &mut |commit| {
        if commit.header.run == run {
            kinds.extend(commit.events().unwrap().iter().map(|event| event.body.kind()));
        }
        Ok(())
    })
    .unwrap();
    kinds
}

fn bytes(bench: &Bench, run: RunId) -> Vec<(Hash, Vec<u8>)> {
    let read = bench.store.read(run, 1, usize::MAX).unwrap();
    read.into_iter().map(|commit| (commit.hash, commit.payload)).collect()
}

#[test]
fn a_fork_takes_outcomes_and_leaves_its_parent_alone() {
    let mut bench = Bench::new(8);
    let parent = parent(&mut bench);
    let before = bytes(&bench, parent);
    let asked = forked(&bench, parent, &At::Start("b".into()));
    let run = fork(&mut bench, 2, asked, None);
    bench.rest();
    // Pure work is done again; everything else is taken.
    assert_eq!(bench.tasks(), [(run, "d".to_owned())]);
    bench.tell(run, done(json!("D")));
    assert!(bench.run(run).closed());
    assert_eq!(bytes(&bench, parent), before);
    assert_eq!(bytes(&bench, run)[0], before[0], "what is shared is the same, bytes and hashes");
    assert_eq!(bench.run(run).hash, bench.run(parent).hash, "it saw the same");
    assert_eq!(bench.store.check().unwrap().faults, []);
}

#[test]
fn each_outcome_is_taken_once_wherever_its_call_has_moved() {
    let mut bench = Bench::new(8);
    let parent = parent(&mut bench);
    // `b` has moved to `x`, and a third call is the same as the two that the parent made.
    let source = FLOW.replace("id: b", "id: x").replace(
        "  - { id: d, tool: sim.pure",
        "  - { id: y, tool: sim.irreversible, with: { a: $steps.a.output } }\n  - { id: d, tool: sim.pure",
    );
    let asked = forked(&bench, parent, &At::Outcome("a".into()));
    let run = fork(&mut bench, 2, asked, Some(&source));
    bench.rest();
    let reused = kinds(&bench, run).iter().filter(|kind| **kind == "effect.reused").count();
    assert_eq!(reused, 2);
    let state = bench.run(run);
    let (step, task) = state.in_doubt().next().unwrap();
    assert_eq!((step.as_str(), task.withheld), ("y", Some(Withheld::NoRecord)));
    assert!(bench.tasks().is_empty(), "nothing is called");
}

#[test]
fn a_crash_leaves_a_fork_whole_or_not_at_all() {
    let mut bench = Bench::new(8);
    let parent = parent(&mut bench);
    let before = bytes(&bench, parent);
    let asked = forked(&bench, parent, &At::Start("b".into()));
    let run = fork(&mut bench, 2, asked.clone(), None);
    // Decided, and lost on its way to the store.
    bench.shard.step(bench.now);
    let mut bench = Bench::over(Arc::clone(&bench.store), 8);
    assert!(open_history(&*bench.store, run).unwrap().is_none());
    assert_eq!(bytes(&bench, parent), before);
    // Asked for again, and durable before the process ends.
    fork(&mut bench, 2, asked, None);
    bench.rest();
    let mut bench = Bench::over(Arc::clone(&bench.store), 8);
    bench.shard.deliver(Message::Perform { run, reply: Box::new(|_| ()) });
    bench.rest();
    bench.tell(run, done(json!("D")));
    assert!(bench.run(run).closed());
    let again = kinds(&bench, run).iter().filter(|kind| **kind == "effect.reused").count();
    assert_eq!(again, 2, "what was taken before the crash is not taken again");
}

#[test]
fn a_fork_that_is_refused_leaves_nothing_in_memory() {
    let mut bench = Bench::new(8);
    let parent = parent(&mut bench);
    let mut asked = forked(&bench, parent, &At::Start("b".into()));
    asked.changes = vec![aura_core::fork::Change {
        of: aura_core::fork::Changed::Output("b".into()),
        value: Data::from(json!(1)),
    }];
    let run = fork(&mut bench, 2, asked.clone(), None);
    bench.rest();
    assert!(open_history(&*bench.store, run).unwrap().is_none());
    asked.changes.clear();
    fork(&mut bench, 2, asked, None);
    bench.rest();
    assert!(matches!(bench.run(run).fork, Some(fork) if fork.point.parent == parent));
}

#[test]
fn a_fork_of_a_fork_takes_what_the_first_one_took() {
    let mut bench = Bench::new(8);
    let parent = parent(&mut bench);
    let asked = forked(&bench, parent, &At::Start("b".into()));
    let first = fork(&mut bench, 2, asked, None);
    bench.rest();
    bench.tell(first, done(json!("D")));
    // `c` started in the fork's first own commit, whose input is carried over.
    let asked = forked(&bench, first, &At::Start("c".into()));
    assert!(matches!(asked.then[0].body, EventBody::ToolCompleted(_)));
    let second = fork(&mut bench, 3, asked, None);
    bench.rest();
    bench.tell(second, done(json!("D")));
    assert_eq!(bench.run(second).hash, bench.run(parent).hash);
    assert_eq!(bench.store.check().unwrap().faults, []);
}

#[test]
fn a_fork_leaves_right_after_a_child_has_ended() {
    let mut bench = Bench::new(8);
    let source = "flow: f\nnodes:\n  - { id: c, flow: { file: child.yaml } }\n  - { id: b, tool: sim.irreversible, with: { c: $steps.c.output } }\n";
    let child = "flow: child\nnodes:\n  - { id: t, tool: sim.irreversible, with: {}, compensate: { tool: sim.irreversible, with: { undo: t } } }\n";
    let files = [("child.yaml".to_owned(), child.to_owned())].into();
    let (parent, salt) = (RunId(Uuid::from_u128(1)), bench.store.info().unwrap().salt);
    bench.start_this(parent, start_family(1, (source, &files), json!({}), salt));
    let (child, _) = bench.tasks()[0];
    bench.tell(child, done(json!("C")));
    bench.tell(parent, done(json!("B")));
    // The step started in the commit that the end of the child led to.
    let asked = forked(&bench, parent, &At::Start("b".into()));
    assert!(matches!(asked.then[0].body, EventBody::ChildCompleted(_)));
    let run = fork(&mut bench, 2, asked, None);
    bench.rest();
    let state = bench.run(run);
    assert_eq!(state.phase, bench.run(parent).phase);
    assert!(kinds(&bench, run).contains(&"child.completed"));
    let waiting = state.saga.as_ref().map_or(0, |saga| saga.waiting());
    assert_eq!(waiting, 0, "what the child did is the parent's to undo");
}
