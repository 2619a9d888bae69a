//! W1: ten sequential durable no-op steps, each result durable before the next step starts, at rising concurrency.
//!
//! Prints one JSON object a line; `cargo xtask bench` runs it and sets it beside the disk. Takes a folder and the
//! seconds for each level.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aura_core::data::blob_address;
use aura_core::event::{FlowPin, RunStarted};
use aura_core::input::Bundle;
use aura_core::ports::{Clock, Secrets, Store};
use aura_core::task::Permissions;
use aura_core::tool::ToolDef;
use aura_core::{Data, Hash, Millis, RunId, canonical};
use aura_engine::{
    Catalog, Engine, Handle, Message, Options, Ports, StartRun, Submission, Submitted, compile,
};
use aura_graph::Flow;
use bytes::Bytes;
use crossbeam_channel::Sender;
use serde_json::json;
use uuid::Uuid;

const STEPS: u32 = 10;
const LEVELS: [usize; 6] = [1, 16, 64, 256, 1_024, 4_096];

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
struct Prepared {
    flow: Arc<Flow>,
    bundle: Bytes,
    address: aura_core::data::BlobRef,
}

fn main() {
    // `cargo bench` passes `--bench`; what is left are the folder and the seconds.
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let dir = args.first().cloned().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let seconds = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for level in LEVELS {
        let place = tempfile::tempdir_in(Path::new(&dir)).expect("a folder");
        println!("{}", w1(place.path(), &runtime, level, Duration::from_secs(seconds)));
    }
}

fn w1(
    dir: &Path,
    runtime: &tokio::runtime::Runtime,
    level: usize,
    time: Duration,
) -> serde_json::Value {
    let opened = aura_store::open(dir, aura_store::Access::Owner).expect("a store");
    let catalog = Catalog::new(aura_tools::builtin(aura_tools::Options::default()));
    let salt = opened.store.info().expect("facts of the store").salt;
    let prepared = prepare(&catalog, salt);
    let ports = Ports {
        store: Arc::clone(&opened.store) as Arc<dyn Store>,
        blobs: opened.blobs,
        catalog,
        secrets: Arc::new(NoSecrets),
        clock: Arc::new(Now),
        runtime: runtime.handle().clone(),
    };
    let engine = Engine::start(ports, Options { slots: level.max(64) }).expect("an engine");
    let (done, finished) = crossbeam_channel::unbounded();
    let (begin, cpu) = (Instant::now(), cpu_time());
    for _ in 0..level {
        start(engine.handle(), &prepared, &done);
    }
    let mut latencies = Vec::new();
    let mut open = level;
    while open > 0 {
        let latency: Duration = finished.recv().expect("a run that ends");
        latencies.push(latency);
        if begin.elapsed() < time {
            start(engine.handle(), &prepared, &done);
        } else {
            open -= 1;
        }
    }
    let (elapsed, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));
    let bytes = opened.store.info().expect("facts of the store").bytes;
    assert!(engine.shutdown(Duration::from_secs(10)), "the engine drains");
    report(level, &mut latencies, elapsed, (cpu, bytes))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(
    level: usize,
    latencies: &mut [Duration],
    elapsed: Duration,
    (cpu, bytes): (Duration, u64),
) -> serde_json::Value {
    latencies.sort_unstable();
    let at = |share: f64| {
        let last = latencies.len() - 1;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = (last as f64 * share).round() as usize;
        latencies[index].as_secs_f64() * 1e6
    };
    let steps = latencies.len() as f64 * f64::from(STEPS);
    json!({
        "workload": "W1",
        "runs": level,
        "steps": steps,
        "steps_per_s": steps / elapsed.as_secs_f64(),
        "step_p50_us": at(0.5) / f64::from(STEPS),
        "run_p50_us": at(0.5),
        "run_p99_us": at(0.99),
        "cpu_us_per_step": cpu.as_secs_f64() * 1e6 / steps,
        "bytes_per_step": bytes as f64 / steps,
    })
}

fn prepare(catalog: &Catalog, salt: Hash) -> Prepared {
    let mut source = "flow: w1\nnodes:\n".to_owned();
    for number in 1..=STEPS {
        let _ = writeln!(source, "  - {{ id: s{number}, tool: bench.noop, with: {{}} }}");
    }
    let noop = catalog.definitions().find(|def| def.name == "bench.noop").expect("bench.noop");
    let tools: BTreeMap<String, ToolDef> = [(noop.name.clone(), noop.clone())].into();
    let bundle = Bundle { source, tools };
    let flow = Arc::new(compile(&bundle).expect("the flow of W1 loads"));
    let bytes = Bytes::from(canonical::to_vec(&json!(bundle)));
    Prepared { flow, address: blob_address(salt, &bytes), bundle: bytes }
}

fn start(handle: &Handle, prepared: &Prepared, done: &Sender<Duration>) {
    let run = RunId(Uuid::now_v7());
    let flow = &prepared.flow;
    let started = RunStarted {
        flow: FlowPin {
            name: flow.name.clone(),
            version: None,
            hash: flow.hash,
            bundle: prepared.address,
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
        actor: "bench".to_owned(),
        state: Hash::ZERO,
    };
    let start = StartRun {
        started,
        bundle: prepared.bundle.clone(),
        flow: Arc::clone(flow),
        perform: true,
    };
    let begin = Instant::now();
    let submit = Message::Submit(Submission {
        run,
        input: Submitted::Start(Box::new(start)),
        reply: Box::new(|result| {
            result.expect("a start that is taken");
        }),
    });
    handle.send(submit).expect("room in the queue");
    let done = done.clone();
    let reply = Box::new(move |_| {
        let _ = done.send(begin.elapsed());
    });
    handle.send(Message::Await { run, reply }).expect("room in the queue");
}

/// Processor time of this process, user and system, from `/proc/self/stat` in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
