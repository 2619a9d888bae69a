//! How hard a world is on its engine.

use crate::seed::Seed;

/// What goes wrong in a world: each number is "one in so many", and 0 is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardship {
    /// Operations before which the process dies.
    pub crash: usize,
    /// Groups for which the store has no room; nothing of them is durable.
    pub busy: usize,
    /// Groups after which the store can't be used; every second one is durable all the same.
    pub broken: usize,
    /// Operations before which some time passes although there is something to do.
    pub haste: usize,
    /// First attempts that hang until their time is over, and answer later or when the process is gone.
    pub hang: usize,
    /// Answers, of tools and of people, that come twice.
    pub twice: usize,
    /// Things that people do that cancel a run.
    pub cancel: usize,
    /// Things that people do that pause a run.
    pub pause: usize,
    /// Slots for effects.
    pub slots: usize,
}

impl Hardship {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        crash: 0,
        busy: 0,
        broken: 0,
        haste: 0,
        hang: 0,
        twice: 0,
        cancel: 0,
        pause: 0,
        slots: 64,
    };

    /// What the seed determines, and people who pause runs now and then: only for runs whose end does not depend on how
    /// long anything takes.
    pub fn with_pauses(seed: u64) -> Self {
        let pause = [0, 6, 12, 30][Seed::new(seed ^ 0x00de_cafe).below(4)];
        Self { pause, ..Self::of(seed) }
    }

    /// A mixture that the seed determines: some worlds have much of one thing and nothing of another, because
    /// what hides behind one fault is not found where all of them strike at once.
    pub fn of(seed: u64) -> Self {
        let mut seed = Seed::new(seed ^ 0x00c0_ffee);
        let mut some = |often: usize, seldom: usize| match seed.below(4) {
            0 => 0,
            1 => often,
            _ => often + seed.below(seldom - often),
        };
        Self {
            crash: some(30, 300),
            busy: some(6, 40),
            broken: some(20, 80),
            haste: some(8, 60),
            hang: some(4, 20),
            twice: some(2, 10),
            cancel: some(6, 60),
            pause: 0,
            slots: some(1, 8).max(1),
        }
    }
}
