//! The seeded world: whatever goes wrong, no step is lost, no effect happens twice, every run ends as it would have
//! ended without trouble, and every history verifies.
//!
//! `cargo xtask sim` plays more worlds than the default, by way of the variables below.

mod forest;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_testkit::world::{Hardship, Met, Mishap, Subject, World, each_step};
use serde_json::{Value, json};

use crate::flows::ALL;

/// Worlds that are played if nobody says how many; `cargo xtask test` says more.
const SEEDS: u64 = 24;

/// Worlds that found a fault once, each with why: a number, a space, a word.
const KEPT: &str = include_str!("seeds.txt");

/// Runs of each flow at once.
fn copies(seed: u64) -> u64 {
    if seed.is_multiple_of(4) { 2 } else { 1 }
}

fn begin(world: &mut World, copies: u64) {
    for copy in 0..copies {
        for (number, (_, source)) in (0..).zip(ALL) {
            world.begin(copy * 1_000 + number, source, &json!({ "late": false }));
        }
    }
}

fn world(seed: u64, hardship: Hardship) -> World {
    let mut world = World::new(seed, hardship);
    begin(&mut world, copies(seed));
    world.until_rest();
    world
}

/// What every world must come to.
struct Calm {
    results: BTreeMap<RunId, Value>,
    /// Of each run, and those that runs share.
    effects: BTreeMap<Option<RunId>, BTreeSet<Hash>>,
}

impl Calm {
    fn new() -> Self {
        let world = world(0, Hardship::NONE);
        let results = world.results();
        let whose = results.keys().copied().map(Some).chain([None]);
        let effects = whose.map(|run| (run, world.outside().keys_of(run))).collect();
        Self { results, effects }
    }

    /// Plays a world twice and holds it against what must be; gives back how often its process died.
    fn hold(&self, seed: u64) -> usize {
        let hardship = Hardship::of(seed);
        let rough = world(seed, hardship);
        for (key, class, times) in rough.outside().effects() {
            let once = class.repeatable() || times <= 1;
            assert!(once, "effect {key} happened {times} times\n{}", rough.tail());
        }
        rough.check();
        let mut results = rough.results();
        for (run, expected) in &self.results {
            let Some(found) = results.remove(run) else {
                assert!(run.0.as_u128() > 1_000 && copies(seed) == 1, "run {run} is not there");
                continue;
            };
            if rough.cancelled().contains(run) {
                assert_ne!(found, json!("open"), "run {run} was cancelled and goes on");
                continue;
            }
            assert_eq!(&found, expected, "run {run}\n{}", rough.tail());
            if expected.get("completed").is_none() {
                // What else had begun when it failed depends on what came first.
                continue;
            }
            let effects = rough.outside().keys_of(Some(*run));
            assert_eq!(&effects, &self.effects[&Some(*run)], "effects of {run}\n{}", rough.tail());
        }
        let (shared, calm) = (rough.outside().keys_of(None), &self.effects[&None]);
        let all = rough.cancelled().is_empty();
        let right = if all { shared == *calm } else { shared.is_subset(calm) };
        assert!(right, "effects that runs share: {shared:?}\n{}", rough.tail());
        assert_eq!(results, BTreeMap::new(), "runs that nobody started");
        let twin = world(seed, hardship);
        assert!(rough.trace == twin.trace, "two traces\n{}\n\n{}", rough.tail(), twin.tail());
        rough.crashes
    }
}

#[test]
fn a_smooth_world_ends_every_flow() {
    let mut world = World::new(1, Hardship::NONE);
    for (number, (_, source)) in (0..).zip(ALL) {
        world.start(number, source, &json!({ "late": false }));
    }
    world.until_rest();
    world.check();
    insta::assert_json_snapshot!(world.results());
}

/// Numbers from the environment, which only `cargo xtask sim` sets.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays as many worlds as are asked for.
#[expect(clippy::print_stderr, reason = "how far it has come is for whoever plays many")]
fn play_all(what: &str, usual: u64, hold: &(dyn Fn(u64) -> usize + Sync)) {
    let from = asked("AURA_SIM_FROM").unwrap_or(0);
    let minutes = asked("AURA_SIM_MINUTES");
    let seeds = asked("AURA_SIM_SEEDS").unwrap_or(if minutes.is_some() { u64::MAX } else { usual });
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let start = Instant::now();
    let (next, played, crashes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while until.is_none_or(|until| Instant::now() < until) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        break;
                    }
                    let seed = from + number;
                    let Ok(died) = catch_unwind(AssertUnwindSafe(|| hold(seed))) else {
                        failed.lock().unwrap().push(seed);
                        break;
                    };
                    crashes.fetch_add(died, Ordering::Relaxed);
                    let played = played.fetch_add(1, Ordering::Relaxed) + 1;
                    if played.is_multiple_of(100) {
                        eprintln!("sim: {played} {what} in {:.0} s", start.elapsed().as_secs_f64());
                    }
                }
            });
        }
    });
    let (failed, played) = (failed.into_inner().unwrap(), played.into_inner());
    let crashes = crashes.into_inner();
    eprintln!(
        "sim: {played} {what} from seed {from}, each twice, {crashes} crashes, {} failed ({:.0} s)",
        failed.len(),
        start.elapsed().as_secs_f64()
    );
    assert!(failed.is_empty(), "again: cargo xtask sim --from {} --seeds 1", failed[0]);
    // Without crashes it would show nothing.
    assert!(played < 20 || crashes as u64 > played, "{crashes} crashes in {played} worlds");
}

#[test]
fn rough_worlds_end_as_the_smooth_one() {
    let calm = Calm::new();
    play_all("worlds", SEEDS, &|seed| calm.hold(seed));
}

#[test]
fn worlds_that_found_a_fault_once_are_kept() {
    let calm = Calm::new();
    for line in KEPT.lines().filter(|line| !line.starts_with('#')) {
        let (seed, why) = line.split_once(' ').expect("a seed and why it is kept");
        let seed = seed.parse().expect("a seed is a number");
        let held = catch_unwind(AssertUnwindSafe(|| calm.hold(seed)));
        assert!(held.is_ok(), "seed {seed}, kept because of: {why}");
    }
}

fn told(met: &[Met]) -> Vec<String> {
    met.iter()
        .map(|met| {
            let Met { step, tool, mishap, same, asked, made, .. } = met;
            let end = if *same { "ends as in peace" } else { "ends otherwise" };
            let asked = if *asked > 0 { ", a person is asked" } else { "" };
            format!("{step} ({tool}) {mishap:?}: made {made} times{asked}, {end}")
        })
        .collect()
}

#[test]
fn something_goes_wrong_at_each_step() {
    let flow = ALL.iter().find(|(name, _)| *name == "effects").unwrap().1;
    let met = each_step(&Subject::new(flow, json!({ "late": false })), &Mishap::ALL);
    insta::assert_json_snapshot!(told(&met));
}

#[test]
fn each_step_of_every_flow_may_be_done_twice() {
    for (name, source) in ALL {
        let met = each_step(&Subject::new(source, json!({ "late": false })), &Mishap::TWICE);
        assert!(!met.is_empty() && met.iter().all(|met| met.same), "{name}");
    }
}
