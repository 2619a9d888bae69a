//! `fold`: what each event does to the state. Needs events only: no flow, no expression, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::budget::Amounts;
use aura_core::commit::{BadCommit, StoredCommit};
use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::event::{
    Answer, Doubt, EffectUnknown, Event, EventBody, Next, OnFailure, Output, Purpose, RunStarted,
    Settlement, SkipReason, StepCompleted, StepFailed, StepStarted, Work,
};
use aura_core::hash::Hash;
use aura_core::journal::JournalRecorded;
use aura_core::path::StepPath;
use aura_core::saga::{Compensation, Planned};
use aura_core::task::TaskSpec;
use aura_core::time::Millis;

use super::forked::{forked, reused, withheld};
use super::tree::{Bodies, Done, Inside, Key, Node, Route, Status, Trouble};
use super::{Asked, Child, Phase, Run, Task, TaskPhase, probe_path};
use crate::val::Val;

/// An event that does not fit the state before it: the history is damaged, or was written by another build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The event speaks of something that is not there.
    #[error("event {seq} ({kind}) does not fit the state of the run")]
    Misfit {
        /// Its number.
        seq: u64,
        /// Its type.
        kind: &'static str,
    },
    /// The commit is not what its chain says.
    #[error(transparent)]
    Commit(#[from] BadCommit),
}

/// Folds a commit into the state; `head` is the hash of the commit before it and becomes that of this one.
///
/// # Errors
/// The commit does not follow in the chain, or an event of it does not fit.
pub fn fold_commit(run: &mut Run, head: &mut Hash, commit: &StoredCommit) -> Result<(), FoldError> {
    commit.check(*head, run.events + 1)?;
    fold_checked(run, head, commit, &commit.events()?)
}

/// Folds a commit whose events were decoded before, as [`fold_commit`] does.
///
/// # Errors
/// As [`fold_commit`].
pub fn fold_events(
    run: &mut Run,
    head: &mut Hash,
    commit: &StoredCommit,
    events: &[Event],
) -> Result<(), FoldError> {
    commit.check(*head, run.events + 1)?;
    fold_checked(run, head, commit, events)
}

fn fold_checked(
    run: &mut Run,
    head: &mut Hash,
    commit: &StoredCommit,
    events: &[Event],
) -> Result<(), FoldError> {
    for event in events {
        fold(run, commit.header.at, event)?;
    }
    run.more = commit.header.more;
    *head = commit.hash;
    Ok(())
}

/// Folds one event into the state.
///
/// # Errors
/// The event does not fit; the state is then of no use.
pub fn fold(run: &mut Run, at: Millis, event: &Event) -> Result<(), FoldError> {
    run.events += 1;
    let before = std::mem::replace(&mut run.at, at);
    let misfit = FoldError::Misfit { seq: run.events, kind: event.body.kind() };
    let done = match &event.step {
        Some(step) => on_step(run, step, event),
        None => match &event.body {
            EventBody::RunForked(data) => forked(run, data, before),
            body => on_run(run, body),
        },
    };
    done.ok_or(misfit)
}

fn on_run(run: &mut Run, body: &EventBody) -> Option<()> {
    match body {
        EventBody::RunStarted(data) => {
            run.phase = Phase::Running;
            run.hash = data.state;
            Arc::make_mut(&mut run.root).opened = run.at;
            if let Some(deadline) = data.deadline {
                run.timers.set(StepPath::root(), Purpose::Deadline, deadline);
            }
            run.begin_budget(&StepPath::root(), &data.budget.unwrap_or_default());
            set_vars(run, &data.vars);
            for signal in &data.signals {
                run.signals.keep(signal);
            }
            run.started = Some(Arc::new(RunStarted::clone(data)));
        }
        EventBody::RunCompleted(data) => {
            run.hash = data.state;
            // What undoes it is its parent's from here on, and is told with its end.
            let saga = run.saga.clone().filter(|_| run.hands_over());
            end(run, Phase::Completed(data.output.clone()));
            run.saga = saga.or_else(|| run.saga.take());
        }
        EventBody::RunFailed(data) => {
            run.hash = data.state;
            end(run, Phase::Failed(data.error.clone(), data.step.clone()));
        }
        EventBody::RunCancelling(request) => run.phase = Phase::Cancelling(request.clone()),
        EventBody::RunContinued(data) => run.continued = Some(Arc::new(data.clone())),
        EventBody::RunCancelled(_) => end(run, Phase::Cancelled),
        EventBody::SagaStarted(_) => run.saga = Some(Arc::default()),
        EventBody::RunPaused(request) => run.paused = Some(request.clone()),
        EventBody::RunResumed(_) => run.paused = None,
        EventBody::RunCompensating(data) => return run.begin_compensating(data),
        EventBody::SignalReceived(data) => {
            run.signals.keep(data);
        }
        _ => return None,
    }
    Some(())
}

