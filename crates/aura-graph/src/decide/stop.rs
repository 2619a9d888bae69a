//! Stopping: a body or node that fails, or a run that is cancelled, starts nothing new, waits for what binds it,
//! and then ends.

use aura_core::error::Failure;
use aura_core::event::{EventBody, OnFailure, StepFailed};
use aura_core::hash::Hash;
use aura_core::path::StepPath;

use super::turn::{Job, Step, Work};
use crate::state::{Trouble, keys_below, tasks_below};

impl Work<'_, '_> {
    /// Whether nothing new may start at this place, because something around it stops.
    pub(super) fn stops(&self, path: &StepPath) -> bool {
        // What undoes the run is all that starts when the rest has stopped.
        path.compensates().is_none()
            && (self.cancelling() || self.compensating() || self.stopper(path).is_some())
    }

    /// The innermost body or step around `path` that stops, with why.
    fn stopper(&self, path: &StepPath) -> Option<(StepPath, Trouble)> {
        let mut at = Some(path.clone());
        while let Some(place) = at {
            let failing = if place.is_body() {
                self.run.scope(&place).and_then(|scope| scope.failing.clone())
            } else {
                self.run.node(&place).and_then(|node| node.failing.clone())
            };
            if let Some(trouble) = failing {
                return Some((place, trouble));
            }
            at = place.parent();
        }
        None
    }

    /// Ends what stops around `path`, if nothing binds it any more.
    pub(super) fn unwind(&mut self, path: &StepPath) -> Step {
        if self.cancelling() {
            self.stop_children(&StepPath::root(), "its parent is being cancelled")?;
        }
        if let Some((place, trouble)) = self.stopper(path) {
            self.stop_children(&place, &format!("its parent stops: {}", trouble.error.code))?;
            if self.bound(&place) {
                return Ok(());
            }
            if place.is_root() && !self.cancelling() {
                let step = Some(trouble.step).filter(|step| !step.is_root());
                return self.end_badly(Some((trouble.error, step)));
            }
            if !place.is_root() {
                return if place.is_body() {
                    self.fail_body(&place, trouble.error)
                } else {
                    self.fail(&place, trouble.error)
                };
            }
        }
        if self.cancelling() && !self.bound(&StepPath::root()) {
            return self.end_badly(None);
        }
        Ok(())
    }

    /// Whether something at `place` or below must be awaited.
    fn bound(&self, place: &StepPath) -> bool {
        tasks_below(&self.run, place).any(|(_, task)| task.binding())
            || !keys_below(&self.run.children, place).is_empty()
    }

    pub(super) fn fail_body(&mut self, body: &StepPath, error: Failure) -> Step {
        let then = OnFailure::Fail;
        let data = StepFailed { error, then, compensate: None, next: None, state: Hash::ZERO };
        self.settle_below(body)?;
        self.emit(body, EventBody::StepFailed(data))?;
        if let Some(step) = body.parent() {
            self.later(Job::Step(step));
        }
        Ok(())
    }
}
