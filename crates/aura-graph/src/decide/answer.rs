//! Inputs: the one place where each kind of input becomes its facts.

use std::collections::BTreeMap;

use aura_core::data::Data;
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::{
    Answer, EffectSettled, Empty, EventBody, Purpose, Request, RunStarted, SignalReceived, Timer,
};
use aura_core::hash::Hash;
use aura_core::input::{ApprovalVerdict, Input};
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::time::Millis;
use serde_json::json;

use super::turn::{Job, Step, Stop, Work, evaluated};
use crate::state::{self, Phase, TaskPhase, deadline_failure};

/// Names that come from outside are short, whoever sends them.
fn short<'a>(names: impl IntoIterator<Item = &'a str>) -> Step {
    match names.into_iter().find(|name| name.len() > limits::NAME_BYTES) {
        None => Ok(()),
        Some(name) => {
            let begin = &name[..name.floor_char_boundary(20)];
            let what = format!("'{begin}…' is longer than {} bytes", limits::NAME_BYTES);
            Err(Problem::new(Code::LimitExceeded, what).next("use a shorter name").into())
        }
    }
}

impl Work<'_, '_> {
    pub(super) fn take(&mut self, input: &Input) -> Step {
        if let Input::Settle { key, outcome, .. } = input
            && self.settled_so(*key, outcome)?
        {
            return Err(Stop::Nothing);
        }
        match (input, &self.run.phase) {
            (Input::Start(_), Phase::New) => {}
            (Input::Start(_), _) => return Err(Stop::Nothing),
            // What came before is answered, also when the run has ended meanwhile.
            (Input::Signal { id, .. }, _) if self.run.signals.knows(id) => {
                return Err(Stop::Nothing);
            }
            (_, Phase::New) => {
                return Err(Problem::new(Code::RunNotFound, "the run has not started").into());
            }
            (
                Input::Signal { .. }
                | Input::Approval { .. }
                | Input::Cancel { .. }
                | Input::Settle { .. },
                _,
            ) if self.run.closed() => {
                let what = format!("the run has ended: {}", self.run.status().as_str());
                let next = format!("aura show {}", self.run.id);
                return Err(Problem::new(Code::RunClosed, what).next(next).into());
            }
            _ if self.run.closed() => return Err(Stop::Nothing),
            _ => {}
        }
        self.fact(input)?;
        // What an earlier turn could not finish is not forgotten because another input came first.
        if self.run.more {
            self.everywhere();
        }
        self.go_on()
    }

    fn fact(&mut self, input: &Input) -> Step {
        match input {
            Input::Start(start) => self.start(start),
            Input::Outcome(outcome) => self.outcome(outcome),
            Input::Timer { step, purpose, due } => self.timer(step, *purpose, *due),
            Input::Signal { id, name, payload, actor } => self.signal((id, name), payload, actor),
            Input::Approval { step, verdict, action, actor, reason } => {
                let answer =
                    Answer { action: Hash::ZERO, actor: actor.clone(), reason: reason.clone() };
                self.answer(step, *verdict, *action, answer)
            }
            Input::Cancel { actor, reason } => {
                if self.cancelling() {
                    return Err(Stop::Nothing);
                }
                let request = Request { actor: actor.clone(), reason: reason.clone() };
                self.emit_run(EventBody::RunCancelling(request))?;
                self.unwind(&StepPath::root())
            }
            Input::Settle { key, outcome, actor, reason } => {
                let said = EffectSettled {
                    key: *key,
                    outcome: outcome.clone(),
                    actor: actor.clone(),
                    reason: reason.clone(),
                };
                self.settle(*key, &said)
            }
            Input::Unknown { steps, doubt } => self.unknown(steps, *doubt),
            Input::Granted { steps } => self.granted(steps),
            Input::Continue => {
                self.everywhere();
                Ok(())
            }
        }
    }

    fn start(&mut self, start: &RunStarted) -> Step {
        let mut start = start.clone();
        let names = start.labels.iter().flat_map(|(name, value)| [name, value]);
        let names = names.chain(&start.key).chain([&start.actor]);
        short(names.map(String::as_str))?;
        if start.labels.len() > limits::LABELS {
            let what = format!("a run takes at most {} labels", limits::LABELS);
            return Err(Problem::new(Code::LimitExceeded, what).next("leave some out").into());
        }
        start.input = self.take_in(&start.input)?;
        start.state = state::beginning(start.salt, &start.input);
        // Initial variables may refer to the input, so they are rendered against a run that has it.
        self.run.started = Some(std::sync::Arc::new(start.clone()));
        let root = StepPath::root();
        let context = self.context(&root);
        let mut vars = BTreeMap::new();
        let mut broken = None;
        let flow = std::sync::Arc::clone(self.flow);
        for (name, template) in &flow.vars {
            match evaluated(template.value(&context))?.and_then(|value| self.keep(value)) {
                Ok(data) => {
                    vars.insert(name.clone(), data);
                }
                Err(failure) => broken = broken.or(Some(failure)),
            }
        }
        start.vars = vars;
        self.emit_run(EventBody::RunStarted(Box::new(start)))?;
        if let Some(failure) = broken {
            return self.fail_run(failure, None);
        }
        self.later(Job::Body(root));
        Ok(())
    }

