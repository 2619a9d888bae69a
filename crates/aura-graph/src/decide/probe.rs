//! Probes: looking whether an effect in doubt happened, and what follows from what is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::event::{
    Doubt, EffectReconciled, EffectUnknown, EventBody, ProbeStarted, Settlement,
};
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::schema::Schema;
use aura_core::task::{ProbeSpec, Retry, TaskSpec};
use serde_json::{Value, json};

use super::begin::{call_hash, key_hash};
use super::budget::Used;
use super::turn::{Evaluated, Step, Work, evaluated};
use super::view::View;
use crate::definition::{Node, Probe};
use crate::state::{Task, probe_path};
use crate::val::Val;

/// What a probe found.
enum Found {
    /// The effect happened, and gave this.
    Done(Data),
    /// It certainly did not happen.
    NotDone,
    /// It can't be told.
    Nothing(Failure),
}

impl Work<'_, '_> {
    /// The probe of a call that leaves a mark, if its node has one: rendered now, so that a later look needs nothing
    /// but the log.
    pub(super) fn probe_of(
        &mut self,
        step: &StepPath,
        node: &Node,
        call: &TaskSpec,
    ) -> Evaluated<Option<Box<ProbeSpec>>> {
        let Some(probe) = node.probe.as_ref().filter(|_| !call.class.abandonable()) else {
            return Ok(Ok(None));
        };
        let body = step.parent().unwrap_or_else(StepPath::root);
        let view = View::new(&self.run, self.flow, &body).with("effect", effect(call));
        let with = match evaluated(probe.with.render(&self.context_with(view)))? {
            Ok(with) => with,
            Err(failure) => return Ok(Err(failure)),
        };
        let def = self.flow.tools.get(&probe.tool);
        let class = def.map_or(EffectClass::Irreversible, |def| def.class.class_of(&with.value));
        if !class.abandonable() {
            let message =
                format!("the probe's call of {} is {class}: it must only look", probe.tool);
            return Ok(Err(Failure::certain(Code::InvalidInput, message)));
        }
        let definition = def.map_or(Hash::ZERO, aura_core::tool::ToolDef::hash);
        let hash = call_hash(&probe.tool, definition, &with.value, &with.secrets);
        let args = match self.keep(with.value) {
            Ok(args) => args,
            Err(failure) => return Ok(Err(failure)),
        };
        // A call that must not be repeated may still be looked for more than once.
        let max_attempts = node.retry.max_attempts.max(Retry::default().max_attempts);
        Ok(Ok(Some(Box::new(ProbeSpec {
            tool: probe.tool.clone(),
            definition,
            args,
            secrets: with.secrets,
            call: hash,
            key: key_hash(self.run.id.0.as_bytes(), &step.body("probe"), hash),
            timeout_ms: node.timeout_ms.unwrap_or(limits::ATTEMPT_MS),
            retry: Retry { max_attempts, ..node.retry },
        }))))
    }

    /// Lets the probe of a step look what became of its call.
    pub(super) fn start_probe(&mut self, step: &StepPath, task: &Task) -> Step {
        let Some(probe) = &task.spec.probe else { return Ok(()) };
        let started = ProbeStarted { tool: probe.tool.clone(), call: probe.call };
        self.emit_attempt(step, task.attempt, EventBody::ProbeStarted(started))?;
        let number = self.run.tasks.get(step).map_or(1, |task| task.probes);
        self.try_intent(&probe_path(step, number), 1)
    }

    /// A probe has ended; `path` is its own.
    pub(super) fn probed(&mut self, path: &StepPath, result: Result<Data, Failure>) -> Step {
        let Some(step) = path.parent() else { return Ok(()) };
        let Some(task) = self.run.tasks.get(&step).cloned() else { return Ok(()) };
        match self.found(&step, &task, result)? {
            Found::Done(output) => {
                self.reconciled(&step, &task, Settlement::Succeeded(output))?;
                self.done(&step)
            }
            Found::NotDone => {
                let before = task.error.clone().unwrap_or_else(|| {
                    Failure::certain(Code::Unavailable, "its process ended before it acted")
                });
                let failure = Failure { certain: true, ..before }.of_attempt(task.attempt);
                self.reconciled(&step, &task, Settlement::Failed(failure.clone()))?;
                self.settle_reserved(&step, Used::Nothing)?;
                let used_up = task.attempt >= task.spec.retry.max_attempts;
                if used_up || failure.code == Code::Deadline || self.stops(&step) {
                    return self.fail(&step, failure);
                }
                self.retry(&step, &task, None)
            }
            Found::Nothing(why) => {
                let unknown = EffectUnknown {
                    call: task.spec.call,
                    doubt: Doubt::Lost,
                    parked: true,
                    error: Some(why.clone()),
                    retry_after_ms: None,
                };
                self.emit_attempt(&step, task.attempt, EventBody::EffectUnknown(unknown))?;
                self.park(&step, &task, Some(why))
            }
        }
    }

