//! Trees after a crash at any place of the log, and runs that go on anew for long.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::commit::StoredCommit;
use aura_core::data::{Data, blob_address};
use aura_core::event::EventBody;
use aura_core::input::Input;
use aura_core::ports::{BlobError, RunQuery, RunStatus, Store};
use aura_core::task::TaskResult;
use aura_core::{Code, RunId, canonical};
use aura_engine::{Message, open_history};
use aura_graph::Run;
use aura_graph::state::Phase;
use aura_testkit::model_store::{Disk, ModelStore};
use aura_testkit::world::start_family;
use serde_json::json;
use uuid::Uuid;

use crate::shard::{Bench, done};

const TREE: &str = r"
flow: tree
nodes:
  - id: sides
    on_error: continue
    parallel:
      branches:
        good: [{ id: a, flow: { file: leaf.yaml, input: { n: 1 } } }]
        bad: [{ id: b, flow: { file: bad.yaml } }]
  - id: many
    map: { items: [1, 2], do: [{ id: c, flow: { file: leaf.yaml, input: { n: $item } } }] }
output: [$steps.sides.error.code, $steps.many.output]
";

const LEAF: &str = r#"
flow: leaf
nodes:
  - { id: t, set: { n: "{{ input.n + 1 }}" } }
  - id: on
    when: "{{ vars.n < 4 }}"
    continue: { input: { n: $vars.n } }
output: $vars.n
"#;

const BAD: &str = r"
flow: bad
nodes:
  - id: sides
    parallel:
      branches:
        sleeps: [{ id: s, flow: { file: sleepy.yaml } }]
        fails: [{ id: t, tool: sim.read, with: {} }, { id: f, wait: { signal: never, timeout: 1s } }]
";

const SLEEPY: &str = "flow: sleepy\nnodes: [{ id: s, sleep: 12h }]\n";

fn files() -> BTreeMap<String, String> {
    let files = [
        ("leaf.yaml", LEAF),
        ("bad.yaml", BAD),
        ("sleepy.yaml", SLEEPY),
        ("spender.yaml", SPENDER),
        ("caller.yaml", CALLER),
        ("booking.yaml", BOOKING),
        ("nested/middle.yaml", MIDDLE),
        ("nap.yaml", NAP),
        ("large.yaml", LARGE),
        ("seats.yaml", SEATS),
    ];
    files.map(|(file, text)| (file.to_owned(), text.to_owned())).into()
}

/// Lets everything happen: calls give nothing, and the clock goes to what is due.
fn finish(bench: &mut Bench, run: RunId) -> Phase {
    for _ in 0..1_000 {
        bench.rest();
        let state = bench.run(run);
        if state.closed() {
            return state.phase;
        }
        match bench.tasks().first().cloned() {
            Some((of, _)) => bench.tell(of, done(json!({ "passed": true }))),
            None => bench.now = bench.now.plus(500),
        }
    }
    let open = bench.store.runs(&RunQuery::default()).unwrap();
    let open: Vec<_> = open.iter().filter(|row| !row.status.closed()).collect();
    panic!("the tree hangs: {open:#?}");
}

fn tree(source: &str) -> (Disk, RunId) {
    let mut bench = Bench::new(8);
    let run = RunId(Uuid::from_u128(1));
    let salt = bench.store.info().unwrap().salt;
    let start = start_family(1, (source, &files()), json!({}), salt);
    bench.start_this(run, start);
    finish(&mut bench, run);
    (bench.store.disk(), run)
}

/// What a run of a store came to.
fn state(disk: &Disk, run: RunId) -> Run {
    open_history(&ModelStore::from_disk(disk.clone()), run).unwrap().unwrap().run
}

/// The disk as it would be if only these commits had reached it.
fn cut(whole: &Disk, log: &[StoredCommit]) -> Disk {
    let mut disk = Disk { log: Vec::new(), ..whole.clone() };
    (disk.streams, disk.rows) = (BTreeMap::new(), BTreeMap::new());
    for commit in log {
        disk.streams.entry(commit.header.run).or_default().push(disk.log.len());
        disk.log.push(commit.clone());
    }
    let store = ModelStore::from_disk(disk.clone());
    for run in disk.streams.keys() {
        let state = open_history(&store, *run).unwrap().unwrap().run;
        disk.rows.insert(*run, state.row().unwrap());
    }
    disk
}

