//! The workloads W1 to W4 of `bench/README.md`, on the real engine and store in one process.
//!
//! Prints one JSON object a line; `cargo xtask bench` runs it and sets it beside the disk. Takes a folder, the seconds
//! for each level of W1, and the workloads to run (`W1`, `W1:256`, `W2`, …); all if none is named.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod setup;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aura_core::RunId;
use aura_core::input::Input;
use aura_core::ports::{RunQuery, RunStatus};
use crossbeam_channel::Sender;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use setup::{Bench, Prepared, cpu_time, percentile, resident};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps of a run of W1.
const STEPS: u32 = 10;
/// Runs at once in W1.
const LEVELS: [usize; 6] = [1, 16, 64, 256, 1_024, 4_096];
/// Steps side by side in W2, and how often it is measured.
const WIDE: u32 = 1_000;
const WIDE_RUNS: usize = 15;
/// Steps of the one run of W3.
const LONG: u32 = 10_000;
/// Runs asleep in W4.
const SLEEPERS: usize = 100_000;
/// Of them that are started at once, so that what the starts take for themselves does not grow with their number.
const AT_ONCE: usize = 1_000;

fn main() {
    // `cargo bench` passes `--bench`; what is left are the folder, the seconds and the workloads.
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let dir = args.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let seconds = args.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let wanted: Vec<String> = args.collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let place = || tempfile::tempdir_in(Path::new(&dir)).expect("a folder");
    for level in LEVELS {
        if asked("W1") || asked(&format!("W1:{level}")) {
            println!("{}", w1(place().path(), &runtime, level, Duration::from_secs(seconds)));
        }
    }
    if asked("W2") {
        println!("{}", w2(place().path(), &runtime));
    }
    if asked("W3") {
        println!("{}", w3(place().path(), &runtime));
    }
    if asked("W4") {
        println!("{}", w4(place().path(), &runtime));
    }
}

/// Ten sequential durable no-op steps, each result durable before the next step starts, at rising concurrency.
fn w1(dir: &Path, runtime: &Runtime, level: usize, time: Duration) -> Value {
    let bench = Bench::open(dir, runtime, level.max(64));
    let mut source = "flow: w1\nnodes:\n".to_owned();
    for number in 1..=STEPS {
        let _ = writeln!(source, "  - {{ id: s{number}, tool: bench.noop, with: {{}} }}");
    }
    let prepared = bench.prepare(&source);
    let (done, finished) = crossbeam_channel::unbounded();
    let (begin, cpu) = (Instant::now(), cpu_time());
    for _ in 0..level {
        timed(&bench, &prepared, &done);
    }
    let mut latencies: Vec<Duration> = Vec::new();
    let mut open = level;
    while open > 0 {
        latencies.push(finished.recv().expect("a run that ends"));
        if begin.elapsed() < time {
            timed(&bench, &prepared, &done);
        } else {
            open -= 1;
        }
    }
    let (elapsed, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));
    let bytes = bench.store.info().expect("facts of the store").bytes;
    bench.close();
    latencies.sort_unstable();
    let steps = float(latencies.len()) * f64::from(STEPS);
    json!({
        "workload": "W1",
        "runs": level,
        "steps": steps,
        "steps_per_s": steps / elapsed.as_secs_f64(),
        "step_p50_us": percentile(&latencies, 0.5) / f64::from(STEPS),
        "run_p50_us": percentile(&latencies, 0.5),
        "run_p99_us": percentile(&latencies, 0.99),
        "cpu_us_per_step": cpu.as_secs_f64() * 1e6 / steps,
        "bytes_per_step": float(bytes) / steps,
    })
}

/// A thousand steps side by side, joined.
fn w2(dir: &Path, runtime: &Runtime) -> Value {
    let bench = Bench::open(dir, runtime, WIDE as usize);
    let items = (0..WIDE).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let source = format!(
        "flow: w2\nnodes:\n  - id: wide\n    map:\n      items: [{items}]\n      concurrency: {WIDE}\n      do:\n        - {{ id: s, tool: bench.noop, with: {{}} }}\n"
    );
    let prepared = bench.prepare(&source);
    let (done, finished) = crossbeam_channel::unbounded();
    let mut latencies: Vec<Duration> = Vec::new();
    for _ in 0..WIDE_RUNS {
        timed(&bench, &prepared, &done);
        latencies.push(finished.recv().expect("a run that ends"));
    }
    bench.close();
    latencies.sort_unstable();
    json!({
        "workload": "W2",
        "steps": WIDE,
        "run_p50_us": percentile(&latencies, 0.5),
        "run_p99_us": percentile(&latencies, 0.99),
    })
}

