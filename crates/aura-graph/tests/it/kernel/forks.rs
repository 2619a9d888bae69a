//! Forks: what they share, what they take from their parent, and what they ask for again.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::budget::Resource;
use aura_core::error::Code;
use aura_core::event::{EventBody, Settlement};
use aura_core::fork::{
    Change, Changed, ForkEffects, Mock, MockError, Mocks, Origin, RunForked, Withheld,
};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::{ApprovalVerdict, Input};
use aura_core::{Data, StepPath};
use aura_graph::Run;
use aura_graph::decide::{Reuse, Taken};
use aura_graph::expr::BlobLookup;
use aura_graph::replay::Replay;
use aura_graph::state::{TaskPhase, fold_commit};
use aura_testkit::world::start_of;
use serde_json::json;
use uuid::Uuid;

use super::bench::{Bench, certain};

const CHAIN: &str = "
flow: chain
vars: { n: 1 }
nodes:
  - { id: a, tool: sim.irreversible, with: { v: $input.v } }
  - { id: b, tool: sim.irreversible, with: { a: $steps.a.output, n: $vars.n } }
  - { id: c, tool: sim.idempotent, with: { b: $steps.b.output } }
";

fn parent() -> Bench {
    let mut bench = Bench::new(CHAIN, json!({ "v": 1 }));
    bench.succeed("a", json!("A"));
    bench.succeed("b", json!("B"));
    bench.succeed("c", json!("C"));
    bench
}

/// A fork of `parent` before its commit number `cut` (from 0), with the flow of `source`.
pub(super) fn asked(parent: &Bench, cut: usize, source: &str) -> RunForked {
    let shared = &parent.commits[..cut];
    let last = shared.last();
    let first = parent.commits[cut].events().unwrap().remove(0);
    let then = match first.body {
        EventBody::ApprovalGranted(_) | EventBody::ApprovalDenied(_) => Vec::new(),
        _ => vec![first],
    };
    RunForked {
        parent: parent.run.id,
        seq: last.map_or(0, |c| c.header.seq + u64::from(c.header.count) - 1),
        hash: last.map_or(Hash::ZERO, |c| c.hash),
        flow: start_of(2, source, json!({}), Hash::ZERO).started.flow,
        seed: Hash::of(b"fork"),
        effects: ForkEffects::Reuse,
        mocks: None,
        changes: Vec::new(),
        labels: BTreeMap::new(),
        actor: "me".to_owned(),
        then,
        open: Vec::new(),
        budget: None,
        state: Hash::ZERO,
    }
}

/// The fork before its first turn.
pub(super) fn unborn(parent: &Bench, cut: usize, source: &str) -> Bench {
    let mut run = Run::new(RunId(Uuid::from_u128(2)));
    let mut head = Hash::ZERO;
    for commit in &parent.commits[..cut] {
        fold_commit(&mut run, &mut head, commit).unwrap();
    }
    Bench::of(run, head, start_of(2, source, json!({}), Hash::ZERO).flows.main, parent)
}

fn forked(parent: &Bench, cut: usize, change: impl FnOnce(&mut RunForked)) -> Bench {
    let mut bench = unborn(parent, cut, CHAIN);
    let mut asked = asked(parent, cut, CHAIN);
    change(&mut asked);
    bench.give(Input::Fork(Box::new(asked)));
    bench
}

fn taken(parent: &Bench, output: serde_json::Value) -> Reuse {
    Reuse::Take(Taken {
        from: Origin { run: parent.run.id, seq: 7 },
        outcome: Settlement::Succeeded(Data::from(output)),
        truncated: false,
    })
}

/// The whole history is decided again as it was, with nothing but its own commits at hand.
fn verified(bench: &Bench, parent: &Bench, cut: usize) -> Run {
    let blobs = Arc::clone(&bench.blobs) as Arc<dyn BlobLookup>;
    let mut replay = Replay::new(Run::new(bench.run.id), Hash::ZERO, blobs);
    for commit in parent.commits[..cut].iter().chain(&bench.commits) {
        let own = commit.header.run == bench.run.id;
        let flow = if own { &bench.flow } else { &parent.flow };
        replay.redecide(flow, commit).unwrap_or_else(|e| panic!("{e:?}\n{}", bench.history()));
        replay.integrity(commit).unwrap();
    }
    assert_eq!(replay.run.hash, bench.run.hash);
    replay.run
}