fn end(run: &mut Run, phase: Phase) {
    run.phase = phase;
    run.paused = None;
    run.drop_below(&StepPath::root());
    if run.saga.is_some() {
        run.saga_mut().close();
    }
}

fn on_step(run: &mut Run, step: &StepPath, event: &Event) -> Option<()> {
    match &event.body {
        EventBody::StepStarted(data) => started(run, step, data),
        EventBody::StepCompleted(data) if step.is_body() => body_completed(run, step, data),
        EventBody::StepCompleted(data) => completed(run, step, data),
        EventBody::StepFailed(data) if step.is_body() => body_failed(run, step, data),
        EventBody::StepFailed(data) => failed(run, step, data),
        EventBody::StepSkipped(data) => {
            let status = match data.reason {
                SkipReason::When => Status::Skipped,
                SkipReason::Dead => Status::Dead,
            };
            run.hash = data.state;
            let node = reach(run, step, status)?;
            route_onward(node, data.next.as_ref());
            visit_again(run, step, data.next.as_ref())
        }
        EventBody::TimerSet(timer) => {
            run.timers.set(step.clone(), timer.purpose, timer.due);
            Some(())
        }
        EventBody::TimerFired(timer) => fired(run, step, timer.purpose),
        EventBody::ApprovalRequested(data) => {
            if let Some(expires) = data.expires {
                run.timers.set(step.clone(), Purpose::Approval, expires);
            }
            if data.raise.is_some() {
                run.ask_for_more(step);
            }
            let asked = Asked { request: data.clone(), granted: Vec::new(), since: run.at };
            run.approvals.insert_mut(step.clone(), Arc::new(asked));
            Some(())
        }
        EventBody::ApprovalGranted(data) => granted(run, step, data),
        EventBody::ApprovalDenied(data) => no_approval(run, step, Some(&data.actor)),
        EventBody::ApprovalExpired(_) => no_approval(run, step, None),
        EventBody::BudgetReserved(data) => {
            if run.children.contains_key(step) {
                run.budgets.lend(step, data.amounts);
            } else {
                run.budgets.reserve(step, data.amounts);
            }
            Some(())
        }
        EventBody::BudgetSettled(data) => run.budgets.settle(step, data.spent),
        EventBody::BudgetExceeded(data) => run.exceed_budget(step, data),
        EventBody::BudgetRaised(data) => run.raise_budget(step, (data.resource, data.limit)),
        EventBody::CompensationStarted(_) => undoing(run, step),
        EventBody::CompensationFailed(data) => not_undone(run, step, &data.error),
        EventBody::StepCompensated(_) => {
            run.saga_mut().compensated();
            Some(())
        }
        EventBody::VerificationCompleted(_)
        | EventBody::ArtifactCreated(_)
        | EventBody::PolicyViolation(_) => Some(()),
        EventBody::JournalRecorded(data) => journal(run, step, data),
        EventBody::ChildCancelling(_)
        | EventBody::ChildCompleted(_)
        | EventBody::ChildFailed(_)
        | EventBody::ChildCancelled(_)
        | EventBody::ChildContinued(_) => on_child(run, step, &event.body),
        _ => on_task(run, step, event),
    }
}

