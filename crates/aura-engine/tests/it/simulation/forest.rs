//! Worlds of trees: parents with children side by side, detached ones, runs that go on anew, and forks of them.

use std::collections::{BTreeMap, BTreeSet};

use aura_core::fork::ForkEffects;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_engine::open_history;
use aura_testkit::model_store::ModelStore;
use aura_testkit::world::{Hardship, World};
use serde_json::{Value, json};
use uuid::Uuid;

/// Worlds that are played if nobody says how many: each has dozens of runs.
const SEEDS: u64 = 6;

/// What begins a family. Nothing in them depends on how long something takes.
const FAMILIES: &[&str] = &[SIDE_BY_SIDE, UNDONE, LEAVES, FAILS, ASKS, GOES_ON, LATE];

/// Families of which a fork is made when they have ended: at which step, and whether it calls by itself.
const FORKS: &[(usize, &str, ForkEffects)] = &[
    (0, "after", ForkEffects::Live),
    (0, "once", ForkEffects::Live),
    (3, "t", ForkEffects::Reuse),
    (4, "ask", ForkEffects::Reuse),
    (6, "slow", ForkEffects::Live),
];

const FILES: &[(&str, &str)] = &[
    ("works.yaml", WORKS),
    ("inner.yaml", INNER),
    ("chain.yaml", CHAIN),
    ("bad.yaml", BAD),
    ("sleepy.yaml", SLEEPY),
    ("people.yaml", PEOPLE),
];

/// Children that share a budget, of which there is enough however often a call is made again.
const SIDE_BY_SIDE: &str = r"
flow: side_by_side
budget: { usd: 100, tool_calls: 4000, steps: 4000 }
nodes:
  - id: m
    map:
      items: [1, 2]
      do:
        - { id: c, budget: { usd: 20, tool_calls: 900, steps: 900 }, flow: { file: works.yaml, input: { n: $item } } }
  - { id: after, tool: sim.irreversible, with: { n: after } }
  - { id: once, flow: { file: works.yaml, input: { n: 4 } } }
output: [$steps.m.output, $steps.after.output, $steps.once.output]
";

const WORKS: &str = r"
flow: works
input: { type: object, required: [n], properties: { n: { type: integer } } }
nodes:
  - id: put
    tool: sim.idempotent
    with: { n: $input.n }
    cost: { usd: 0.5, actual: { usd: 0.1 } }
    compensate: { tool: sim.idempotent, with: { undo: $input.n } }
  - id: sides
    parallel:
      branches:
        a: [{ id: inner, flow: { file: inner.yaml, input: { n: $input.n } } }]
        b: [{ id: chain, flow: { file: chain.yaml, input: { n: $input.n } } }]
  - { id: think, tool: sim.pure, with: { n: $input.n } }
output: [$steps.put.output, $steps.sides.output]
";

const INNER: &str = r"
flow: inner
input: { type: object, required: [n], properties: { n: { type: integer } } }
nodes:
  - id: pay
    tool: sim.irreversible
    with: { inner: $input.n }
    cost: { usd: 0.5 }
    compensate: { tool: sim.irreversible, with: { back: $input.n } }
output: $steps.pay.output
";

const CHAIN: &str = r#"
flow: chain
input: { type: object, required: [n], properties: { n: { type: integer } } }
nodes:
  - id: put
    tool: sim.idempotent
    with: { link: $input.n }
    compensate: { tool: sim.idempotent, with: { unlink: $input.n } }
  - { id: on, when: "{{ input.n % 2 != 0 }}", continue: { input: { n: "{{ input.n + 1 }}" } } }
output: $input.n
"#;

/// Everything below it completed before it fails.
const UNDONE: &str = r"
flow: undone
nodes:
  - id: own
    tool: sim.idempotent
    with: { n: own }
    compensate: { tool: sim.idempotent, with: { undo: own } }
  - id: m
    map: { items: [1, 2], do: [{ id: c, flow: { file: works.yaml, input: { n: $item } } }] }
  - { id: fails, tool: sim.read, with: { fail: { code: NOT_FOUND } } }
";

/// Nobody waits for what it starts.
const LEAVES: &str = r"
flow: leaves
nodes:
  - { id: c, flow: { file: works.yaml, input: { n: 1 }, detached: true } }
  - { id: t, tool: sim.irreversible, with: { n: left } }
output: $steps.t.output
";

/// A child fails, and those beside it are stopped.
const FAILS: &str = r"
flow: fails
nodes:
  - { id: b, on_error: continue, flow: { file: bad.yaml } }
  - { id: t, tool: sim.idempotent, with: { code: $steps.b.error.code } }
output: $steps.t.output
";

const BAD: &str = r"
flow: bad
nodes:
  - id: sides
    parallel:
      branches:
        sleeps: [{ id: s, flow: { file: sleepy.yaml } }]
        fails: [{ id: f, tool: sim.read, with: { fail: { code: CONFLICT } } }]
";

const SLEEPY: &str = r"
flow: sleepy
nodes:
  - id: put
    tool: sim.idempotent
    with: { n: sleepy }
    compensate: { tool: sim.idempotent, with: { undo: sleepy } }
  - { id: s, sleep: 24h }
";

/// Somebody must act at a child and at its parent.
const ASKS: &str = r"
flow: asks
nodes:
  - id: m
    map: { items: [1, 2], do: [{ id: c, flow: { file: people.yaml } }] }
  - { id: ask, approval: { message: go on } }
