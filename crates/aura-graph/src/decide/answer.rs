//! Inputs: the one place where each kind of input becomes its facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::data::Data;
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::{
    EffectSettled, Empty, EventBody, Purpose, Request, RunStarted, SignalReceived, Timer,
};
use aura_core::input::Input;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::saga::SagaStarted;
use aura_core::schema::Schema;
use aura_core::time::Millis;

use super::turn::{Job, Step, Stop, Work, evaluated};
use crate::state::{self, Phase, TaskPhase, deadline_failure, speaks_for};

/// Violations of a payload that are told.
const VIOLATIONS: usize = 10;

/// Labels and names of a start or a fork are few and short.
pub(super) fn labels_fit<'a>(
    labels: &'a BTreeMap<String, String>,
    names: impl IntoIterator<Item = &'a String>,
) -> Step {
    let all = labels.iter().flat_map(|(name, value)| [name, value]).chain(names);
    short(all.map(String::as_str))?;
    if labels.len() > limits::LABELS {
        let what = format!("a run takes at most {} labels", limits::LABELS);
        return Err(Problem::new(Code::LimitExceeded, what).next("leave some out").into());
    }
    Ok(())
}

/// Names that come from outside are short, whoever sends them.
pub(super) fn short<'a>(names: impl IntoIterator<Item = &'a str>) -> Step {
    match names.into_iter().find(|name| name.len() > limits::NAME_BYTES) {
        None => Ok(()),
        Some(name) => {
            let begin = &name[..name.floor_char_boundary(20)];
            let what = format!("'{begin}…' is longer than {} bytes", limits::NAME_BYTES);
            Err(Problem::new(Code::LimitExceeded, what).next("use a shorter name").into())
        }
    }
}

fn request(actor: &str, reason: Option<&String>) -> Request {
    Request { actor: actor.to_owned(), reason: reason.cloned() }
}

