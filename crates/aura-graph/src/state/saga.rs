//! The saga of a run: what undoes the steps that are done, and how far undoing has come.

use std::sync::Arc;

use aura_core::error::{Code, Failure};
use aura_core::event::Request;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::saga::{Compensating, Compensation, Planned, SagaEnd, Uncompensated};
use serde::{Deserialize, Serialize};

use super::{Phase, Run, Shared};
use crate::flags::CHILDREN_UNDONE;

/// The compensations of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Saga {
    /// Of steps that are done and not undone, in the order in which they ended.
    #[serde(with = "super::maps")]
    planned: Shared<u64, Arc<Planned>>,
    /// What became of those that ran.
    pub end: Arc<SagaEnd>,
    /// Whether they run, or ran.
    pub begun: bool,
}

/// How a run ends after its compensations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// In failure.
    Failed(Failure, Option<StepPath>),
    /// By cancellation.
    Cancelled(Request),
}

impl Saga {
    /// Compensations that wait, in the order in which their steps ended.
    pub fn planned(&self) -> impl Iterator<Item = &Planned> {
        self.planned.values().map(|planned| &**planned)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.planned.size()
    }

    /// The one that is next: that of the step that ended last.
    pub fn next(&self) -> Option<&Arc<Planned>> {
        self.planned.last().map(|(_, planned)| planned)
    }

    fn plan(&mut self, step: &StepPath, compensation: &Compensation) {
        let number = self.planned.last().map_or(0, |(number, _)| number + 1);
        let (step, compensation) = (step.clone(), compensation.clone());
        self.planned.insert_mut(number, Arc::new(Planned { step, compensation }));
    }

    /// Takes the next one, which must be that of `step`.
    pub(super) fn take(&mut self, step: &StepPath) -> Option<Arc<Planned>> {
        let (number, planned) = self.planned.last().map(|(number, p)| (*number, Arc::clone(p)))?;
        if planned.step != *step {
            return None;
        }
        self.planned.remove_mut(&number);
        Some(planned)
    }

    pub(super) fn compensated(&mut self) {
        Arc::make_mut(&mut self.end).compensated += 1;
    }

    pub(super) fn gave_up(&mut self, step: StepPath, error: Failure) {
        let end = Arc::make_mut(&mut self.end);
        end.failed += 1;
        if end.uncompensated.len() < limits::UNCOMPENSATED_LISTED {
            end.uncompensated.push(Uncompensated { step, error });
        }
    }

    pub(super) fn close(&mut self) {
        self.planned = Shared::default();
    }
}

impl Run {
    /// Whether what undoes it is its parent's when it has ended.
    pub fn hands_over(&self) -> bool {
        let parent = self.started.as_ref().and_then(|started| started.parent.as_ref());
        self.obeys(CHILDREN_UNDONE) && parent.is_some_and(|parent| !parent.detached)
    }

    /// How many compensations it may keep.
    pub(crate) fn most_compensations(&self) -> usize {
        if self.hands_over() { limits::CHILD_COMPENSATIONS } else { limits::COMPENSATIONS }
    }

    /// What it hands to its parent when it has ended: what undoes its steps, or, where it ended badly and undid them
    /// itself, what it could not undo.
    pub fn handed_over(&self) -> Vec<Planned> {
        let Some(saga) = self.saga.as_ref().filter(|_| self.hands_over()) else {
            return Vec::new();
        };
        if matches!(self.phase, Phase::Failed(..) | Phase::Cancelled) {
            let left = saga.end.uncompensated.iter().map(|left| Planned {
                step: left.step.clone(),
                compensation: Compensation::Unable(left.error.clone()),
            });
            return left.collect();
        }
        // Its own steps are fewer, but those of its children may come all at once.
        let beyond = saga.waiting().saturating_sub(limits::CHILD_COMPENSATIONS);
        let lost = saga.planned().next().filter(|_| beyond > 0).map(|first| {
            let message =
                format!("{beyond} compensations are more than a child hands to its parent");
            let error = Failure::certain(Code::LimitExceeded, message);
            Planned { step: first.step.clone(), compensation: Compensation::Unable(error) }
        });
        lost.into_iter().chain(saga.planned().skip(beyond).cloned()).collect()
    }

    /// A child ended: what undoes it is undone in its place, under its step.
    pub(super) fn take_over(&mut self, step: &StepPath, undo: &[Planned]) {
        let before = self.children.get(step).map_or(0, |child| child.before);
        let body = match before {
            0 => step.body("child"),
            before => step.body(format_args!("child{}", before + 1)),
        };
        for planned in undo {
            self.plan(&body.within(&planned.step), Some(&planned.compensation));
        }
    }

    pub(super) fn saga_mut(&mut self) -> &mut Saga {
        Arc::make_mut(self.saga.get_or_insert_default())
    }

    pub(super) fn plan(&mut self, step: &StepPath, compensation: Option<&Compensation>) {
        if let Some(compensation) = compensation {
            self.saga_mut().plan(step, compensation);
        }
    }

    /// Nothing is in flight any more: what was done is undone from here on.
    pub(super) fn begin_compensating(&mut self, data: &Compensating) -> Option<()> {
        let ending = match (&data.error, &self.phase) {
            (Some(error), _) => Ending::Failed(error.clone(), data.step.clone()),
            (None, Phase::Cancelling(request)) => Ending::Cancelled(request.clone()),
            (None, _) => return None,
        };
        self.drop_below(&StepPath::root());
        self.saga_mut().begun = true;
        self.phase = Phase::Compensating(Box::new(ending));
        Some(())
    }
}
