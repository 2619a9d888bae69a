//! Tasks: intents, outcomes, retries, doubt, and what a person says about it.

use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::{
    ActivityHeartbeat, ArtifactCreated, Doubt, EffectReconciled, EffectSettled, EffectUnknown,
    EventBody, Output, PolicyViolation, Purpose, Settlement, StepRetrying, ToolCalled,
    ToolCompleted, ToolFailed, VerificationCompleted,
};
use aura_core::fork::ForkEffects;
use aura_core::hash::Hash;
use aura_core::input::{Heartbeat, Outcome};
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::saga::Compensation;
use aura_core::schema::Schema;
use aura_core::task::{Artifact, OnUnknown, TaskResult};
use serde_json::Value;
use std::sync::Arc;

use super::Grant;
use super::budget::Used;
use super::fork::Source;
use super::turn::{Step, Stop, Work};
use crate::definition::Kind;
use crate::retry;
use crate::state::{Bodies, Node, Task, TaskPhase};
use crate::val::Val;

impl Work<'_, '_> {
    /// Records the intent of an attempt, if it may start now.
    pub(super) fn try_intent(&mut self, step: &StepPath, attempt: u32) -> Step {
        let Some(task) = self.run.tasks.get(step).cloned() else { return Ok(()) };
        if self.run.paused.is_some() {
            return Ok(());
        }
        // What stops starts nothing new; what only finds out what happened is not new.
        if self.stops(step) && !task.doubtful && !step.is_body() {
            self.after_step(step);
            return Ok(());
        }
        if self.run.waits_for_more(step) {
            return Ok(());
        }
        match self.source(step, &task)? {
            Source::Call => {}
            Source::Later => return Ok(()),
            Source::Outcome(reused) => return self.reuse(step, attempt, *reused),
            Source::Nobody(why) => return self.withhold(step, &task, why),
        }
        if !self.may_call(step, &task)? {
            return Ok(());
        }
        match self.world.gate.grant(step, &task.spec) {
            Grant::Go => {}
            Grant::Wait => return Ok(()),
            Grant::Reuse(taken) => return self.reuse(step, attempt, taken.of(&task.spec)),
        }
        self.reserve(step, attempt, &task)?;
        let called = ToolCalled {
            tool: task.spec.tool.clone(),
            call: task.spec.call,
            key: task.spec.key,
            timeout: self.now.plus(task.spec.timeout_ms),
        };
        self.emit_attempt(step, attempt, EventBody::ToolCalled(called))?;
        self.open.push(step.clone());
        Ok(())
    }

    /// Slots are free.
    pub(super) fn granted(&mut self, steps: &[StepPath]) -> Step {
        for step in steps {
            if let Some(task) = self.run.tasks.get(step).cloned()
                && task.phase == TaskPhase::Ready
            {
                self.try_intent(step, task.attempt)?;
            }
        }
        Ok(())
    }

    /// An attempt ended.
    pub(super) fn outcome(&mut self, outcome: &Outcome) -> Step {
        let step = &outcome.step;
        let task = self.run.tasks.get(step).cloned().ok_or(Stop::Nothing)?;
        // A function that waits for an answer can't have ended well; one that took another way has failed.
        let waits = self.waits_for_answer(step);
        let succeeded = matches!(outcome.result, TaskResult::Succeeded { .. });
        if task.spec.call != outcome.call || (waits && succeeded) {
            return Err(Stop::Nothing);
        }
        let current = task.attempt == outcome.attempt && task.phase == TaskPhase::Called;
        match (&outcome.result, current) {
            (TaskResult::Succeeded { .. }, true) => self.succeeded(&task, outcome),
            (TaskResult::Failed { failure, retry_after_ms }, true) => {
                self.failed(step, &task, failure, *retry_after_ms)
            }
            (result, false) => self.late(&task, outcome, result),
        }
    }

