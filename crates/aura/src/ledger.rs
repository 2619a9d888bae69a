//! The ledger of effects, as a view of a run's events.
//!
//! Entries are handed out when nothing more can happen to them, so that the ledger of a long run needs the memory of
//! what is open only.

use std::collections::BTreeMap;

use aura_core::effect::EffectClass;
use aura_core::error::Failure;
use aura_core::event::{Doubt, Event, EventBody, Settlement, Work};
use aura_core::fork::{Origin, Reopened, Withheld};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::task::Scope;
use aura_core::time::Millis;
use serde::Serialize;

use crate::output::Tone;

/// Where an effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It waits for its next try.
    Retrying,
    /// The intent is recorded, the outcome is not.
    Intended,
    /// It is not known, and a probe looks.
    Probing,
    /// It happened.
    Succeeded,
    /// It was not called: an outcome was at hand.
    Reused,
    /// It certainly did not happen, or its class makes doubt harmless.
    Failed,
    /// It is not known; the run goes on without knowing, or asks again by itself.
    Unknown,
    /// It is not known, and a person must say.
    InDoubt,
    /// The run no longer asked for it while it was under way; it leaves no mark.
    Abandoned,
}

impl Status {
    /// The word in lists.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Intended => "intended",
            Self::Probing => "probing",
            Self::Succeeded => "succeeded",
            Self::Reused => "reused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::InDoubt => "in doubt",
            Self::Abandoned => "abandoned",
        }
    }

    /// Its tone.
    pub(crate) fn tone(self) -> Tone {
        match self {
            Self::Succeeded | Self::Reused => Tone::Good,
            Self::Failed => Tone::Bad,
            Self::Retrying | Self::Probing | Self::Unknown | Self::InDoubt => Tone::Warn,
            Self::Intended => Tone::Busy,
            Self::Abandoned => Tone::Faint,
        }
    }
}

/// Who said what became of an effect in doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Settled {
    /// Who.
    pub(crate) actor: String,
    /// What: `succeeded`, `failed`, `retry`.
    pub(crate) outcome: &'static str,
    /// Why.
    pub(crate) reason: Option<String>,
}

/// One effect.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// The run.
    pub(crate) run_id: RunId,
    /// The step.
    pub(crate) step: StepPath,
    /// The tool.
    pub(crate) tool: String,
    /// The class that governs doubt.
    pub(crate) class: EffectClass,
    /// The idempotency key.
    pub(crate) key: Hash,
    /// Hash of the call.
    pub(crate) call: Hash,
    /// Where the same call has the same key; nothing where the key is that of its step alone.
    pub(crate) scope: Option<Scope>,
    /// Attempts whose intent is recorded.
    pub(crate) attempts: u32,
    /// Where it stands.
    pub(crate) status: Status,
    /// How often a probe was asked about it.
    pub(crate) probes: u32,
    /// Whether its outcome arrived after it was given up, or a probe found it.
    pub(crate) reconciled: bool,
    /// Who settled it.
    pub(crate) settled: Option<Settled>,
    /// Why its outcome is not known.
    pub(crate) doubt: Option<Doubt>,
    /// Why its last attempt failed or is in doubt.
    pub(crate) error: Option<Failure>,
    /// Whether its outcome was taken from elsewhere instead of calling: from another run, or from a file.
    pub(crate) reused: bool,
    /// The event of another run that tells the outcome which was taken.
    pub(crate) from: Option<Origin>,
    /// Why a fork did not call, and had no outcome.
    pub(crate) withheld: Option<Withheld>,
    /// When its first intent was recorded.
    pub(crate) started: Millis,
    /// When something last happened to it.
    pub(crate) updated: Millis,
}

/// How often a call whose key several runs share was spared, and how often it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Cache {
    /// Its result was at hand.
    pub(crate) hits: u64,
    /// It had to be called.
    pub(crate) misses: u64,
}

impl Cache {
    /// Counts an entry, if its key is shared.
    pub(crate) fn take(&mut self, entry: &Entry) {
        if entry.scope.is_some() {
            let count = if entry.reused { &mut self.hits } else { &mut self.misses };
            *count += 1;
        }
    }
}

/// The effects of a run that are not settled yet.
#[derive(Debug)]
pub(crate) struct Ledger {
    run: RunId,
    open: BTreeMap<StepPath, Entry>,
}

impl Ledger {
    /// An empty ledger.
    pub(crate) fn new(run: RunId) -> Self {
        Self { run, open: BTreeMap::new() }
    }

