//! Forks: runs that share the beginning of another one and go on from there by themselves.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::data::Data;
use crate::event::{Event, FlowPin, Settlement};
use crate::hash::Hash;
use crate::id::RunId;
use crate::path::StepPath;

/// Where a fork left its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkPoint {
    /// The run that it shares its beginning with.
    pub parent: RunId,
    /// The last event that both share, the end of a commit; 0 where they share none.
    pub seq: u64,
}

/// Data of `run.forked`: everything that tells a fork from its parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct RunForked {
    /// The run that it shares its beginning with.
    #[n(0)]
    pub parent: RunId,
    /// The last event that both share; 0 where they share none.
    #[n(1)]
    pub seq: u64,
    /// Hash of the commit that ends there; zero where they share none.
    #[n(2)]
    pub hash: Hash,
    /// The flow that the fork executes.
    #[n(3)]
    pub flow: FlowPin,
    /// What jitter and draws derive from, from here on.
    #[n(4)]
    pub seed: Hash,
    /// Where the outcomes of its effects come from.
    #[n(5)]
    pub effects: ForkEffects,
    /// Outcomes by step and tool, where they come from a file: a [`crate::fork::Mocks`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(6)]
    pub mocks: Option<Data>,
    /// Values that are others than in the parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(7)]
    pub changes: Vec<Change>,
    /// Labels of the fork.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[n(8)]
    pub labels: BTreeMap<String, String>,
    /// Who forked it.
    #[n(9)]
    pub actor: String,
    /// The facts of the input that the parent took next; they are decided in this commit. Empty where that input
    /// has no fact, or is an answer to an approval, which a fork does not inherit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cbor(n(10), with = "facts")]
    pub then: Vec<Event>,
    /// Tasks of the parent that were open there, with the keys under which the fork has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(11)]
    pub open: Vec<Reopened>,
    /// What the fork may use up, its parent's beginning included. Filled in by the decision: what its flow says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(13)]
    pub budget: Option<Budget>,
    /// State hash after the changes.
    #[n(12)]
    pub state: Hash,
}

/// Where the outcomes of a fork's effects come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum ForkEffects {
    /// From the parent's history; what is not there is withheld until a person says.
    #[default]
    #[n(0)]
    Reuse,
    /// From a file; what is not there is withheld until a person says.
    #[n(1)]
    Mock,
    /// From outside: effects are called under the fork's own keys.
    #[n(2)]
    Live,
}

/// A value of a fork that is another than in its parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct Change {
    /// What is changed.
    #[n(0)]
    pub of: Changed,
    /// Its whole new value.
    #[n(1)]
    pub value: Data,
}

/// What a fork may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(flat)]
pub enum Changed {
    /// The input.
    #[n(0)]
    Input,
    /// A variable.
    #[n(1)]
    Var(#[n(0)] String),
    /// The output of a step that completed.
    #[n(2)]
    Output(#[n(0)] StepPath),
}

/// A task of the parent that was open where the fork left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Reopened {
    /// Its step.
    #[n(0)]
    pub step: StepPath,
    /// Its key in the fork.
    #[n(1)]
    pub key: Hash,
    /// Whether it begins anew; otherwise the input that follows is about it.
    #[n(2)]
    pub again: bool,
}

/// Data of `effect.reused`: an outcome that was not had by a call of this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct EffectReused {
    /// Hash of the call.
    #[n(0)]
    pub call: Hash,
    /// The key that the call would have had.
    #[n(1)]
    pub key: Hash,
    /// Whose outcome it is; absent for one from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub from: Option<Origin>,
    /// The outcome.
    #[n(3)]
    pub outcome: Settlement,
    /// Whether the output was cut to its limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[n(4)]
    pub truncated: bool,
}

/// An event of another run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Origin {
    /// The run.
    #[n(0)]
    pub run: RunId,
    /// The event.
    #[n(1)]
    pub seq: u64,
}

/// Data of `effect.withheld`: a call that a fork does not make by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct EffectWithheld {
    /// Hash of the call.
    #[n(0)]
    pub call: Hash,
    /// The key that the call would have.
    #[n(1)]
    pub key: Hash,
    /// Why there is no outcome for it.
    #[n(2)]
    pub why: Withheld,
}

/// Why a fork has no outcome for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Withheld {
    /// The parent made no such call, or its outcome is used already.
    #[n(0)]
    NoRecord,
    /// The parent's call has no outcome yet.
    #[n(1)]
    Open,
    /// The outcome of the parent's call is in doubt.
    #[n(2)]
    Unknown,
    /// The parent's record can't be read.
    #[n(3)]
    Unreadable,
    /// The file has no outcome for it.
    #[n(4)]
    NoMock,
}

/// Outcomes for effects, from a file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mocks {
    /// By path of a step, or by the id of its node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, Mock>,
    /// By name of a tool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Mock>,
}

/// One outcome from a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mock {
    /// It is done, and this is what it gives back.
    Output(serde_json::Value),
    /// It fails so, certain not to have acted.
    Error(MockError),
}

/// A failure from a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockError {
    /// The category.
    pub code: crate::error::Code,
    /// What happened.
    #[serde(default)]
    pub message: String,
}

impl Mocks {
    /// The outcome for a call of `tool` at `step`: by its path, else by its node's id, else by its tool.
    pub fn outcome(&self, step: &StepPath, tool: &str) -> Option<Settlement> {
        let id = step.last().map(|last| last.id).unwrap_or_default();
        let by_step = self.steps.get(step.as_str()).or_else(|| self.steps.get(id));
        Some(match by_step.or_else(|| self.tools.get(tool))? {
            Mock::Output(output) => Settlement::Succeeded(Data::from(output.clone())),
            Mock::Error(error) => Settlement::Failed(crate::error::Failure::certain(
                error.code,
                error.message.clone(),
            )),
        })
    }
}

/// Events of an input. None of them is a fork, so that bytes of a stranger can't nest forks until the stack is full.
mod facts {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decode, Decoder, Encode, Encoder};

    use crate::event::{Event, EventBody};

    pub(super) fn encode<C, W: Write>(
        events: &[Event],
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(events.len() as u64)?;
        events.iter().try_for_each(|event| event.encode(e, ctx))
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Event>, DecodeError> {
        let count = d.array()?.ok_or_else(|| DecodeError::message("an array of no length"))?;
        let mut events = Vec::new();
        for _ in 0..count {
            let mut ahead = d.probe();
            ahead.array()?;
            // Its step and its attempt; what follows begins with the number of its type.
            ahead.skip()?;
            ahead.skip()?;
            ahead.array()?;
            if ahead.u32()? == EventBody::FORKED {
                return Err(DecodeError::message("a fork within a fork").at(ahead.position()));
            }
            events.push(Event::decode(d, ctx)?);
        }
        Ok(events)
    }
}
