//! Starting runs.

use std::collections::BTreeMap;

use aura_core::canonical;
use aura_core::data::{Data, blob_address};
use aura_core::error::{Code, Problem};
use aura_core::event::{FlowPin, RunStarted};
use aura_core::hash::Hash;
use aura_core::id::{RunId, TenantId};
use aura_core::input::Bundle;
use aura_core::schema::Schema;
use aura_core::task::Permissions;
use aura_engine::{Catalog, StartRun};
use aura_graph::Flow;
use aura_graph::definition::{BundleError, Flows};
use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

/// A run to be started.
#[derive(Debug, Clone)]
pub struct Start {
    source: String,
    input: Value,
    key: Option<String>,
    labels: BTreeMap<String, String>,
}

impl Start {
    /// A run of the flow with this text.
    pub fn new(flow: &str, input: Value) -> Self {
        Self { source: flow.to_owned(), input, key: None, labels: BTreeMap::new() }
    }

    /// The same, with a key: the same flow, key and input again is the same run.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same, with a label to find it by.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    pub(crate) fn order(
        self,
        catalog: &Catalog,
        salt: Hash,
        (permissions, actor): (&Permissions, &str),
    ) -> Result<(RunId, StartRun), Problem> {
        let flows = Flows::load(&self.source, &BTreeMap::new(), catalog).map_err(|error| {
            let lines = match error {
                BundleError::Invalid { found, .. } => {
                    let lines: Vec<_> = found.problems.iter().map(|p| format!("\n  {p}")).collect();
                    lines.concat()
                }
                other @ BundleError::Child { .. } => format!("\n  {other}"),
            };
            Problem::new(Code::FlowInvalid, format!("the flow does not load:{lines}"))
                .kept("nothing was started")
        })?;
        let flow = &flows.main;
        fits(flow, &self.input)?;
        let run = match &self.key {
            Some(key) => RunId::keyed(TenantId::LOCAL, &flow.name, key),
            None => RunId(Uuid::now_v7()),
        };
        let bundle = Bundle { source: self.source, files: BTreeMap::new(), tools: flows.tools() };
        let bundle = serde_json::to_value(&bundle)
            .map_err(|e| Problem::new(Code::Internal, format!("the flow can't be pinned: {e}")))?;
        let bundle = Bytes::from(canonical::to_vec(&bundle));
        let started = RunStarted {
            flow: FlowPin {
                name: flow.name.clone(),
                version: flow.version.clone(),
                hash: flow.hash,
                bundle: blob_address(salt, &bundle),
                file: None,
            },
            input: Data::from(self.input),
            wide_numbers: Vec::new(),
            key: self.key,
            labels: self.labels,
            deadline: None,
            budget: None,
            seed: random()?,
            salt: random()?,
            flags: aura_graph::flags::CURRENT.to_vec(),
            permissions: permissions.clone(),
            vars: BTreeMap::new(),
            parent: None,
            continues: None,
            signals: Vec::new(),
            actor: actor.to_owned(),
            state: Hash::ZERO,
        };
        Ok((run, StartRun { started, bundle, flows, perform: true }))
    }
}

fn fits(flow: &Flow, input: &Value) -> Result<(), Problem> {
    let Some(schema) = &flow.input else { return Ok(()) };
    let schema = Schema::compile(schema).map_err(|why| {
        Problem::new(Code::FlowInvalid, format!("the input schema of the flow is none: {why}"))
    })?;
    let lines: Vec<_> = schema.violations(input).iter().map(|v| format!("\n  {v}")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let what = format!("the input does not fit flow '{}':{}", flow.name, lines.concat());
    Err(Problem::new(Code::InvalidInput, what).kept("nothing was started"))
}

/// 32 bytes that nobody can guess.
fn random() -> Result<Hash, Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| {
        Problem::new(Code::Internal, format!("the system gives no random bytes: {e}"))
    })?;
    Ok(Hash(bytes))
}
