//! `aura doctor`: a check of this machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aura_core::error::{Code, Problem};
use aura_core::limits;
use aura_core::ports::{Store, StoreInfo};
use aura_store::OwnerInfo;
use serde_json::{Value, json};

use super::version;
use crate::context::Context;
use crate::describe;
use crate::exit::{self, Exit};
use crate::output::Tone;
use crate::resolve;

/// Times that the disk is asked; the median counts.
const SAMPLES: usize = 25;
/// Bytes written before each sync.
const SAMPLE: [u8; 512] = [0x5a; 512];
/// A sync faster than this does not reach a disk.
const TOO_FAST: Duration = Duration::from_micros(20);
/// A sync slower than this makes every step slow.
const TOO_SLOW: Duration = Duration::from_millis(20);

/// Arguments of `aura doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes a small file without a name into the data directory to measure how long the disk takes for
one sync: every durable step costs at least that. Ends with 4 if the data directory can't be used.

Examples:
  aura doctor
  aura doctor --json | jq .limits")]
pub(crate) struct Args {}

/// What was found.
struct Found {
    writable: Result<PathBuf, String>,
    sync: Option<Sync>,
    owner: Option<OwnerInfo>,
    store: Result<StoreInfo, Problem>,
}

/// How long a sync takes.
#[derive(Clone, Copy)]
struct Sync {
    median: Duration,
    slowest: Duration,
}

/// Does it.
#[expect(clippy::unnecessary_wraps, reason = "the form of every command")]
pub(crate) fn run(context: &Context, _args: Args) -> Result<Exit, Problem> {
    let folder = nearest_folder(&context.dir);
    let (writable, sync) = match measure(&folder) {
        Ok(sync) => (Ok(folder), Some(sync)),
        Err(error) => (Err(format!("{}: {error}", folder.display())), None),
    };
    let owner = aura_store::owner(&context.dir);
    let store = context
        .reader()
        .and_then(|opened| opened.store.info().map_err(|e| resolve::unreadable(&e)));
    let found = Found { writable, sync, owner, store };
    if context.out.json {
        context.out.document(&document(context, &found));
    } else {
        print(context, &found);
    }
    Ok(match (&found.store, &found.writable) {
        (Err(problem), _) if problem.code != Code::NotFound => exit::of(problem.code),
        (_, Err(_)) => Exit::Unavailable,
        _ => Exit::Done,
    })
}

/// The data directory, or the folder in which it would be made.
fn nearest_folder(dir: &Path) -> PathBuf {
    // A file in its place is found too, and then can't be written to like a folder.
    dir.ancestors().find(|folder| folder.exists()).unwrap_or(dir).to_owned()
}

fn measure(folder: &Path) -> std::io::Result<Sync> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = [Duration::ZERO; SAMPLES];
    for time in &mut times {
        file.write_all(&SAMPLE)?;
        let begin = Instant::now();
        file.sync_data()?;
        *time = begin.elapsed();
    }
    times.sort_unstable();
    Ok(Sync { median: times[times.len() / 2], slowest: times[times.len() - 1] })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn document(context: &Context, found: &Found) -> Value {
    let limits: serde_json::Map<_, _> =
        limits::all().into_iter().map(|(name, value, _)| (name.to_owned(), json!(value))).collect();
    let (store, problem) = match &found.store {
        Ok(info) => (json!(info), Value::Null),
        Err(problem) => (Value::Null, json!(problem)),
    };
    json!({
        "version": version::VERSION,
        "target": version::target(),
        "data_dir": context.dir,
        "writable": found.writable.is_ok(),
        "sync_us": found.sync.map(|sync| json!({
            "median": micros(sync.median), "slowest": micros(sync.slowest),
        })),
        "owner": found.owner,
        "store": store,
        "problem": problem,
        "terminal": context.out.terminal,
        "limits": limits,
    })
}