/// A yes: the last one that was missing ends the question, and lets a call go on that waited for it.
fn granted(run: &mut Run, step: &StepPath, answer: &Answer) -> Option<()> {
    let at = run.at;
    let asked = Arc::make_mut(run.approvals.get_mut(step)?);
    asked.granted.push(answer.clone());
    if asked.missing() > 0 {
        return Some(());
    }
    let (again, raise, since) = (asked.request.again.clone(), asked.request.raise, asked.since);
    run.approvals.remove_mut(step);
    run.timers.clear(step, Purpose::Approval);
    if let Some(raise) = raise {
        return run.answered_for_more(step, (raise, since), None);
    }
    let Some(task) = task_mut(run, step) else { return Some(()) };
    task.cleared.extend(again);
    if task.spec.class == EffectClass::Pure {
        task.phase = TaskPhase::Called;
        let timeout = at.plus(task.spec.timeout_ms);
        run.timers.set(step.clone(), Purpose::Attempt, timeout);
    } else {
        task.phase = TaskPhase::Ready;
    }
    Some(())
}

/// A no, or no answer in time.
fn no_approval(run: &mut Run, step: &StepPath, denied: Option<&str>) -> Option<()> {
    let asked = run.approvals.get(step).map(|asked| (asked.request.raise, asked.since));
    run.approvals.remove_mut(step);
    run.timers.clear(step, Purpose::Approval);
    match asked {
        Some((Some(raise), since)) => run.answered_for_more(step, (raise, since), denied),
        _ => Some(()),
    }
}

fn journal(run: &mut Run, step: &StepPath, data: &JournalRecorded) -> Option<()> {
    let number = data.number;
    if let Some(task) = task_mut(run, step) {
        // It got further than the process that ended before it.
        task.recoveries = 0;
    }
    if data.answer.is_none() {
        // The function's own time stands still while it waits.
        run.timers.clear(step, Purpose::Attempt);
    }
    let Inside::Bodies(bodies) = &mut run.node_mut(step)?.inside else { return None };
    bodies.calls.insert_mut(number, (data.asked.clone(), data.call));
    if let Some(answer) = &data.answer {
        bodies.done.insert_mut(Key::Number(number), Done::Completed(Val::Data(answer.clone())));
        bodies.ended += 1;
    }
    Some(())
}

/// A function has its answer, or runs again: its own time begins.
fn time_function(run: &mut Run, step: &StepPath) {
    let at = run.at;
    let waits = run.node(step).and_then(Node::bodies).map(|b| (&b.work, b.call_open()));
    if let Some((Work::Code(spec), false)) = waits {
        let due = at.plus(spec.timeout_ms);
        run.timers.set(step.clone(), Purpose::Attempt, due);
    }
}

fn on_child(run: &mut Run, step: &StepPath, body: &EventBody) -> Option<()> {
    let (used, undo): (_, &[Planned]) = match body {
        EventBody::ChildCompleted(data) => (data.used, &data.undo),
        EventBody::ChildFailed(data) => (data.used, &data.undo),
        EventBody::ChildCancelled(data) => (data.used, &data.undo),
        EventBody::ChildContinued(data) => (data.used, &data.undo),
        _ => (None, &[]),
    };
    run.take_over(step, undo);
    // Where something was set aside for it, that is settled next.
    if let Some(used) = used.filter(|_| !run.budgets.lent.contains_key(step)) {
        run.budgets.count(step, used);
    }
    match body {
        EventBody::ChildCancelling(data) => {
            Arc::make_mut(run.children.get_mut(step)?).cancelling = Some(data.reason.clone());
        }
        EventBody::ChildContinued(data) => {
            let child = Arc::make_mut(run.children.get_mut(step)?);
            child.run = data.next;
            child.cancelling = None;
            child.before += 1;
        }
        EventBody::ChildCompleted(data) => {
            run.children.remove_mut(step).then_some(())?;
            run.node_mut(step)?.outcome = Some(data.output.clone());
        }
        _ => run.children.remove_mut(step).then_some(())?,
    }
    Some(())
}