/// Plays a tree, and once more from each place of its log; `holds` says whether it came to what it should.
fn from_any_place(source: &str, holds: impl Fn(&Bench, RunId)) {
    let (whole, root) = tree(source);
    let mut last = 0;
    for length in 1..=whole.log.len() {
        let disk = cut(&whole, &whole.log[..length]);
        let mut bench = Bench::over(Arc::new(ModelStore::from_disk(disk)), 8);
        bench.now = whole.log[length - 1].header.at;
        if bench.run(root).closed() {
            last += 1;
            continue;
        }
        bench.shard.deliver(Message::Perform { run: root, reply: Box::new(|_| ()) });
        finish(&mut bench, root);
        holds(&bench, root);
        let open = bench.store.runs(&RunQuery::default()).unwrap();
        let open: Vec<_> = open.iter().filter(|row| !row.status.closed()).collect();
        assert!(open.is_empty(), "after {length} of {} commits: {open:?}", whole.log.len());
    }
    assert!(last <= 2, "the root ends last");
}

#[test]
fn a_tree_goes_on_from_any_place_of_its_log() {
    let expected = Phase::Completed(Data::from(json!([Code::WaitTimeout, [4, 4]])));
    let (whole, root) = tree(TREE);
    assert_eq!(state(&whole, root).phase, expected);
    from_any_place(TREE, |bench, root| assert_eq!(bench.run(root).phase, expected));
}

/// Children side by side, each with children, of which one goes on anew; there are calls for some of them only.
const BUDGETED: &str = r#"
flow: budgeted
budget: { tool_calls: 5, steps: 60 }
nodes:
  - id: m
    map:
      items: [1, 2, 3, 4]
      on_item_error: collect
      do:
        - { id: c, budget: { tool_calls: 2, steps: 12 }, flow: { file: spender.yaml } }
output: "{{ steps.m.output | map(attribute='status') | list }}"
"#;

const SPENDER: &str = r"
flow: spender
nodes:
  - id: sides
    parallel:
      branches:
        a: [{ id: t, tool: sim.read, with: { n: 1 } }]
        b: [{ id: inner, flow: { file: caller.yaml } }, { id: on, flow: { file: leaf.yaml, input: { n: 2 } } }]
";

const CALLER: &str = "flow: caller\nnodes: [{ id: t, tool: sim.read, with: { n: 2 } }]\n";

#[test]
fn children_side_by_side_never_use_more_than_their_parent_may() {
    from_any_place(BUDGETED, |bench, root| {
        let run = bench.run(root);
        let spent = run.budgets.run.spent;
        assert!(spent.tool_calls <= 5 && spent.steps <= 60, "{spent:?}");
        assert!(run.budgets.run.reserved.is_nothing() && run.budgets.lent.is_empty());
        // A call that was made again after the process was gone counts, too, and is none that another has.
        let calls = bench.store.disk().log.into_iter().flat_map(|commit| commit.events().unwrap());
        let calls = calls.filter(|event| matches!(event.body, EventBody::ToolCalled(_))).count();
        assert_eq!(spent.tool_calls, calls as u64);
    });
    let (whole, root) = tree(BUDGETED);
    let run = state(&whole, root);
    let expected = json!(["completed", "completed", "failed", "failed"]);
    assert_eq!(run.phase, Phase::Completed(Data::from(expected)));
    assert_eq!(run.budgets.run.spent.tool_calls, 5);
}

/// Children and grandchildren that completed, of which one went on anew, before their parent failed.
const UNDONE: &str = r"
flow: undone
nodes:
  - id: m
    map: { items: [1, 2], do: [{ id: c, flow: { file: booking.yaml, input: { n: 1 } } }] }
  - { id: w, wait: { signal: never, timeout: 1s } }
";

