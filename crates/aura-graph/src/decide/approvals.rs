//! Approvals: asking people, taking their answers, and holding back a call that is not the one they approved.

use std::sync::Arc;

use aura_core::canonical;
use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure, Problem};
use aura_core::event::{Answer, ApprovalMismatched, ApprovalRequested, EventBody, Work as Opened};
use aura_core::hash::Hash;
use aura_core::input::ApprovalVerdict;
use aura_core::limits;
use aura_core::path::StepPath;
use serde_json::{Map, Value, json};

use super::answer::short;
use super::turn::{Evaluated, Step, Stop, Work, evaluated};
use crate::definition::{Approval, Body, Kind, Node};
use crate::expr::Context;
use crate::state::{Asked, Status, Task};
use crate::val::Val;

/// What the approvals of a call say about it.
enum Clearance {
    /// All of them approved exactly this call, or were not asked.
    Given,
    /// One of them did not end with a yes.
    Refused(Failure),
    /// The approval node at this place approved another call.
    Mismatch { by: usize, approved: Hash },
}

impl Work<'_, '_> {
    /// An approval node is reached.
    pub(super) fn ask(
        &mut self,
        step: &StepPath,
        list: &Arc<Body>,
        (node, approval): (&Node, &Approval),
        context: &Context,
    ) -> Evaluated<()> {
        match self.asking(step, list, (node, approval), context)? {
            Ok(request) => {
                self.started(step, node, Opened::Approval)?;
                self.emit(step, EventBody::ApprovalRequested(request)).map(Ok)
            }
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// What people are asked at an approval node.
    pub(super) fn asking(
        &mut self,
        step: &StepPath,
        list: &Arc<Body>,
        (node, approval): (&Node, &Approval),
        context: &Context,
    ) -> Evaluated<ApprovalRequested> {
        let body = step.parent().unwrap_or_else(StepPath::root);
        let mut shows = Map::new();
        let mut target = None;
        if let Some(place) = approval.of
            && let Kind::Tool { tool, with } = &list.nodes[place].kind
        {
            let rendered = match evaluated(with.render(context))? {
                Ok(rendered) => rendered,
                Err(failure) => return Ok(Err(failure)),
            };
            shows = call_shown(tool, rendered.value.clone());
            let path = self.visit(&body, &list.nodes[place].id);
            let with = (rendered.value, rendered.secrets);
            match self.call(&path, &list.nodes[place], tool, with) {
                Ok(spec) => target = Some((path, spec.call)),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        let of = approval.of.map(|place| list.nodes[place].id.clone());
        let message = match question((node, approval), of.as_deref(), context, &mut shows)? {
            Ok(message) => message,
            Err(failure) => return Ok(Err(failure)),
        };
        let (place, call) =
            target.unwrap_or_else(|| (step.clone(), question_hash(step, &message, &shows)));
        let action = action_hash(self.run.id.0.as_bytes(), &place, call);
        let shows = match self.keep(Value::Object(shows)) {
            Ok(shows) => shows,
            Err(failure) => return Ok(Err(failure)),
        };
        let request = self.request(approval, action, message, shows);
        Ok(Ok(ApprovalRequested { of, ..request }))
    }

    fn request(
        &self,
        approval: &Approval,
        action: Hash,
        message: String,
        shows: Data,
    ) -> ApprovalRequested {
        ApprovalRequested {
            action,
            of: None,
            again: None,
            raise: None,
            message,
            shows,
            roles: approval.roles.clone(),
            quorum: approval.quorum,
            expires: approval.expires_ms.map(|span| self.now.plus(span)),
        }
    }

    /// Lets a call whose step has started go on, unless it is not what was approved: then it fails, or people are
    /// asked about what it is now.
    pub(super) fn release(&mut self, step: &StepPath) -> Step {
        let Some(task) = self.run.tasks.get(step).cloned() else { return Ok(()) };
        let (list, place) = self.node_def(step)?;
        match self.clearance(step, &list, place, &task) {
            Clearance::Refused(failure) => self.fail(step, failure),
            Clearance::Mismatch { by, approved } => {
                self.ask_again(step, &list.nodes[by], approved, &task)
            }
            Clearance::Given if task.spec.class == EffectClass::Pure => {
                self.open.push(step.clone());
                Ok(())
            }
            Clearance::Given => self.try_intent(step, task.attempt),
        }
    }

    /// Recomputes what was to be approved for this call. Fails closed.
    fn clearance(&self, step: &StepPath, list: &Body, place: usize, task: &Task) -> Clearance {
        let body = step.parent().unwrap_or_else(StepPath::root);
        let wanted = action_hash(self.run.id.0.as_bytes(), step, task.spec.call);
        for by in &list.nodes[place].approved_by {
            let node = &list.nodes[*by];
            let state = self.run.scope(&body).and_then(|scope| scope.nodes.get(&node.id));
            // Skipped, or on a route not taken: nobody was to be asked.
            let Some(state) = state else { continue };
            if matches!(state.status, Status::Skipped | Status::Dead)
                || task.cleared.contains(&node.id)
            {
                continue;
            }
            if state.status != Status::Completed {
                let message = format!("'{}' did not end with a yes", node.id);
                return Clearance::Refused(Failure::certain(Code::ApprovalDenied, message));
            }
            let granted = match &state.output {
                Val::Data(data) => data.as_json().and_then(|output| output["action"].as_str()),
                Val::List(_) | Val::Object(_) => None,
            };
            let approved = granted.and_then(|hash| hash.parse().ok()).unwrap_or(Hash::ZERO);
            if approved != wanted {
                return Clearance::Mismatch { by: *by, approved };
            }
        }
        Clearance::Given
    }

    /// A call is not the one that was approved: holds it back, and asks the same people about what it is now.
    fn ask_again(&mut self, step: &StepPath, asker: &Node, approved: Hash, task: &Task) -> Step {
        let Kind::Approval(approval) = &asker.kind else { return Ok(()) };
        let wanted = action_hash(self.run.id.0.as_bytes(), step, task.spec.call);
        let mismatched = ApprovalMismatched { by: asker.id.clone(), approved, wanted };
        self.emit(step, EventBody::ApprovalMismatched(mismatched))?;
        let body = step.parent().unwrap_or_else(StepPath::root);
        let context = self.context(&body);
        let of = step.last().map(|last| last.id.to_owned());
        let mut shows = call_shown(&task.spec.tool, Value::clone(&*self.json(&task.spec.args)?));
        let message = match question((asker, approval), of.as_deref(), &context, &mut shows)? {
            Ok(message) => message,
            Err(failure) => return self.fail(step, failure),
        };
        let shows = match self.keep(Value::Object(shows)) {
            Ok(shows) => shows,
            Err(failure) => return self.fail(step, failure),
        };
        let request = self.request(approval, wanted, message, shows);
        let request = ApprovalRequested { of, again: Some(asker.id.clone()), ..request };
        self.emit(step, EventBody::ApprovalRequested(request))
    }

    /// A person answers.
    pub(super) fn answer(
        &mut self,
        step: &StepPath,
        verdict: ApprovalVerdict,
        action: Option<Hash>,
        (actor, reason): (&str, Option<&str>),
    ) -> Step {
        let asked = self.asked(step, action)?;
        short([actor])?;
        if reason.is_some_and(|reason| reason.len() > limits::MESSAGE_BYTES) {
            let what = format!("the reason is longer than {} bytes", limits::MESSAGE_BYTES);
            return Err(Problem::new(Code::LimitExceeded, what).next("say it in less").into());
        }
        let answer = Answer {
            action: asked.request.action,
            actor: actor.to_owned(),
            // Nobody is authenticated: whoever may write to the store holds every role.
            roles: asked.request.roles.clone(),
            authenticated: false,
            reason: reason.map(str::to_owned),
        };
        match verdict {
            ApprovalVerdict::Granted if asked.has(actor) => Err(Stop::Nothing),
            ApprovalVerdict::Granted => {
                self.emit(step, EventBody::ApprovalGranted(answer.clone()))?;
                if self.run.approvals.contains_key(step) {
                    return Ok(());
                }
                if let Some(raise) = asked.request.raise {
                    return self.more_granted(step, raise);
                }
                if self.run.tasks.contains_key(step) {
                    return self.release(step);
                }
                let output = granted_output(&asked, &answer);
                self.complete_value(step, Data::from(output))
            }
            ApprovalVerdict::Denied => {
                let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                let message = format!("{actor} said no{why}");
                self.emit(step, EventBody::ApprovalDenied(answer))?;
                if let Some(raise) = asked.request.raise {
                    return self.more_denied(step, raise);
                }
                self.fail(step, Failure::certain(Code::ApprovalDenied, message))
            }
        }
    }

    /// The question that is open at a step, if this is an answer to it.
    fn asked(&self, step: &StepPath, action: Option<Hash>) -> Step<Arc<Asked>> {
        let Some(asked) = self.run.approvals.get(step).cloned() else {
            let what = format!("no approval is asked for at '{step}'");
            let next = format!("aura why {}", self.run.id);
            return Err(Problem::new(Code::NotWaiting, what).next(next).into());
        };
        if asked.request.expires.is_some_and(|expires| expires <= self.now) {
            let next = format!("aura resume {}", self.run.id);
            return Err(Problem::new(Code::ApprovalExpired, "the approval has expired")
                .kept("the run as it is; it goes on when somebody performs it")
                .next(next)
                .into());
        }
        if action.is_some_and(|action| action != asked.request.action) {
            let what = "what is asked now is not what was shown".to_owned();
            let next = format!("aura why {}", self.run.id);
            return Err(Problem::new(Code::ApprovalMismatch, what)
                .kept("the run as it is; the answer counts for nothing")
                .next(next)
                .into());
        }
        Ok(asked)
    }
}

/// What is shown of a call.
fn call_shown(tool: &str, with: Value) -> Map<String, Value> {
    Map::from_iter([("tool".to_owned(), json!(tool)), ("with".to_owned(), with)])
}

/// The question of an approval node; what it wants to have shown is added to `shows`.
fn question(
    (node, approval): (&Node, &Approval),
    of: Option<&str>,
    context: &Context,
    shows: &mut Map<String, Value>,
) -> Evaluated<String> {
    if let Some(show) = &approval.show {
        match evaluated(show.value(context))? {
            Ok(value) => shows.insert("show".to_owned(), value),
            Err(failure) => return Ok(Err(failure)),
        };
    }
    let Some(message) = &approval.message else {
        return Ok(Ok(match of {
            Some(of) => format!("May '{of}' run?"),
            None => format!("May the run go on at '{}'?", node.id),
        }));
    };
    Ok(match evaluated(message.value(context))? {
        Ok(Value::String(text)) => Ok(text),
        Ok(other) => Ok(canonical::to_string(&other)),
        Err(failure) => Err(failure),
    })
}

/// The output of an approval node: who said yes, the last one first named.
fn granted_output(asked: &Asked, last: &Answer) -> Value {
    let answers = asked.granted.iter().chain([last]);
    let answers: Vec<_> =
        answers.map(|answer| json!({ "actor": answer.actor, "reason": answer.reason })).collect();
    json!({
        "granted": true,
        "action": last.action,
        "actor": last.actor,
        "reason": last.reason,
        "answers": answers,
    })
}

/// Hash of an action that is approved: the call at one visit of its step, run and policy (none is loaded, so it is
/// zero).
pub(super) fn action_hash(run: &[u8], step: &StepPath, call: Hash) -> Hash {
    Hash::of_parts(&[&call.0, step.as_str().as_bytes(), run, &Hash::ZERO.0])
}

pub(super) fn question_hash(step: &StepPath, message: &str, shows: &Map<String, Value>) -> Hash {
    let shows = canonical::to_vec(&Value::Object(shows.clone()));
    Hash::of_parts(&[step.as_str().as_bytes(), message.as_bytes(), &shows])
}