#[test]
fn a_fork_reuses_outcomes_and_its_history_stands_by_itself() {
    let parent = parent();
    let mut bench = unborn(&parent, 1, CHAIN);
    bench.reuse = BTreeMap::from([
        (StepPath::from("b"), taken(&parent, json!("B"))),
        (StepPath::from("c"), taken(&parent, json!("C"))),
    ]);
    bench.give(Input::Fork(Box::new(asked(&parent, 1, CHAIN))));
    assert!(bench.run.closed());
    insta::assert_snapshot!(bench.history());
    verified(&bench, &parent, 1);
    let mut state = parent.run.hash;
    std::mem::swap(&mut state, &mut Arc::make_mut(&mut bench.run).hash);
    assert_eq!(state, bench.run.hash, "it saw what its parent saw");
}

#[test]
fn a_call_without_an_outcome_waits_for_a_person() {
    let parent = parent();
    let mut bench = forked(&parent, 1, |_| {});
    bench.reuse.clear();
    let (step, task) = bench.run.ready().next().unwrap();
    assert_eq!((step.as_str(), task.phase), ("b", TaskPhase::Ready), "the gate said later");
    bench.reuse = BTreeMap::from([(StepPath::from("b"), Reuse::Withhold(Withheld::NoRecord))]);
    bench.give(Input::Granted { steps: vec!["b".into()] });
    let (_, task) = bench.run.in_doubt().next().unwrap();
    assert_eq!(task.withheld, Some(Withheld::NoRecord));
    let mut live = bench.clone_of();
    let key = task.spec.key;
    let settle = |outcome| Input::Settle { key, outcome, actor: "me".into(), reason: None };
    bench.give(settle(Settlement::Succeeded(Data::from(json!({ "seen": true })))));
    live.give(settle(Settlement::Retry));
    assert!(live.run.tasks[&StepPath::from("b")].in_flight(), "a person said so");
    insta::assert_snapshot!(format!("settled\n{}\nlive\n{}", bench.history(), live.history()));
    verified(&bench, &parent, 1);
    verified(&live, &parent, 1);
}

#[test]
fn a_run_that_withheld_a_call_is_cancelled_at_once() {
    let parent = parent();
    let mut bench = forked(&parent, 1, |_| {});
    bench.reuse = BTreeMap::from([(StepPath::from("b"), Reuse::Withhold(Withheld::Open))]);
    bench.give(Input::Granted { steps: vec!["b".into()] });
    bench.give(Input::Cancel { actor: "me".to_owned(), reason: None });
    assert!(bench.run.closed());
}

#[test]
fn a_live_fork_calls_under_its_own_keys() {
    let parent = parent();
    let bench = forked(&parent, 1, |asked| asked.effects = ForkEffects::Live);
    let key = bench.run.tasks[&StepPath::from("b")].spec.key;
    let told = parent.commits[1].events().unwrap().into_iter().find_map(|e| match e.body {
        EventBody::ToolCalled(called) => Some(called.key),
        _ => None,
    });
    assert_ne!(Some(key), told);
    verified(&bench, &parent, 1);
}

#[test]
fn outcomes_from_a_file_are_by_step_and_then_by_tool() {
    let parent = parent();
    let missing = MockError { code: Code::NotFound, message: "gone".to_owned() };
    let mocks = Mocks {
        steps: BTreeMap::from([("b".to_owned(), Mock::Output(json!("mocked")))]),
        tools: BTreeMap::from([("sim.idempotent".to_owned(), Mock::Error(missing))]),
    };
    let mut bench = forked(&parent, 1, |asked| {
        asked.effects = ForkEffects::Mock;
        asked.mocks = Some(Data::from(json!(mocks)));
    });
    insta::assert_snapshot!(bench.history());
    verified(&bench, &parent, 1);
    bench = forked(&parent, 1, |asked| {
        asked.effects = ForkEffects::Mock;
        asked.mocks = Some(Data::from(json!({})));
    });
    let (_, task) = bench.run.in_doubt().next().unwrap();
    assert_eq!(task.withheld, Some(Withheld::NoMock));
    let (key, outcome) = (task.spec.key, Settlement::Retry);
    let live = Input::Settle { key, outcome, actor: "me".to_owned(), reason: None };
    assert_eq!(bench.refused(&live).code, Code::Conflict, "it never calls out");
}