    /// Takes the next event; entries that it closes go to `done`.
    pub(crate) fn take(&mut self, at: Millis, event: &Event, done: &mut dyn FnMut(Entry)) {
        let Some(step) = &event.step else {
            if let EventBody::RunForked(data) = &event.body {
                self.leave_parent(&data.open);
            }
            let ends = matches!(
                event.body,
                EventBody::RunCompleted(_)
                    | EventBody::RunFailed(_)
                    | EventBody::RunCancelled(_)
                    | EventBody::RunCompensating(_)
            );
            if ends {
                self.close(&StepPath::root(), done);
            }
            return;
        };
        match &event.body {
            EventBody::StepStarted(data) => {
                if let Work::Task(spec) = &data.work
                    && spec.class != EffectClass::Pure
                {
                    let call = (spec.tool.as_str(), spec.class, spec.call, spec.key);
                    self.enter(at, step, call, spec.idempotency.map(|i| i.scope));
                }
            }
            EventBody::CompensationStarted(data) if data.class != EffectClass::Pure => {
                self.enter(at, step, (&data.tool, data.class, data.call, data.key), None);
            }
            EventBody::StepCompensated(_) => self.close(&step.compensation(), done),
            EventBody::StepCompleted(_)
            | EventBody::StepFailed(_)
            | EventBody::CompensationFailed(_) => self.close(step, done),
            body => {
                if let Some(entry) = self.open.get_mut(step) {
                    entry.happens(at, event.attempt, body);
                }
            }
        }
    }

    fn enter(
        &mut self,
        at: Millis,
        step: &StepPath,
        (tool, class, call, key): (&str, EffectClass, Hash, Hash),
        scope: Option<Scope>,
    ) {
        let entry = Entry {
            run_id: self.run,
            step: step.clone(),
            tool: tool.to_owned(),
            class,
            key,
            call,
            scope,
            attempts: 0,
            status: Status::Intended,
            probes: 0,
            reconciled: false,
            settled: None,
            doubt: None,
            error: None,
            reused: false,
            from: None,
            withheld: None,
            started: at,
            updated: at,
        };
        self.open.insert(step.clone(), entry);
    }

    /// What is still open, at the end of the log.
    pub(crate) fn rest(self) -> impl Iterator<Item = Entry> {
        self.open.into_values().filter(Entry::counts)
    }

    /// What was open in the parent is the fork's own from here on.
    fn leave_parent(&mut self, open: &[Reopened]) {
        for open in open {
            if let Some(entry) = self.open.get_mut(&open.step) {
                entry.key = open.key;
                if open.again {
                    entry.attempts = 0;
                    entry.status = Status::Intended;
                    entry.doubt = None;
                    entry.error = None;
                }
            }
        }
    }

    fn close(&mut self, path: &StepPath, done: &mut dyn FnMut(Entry)) {
        let below = |step: &&StepPath| path.contains(step);
        let from = self.open.range(path.clone()..);
        let steps =
            from.map(|(step, _)| step).take_while(|s| s.as_str().starts_with(path.as_str()));
        let steps: Vec<_> = steps.filter(below).cloned().collect();
        for step in steps {
            if let Some(mut entry) = self.open.remove(&step)
                && entry.counts()
            {
                entry.status = match entry.status {
                    Status::InDoubt | Status::Probing => Status::Unknown,
                    Status::Intended | Status::Retrying => Status::Abandoned,
                    other => other,
                };
                done(entry);
            }
        }
    }
}

impl Entry {
    /// Whether there is anything to tell of it: a step that never got its turn has no effect.
    fn counts(&self) -> bool {
        self.attempts > 0 || self.reused || self.withheld.is_some()
    }

    fn happens(&mut self, at: Millis, attempt: Option<u32>, body: &EventBody) {
        match body {
            EventBody::ToolCalled(_) => {
                if self.attempts == 0 {
                    self.started = at;
                }
                self.attempts = attempt.unwrap_or(self.attempts);
                self.status = Status::Intended;
                self.doubt = None;
            }
            EventBody::ToolCompleted(_) => {
                self.status = Status::Succeeded;
                self.doubt = None;
                self.error = None;
            }
            EventBody::ToolFailed(data) => {
                self.status = Status::Failed;
                self.error = Some(data.error.clone());
            }
            EventBody::StepRetrying(_) => self.status = Status::Retrying,
            EventBody::EffectUnknown(data) => {
                self.status = if data.parked { Status::InDoubt } else { Status::Unknown };
                self.doubt = Some(data.doubt);
                self.error.clone_from(&data.error);
            }
            EventBody::ProbeStarted(_) => {
                self.status = Status::Probing;
                self.probes += 1;
            }
            EventBody::EffectReconciled(data) => {
                self.reconciled = true;
                self.becomes(&data.outcome);
            }
            EventBody::EffectReused(data) => {
                (self.started, self.reused) = (at, true);
                self.from = data.from;
                self.becomes(&data.outcome);
                if self.status == Status::Succeeded {
                    self.status = Status::Reused;
                }
            }
            EventBody::EffectWithheld(data) => {
                self.withheld = Some(data.why);
                self.status = Status::InDoubt;
            }
            EventBody::EffectSettled(data) => {
                let outcome = self.becomes(&data.outcome);
                let (actor, reason) = (data.actor.clone(), data.reason.clone());
                self.settled = Some(Settled { actor, outcome, reason });
            }
            _ => return,
        }
        self.updated = at;
    }

    fn becomes(&mut self, outcome: &Settlement) -> &'static str {
        self.doubt = None;
        self.error = None;
        match outcome {
            Settlement::Succeeded(_) => {
                self.status = Status::Succeeded;
                "succeeded"
            }
            Settlement::Failed(error) => {
                self.status = Status::Failed;
                self.error = Some(error.clone());
                "failed"
            }
            Settlement::Retry => {
                self.status = Status::Retrying;
                "retry"
            }
        }
    }
}
