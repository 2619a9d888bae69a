//! Snapshots: what opening a long run costs, and that nothing rests on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aura_core::commit::StoredCommit;
use aura_core::data::BlobRef;
use aura_core::hash::Hash;
use aura_core::ports::{
    Appended, BlobError, Blobs, Clock, Compacted, Compaction, Group, Health, KeyRow, Position,
    RunQuery, RunRow, RunStatus, Secrets, Snapshot, Store, StoreError, StoreInfo,
};
use aura_core::{Data, Millis, RunId, canonical, limits};
use aura_engine::{Catalog, Engine, History, Options, Ports, StartRun, compile, open_history};
use aura_graph::state::SNAPSHOT_VERSION;
use aura_testkit::model_store::ModelStore;
use bytes::Bytes;
use serde_json::json;

/// A store that counts the bytes that are read of it.
struct Counting {
    inner: ModelStore,
    read: AtomicUsize,
}

impl Counting {
    fn count(&self, bytes: usize) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Store for Counting {
    fn append(&self, group: &Group) -> Result<Appended, StoreError> {
        self.inner.append(group)
    }

    fn read(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<StoredCommit>, StoreError> {
        let page = self.inner.read(run, from, limit)?;
        self.count(page.iter().map(|commit| commit.payload.len()).sum());
        Ok(page)
    }

    fn tail(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, StoredCommit)>, StoreError> {
        self.inner.tail(after, limit)
    }

    fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, StoreError> {
        self.inner.runs(query)
    }

    fn blob(&self, address: Hash) -> Result<Option<Bytes>, StoreError> {
        self.inner.blob(address)
    }

    fn key(&self, key: Hash) -> Result<Option<KeyRow>, StoreError> {
        self.inner.key(key)
    }

    fn keys(&self, after: Option<Hash>, limit: usize) -> Result<Vec<KeyRow>, StoreError> {
        self.inner.keys(after, limit)
    }

    fn keep_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.inner.keep_snapshot(snapshot)
    }

    fn snapshot(&self, run: RunId) -> Result<Option<Snapshot>, StoreError> {
        let snapshot = self.inner.snapshot(run)?;
        self.count(snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes.len()));
        Ok(snapshot)
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        self.inner.info()
    }

    fn compact(&self, asked: &Compaction) -> Result<Compacted, StoreError> {
        self.inner.compact(asked)
    }

    fn check(&self) -> Result<Health, StoreError> {
        self.inner.check()
    }
}

struct Nothing;

#[async_trait]
impl Blobs for Nothing {
    async fn put(&self, _bytes: Bytes) -> Result<BlobRef, BlobError> {
        Err(BlobError::Unavailable("no blobs here".to_owned()))
    }

    async fn get(&self, blob: BlobRef) -> Result<Bytes, BlobError> {
        Err(BlobError::Missing(blob.blob))
    }
}

