//! The seeded world: whatever goes wrong, no step is lost, no effect happens twice, every run ends as it would have
//! ended without trouble, and every history verifies.

use aura_core::effect::EffectClass;
use aura_testkit::world::{Hardship, World};
use serde_json::json;

use crate::flows::ALL;

const SMOOTH: Hardship = Hardship { crash_in: 0, busy_in: 0, slots: 64 };
const ROUGH: Hardship = Hardship { crash_in: 40, busy_in: 12, slots: 3 };

fn world(seed: u64, hardship: Hardship) -> World {
    let mut world = World::new(seed, hardship);
    for (number, (_, source)) in (0..).zip(ALL) {
        world.start(number, source, &json!({ "late": false }));
    }
    world.until_rest();
    world
}

fn no_effect_twice(world: &World, seed: u64) {
    for (key, class, times) in world.outside().effects() {
        let once = match class {
            EffectClass::Irreversible => times <= 1,
            EffectClass::Reconcilable => times == 1,
            _ => true,
        };
        assert!(once, "seed {seed}: effect {key} happened {times} times\n{}", world.tail());
    }
}

#[test]
fn a_smooth_world_ends_every_flow() {
    let world = world(1, SMOOTH);
    world.check();
    insta::assert_json_snapshot!(world.results());
}

#[test]
fn fifty_rough_worlds_end_as_the_smooth_one() {
    let expected = world(1, SMOOTH).results();
    let mut crashes = 0;
    for seed in 0..50 {
        let rough = std::panic::catch_unwind(|| world(seed, ROUGH));
        let rough = rough.unwrap_or_else(|_| panic!("seed {seed} did not come to rest"));
        no_effect_twice(&rough, seed);
        rough.check();
        assert_eq!(rough.results(), expected, "seed {seed}\n{}", rough.tail());
        let twin = world(seed, ROUGH);
        assert_eq!(rough.trace, twin.trace, "seed {seed} has two traces");
        crashes += rough.crashes;
    }
    // Without crashes the test would show nothing.
    assert!(crashes > 500, "only {crashes} crashes in fifty worlds");
}