fn on_task(run: &mut Run, step: &StepPath, event: &Event) -> Option<()> {
    let at = run.at;
    match &event.body {
        EventBody::ApprovalMismatched(_) => {
            task_mut(run, step)?.phase = TaskPhase::Held;
            run.timers.clear(step, Purpose::Attempt);
        }
        EventBody::ToolCalled(data) => {
            let task = task_mut(run, step)?;
            task.phase = TaskPhase::Called;
            task.attempt = event.attempt?;
            task.intended.get_or_insert(at);
            run.timers.set(step.clone(), Purpose::Attempt, data.timeout);
            run.budgets.count(step, Amounts { tool_calls: 1, ..Amounts::default() });
            return expect_heartbeat(run, step);
        }
        EventBody::ActivityHeartbeat(data) => {
            task_mut(run, step)?.details = Some(data.details.clone());
            return expect_heartbeat(run, step);
        }
        EventBody::ToolCompleted(data) => return succeeded(run, step, &data.output),
        EventBody::ToolFailed(data) => {
            let task = task_mut(run, step)?;
            // A failure settles its own attempt only: doubt about an earlier one stays.
            task.phase = TaskPhase::Failed;
            task.error = Some(data.error.clone());
            for purpose in [Purpose::Attempt, Purpose::Heartbeat] {
                run.timers.clear(step, purpose);
            }
            let open = run.node(step).and_then(Node::bodies).is_some_and(Bodies::call_open);
            if open {
                let trouble = Trouble { error: data.error.clone(), step: step.clone() };
                run.node_mut(step)?.failing.get_or_insert(trouble);
            }
        }
        EventBody::EffectUnknown(data) => {
            end_probe(run, step);
            // A function that waits for an answer has done nothing that could have ended the process.
            let waits = run.node(step).and_then(Node::bodies).is_some_and(Bodies::call_open);
            doubted(task_mut(run, step)?, data, waits);
            stop_attempts(run, step);
            if !data.parked {
                time_function(run, step);
            }
        }
        EventBody::EffectReused(data) => return reused(run, step, data),
        EventBody::EffectWithheld(data) => return withheld(run, step, data),
        EventBody::EffectReconciled(data) => return resolved(run, step, &data.outcome),
        EventBody::EffectSettled(data) => {
            run.settled.keep(data.key, data.outcome.clone());
            return resolved(run, step, &data.outcome);
        }
        EventBody::ProbeStarted(_) => {
            let task = task_mut(run, step)?;
            task.phase = TaskPhase::Probing;
            task.probes += 1;
            let (path, probe) = (probe_path(step, task.probes), task.spec.probe.as_deref()?);
            let probe = Task::ready(Arc::new(probe.task()));
            run.tasks.insert_mut(path, Arc::new(probe));
        }
        EventBody::StepRetrying(data) => {
            let task = task_mut(run, step)?;
            task.phase = TaskPhase::Backoff;
            task.attempt = event.attempt?;
            run.timers.set(step.clone(), Purpose::Retry, data.until);
        }
        _ => return None,
    }
    Some(())
}

/// An attempt begins, or told that it is alive: the next sign of life is due.
pub(super) fn expect_heartbeat(run: &mut Run, step: &StepPath) -> Option<()> {
    if let Some(span) = run.tasks.get(step)?.spec.heartbeat_ms {
        run.timers.set(step.clone(), Purpose::Heartbeat, run.at.plus(span));
    }
    Some(())
}

fn task_mut<'a>(run: &'a mut Run, step: &StepPath) -> Option<&'a mut Task> {
    run.tasks.get_mut(step).map(Arc::make_mut)
}

/// Nobody waits for the probe of a step any more.
fn end_probe(run: &mut Run, step: &StepPath) {
    if let Some(task) = run.tasks.get(step).filter(|task| task.phase == TaskPhase::Probing) {
        let path = probe_path(step, task.probes);
        run.drop_below(&path);
    }
}

fn doubted(task: &mut Task, data: &EffectUnknown, waits: bool) {
    task.error.clone_from(&data.error);
    if data.doubt == Doubt::Crash && !waits {
        task.recoveries += 1;
    }
    task.doubtful = task.spec.class != EffectClass::Pure;
    task.phase = match task.spec.class {
        _ if data.parked => TaskPhase::InDoubt,
        // A pure task has no intent: it stays open and simply runs again.
        EffectClass::Pure => TaskPhase::Called,
        _ => TaskPhase::Ready,
    };
}

