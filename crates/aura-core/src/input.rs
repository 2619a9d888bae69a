//! What enters a run from outside: the only reason for a turn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::child::{ChildAccount, ChildEnd};
use crate::data::Data;
use crate::event::{Doubt, Purpose, RunStarted, Settlement};
use crate::fork::RunForked;
use crate::hash::Hash;
use crate::id::RunId;
use crate::journal::Asked;
use crate::path::StepPath;
use crate::task::TaskResult;
use crate::time::Millis;
use crate::tool::ToolDef;

/// An input of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Begin. The state hash in it is filled in by the decision.
    Start(Box<RunStarted>),
    /// Leave the run whose beginning this one shares. The keys of open tasks and the state hash in it are filled in by
    /// the decision.
    Fork(Box<RunForked>),
    /// An attempt ended. Dropped if step, attempt or call is not that of the open task.
    Outcome(Outcome),
    /// An attempt tells that it is alive. Dropped like an outcome.
    Heartbeat(Heartbeat),
    /// A timer is due. Dropped if the run has no such timer.
    Timer {
        /// The step.
        step: StepPath,
        /// What for.
        purpose: Purpose,
        /// When it was due.
        due: Millis,
    },
    /// Somebody sends a signal.
    Signal {
        /// What it is recognised by when it is sent twice.
        id: String,
        /// Its name.
        name: String,
        /// What it carries.
        payload: Data,
        /// Who.
        actor: String,
    },
    /// Somebody answers an approval.
    Approval {
        /// The approval's step.
        step: StepPath,
        /// Yes or no.
        verdict: ApprovalVerdict,
        /// Hash of what the person saw; absent for "whatever is asked now".
        action: Option<Hash>,
        /// Who.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody wants the run cancelled.
    Cancel {
        /// Who.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody wants the run to start nothing new for now.
    Pause {
        /// Who.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody wants a paused run to go on.
    Resume {
        /// Who.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// A person says what became of an effect in doubt.
    Settle {
        /// Its key.
        key: Hash,
        /// What became of it.
        outcome: Settlement,
        /// Who.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// A function asks for something. Dropped if its step is not in work or has recorded this call.
    Journal {
        /// The function's step.
        step: StepPath,
        /// The number of the call within the step, from 1.
        number: u64,
        /// What it asks for.
        asked: Asked,
        /// Hash of what it asks for.
        call: Hash,
    },
    /// The outcomes of open tasks will never be told: the process that performed them is gone.
    Unknown {
        /// The steps, in path order.
        steps: Vec<StepPath>,
        /// Why.
        doubt: Doubt,
    },
    /// A child run ended. Dropped if the step does not wait for that run.
    Child {
        /// The step.
        step: StepPath,
        /// The child.
        run: RunId,
        /// How it ended.
        end: ChildEnd,
        /// What it leaves to its parent.
        account: ChildAccount,
    },
    /// Slots are free for these waiting steps. Has no fact of its own.
    Granted {
        /// The steps, in the order in which they waited.
        steps: Vec<StepPath>,
    },
    /// Go on after a turn that reached its limit. Has no fact of its own.
    Continue,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalVerdict {
    /// Yes.
    Granted,
    /// No.
    Denied,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The step.
    pub step: StepPath,
    /// The attempt.
    pub attempt: u32,
    /// Hash of the call.
    pub call: Hash,
    /// What came of it.
    pub result: TaskResult,
}

/// A sign of life of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// The step.
    pub step: StepPath,
    /// The attempt.
    pub attempt: u32,
    /// Hash of the call.
    pub call: Hash,
    /// How far it has come.
    pub details: Data,
}

/// What a run pins: its flow file, those of its children, and the definitions of the tools that they name. Stored as
/// one blob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// The text of the flow file.
    pub source: String,
    /// The texts of the files that its flows start as child runs, by their path from the folder of the flow file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The definitions, by name.
    pub tools: BTreeMap<String, ToolDef>,
}
