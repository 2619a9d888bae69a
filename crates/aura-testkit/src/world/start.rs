//! Starting runs in a world.

use std::collections::BTreeMap;

use aura_core::data::blob_address;
use aura_core::event::{FlowPin, RunStarted};
use aura_core::fork::{ForkEffects, RunForked};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Bundle;
use aura_core::task::Permissions;
use aura_core::time::Millis;
use aura_core::{Data, canonical};
use aura_engine::{At, ForkRun, Message, StartRun, Submission, Submitted, compile, cut};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::World;
use super::outside::tools;

/// Milliseconds that a client waits after a refusal.
const PATIENCE_MS: u64 = 100;

/// What somebody wants.
enum Wish {
    Start(Box<StartRun>),
    Fork(Box<RunForked>),
}

impl Wish {
    fn submitted(&self) -> Submitted {
        match self {
            Self::Start(start) => Submitted::Start(start.clone()),
            Self::Fork(forked) => {
                let forked = RunForked::clone(forked);
                Submitted::Fork(Box::new(ForkRun { forked, flows: None, perform: true }))
            }
        }
    }
}

/// A run that somebody wants started, until its start is durable.
pub(super) struct Starting {
    wish: Wish,
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
        self.want(name, Wish::Start(Box::new(start)))
    }

    /// Wants a run started that may start these files as child runs, some time.
    ///
    /// # Panics
    /// A flow does not load.
    pub fn begin_family(
        &mut self,
        name: u64,
        family: (&str, &BTreeMap<String, String>),
        input: &Value,
    ) -> RunId {
        let start = start_family(name, family, input.clone(), self.disk.salt);
        self.begin_with(name, start)
    }

    /// Wants a fork of a run that has ended, which leaves it before a step starts, some time.
    ///
    /// # Panics
    /// The run has no such step.
    pub fn begin_fork(
        &mut self,
        name: u64,
        (parent, step): (RunId, &str),
        effects: ForkEffects,
    ) -> RunId {
        let cut = cut(&*self.reopened(), parent, &At::Start(step.into()));
        let cut = cut.unwrap_or_else(|problem| panic!("{step}: {}", problem.what));
        let forked = RunForked {
            parent,
            seq: cut.seq,
            hash: cut.hash,
            flow: cut.flow,
            seed: Hash::of(&name.to_be_bytes()),
            effects,
            mocks: None,
            changes: cut.changes,
            labels: BTreeMap::new(),
            actor: "world".to_owned(),
            then: cut.then,
            open: Vec::new(),
            budget: None,
            state: Hash::ZERO,
        };
        self.want(name, Wish::Fork(Box::new(forked)))
    }

    fn want(&mut self, name: u64, wish: Wish) -> RunId {
        let run = RunId(Uuid::from_u128(u128::from(name) + 1));
        self.starting.insert(run, Starting { wish, asked: false, again: self.now });
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
            let input = starting.wish.submitted();
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
