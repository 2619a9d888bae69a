//! Events and values in a few words, as a person reads them in a list.

use aura_core::budget::{Amounts, Resource};
use aura_core::data::Data;
use aura_core::event::{
    Doubt, EventBody, Next, OnFailure, Output, Purpose, Request, Settlement, SkipReason, Work,
};
use aura_core::fork::{Changed, ForkEffects, RunForked, Withheld};
use aura_core::journal::Asked;
use aura_core::ports::RunStatus;
use aura_core::time::{Millis, Span};
use serde_json::Value;

use crate::output::{Tone, cut, local_time, plain, short};
use crate::{budget, saga};

/// Characters of a value in a list.
const BRIEF: usize = 72;

/// A value in one line.
pub(crate) fn value(value: &Value) -> String {
    value_of(value, BRIEF)
}

/// A value in one line of at most `most` characters.
pub(crate) fn value_of(value: &Value, most: usize) -> String {
    one_line(&aura_core::canonical::to_string(value), most)
}

/// A value of the log in one line.
pub(crate) fn data(data: &Data) -> String {
    match data {
        Data::Json(json) => value(json),
        Data::Blob(blob) => format!("({} in blob {}…)", bytes(blob.bytes), blob.blob.short()),
    }
}

/// Text of anybody in one line.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    cut(&plain(text).replace('\n', " "), most)
}

/// A number of bytes: `312 B`, `4.0 KiB`, `1.2 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    let mut unit = 0;
    let mut tenths = u128::from(count) * 10 / 1_024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A number of things: `1 event`, `2 events`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

/// The tone of a run's status.
pub(crate) fn tone(status: RunStatus) -> Tone {
    match status {
        RunStatus::Completed => Tone::Good,
        RunStatus::Failed | RunStatus::CompensationFailed => Tone::Bad,
        RunStatus::Running => Tone::Busy,
        RunStatus::Waiting
        | RunStatus::InDoubt
        | RunStatus::Cancelling
        | RunStatus::Paused
        | RunStatus::Compensating
        | RunStatus::Compensated => Tone::Warn,
        RunStatus::Cancelled => Tone::Faint,
    }
}

/// The tone of an event in a list.
pub(crate) fn event_tone(body: &EventBody) -> Tone {
    match body {
        EventBody::RunCompleted(_)
        | EventBody::StepCompleted(_)
        | EventBody::ChildCompleted(_)
        | EventBody::StepCompensated(_) => Tone::Good,
        EventBody::RunFailed(_)
        | EventBody::StepFailed(_)
        | EventBody::ToolFailed(_)
        | EventBody::ChildFailed(_)
        | EventBody::CompensationFailed(_)
        | EventBody::PolicyViolation(_)
        | EventBody::ApprovalDenied(_)
        | EventBody::ApprovalExpired(_) => Tone::Bad,
        EventBody::EffectUnknown(_)
        | EventBody::EffectWithheld(_)
        | EventBody::ApprovalRequested(_)
        | EventBody::BudgetExceeded(_)
        | EventBody::ApprovalMismatched(_)
        | EventBody::StepRetrying(_)
        | EventBody::ChildCancelling(_)
        | EventBody::ChildCancelled(_)
        | EventBody::RunCancelling(_)
        | EventBody::RunCompensating(_)
        | EventBody::RunPaused(_)
        | EventBody::RunCancelled(_) => Tone::Warn,
        EventBody::RunStarted(_) | EventBody::RunForked(_) => Tone::Strong,
        _ => Tone::Busy,
    }
}

