//! Reaching a node: whether it runs at all, what it opens, and the call that it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::canonical;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::event::{
    EventBody, Output, Purpose, SkipReason, StepStarted, Timer, Work as Opened,
};
use aura_core::hash::Hash;
use aura_core::id::TenantId;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::task::{Scope, SecretSlot, TaskSpec};
use aura_core::time::parse_duration;
use serde_json::{Value, json};

use super::turn::{Evaluated, Job, Step, Work, evaluated};
use super::view::View;
use crate::definition::{Body, Case, Kind, Loop, LoopMode, Map, Node, Verify};
use crate::expr::{Context, Template};
use crate::state::Bodies;
use crate::val::Val;

/// The tool that does the work of `verify` nodes.
const VERIFY: &str = "verify";

impl Work<'_, '_> {
    /// A node is ready: skips it, or opens what it asks for.
    pub(super) fn begin(&mut self, body: &StepPath, list: &Arc<Body>, place: usize) -> Step {
        let node = &list.nodes[place];
        let step = self.visit(body, &node.id);
        if self.run.steps >= limits::RUN_STEPS {
            let message =
                format!("the run has made {} steps, which is its limit", limits::RUN_STEPS);
            return self.fail(&step, Failure::certain(Code::LimitExceeded, message));
        }
        let context = self.context(body);
        if let Some(when) = &node.when {
            match evaluated(when.holds(&context))? {
                Ok(true) => {}
                Ok(false) => return self.pass_over(body, list, place),
                Err(failure) => return self.fail(&step, failure),
            }
        }
        if !self.may_start(&step)? {
            return Ok(());
        }
        match self.open(&step, list, place, context)? {
            Ok(()) => Ok(()),
            Err(failure) => self.fail(&step, failure),
        }
    }

    /// `when` does not hold: forward routes of `next` are still chosen, jumps back are not taken.
    fn pass_over(&mut self, body: &StepPath, list: &Arc<Body>, place: usize) -> Step {
        let step = self.visit(body, &list.nodes[place].id);
        let view = View::new(&self.run, self.flow, body).skipping(&step);
        let next = match self.route(&step, view)? {
            Ok(next) => next.filter(|next| next.again.is_empty()),
            Err(failure) => return self.fail(&step, failure),
        };
        self.skip(body, &list.nodes[place].id, SkipReason::When, next)
    }

    fn open(
        &mut self,
        step: &StepPath,
        list: &Arc<Body>,
        place: usize,
        seen: Context,
    ) -> Evaluated<()> {
        let node = &list.nodes[place];
        let context = &seen;
        match &node.kind {
            Kind::Tool { tool, with } => {
                let rendered = match evaluated(with.render(context))? {
                    Ok(rendered) => rendered,
                    Err(failure) => return Ok(Err(failure)),
                };
                let mut call = match self.call(step, node, tool, (rendered.value, rendered.secrets))
                {
                    Ok(call) => call,
                    Err(failure) => return Ok(Err(failure)),
                };
                if let Err(failure) = self.can_be_undone(node) {
                    return Ok(Err(failure));
                }
                call.probe = match self.probe_of(step, node, &call)? {
                    Ok(probe) => probe,
                    Err(failure) => return Ok(Err(failure)),
                };
                call.cost = match Self::cost_of(node, &call, context)? {
                    Ok(cost) => cost,
                    Err(failure) => return Ok(Err(failure)),
                };
                // What nobody else holds is changed in place.
                drop(seen);
                self.open_task(step, node, call).map(Ok)
            }
            Kind::Code(code) => self.code(step, node, code, context),
            Kind::Verify(verify) => self.verify(step, node, verify, context),
            Kind::Set(entries) => self.set(step, node, entries, context),
            Kind::Switch { cases, otherwise } => {
                self.switch(step, node, (cases, otherwise.is_some()), context)
            }
            Kind::Parallel(branches) => {
                let branches: Vec<_> = branches.iter().map(|b| b.name.clone()).collect();
                self.started(step, node, Opened::Parallel { branches: branches.clone() })?;
                for branch in &branches {
                    self.later(Job::Body(step.body(branch)));
                }
                Ok(Ok(()))
            }
            Kind::Map(map) => self.map(step, node, map, context),
            Kind::Loop(again) => self.repeat(step, node, again, context),
            Kind::Sleep(sleep) => match span(&sleep.span, context)? {
                Ok(span_ms) => self.wait_for(step, node, Opened::Sleep, Some(span_ms)).map(Ok),
                Err(failure) => Ok(Err(failure)),
            },
            Kind::Wait(wait) => {
                let signal = wait.signal.clone();
                let kept = self.run.signals.first(&signal).map(|(_, payload)| payload.clone());
                let timeout = wait.timeout_ms.filter(|_| kept.is_none());
                self.wait_for(step, node, Opened::Wait { signal }, timeout)?;
                match kept {
                    Some(payload) => self.complete_value(step, payload).map(Ok),
                    None => Ok(Ok(())),
                }
            }
            Kind::Approval(approval) => self.ask(step, list, (node, approval), context),
            Kind::Child(child) => self.start_child(step, node, child, context),
            Kind::Continue(input) => self.go_on_anew(step, node, input.as_ref(), context),
        }
    }

