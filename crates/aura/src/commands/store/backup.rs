//! `aura store backup` and `aura store restore`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Clock, RunQuery, Store};
use aura_core::time::Millis;
use aura_store::Access;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::archive::making::Making;
use crate::archive::{self, Copied, copy, restored};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Tone, local_time};
use crate::wire::SystemClock;
use crate::{deployed, describe, resolve, whole};

/// The file that says that a backup is whole; written last.
const MANIFEST: &str = "backup.json";

/// Arguments of `aura store backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs go on meanwhile. The backup is the store as it was when it began: the log, and every blob that
the log names. Secrets are not in it. It is a data directory itself, which 'aura --data-dir DIR'
reads.

Examples:
  aura store backup /backup/aura-monday
  aura --data-dir /backup/aura-monday store check")]
pub(crate) struct BackupArgs {
    /// The folder to make.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Arguments of `aura store restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is performed until somebody says so: 'aura resume' first lists what a run may have done after
the backup was taken.

Examples:
  aura --data-dir ~/aura-restored store restore /backup/aura-monday
  aura --data-dir ~/aura-restored resume --all")]
pub(crate) struct RestoreArgs {
    /// The folder of the backup.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// What a backup says about itself.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// When it was begun.
    at: Millis,
    /// What it holds.
    #[serde(flatten)]
    holds: Holds,
}

#[derive(Debug, Serialize, Deserialize)]
struct Holds {
    runs: u64,
    commits: u64,
    events: u64,
    blobs: u64,
}

/// Copies the store.
pub(super) fn backup(context: &Context, args: &BackupArgs) -> Result<Exit, Problem> {
    let source = context.reader()?;
    let dir = std::path::absolute(&args.dir).map_err(|e| unusable(&args.dir, &e))?;
    match fs::read_dir(&dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            let what = format!("{} is not empty", dir.display());
            return Err(Problem::new(Code::Usage, what)
                .kept("nothing was changed")
                .next("name a folder that is not there yet"));
        }
        Ok(false) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(unusable(&dir, &e)),
    }
    let at = SystemClock.now();
    let making = Making::begin(&dir).map_err(|e| unusable(&dir, &e))?;
    aura_store::create(making.dir(), source.store.salt())?;
    let Copied { runs, commits, events, blobs } = copied(&source, making.dir())?;
    deployed::copy(&context.dir, making.dir())?;
    let manifest = Manifest { at, holds: Holds { runs, commits, events, blobs } };
    let text = serde_json::to_vec(&manifest).map_err(|e| unusable(&dir, &e.into()))?;
    whole::write(&making.dir().join(MANIFEST), &text).map_err(|e| unusable(&dir, &e))?;
    making.finish().map_err(|e| unusable(&dir, &e))?;
    let out = &context.out;
    if out.json {
        out.document(&json!({
            "dir": dir, "at": at, "runs": runs, "commits": commits, "events": events, "blobs": blobs,
        }));
    } else {
        let what = holds(&manifest.holds);
        out.line(format_args!("{} {what} in {}", out.paint(Tone::Good, "kept"), dir.display()));
    }
    Ok(Exit::Done)
}

fn copied(source: &aura_store::Opened, dir: &Path) -> Result<Copied, Problem> {
    let runtime = archive::runtime()?;
    let target = aura_store::open(dir, Access::Owner)?;
    let (copied, _) = copy::everything(source, &target, &runtime)?;
    Ok(copied)
}

fn holds(holds: &Holds) -> String {
    [
        describe::count(holds.runs, "run"),
        describe::count(holds.commits, "commit"),
        describe::count(holds.blobs, "blob"),
    ]
    .join(", ")
}

/// Makes a store of a backup.
pub(super) fn restore(context: &Context, args: &RestoreArgs) -> Result<Exit, Problem> {
    let from = &args.dir;
    let manifest: Manifest = match whole::read(&from.join(MANIFEST), limits::BACKUP_BYTES) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| unusable(from, &e.into()))?,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let what = format!("{} is not a whole backup", from.display());
            return Err(Problem::new(Code::NotFound, what)
                .kept("nothing was changed")
                .next("name a folder that 'aura store backup' made"));
        }
        Err(e) => return Err(unusable(from, &e)),
    };
    let to = &context.dir;
    if to.join("aura.db").exists() {
        let what = format!("there is a store in {} already", to.display());
        return Err(Problem::new(Code::Conflict, what)
            .kept("nothing was changed")
            .next("name a new data directory: aura --data-dir DIR store restore BACKUP"));
    }
    let source = aura_store::open(from, Access::Reader)?;
    let open = open_runs(&*source.store)?;
    let making = Making::begin(to).map_err(|e| unusable(to, &e))?;
    aura_store::create(making.dir(), source.store.salt())?;
    restored::mark(making.dir(), &open, manifest.at)?;
    let copied = copied(&source, making.dir())?;
    deployed::copy(from, making.dir())?;
    whole_store(making.dir(), from)?;
    making.finish().map_err(|e| unusable(to, &e))?;
    tell(context, &manifest, &copied, &open);
    Ok(Exit::Done)
}

fn whole_store(dir: &Path, from: &Path) -> Result<(), Problem> {
    let store = aura_store::open(dir, Access::Owner)?.store;
    let health = store.check().map_err(|e| resolve::unreadable(&e))?;
    let Some((_, code, fault)) = health.faults.first() else { return Ok(()) };
    let look = format!("aura --data-dir {} store check, then restore another", from.display());
    Err(Problem::new(*code, format!("the backup is damaged: {fault}"))
        .kept("nothing was restored")
        .next(look))
}

fn open_runs(store: &dyn Store) -> Result<Vec<RunId>, Problem> {
    let query = RunQuery { limit: usize::MAX, ..RunQuery::default() };
    let rows = store.runs(&query).map_err(|e| resolve::unreadable(&e))?;
    Ok(rows.into_iter().filter(|row| !row.status.closed()).map(|row| row.run).collect())
}

fn tell(context: &Context, manifest: &Manifest, copied: &Copied, open: &[RunId]) {
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "dir": context.dir, "taken": manifest.at, "runs": copied.runs,
            "commits": copied.commits, "events": copied.events, "blobs": copied.blobs, "open": open,
        }));
    }
    let Copied { runs, commits, events, blobs } = *copied;
    let what = holds(&Holds { runs, commits, events, blobs });
    let taken = local_time(manifest.at);
    let done = out.paint(Tone::Good, "restored");
    out.line(format_args!("{done} {what}, as they were at {taken}"));
    if !open.is_empty() {
        let count = describe::count(open.len() as u64, "run");
        out.line(format_args!("{count} had not ended and will not go on by themselves"));
        let next = out.paint(Tone::Strong, "next:");
        out.line(format_args!("  {next} aura resume --all   # lists what may have happened since"));
    }
}

fn unusable(dir: &Path, error: &std::io::Error) -> Problem {
    let what = format!("{} can't be used: {error}", dir.display());
    Problem::new(Code::StoreUnavailable, what).next("name another folder")
}
