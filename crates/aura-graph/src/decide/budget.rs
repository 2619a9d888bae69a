//! Budgets: what a call may cost is reserved before its intent, and settled when it is known what it did cost.
//!
//! What would pass a limit is not done: it fails, leads elsewhere, or waits until a person has answered whether there
//! is more. What follows up a call that may have acted is never stopped, and neither is a compensation: undoing is
//! what a run that ran out of money needs most.

use std::sync::Arc;

use aura_core::budget::{
    Amounts, BudgetRaised, BudgetReserved, BudgetSettled, OnExceeded, Raise, Resource, Rounding,
    micros,
};
use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::event::{ApprovalRequested, EventBody};
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::task::TaskSpec;
use serde_json::{Map, Value, json};

use super::approvals::{action_hash, question_hash};
use super::turn::{Evaluated, Step, Work, evaluated};
use super::view::View;
use crate::definition::{Cost, Node};
use crate::expr::{Context, Template};
use crate::state::{Lack, Task};
use crate::val::Val;

/// What was used of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    /// It is certain that nothing was.
    Nothing,
    /// All of it, as far as anybody knows.
    Whole,
}

impl Work<'_, '_> {
    /// What a call may cost at most, by its node.
    pub(super) fn cost_of(
        node: &Node,
        call: &TaskSpec,
        context: &Context,
    ) -> Evaluated<Option<Amounts>> {
        let Some(cost) = node.cost.as_ref().filter(|_| call.class != EffectClass::Pure) else {
            return Ok(Ok(None));
        };
        let amounts = amounts(&cost.most, Amounts::default(), context)?;
        Ok(amounts.map(|amounts| (!amounts.is_nothing()).then_some(amounts)))
    }

    /// Whether a node may start. If not, what follows from that is recorded.
    pub(super) fn may_start(&mut self, step: &StepPath) -> Step<bool> {
        self.affords(step, Amounts { steps: 1, ..Amounts::default() })
    }

    /// Whether the intent of a task is within the budgets. If not, what follows from that is recorded.
    pub(super) fn may_call(&mut self, step: &StepPath, task: &Task) -> Step<bool> {
        let cost = task.spec.cost.unwrap_or_default();
        self.affords(step, Amounts { tool_calls: 1, ..cost })
    }

    fn affords(&mut self, step: &StepPath, new: Amounts) -> Step<bool> {
        match self.run.budgets.lack(step, new) {
            Some(lack) if !self.run.is_bound_to_follow(step) => {
                self.exceeded(step, lack).map(|()| false)
            }
            _ => Ok(true),
        }
    }

    /// What would pass a limit is not done.
    pub(super) fn exceeded(&mut self, step: &StepPath, lack: Lack) -> Step {
        let (list, place) = self.node_def(step)?;
        let leads_elsewhere = list.nodes[place].on_budget.is_some();
        if self.asks(&lack.of) && !leads_elsewhere {
            let exceeded = lack.clone().event(OnExceeded::Ask);
            self.emit(step, EventBody::BudgetExceeded(Box::new(exceeded)))?;
            return self.ask_for_more(&lack);
        }
        let failure = self.run.lack_failure(&lack);
        let exceeded = lack.event(OnExceeded::Fail);
        self.emit(step, EventBody::BudgetExceeded(Box::new(exceeded)))?;
        self.fail(step, failure)
    }

    fn asks(&self, of: &StepPath) -> bool {
        self.run.budgets.of(of).is_some_and(crate::state::Pool::asks)
    }

