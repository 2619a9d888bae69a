//! Compensation: what undoes a step is rendered as the step ends; when the run fails or is cancelled, and nothing is
//! in flight any more, the steps that are done are undone one at a time, the last first.

use std::sync::Arc;

use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::event::{Empty, EventBody, RunCancelled, RunFailed};
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::saga::{
    Compensating, Compensation, CompensationFailed, CompensationStarted, SagaEnd,
};

use serde_json::Value;

use super::turn::{Job, Step, Work, evaluated};
use super::view::View;
use crate::definition::{Kind, Node};
use crate::state::{Ending, Phase};

impl Work<'_, '_> {
    /// What undoes a step that ends now; `view` shows it as it ends. A call that can't be rendered is recorded as
    /// one: the step acted, whatever its compensation says.
    pub(super) fn compensation(
        &mut self,
        step: &StepPath,
        undo: &Node,
        view: View,
    ) -> Step<Compensation> {
        let Kind::Tool { tool, with } = &undo.kind else { return Ok(unable(Code::Internal)) };
        let context = self.context_with(view);
        let rendered = match evaluated(with.render(&context))? {
            Ok(rendered) => rendered,
            Err(failure) => return Ok(Compensation::Unable(failure)),
        };
        let with = (rendered.value, rendered.secrets);
        let mut spec = match self.call(&step.compensation(), undo, tool, with) {
            Ok(spec) => spec,
            Err(failure) => return Ok(Compensation::Unable(failure)),
        };
        if let Data::Json(args) = &spec.args
            && self.run.hands_over()
        {
            let args = Value::clone(args);
            match self.keep_within(args, limits::CHILD_COMPENSATION_INLINE) {
                Ok(args) => spec.args = args,
                Err(failure) => return Ok(Compensation::Unable(failure)),
            }
        }
        Ok(Compensation::Task(Arc::new(spec)))
    }

    /// Whether a step that could be undone may act at all: a run keeps so many compensations and no more.
    pub(super) fn can_be_undone(&self, node: &Node) -> Result<(), Failure> {
        if node.compensate.is_none() { Ok(()) } else { self.can_keep_more() }
    }

    /// Whether the run may keep another compensation.
    pub(super) fn can_keep_more(&self) -> Result<(), Failure> {
        let waiting = self.run.saga.as_ref().map_or(0, |saga| saga.waiting());
        if waiting < self.run.most_compensations() {
            return Ok(());
        }
        let message = format!("the run keeps {waiting} compensations, which is its limit");
        Err(Failure::certain(Code::LimitExceeded, message))
    }

    /// Nothing binds the run any more, and it ends in failure or by cancellation: it is undone first, if there is
    /// something to undo.
    pub(super) fn end_badly(&mut self, failed: Option<(Failure, Option<StepPath>)>) -> Step {
        self.settle_below(&StepPath::root())?;
        if self.run.saga.as_ref().is_none_or(|saga| saga.waiting() == 0) {
            return self.end_as(failed, None);
        }
        let (error, step) = failed.unzip();
        let data = Compensating { error, step: step.flatten() };
        self.emit_run(EventBody::RunCompensating(data))?;
        self.later(Job::Compensate);
        Ok(())
    }

    fn end_as(
        &mut self,
        failed: Option<(Failure, Option<StepPath>)>,
        saga: Option<SagaEnd>,
    ) -> Step {
        self.emit_run(match failed {
            Some((error, step)) => {
                EventBody::RunFailed(RunFailed { error, step, saga, state: Hash::ZERO })
            }
            None => EventBody::RunCancelled(RunCancelled { saga }),
        })
    }

    pub(super) fn compensating(&self) -> bool {
        matches!(self.run.phase, Phase::Compensating(_))
    }

    /// Starts the next compensation, or ends the run when there is none.
    pub(super) fn compensate(&mut self) -> Step {
        let Phase::Compensating(ending) = &self.run.phase else { return Ok(()) };
        if !self.run.tasks.is_empty() {
            return Ok(());
        }
        let Some(saga) = self.run.saga.clone() else { return Ok(()) };
        let Some(planned) = saga.next() else {
            let failed = match &**ending {
                Ending::Failed(error, step) => Some((error.clone(), step.clone())),
                Ending::Cancelled(_) => None,
            };
            return self.end_as(failed, Some(SagaEnd::clone(&saga.end)));
        };
        if !self.spend() {
            self.later(Job::Compensate);
            return Ok(());
        }
        let path = planned.step.compensation();
        match &planned.compensation {
            Compensation::Unable(error) => self.not_undone(&path, error.clone()),
            Compensation::Task(spec) => {
                let started = CompensationStarted {
                    tool: spec.tool.clone(),
                    class: spec.class,
                    call: spec.call,
                    key: spec.key,
                };
                self.emit(&path, EventBody::CompensationStarted(started))?;
                if spec.class == EffectClass::Pure {
                    self.open.push(path);
                    return Ok(());
                }
                self.try_intent(&path, 1)
            }
        }
    }

    /// The call of a compensation did what it was asked.
    pub(super) fn undone(&mut self, step: &StepPath) -> Step {
        self.emit(step, EventBody::StepCompensated(Empty {}))?;
        self.later(Job::Compensate);
        Ok(())
    }

    /// A compensation failed for good: that is recorded, and the others still run.
    pub(super) fn not_undone(&mut self, path: &StepPath, error: Failure) -> Step {
        self.emit(path, EventBody::CompensationFailed(CompensationFailed { error }))?;
        self.later(Job::Compensate);
        Ok(())
    }
}

/// Stands for a compensation that is no call, which loading a flow rules out.
fn unable(code: Code) -> Compensation {
    Compensation::Unable(Failure::certain(code, "the compensation is no call of a tool"))
}