/// One run of ten thousand sequential steps, and its recovery.
fn w3(dir: &Path, runtime: &Runtime) -> Value {
    let bench = Bench::open(dir, runtime, 64);
    let source = format!(
        "flow: w3\nnodes:\n  - id: long\n    loop:\n      times: {LONG}\n      do:\n        - {{ id: s, tool: bench.noop, with: {{}} }}\n  - {{ id: hold, wait: {{ signal: go }} }}\n"
    );
    let prepared = bench.prepare(&source);
    let (begin, cpu) = (Instant::now(), cpu_time());
    let run = bench.start(&prepared, Box::new(|_| {}));
    let mut seen = 0;
    while !waiting(&bench, run) {
        seen = bench.engine.handle().bell().wait(seen, Duration::from_secs(1));
    }
    let (elapsed, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));
    let (first, last) = ends(&bench, run);
    bench.close();
    let bench = Bench::open(dir, runtime, 64);
    let begin = Instant::now();
    bench.engine.handle().perform(run).expect("a run that recovers");
    let recovered = begin.elapsed();
    bench.close();
    json!({
        "workload": "W3",
        "steps": LONG,
        "total_s": elapsed.as_secs_f64(),
        "cpu_us_per_step": cpu.as_secs_f64() * 1e6 / f64::from(LONG),
        "first_thousand_ms": first,
        "last_thousand_ms": last,
        "recovery_ms": recovered.as_secs_f64() * 1e3,
    })
}

/// A hundred thousand runs that sleep for an hour: how fast they start, what memory they keep, how soon they are back.
fn w4(dir: &Path, runtime: &Runtime) -> Value {
    let bench = Bench::open(dir, runtime, 64);
    let prepared = bench.prepare("flow: w4\nnodes:\n  - { id: nap, sleep: 1h }\n");
    let (done, started) = crossbeam_channel::unbounded();
    let start = |count: usize| {
        for _ in 0..count / AT_ONCE {
            for _ in 0..AT_ONCE {
                let done = done.clone();
                bench.start(
                    &prepared,
                    Box::new(move |_| {
                        let _ = done.send(());
                    }),
                );
            }
            started.iter().take(AT_ONCE).for_each(drop);
        }
    };
    // All that comes on top is counted, caches of bounded size too, so that the share of a sleeper is an upper bound.
    let (before, begin) = (settled(), Instant::now());
    start(SLEEPERS);
    let (elapsed, after) = (begin.elapsed(), settled());
    bench.close();
    let bench = Bench::open(dir, runtime, 64);
    let begin = Instant::now();
    let back = bench.engine.handle().recover().expect("runs that recover");
    let query = RunQuery { limit: 1, ..RunQuery::default() };
    let row = bench.store.runs(&query).expect("rows").pop().expect("a run");
    let signal = Input::Signal {
        id: "1".to_owned(),
        name: "wake".to_owned(),
        payload: aura_core::Data::null(),
        actor: "bench".to_owned(),
    };
    bench.engine.handle().submit(row.run, signal).expect("a run that takes a signal");
    let recovered = begin.elapsed();
    bench.close();
    assert_eq!(back, SLEEPERS, "every run is back");
    json!({
        "workload": "W4",
        "runs": SLEEPERS,
        "starts_per_s": float(SLEEPERS) / elapsed.as_secs_f64(),
        "bytes_per_run": float(after.saturating_sub(before)) / float(SLEEPERS),
        "recovered": back,
        "recovery_ms": recovered.as_secs_f64() * 1e3,
    })
}

/// Bytes resident when all that is due has been done: they stay the same for a while.
fn settled() -> u64 {
    let mut bytes = resident();
    let mut same = 0;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(20));
        let now = resident();
        same = if now == bytes { same + 1 } else { 0 };
        bytes = now;
        if same == 10 {
            break;
        }
    }
    bytes
}

/// Starts a run; how long it took is told when it has ended.
fn timed(bench: &Bench, prepared: &Prepared, done: &Sender<Duration>) {
    let begin = Instant::now();
    let run = bench.start(
        prepared,
        Box::new(|result| {
            result.expect("a start that is taken");
        }),
    );
    let done = done.clone();
    bench.when_ended(
        run,
        Box::new(move |_| {
            let _ = done.send(begin.elapsed());
        }),
    );
}

fn waiting(bench: &Bench, run: RunId) -> bool {
    let query = RunQuery { id_prefix: Some(run.to_string()), ..RunQuery::default() };
    let rows = bench.store.runs(&query).expect("rows");
    rows.iter().any(|row| row.status == RunStatus::Waiting)
}

/// Milliseconds of the first and the last thousand steps, as the log has their times.
fn ends(bench: &Bench, run: RunId) -> (i64, i64) {
    let mut times = Vec::new();
    let mut from = 1;
    loop {
        let page = bench.store.read(run, from, 1_000).expect("the history");
        let Some(last) = page.last() else { break };
        from = last.header.seq + u64::from(last.header.count);
        times.extend(page.iter().map(|commit| commit.header.at.0));
    }
    let (first, last) = (times.get(1_000), times.len().checked_sub(1_001));
    let span =
        |to: Option<&i64>, from: Option<&i64>| to.zip(from).map_or(0, |(to, from)| to - from);
    (span(first, times.first()), span(times.last(), last.and_then(|at| times.get(at))))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or_default() as f64
}