/// What an event says beyond its type, step and attempt.
pub(crate) fn event(body: &EventBody) -> String {
    match body {
        EventBody::RunStarted(e) => {
            let version = e.flow.version.as_deref().unwrap_or_default();
            format!("{} {version} {}", e.flow.name, data(&e.input)).replace("  ", " ")
        }
        EventBody::RunForked(e) => forked(e),
        EventBody::RunCompleted(e) => data(&e.output),
        EventBody::RunFailed(e) => {
            let step = e.step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
            let saga = e.saga.as_ref().map(|end| format!("; {}", saga::told(end)));
            one_line(&format!("{step}{}{}", e.error, saga.unwrap_or_default()), BRIEF * 2)
        }
        EventBody::RunCancelled(e) => e.saga.as_ref().map(saga::told).unwrap_or_default(),
        EventBody::RunCancelling(e) | EventBody::RunPaused(e) | EventBody::RunResumed(e) => by(e),
        EventBody::RunContinued(e) => format!("by run {} {}", e.next, data(&e.input)),
        EventBody::StepStarted(e) => work(&e.work),
        EventBody::StepCompleted(e) => {
            let vars: Vec<_> = e.vars.iter().map(|(k, v)| format!("{k} = {}", data(v))).collect();
            let said = if vars.is_empty() { output(&e.output) } else { vars.join(", ") };
            format!("{said}{}", next(e.next.as_ref()))
        }
        EventBody::StepFailed(e) => {
            let then = match &e.then {
                OnFailure::Fail => String::new(),
                OnFailure::Continue => "; the flow goes on".to_owned(),
                OnFailure::Goto(id) => format!("; goes to {id}"),
            };
            format!("{}{then}{}", one_line(&e.error.to_string(), BRIEF * 2), next(e.next.as_ref()))
        }
        EventBody::StepRetrying(e) => format!("at {}", local_time(e.until)),
        EventBody::StepSkipped(e) => match e.reason {
            SkipReason::When => format!("its 'when' does not hold{}", next(e.next.as_ref())),
            SkipReason::Dead => "no route leads to it".to_owned(),
        },
        other => act(other),
    }
}

/// The rest of [`event`]: what performers, people and the clock did.
fn act(body: &EventBody) -> String {
    match body {
        EventBody::ToolCalled(e) => format!("{} key {}", e.tool, e.key.short()),
        EventBody::ToolCompleted(e) => {
            let cut = if e.truncated { " (truncated)" } else { "" };
            format!("{}{cut}", data(&e.output))
        }
        EventBody::ActivityHeartbeat(e) => data(&e.details),
        EventBody::ToolFailed(e) => one_line(&e.error.to_string(), BRIEF * 2),
        EventBody::EffectUnknown(e) => {
            let then = if e.parked { "waits for a person" } else { "is tried again or looked for" };
            let why = e.error.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
            one_line(&format!("{}, {then}{why}", doubt(e.doubt)), BRIEF * 2)
        }
        EventBody::ProbeStarted(e) => format!("{} looks whether it happened", e.tool),
        EventBody::EffectReconciled(e) => settlement(&e.outcome),
        EventBody::EffectSettled(e) => {
            let why = e.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            one_line(&format!("{} by {}{why}", settlement(&e.outcome), e.actor), BRIEF * 2)
        }
        EventBody::EffectReused(e) => {
            let from = e.from.map_or_else(
                || "from a file".to_owned(),
                |from| format!("of event {} of {}", from.seq, short(from.run)),
            );
            one_line(&format!("{}, {from}", settlement(&e.outcome)), BRIEF * 2)
        }
        EventBody::EffectWithheld(e) => {
            format!("key {}: {}; waits for a person", e.key.short(), withheld(e.why))
        }
        EventBody::TimerSet(e) | EventBody::TimerFired(e) => {
            format!("{} {}", purpose(e.purpose), local_time(e.due))
        }
        EventBody::SignalReceived(e) => {
            one_line(&format!("{} {} from {}", e.name, data(&e.payload), e.actor), BRIEF * 2)
        }
        EventBody::ApprovalRequested(e) => one_line(&e.message, BRIEF * 2),
        EventBody::ApprovalMismatched(e) => {
            let (approved, wanted) = (e.approved.short(), e.wanted.short());
            format!("{} approved {approved}, but the call is {wanted}", plain(&e.by))
        }
        EventBody::ApprovalGranted(e) | EventBody::ApprovalDenied(e) => {
            let why = e.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            one_line(&format!("by {}{why}", e.actor), BRIEF * 2)
        }
        EventBody::VerificationCompleted(e) => {
            format!("score {:.1} of at least {:.1}", e.score, e.min_score)
        }
        EventBody::ArtifactCreated(e) => {
            format!("{} ({})", plain(&e.artifact.location), bytes(e.artifact.bytes))
        }
        EventBody::PolicyViolation(e) => one_line(&e.reason, BRIEF * 2),
        other => undo_or_code(other),
    }
}

