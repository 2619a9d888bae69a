//! What forking does to a state: the parent's beginning becomes that of another run.

use std::sync::Arc;

use aura_core::budget::Amounts;
use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::event::{EventBody, Purpose, Settlement};
use aura_core::fork::{Changed, EffectReused, EffectWithheld, ForkEffects, ForkPoint, RunForked};
use aura_core::path::StepPath;
use aura_core::time::Millis;
use serde::{Deserialize, Serialize};

use super::{Phase, Run, Shared, TaskPhase, maps};
use crate::val::Val;

/// What a run knows of having been forked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fork {
    /// Where it left its parent.
    pub point: ForkPoint,
    /// When.
    pub at: Millis,
    /// The first event of the parent whose outcome it may take: those of the input that it took over are used.
    pub from: u64,
    /// Where the outcomes of its effects come from.
    pub effects: ForkEffects,
    /// Outcomes by step and tool, where they come from a file.
    pub mocks: Option<Data>,
    /// Events of the parent whose outcomes it took.
    #[serde(with = "maps")]
    pub used: Shared<u64, ()>,
}

/// Folds `run.forked`; `before` is the time of the last shared commit.
pub(super) fn forked(run: &mut Run, data: &RunForked, before: Millis) -> Option<()> {
    if run.events != data.seq + 1 || !matches!(run.phase, Phase::New | Phase::Running) {
        return None;
    }
    let at = run.at;
    if let Some(started) = &mut run.started {
        let started = Arc::make_mut(started);
        started.flow = data.flow.clone();
        started.seed = data.seed;
        started.labels.clone_from(&data.labels);
        // The key names the parent, and whoever waits for that does not wait for the fork.
        started.key = None;
        started.parent = None;
        for change in &data.changes {
            let value = change.value.clone();
            match &change.of {
                Changed::Input => Arc::make_mut(run.started.as_mut()?).input = value,
                Changed::Var(name) => {
                    run.vars.insert_mut(name.clone(), Val::Data(value));
                }
                Changed::Output(step) => run.node_mut(step)?.output = Val::Data(value),
            }
        }
    }
    // What the parent did is the parent's to undo, and who paused it did not pause the fork.
    if let Some(saga) = &mut run.saga {
        Arc::make_mut(saga).close();
    }
    run.paused = None;
    reopen(run, data)?;
    later(run, data, at.since(before));
    run.fork_budget(&data.budget.unwrap_or_default(), at.since(before));
    run.fork = Some(Fork {
        point: ForkPoint { parent: data.parent, seq: data.seq },
        at,
        from: data.seq + 1 + data.then.len() as u64,
        effects: data.effects,
        mocks: data.mocks.clone(),
        used: Shared::default(),
    });
    run.hash = data.state;
    Some(())
}

/// What was open in the parent is the fork's to begin again, under its own key.
fn reopen(run: &mut Run, data: &RunForked) -> Option<()> {
    let at = run.at;
    let listed = |step: &StepPath| data.open.iter().any(|open| open.step == *step);
    let probes = run.tasks.keys().filter(|step| step.is_body() && !listed(step));
    for probe in probes.cloned().collect::<Vec<_>>() {
        run.tasks.remove_mut(&probe);
        super::fold::stop_attempts(run, &probe);
        if run.budgets.open.contains_key(&probe) {
            run.budgets.settle(&probe, Amounts::default())?;
        }
    }
    for open in &data.open {
        let task = Arc::make_mut(run.tasks.get_mut(&open.step)?);
        Arc::make_mut(&mut task.spec).key = open.key;
        if !open.again {
            continue;
        }
        let pure = task.spec.class == EffectClass::Pure;
        let timeout = at.plus(task.spec.timeout_ms);
        task.phase = if pure { TaskPhase::Called } else { TaskPhase::Ready };
        task.attempt = 1;
        task.recoveries = 0;
        task.intended = None;
        task.doubtful = false;
        task.error = None;
        task.withheld = None;
        task.live = false;
        task.details = None;
        task.cleared.clear();
        super::fold::stop_attempts(run, &open.step);
        // What the parent's call costs is the parent's.
        if run.budgets.open.contains_key(&open.step) {
            run.budgets.settle(&open.step, Amounts::default())?;
        }
        if pure {
            run.timers.set(open.step.clone(), Purpose::Attempt, timeout);
            super::fold::expect_heartbeat(run, &open.step)?;
        }
    }
    Some(())
}

/// Nodes with a deadline have in the fork what was left of it in the parent; the time between does not count.
fn later(run: &mut Run, data: &RunForked, by_ms: u64) {
    let fires = data.then.first().and_then(|event| match &event.body {
        EventBody::TimerFired(timer) if timer.purpose == Purpose::Deadline => event.step.clone(),
        _ => None,
    });
    let due: Vec<_> = run
        .timers
        .iter()
        .filter(|(_, step, purpose)| *purpose == Purpose::Deadline && fires.as_ref() != Some(*step))
        .map(|(due, step, _)| (step.clone(), due.plus(by_ms)))
        .collect();
    for (step, due) in due {
        run.timers.set(step, Purpose::Deadline, due);
    }
}

/// Folds `effect.reused`.
pub(super) fn reused(run: &mut Run, step: &StepPath, data: &EffectReused) -> Option<()> {
    if let (Some(from), Some(fork)) = (data.from, &mut run.fork)
        && from.run == fork.point.parent
    {
        fork.used.insert_mut(from.seq, ());
    }
    match &data.outcome {
        Settlement::Succeeded(output) => super::fold::succeeded(run, step, output),
        Settlement::Failed(error) => {
            let task = Arc::make_mut(run.tasks.get_mut(step)?);
            task.phase = TaskPhase::Failed;
            task.error = Some(error.clone());
            Some(())
        }
        Settlement::Retry => None,
    }
}

/// Folds `effect.withheld`.
pub(super) fn withheld(run: &mut Run, step: &StepPath, data: &EffectWithheld) -> Option<()> {
    let task = Arc::make_mut(run.tasks.get_mut(step)?);
    task.phase = TaskPhase::InDoubt;
    task.withheld = Some(data.why);
    Some(())
}
