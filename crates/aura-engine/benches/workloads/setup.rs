//! An engine on a store of its own, flows to start, and what the process has used so far.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aura_core::data::blob_address;
use aura_core::event::{FlowPin, RunStarted};
use aura_core::input::Bundle;
use aura_core::ports::{Clock, Secrets, Store};
use aura_core::task::Permissions;
use aura_core::tool::ToolDef;
use aura_core::{Data, Hash, Millis, RunId, canonical};
use aura_engine::{
    Catalog, Engine, Message, Options, Ports, Reply, StartRun, Submission, Submitted, compile,
};
use aura_graph::definition::Flows;
use bytes::Bytes;
use serde_json::json;
use tokio::runtime::Runtime;
use uuid::Uuid;

struct Now;

impl Clock for Now {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _name: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// A flow that can be started many times.
pub(crate) struct Prepared {
    flows: Flows,
    bundle: Bytes,
    address: aura_core::data::BlobRef,
}

/// An engine that owns a store.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<dyn Store>,
    catalog: Catalog,
    salt: Hash,
}

impl Bench {
    /// Opens the store of a folder, made if it is not there.
    pub(crate) fn open(dir: &Path, runtime: &Runtime, slots: usize) -> Self {
        let opened = aura_store::open(dir, aura_store::Access::Owner).expect("a store");
        let store = Arc::clone(&opened.store) as Arc<dyn Store>;
        let catalog = Catalog::new(aura_tools::builtin(aura_tools::Options::default()));
        let salt = store.info().expect("facts of the store").salt;
        let ports = Ports {
            store: Arc::clone(&store),
            blobs: opened.blobs,
            catalog: catalog.clone(),
            secrets: Arc::new(NoSecrets),
            clock: Arc::new(Now),
            runtime: runtime.handle().clone(),
        };
        let engine = Engine::start(ports, Options { slots }).expect("an engine");
        Self { engine, store, catalog, salt }
    }

    /// Compiles a flow that calls nothing but `bench.noop`.
    pub(crate) fn prepare(&self, source: &str) -> Prepared {
        let noop = self.catalog.definitions().find(|def| def.name == "bench.noop");
        let noop = noop.expect("bench.noop");
        let tools: BTreeMap<String, ToolDef> = [(noop.name.clone(), noop.clone())].into();
        let bundle = Bundle { source: source.to_owned(), files: BTreeMap::new(), tools };
        let flows = compile(&bundle).expect("the flow loads");
        let bytes = Bytes::from(canonical::to_vec(&json!(bundle)));
        Prepared { flows, address: blob_address(self.salt, &bytes), bundle: bytes }
    }

    /// Starts a run, which this process performs; `accepted` is told when its start is durable.
    pub(crate) fn start(&self, prepared: &Prepared, accepted: Reply) -> RunId {
        let run = RunId(Uuid::now_v7());
        let flow = &prepared.flows.main;
        let started = RunStarted {
            flow: FlowPin {
                name: flow.name.clone(),
                version: None,
                hash: flow.hash,
                bundle: prepared.address,
                file: None,
            },
            input: Data::from(json!({})),
            wide_numbers: Vec::new(),
            key: None,
            labels: BTreeMap::new(),
            seed: Hash::of(run.0.as_bytes()),
            salt: Hash::of(run.0.as_bytes()),
            flags: aura_graph::flags::CURRENT.to_vec(),
            permissions: Permissions::default(),
            vars: BTreeMap::new(),
            parent: None,
            continues: None,
            signals: Vec::new(),
            actor: "bench".to_owned(),
            state: Hash::ZERO,
            deadline: None,
            budget: None,
        };
        let start = StartRun {
            started,
            bundle: prepared.bundle.clone(),
            flows: prepared.flows.clone(),
            perform: true,
        };
        let input = Submitted::Start(Box::new(start));
        self.send(Message::Submit(Submission { run, input, reply: accepted }));
        run
    }

    /// Asks to be told when a run has ended.
    pub(crate) fn when_ended(&self, run: RunId, reply: Reply) {
        self.send(Message::Await { run, reply });
    }

    fn send(&self, message: Message) {
        self.engine.handle().send(message).expect("room in the queue");
    }

    pub(crate) fn close(self) {
        assert!(self.engine.shutdown(Duration::from_secs(30)), "the engine drains");
    }
}

/// Processor time of this process, user and system, from `/proc/self/stat` in ticks of 10 ms.
pub(crate) fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Memory of this process that is in use, in bytes, from `/proc/self/statm` in pages of 4 KiB.
pub(crate) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}

/// The value below which a share of the sorted times lies, in microseconds.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index, and a figure for people"
)]
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default().as_secs_f64() * 1e6
}