    /// The time of a budget is over.
    pub(super) fn out_of_time(&mut self, of: &StepPath) -> Step {
        let Some(pool) = self.run.budgets.of(of) else { return Ok(()) };
        let resource = Resource::Duration;
        let lack = Lack {
            of: of.clone(),
            resource,
            limit: pool.limits.of(resource).unwrap_or_default(),
            spent: pool.used(resource, self.now),
            reserved: 0,
            wanted: 0,
        };
        let leads_elsewhere = self.flow.node_at(of).is_some_and(|node| node.on_budget.is_some());
        let asks = self.asks(of) && !leads_elsewhere && !self.stops(of);
        let then = if asks { OnExceeded::Ask } else { OnExceeded::Fail };
        self.emit(of, EventBody::BudgetExceeded(Box::new(lack.clone().event(then))))?;
        match then {
            OnExceeded::Ask => self.ask_for_more(&lack),
            OnExceeded::Fail => self.unwind(of),
        }
    }

    /// Asks whether there is more: as much again as there was at first, or as much as it takes.
    fn ask_for_more(&mut self, lack: &Lack) -> Step {
        let Lack { of, resource, limit, spent, reserved, wanted } = lack;
        let first = self.run.budgets.of(of).and_then(|pool| pool.first.limits.of(*resource));
        let needed = spent.saturating_add(*reserved).saturating_add(*wanted);
        let by = first.unwrap_or_default().max(needed.saturating_sub(*limit)).max(1);
        let told = lack.told();
        let message = if *resource == Resource::Duration {
            format!("{told}. May it take {} more?", resource.show(by))
        } else {
            format!("{told}. May it be {}?", resource.show(limit.saturating_add(by)))
        };
        let message = capital(&message);
        let shows = Map::from_iter([
            ("resource".to_owned(), json!(resource.as_str())),
            ("limit".to_owned(), json!(limit)),
            ("spent".to_owned(), json!(spent)),
            ("reserved".to_owned(), json!(reserved)),
            ("wanted".to_owned(), json!(wanted)),
            ("more".to_owned(), json!(by)),
        ]);
        let question = question_hash(of, &message, &shows);
        let request = ApprovalRequested {
            action: action_hash(self.run.id.0.as_bytes(), of, question),
            of: None,
            again: None,
            raise: Some(Raise { resource: *resource, by }),
            message,
            shows: Data::from(Value::Object(shows)),
            roles: Vec::new(),
            quorum: 1,
            expires: None,
        };
        self.emit(of, EventBody::ApprovalRequested(request))
    }

    /// A person said yes: there is more, and what waited for it may try again.
    pub(super) fn more_granted(&mut self, of: &StepPath, raise: Raise) -> Step {
        let Raise { resource, by } = raise;
        let Some(pool) = self.run.budgets.of(of) else { return Ok(()) };
        let before = match resource {
            // Time that passed unnoticed is not taken from what was granted.
            Resource::Duration => pool.used(resource, self.now),
            counted => pool.limits.of(counted).unwrap_or_default(),
        };
        let raised = BudgetRaised { resource, limit: before.saturating_add(by) };
        self.emit(of, EventBody::BudgetRaised(raised))?;
        self.go_on_within()
    }

    /// A person said no: what waited for more may try what there is, and fails where that is too little.
    pub(super) fn more_denied(&mut self, of: &StepPath, raise: Raise) -> Step {
        if raise.resource == Resource::Duration {
            return self.out_of_time(of);
        }
        self.go_on_within()
    }

    pub(super) fn go_on_within(&mut self) -> Step {
        self.everywhere();
        let ready: Vec<_> = self.run.ready().map(|(step, _)| step.clone()).collect();
        self.granted(&ready)
    }

    /// Reserves what the attempt that is about to be recorded may cost. One reservation covers all attempts of a call
    /// of which an earlier one is in doubt: it acts once.
    pub(super) fn reserve(&mut self, step: &StepPath, attempt: u32, task: &Task) -> Step {
        match task.spec.cost {
            Some(amounts) if !self.run.budgets.open.contains_key(step) => {
                let reserved = EventBody::BudgetReserved(BudgetReserved { amounts });
                self.emit_attempt(step, attempt, reserved)
            }
            _ => Ok(()),
        }
    }

