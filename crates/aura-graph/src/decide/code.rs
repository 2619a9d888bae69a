//! Functions: what they begin with, what they ask for, and what they give back.
//!
//! A function is a pure task: nothing that it does reaches outside, or comes in, except by what it asks for. Each of its
//! calls is recorded before it is answered. A call of a tool and a pause are steps of their own at
//! `STEP[NUMBER]/call`, with all that a step has: intent, class, retries, doubt, a timer.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::{EventBody, Output, Purpose, StepStarted, Timer, Work as Opened};
use aura_core::hash::Hash;
use aura_core::journal::{self, Asked, JournalRecorded};
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::task::{OnUnknown, Retry, TaskSpec};
use serde_json::{Value, json};

use super::begin::{call_hash, key_hash};
use super::turn::{Evaluated, Step, Stop, Work, evaluated};
use super::view::View;
use crate::definition::{CALL, Function, Kind, Node};
use crate::expr::Context;
use crate::val::Val;

impl Work<'_, '_> {
    /// Opens a function: it sees the variables as they are now, however often it runs.
    pub(super) fn code(
        &mut self,
        step: &StepPath,
        node: &Node,
        function: &Function,
        context: &Context,
    ) -> Evaluated<()> {
        let rendered = match evaluated(function.with.render(context))? {
            Ok(rendered) => rendered,
            Err(failure) => return Ok(Err(failure)),
        };
        if !rendered.secrets.is_empty() {
            let message = "a function takes no secret; only parameters of tools do";
            return Ok(Err(Failure::certain(Code::InvalidInput, message)));
        }
        let vars = self.run.vars.iter().map(|(name, val)| (name.clone(), val.clone())).collect();
        let state = self.gather(&Val::Object(Arc::new(vars)))?;
        let args = json!({ "state": state, "input": rendered.value });
        let call = call_hash(&function.name, Hash::ZERO, &args, &[]);
        let args = match self.keep(args) {
            Ok(args) => args,
            Err(failure) => return Ok(Err(failure)),
        };
        let spec = TaskSpec {
            tool: function.name.clone(),
            definition: Hash::ZERO,
            class: EffectClass::Pure,
            args,
            secrets: Vec::new(),
            call,
            key: key_hash(self.run.id.0.as_bytes(), step, call),
            timeout_ms: node.timeout_ms.unwrap_or(limits::ATTEMPT_MS),
            // A second try would make its calls a second time; each of them has tries of its own.
            retry: Retry { max_attempts: 1, ..Retry::default() },
            on_unknown: OnUnknown::default(),
            key_ttl_ms: None,
            heartbeat_ms: None,
            probe: None,
            idempotency: None,
            cost: None,
        };
        self.started(step, node, Opened::Code(Arc::new(spec)))?;
        self.open.push(step.clone());
        Ok(Ok(()))
    }

    /// A function asks for something.
    pub(super) fn journal(
        &mut self,
        step: &StepPath,
        number: u64,
        asked: &Asked,
        call: Hash,
    ) -> Step {
        let node = self.run.node(step).filter(|node| node.failing.is_none());
        let bodies = node.and_then(|node| node.bodies()).ok_or(Stop::Nothing)?;
        let next = bodies.calls.size() as u64 + 1;
        let is_code = matches!(bodies.work, Opened::Code(_));
        if !is_code || bodies.call_open() || number != next || self.stops(step) {
            return Err(Stop::Nothing);
        }
        if number > limits::JOURNAL_CALLS {
            let what = format!("a function makes at most {} calls", limits::JOURNAL_CALLS);
            return Err(Problem::new(Code::LimitExceeded, what).next("make it two nodes").into());
        }
        let asked = match asked {
            Asked::Tool { tool, args } => {
                Asked::Tool { tool: tool.clone(), args: self.take_in(args)? }
            }
            other => other.clone(),
        };
        let seed = self.run.started.as_ref().map_or(Hash::ZERO, |started| started.seed);
        let draw = journal::draw(seed, step, number);
        let answer = match &asked {
            Asked::Now => Some(Data::from(json!(self.now.0))),
            Asked::Random => Some(Data::from(json!(journal::random(draw)))),
            Asked::Uuid => Some(Data::from(json!(journal::uuid(draw)))),
            Asked::Sleep { .. } | Asked::Tool { .. } => None,
        };
        let recorded = JournalRecorded { number, asked: asked.clone(), call, answer };
        self.emit(step, EventBody::JournalRecorded(recorded))?;
        let place = step.body(number).node(CALL, 1);
        match asked {
            Asked::Sleep { ms } => {
                let work = Opened::Sleep;
                let started = StepStarted { work, deadline: None, budget: None };
                self.emit(&place, EventBody::StepStarted(Box::new(started)))?;
                let timer = Timer { purpose: Purpose::Sleep, due: self.now.plus(ms) };
                self.emit(&place, EventBody::TimerSet(timer))
            }
            Asked::Tool { tool, args } => self.journal_call(step, &place, &tool, &args),
            Asked::Now | Asked::Random | Asked::Uuid => Ok(()),
        }
    }

    fn journal_call(&mut self, step: &StepPath, place: &StepPath, tool: &str, args: &Data) -> Step {
        let flow = Arc::clone(self.flow);
        let Some(Kind::Code(function)) = flow.node_at(step).map(|node| &node.kind) else {
            return Ok(());
        };
        if !function.tools.iter().any(|allowed| allowed == tool) {
            let message = format!("'{tool}' is not among the 'tools' of the node");
            return self.fail(place, Failure::certain(Code::Forbidden, message));
        }
        let args = Value::clone(&*self.json(args)?);
        let Some(node) = function.calls.node(CALL) else { return Ok(()) };
        match self.call(place, node, tool, (args, Vec::new())) {
            Ok(spec) => self.open_task(place, node, spec),
            Err(failure) => self.fail(place, failure),
        }
    }

    /// A function ended well: `{output, vars, next}`.
    pub(super) fn returned(&mut self, step: &StepPath, data: &Data) -> Step {
        let report = self.json(data)?;
        let Some(output) = report.get("output") else {
            let message = "what the function gives back is too large";
            return self.fail(step, Failure::certain(Code::LimitExceeded, message));
        };
        let mut vars = BTreeMap::new();
        for (name, value) in report["vars"].as_object().into_iter().flatten() {
            if !self.run.vars.contains_key(name) {
                let message = format!("the function sets '{name}', which is no variable here");
                return self.fail(step, Failure::certain(Code::InvalidInput, message));
            }
            match self.keep(value.clone()) {
                Ok(data) => vars.insert(name.clone(), data),
                Err(failure) => return self.fail(step, failure),
            };
        }
        let output = match self.keep(output.clone()) {
            Ok(output) => output,
            Err(failure) => return self.fail(step, failure),
        };
        let body = step.parent().unwrap_or_else(StepPath::root);
        let shown = Val::Data(output.clone());
        let mut view = View::new(&self.run, self.flow, &body).ending(step, shown, None);
        view.set_vars(&vars);
        let next = match report["next"].as_str() {
            Some(to) => self.route_to(step, to)?,
            None => self.route(step, view.clone())?,
        };
        self.complete_to(step, (Output::Value(output), vars), next, view)
    }
}
