//! What runs tell each other: derived from the facts of a turn, and never stored by itself.
//!
//! All of it can be derived again from the state, so that whoever performs a tree again can tell what was not heard.

use std::collections::BTreeMap;

use aura_core::child::{ChildAccount, ChildSpec, Parent, child_seed, next_seed};
use aura_core::event::{Event, EventBody, RunStarted, SignalReceived, Work};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::path::StepPath;

use crate::flags::CHILDREN_COUNT;
use crate::state::{Run, speaks_for};

/// The messages that follow from the facts of a turn, given the state after them.
pub(super) fn of(run: &Run, events: &[Event]) -> Vec<(RunId, Input)> {
    let mut messages = Vec::new();
    for event in events {
        match (&event.step, &event.body) {
            (Some(step), EventBody::StepStarted(data)) => {
                if let Work::Child(spec) = &data.work
                    && let Some(started) = child_started(run, step, spec)
                {
                    messages.push((spec.run, Input::Start(Box::new(started))));
                }
            }
            (Some(_), EventBody::ChildCancelling(data)) => {
                let reason = Some(data.reason.clone());
                messages.push((data.run, Input::Cancel { actor: speaks_for(run.id), reason }));
            }
            (Some(_), EventBody::ChildContinued(data)) => {
                messages.extend(pause_message(run).map(|pause| (data.next, pause)));
            }
            (None, EventBody::RunPaused(_)) => {
                let pause = pause_message(run);
                let children = run.children.values();
                messages.extend(children.filter_map(|child| Some((child.run, pause.clone()?))));
            }
            (None, EventBody::RunResumed(_)) => {
                let resume = resume_message(run);
                let children = run.children.values();
                messages.extend(children.filter_map(|child| Some((child.run, resume.clone()?))));
            }
            (None, EventBody::RunContinued(_)) => {
                if let Some((next, started)) = next_started(run) {
                    messages.push((next, Input::Start(Box::new(started))));
                }
            }
            (
                None,
                EventBody::RunCompleted(_) | EventBody::RunFailed(_) | EventBody::RunCancelled(_),
            ) => messages.extend(end_message(run)),
            _ => {}
        }
    }
    messages
}

/// What the children of a paused run are told; `None` while it goes on.
pub fn pause_message(run: &Run) -> Option<Input> {
    let reason = run.paused.as_ref()?.reason.clone();
    Some(Input::Pause { actor: speaks_for(run.id), reason })
}

/// What the children of a run that is not paused are told; `None` while it is.
pub fn resume_message(run: &Run) -> Option<Input> {
    run.paused.is_none().then(|| Input::Resume { actor: speaks_for(run.id), reason: None })
}

/// What a parent is told of the end of this run; `None` while it goes on, and where nobody waits for it.
pub fn end_message(run: &Run) -> Option<(RunId, Input)> {
    let parent = run.started.as_ref()?.parent.as_ref().filter(|parent| !parent.detached)?;
    let (step, end) = (parent.step.clone(), run.end()?);
    let account = ChildAccount {
        used: run.obeys(CHILDREN_COUNT).then_some(run.budgets.run.spent),
        undo: run.handed_over(),
    };
    Some((parent.run, Input::Child { step, run: run.id, end, account }))
}

/// What the child of a step starts with: it has labels, permissions and actor of its parent.
pub fn child_started(run: &Run, step: &StepPath, spec: &ChildSpec) -> Option<RunStarted> {
    let started = run.started.as_ref()?;
    let seed = child_seed(started.seed, step);
    let above = started.parent.as_ref().map_or(0, |parent| parent.depth);
    let root = if spec.detached { spec.run } else { run.root_run() };
    let counts = run.obeys(CHILDREN_COUNT) && !spec.detached;
    let own = if counts { None } else { spec.budget.or(started.budget) };
    Some(RunStarted {
        flow: spec.flow.clone(),
        input: spec.input.clone(),
        wide_numbers: Vec::new(),
        key: None,
        seed: Hash::of_parts(&[&seed.0, b"seed"]),
        salt: Hash::of_parts(&[&seed.0, b"salt"]),
        vars: BTreeMap::new(),
        parent: Some(Parent {
            run: run.id,
            step: step.clone(),
            root,
            depth: above + 1,
            detached: spec.detached,
            budget: spec.budget.filter(|_| counts),
        }),
        continues: None,
        signals: Vec::new(),
        // What bounds the time of the parent bounds that of its children.
        deadline: started.deadline.filter(|_| !spec.detached),
        budget: own,
        state: Hash::ZERO,
        ..RunStarted::clone(started)
    })
}

/// The run that goes on in the place of this one, with what it starts with; `None` where none does.
pub fn next_started(run: &Run) -> Option<(RunId, RunStarted)> {
    let started = run.started.as_ref()?;
    let continued = run.continued.as_ref()?;
    let seed = next_seed(started.seed);
    let kept = run.signals.in_order();
    let mut parent = started.parent.clone();
    let shared = parent.as_mut().and_then(|parent| parent.budget.as_mut());
    // What was set aside for this run is for all that go on in its place together.
    let own = started.budget.filter(|_| shared.is_none());
    if let Some(shared) = shared {
        shared.limits = shared.limits.without(&run.budgets.run.spent);
    }
    let next = RunStarted {
        input: continued.input.clone(),
        wide_numbers: Vec::new(),
        seed: Hash::of_parts(&[&seed.0, b"seed"]),
        salt: Hash::of_parts(&[&seed.0, b"salt"]),
        vars: BTreeMap::new(),
        continues: Some(run.id),
        signals: kept.iter().map(|signal| SignalReceived::clone(signal)).collect(),
        deadline: None,
        parent,
        budget: own,
        state: Hash::ZERO,
        ..RunStarted::clone(started)
    };
    Some((continued.next, next))
}