    /// The attempt of a task failed: what it reserved is free again, unless it may have been used.
    pub(super) fn settle_failure(
        &mut self,
        step: &StepPath,
        task: &Task,
        failure: &Failure,
    ) -> Step {
        // An earlier attempt may have acted, and that is not settled by the failure of a later one.
        if task.doubtful && !task.spec.class.abandonable() {
            return Ok(());
        }
        let nothing = failure.certain && failure.code != Code::Timeout;
        self.settle_reserved(step, if nothing { Used::Nothing } else { Used::Whole })
    }

    /// Settles a reservation, if there is one.
    pub(super) fn settle_reserved(&mut self, step: &StepPath, used: Used) -> Step {
        let Some(reserved) = self.run.budgets.open.get(step).copied() else { return Ok(()) };
        let spent = match used {
            Used::Nothing => Amounts::default(),
            Used::Whole => reserved,
        };
        self.emit(step, EventBody::BudgetSettled(BudgetSettled { reserved, spent }))
    }

    /// A call succeeded: what it did cost is what its node makes of the output, else all that was reserved.
    pub(super) fn settle_success(&mut self, step: &StepPath) -> Step {
        let Some(reserved) = self.run.budgets.open.get(step).copied() else { return Ok(()) };
        let flow = Arc::clone(self.flow);
        let cost = flow.node_at(step).and_then(|node| node.cost.as_ref());
        let spent = match cost.and_then(|cost| cost.actual.as_ref()) {
            Some(actual) => {
                let output = self.run.node(step).and_then(|node| node.outcome.clone());
                let output = Val::Data(output.unwrap_or_default());
                let body = step.parent().unwrap_or_else(StepPath::root);
                let view = View::new(&self.run, self.flow, &body).with("output", output);
                let context = self.context_with(view);
                // What can't be made out is taken to be as much as was reserved: a bill fails no step.
                amounts(actual, reserved, &context)?.unwrap_or(reserved)
            }
            None => reserved,
        };
        self.emit(step, EventBody::BudgetSettled(BudgetSettled { reserved, spent }))
    }

    /// Calls at `path` or below it will never be settled: what they reserved counts as used.
    pub(super) fn settle_below(&mut self, path: &StepPath) -> Step {
        if self.run.budgets.open.is_empty() {
            return Ok(());
        }
        let open: Vec<_> =
            self.run.budgets.open.keys().filter(|step| path.contains(step)).cloned().collect();
        for step in open {
            self.settle_reserved(&step, Used::Whole)?;
        }
        Ok(())
    }
}

/// A sentence that begins as sentences do.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Amounts from a node's expressions; what they do not name is as in `otherwise`.
fn amounts(cost: &Cost, otherwise: Amounts, context: &Context) -> Evaluated<Amounts> {
    let mut amounts = otherwise;
    for (resource, template) in [(Resource::Usd, &cost.usd), (Resource::Tokens, &cost.tokens)] {
        let Some(template) = template else { continue };
        let amount = match amount(template, context, resource)? {
            Ok(amount) => amount,
            Err(why) => {
                let message = format!("the cost in {resource}: {why}");
                return Ok(Err(Failure::certain(Code::InvalidInput, message)));
            }
        };
        match resource {
            Resource::Usd => amounts.usd_micros = amount,
            _ => amounts.tokens = amount,
        }
    }
    Ok(Ok(amounts))
}

fn amount(template: &Template, context: &Context, resource: Resource) -> Step<Result<u64, String>> {
    let value = match evaluated(template.value(context))? {
        Ok(value) => value,
        Err(failure) => return Ok(Err(failure.message)),
    };
    let text = match &value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let found = match resource {
        Resource::Usd => micros(&text, Rounding::Up),
        _ => text.parse().ok().filter(|tokens| *tokens <= limits::BUDGET_AMOUNT),
    };
    Ok(found.ok_or_else(|| match resource {
        Resource::Usd => "it must be a number of dollars, at least 0".to_owned(),
        _ => "it must be a whole number, at least 0".to_owned(),
    }))
}
