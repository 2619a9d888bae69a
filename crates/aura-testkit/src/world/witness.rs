//! What is durable, as somebody sees it who reads the disk: nobody outside may ever have seen more.

use std::collections::{BTreeMap, BTreeSet};

use aura_core::event::{EventBody, Work};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::Group;
use aura_core::task::Task;
use aura_engine::{Trail, shared};
use aura_graph::Run;

use crate::model_store::ModelStore;

/// What the durable log says, by run.
#[derive(Debug, Default)]
pub(super) struct Witness {
    runs: BTreeMap<RunId, Seen>,
    /// The histories, from which the rows of shared keys follow.
    trails: BTreeMap<RunId, Trail>,
}

#[derive(Debug, Default)]
struct Seen {
    events: u64,
    closed: bool,
    /// Tasks that may be performed, with the attempt; pure ones have no intent, so any attempt of them may.
    called: BTreeSet<(StepPath, u32)>,
    pure: BTreeSet<StepPath>,
}

impl Witness {
    /// A group became durable in a store.
    pub(super) fn take(&mut self, group: &Group, store: &ModelStore) {
        let mut keys = Vec::new();
        for commit in &group.commits {
            let run = commit.header.run;
            let seen = self.runs.entry(run).or_default();
            seen.events = commit.header.seq + u64::from(commit.header.count) - 1;
            let events = commit.events().expect("a commit that was just made can be read");
            let begin = || {
                let (run, head) = match events.first().map(|event| &event.body) {
                    Some(EventBody::RunForked(data)) => {
                        // The handle may be of no use by now; what it wrote is there.
                        let store = ModelStore::from_disk(store.disk());
                        shared(&store, run, (data.parent, data.seq)).expect("its parent is there")
                    }
                    _ => (Run::new(run), Hash::ZERO),
                };
                Trail::new(run, head)
            };
            let trail = self.trails.entry(run).or_insert_with(begin);
            keys.extend(trail.take(commit, &events).expect("it follows"));
            for event in events {
                let step = event.step.clone().unwrap_or_else(StepPath::root);
                match event.body {
                    EventBody::ToolCalled(_) => {
                        seen.called.insert((step, event.attempt.unwrap_or(1)));
                    }
                    EventBody::StepStarted(started) if matches!(started.work, Work::Task(_)) => {
                        seen.pure.insert(step);
                    }
                    EventBody::RunCompleted(_)
                    | EventBody::RunFailed(_)
                    | EventBody::RunCancelled(_) => seen.closed = true,
                    _ => {}
                }
            }
        }
        assert_eq!(keys, group.keys, "rows of shared keys follow from the events");
    }

    /// Runs that have begun and not ended.
    pub(super) fn open(&self) -> Vec<RunId> {
        self.runs.iter().filter(|(_, seen)| !seen.closed).map(|(run, _)| *run).collect()
    }

    /// Whether the start of a run is durable.
    pub(super) fn knows(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// How many events of a run are durable.
    pub(super) fn events(&self, run: RunId) -> u64 {
        self.runs.get(&run).map_or(0, |seen| seen.events)
    }

    /// Whether the log says that this attempt may be made.
    pub(super) fn allows(&self, task: &Task) -> bool {
        let Some(seen) = self.runs.get(&task.run) else { return false };
        match task.spec.class {
            aura_core::effect::EffectClass::Pure => seen.pure.contains(&task.step),
            _ => seen.called.contains(&(task.step.clone(), task.attempt)),
        }
    }
}