const BOOKING: &str = r#"
flow: booking
input: { type: object, required: [n], properties: { n: { type: integer } } }
nodes:
  - id: book
    tool: sim.idempotent
    with: { n: $input.n }
    compensate: { tool: sim.idempotent, with: { undo: $input.n } }
  - { id: seats, flow: { file: seats.yaml } }
  - { id: on, when: "{{ input.n < 2 }}", continue: { input: { n: "{{ input.n + 1 }}" } } }
"#;

const SEATS: &str = r"
flow: seats
nodes:
  - id: seat
    tool: sim.idempotent
    with: { n: 9 }
    compensate: { tool: sim.idempotent, with: { undo: 9 } }
";

#[test]
fn children_that_completed_are_undone_with_their_parent_from_any_place_of_its_log() {
    let undone = |run: &Run| {
        assert_eq!(run.status(), RunStatus::Compensated);
        let end = &run.saga.as_ref().unwrap().end;
        assert_eq!((end.compensated, end.failed), (8, 0));
    };
    let (whole, root) = tree(UNDONE);
    undone(&state(&whole, root));
    let calls = whole.log.iter().flat_map(|commit| commit.events().unwrap());
    let steps = calls.filter(|event| matches!(event.body, EventBody::StepCompensated(_)));
    let mut steps: Vec<_> = steps.filter_map(|event| event.step).collect();
    for (place, run) in [(0, "child2"), (2, "child")] {
        for path in [format!("[{run}]/seats[child]/seat"), format!("[{run}]/book")] {
            assert!(steps.iter().any(|step| step.as_str().ends_with(&path)), "{place}: {steps:?}");
        }
    }
    steps.sort();
    steps.dedup();
    assert_eq!(steps.len(), 8);
    from_any_place(UNDONE, |bench, root| undone(&bench.run(root)));
}

/// Three runs above each other, of which the last sleeps.
const NESTED: &str = "flow: nested\nnodes: [{ id: c, flow: { file: nested/middle.yaml } }]\n";
const MIDDLE: &str = "flow: middle\nnodes: [{ id: c, flow: { file: ../nap.yaml } }]\n";
const NAP: &str = "flow: nap\nnodes: [{ id: s, sleep: 5s }]\n";

const LARGE: &str = r#"
flow: large
nodes:
  - { id: t, tool: sim.read, with: {} }
  - { id: u, set: { l: "{{ steps.t.output.text | length }}" } }
output: $vars.l
"#;

fn all(store: &ModelStore) -> Vec<(RunId, RunStatus)> {
    let mut rows = store.runs(&RunQuery::default()).unwrap();
    rows.sort_by_key(|row| row.run);
    rows.into_iter().map(|row| (row.run, row.status)).collect()
}

#[test]
fn a_tree_stands_still_and_goes_on_as_a_whole_from_any_place_of_its_log() {
    let mut bench = Bench::new(8);
    let root = RunId(Uuid::from_u128(1));
    let salt = bench.store.info().unwrap().salt;
    bench.start_this(root, start_family(1, (NESTED, &files()), json!({}), salt));
    let begun = bench.store.disk().log.len();
    let actor = || "me".to_owned();
    bench.ask(root, Input::Pause { actor: actor(), reason: None });
    let paused = bench.store.disk().log.len();
    assert!(all(&bench.store).iter().all(|(_, status)| *status == RunStatus::Paused));
    assert_eq!(all(&bench.store).len(), 3);
    bench.ask(root, Input::Resume { actor: actor(), reason: None });
    let whole = bench.store.disk();
    assert!(all(&bench.store).iter().all(|(_, status)| *status != RunStatus::Paused));
    for length in begun + 1..=whole.log.len() {
        let stands = length < paused + 1;
        let disk = cut(&whole, &whole.log[..length]);
        let mut bench = Bench::over(Arc::new(ModelStore::from_disk(disk)), 8);
        bench.now = whole.log[length - 1].header.at;
        bench.shard.deliver(Message::Perform { run: root, reply: Box::new(|_| ()) });
        bench.rest();
        for (run, status) in all(&bench.store) {
            assert_eq!(status == RunStatus::Paused, stands, "{run} after {length} commits");
        }
        if stands {
            bench.ask(root, Input::Resume { actor: actor(), reason: None });
        }
        assert!(matches!(finish(&mut bench, root), Phase::Completed(_)));
    }
}