    fn reconciled(&mut self, step: &StepPath, task: &Task, outcome: Settlement) -> Step {
        let data = EffectReconciled { call: task.spec.call, outcome, artifacts: Vec::new() };
        self.emit_attempt(step, task.attempt, EventBody::EffectReconciled(data))
    }

    /// Judges what a probe gave, by the expressions of its node.
    fn found(
        &mut self,
        step: &StepPath,
        task: &Task,
        result: Result<Data, Failure>,
    ) -> Step<Found> {
        let flow = Arc::clone(self.flow);
        let probe = flow.node_at(step).and_then(|node| node.probe.as_ref());
        let nothing = |why: String| {
            let failure = Failure::in_doubt(Code::InDoubt, why).of_attempt(task.attempt);
            Ok(Found::Nothing(failure))
        };
        let Some(probe) = probe else { return nothing("its node has no probe".to_owned()) };
        let (output, error) = match &result {
            Ok(output) => (output.clone(), Value::Null),
            Err(failure) => (Data::null(), json!(failure)),
        };
        let seen = BTreeMap::from([
            ("output".to_owned(), Val::Data(output.clone())),
            ("error".to_owned(), Val::Data(Data::from(error))),
        ]);
        let body = step.parent().unwrap_or_else(StepPath::root);
        let view = View::new(&self.run, self.flow, &body)
            .with("effect", effect(&task.spec))
            .with("probe", Val::Object(Arc::new(seen)));
        let context = self.context_with(view);
        let done = match evaluated(probe.done.holds(&context))? {
            Ok(done) => done,
            Err(failure) => return nothing(format!("the probe's 'done': {}", failure.message)),
        };
        let not_done = probe.not_done.as_ref().map(|not_done| not_done.holds(&context));
        let not_done = match evaluated(not_done.transpose())? {
            Ok(not_done) => not_done.unwrap_or_default(),
            Err(failure) => return nothing(format!("the probe's 'not_done': {}", failure.message)),
        };
        match (done, not_done) {
            (true, true) => nothing("the probe says both 'done' and 'not_done'".to_owned()),
            (false, true) => Ok(Found::NotDone),
            (false, false) => nothing(match result {
                Ok(_) => "the probe can't tell".to_owned(),
                Err(failure) => format!("the probe failed: {failure}"),
            }),
            (true, false) => match self.made_up(task, (probe, output), &context)? {
                Ok(output) => Ok(Found::Done(output)),
                Err(failure) => nothing(format!("the probe's 'output': {}", failure.message)),
            },
        }
    }

    /// What the call gave, as its probe tells it: later steps rely on its being one of the tool's outputs.
    fn made_up(
        &mut self,
        task: &Task,
        (probe, given): (&Probe, Data),
        context: &crate::expr::Context,
    ) -> Evaluated<Data> {
        let value = match &probe.output {
            None => Value::clone(&*self.json(&given)?),
            Some(output) => match evaluated(output.value(context))? {
                Ok(value) => value,
                Err(failure) => return Ok(Err(failure)),
            },
        };
        let def = self.flow.tools.get(&task.spec.tool);
        let schema = def.and_then(|def| Schema::compile(&def.output).ok());
        if let Some(violation) = schema.and_then(|s| s.violations(&value).first().cloned()) {
            let message = format!("it is not one of '{}': {violation}", task.spec.tool);
            return Ok(Err(Failure::certain(Code::InvalidInput, message)));
        }
        Ok(self.keep(value))
    }
}

/// What a probe's expressions know of the call in doubt.
fn effect(call: &TaskSpec) -> Val {
    Val::Object(Arc::new(BTreeMap::from([
        ("key".to_owned(), Val::Data(Data::from(json!(call.key)))),
        ("args".to_owned(), Val::Data(call.args.clone())),
    ])))
}