    fn succeeded(&mut self, task: &Task, outcome: &Outcome) -> Step {
        let TaskResult::Succeeded { output, artifacts, truncated } = &outcome.result else {
            return Ok(());
        };
        let step = &outcome.step;
        let completed = ToolCompleted {
            call: task.spec.call,
            output: output.clone(),
            truncated: *truncated,
            artifacts: artifacts.clone(),
        };
        self.emit_attempt(step, outcome.attempt, EventBody::ToolCompleted(completed))?;
        self.made(step, task, artifacts)?;
        if step.is_body() {
            return self.probed(step, Ok(output.clone()));
        }
        self.done(step)
    }

    /// Lasting things that an attempt made, with where they came from.
    fn made(&mut self, step: &StepPath, task: &Task, artifacts: &[Artifact]) -> Step {
        for artifact in artifacts {
            let created = ArtifactCreated {
                artifact: artifact.clone(),
                tool: task.spec.tool.clone(),
                call: task.spec.call,
                flow: self.flow.hash,
                state: self.run.hash,
            };
            self.emit(step, EventBody::ArtifactCreated(created))?;
        }
        Ok(())
    }

    /// The task of a step has its output: a verification is judged, any other step completes.
    pub(super) fn done(&mut self, step: &StepPath) -> Step {
        if let Some(of) = step.compensates() {
            return self.undone(&of);
        }
        self.settle_success(step)?;
        let outcome = self.run.node(step).and_then(|node| node.outcome.clone());
        let data = outcome.unwrap_or_default();
        if matches!(self.flow.node_at(step).map(|node| &node.kind), Some(Kind::Code(_))) {
            return self.returned(step, &data);
        }
        let verifies =
            matches!(self.flow.node_at(step).map(|node| &node.kind), Some(Kind::Verify(_)));
        if verifies {
            let report = self.json(&data)?;
            let number = |name: &str| report[name].as_f64().unwrap_or_default();
            let passed = report["passed"].as_bool().unwrap_or_default();
            let (score, min_score) = (number("score"), number("min_score"));
            let judged = VerificationCompleted { score, min_score, passed };
            self.emit(step, EventBody::VerificationCompleted(judged))?;
            if !passed {
                let message = verification_message(&report, score, min_score);
                return self.fail(step, Failure::certain(Code::VerificationFailed, message));
            }
        }
        self.complete(step, Output::Task, Val::Data(data))
    }

    fn failed(
        &mut self,
        step: &StepPath,
        task: &Task,
        failure: &Failure,
        asked_ms: Option<u64>,
    ) -> Step {
        let error = failure.clone().of_attempt(task.attempt);
        if !error.certain && !task.spec.class.abandonable() {
            return self.in_doubt(step, Doubt::Lost, Some(error), asked_ms);
        }
        let data =
            ToolFailed { call: task.spec.call, error: error.clone(), retry_after_ms: asked_ms };
        let waits = self.waits_for_answer(step);
        self.emit_attempt(step, task.attempt, EventBody::ToolFailed(data))?;
        self.settle_failure(step, task, &error)?;
        if waits {
            // What the open call does must be known before its step ends.
            return self.unwind(step);
        }
        if error.code == Code::Forbidden {
            let violation =
                PolicyViolation { tool: task.spec.tool.clone(), reason: error.message.clone() };
            self.emit(step, EventBody::PolicyViolation(violation))?;
        }
        self.after_failure(step, task, error, asked_ms)
    }

    /// Whether the step is a function whose last call is open.
    fn waits_for_answer(&self, step: &StepPath) -> bool {
        self.run.node(step).and_then(Node::bodies).is_some_and(Bodies::call_open)
    }

    /// An attempt failed and left no doubt that matters: tries again, or fails the step.
    fn after_failure(
        &mut self,
        step: &StepPath,
        task: &Task,
        error: Failure,
        asked_ms: Option<u64>,
    ) -> Step {
        let again =
            error.code.retryable() || (!error.certain && task.spec.class == EffectClass::Read);
        let used_up = task.attempt >= task.spec.retry.max_attempts;
        if again && !used_up && (task.doubtful || step.is_body() || !self.stops(step)) {
            return self.retry(step, task, asked_ms);
        }
        if step.is_body() {
            return self.probed(step, Err(error));
        }
        if !task.doubtful || task.spec.class.abandonable() {
            return self.fail(step, error);
        }
        // This attempt did not act, but an earlier one may have.
        self.give_up(step, task, Doubt::Lost, (Some(error), None))
    }