/// Neither the end of an attempt nor the start of the next is awaited any more.
pub(super) fn stop_attempts(run: &mut Run, step: &StepPath) {
    for purpose in [Purpose::Attempt, Purpose::Heartbeat, Purpose::Retry] {
        run.timers.clear(step, purpose);
    }
}

pub(super) fn succeeded(run: &mut Run, step: &StepPath, output: &Data) -> Option<()> {
    end_probe(run, step);
    run.tasks.remove_mut(step).then_some(())?;
    stop_attempts(run, step);
    // What a probe found is judged in the same commit, and told as the outcome of what it was asked about. A
    // compensation has no node: nothing can refer to what it gave.
    if !step.is_body() && step.compensates().is_none() {
        run.node_mut(step)?.outcome = Some(output.clone());
    }
    Some(())
}

fn resolved(run: &mut Run, step: &StepPath, outcome: &Settlement) -> Option<()> {
    let error = match outcome {
        Settlement::Succeeded(output) => return succeeded(run, step, output),
        Settlement::Failed(error) => Some(error.clone()),
        Settlement::Retry => None,
    };
    end_probe(run, step);
    stop_attempts(run, step);
    let task = task_mut(run, step)?;
    task.doubtful = false;
    task.recoveries = 0;
    let withheld = task.withheld.take().is_some();
    if error.is_some() {
        task.phase = TaskPhase::Failed;
    } else {
        // A number of its own, so that a late outcome of the attempt in doubt is not taken for that of the next.
        task.phase = TaskPhase::Ready;
        task.attempt += 1;
        task.live |= withheld;
    }
    task.error = error;
    Some(())
}

/// The node of a step that is reached now.
fn reach<'a>(run: &'a mut Run, step: &StepPath, status: Status) -> Option<&'a mut Node> {
    let at = run.at;
    let last = step.last()?;
    let (id, visit) = (last.id.to_owned(), last.visit);
    run.steps += 1;
    let scope = run.scope_mut(&step.parent()?, at)?;
    scope.nodes.insert_mut(id.clone(), Arc::new(Node::new(visit, status, at)));
    scope.nodes.get_mut(&id).map(Arc::make_mut)
}

fn started(run: &mut Run, step: &StepPath, data: &StepStarted) -> Option<()> {
    if let Some(deadline) = data.deadline {
        run.timers.set(step.clone(), Purpose::Deadline, deadline);
    }
    if let Work::Task(spec) | Work::Code(spec) = &data.work {
        open_task(run, step, spec);
    }
    if !is_asked_by_function(run, step) {
        run.budgets.count(step, Amounts { steps: 1, ..Amounts::default() });
    }
    if let Some(budget) = &data.budget {
        run.begin_budget(step, budget);
    }
    let inside = match &data.work {
        Work::Wait { signal } => {
            run.waits.insert_mut(step.clone(), signal.clone());
            Inside::Wait(signal.clone())
        }
        Work::Map { .. }
        | Work::Parallel { .. }
        | Work::Switch { .. }
        | Work::Loop { .. }
        | Work::Code(_) => Inside::Bodies(Bodies {
            work: data.work.clone(),
            running: super::Shared::default(),
            done: super::Shared::default(),
            ended: 0,
            last: false,
            calls: super::Shared::default(),
        }),
        Work::Child(spec) if !spec.detached => {
            let child =
                Child { spec: Arc::clone(spec), run: spec.run, cancelling: None, before: 0 };
            run.children.insert_mut(step.clone(), Arc::new(child));
            Inside::Child
        }
        Work::Task(_)
        | Work::Set
        | Work::Sleep
        | Work::Approval
        | Work::Child(_)
        | Work::Continue => Inside::Nothing,
    };
    reach(run, step, Status::Running)?.inside = inside;
    Some(())
}

/// Whether a step is what a function asks for: it is no node of the flow.
fn is_asked_by_function(run: &Run, step: &StepPath) -> bool {
    if !step.as_str().ends_with("]/call") {
        return false;
    }
    let of = step.parent().and_then(|body| body.parent());
    let bodies = of.and_then(|of| run.node(&of)).and_then(Node::bodies);
    bodies.is_some_and(|bodies| matches!(bodies.work, Work::Code(_)))
}

