//! Lines for files, pipes and scripts: one per fact that a person would want to know, in a form that stays.

use aura_core::data::Data;
use aura_core::event::{Event, EventBody, OnFailure, Purpose, SkipReason, StepFailed, Work};
use aura_core::time::{Millis, Span};

use super::model::Model;
use crate::context::Context;
use crate::output::{clock_time, local_time, plain};

/// Prints `HH:MM:SS.mmm type step details`, if the fact is worth a line.
pub(crate) fn line(context: &Context, model: &Model, at: Millis, event: &Event) {
    if context.out.closed() {
        return;
    }
    let Some(details) = details(model, at, event) else { return };
    let step = event.step.as_ref().map(|step| format!(" {step}")).unwrap_or_default();
    let gap = if details.is_empty() { "" } else { " " };
    let kind = event.body.kind();
    context.out.line(format_args!("{} {kind}{step}{gap}{}", clock_time(at), plain(&details)));
}

/// What is worth telling beside type and step; `None` if the fact is not worth a line.
fn details(model: &Model, at: Millis, event: &Event) -> Option<String> {
    let body = event.step.as_ref().is_some_and(aura_core::StepPath::is_body);
    if body && matches!(event.body, EventBody::StepCompleted(_)) {
        // The bodies of a node are told by the steps within them.
        return None;
    }
    Some(match &event.body {
        EventBody::RunStarted(started) => {
            format!("{} {}", started.flow.name, started.flow.hash.short())
        }
        EventBody::RunForked(_)
        | EventBody::EffectReused(_)
        | EventBody::EffectWithheld(_)
        | EventBody::BudgetExceeded(_)
        | EventBody::BudgetRaised(_) => crate::describe::event(&event.body),
        EventBody::StepStarted(data) => started(&data.work),
        EventBody::StepCompleted(_) => took(model, at, event),
        EventBody::StepFailed(data) => step_failed(model, at, event, data),
        EventBody::StepSkipped(data) => match data.reason {
            SkipReason::When => "its condition does not hold".to_owned(),
            SkipReason::Dead => "no route leads to it".to_owned(),
        },
        EventBody::StepRetrying(data) => {
            let attempt = event.attempt.unwrap_or_default();
            format!("attempt {attempt} in {}", Span(data.until.since(at)))
        }
        EventBody::ProbeStarted(data) => format!("{} looks whether it happened", data.tool),
        EventBody::ToolFailed(_)
        | EventBody::EffectUnknown(_)
        | EventBody::EffectReconciled(_)
        | EventBody::EffectSettled(_) => of_effect(&event.body),
        EventBody::TimerSet(timer) if timer.purpose == Purpose::Sleep => {
            format!("until {}", local_time(timer.due))
        }
        EventBody::SignalReceived(data) => format!("{} from {}", data.name, data.actor),
        EventBody::ApprovalRequested(data) => data.message.clone(),
        EventBody::ApprovalMismatched(data) => format!("'{}' approved another call", data.by),
        EventBody::ApprovalGranted(answer) | EventBody::ApprovalDenied(answer) => {
            let why = answer.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
            format!("by {}{why}", answer.actor)
        }
        EventBody::ApprovalExpired(_)
        | EventBody::RunCancelled(_)
        | EventBody::StepCompensated(_) => String::new(),
        EventBody::RunCompensating(data) => {
            data.error.as_ref().map(ToString::to_string).unwrap_or_default()
        }
        EventBody::CompensationStarted(_) | EventBody::CompensationFailed(_) => {
            of_effect(&event.body)
        }
        EventBody::VerificationCompleted(data) => {
            let passed = if data.passed { "passed" } else { "failed" };
            format!("{passed} with {} of 100, at least {}", data.score, data.min_score)
        }
        EventBody::ArtifactCreated(data) => data.artifact.location.clone(),
        EventBody::PolicyViolation(data) => format!("{}: {}", data.tool, data.reason),
        EventBody::RunCancelling(request)
        | EventBody::RunPaused(request)
        | EventBody::RunResumed(request) => format!("by {}", request.actor),
        // The end of the run is told with its output, and a call by what its step becomes.
        EventBody::BudgetReserved(_) | EventBody::BudgetSettled(_) => return None,
        body => return family(body),
    })
}

fn step_failed(model: &Model, at: Millis, event: &Event, data: &StepFailed) -> String {
    let then = match &data.then {
        OnFailure::Fail => String::new(),
        OnFailure::Continue => " (the flow goes on)".to_owned(),
        OnFailure::Goto(to) => format!(" (the flow goes to {to})"),
    };
    format!("{} {}{then}", took(model, at, event), data.error).trim_start().to_owned()
}

/// What became of an attempt.
fn of_effect(body: &EventBody) -> String {
    match body {
        EventBody::ToolFailed(data) => data.error.to_string(),
        EventBody::EffectUnknown(data) if data.parked => {
            "nobody knows whether it happened; it waits for a person".to_owned()
        }
        EventBody::EffectUnknown(_) => "nobody knows whether it happened".to_owned(),
        EventBody::EffectReconciled(_) => "its outcome is known after all".to_owned(),
        EventBody::EffectSettled(data) => format!("by {}", data.actor),
        EventBody::CompensationStarted(data) => data.tool.clone(),
        EventBody::CompensationFailed(data) => data.error.to_string(),
        _ => String::new(),
    }
}

/// What runs that belong together tell each other. The end of a run is told with its output, and a call or child by
/// what its step becomes.
fn family(body: &EventBody) -> Option<String> {
    match body {
        EventBody::RunContinued(data) => Some(format!("by run {}", data.next)),
        EventBody::ChildCancelling(data) => Some(data.reason.clone()),
        EventBody::ChildContinued(data) => Some(format!("by run {}", data.next)),
        _ => None,
    }
}

fn started(work: &Work) -> String {
    match work {
        Work::Task(spec) | Work::Code(spec) => spec.tool.clone(),
        Work::Set => "set".to_owned(),
        Work::Map { count, items, .. } => {
            let blob = matches!(items, Data::Blob(_));
            format!("map {count} items{}", if blob { " (stored apart)" } else { "" })
        }
        Work::Parallel { branches } => format!("parallel {} branches", branches.len()),
        Work::Switch { route: Some(route) } => format!("switch to {route}"),
        Work::Switch { route: None } => "switch to nothing".to_owned(),
        Work::Loop { times: Some(times), .. } => format!("loop {times} times"),
        Work::Loop { times: None, .. } => "loop".to_owned(),
        Work::Sleep => "sleep".to_owned(),
        Work::Wait { signal } => format!("wait for signal {signal}"),
        Work::Approval => "approval".to_owned(),
        Work::Child(spec) => {
            let detached = if spec.detached { ", detached" } else { "" };
            format!("flow {} as run {}{detached}", spec.flow.name, spec.run)
        }
        Work::Continue => "continue".to_owned(),
    }
}

fn took(model: &Model, at: Millis, event: &Event) -> String {
    let step = event.step.as_ref().and_then(|step| model.steps.get(step));
    step.map(|step| Span(at.since(step.began)).to_string()).unwrap_or_default()
}