impl Work<'_, '_> {
    pub(super) fn take(&mut self, input: &Input) -> Step {
        if let Input::Settle { key, outcome, .. } = input
            && self.settled_so(*key, outcome)?
        {
            return Err(Stop::Nothing);
        }
        match (input, &self.run.phase) {
            (Input::Start(_) | Input::Fork(_), Phase::New) => {}
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
                | Input::Pause { .. }
                | Input::Resume { .. }
                | Input::Settle { .. },
                _,
            ) if self.run.closed() => {
                let what = format!("the run has ended: {}", self.run.status().as_str());
                // Who speaks to a run that goes on anew means the one that goes on.
                let continued = self.run.continued.as_ref().map(|continued| continued.next);
                let next = format!("aura show {}", continued.unwrap_or(self.run.id));
                return Err(Problem::new(Code::RunClosed, what).next(next).into());
            }
            _ if self.run.closed() => return Err(Stop::Nothing),
            _ => {}
        }
        self.fact(input)?;
        // What a paused run learns is recorded. What follows waits: resuming asks every place again.
        if self.run.paused.is_some() {
            return Ok(());
        }
        // What an earlier turn could not finish is not forgotten because another input came first.
        if self.run.more {
            self.everywhere();
        }
        self.go_on()
    }

    pub(super) fn fact(&mut self, input: &Input) -> Step {
        match input {
            Input::Start(start) => self.start(start, &BTreeMap::new()),
            Input::Fork(fork) => self.fork(fork),
            Input::Outcome(outcome) => self.outcome(outcome),
            Input::Heartbeat(beat) => self.heartbeat(beat),
            Input::Timer { step, purpose, due } => self.timer(step, *purpose, *due),
            Input::Signal { id, name, payload, actor } => self.signal((id, name), payload, actor),
            Input::Approval { step, verdict, action, actor, reason } => {
                self.answer(step, *verdict, *action, (actor, reason.as_deref()))
            }
            Input::Cancel { actor, reason } => {
                if self.cancelling() || self.compensating() {
                    return Err(Stop::Nothing);
                }
                self.emit_run(EventBody::RunCancelling(request(actor, reason.as_ref())))?;
                self.unwind(&StepPath::root())
            }
            Input::Pause { actor, reason } => {
                if self.run.paused.is_some() {
                    return Err(Stop::Nothing);
                }
                short([actor.as_str()])?;
                self.emit_run(EventBody::RunPaused(request(actor, reason.as_ref())))
            }
            Input::Resume { actor, reason } => {
                self.may_resume(actor)?;
                short([actor.as_str()])?;
                self.emit_run(EventBody::RunResumed(request(actor, reason.as_ref())))?;
                self.everywhere();
                let ready = self.run.ready().map(|(step, _)| step.clone()).collect::<Vec<_>>();
                self.granted(&ready)
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
            Input::Journal { step, number, asked, call } => {
                self.journal(step, *number, asked, *call)
            }
            Input::Unknown { steps, doubt } => self.unknown(steps, *doubt),
            Input::Child { step, run, end, account } => self.child_ended(step, *run, end, account),
            Input::Granted { steps } => self.granted(steps),
            Input::Continue => {
                self.everywhere();
                Ok(())
            }
        }
    }

    /// Whether the run is paused and `actor` may let it go on. Who paused a parent has paused its children with it, and
    /// a child that somebody paused by itself waits for somebody.
    fn may_resume(&self, actor: &str) -> Step {
        let Some(paused) = &self.run.paused else { return Err(Stop::Nothing) };
        let parent = self.run.started.as_ref().and_then(|started| started.parent.as_ref());
        let Some(parent) = parent.map(|parent| parent.run) else { return Ok(()) };
        if paused.actor == actor {
            return Ok(());
        }
        if self.run.paused_by_parent() {
            let what = format!("the run is paused because its parent is, run {parent}");
            let next = format!("aura resume {}", self.run.root_run());
            return Err(Problem::new(Code::Conflict, what)
                .kept("the run as it is")
                .next(next)
                .into());
        }
        if actor == speaks_for(parent) { Err(Stop::Nothing) } else { Ok(()) }
    }

    /// Begins; variables in `given` have these values instead of those that the flow says.
    pub(super) fn start(&mut self, start: &RunStarted, given: &BTreeMap<String, Data>) -> Step {
        let mut start = start.clone();
        labels_fit(&start.labels, start.key.iter().chain([&start.actor]))?;
        start.input = self.take_in(&start.input)?;
        for signal in &mut start.signals {
            if let Data::Json(value) = &signal.payload {
                let kept =
                    self.keep_within(serde_json::Value::clone(value), limits::SIGNAL_INLINE_BYTES);
                signal.payload = kept.map_err(|e| Stop::from(Problem::new(e.code, e.message)))?;
            }
        }
        let started_by_run = start.parent.is_some() || start.continues.is_some();
        start.state = state::beginning(start.salt, &start.input);
        // Initial variables may refer to the input, so they are rendered against a run that has it.
        Arc::make_mut(&mut self.run).started = Some(Arc::new(start.clone()));
        let own = self.flow.deadline_ms.map(|span| self.now.plus(span));
        start.budget = super::share::at_start(self.flow.budget, &start);
        start.deadline = own.into_iter().chain(start.deadline).min();
        let root = StepPath::root();
        let context = self.context(&root);
        let mut vars = BTreeMap::new();
        let mut broken = None;
        let flow = Arc::clone(self.flow);
        for (name, template) in &flow.vars {
            match evaluated(template.value(&context))?.and_then(|value| self.keep(value)) {
                Ok(data) => {
                    vars.insert(name.clone(), data);
                }
                Err(failure) => broken = broken.or(Some(failure)),
            }
        }
        vars.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
        start.vars = vars;
        self.emit_run(EventBody::RunStarted(Box::new(start)))?;
        let nodes = self.flow.body.compensations();
        if nodes > 0 {
            self.emit_run(EventBody::SagaStarted(SagaStarted { nodes }))?;
        }
        if let Some(failure) = broken {
            return self.end_badly(Some((failure, None)));
        }
        // A run that another one starts goes on in a turn of its own, so that runs which start each other without
        // end are decided one by one.
        self.full = started_by_run;
        self.later(Job::Body(root));
        Ok(())
    }

    fn timer(&mut self, step: &StepPath, purpose: Purpose, due: Millis) -> Step {
        let set = self.run.timers.due(step, purpose) == Some(due);
        if !set || due > self.now || !self.run.fires(purpose) {
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
            Purpose::Attempt | Purpose::Heartbeat => self.attempt_lost(step, purpose),
            Purpose::Budget => self.out_of_time(step),
            Purpose::Deadline => {
                let failing = self.run.node(step).is_some_and(|node| node.failing.is_some());
                if failing || step.is_root() {
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
        self.payload_fits(name, payload)?;
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

    /// Whether the flow takes a signal of this name with this payload.
    fn payload_fits(&self, name: &str, payload: &Data) -> Step {
        let Some(signals) = &self.flow.signals else { return Ok(()) };
        let refused = |what: String, next: String| {
            Err(Problem::new(Code::InvalidInput, what)
                .kept("the run as it is; nothing was recorded")
                .next(next)
                .into())
        };
        let Some(schema) = signals.get(name) else {
            let names: Vec<_> = signals.keys().map(String::as_str).collect();
            let next = match names.as_slice() {
                [] => "it takes none".to_owned(),
                names => format!("it takes {}", names.join(", ")),
            };
            return refused(format!("the flow takes no signal '{name}'"), next);
        };
        let Ok(schema) = Schema::compile(schema) else { return Ok(()) };
        let violations = schema.violations(&*self.json(payload)?);
        if violations.is_empty() {
            return Ok(());
        }
        let lines = violations.iter().take(VIOLATIONS).map(|violation| format!("\n  {violation}"));
        let what = format!("the payload of '{name}' does not fit:{}", lines.collect::<String>());
        refused(what, "send it again with a payload that fits".to_owned())
    }
}
