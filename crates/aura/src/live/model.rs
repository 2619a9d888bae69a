//! The steps of a run as a person follows them: what is in work now, and counts of what was.

use std::collections::{BTreeMap, VecDeque};

use aura_core::budget::OnExceeded;
use aura_core::event::{Doubt, Event, EventBody, Purpose, Work};
use aura_core::path::StepPath;
use aura_core::time::Millis;

/// Finished steps that wait to be drawn; a view that draws takes them long before there are so many.
const FINISHED: usize = 10_000;

/// A step in work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// The tool, or the kind of node.
    pub(crate) what: String,
    /// Where it stands.
    pub(crate) stage: Stage,
    /// When it began.
    pub(crate) began: Millis,
    /// Its place in the order of beginnings.
    pub(crate) order: u64,
    /// The attempt.
    pub(crate) attempt: u32,
    /// Bodies of it that ended.
    pub(crate) done: u64,
    /// Bodies of it that failed.
    pub(crate) failed: u64,
    /// How many bodies there will be, where it is known.
    pub(crate) total: Option<u64>,
    /// Whether its bodies are counted, not shown once they ended.
    pub(crate) counted: bool,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In work.
    Working,
    /// Pausing until then.
    Sleeping(Millis),
    /// Trying again then.
    Retrying(Millis),
    /// Waiting for a signal.
    Waiting,
    /// Waiting for a person's answer.
    Asking,
    /// Nobody knows whether it happened.
    InDoubt,
    /// Ended well.
    Completed,
    /// Failed.
    Failed,
    /// Failed, and the flow goes on.
    Passed,
    /// Passed over.
    Skipped,
}

/// A step that ended, for the record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finished {
    /// Its path.
    pub(crate) path: StepPath,
    /// What it was.
    pub(crate) step: Step,
    /// How long it took.
    pub(crate) took: u64,
    /// What its failure said.
    pub(crate) note: Option<String>,
}

/// The steps of a run in work.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// By path.
    pub(crate) steps: BTreeMap<StepPath, Step>,
    /// Steps of the flow's own list that ended and are not drawn yet.
    pub(crate) finished: VecDeque<Finished>,
    began: u64,
}

impl Model {
    /// Takes in a fact.
    pub(crate) fn apply(&mut self, at: Millis, event: &Event) {
        let Some(path) = &event.step else {
            // What was not binding is let go.
            if matches!(event.body, EventBody::RunCompensating(_)) {
                self.steps.clear();
            }
            return;
        };
        match &event.body {
            EventBody::StepStarted(data) => self.begin(path, at, &data.work),
            EventBody::CompensationStarted(data) => self.enter(path, at, data.tool.clone()),
            EventBody::StepCompensated(_) => {
                self.end(&path.compensation(), at, Stage::Completed, None);
            }
            EventBody::CompensationFailed(data) => {
                if !self.steps.contains_key(path) {
                    self.enter(path, at, "compensation".to_owned());
                }
                self.end(path, at, Stage::Failed, Some(data.error.to_string()));
            }
            EventBody::StepCompleted(_) => self.end(path, at, Stage::Completed, None),
            EventBody::StepFailed(data) => {
                let passed = !matches!(data.then, aura_core::event::OnFailure::Fail);
                let stage = if passed { Stage::Passed } else { Stage::Failed };
                self.end(path, at, stage, Some(data.error.to_string()));
            }
            EventBody::StepSkipped(_) if is_top(path) => self.skip(path, at),
            EventBody::StepRetrying(data) => {
                self.stage(path, Stage::Retrying(data.until), event.attempt);
            }
            EventBody::ToolCalled(_) => self.stage(path, Stage::Working, event.attempt),
            EventBody::EffectUnknown(data) if data.parked => {
                self.stage(path, Stage::InDoubt, event.attempt);
            }
            EventBody::EffectWithheld(_) => self.stage(path, Stage::InDoubt, event.attempt),
            EventBody::EffectUnknown(data) if data.doubt == Doubt::Crash => {
                self.stage(path, Stage::Working, event.attempt);
            }
            EventBody::EffectReconciled(_) | EventBody::EffectSettled(_) => {
                self.stage(path, Stage::Working, None);
            }
            EventBody::TimerSet(timer) if timer.purpose == Purpose::Sleep => {
                self.stage(path, Stage::Sleeping(timer.due), None);
            }
            EventBody::BudgetExceeded(data) if data.then == OnExceeded::Ask => {
                self.stage(path, Stage::Asking, None);
            }
            EventBody::ApprovalRequested(_) => self.stage(path, Stage::Asking, None),
            EventBody::ApprovalGranted(_) => self.stage(path, Stage::Working, None),
            _ => {}
        }
    }

