//! Re-deciding a history and comparing: the proof that a build still decides as the log says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_core::child::{ChildAccount, ChildEnd};
use aura_core::commit::{Cause, StoredCommit};
use aura_core::event::{ActivityHeartbeat, Doubt, EffectSettled, Event, EventBody, Settlement};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::{ApprovalVerdict, Heartbeat, Input, Outcome};
use aura_core::path::StepPath;
use aura_core::task::{Artifact, TaskResult, TaskSpec};
use serde_json::json;

use crate::decide::{Decision, Gate, Grant, Reuse, Taken, World, decide};
use crate::definition::Flow;
use crate::expr::BlobLookup;
use crate::state::{self, FoldError, Run, fold, fold_commit};

/// A history that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The chain or an event is damaged: integrity.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A recorded state hash does not follow from the events: integrity.
    #[error("event {seq}: the state hash does not follow from the history")]
    State {
        /// The event.
        seq: u64,
    },
    /// The events before it have no input that this build knows.
    #[error("the commit at event {seq} has no input")]
    NoInput {
        /// The commit's first event.
        seq: u64,
    },
    /// This build decides differently: not corruption, but a changed behaviour.
    #[error("event {} is decided differently now", .0.seq)]
    Differs(Box<Difference>),
    /// Blobs of the history are not at hand.
    #[error("blobs of the history are missing")]
    Blobs(Vec<aura_core::data::BlobRef>),
}

/// The first place where a decision differs.
#[derive(Debug)]
pub struct Difference {
    /// The commit's first event.
    pub seq: u64,
    /// The event that the log has there; absent if it has fewer.
    pub recorded: Option<Event>,
    /// The event that this build decides there; absent if it decides fewer.
    pub decided: Option<Event>,
}

/// The input of a commit, from its header and first events.
pub fn input_of(cause: Cause, events: &[Event]) -> Option<Input> {
    match cause {
        Cause::Continue => return Some(Input::Continue),
        Cause::Granted => return Some(granted_of(events)),
        Cause::Events => {}
    }
    let first = events.first()?;
    let step = first.step.clone();
    Some(match &first.body {
        EventBody::RunStarted(data) => Input::Start(data.clone()),
        EventBody::RunForked(data) => Input::Fork(data.clone()),
        EventBody::ToolCompleted(_) | EventBody::ToolFailed(_) | EventBody::EffectReconciled(_) => {
            return outcome_of(first);
        }
        EventBody::ActivityHeartbeat(data) => return heartbeat_of(first, data),
        EventBody::JournalRecorded(data) => Input::Journal {
            step: step?,
            number: data.number,
            asked: data.asked.clone(),
            call: data.call,
        },
        EventBody::EffectUnknown(_) => return unknown_of(events),
        EventBody::TimerFired(data) => {
            Input::Timer { step: step?, purpose: data.purpose, due: data.due }
        }
        EventBody::SignalReceived(data) => Input::Signal {
            id: data.id.clone(),
            name: data.name.clone(),
            payload: data.payload.clone(),
            actor: data.actor.clone(),
        },
        EventBody::ApprovalGranted(data) | EventBody::ApprovalDenied(data) => Input::Approval {
            step: step?,
            verdict: match first.body {
                EventBody::ApprovalGranted(_) => ApprovalVerdict::Granted,
                _ => ApprovalVerdict::Denied,
            },
            action: Some(data.action),
            actor: data.actor.clone(),
            reason: data.reason.clone(),
        },
        EventBody::RunCancelling(data) => {
            Input::Cancel { actor: data.actor.clone(), reason: data.reason.clone() }
        }
        EventBody::RunPaused(data) => {
            Input::Pause { actor: data.actor.clone(), reason: data.reason.clone() }
        }
        EventBody::RunResumed(data) => {
            Input::Resume { actor: data.actor.clone(), reason: data.reason.clone() }
        }
        EventBody::EffectSettled(data) => settle_of(data),
        body => {
            let (run, account) = told_by(body)?;
            return Some(Input::Child { step: step?, run, end: child_end(body)?, account });
        }
    })
}

/// The child whose end an event tells, and what it leaves.
fn told_by(body: &EventBody) -> Option<(RunId, ChildAccount)> {
    let (run, used, undo) = match body {
        EventBody::ChildCompleted(data) => (data.run, data.used, &data.undo),
        EventBody::ChildFailed(data) => (data.run, data.used, &data.undo),
        EventBody::ChildCancelled(data) => (data.run, data.used, &data.undo),
        EventBody::ChildContinued(data) => (data.run, data.used, &data.undo),
        _ => return None,
    };
    Some((run, ChildAccount { used, undo: undo.clone() }))
}