fn print(context: &Context, found: &Found) {
    let out = &context.out;
    row(
        context,
        Tone::Good,
        "version",
        &format!("aura {} ({})", version::VERSION, version::target()),
    );
    let dir = context.dir.display().to_string();
    match &found.writable {
        Ok(folder) if *folder == context.dir => {
            row(context, Tone::Good, "data", &format!("{dir}, writable"));
        }
        Ok(folder) => {
            row(context, Tone::Good, "data", &format!("{dir}, to be made in {}", folder.display()));
        }
        Err(why) => {
            row(context, Tone::Bad, "data", &format!("{dir} can't be written: {why}"));
            context.out.line(format_args!("  {:<10} next: name another: --data-dir DIR", ""));
        }
    }
    if let Some(sync) = found.sync {
        let (tone, text) = disk(sync);
        row(context, tone, "disk", &text);
    }
    let owner = match &found.owner {
        Some(owner) => format!("process {}", owner.pid),
        None => "nobody; commands that write become it".to_owned(),
    };
    row(context, Tone::Good, "owner", &owner);
    store(context, &found.store);
    let terminal = if out.terminal { "yes" } else { "no, so progress is printed as plain lines" };
    row(context, Tone::Good, "terminal", terminal);
    out.line(format_args!("\n{}", out.paint(Tone::Strong, "limits")));
    for (name, value, meaning) in limits::all() {
        let name = out.paint(Tone::Faint, format_args!("{name:<22}"));
        out.line(format_args!("  {name} {value:>13}  {meaning}"));
    }
}

fn row(context: &Context, tone: Tone, name: &str, text: &str) {
    let mark = match tone {
        Tone::Bad => "✗",
        Tone::Warn => "!",
        _ => "✓",
    };
    context.out.line(format_args!("{} {name:<10} {text}", context.out.paint(tone, mark)));
}

fn disk(sync: Sync) -> (Tone, String) {
    let (median, slowest) = (micros(sync.median), micros(sync.slowest));
    let text = format!("a sync takes {median} µs, at most {slowest} µs of {SAMPLES}");
    if sync.median < TOO_FAST {
        let why = "too fast for a disk; a power cut may lose what was acknowledged";
        (Tone::Warn, format!("{text}: {why}"))
    } else if sync.median > TOO_SLOW {
        (Tone::Warn, format!("{text}: slow, and each step waits for it"))
    } else {
        (Tone::Good, text)
    }
}

fn store(context: &Context, found: &Result<StoreInfo, Problem>) {
    let info = match found {
        Ok(info) => info,
        Err(problem) if problem.code == Code::NotFound => {
            return row(context, Tone::Good, "store", "none yet; a run makes it");
        }
        Err(problem) => {
            row(context, Tone::Bad, "store", &format!("{}: {problem}", problem.code));
            if let Some(next) = &problem.next {
                context.out.line(format_args!("  {:<10} next: {next}", ""));
            }
            return;
        }
    };
    let sizes = [
        describe::bytes(info.bytes),
        describe::count(info.runs, "run"),
        describe::count(info.events, "event"),
    ];
    row(context, Tone::Good, "store", &sizes.join(", "));
    let fact = |name: &str| info.engine.get(name).map(String::as_str).unwrap_or_default();
    let below = |text: String| context.out.line(format_args!("  {:<10} {text}", ""));
    below(format!("format {} (tables {})", info.format, info.schema));
    below(format!("SQLite {}, journal {}", fact("version"), fact("journal_mode")));
    let tone = if fact("fdatasync") == "true" { Tone::Good } else { Tone::Warn };
    row(context, tone, "build", &format!("HAVE_FDATASYNC={}", fact("fdatasync")));
    // Lines of their own, or nobody can read them.
    let mut line = String::new();
    for option in fact("compile_options").split_whitespace() {
        if line.len() + option.len() > 84 {
            below(std::mem::take(&mut line).trim_end().to_owned());
        }
        line.push_str(option);
        line.push(' ');
    }
    below(line.trim_end().to_owned());
}