    pub(super) fn retry(&mut self, step: &StepPath, task: &Task, asked_ms: Option<u64>) -> Step {
        let seed = self.run.started.as_ref().map_or(Hash::ZERO, |started| started.seed);
        let wait = retry::wait_ms(seed, step, task.attempt, &task.spec.retry, asked_ms);
        let until = self.now.plus(wait);
        let retrying = EventBody::StepRetrying(StepRetrying { until });
        self.emit_attempt(step, task.attempt + 1, retrying)
    }

    /// It is not known whether an attempt acted: its class decides.
    fn in_doubt(
        &mut self,
        step: &StepPath,
        doubt: Doubt,
        error: Option<Failure>,
        asked_ms: Option<u64>,
    ) -> Step {
        let Some(task) = self.run.tasks.get(step).cloned() else { return Ok(()) };
        let used_up = task.attempt >= task.spec.retry.max_attempts;
        if used_up || !self.repeatable(&task) {
            return self.give_up(step, &task, doubt, (error, asked_ms));
        }
        let unknown = EffectUnknown {
            call: task.spec.call,
            doubt,
            parked: false,
            error,
            retry_after_ms: asked_ms,
        };
        self.emit_attempt(step, task.attempt, EventBody::EffectUnknown(unknown))?;
        self.retry(step, &task, asked_ms)
    }

    /// A call in doubt is not repeated: its probe looks what became of it, or it parks.
    fn give_up(
        &mut self,
        step: &StepPath,
        task: &Task,
        doubt: Doubt,
        (error, retry_after_ms): (Option<Failure>, Option<u64>),
    ) -> Step {
        let parked = task.spec.probe.is_none();
        let call = task.spec.call;
        let unknown = EffectUnknown { call, doubt, parked, error: error.clone(), retry_after_ms };
        self.emit_attempt(step, task.attempt, EventBody::EffectUnknown(unknown))?;
        if parked { self.park(step, task, error) } else { self.start_probe(step, task) }
    }

    fn repeatable(&self, task: &Task) -> bool {
        let within_key = match (task.spec.key_ttl_ms, task.intended) {
            (Some(ttl), Some(intended)) => self.now.since(intended) < ttl,
            _ => true,
        };
        task.spec.class.repeatable() && within_key && task.recoveries + 1 < limits::TASK_RECOVERIES
    }

    pub(super) fn park(&mut self, step: &StepPath, task: &Task, error: Option<Failure>) -> Step {
        if task.spec.on_unknown != OnUnknown::Fail {
            self.after_step(step);
            return Ok(());
        }
        let why = error.map_or_else(|| "its outcome was lost".to_owned(), |e| e.message);
        let message = format!("it is not known whether '{}' acted: {why}", task.spec.tool);
        let failure = Failure::in_doubt(Code::InDoubt, message).of_attempt(task.attempt);
        // It may have acted, so that it would have to be undone, but with what it gave that is lost too.
        let (list, place) = self.node_def(step)?;
        let own = !self.borrowed.contains(step);
        let undo = list.nodes[place].compensate.as_ref().filter(|_| own);
        let unable = undo.map(|_| Compensation::Unable(failure.clone()));
        self.fail_with(step, failure, unable)
    }

    /// An outcome that arrives after its attempt was given up.
    fn late(&mut self, task: &Task, outcome: &Outcome, result: &TaskResult) -> Step {
        if !task.doubtful || outcome.attempt > task.attempt {
            return Err(Stop::Nothing);
        }
        let mut artifacts = Vec::new();
        let settlement = match result {
            TaskResult::Succeeded { output, artifacts: made, .. } => {
                artifacts.clone_from(made);
                Settlement::Succeeded(output.clone())
            }
            // A failure settles only its own attempt, and only if that is the one in doubt.
            TaskResult::Failed { failure, .. }
                if failure.certain
                    && outcome.attempt == task.attempt
                    && matches!(task.phase, TaskPhase::InDoubt | TaskPhase::Probing) =>
            {
                Settlement::Failed(failure.clone().of_attempt(outcome.attempt))
            }
            TaskResult::Failed { .. } => return Err(Stop::Nothing),
        };
        let step = &outcome.step;
        let data = EffectReconciled {
            call: outcome.call,
            outcome: settlement.clone(),
            artifacts: artifacts.clone(),
        };
        self.emit_attempt(step, outcome.attempt, EventBody::EffectReconciled(data))?;
        self.made(step, task, &artifacts)?;
        match settlement {
            Settlement::Failed(failure) => {
                self.settle_reserved(step, Used::Nothing)?;
                let task = self.run.tasks.get(step).cloned().ok_or(Stop::Nothing)?;
                self.after_failure(step, &task, failure, None)
            }
            Settlement::Succeeded(output) if step.is_body() => self.probed(step, Ok(output)),
            Settlement::Succeeded(_) | Settlement::Retry => self.done(step),
        }
    }

