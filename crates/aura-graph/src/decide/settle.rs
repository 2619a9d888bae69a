//! How a step ends: well, or in failure, and where control goes from it.

use std::collections::BTreeMap;

use aura_core::data::Data;
use aura_core::error::{Code, Failure};
use aura_core::event::{EventBody, Next, OnFailure, Output, StepCompleted, StepFailed};
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::saga::Compensation;
use serde_json::json;

use super::turn::{Step, Work};
use super::view::View;
use crate::definition::OnError;
use crate::val::Val;

impl Work<'_, '_> {
    /// A step ends well; `val` is its output, wherever the event says that it lies.
    pub(super) fn complete(&mut self, step: &StepPath, output: Output, val: Val) -> Step {
        self.complete_with(step, output, val, BTreeMap::new())
    }

    /// A step ends well with a value of its own.
    pub(super) fn complete_value(&mut self, step: &StepPath, value: Data) -> Step {
        self.complete(step, Output::Value(value.clone()), Val::Data(value))
    }

    /// A step ends well and sets variables.
    pub(super) fn complete_with(
        &mut self,
        step: &StepPath,
        output: Output,
        val: Val,
        vars: BTreeMap<String, Data>,
    ) -> Step {
        let (list, place) = self.node_def(step)?;
        let node = &list.nodes[place];
        if node.next.is_empty() && node.compensate.is_none() {
            return self.completed(step, (output, vars), (None, None));
        }
        let body = step.parent().unwrap_or_else(StepPath::root);
        let mut view = View::new(&self.run, self.flow, &body).ending(step, val, None);
        view.set_vars(&vars);
        let next = self.route(step, view.clone())?;
        self.complete_to(step, (output, vars), next, view)
    }

    /// A step ends well, and control goes where it was found to go.
    pub(super) fn complete_to(
        &mut self,
        step: &StepPath,
        (output, vars): (Output, BTreeMap<String, Data>),
        next: Result<Option<Next>, Failure>,
        view: View,
    ) -> Step {
        let (list, place) = self.node_def(step)?;
        let compensate = match &list.nodes[place].compensate {
            Some(_) if self.borrowed.contains(step) => None,
            Some(undo) => Some(self.compensation(step, undo, view)?),
            None => None,
        };
        match next {
            Ok(next) => self.completed(step, (output, vars), (next, compensate)),
            Err(failure) => self.fail_with(step, failure, compensate),
        }
    }

    fn completed(
        &mut self,
        step: &StepPath,
        (output, vars): (Output, BTreeMap<String, Data>),
        (next, compensate): (Option<Next>, Option<Compensation>),
    ) -> Step {
        let data = StepCompleted { output, vars, last: false, compensate, next, state: Hash::ZERO };
        self.emit(step, EventBody::StepCompleted(data))?;
        self.after_step(step);
        Ok(())
    }

    /// A step fails; its node says what follows.
    pub(super) fn fail(&mut self, step: &StepPath, error: Failure) -> Step {
        self.fail_with(step, error, None)
    }

    /// A step fails although it acted, or may have; `compensate` undoes it.
    pub(super) fn fail_with(
        &mut self,
        step: &StepPath,
        error: Failure,
        compensate: Option<Compensation>,
    ) -> Step {
        if step.compensates().is_some() {
            return self.not_undone(step, error);
        }
        let (list, place) = self.node_def(step)?;
        let mut next = None;
        let mut error = error;
        let node = &list.nodes[place];
        let refused = error.code == Code::BudgetExceeded;
        // What has used up its steps goes on nowhere, whatever its nodes say about failures.
        let on_error = match node.on_budget.filter(|_| refused) {
            _ if self.run.steps >= limits::RUN_STEPS => OnError::Fail,
            _ if refused && self.run.budgets.out_of_steps(step) => OnError::Fail,
            Some(to) => OnError::Goto(to),
            None => node.on_error,
        };
        let then = match on_error {
            OnError::Fail => OnFailure::Fail,
            OnError::Goto(to) => OnFailure::Goto(list.nodes[to].id.clone()),
            OnError::Continue => {
                let body = step.parent().unwrap_or_else(StepPath::root);
                let shown = Val::Data(Data::from(json!(error)));
                let view = View::new(&self.run, self.flow, &body);
                match self.route(step, view.ending(step, Val::null(), Some(shown)))? {
                    Ok(taken) => {
                        next = taken;
                        OnFailure::Continue
                    }
                    Err(failure) => {
                        error = failure;
                        OnFailure::Fail
                    }
                }
            }
        };
        self.settle_below(step)?;
        let data = StepFailed { error, then, compensate, next, state: Hash::ZERO };
        self.emit(step, EventBody::StepFailed(data))?;
        self.after_step(step);
        Ok(())
    }
}