fn child_end(body: &EventBody) -> Option<ChildEnd> {
    Some(match body {
        EventBody::ChildCompleted(data) => ChildEnd::Completed(data.output.clone()),
        EventBody::ChildFailed(data) => ChildEnd::Failed(data.error.clone()),
        EventBody::ChildCancelled(_) => ChildEnd::Cancelled,
        EventBody::ChildContinued(data) => ChildEnd::Continued(data.next),
        _ => return None,
    })
}

/// The sign of life of a commit.
fn heartbeat_of(first: &Event, data: &ActivityHeartbeat) -> Option<Input> {
    let (step, attempt) = (first.step.clone()?, first.attempt?);
    let (call, details) = (data.call, data.details.clone());
    Some(Input::Heartbeat(Heartbeat { step, attempt, call, details }))
}

/// The end of an attempt, as its fact tells it.
fn outcome_of(first: &Event) -> Option<Input> {
    let (call, result) = match &first.body {
        EventBody::ToolCompleted(data) => {
            let (output, artifacts) = (data.output.clone(), data.artifacts.clone());
            (data.call, TaskResult::Succeeded { output, artifacts, truncated: data.truncated })
        }
        EventBody::ToolFailed(data) => {
            let (failure, retry_after_ms) = (data.error.clone(), data.retry_after_ms);
            (data.call, TaskResult::Failed { failure, retry_after_ms })
        }
        EventBody::EffectReconciled(data) => (data.call, settled(&data.outcome, &data.artifacts)?),
        _ => return None,
    };
    let (step, attempt) = (first.step.clone()?, first.attempt?);
    Some(Input::Outcome(Outcome { step, attempt, call, result }))
}

fn settle_of(data: &EffectSettled) -> Input {
    Input::Settle {
        key: data.key,
        outcome: data.outcome.clone(),
        actor: data.actor.clone(),
        reason: data.reason.clone(),
    }
}

/// The steps that were asked about again and got an answer. Later steps of the turn are among them, which changes
/// nothing: they were not ready when it began.
fn granted_of(events: &[Event]) -> Input {
    let answered = |event: &&Event| {
        matches!(
            event.body,
            EventBody::ToolCalled(_)
                | EventBody::EffectReused(_)
                | EventBody::EffectWithheld(_)
                | EventBody::BudgetExceeded(_)
        )
    };
    Input::Granted {
        steps: events.iter().filter(answered).filter_map(|event| event.step.clone()).collect(),
    }
}

/// The result that a task has when somebody says what became of it.
pub(crate) fn settled(outcome: &Settlement, artifacts: &[Artifact]) -> Option<TaskResult> {
    Some(match outcome {
        Settlement::Succeeded(output) => TaskResult::Succeeded {
            output: output.clone(),
            artifacts: artifacts.to_vec(),
            truncated: false,
        },
        Settlement::Failed(failure) => {
            TaskResult::Failed { failure: failure.clone(), retry_after_ms: None }
        }
        Settlement::Retry => return None,
    })
}

/// Doubts come from the loss of a process (several at once) or from an attempt that ended without an answer.
fn unknown_of(events: &[Event]) -> Option<Input> {
    let first = events.first()?;
    let EventBody::EffectUnknown(data) = &first.body else { return None };
    if let Some(error) = data.error.as_ref().filter(|_| data.doubt != Doubt::Crash) {
        return Some(Input::Outcome(Outcome {
            step: first.step.clone()?,
            attempt: first.attempt?,
            call: data.call,
            result: TaskResult::Failed {
                failure: error.clone(),
                retry_after_ms: data.retry_after_ms,
            },
        }));
    }
    let unknown = |event: &&Event| matches!(&event.body, EventBody::EffectUnknown(d) if d.doubt == Doubt::Crash);
    let steps = events.iter().take_while(unknown).filter_map(|event| event.step.clone());
    Some(Input::Unknown { steps: steps.collect(), doubt: data.doubt })
}

/// A gate that answers as the commit says it was answered.
#[derive(Debug)]
pub struct Recorded {
    called: BTreeSet<StepPath>,
    reused: BTreeMap<StepPath, Reuse>,
}