#[test]
fn changes_are_seen_by_what_follows_and_are_in_the_state_hash() {
    let parent = parent();
    let change = |of, value| Change { of, value: Data::from(value) };
    let bench = forked(&parent, 2, |asked| {
        asked.effects = ForkEffects::Live;
        asked.then.clear();
        asked.changes = vec![
            change(Changed::Var("n".to_owned()), json!(5)),
            change(Changed::Output("a".into()), json!("other")),
        ];
    });
    let open = &bench.run.tasks[&StepPath::from("b")];
    assert_eq!(open.phase, TaskPhase::Called, "begun anew");
    let forked = bench.commits[0].events().unwrap();
    let EventBody::RunForked(data) = &forked[0].body else { panic!("{forked:?}") };
    let shared = parent.commits[1].events().unwrap();
    let before = shared.iter().rev().find_map(|e| match &e.body {
        EventBody::StepCompleted(data) => Some(data.state),
        _ => None,
    });
    assert_ne!(Some(data.state), before);
    verified(&bench, &parent, 2);
}

#[test]
fn a_fork_that_shares_nothing_starts_anew_with_its_own_input() {
    let parent = parent();
    let bench = forked(&parent, 0, |asked| {
        asked.effects = ForkEffects::Live;
        asked.changes = vec![
            Change { of: Changed::Input, value: Data::from(json!({ "v": 2 })) },
            Change { of: Changed::Var("n".to_owned()), value: Data::from(json!(9)) },
        ];
    });
    let args = bench.run.tasks[&StepPath::from("a")].spec.args.clone();
    assert_eq!(args, Data::from(json!({ "v": 2 })));
    assert_eq!(bench.run.vars["n"], Data::from(json!(9)).into());
    insta::assert_snapshot!(bench.history());
    verified(&bench, &parent, 0);
}

#[test]
fn what_was_granted_to_the_parent_is_asked_for_again() {
    let source = "
flow: asks
nodes:
  - { id: may, approval: { of: b } }
  - { id: wait, wait: { signal: go } }
  - { id: b, tool: sim.irreversible, with: {} }
";
    let mut parent = Bench::new(source, json!({}));
    let asked_first = parent.run.approvals[&StepPath::from("may")].request.action;
    parent.give(Input::Approval {
        step: "may".into(),
        verdict: ApprovalVerdict::Granted,
        action: None,
        actor: "me".to_owned(),
        reason: None,
    });
    parent.give(Input::Signal {
        id: "1".to_owned(),
        name: "go".to_owned(),
        payload: Data::null(),
        actor: "me".to_owned(),
    });
    let mut bench = unborn(&parent, 1, source);
    bench.give(Input::Fork(Box::new(asked(&parent, 1, source))));
    let again = bench.run.approvals[&StepPath::from("may")].request.action;
    assert_ne!(again, asked_first, "it is about a call of the fork");
    insta::assert_snapshot!(bench.history());
    verified(&bench, &parent, 1);
    // The call is reached under an approval of the parent: it is held back, and asked about.
    let mut bench = unborn(&parent, 2, source);
    let mut live = asked(&parent, 2, source);
    live.effects = ForkEffects::Live;
    bench.give(Input::Fork(Box::new(live)));
    assert!(bench.run.approvals.contains_key(&StepPath::from("b")));
    assert_eq!(bench.run.tasks[&StepPath::from("b")].phase, TaskPhase::Held);
    verified(&bench, &parent, 2);
}

#[test]
fn a_flow_that_lacks_what_was_in_work_is_refused() {
    let parent = parent();
    let renamed = CHAIN.replace("id: b", "id: bb").replace("steps.b.", "steps.bb.");
    // Before the outcome of `b`, whose task is open there.
    let bench = unborn(&parent, 2, &renamed);
    let refused = bench.refused(&Input::Fork(Box::new(asked(&parent, 2, &renamed))));
    assert_eq!(refused.code, Code::CannotFork);
    // Before it was started all is well, and the new node is reached.
    let mut bench = unborn(&parent, 1, &renamed);
    let mut before = asked(&parent, 1, &renamed);
    before.effects = ForkEffects::Live;
    bench.give(Input::Fork(Box::new(before)));
    assert!(bench.run.tasks.contains_key(&StepPath::from("bb")));
}

