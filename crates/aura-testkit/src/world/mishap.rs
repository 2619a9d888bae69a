//! Any flow, with something going wrong at each of its steps in turn.
//!
//! The flow is played once in peace, and then once for each call that it made and each [`Mishap`], in a world where
//! nothing else goes wrong. What came of it is reported call by call; what must hold of every flow is asserted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_core::effect::EffectClass;
use aura_core::id::RunId;
use aura_core::input::Bundle;
use aura_core::path::StepPath;
use aura_core::task::Task;
use aura_core::tool::ToolDef;
use serde_json::Value;

use super::outside::Answers;
use super::start::start_with;
use super::{Hardship, World, tools};

/// What goes wrong at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// Its first attempt fails, and it is certain that nothing happened.
    Fails,
    /// The process dies when the call has been asked for and has done nothing.
    DiesBefore,
    /// The process dies when the call has had its effect and nobody knows: where its class allows, it is done twice.
    DiesAfter,
    /// Its answer comes twice.
    ToldTwice,
}

impl Mishap {
    /// Every mishap.
    pub const ALL: [Self; 4] = [Self::Fails, Self::DiesBefore, Self::DiesAfter, Self::ToldTwice];

    /// Those by which a step is done, or said to be done, twice.
    pub const TWICE: [Self; 2] = [Self::DiesAfter, Self::ToldTwice];
}

/// A flow and the world that it meets.
#[derive(Clone)]
pub struct Subject {
    bundle: Bundle,
    input: Value,
    answers: Option<Answers>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("input", &self.input).finish_non_exhaustive()
    }
}

impl Subject {
    /// A flow of the tools of a world.
    pub fn new(source: &str, input: Value) -> Self {
        Self {
            bundle: Bundle {
                source: source.to_owned(),
                files: std::collections::BTreeMap::new(),
                tools: tools(),
            },
            input,
            answers: None,
        }
    }

    /// A flow of other tools: their definitions, and what each call gives, which must be the same for the same call.
    pub fn with_tools(
        mut self,
        tools: BTreeMap<String, ToolDef>,
        answers: impl Fn(&Task) -> Value + Send + Sync + 'static,
    ) -> Self {
        self.bundle.tools = tools;
        self.answers = Some(Arc::new(answers));
        self
    }

    fn play(&self, injected: Option<Injected>) -> (World, RunId) {
        let mut world = World::new(1, Hardship::NONE);
        world.outside.answers.clone_from(&self.answers);
        world.injected = injected;
        let start = start_with(0, &self.bundle, self.input.clone(), world.disk.salt);
        let run = world.begin_with(0, start);
        world.until_rest();
        world.check();
        (world, run)
    }
}

/// What came of a mishap at one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Met {
    /// The step.
    pub step: StepPath,
    /// The tool that it calls.
    pub tool: String,
    /// The class that governs doubt.
    pub class: EffectClass,
    /// What went wrong.
    pub mishap: Mishap,
    /// How the run ended.
    pub result: Value,
    /// Whether it ended as it does in peace.
    pub same: bool,
    /// How often a person had to say what became of the effect.
    pub asked: usize,
    /// How often the call was made.
    pub made: usize,
}

/// A mishap that waits for its call.
#[derive(Debug, Clone)]
pub(super) struct Injected {
    step: StepPath,
    mishap: Mishap,
    /// Whether it has come.
    met: bool,
}

/// Plays a flow with each of `mishaps` at each call that it makes in peace, and reports what came of each.
///
/// What is asserted: no irreversible effect happens twice; the run ends; its history verifies and is decided again
/// as it was; and unless the mishap is a failure, which a flow may answer as it likes, it ends as in peace and every
/// effect that happens in peace happens, if it completes.
///
/// # Panics
/// The flow does not load, or one of these does not hold.
pub fn each_step(subject: &Subject, mishaps: &[Mishap]) -> Vec<Met> {
    let (calm, run) = subject.play(None);
    let expected = calm.results().remove(&run).unwrap_or_default();
    let keys = |world: &World, run| [Some(run), None].map(|of| world.outside.keys_of(of));
    let effects = keys(&calm, run);
    let mut met = Vec::new();
    let mut seen = BTreeSet::new();
    for task in calm.outside.made().filter(|task| seen.insert(task.step.clone())) {
        for mishap in mishaps {
            let injected = Injected { step: task.step.clone(), mishap: *mishap, met: false };
            let (world, run) = subject.play(Some(injected));
            let at = format!("{mishap:?} at {}", task.step);
            let result = world.results().remove(&run).unwrap_or_default();
            let same = result == expected;
            for (key, class, times) in world.outside.effects() {
                let once = class != EffectClass::Irreversible || times <= 1;
                assert!(once, "{at}: effect {key} happened {times} times\n{}", world.tail());
            }
            if *mishap != Mishap::Fails {
                assert!(same, "{at}: {result} instead of {expected}\n{}", world.tail());
                let found = keys(&world, run);
                let whole = expected.get("completed").is_none() || found == effects;
                assert!(whole, "{at}: other effects\n{}", world.tail());
            }
            met.push(Met {
                step: task.step.clone(),
                tool: task.spec.tool.clone(),
                class: task.spec.class,
                mishap: *mishap,
                result,
                same,
                asked: world.settled,
                made: world.outside.made().filter(|made| made.step == task.step).count(),
            });
        }
    }
    met
}

impl World {
    /// Whether this mishap comes to this call now; each comes once.
    pub(super) fn meets(&mut self, task: &Task, mishap: Mishap) -> bool {
        let Some(injected) = &mut self.injected else { return false };
        if injected.met || injected.mishap != mishap || injected.step != task.step {
            return false;
        }
        injected.met = true;
        true
    }

    /// Whether a call fails by injection: known when it acts, and again when it tells.
    pub(super) fn fails(&self, task: &Task) -> bool {
        self.injected.as_ref().is_some_and(|injected| {
            injected.mishap == Mishap::Fails && injected.step == task.step && task.attempt == 1
        })
    }
}