impl Secrets for Nothing {
    fn get(&self, _name: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

impl Clock for Nothing {
    fn now(&self) -> Millis {
        Millis(1_800_000_000_000)
    }
}

fn long(times: u32) -> String {
    format!(
        "
flow: long
nodes:
  - id: again
    loop:
      times: {times}
      do:
        - {{ id: s, tool: bench.noop, with: {{}} }}
  - {{ id: end, wait: {{ signal: go }} }}
output: $steps.again.output
"
    )
}

/// The disk of a process that was killed when a run of many steps waited for a signal.
fn killed(times: u32) -> (ModelStore, RunId) {
    let store = Arc::new(ModelStore::new());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ports = Ports {
        store: Arc::clone(&store) as Arc<dyn Store>,
        blobs: Arc::new(Nothing),
        catalog: Catalog::new(aura_tools::builtin(aura_tools::Options::default())),
        secrets: Arc::new(Nothing),
        clock: Arc::new(Nothing),
        runtime: runtime.handle().clone(),
    };
    let engine = Engine::start(ports, Options::default()).unwrap();
    let run = RunId(uuid::Uuid::from_u128(1));
    engine.handle().start(run, start(&store, long(times))).unwrap();
    let mut rung = 0;
    while store.runs(&RunQuery::default()).unwrap()[0].status != RunStatus::Waiting {
        rung = engine.handle().bell().wait(rung, Duration::from_secs(1));
    }
    let disk = store.disk();
    engine.shutdown(Duration::from_secs(10));
    (ModelStore::from_disk(disk), run)
}

fn start(store: &ModelStore, source: String) -> StartRun {
    let salt = store.info().unwrap().salt;
    let mut start =
        aura_testkit::world::start_of(1, "flow: f\nnodes: [{ id: s, sleep: 1s }]", json!({}), salt);
    let catalog = Catalog::new(aura_tools::builtin(aura_tools::Options::default()));
    let noop = catalog.definitions().find(|tool| tool.name == "bench.noop").unwrap();
    let tools = [(noop.name.clone(), noop.clone())].into();
    let bundle =
        aura_core::input::Bundle { source, files: std::collections::BTreeMap::new(), tools };
    start.flows = compile(&bundle).unwrap();
    start.bundle = Bytes::from(canonical::to_vec(&json!(bundle)));
    start.started.flow.bundle = aura_core::data::blob_address(salt, &start.bundle);
    start.started.flow.hash = start.flows.main.hash;
    start.started.input = Data::from(json!({ "what": "the input" }));
    start
}

fn open(store: &dyn Store, run: RunId) -> History {
    open_history(store, run).unwrap().unwrap()
}

/// Bytes are counted, not time.
#[test]
fn a_loop_of_ten_thousand_steps_is_opened_by_reading_a_bounded_number_of_bytes() {
    let (inner, run) = killed(10_000);
    let disk = inner.disk();
    let payloads: usize = disk.log.iter().map(|commit| commit.payload.len()).sum();
    let largest = disk.log.iter().map(|commit| commit.payload.len()).max().unwrap();
    let store = Counting { inner, read: AtomicUsize::new(0) };
    let history = open(&store, run);
    assert_eq!(history.run.steps, 10_002);
    let kept = disk.snapshots[&run].bytes.len();
    let most = limits::SNAPSHOT_EVERY_BYTES.max(kept) + kept + 2 * largest;
    let read = store.read.load(Ordering::Relaxed);
    assert!(read <= most, "{read} bytes were read, {most} are the most");
    assert!(payloads > 4 * most, "{payloads} bytes of events are no test of it");
    assert_eq!((history.snapshot, history.run.events), (kept, disk.rows[&run].events));
}

/// Without it, with one of another run, with one that is ahead of the log, with one that was changed: the run is
/// folded from its events, and is the same.
#[test]
fn nothing_rests_on_a_snapshot() {
    let (store, run) = killed(1_500);
    let disk = store.disk();
    let whole = open(&store, run);
    let spoil = |change: &dyn Fn(&mut Snapshot)| {
        let store = ModelStore::from_disk(disk.clone());
        store.tamper(|disk| change(disk.snapshots.get_mut(&run).unwrap()));
        let history = open(&store, run);
        assert_eq!(history.snapshot, 0, "it was used");
        assert_eq!(history.head, whole.head);
        assert_eq!(json!(history.run), json!(whole.run));
    };
    let replaced = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |snapshot: &mut Snapshot| {
            let text = String::from_utf8(snapshot.bytes.to_vec()).unwrap();
            assert!(text.contains(&from), "no {from} in {text}");
            snapshot.bytes = text.replacen(&from, &to, 1).into();
        }
    };
    spoil(&|snapshot| snapshot.bytes = Bytes::new());
    spoil(&|snapshot| snapshot.bytes = snapshot.bytes.slice(..snapshot.bytes.len() / 2));
    spoil(&|snapshot| snapshot.seq += 1);
    let version = |number| format!("\"version\":{number}");
    spoil(&replaced(&version(SNAPSHOT_VERSION), &version(SNAPSHOT_VERSION + 1)));
    spoil(&replaced("\"head\":\"", "\"head\":\"0000"));
    spoil(&replaced("the input", "an input"));
    spoil(&replaced("\"status\":\"running\"", "\"status\":\"failed\""));
    let text = String::from_utf8(disk.snapshots[&run].bytes.to_vec()).unwrap();
    assert!(text.contains("\"again\""), "{text}");
    let store = ModelStore::from_disk(disk.clone());
    store.tamper(|disk| {
        disk.snapshots.clear();
    });
    assert_eq!(json!(open(&store, run).run), json!(whole.run));
}
