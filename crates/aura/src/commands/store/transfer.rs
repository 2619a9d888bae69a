//! `aura store export` and `aura store import`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::ports::{RunQuery, Store};
use aura_store::{Access, Opened};
use serde_json::json;

use crate::archive::lines::Lines;
use crate::archive::{self, export, import};
use crate::commands::runs;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::Tone;
use crate::resolve;

/// Arguments of `aura store export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One JSON object a line: what the file is, blobs, commits with their events and exact bytes, and an end.
Inputs and outputs are in it as the log has them; values of secrets are not.

Examples:
  aura store export -o all.ndjson
  aura store export --run 0198c2d1 -o run.ndjson
  aura store export --where status=failed -o - | zstd > failed.ndjson.zst")]
pub(crate) struct ExportArgs {
    /// Only this run, or the start of its id; may be given several times.
    #[arg(long = "run", value_name = "RUN", conflicts_with = "filters")]
    runs: Vec<String>,
    /// Only runs with this field, as in 'aura runs'.
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    filters: Vec<String>,
    /// The file to write; '-' is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Arguments of `aura store import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every hash is checked. Runs keep their ids; what is here already is skipped, so that a second import
changes nothing, and a run that is here with another history is refused. Addresses of blobs depend
on the store, so a file comes into the store that it was exported from, or into a new one.

Examples:
  aura --data-dir new store import all.ndjson
  zstd -dc failed.ndjson.zst | aura --data-dir new store import -")]
pub(crate) struct ImportArgs {
    /// The file to read; '-' is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Writes histories.
pub(super) fn export(context: &Context, args: &ExportArgs) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let runs = chosen(&opened, args)?;
    if args.output == Path::new("-") {
        return export::print(&opened, &runs, &context.out).map(|()| Exit::Done);
    }
    let done = export::keep(&opened, &runs, &args.output)?;
    if context.out.json {
        context.out.document(&json!(done));
    } else {
        let what = describe::count(done.runs, "run");
        let events = describe::count(done.events, "event");
        let blobs = describe::count(done.blobs, "blob");
        let done = context.out.paint(Tone::Good, "exported");
        let file = args.output.display();
        context.out.line(format_args!("{done} {what}, {events}, {blobs} to {file}"));
    }
    Ok(Exit::Done)
}

fn chosen(opened: &Opened, args: &ExportArgs) -> Result<Vec<RunId>, Problem> {
    if !args.runs.is_empty() {
        let one = |prefix: &String| resolve::run(&*opened.store, prefix).map(|row| row.run);
        return args.runs.iter().map(one).collect();
    }
    let query = RunQuery { limit: usize::MAX, ..runs::query(&args.filters, &*opened.store)? };
    let rows = opened.store.runs(&query).map_err(|e| resolve::unreadable(&e))?;
    Ok(rows.into_iter().map(|row| row.run).collect())
}

/// Reads histories.
pub(super) fn import(context: &Context, args: &ImportArgs) -> Result<Exit, Problem> {
    let mut lines = if args.file == Path::new("-") {
        Lines::new(BufReader::new(std::io::stdin()))
    } else {
        let file = File::open(&args.file).map_err(|e| unusable(&args.file, &e))?;
        Lines::new(BufReader::new(file))
    };
    let head = lines.head()?;
    if !context.dir.join("aura.db").exists() {
        aura_store::create(&context.dir, head.salt)?;
    }
    let opened = aura_store::open(&context.dir, Access::Owner)?;
    if opened.store.salt() != head.salt {
        let what = "the file was exported from a store whose blobs have other addresses";
        return Err(Problem::new(Code::Conflict, what)
            .kept("nothing was changed")
            .next("import into a new data directory: aura --data-dir DIR store import FILE"));
    }
    let runtime = archive::runtime()?;
    let done = import::read(&opened, &runtime, &context.dir, head, &mut lines)?;
    let out = &context.out;
    if out.json {
        out.document(&json!(done));
        return Ok(Exit::Done);
    }
    let runs = describe::count(done.runs, "run");
    let new = describe::count(done.commits, "new commit");
    let said = out.paint(Tone::Good, "imported");
    out.line(format_args!("{said} {runs}: {new}, {} were here before", done.already));
    if !done.open.is_empty() {
        let count = describe::count(done.open.len() as u64, "run");
        out.line(format_args!("{count} had not ended and will not go on by themselves"));
        let next = out.paint(Tone::Strong, "next:");
        out.line(format_args!("  {next} aura resume --all   # lists what may have happened since"));
    }
    Ok(Exit::Done)
}

fn unusable(path: &Path, error: &std::io::Error) -> Problem {
    let what = format!("{} can't be used: {error}", path.display());
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::StoreUnavailable,
    };
    Problem::new(code, what).next("name another file")
}
