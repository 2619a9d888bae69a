//! Trees after a crash at any place of the log, and runs that go on anew for long.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::commit::StoredCommit;
use aura_core::data::Data;
use aura_core::ports::{RunQuery, Store};
use aura_core::{Code, RunId};
use aura_engine::{Message, open_history};
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
    [("leaf.yaml", LEAF), ("bad.yaml", BAD), ("sleepy.yaml", SLEEPY)]
        .map(|(file, text)| (file.to_owned(), text.to_owned()))
        .into()
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

fn tree() -> (Disk, RunId) {
    let mut bench = Bench::new(8);
    let run = RunId(Uuid::from_u128(1));
    let salt = bench.store.info().unwrap().salt;
    let start = start_family(1, (TREE, &files()), json!({}), salt);
    bench.start_this(run, start);
    let phase = finish(&mut bench, run);
    let expected = json!([Code::WaitTimeout, [4, 4]]);
    assert_eq!(phase, Phase::Completed(Data::from(expected)));
    (bench.store.disk(), run)
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

#[test]
fn a_tree_goes_on_from_any_place_of_its_log() {
    let (whole, root) = tree();
    let expected = open_history(&ModelStore::from_disk(whole.clone()), root).unwrap().unwrap();
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
        let phase = finish(&mut bench, root);
        assert_eq!(phase, expected.run.phase, "after {length} of {} commits", whole.log.len());
        let open = bench.store.runs(&RunQuery::default()).unwrap();
        let open: Vec<_> = open.iter().filter(|row| !row.status.closed()).collect();
        assert!(open.is_empty(), "after {length} commits: {open:?}");
    }
    assert!(last <= 2, "the root ends last");
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