#[test]
fn a_parent_waits_for_a_child_that_is_set_aside_and_goes_on_with_it() {
    const PAIR: &str = "flow: pair\nnodes:\n  - id: m\n    map: { items: [1, 2], do: [{ id: c, flow: { file: large.yaml } }] }\noutput: $steps.m.output\n";
    let mut bench = Bench::new(8);
    let root = RunId(Uuid::from_u128(1));
    let salt = bench.store.info().unwrap().salt;
    bench.start_this(root, start_family(1, (PAIR, &files()), json!({}), salt));
    let tasks = bench.tasks();
    let [(gone, _), (well, _)] = tasks[..] else { panic!("{tasks:?}") };
    let value = json!({ "text": "x".repeat(70_000) });
    let blob = blob_address(salt, &canonical::to_vec(&value));
    let output = Data::Blob(blob);
    bench.tell(gone, TaskResult::Succeeded { output, artifacts: Vec::new(), truncated: false });
    bench.shard.deliver(Message::Blobs(vec![(blob, Err(BlobError::Missing(blob.blob)))]));
    bench.tell(well, done(json!({ "text": "xy" })));
    let aside: Vec<_> = bench.shard.parked().map(|(run, problem)| (run, problem.code)).collect();
    assert_eq!(aside, [(gone, Code::BlobMissing)]);
    assert!(bench.run(well).closed(), "the other child goes on");
    assert_eq!(bench.run(root).status(), RunStatus::Running);
    assert_eq!(bench.run(root).children.size(), 1, "the parent waits");
    bench.ask(root, Input::Pause { actor: "me".to_owned(), reason: None });
    assert_eq!(bench.run(root).status(), RunStatus::Paused, "it can be spoken to");
    bench.ask(root, Input::Resume { actor: "me".to_owned(), reason: None });

    // The blob is back when the tree is performed anew.
    let mut bench = Bench::over(Arc::clone(&bench.store), 8);
    bench.shard.deliver(Message::Perform { run: root, reply: Box::new(|_| ()) });
    bench.rest();
    bench.shard.deliver(Message::Blobs(vec![(blob, Ok(Arc::new(value)))]));
    // What the call gave was never decided about: it was lost with the process, and is told again.
    if let Some((run, _)) = bench.tasks().first().cloned() {
        bench.tell(run, done(json!({ "text": "xyz" })));
    }
    bench.rest();
    assert!(matches!(bench.run(root).phase, Phase::Completed(_)), "{:?}", bench.run(root).status());
}

#[test]
fn a_thousand_runs_in_each_others_place_stay_small() {
    const ENDLESS: &str = r#"
flow: endless
vars: { n: "{{ input.n | default(0) }}" }
nodes:
  - id: work
    loop: { times: 3, do: [{ id: s, set: { last: "{{ loop.index }}" } }] }
  - id: on
    when: "{{ vars.n < 1000 }}"
    continue: { input: { n: "{{ vars.n + 1 }}" } }
output: $vars.n
"#;
    let mut bench = Bench::new(1);
    let first = RunId(Uuid::from_u128(1));
    let salt = bench.store.info().unwrap().salt;
    let mut start = start_family(1, (ENDLESS, &BTreeMap::new()), json!({}), salt);
    start.started.key = Some("k".to_owned());
    bench.start_this(first, start);
    bench.rest();
    assert_eq!(bench.shard.runs_in_memory(), 0, "what ended leaves memory");
    let (mut run, mut runs) = (bench.run(first), 1);
    while let Some(next) = run.continued.clone().map(|continued| continued.next) {
        assert!(run.events < 40, "{} events", run.events);
        run = bench.run(next);
        assert_eq!(run.started.as_ref().unwrap().key.as_deref(), Some("k"));
        runs += 1;
    }
    assert_eq!((runs, run.phase), (1_001, Phase::Completed(Data::from(json!(1000)))));
}
