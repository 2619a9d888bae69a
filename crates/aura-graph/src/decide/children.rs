//! Child runs, and the run that goes on in the place of this one.

use std::sync::Arc;

use aura_core::child::{
    ChildAccount, ChildCancelled, ChildCancelling, ChildCompleted, ChildContinued, ChildEnd,
    ChildFailed, ChildSpec, RunContinued, child_seed, next_seed,
};
use aura_core::data::Data;
use aura_core::error::{Code, Failure};
use aura_core::event::{EventBody, FlowPin, Output, Purpose, Work as Opened};
use aura_core::fork::ForkEffects;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::path::StepPath;
use serde_json::{Value, json};

use super::share::Share;
use super::turn::{Evaluated, Step, Stop, Work, evaluated};
use crate::definition::{Child, Node, fits};
use crate::expr::{Context, Template};
use crate::flags::CHILDREN_UNDONE;
use crate::state::keys_below;
use crate::val::Val;

impl Work<'_, '_> {
    /// Opens a `flow` node: the child that it starts is whole in `step.started`.
    pub(super) fn start_child(
        &mut self,
        step: &StepPath,
        node: &Node,
        child: &Child,
        context: &Context,
    ) -> Evaluated<()> {
        let input = match input_of(child.input.as_ref(), context)? {
            Ok(input) => input,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut spec = match self.child_spec(step, child, input) {
            Ok(spec) => spec,
            Err(failure) => return Ok(Err(failure)),
        };
        let run = spec.run;
        let counts = !child.detached && self.children_count();
        spec.budget = match self.share_of(step, node, child) {
            _ if !counts => self.own_share(node),
            Share::Of(share) => share,
            Share::Later => return Ok(Ok(())),
            Share::Lacks(lack) => return self.exceeded(step, lack).map(Ok),
        };
        let share = spec.budget;
        self.started(step, node, Opened::Child(Arc::new(spec)))?;
        if counts {
            self.lend(step, share)?;
        }
        if child.detached {
            return self.complete_value(step, Data::from(json!({ "run": run }))).map(Ok);
        }
        Ok(Ok(()))
    }

    fn child_spec(
        &mut self,
        step: &StepPath,
        child: &Child,
        input: Value,
    ) -> Result<ChildSpec, Failure> {
        let limit = |message: String| Err(Failure::certain(Code::LimitExceeded, message));
        let missing = || Failure::certain(Code::Internal, "the run has no such flow pinned");
        self.may_start_runs()?;
        if !child.detached && self.run.obeys(CHILDREN_UNDONE) {
            self.can_keep_more()?;
        }
        let heading = self.flow.children.get(&child.file).ok_or_else(missing)?;
        let started = self.run.started.as_ref().ok_or_else(missing)?;
        let above = started.parent.as_ref().map_or(0, |parent| parent.depth);
        if above >= limits::CHILD_DEPTH {
            return limit(format!("child runs are nested at most {} deep", limits::CHILD_DEPTH));
        }
        let open = self.run.children.size();
        if !child.detached && open >= limits::OPEN_CHILDREN {
            return limit(format!("the run waits for {open} child runs, which is its limit"));
        }
        if let Err(why) = heading.takes(&input) {
            let message = format!("flow '{}' can't start: {why}", heading.name);
            return Err(Failure::certain(Code::InvalidInput, message));
        }
        let run = RunId::derived(child_seed(started.seed, step));
        let flow = FlowPin {
            name: heading.name.clone(),
            version: heading.version.clone(),
            hash: heading.hash,
            bundle: started.flow.bundle,
            file: Some(heading.file.clone()),
        };
        let (input, detached) = (self.keep(input)?, child.detached);
        Ok(ChildSpec { run, flow, input, detached, budget: None })
    }

    /// Another run would call its effects itself, which a fork may only where its own are called.
    fn may_start_runs(&self) -> Result<(), Failure> {
        match &self.run.fork {
            Some(fork) if fork.effects != ForkEffects::Live => {
                let message = "a fork whose effects are not live starts no other runs";
                Err(Failure::certain(Code::CannotFork, message))
            }
            _ => Ok(()),
        }
    }

    /// A child ended: its step ends with it, and what stops around the step may end.
    pub(super) fn child_ended(
        &mut self,
        step: &StepPath,
        run: RunId,
        end: &ChildEnd,
        account: &ChildAccount,
    ) -> Step {
        let child = self.run.children.get(step).filter(|child| child.run == run);
        let flow = child.ok_or(Stop::Nothing)?.spec.flow.name.clone();
        let shared = self.run.budgets.lent.contains_key(step);
        let used = account.used;
        // What the child of another run did is that run's to undo.
        let own = !self.borrowed.contains(step);
        let undo = if own { account.undo.clone() } else { Vec::new() };
        self.emit(step, told(run, end, ChildAccount { used, undo }))?;
        if let ChildEnd::Continued(_) = end {
            self.lend_on(step, used)?;
            return self.unwind(step);
        }
        self.settle_child(step, used)?;
        let named = format!("child run {run} ({flow})");
        match end {
            _ if self.past_deadline(step) => self.unwind(step)?,
            ChildEnd::Completed(output) => {
                self.complete(step, Output::Task, Val::Data(output.clone()))?;
            }
            ChildEnd::Failed(error) => {
                let message = format!("{named} failed: {}", error.message);
                let failure = if error.certain { Failure::certain } else { Failure::in_doubt };
                self.fail(step, failure(error.code, message))?;
            }
            ChildEnd::Cancelled | ChildEnd::Continued(_) => {
                let message = format!("{named} was cancelled");
                self.fail(step, Failure::certain(Code::Cancelled, message))?;
            }
        }
        if shared {
            // What it left may be what others wait for.
            self.go_on_within()?;
        }
        Ok(())
    }

    fn past_deadline(&self, step: &StepPath) -> bool {
        self.run.node(step).is_some_and(|node| node.failing.is_some())
    }

    /// Asks the children at `place` or below to stop, each once.
    pub(super) fn stop_children(&mut self, place: &StepPath, reason: &str) -> Step {
        for step in keys_below(&self.run.children, place) {
            let child = self.run.children.get(&step).filter(|child| child.cancelling.is_none());
            if let Some(run) = child.map(|child| child.run) {
                let data = ChildCancelling { run, reason: reason.to_owned() };
                self.emit(&step, EventBody::ChildCancelling(data))?;
            }
        }
        Ok(())
    }

    /// Opens a `continue` node: this run ends, and the next starts in its place.
    pub(super) fn go_on_anew(
        &mut self,
        step: &StepPath,
        node: &Node,
        input: Option<&Template>,
        context: &Context,
    ) -> Evaluated<()> {
        let input = match input_of(input, context)? {
            Ok(input) => input,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Err(why) = fits(self.flow.input.as_ref(), &input) {
            let message = format!("the run can't go on anew: {why}");
            return Ok(Err(Failure::certain(Code::InvalidInput, message)));
        }
        if let Some(other) = self.in_work() {
            let message =
                format!("the run can't end here: '{other}' is in work; let this node wait for it");
            return Ok(Err(Failure::certain(Code::Conflict, message)));
        }
        let input = match self.keep(input) {
            Ok(input) => input,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Err(failure) = self.may_start_runs() {
            return Ok(Err(failure));
        }
        let seed = self.run.started.as_ref().map_or(Hash::ZERO, |started| started.seed);
        let next = RunId::derived(next_seed(seed));
        self.started(step, node, Opened::Continue)?;
        self.complete_value(step, Data::from(json!({ "run": next })))?;
        self.emit_run(EventBody::RunContinued(RunContinued { next, input }))?;
        self.complete_run(Data::null()).map(Ok)
    }

    /// A step that the run waits for.
    fn in_work(&self) -> Option<StepPath> {
        let run = &self.run;
        let sleeping = run.timers.iter().find(|(_, _, purpose)| *purpose == Purpose::Sleep);
        let waiting = run.waits.keys().chain(run.approvals.keys()).chain(run.children.keys());
        let mut all = run.tasks.keys().chain(waiting).chain(sleeping.map(|(_, step, _)| step));
        all.next().cloned()
    }
}

/// The fact that a child ended.
fn told(run: RunId, end: &ChildEnd, account: ChildAccount) -> EventBody {
    let ChildAccount { used, undo } = account;
    match end.clone() {
        ChildEnd::Completed(output) => {
            EventBody::ChildCompleted(ChildCompleted { run, output, used, undo })
        }
        ChildEnd::Failed(error) => EventBody::ChildFailed(ChildFailed { run, error, used, undo }),
        ChildEnd::Cancelled => EventBody::ChildCancelled(ChildCancelled { run, used, undo }),
        ChildEnd::Continued(next) => {
            EventBody::ChildContinued(ChildContinued { run, next, used, undo })
        }
    }
}

fn input_of(template: Option<&Template>, context: &Context) -> Evaluated<Value> {
    match template {
        Some(template) => evaluated(template.value(context)),
        None => Ok(Ok(json!({}))),
    }
}