/// The rest of [`act`]: what is undone, what functions ask for, and what is used up.
fn undo_or_code(body: &EventBody) -> String {
    match body {
        EventBody::SagaStarted(e) => {
            format!("{} can be undone", count(u64::from(e.nodes), "node"))
        }
        EventBody::RunCompensating(e) => {
            let why = e.error.as_ref().map(ToString::to_string).unwrap_or_default();
            one_line(&why, BRIEF * 2)
        }
        EventBody::CompensationStarted(e) => {
            format!("{} ({}) key {}", e.tool, e.class, e.key.short())
        }
        EventBody::CompensationFailed(e) => one_line(&e.error.to_string(), BRIEF * 2),
        EventBody::JournalRecorded(e) => {
            let answer = e.answer.as_ref().map(|answer| format!(" → {}", data(answer)));
            let asked = match &e.asked {
                Asked::Tool { tool, args } => format!("{tool} {}", data(args)),
                Asked::Sleep { ms } => format!("sleep {ms} ms"),
                other => other.kind().to_owned(),
            };
            format!("call {}: {asked}{}", e.number, answer.unwrap_or_default())
        }
        EventBody::BudgetReserved(e) => amounts(&e.amounts),
        EventBody::BudgetSettled(e) if e.spent.is_nothing() => {
            format!("nothing of {} used", amounts(&e.reserved))
        }
        EventBody::BudgetSettled(e) => {
            format!("{} used, {} reserved", amounts(&e.spent), amounts(&e.reserved))
        }
        EventBody::BudgetExceeded(e) => one_line(&budget::exceeded(e), BRIEF * 2),
        EventBody::BudgetRaised(e) => format!("{} to {}", e.resource, e.resource.show(e.limit)),
        other => child(other),
    }
}

/// The rest of [`act`]: what became of children.
fn child(body: &EventBody) -> String {
    match body {
        EventBody::ChildCompleted(e) => format!("run {} {}", e.run, data(&e.output)),
        EventBody::ChildFailed(e) => one_line(&format!("run {} {}", e.run, e.error), BRIEF * 2),
        EventBody::ChildCancelled(e) => format!("run {}", e.run),
        EventBody::ChildCancelling(e) => format!("run {}: {}", e.run, plain(&e.reason)),
        EventBody::ChildContinued(e) => format!("run {} by run {}", e.run, e.next),
        _ => String::new(),
    }
}

/// Amounts of money and tokens.
fn amounts(amounts: &Amounts) -> String {
    let both = [Resource::Usd, Resource::Tokens].into_iter().filter(|one| amounts.of(*one) > 0);
    let told = both.map(|one| match one {
        Resource::Usd => one.show(amounts.of(one)),
        other => format!("{} {other}", amounts.of(other)),
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(" and ") }
}

fn forked(e: &RunForked) -> String {
    let changes: Vec<_> = e
        .changes
        .iter()
        .map(|change| format!("; {} = {}", changed(&change.of), data(&change.value)))
        .collect();
    let (flow, seq) = (&e.flow.name, e.seq);
    let how = effects(e.effects);
    let (parent, changes) = (short(e.parent), changes.concat());
    one_line(&format!("{flow} from {parent} after event {seq}, {how}{changes}"), BRIEF * 2)
}

/// What a fork changed, as `--set` names it.
pub(crate) fn changed(of: &Changed) -> String {
    match of {
        Changed::Input => "input".to_owned(),
        Changed::Var(name) => format!("vars.{name}"),
        Changed::Output(step) => format!("steps.{step}.output"),
    }
}

/// Where the outcomes of a fork's effects come from.
pub(crate) fn effects(effects: ForkEffects) -> &'static str {
    match effects {
        ForkEffects::Reuse => "outcomes reused",
        ForkEffects::Mock => "outcomes from a file",
        ForkEffects::Live => "effects live",
    }
}