fn open_task(run: &mut Run, step: &StepPath, spec: &Arc<TaskSpec>) {
    let pure = spec.class == EffectClass::Pure;
    if pure {
        run.timers.set(step.clone(), Purpose::Attempt, run.at.plus(spec.timeout_ms));
    }
    let mut task = Task::ready(Arc::clone(spec));
    if pure {
        task.phase = TaskPhase::Called;
    }
    run.tasks.insert_mut(step.clone(), Arc::new(task));
    if pure {
        expect_heartbeat(run, step);
    }
}

/// The compensation that is next opens its task.
fn undoing(run: &mut Run, step: &StepPath) -> Option<()> {
    let planned = run.saga_mut().take(&step.compensates()?)?;
    let Compensation::Task(spec) = &planned.compensation else { return None };
    open_task(run, step, spec);
    Some(())
}

/// A compensation failed, or could not be tried at all.
fn not_undone(run: &mut Run, step: &StepPath, error: &Failure) -> Option<()> {
    let of = step.compensates()?;
    let saga = run.saga_mut();
    // One that could not be tried is still planned.
    saga.take(&of);
    saga.gave_up(of, error.clone());
    run.drop_below(step);
    Some(())
}

fn completed(run: &mut Run, step: &StepPath, data: &StepCompleted) -> Option<()> {
    run.hash = data.state;
    run.drop_below(step);
    run.plan(step, data.compensate.as_ref());
    set_vars(run, &data.vars);
    let at = run.at;
    let node = run.node_mut(step)?;
    let outcome = node.outcome.take();
    node.output = match &data.output {
        Output::Value(value) => Val::Data(value.clone()),
        Output::Vars => vars_object(&data.vars),
        Output::Task => Val::Data(outcome?),
        Output::Bodies => node.bodies()?.gather(),
        Output::Node(_) => return None,
    };
    node.status = Status::Completed;
    node.closed = Some(at);
    let inside = std::mem::replace(&mut node.inside, Inside::Nothing);
    route_onward(node, data.next.as_ref());
    if let Inside::Wait(signal) = inside {
        run.signals.take(&signal);
    }
    visit_again(run, step, data.next.as_ref())
}

fn vars_object(vars: &BTreeMap<String, Data>) -> Val {
    Val::Object(Arc::new(
        vars.iter().map(|(name, value)| (name.clone(), Val::Data(value.clone()))).collect(),
    ))
}

fn set_vars(run: &mut Run, vars: &BTreeMap<String, Data>) {
    for (name, value) in vars {
        run.vars.insert_mut(name.clone(), Val::Data(value.clone()));
    }
}

fn body_completed(run: &mut Run, body: &StepPath, data: &StepCompleted) -> Option<()> {
    run.hash = data.state;
    let Output::Node(id) = &data.output else { return None };
    let output = match id {
        Some(id) => run.scope(body)?.nodes.get(id)?.output.clone(),
        None => Val::null(),
    };
    run.drop_below(body);
    let (bodies, key) = bodies_of(run, body)?;
    let keeps_all = !matches!(bodies.work, Work::Loop { collect: false, .. });
    if !keeps_all {
        bodies.done = super::Shared::default();
    }
    bodies.running.remove_mut(&key);
    bodies.done.insert_mut(key, Done::Completed(output));
    bodies.ended += 1;
    bodies.last = data.last;
    time_function(run, &body.parent()?);
    Some(())
}

fn body_failed(run: &mut Run, body: &StepPath, data: &StepFailed) -> Option<()> {
    run.hash = data.state;
    run.drop_below(body);
    let trouble = Trouble { error: data.error.clone(), step: body.clone() };
    let trouble = run.scope(body).and_then(|s| s.failing.clone()).unwrap_or(trouble);
    let (bodies, key) = bodies_of(run, body)?;
    // What becomes of a call that failed is the function's business.
    let collects = matches!(bodies.work, Work::Map { collect: true, .. } | Work::Code(_));
    bodies.running.remove_mut(&key);
    bodies.done.insert_mut(key, Done::Failed(data.error.clone()));
    bodies.ended += 1;
    if !collects {
        run.node_mut(&body.parent()?)?.failing.get_or_insert(trouble);
    }
    time_function(run, &body.parent()?);
    Some(())
}

