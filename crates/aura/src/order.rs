//! An order to start a run: what a person asked for, as it goes to whoever owns the store.

use std::collections::BTreeMap;

use aura_core::budget::Budget;
use aura_core::canonical;
use aura_core::data::{Data, blob_address};
use aura_core::error::{Code, Problem};
use aura_core::event::{FlowPin, RunStarted};
use aura_core::fork::RunForked;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Bundle;
use aura_core::limits;
use aura_core::task::Permissions;
use aura_engine::{Catalog, ForkRun, StartRun};
use aura_graph::definition::Flows;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that a start needs; the owner adds the salt of its store and the definitions of its tools.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The run.
    pub(crate) run: RunId,
    /// The text of the flow file.
    pub(crate) source: String,
    /// The texts of the flow files that it starts as child runs, by their path from its folder.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// The input.
    pub(crate) input: Value,
    /// JSON pointers of numbers in it that were too wide.
    pub(crate) wide: Vec<String>,
    /// The key of a keyed run.
    pub(crate) key: Option<String>,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// What it may use up, beside what the flow says.
    pub(crate) budget: Option<Budget>,
    /// What its tools may reach.
    pub(crate) permissions: Permissions,
    /// Who asks.
    pub(crate) actor: String,
}

impl Order {
    /// The start as an engine over a store with this salt takes it.
    pub(crate) fn into_start(self, catalog: &Catalog, salt: Hash) -> Result<StartRun, Problem> {
        let Pinned { pin, bundle, flows } = pin(self.source, self.files, catalog, salt)?;
        let started = RunStarted {
            flow: pin,
            input: Data::from(self.input),
            wide_numbers: self.wide,
            key: self.key,
            labels: self.labels,
            seed: random()?,
            salt: random()?,
            flags: aura_graph::flags::CURRENT.to_vec(),
            permissions: self.permissions,
            vars: BTreeMap::new(),
            parent: None,
            continues: None,
            signals: Vec::new(),
            actor: self.actor,
            state: Hash::ZERO,
            deadline: None,
            budget: self.budget,
        };
        Ok(StartRun { started, bundle, flows, perform: true })
    }
}

/// A fork that a person asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ForkOrder {
    /// The new run.
    pub(crate) run: RunId,
    /// What tells it from the other; its flow is the parent's.
    pub(crate) forked: RunForked,
    /// The text of another flow file.
    pub(crate) source: Option<String>,
    /// The texts of the flow files that it starts as child runs, by their path from its folder.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
}

impl ForkOrder {
    /// The fork as an engine over a store with this salt takes it.
    pub(crate) fn into_fork(self, catalog: &Catalog, salt: Hash) -> Result<ForkRun, Problem> {
        let mut forked = self.forked;
        let flows = match self.source {
            Some(source) => {
                let Pinned { pin, bundle, flows } = pin(source, self.files, catalog, salt)?;
                forked.flow = pin;
                Some((bundle, flows))
            }
            None => None,
        };
        Ok(ForkRun { forked, flows, perform: true })
    }
}

/// A flow as a run pins it.
pub(crate) struct Pinned {
    pub(crate) pin: FlowPin,
    /// The bytes of its bundle.
    pub(crate) bundle: Bytes,
    pub(crate) flows: Flows,
}

/// Pins a flow file, and those of the flows that it starts, with the tools at hand.
pub(crate) fn pin(
    source: String,
    files: BTreeMap<String, String>,
    catalog: &Catalog,
    salt: Hash,
) -> Result<Pinned, Problem> {
    let flows = Flows::load(&source, &files, catalog).map_err(|error| {
        Problem::new(Code::FlowInvalid, format!("the flow does not load at the owner: {error}"))
            .next("aura version, here and for the process that owns the store")
    })?;
    let tools = flows.tools();
    let bundle = Bundle { source, files, tools };
    let bundle = serde_json::to_value(&bundle)
        .map_err(|e| Problem::new(Code::Internal, format!("the flow can't be pinned: {e}")))?;
    let bundle = Bytes::from(canonical::to_vec(&bundle));
    if bundle.len() > limits::BLOB_TABLE_BYTES {
        let (is, most) = (bundle.len(), limits::BLOB_TABLE_BYTES);
        let what = format!("the flow files have {is} bytes; a run pins at most {most}");
        return Err(Problem::new(Code::LimitExceeded, what).next("make them shorter"));
    }
    let flow = &flows.main;
    let pin = FlowPin {
        name: flow.name.clone(),
        version: flow.version.clone(),
        hash: flow.hash,
        bundle: blob_address(salt, &bundle),
        file: None,
    };
    Ok(Pinned { pin, bundle, flows })
}

/// 32 bytes that nobody can guess.
pub(crate) fn random() -> Result<Hash, Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| {
        Problem::new(Code::Internal, format!("the system gives no random bytes: {e}"))
    })?;
    Ok(Hash(bytes))
}