output: $steps.m.output
";

const PEOPLE: &str = r"
flow: people
nodes:
  - { id: w, wait: { signal: go } }
  - { id: a, approval: { of: t } }
  - { id: t, tool: sim.irreversible, with: { v: $steps.w.output } }
output: $steps.t.output
";

/// A run that goes on anew and has a child each time.
const GOES_ON: &str = r#"
flow: goes_on
vars: { n: "{{ input.n | default(1) }}" }
nodes:
  - { id: c, flow: { file: works.yaml, input: { n: $vars.n } } }
  - { id: on, when: "{{ vars.n < 2 }}", continue: { input: { n: "{{ vars.n + 1 }}" } } }
output: $steps.c.output
"#;

/// A child that takes too long.
const LATE: &str = r"
flow: late
nodes:
  - { id: t, tool: sim.irreversible, with: { n: first } }
  - { id: slow, deadline: 3h, on_error: continue, flow: { file: sleepy.yaml } }
output: [$steps.t.output, $steps.slow.error.code]
";

fn files() -> BTreeMap<String, String> {
    FILES.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
}

fn family(number: usize) -> RunId {
    RunId(Uuid::from_u128(number as u128 + 1))
}

/// Families, and, when they have come to their end, forks of them.
fn world(seed: u64, hardship: Hardship) -> World {
    let mut world = World::new(seed, hardship);
    for (number, source) in (0..).zip(FAMILIES) {
        world.begin_family(number, (source, &files()), &json!({}));
    }
    world.until_rest();
    for (number, (of, step, effects)) in (100..).zip(FORKS) {
        if !cancelled(&world).contains(&family(*of)) {
            world.begin_fork(number, (family(*of), step), *effects);
        }
    }
    world.until_rest();
    world
}

/// What is on the disk, whatever became of the handle of a world's store.
fn disk(world: &World) -> ModelStore {
    ModelStore::from_disk(world.store().disk())
}

/// The run that began the family of a run.
fn beginning(store: &ModelStore, of: RunId) -> RunId {
    let mut at = of;
    while let Some(run) = open_history(store, at).unwrap().map(|history| history.run) {
        let started = run.started.as_ref().unwrap();
        let fork = run.fork.as_ref().map(|fork| fork.point.parent);
        let parent = started.parent.as_ref().map(|parent| parent.run);
        match fork.or(started.continues).or(parent) {
            Some(before) => at = before,
            None => break,
        }
    }
    at
}

/// Families in which somebody cancelled a run: how they end depends on when that came.
fn cancelled(world: &World) -> BTreeSet<RunId> {
    let store = disk(world);
    world.cancelled().iter().map(|run| beginning(&store, *run)).collect()
}

/// What every world must come to.
struct Calm {
    results: BTreeMap<RunId, Value>,
    effects: BTreeMap<RunId, BTreeSet<Hash>>,
    families: BTreeMap<RunId, RunId>,
}

impl Calm {
    fn new() -> Self {
        let world = world(0, Hardship::NONE);
        let results = world.results();
        let effects = results.keys().map(|run| (*run, world.outside().keys_of(Some(*run))));
        let store = disk(&world);
        let families = results.keys().map(|run| (*run, beginning(&store, *run)));
        Self { effects: effects.collect(), families: families.collect(), results }
    }

    fn hold(&self, seed: u64) -> usize {
        let hardship = Hardship::with_pauses(seed);
        let rough = world(seed, hardship);
        for (key, class, times) in rough.outside().effects() {
            let once = class.repeatable() || times <= 1;
            assert!(once, "effect {key} happened {times} times\n{}", rough.tail());
        }
        rough.check();
        let cancelled = cancelled(&rough);
        let (results, store) = (rough.results(), disk(&rough));
        for (run, found) in &results {
            assert_ne!(found, &json!("open"), "run {run} goes on\n{}", rough.tail());
            let known = self.results.contains_key(run);
            let loose = cancelled.contains(&beginning(&store, *run));
            assert!(known || loose, "run {run}, which nobody started\n{}", rough.tail());
        }
        for (run, expected) in &self.results {
            if cancelled.contains(&self.families[run]) {
                continue;
            }
            assert_eq!(results.get(run), Some(expected), "run {run}\n{}", rough.tail());
            if expected.get("completed").is_some() {
                let effects = rough.outside().keys_of(Some(*run));
                assert_eq!(effects, self.effects[run], "effects of {run}\n{}", rough.tail());
            }
        }
        let twin = world(seed, hardship);
        assert!(rough.trace == twin.trace, "two traces\n{}\n\n{}", rough.tail(), twin.tail());
        rough.crashes
    }
}

#[test]
fn a_smooth_world_ends_every_family() {
    let world = world(1, Hardship::NONE);
    world.check();
    // Ids of children say nothing to a reader.
    let mut told: Vec<_> = world
        .results()
        .into_iter()
        .map(|(run, result)| {
            let flow = world.run(run).unwrap().started.as_ref().unwrap().flow.name.clone();
            format!("{flow}: {result}")
        })
        .collect();
    told.sort();
    insta::assert_json_snapshot!(told);
}

#[test]
fn rough_worlds_of_trees_end_as_the_smooth_one() {
    let calm = Calm::new();
    super::play_all("worlds of trees", SEEDS, &|seed| calm.hold(seed));
}