    pub(super) fn started(&mut self, step: &StepPath, node: &Node, work: Opened) -> Step {
        let deadline = node.deadline_ms.map(|span| self.now.plus(span));
        let budget = node.budget;
        self.emit(step, EventBody::StepStarted(Box::new(StepStarted { work, deadline, budget })))
    }

    fn wait_for(
        &mut self,
        step: &StepPath,
        node: &Node,
        work: Opened,
        span_ms: Option<u64>,
    ) -> Step {
        let purpose = if work == Opened::Sleep { Purpose::Sleep } else { Purpose::Wait };
        self.started(step, node, work)?;
        match span_ms {
            Some(span) => {
                let due = self.now.plus(span);
                self.emit(step, EventBody::TimerSet(Timer { purpose, due }))
            }
            None => Ok(()),
        }
    }

    /// The call of a task, whole. `with` holds the arguments and the places of secrets in them.
    pub(super) fn call(
        &mut self,
        step: &StepPath,
        node: &Node,
        tool: &str,
        with: (Value, Vec<SecretSlot>),
    ) -> Result<TaskSpec, Failure> {
        let (args, secrets) = with;
        let def = self.flow.tools.get(tool);
        let definition = self.flow.definitions.get(tool).copied().unwrap_or(Hash::ZERO);
        let natural = def.map_or(EffectClass::Irreversible, |def| def.class.class_of(&args));
        let class = match node.effect.unwrap_or(natural) {
            // Whether its result is at hand is asked where slots are asked for, so it takes the way of a read.
            EffectClass::Pure if node.idempotency.is_some() => EffectClass::Read,
            class => class,
        };
        // A call whose tool is idempotent by nature may be sent again at any time; one that is so only by its key,
        // only while the other side can be expected to remember the key.
        let by_key = class == EffectClass::Idempotent && natural != EffectClass::Idempotent;
        let call = call_hash(tool, definition, &args, &secrets);
        Ok(TaskSpec {
            tool: tool.to_owned(),
            definition,
            class,
            args: self.keep(args)?,
            secrets,
            call,
            key: match node.idempotency {
                None => key_hash(self.run.id.0.as_bytes(), step, call),
                // The same call is the same effect, whichever step makes it.
                Some(idempotency) => {
                    key_hash(&scope_id(idempotency.scope, &self.flow.name), &StepPath::root(), call)
                }
            },
            timeout_ms: node.timeout_ms.unwrap_or(limits::ATTEMPT_MS),
            heartbeat_ms: node.heartbeat_ms,
            retry: node.retry,
            on_unknown: node.on_unknown,
            key_ttl_ms: by_key.then_some(limits::KEY_TTL_MS),
            probe: None,
            idempotency: node.idempotency,
            cost: None,
        })
    }