    /// An attempt tells that it is alive.
    pub(super) fn heartbeat(&mut self, beat: &Heartbeat) -> Step {
        let task = self.run.tasks.get(&beat.step).cloned().ok_or(Stop::Nothing)?;
        let current = task.attempt == beat.attempt && task.in_flight();
        if !current || task.spec.call != beat.call || task.spec.heartbeat_ms.is_none() {
            return Err(Stop::Nothing);
        }
        let details = self.take_in(&beat.details)?;
        let data = ActivityHeartbeat { call: beat.call, details };
        self.emit_attempt(&beat.step, beat.attempt, EventBody::ActivityHeartbeat(data))
    }

    /// The attempt of a task took too long, or gave no sign of life.
    pub(super) fn attempt_lost(&mut self, step: &StepPath, purpose: Purpose) -> Step {
        let Some(task) = self.run.tasks.get(step).cloned() else { return Ok(()) };
        let message = match (purpose, task.spec.heartbeat_ms) {
            (Purpose::Heartbeat, Some(span)) => format!("no sign of life within {span} ms"),
            _ => format!("no outcome within {} ms", task.spec.timeout_ms),
        };
        if task.spec.class.abandonable() {
            let failure = Failure::certain(Code::Timeout, message);
            return self.failed(step, &task, &failure, None);
        }
        let failure = Failure::in_doubt(Code::Timeout, message).of_attempt(task.attempt);
        self.in_doubt(step, Doubt::Timeout, Some(failure), None)
    }

    /// A node's deadline passed while its task was open.
    pub(super) fn task_past_deadline(&mut self, step: &StepPath, failure: Failure) -> Step {
        let Some(task) = self.run.tasks.get(step).cloned() else {
            return self.fail(step, failure);
        };
        if !task.binding() {
            return self.fail(step, failure);
        }
        if task.phase == TaskPhase::InDoubt {
            return Ok(());
        }
        // A probe is asked anew, so that what it finds is not followed by another try.
        self.give_up(step, &task, Doubt::Timeout, (Some(failure), None))
    }

    /// The process that performed these tasks is gone.
    pub(super) fn unknown(&mut self, steps: &[StepPath], doubt: Doubt) -> Step {
        // All facts first: they are the input.
        let mut doubted = Vec::new();
        for step in steps {
            let Some(task) = self.run.tasks.get(step).cloned() else { continue };
            if !task.in_flight() {
                continue;
            }
            let again = self.repeatable(&task);
            // A probe that can't be repeated is judged by what it was asked about.
            let parked = !again && task.spec.probe.is_none() && !step.is_body();
            let worn_out = task.recoveries + 1 >= limits::TASK_RECOVERIES;
            let error = worn_out.then(|| {
                let times = limits::TASK_RECOVERIES;
                let message = format!("the process ended {times} times while this was under way");
                Failure::in_doubt(Code::LimitExceeded, message).of_attempt(task.attempt)
            });
            let data = EffectUnknown {
                call: task.spec.call,
                doubt,
                parked,
                error: error.clone(),
                retry_after_ms: None,
            };
            self.emit_attempt(step, task.attempt, EventBody::EffectUnknown(data))?;
            doubted.push((step.clone(), task, again, error));
        }
        for (step, task, again, error) in doubted {
            if !again && step.is_body() {
                let error =
                    error.unwrap_or_else(|| Failure::certain(Code::Internal, "it was lost"));
                self.probed(&step, Err(error))?;
            } else if !again && task.spec.probe.is_some() {
                self.start_probe(&step, &task)?;
            } else if !again {
                self.park(&step, &task, error)?;
            } else if task.spec.class == EffectClass::Pure {
                self.open.push(step);
            } else {
                // A look that was lost was perhaps paid for, and the next one is paid for as well.
                if task.spec.class.abandonable() {
                    self.settle_reserved(&step, Used::Whole)?;
                }
                // A crash costs no attempt.
                self.try_intent(&step, task.attempt)?;
            }
        }
        Ok(())
    }