/// Why a fork has no outcome for a call.
pub(crate) fn withheld(why: Withheld) -> &'static str {
    match why {
        Withheld::NoRecord => "the parent has no unused outcome of this call",
        Withheld::Open => "the parent's call has no outcome yet",
        Withheld::Unknown => "the outcome of the parent's call is in doubt",
        Withheld::Unreadable => "the parent's record of this call can't be read",
        Withheld::NoMock => "the file has no outcome for it",
    }
}

fn by(request: &Request) -> String {
    let why = request.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
    one_line(&format!("by {}{why}", request.actor), BRIEF * 2)
}

/// What a step opens.
pub(crate) fn work(work: &Work) -> String {
    match work {
        Work::Task(spec) => format!("{} ({})", spec.tool, spec.class),
        Work::Code(spec) => format!("code {}", spec.tool),
        Work::Set => "set".to_owned(),
        Work::Map { count: items, .. } => format!("map of {}", count(u64::from(*items), "item")),
        Work::Parallel { branches } => format!("parallel: {}", branches.join(", ")),
        Work::Switch { route: Some(route) } => format!("switch takes {route}"),
        Work::Switch { route: None } => "switch takes nothing".to_owned(),
        Work::Loop { times: Some(times), .. } => format!("loop, {times} times"),
        Work::Loop { times: None, .. } => "loop".to_owned(),
        Work::Sleep => "sleep".to_owned(),
        Work::Wait { signal } => format!("wait for signal '{}'", plain(signal)),
        Work::Approval => "approval".to_owned(),
        Work::Child(spec) => {
            let detached = if spec.detached { ", detached" } else { "" };
            format!("flow {} as run {}{detached}", plain(&spec.flow.name), spec.run)
        }
        Work::Continue => "continue".to_owned(),
    }
}

fn output(output: &Output) -> String {
    match output {
        Output::Value(value) => data(value),
        Output::Node(Some(id)) => format!("output of {id}"),
        Output::Vars | Output::Task | Output::Bodies | Output::Node(None) => String::new(),
    }
}

fn next(next: Option<&Next>) -> String {
    match next {
        Some(next) if next.again.is_empty() => format!(" → {}", next.to),
        Some(next) => format!(" → {} again", next.to),
        None => String::new(),
    }
}

/// What became of an effect, in a word.
pub(crate) fn settlement(outcome: &Settlement) -> String {
    match outcome {
        Settlement::Succeeded(output) => format!("succeeded {}", data(output)),
        Settlement::Failed(error) => format!("failed: {error}"),
        Settlement::Retry => "to be tried again".to_owned(),
    }
}

/// Why an outcome is not known.
pub(crate) fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Crash => "the process ended before the outcome",
        Doubt::Timeout => "no outcome in time",
        Doubt::Lost => "the outcome was lost",
    }
}

/// What a timer is for.
pub(crate) fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Sleep => "wakes at",
        Purpose::Wait => "gives up at",
        Purpose::Approval => "expires at",
        Purpose::Retry => "next try at",
        Purpose::Attempt => "attempt ends at",
        Purpose::Heartbeat => "sign of life due at",
        Purpose::Deadline => "deadline at",
        Purpose::Budget => "time is over at",
    }
}

/// How long ago something was, or how long it is until then.
pub(crate) fn distance(at: Millis, now: Millis) -> String {
    if at > now {
        format!("in {}", Span(at.since(now)))
    } else {
        format!("{} ago", Span(now.since(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
        ];
        for (count, expected) in cases {
            assert_eq!(bytes(count), expected);
        }
        assert!(bytes(u64::MAX).ends_with(" TiB"));
    }

    #[test]
    fn strangers_texts_stay_on_their_line() {
        assert_eq!(one_line("a\nb\x1b[31mc", 20), "a b\u{fffd}[31mc");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }

    #[test]
    fn counts_have_their_plural() {
        assert_eq!(
            (count(1, "step"), count(2, "step")),
            ("1 step".to_owned(), "2 steps".to_owned())
        );
    }
}