    pub(super) fn open_task(&mut self, step: &StepPath, node: &Node, spec: TaskSpec) -> Step {
        let pure = spec.class == EffectClass::Pure;
        self.started(step, node, Opened::Task(Arc::new(spec)))?;
        if !node.approved_by.is_empty() {
            return self.release(step);
        }
        if pure {
            self.open.push(step.clone());
            return Ok(());
        }
        self.try_intent(step, 1)
    }

    fn verify(
        &mut self,
        step: &StepPath,
        node: &Node,
        verify: &Verify,
        context: &Context,
    ) -> Evaluated<()> {
        let value = match evaluated(verify.value.value(context))? {
            Ok(value) => value,
            Err(failure) => return Ok(Err(failure)),
        };
        let body = step.parent().unwrap_or_else(StepPath::root);
        let shown = Val::Data(value.clone().into());
        let view = View::new(&self.run, self.flow, &body).with("value", shown);
        let context = self.context_with(view);
        let mut checks = Vec::with_capacity(verify.checks.len());
        for check in &verify.checks {
            // A check that can't be evaluated did not pass: verification reports, it does not break.
            let (passed, message) = match evaluated(check.that.holds(&context))? {
                Ok(passed) => (passed, None),
                Err(failure) => (false, Some(failure.message)),
            };
            let mut entry = json!({ "name": check.name, "weight": check.weight, "passed": passed });
            if let Some(message) = message {
                entry["message"] = Value::String(message);
            }
            checks.push(entry);
        }
        let mut args = json!({ "value": value, "checks": checks, "min_score": verify.min_score });
        if let Some(schema) = &verify.schema {
            args["schema"] = schema.clone();
        }
        match self.call(step, node, VERIFY, (args, Vec::new())) {
            Ok(spec) => self.open_task(step, node, spec).map(Ok),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn set(
        &mut self,
        step: &StepPath,
        node: &Node,
        entries: &[(String, Template)],
        context: &Context,
    ) -> Evaluated<()> {
        let mut vars = BTreeMap::new();
        for (name, template) in entries {
            match evaluated(template.value(context))?.and_then(|value| self.keep(value)) {
                Ok(data) => vars.insert(name.clone(), data),
                Err(failure) => return Ok(Err(failure)),
            };
        }
        self.started(step, node, Opened::Set)?;
        let val = Val::Object(Arc::new(
            vars.iter().map(|(name, data)| (name.clone(), Val::Data(data.clone()))).collect(),
        ));
        self.complete_with(step, Output::Vars, val, vars).map(Ok)
    }

    fn switch(
        &mut self,
        step: &StepPath,
        node: &Node,
        (cases, otherwise): (&[Case], bool),
        context: &Context,
    ) -> Evaluated<()> {
        let mut route = otherwise.then(|| "else".to_owned());
        for (number, case) in cases.iter().enumerate() {
            match evaluated(case.when.holds(context))? {
                Ok(false) => {}
                Ok(true) => {
                    route = Some(number.to_string());
                    break;
                }
                Err(failure) => return Ok(Err(failure)),
            }
        }
        self.started(step, node, Opened::Switch { route: route.clone() })?;
        match route {
            Some(route) => self.later(Job::Body(step.body(route))),
            None => self.complete(step, Output::Bodies, Val::null())?,
        }
        Ok(Ok(()))
    }

    fn map(&mut self, step: &StepPath, node: &Node, map: &Map, context: &Context) -> Evaluated<()> {
        let items = match evaluated(map.items.value(context))? {
            Ok(items) => items,
            Err(failure) => return Ok(Err(failure)),
        };
        let Value::Array(list) = &items else {
            let message = format!("the items of a map must be a list, found {}", kind(&items));
            return Ok(Err(Failure::certain(Code::InvalidInput, message)));
        };
        let count = list.len();
        if count > limits::MAP_ITEMS {
            let message = format!("{count} items, but a map takes at most {}", limits::MAP_ITEMS);
            return Ok(Err(Failure::certain(Code::LimitExceeded, message)));
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let items = match self.keep(items) {
            Ok(items) => items,
            Err(failure) => return Ok(Err(failure)),
        };
        let (concurrency, collect) = (map.concurrency, map.collect);
        self.started(step, node, Opened::Map { items, count, concurrency, collect })?;
        if count == 0 {
            let empty = Val::List(Arc::default());
            return self.complete(step, Output::Bodies, empty).map(Ok);
        }
        self.later(Job::Step(step.clone()));
        Ok(Ok(()))
    }

    fn repeat(
        &mut self,
        step: &StepPath,
        node: &Node,
        again: &Loop,
        context: &Context,
    ) -> Evaluated<()> {
        let mut times = None;
        let begins = match &again.mode {
            LoopMode::Until(_) => Ok(true),
            LoopMode::Times(template) => match evaluated(template.value(context))? {
                Ok(value) => count(&value).map(|n| {
                    times = Some(n);
                    n > 0
                }),
                Err(failure) => Err(failure),
            },
            LoopMode::While(condition) => {
                let body = step.parent().unwrap_or_else(StepPath::root);
                let view = View::new(&self.run, self.flow, &body).looping(0, Val::null());
                evaluated(condition.holds(&self.context_with(view)))?
            }
        };
        let begins = match begins {
            Ok(begins) => begins,
            Err(failure) => return Ok(Err(failure)),
        };
        self.started(step, node, Opened::Loop { times, collect: again.collect })?;
        if begins {
            self.later(Job::Step(step.clone()));
            return Ok(Ok(()));
        }
        let val = self.run.node(step).and_then(|node| node.bodies()).map(Bodies::gather);
        self.complete(step, Output::Bodies, val.unwrap_or_default()).map(Ok)
    }
}

/// `call`: SHA-256 over tool, definition and canonical arguments, with secrets as references.
pub(super) fn call_hash(
    tool: &str,
    definition: Hash,
    args: &Value,
    secrets: &[SecretSlot],
) -> Hash {
    let args = canonical::to_vec(args);
    let secrets = match secrets {
        [] => b"[]".to_vec(),
        secrets => canonical::to_vec(&json!(secrets)),
    };
    Hash::of_parts(&[tool.as_bytes(), &definition.0, &args, &secrets])
}

/// `key`: SHA-256 over the scope, the step's path and the call; the same on every attempt.
pub(super) fn key_hash(scope: &[u8], step: &StepPath, call: Hash) -> Hash {
    Hash::of_parts(&[scope, step.as_str().as_bytes(), &call.0])
}

/// What keys of a scope that is wider than a run begin with.
fn scope_id(scope: Scope, flow: &str) -> [u8; 32] {
    let tenant = TenantId::LOCAL.0;
    match scope {
        Scope::Flow => Hash::of_parts(&[tenant.as_bytes(), flow.as_bytes()]).0,
        Scope::Tenant => Hash::of_parts(&[tenant.as_bytes()]).0,
    }
}

fn span(template: &Template, context: &Context) -> Evaluated<u64> {
    Ok(match evaluated(template.value(context))? {
        Ok(Value::String(text)) => {
            parse_duration(&text).map_err(|e| Failure::certain(Code::InvalidInput, e.to_string()))
        }
        Ok(value) => match value.as_u64().filter(|ms| *ms <= limits::DURATION_MAX_MS) {
            Some(ms) => Ok(ms),
            None => Err(Failure::certain(
                Code::InvalidInput,
                format!("a duration such as 5s or a number of milliseconds, not {value}"),
            )),
        },
        Err(failure) => Err(failure),
    })
}

fn count(value: &Value) -> Result<u64, Failure> {
    match value.as_u64() {
        Some(n) if n <= limits::LOOP_ITERATIONS => Ok(n),
        _ => Err(Failure::certain(
            Code::InvalidInput,
            format!("times must be a whole number from 0 to {}", limits::LOOP_ITERATIONS),
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
