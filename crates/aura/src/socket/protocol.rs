//! What is said on the socket. Both ends are this binary, so that it may change with it.

use aura_core::data::Data;
use aura_core::error::{Code, Problem};
use aura_core::event::Settlement;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::{ApprovalVerdict, Input};
use aura_core::path::StepPath;
use aura_core::ports::{Compacted, Compaction, RunStatus};
use aura_engine::Accepted;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::order::{ForkOrder, Order};

/// What a process wants of the owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Are you there?
    Ping,
    /// Start a run and perform it.
    Start {
        /// The run.
        order: Box<Order>,
        /// Whether nobody watches it, so that it must not end with the owner.
        detached: bool,
    },
    /// Fork a run, and perform the fork.
    Fork {
        /// The fork.
        order: Box<ForkOrder>,
        /// Whether nobody watches it.
        detached: bool,
    },
    /// Perform a run that exists.
    Perform {
        /// The run.
        run: RunId,
        /// Whether nobody watches it.
        detached: bool,
    },
    /// Is there anything that keeps this run from going on?
    Look {
        /// The run.
        run: RunId,
    },
    /// Take an input.
    Input {
        /// The run.
        run: RunId,
        /// The input.
        ask: Ask,
    },
    /// Remove what is not wanted any more.
    Compact {
        /// What.
        asked: Box<Compaction>,
    },
}

/// An input of a run that a person can give.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "snake_case")]
pub(crate) enum Ask {
    /// A signal.
    Signal {
        /// What it is recognised by when it is sent twice.
        id: String,
        /// Its name.
        name: String,
        /// What it carries.
        payload: Value,
        /// Who sends it.
        actor: String,
    },
    /// An answer to an approval.
    Approval {
        /// The approval's step.
        step: StepPath,
        /// Yes or no.
        verdict: ApprovalVerdict,
        /// Hash of what was shown.
        action: Option<Hash>,
        /// Who answers.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// The end.
    Cancel {
        /// Who asks.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// Nothing new for now.
    Pause {
        /// Who asks.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// On again.
    Resume {
        /// Who asks.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// What became of an effect in doubt.
    Settle {
        /// Its key.
        key: Hash,
        /// What became of it.
        outcome: Settlement,
        /// Who says so.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
}

impl From<Ask> for Input {
    fn from(ask: Ask) -> Self {
        match ask {
            Ask::Signal { id, name, payload, actor } => {
                Self::Signal { id, name, payload: Data::from(payload), actor }
            }
            Ask::Approval { step, verdict, action, actor, reason } => {
                Self::Approval { step, verdict, action, actor, reason }
            }
            Ask::Cancel { actor, reason } => Self::Cancel { actor, reason },
            Ask::Pause { actor, reason } => Self::Pause { actor, reason },
            Ask::Resume { actor, reason } => Self::Resume { actor, reason },
            Ask::Settle { key, outcome, actor, reason } => {
                Self::Settle { key, outcome, actor, reason }
            }
        }
    }
}

/// What the owner answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Here I am; all is well.
    Here,
    /// It is durable.
    Done {
        /// The run.
        run: RunId,
        /// Its number of events.
        events: u64,
        /// Where it stands.
        status: RunStatus,
        /// Whether that was so before.
        already: bool,
        /// Whether the owner performs the run.
        performed: bool,
    },
    /// It is removed.
    Compacted(Compacted),
    /// It is refused.
    Refused {
        /// The category.
        code: Code,
        /// What happened.
        what: String,
        /// What was kept.
        kept: Option<String>,
        /// What to do.
        next: Option<String>,
    },
    /// The owner is about to leave and did nothing: take the lock, or ask the next one.
    Leaving,
}

/// What whoever owns the store made of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What it led to.
    pub(crate) accepted: Accepted,
    /// Whether the owner performs the run.
    pub(crate) performed: bool,
}

impl From<Result<Taken, Problem>> for Answer {
    fn from(result: Result<Taken, Problem>) -> Self {
        match result {
            Ok(Taken { accepted: Accepted { run, events, status, already }, performed }) => {
                Self::Done { run, events, status, already, performed }
            }
            Err(Problem { code, what, kept, next }) => Self::Refused { code, what, kept, next },
        }
    }
}