fn bodies_of<'a>(run: &'a mut Run, body: &StepPath) -> Option<(&'a mut Bodies, Key)> {
    let key = Key::from(body.last()?.key?);
    match &mut run.node_mut(&body.parent()?)?.inside {
        Inside::Bodies(bodies) => Some((bodies, key)),
        _ => None,
    }
}

fn failed(run: &mut Run, step: &StepPath, data: &StepFailed) -> Option<()> {
    run.hash = data.state;
    run.drop_below(step);
    run.plan(step, data.compensate.as_ref());
    // A step whose values could not be rendered fails without having started.
    if run.node(step).is_none_or(Node::settled) {
        reach(run, step, Status::Running)?;
    }
    let at = run.at;
    let node = run.node_mut(step)?;
    node.status = Status::Failed;
    node.closed = Some(at);
    node.error = Some(data.error.clone());
    node.inside = Inside::Nothing;
    // What made a body fail is what a person wants to see, not the chain of steps around it.
    let origin = node.failing.take().map_or_else(|| step.clone(), |trouble| trouble.step);
    match &data.then {
        OnFailure::Continue => route_onward(node, data.next.as_ref()),
        OnFailure::Goto(id) => node.route = Route::Error(id.clone()),
        OnFailure::Fail => {
            node.route = Route::Nowhere;
            fail_scope(run, step, Trouble { error: data.error.clone(), step: origin })?;
        }
    }
    visit_again(run, step, data.next.as_ref())
}

fn fail_scope(run: &mut Run, step: &StepPath, trouble: Trouble) -> Option<()> {
    let at = run.at;
    run.scope_mut(&step.parent()?, at)?.failing.get_or_insert(trouble);
    Some(())
}

fn route_onward(node: &mut Node, next: Option<&Next>) {
    if let Some(next) = next
        && next.again.is_empty()
    {
        node.route = Route::Next(next.to.clone());
    }
}

/// Marks the nodes that a jump back visits again.
fn visit_again(run: &mut Run, step: &StepPath, next: Option<&Next>) -> Option<()> {
    let at = run.at;
    let Some(next) = next else { return Some(()) };
    if next.again.is_empty() {
        return Some(());
    }
    let scope = run.scope_mut(&step.parent()?, at)?;
    for id in &next.again {
        Arc::make_mut(scope.nodes.get_mut(id)?).again = true;
    }
    Some(())
}

fn fired(run: &mut Run, step: &StepPath, purpose: Purpose) -> Option<()> {
    let at = run.at;
    run.timers.clear(step, purpose);
    match purpose {
        Purpose::Retry => {
            let task = task_mut(run, step)?;
            let pure = task.spec.class == EffectClass::Pure;
            task.phase = if pure { TaskPhase::Called } else { TaskPhase::Ready };
            let timeout = at.plus(task.spec.timeout_ms);
            if pure {
                run.timers.set(step.clone(), Purpose::Attempt, timeout);
                expect_heartbeat(run, step)?;
            }
        }
        Purpose::Deadline if step.is_root() => {
            let error = Failure::certain(Code::Deadline, "the run did not end within its deadline");
            let trouble = Trouble { error, step: step.clone() };
            Arc::make_mut(&mut run.root).failing.get_or_insert(trouble);
        }
        Purpose::Deadline => {
            let node = run.node_mut(step)?;
            if node.bodies().is_some() || matches!(node.inside, Inside::Child) {
                let error = deadline_failure();
                node.failing.get_or_insert(Trouble { error, step: step.clone() });
            }
        }
        Purpose::Sleep
        | Purpose::Wait
        | Purpose::Approval
        | Purpose::Attempt
        | Purpose::Heartbeat
        | Purpose::Budget => {}
    }
    Some(())
}

/// The failure of a node that did not end within its deadline.
pub(crate) fn deadline_failure() -> Failure {
    Failure::certain(Code::Deadline, "the node did not end within its deadline")
}