#[test]
fn open_calls_of_the_parent_begin_anew_beside_the_one_whose_outcome_came() {
    let source = "
flow: sides
nodes:
  - id: both
    parallel:
      branches:
        left: [{ id: l, tool: sim.irreversible, with: {} }, { id: l2, tool: sim.read, with: {} }]
        right: [{ id: r, tool: sim.idempotent, with: {} }]
";
    let mut parent = Bench::new(source, json!({}));
    parent.succeed("both[left]/l", json!(1));
    parent.fail("both[right]/r", certain(Code::RateLimit));
    let mut bench = unborn(&parent, 1, source);
    let mut asked = asked(&parent, 1, source);
    asked.effects = ForkEffects::Live;
    bench.give(Input::Fork(Box::new(asked)));
    insta::assert_snapshot!(bench.history());
    verified(&bench, &parent, 1);
}

const BUDGET: &str = "
flow: budget
budget: { usd: 0.50, duration: 1h, on_exceeded: ask }
nodes:
  - { id: a, tool: sim.irreversible, with: { n: 1 }, cost: { usd: 0.30 } }
  - { id: b, tool: sim.irreversible, with: { n: 2 }, cost: { usd: 0.30 } }
";

#[test]
fn a_fork_has_the_budget_of_its_flow_and_what_its_parent_used_before() {
    let mut parent = Bench::new(BUDGET, json!({}));
    parent.now = parent.now.plus(600_000);
    parent.succeed("a", json!("A"));
    assert!(parent.run.approvals.contains_key(&StepPath::root()), "b asks for more");
    let root = StepPath::root();
    let action = None;
    let (verdict, actor, reason) = (ApprovalVerdict::Granted, "ada".to_owned(), None);
    parent.give(Input::Approval { step: root.clone(), verdict, action, actor, reason });
    parent.succeed("b", json!("B"));
    parent.now = parent.now.plus(7_200_000);

    // Left while the question was open: the fork asks for itself, and its time goes on from there.
    let mut same = unborn(&parent, 2, BUDGET);
    let mut fork = asked(&parent, 2, BUDGET);
    fork.effects = ForkEffects::Live;
    same.give(Input::Fork(Box::new(fork)));
    let pool = same.run.budgets.run.clone();
    assert_eq!((pool.limits.usd_micros, pool.spent.usd_micros), (Some(500_000), 300_000));
    assert!(same.run.approvals.contains_key(&root));
    assert_eq!(pool.used(Resource::Duration, same.now), 600_000);

    // A flow that allows more: nobody is asked.
    let more = BUDGET.replace("0.50", "0.90");
    let mut richer = unborn(&parent, 2, &more);
    let mut fork = asked(&parent, 2, &more);
    fork.effects = ForkEffects::Live;
    richer.give(Input::Fork(Box::new(fork)));
    assert!(richer.run.approvals.is_empty());
    assert_eq!(richer.run.budgets.run.reserved.usd_micros, 300_000);
    richer.succeed("b", json!("b"));
    let pool = &richer.run.budgets.run;
    assert_eq!((pool.spent.usd_micros, pool.reserved.usd_micros), (600_000, 0));

    // Left while `a` was called: that call is the parent's, and so is what it costs.
    let mut reuses = unborn(&parent, 1, BUDGET);
    let mut fork = asked(&parent, 1, BUDGET);
    fork.then = Vec::new();
    reuses.give(Input::Fork(Box::new(fork)));
    let pool = &reuses.run.budgets.run;
    assert_eq!((pool.spent.usd_micros, pool.reserved.usd_micros), (0, 0));
    assert_eq!(json!(verified(&reuses, &parent, 1)), json!(reuses.run));
    assert_eq!(json!(verified(&same, &parent, 2)), json!(same.run));
    assert_eq!(json!(verified(&richer, &parent, 2)), json!(richer.run));
}
