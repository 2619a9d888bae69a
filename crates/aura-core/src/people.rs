//! What people and programs outside tell a run, and what they are asked: signals and approvals.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::budget::Raise;
use crate::data::Data;
use crate::hash::Hash;
use crate::time::Millis;

/// Data of `signal.received`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct SignalReceived {
    /// What it is recognised by when it is sent twice.
    #[n(0)]
    pub id: String,
    /// Its name.
    #[n(1)]
    pub name: String,
    /// What it carries.
    #[n(2)]
    pub payload: Data,
    /// Who sent it.
    #[n(3)]
    pub actor: String,
}

/// Data of `approval.requested`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct ApprovalRequested {
    /// Hash of exactly what is approved.
    #[n(0)]
    pub action: Hash,
    /// The node whose call is approved, if one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub of: Option<String>,
    /// Where the call itself asks again: the approval node that approved another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(6)]
    pub again: Option<String>,
    /// What a yes adds to the budget of the step, or of the run, that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(8)]
    pub raise: Option<Raise>,
    /// The question.
    #[n(2)]
    pub message: String,
    /// What is shown to the person: the call, or the values that the flow names.
    #[serde(default)]
    #[n(3)]
    pub shows: Data,
    /// Who may answer; empty where anybody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(4)]
    pub roles: Vec<String>,
    /// How many different people must say yes, from 1. One no is enough.
    #[n(7)]
    pub quorum: u32,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(5)]
    pub expires: Option<Millis>,
}

/// Data of `approval.granted` and `approval.denied`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Answer {
    /// Hash of what was answered.
    #[n(0)]
    pub action: Hash,
    /// Who answered. A person counts once.
    #[n(1)]
    pub actor: String,
    /// The roles in which it counts: where nobody is authenticated, all that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[n(3)]
    pub roles: Vec<String>,
    /// Whether it was checked who that is.
    #[n(4)]
    pub authenticated: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub reason: Option<String>,
}

/// Data of `approval.mismatched`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ApprovalMismatched {
    /// The approval node.
    #[n(0)]
    pub by: String,
    /// Hash of what it approved.
    #[n(1)]
    pub approved: Hash,
    /// Hash of what is about to be done.
    #[n(2)]
    pub wanted: Hash,
}