impl Recorded {
    /// The answers that stand in a commit.
    pub fn of(events: &[Event]) -> Self {
        let called = events
            .iter()
            .filter(|event| matches!(event.body, EventBody::ToolCalled(_)))
            .filter_map(|event| event.step.clone())
            .collect();
        let reused = events.iter().filter_map(|event| {
            let answer = match &event.body {
                EventBody::EffectReused(data) => Reuse::Take(Taken {
                    from: data.from?,
                    outcome: data.outcome.clone(),
                    truncated: data.truncated,
                }),
                EventBody::EffectWithheld(data) => Reuse::Withhold(data.why),
                _ => return None,
            };
            Some((event.step.clone()?, answer))
        });
        Self { called, reused: reused.collect() }
    }
}

impl Gate for Recorded {
    fn grant(&mut self, step: &StepPath, _spec: &TaskSpec) -> Grant {
        match self.reused.get(step) {
            Some(Reuse::Take(taken)) => Grant::Reuse(taken.clone()),
            _ if self.called.contains(step) => Grant::Go,
            _ => Grant::Wait,
        }
    }

    fn reuse(&mut self, step: &StepPath, _spec: &TaskSpec) -> Reuse {
        self.reused.get(step).cloned().unwrap_or(Reuse::Later)
    }
}

/// Folds and re-decides a run, commit by commit.
pub struct Replay {
    /// The state after the last commit.
    pub run: Run,
    head: Hash,
    salt: Hash,
    blobs: Arc<dyn BlobLookup>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("events", &self.run.events).finish_non_exhaustive()
    }
}

impl Replay {
    /// A replay from the beginning; `salt` is that of the store's blobs.
    pub fn new(run: Run, salt: Hash, blobs: Arc<dyn BlobLookup>) -> Self {
        Self { run, head: Hash::ZERO, salt, blobs }
    }

    /// Checks chain and state hashes of the next commit and folds it.
    ///
    /// # Errors
    /// The history is damaged.
    pub fn integrity(&mut self, commit: &StoredCommit) -> Result<Vec<Event>, ReplayError> {
        let events = commit.events().map_err(FoldError::from)?;
        let mut probe = self.run.clone();
        for event in &events {
            let expected = state::after(&probe, event);
            let expected = match &event.body {
                EventBody::RunStarted(data) => Some(state::beginning(data.salt, &data.input)),
                _ => expected,
            };
            fold(&mut probe, commit.header.at, event)?;
            if expected.is_some_and(|expected| expected != probe.hash) {
                return Err(ReplayError::State { seq: probe.events });
            }
        }
        fold_commit(&mut self.run, &mut self.head, commit)?;
        Ok(events)
    }

    /// Decides the next commit again and compares, without folding it.
    ///
    /// # Errors
    /// The decision differs, or can't be made.
    pub fn redecide(&self, flow: &Arc<Flow>, commit: &StoredCommit) -> Result<(), ReplayError> {
        let seq = commit.header.seq;
        // Damage first: what was tampered with would only look as if it were decided differently.
        commit.check(self.head, self.run.events + 1).map_err(FoldError::from)?;
        let events = commit.events().map_err(FoldError::from)?;
        let input = input_of(commit.header.cause, &events).ok_or(ReplayError::NoInput { seq })?;
        let mut gate = Recorded::of(&events);
        let mut world = World {
            now: commit.header.at,
            salt: self.salt,
            gate: &mut gate,
            blobs: Arc::clone(&self.blobs),
        };
        // What a fork shares was decided for the run that it left: ids and keys derive from that one.
        let mut run = self.run.clone();
        run.id = commit.header.run;
        let decided = match decide(&Arc::new(run), flow, &input, &mut world) {
            Decision::Turn(turn) => turn.events,
            Decision::Need(blobs) => return Err(ReplayError::Blobs(blobs)),
            Decision::Nothing | Decision::Refused(_) => Vec::new(),
        };
        for place in 0..events.len().max(decided.len()) {
            let (recorded, decided) = (events.get(place), decided.get(place));
            // Compared as JSON, which is what the log keeps: 1.0 and a recorded 1.0 are one value either way.
            if json!(recorded) != json!(decided) {
                return Err(ReplayError::Differs(Box::new(Difference {
                    seq: seq + place as u64,
                    recorded: recorded.cloned(),
                    decided: decided.cloned(),
                })));
            }
        }
        Ok(())
    }
}
