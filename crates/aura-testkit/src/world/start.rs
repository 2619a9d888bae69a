//! Starting runs in a world.

use std::collections::BTreeMap;

use aura_core::data::blob_address;
use aura_core::event::{FlowPin, RunStarted};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Bundle;
use aura_core::task::Permissions;
use aura_core::time::Millis;
use aura_core::{Data, canonical};
use aura_engine::{Message, StartRun, Submission, Submitted, compile};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::World;
use super::outside::tools;

/// Milliseconds that a client waits after a refusal.
const PATIENCE_MS: u64 = 100;

/// A run that somebody wants started, until its start is durable.
pub(super) struct Starting {
    start: StartRun,
    /// Whether it was asked for and the answer is not known.
    asked: bool,
    /// When it may be asked for again, after a refusal.
    pub(super) again: Millis,
}

impl Starting {
    /// Whether a client may ask now.
    pub(super) fn may_ask(&self, now: Millis) -> bool {
        !self.asked && self.again <= now
    }

    /// Whoever was asked is gone.
    pub(super) fn forgotten(&mut self) {
        self.asked = false;
    }

    /// It was refused; the client tries again a little later.
    pub(super) fn refused(&mut self, now: Millis) {
        self.asked = false;
        self.again = now.plus(PATIENCE_MS);
    }
}

impl World {
    /// Starts a run and waits until its start is durable, however often the engine falls.
    ///
    /// # Panics
    /// The flow does not load.
    pub fn start(&mut self, name: u64, source: &str, input: &Value) -> RunId {
        let run = self.begin(name, source, input);
        while self.starting.contains_key(&run) {
            self.operate();
        }
        run
    }

    /// Wants a run started, some time; the name makes its id.
    ///
    /// # Panics
    /// The flow does not load.
    pub fn begin(&mut self, name: u64, source: &str, input: &Value) -> RunId {
        let start = start_of(name, source, input.clone(), self.disk.salt);
        self.begin_with(name, start)
    }

    pub(super) fn begin_with(&mut self, name: u64, start: StartRun) -> RunId {
        let run = RunId(Uuid::from_u128(u128::from(name) + 1));
        self.starting.insert(run, Starting { start, asked: false, again: self.now });
        run
    }

    /// A client asks for a run that it wants; now and then it asks twice.
    pub(super) fn start_one(&mut self) {
        let waiting: Vec<_> = self
            .starting
            .iter()
            .filter(|(_, s)| s.may_ask(self.now))
            .map(|(run, _)| *run)
            .collect();
        let run = waiting[self.seed.below(waiting.len())];
        let times = if self.one_in(self.hardship.twice) { 2 } else { 1 };
        self.note(format_args!("asks for {run}"));
        for _ in 0..times {
            let reply = self.reply(run);
            let Some(starting) = self.starting.get_mut(&run) else { return };
            starting.asked = true;
            let input = Submitted::Start(Box::new(starting.start.clone()));
            self.deliver(Message::Submit(Submission { run, input, reply }));
        }
    }
}

/// What a run of a flow starts with, in a world.
///
/// # Panics
/// The flow does not load.
pub fn start_of(name: u64, source: &str, input: Value, salt: Hash) -> StartRun {
    start_family(name, (source, &BTreeMap::new()), input, salt)
}

/// The same, with the files of flows that it may start as child runs.
///
/// # Panics
/// A flow does not load.
pub fn start_family(
    name: u64,
    (source, files): (&str, &BTreeMap<String, String>),
    input: Value,
    salt: Hash,
) -> StartRun {
    let bundle = Bundle { source: source.to_owned(), files: files.clone(), tools: tools() };
    start_with(name, &bundle, input, salt)
}

pub(super) fn start_with(name: u64, bundle: &Bundle, input: Value, salt: Hash) -> StartRun {
    let flows = compile(bundle);
    let flows = flows.unwrap_or_else(|problem| panic!("{}\n{}", problem.what, bundle.source));
    let flow = &flows.main;
    let bytes = Bytes::from(canonical::to_vec(&json!(bundle)));
    let started = RunStarted {
        flow: FlowPin {
            name: flow.name.clone(),
            version: flow.version.clone(),
            hash: flow.hash,
            bundle: blob_address(salt, &bytes),
            file: None,
        },
        input: Data::from(input),
        wide_numbers: Vec::new(),
        key: None,
        labels: BTreeMap::new(),
        seed: Hash::of(&name.to_be_bytes()),
        salt: Hash::of(b"salt"),
        flags: aura_graph::flags::CURRENT.to_vec(),
        permissions: Permissions::default(),
        vars: BTreeMap::new(),
        parent: None,
        continues: None,
        signals: Vec::new(),
        actor: "world".to_owned(),
        deadline: None,
        budget: None,
        state: Hash::ZERO,
    };
    StartRun { started, bundle: bytes, flows, perform: true }
}