    /// A person says what became of an effect.
    pub(super) fn settle(&mut self, key: Hash, said: &EffectSettled) -> Step {
        let found = self.run.in_doubt().find(|(_, task)| task.spec.key == key);
        let Some((step, task)) = found.map(|(step, task)| (step.clone(), Arc::clone(task))) else {
            let what = format!("no effect of this run with key {} is in doubt", key.short());
            let problem = Problem::new(Code::NotWaiting, what).next("aura effects --in-doubt");
            return Err(problem.into());
        };
        let mocks = self.run.fork.as_ref().is_some_and(|fork| fork.effects == ForkEffects::Mock);
        if mocks && said.outcome == Settlement::Retry {
            let what = "this fork takes outcomes from a file and calls nothing";
            let next = "say what became of it, or fork with --effects live";
            return Err(Problem::new(Code::Conflict, what).next(next).into());
        }
        if let Settlement::Succeeded(output) = &said.outcome {
            let output = self.json(output)?;
            self.fits(&task.spec.tool, &output)?;
        }
        let mut said = said.clone();
        if let Settlement::Succeeded(output) = &mut said.outcome {
            *output = self.take_in(output)?;
        }
        self.emit_attempt(&step, task.attempt, EventBody::EffectSettled(said.clone()))?;
        match &said.outcome {
            Settlement::Succeeded(_) => self.done(&step),
            Settlement::Failed(failure) => {
                self.settle_reserved(&step, Used::Nothing)?;
                self.fail(&step, failure.clone())
            }
            Settlement::Retry => {
                self.settle_reserved(&step, Used::Nothing)?;
                let attempt = self.run.tasks.get(&step).map_or(1, |task| task.attempt);
                self.try_intent(&step, attempt)
            }
        }
    }

    /// Whether somebody said exactly this about an effect before, and it is not in doubt again.
    pub(super) fn settled_so(&mut self, key: Hash, outcome: &Settlement) -> Step<bool> {
        let doubted = self.run.in_doubt().any(|(_, task)| task.spec.key == key);
        let Some(before) = self.run.settled.get(key).cloned().filter(|_| !doubted) else {
            return Ok(false);
        };
        Ok(match (before, outcome) {
            (Settlement::Succeeded(before), Settlement::Succeeded(output)) => {
                before == self.take_in(output)?
            }
            (before, outcome) => before == *outcome,
        })
    }

    fn fits(&self, tool: &str, output: &Value) -> Step {
        let Some(def) = self.flow.tools.get(tool) else { return Ok(()) };
        let Ok(schema) = Schema::compile(&def.output) else { return Ok(()) };
        match schema.violations(output).first() {
            None => Ok(()),
            Some(violation) => {
                let what = format!("the output is not one of '{tool}': {violation}");
                let next = format!("aura tools show {tool}");
                Err(Problem::new(Code::InvalidInput, what).next(next).into())
            }
        }
    }
}

fn verification_message(report: &Value, score: f64, min_score: f64) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for violation in report["violations"].as_array().into_iter().flatten() {
        let text = |name: &str| violation[name].as_str().unwrap_or_default().to_owned();
        reasons.push(format!("{} {}", text("at"), text("message")).trim().to_owned());
    }
    for check in report["checks"].as_array().into_iter().flatten() {
        if check["passed"] == Value::Bool(false) {
            reasons.push(format!("'{}' did not hold", check["name"].as_str().unwrap_or_default()));
        }
    }
    reasons.truncate(5);
    format!("score {score:.1} of at least {min_score:.1}: {}", reasons.join("; "))
}