    fn timer(&mut self, step: &StepPath, purpose: Purpose, due: Millis) -> Step {
        if self.run.timers.due(step, purpose) != Some(due) || due > self.now {
            return Err(Stop::Nothing);
        }
        self.emit(step, EventBody::TimerFired(Timer { purpose, due }))?;
        match purpose {
            Purpose::Sleep => self.complete_value(step, Data::null()),
            Purpose::Wait => {
                let failure = Failure::certain(Code::WaitTimeout, "no signal came in time");
                self.fail(step, failure)
            }
            Purpose::Approval => {
                self.emit(step, EventBody::ApprovalExpired(Empty {}))?;
                let failure = Failure::certain(Code::ApprovalExpired, "nobody answered in time");
                self.fail(step, failure)
            }
            Purpose::Retry => match self.run.tasks.get(step).cloned() {
                // A pure task is open again as soon as its wait is over.
                Some(task) if task.phase == TaskPhase::Called => {
                    self.open.push(step.clone());
                    Ok(())
                }
                Some(task) => self.try_intent(step, task.attempt),
                None => Ok(()),
            },
            Purpose::Attempt => self.attempt_timed_out(step),
            Purpose::Deadline => {
                let failing = self.run.node(step).is_some_and(|node| node.failing.is_some());
                if failing {
                    self.unwind(step)
                } else {
                    self.task_past_deadline(step, deadline_failure())
                }
            }
        }
    }

    fn signal(&mut self, (id, name): (&str, &str), payload: &Data, actor: &str) -> Step {
        if self.run.signals.knows(id) {
            return Err(Stop::Nothing);
        }
        short([id, name, actor])?;
        let takes = |(step, wanted): &(&StepPath, &String)| *wanted == name && !self.stops(step);
        let waiting = self.run.waits.iter().find(takes).map(|(step, _)| step.clone());
        if waiting.is_none() && self.run.signals.kept.size() >= limits::SIGNALS {
            let what = format!("{} signals are waiting to be taken", limits::SIGNALS);
            let next = format!("aura why {}", self.run.id);
            return Err(Problem::new(Code::TooManySignals, what).next(next).into());
        }
        let payload = self.take_in(payload)?;
        let data = SignalReceived {
            id: id.to_owned(),
            name: name.to_owned(),
            payload: payload.clone(),
            actor: actor.to_owned(),
        };
        self.emit_run(EventBody::SignalReceived(data))?;
        match waiting {
            Some(step) => self.complete_value(&step, payload),
            None => Ok(()),
        }
    }

    fn answer(
        &mut self,
        step: &StepPath,
        verdict: ApprovalVerdict,
        action: Option<Hash>,
        mut answer: Answer,
    ) -> Step {
        let Some(asked) = self.run.approvals.get(step).cloned() else {
            let what = format!("no approval is asked for at '{step}'");
            let next = format!("aura why {}", self.run.id);
            return Err(Problem::new(Code::NotWaiting, what).next(next).into());
        };
        if asked.expires.is_some_and(|expires| expires <= self.now) {
            let next = format!("aura resume {}", self.run.id);
            return Err(Problem::new(Code::ApprovalExpired, "the approval has expired")
                .kept("the run as it is; it goes on when somebody performs it")
                .next(next)
                .into());
        }
        if action.is_some_and(|action| action != asked.action) {
            let what = "what is asked now is not what was shown".to_owned();
            let next = format!("aura why {}", self.run.id);
            return Err(Problem::new(Code::ApprovalMismatch, what).next(next).into());
        }
        answer.action = asked.action;
        let output = json!({
            "granted": true,
            "action": answer.action,
            "actor": answer.actor,
            "reason": answer.reason,
        });
        match verdict {
            ApprovalVerdict::Granted => {
                self.emit(step, EventBody::ApprovalGranted(answer))?;
                self.complete_value(step, Data::from(output))
            }
            ApprovalVerdict::Denied => {
                let why = answer.reason.clone().map(|r| format!(": {r}")).unwrap_or_default();
                let message = format!("{} said no{why}", answer.actor);
                self.emit(step, EventBody::ApprovalDenied(answer))?;
                self.fail(step, Failure::certain(Code::ApprovalDenied, message))
            }
        }
    }
}