    fn begin(&mut self, path: &StepPath, at: Millis, work: &Work) {
        let (what, total, counted) = match work {
            Work::Task(spec) => (spec.tool.clone(), None, false),
            Work::Code(spec) => (spec.tool.clone(), None, true),
            Work::Set => ("set".to_owned(), None, false),
            Work::Map { count, .. } => ("map".to_owned(), Some(u64::from(*count)), true),
            Work::Parallel { branches } => {
                ("parallel".to_owned(), Some(branches.len() as u64), false)
            }
            Work::Switch { route } => {
                let route = route.as_deref().unwrap_or("no case");
                (format!("switch → {route}"), None, false)
            }
            Work::Loop { times, .. } => ("loop".to_owned(), *times, true),
            Work::Sleep => ("sleep".to_owned(), None, false),
            Work::Wait { signal } => (format!("wait for signal {signal}"), None, false),
            Work::Approval => ("approval".to_owned(), None, false),
            Work::Child(spec) => (format!("flow {}", spec.flow.name), None, false),
            Work::Continue => ("continue".to_owned(), None, false),
        };
        let stage = match work {
            Work::Wait { .. } => Stage::Waiting,
            Work::Approval => Stage::Asking,
            _ => Stage::Working,
        };
        self.enter(path, at, what);
        if let Some(step) = self.steps.get_mut(path) {
            (step.stage, step.total, step.counted) = (stage, total, counted);
        }
    }

    fn enter(&mut self, path: &StepPath, at: Millis, what: String) {
        self.began += 1;
        let step = Step {
            what,
            stage: Stage::Working,
            began: at,
            order: self.began,
            attempt: 1,
            done: 0,
            failed: 0,
            total: None,
            counted: false,
        };
        self.steps.insert(path.clone(), step);
    }

    fn stage(&mut self, path: &StepPath, stage: Stage, attempt: Option<u32>) {
        if let Some(step) = self.steps.get_mut(path) {
            step.stage = stage;
            step.attempt = attempt.unwrap_or(step.attempt);
        }
    }

    fn end(&mut self, path: &StepPath, at: Millis, stage: Stage, note: Option<String>) {
        if path.is_body() {
            return self.end_body(path, stage);
        }
        let took = self.steps.get(path).map_or(0, |step| at.since(step.began));
        self.drop_below(path);
        let Some(mut step) = self.steps.remove(path) else { return };
        step.stage = stage;
        if is_top(path) {
            self.finish(Finished { path: path.clone(), step, took, note });
        }
    }

    fn end_body(&mut self, body: &StepPath, stage: Stage) {
        let Some(step) = body.parent().and_then(|step| self.steps.get_mut(&step)) else { return };
        step.done += 1;
        step.failed += u64::from(stage != Stage::Completed);
        self.drop_below(body);
    }

    fn skip(&mut self, path: &StepPath, at: Millis) {
        self.begin(path, at, &Work::Set);
        let Some(mut step) = self.steps.remove(path) else { return };
        "skipped".clone_into(&mut step.what);
        step.stage = Stage::Skipped;
        self.finish(Finished { path: path.clone(), step, took: 0, note: None });
    }

    fn finish(&mut self, finished: Finished) {
        if self.finished.len() >= FINISHED {
            self.finished.pop_front();
        }
        self.finished.push_back(finished);
    }

    fn drop_below(&mut self, path: &StepPath) {
        let below: Vec<_> = self
            .steps
            .range(path.clone()..)
            .map(|(step, _)| step)
            .take_while(|step| step.as_str().starts_with(path.as_str()))
            .filter(|step| path.contains(step) && *step != path)
            .cloned()
            .collect();
        for step in below {
            self.steps.remove(&step);
        }
    }

    /// Steps in work right below `parent`, or at the top, in the order in which they began.
    pub(crate) fn below(&self, parent: Option<&StepPath>) -> Vec<(&StepPath, &Step)> {
        let mut found: Vec<_> =
            self.steps.iter().filter(|(path, _)| owner_of(path).as_ref() == parent).collect();
        found.sort_by_key(|(_, step)| step.order);
        found
    }
}

/// Whether a step stands in the flow's own list, or undoes any: nothing else is in work then.
fn is_top(path: &StepPath) -> bool {
    path.compensates().is_some() || path.parent().is_some_and(|body| body.is_root())
}

/// The step in whose body a step stands.
fn owner_of(path: &StepPath) -> Option<StepPath> {
    if is_top(path) {
        return None;
    }
    path.parent().filter(|body| !body.is_root()).and_then(|body| body.parent())
}
