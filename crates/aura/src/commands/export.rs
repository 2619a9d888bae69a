//! `aura export`: a run as one file that somebody else can look at.

use std::path::{Path, PathBuf};

use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::ports::{RunQuery, Store};
use aura_store::Opened;
use serde_json::json;

use crate::archive::{Copied, export};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Tone, short};
use crate::{describe, resolve};

/// Arguments of `aura export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file holds the run with its flow and all values, its children, and what a fork shares: whoever
has it can look at the run, step through it and verify it with 'aura open', without a store. Values
of secrets are not in it; inputs and outputs are, as the log has them.

Examples:
  aura export 0198c2d1
  aura export 0198c2d1 -o refund-17.aura
  aura export 0198c2d1 -o - | zstd > refund-17.aura.zst")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    run: String,
    /// The file to write; '-' is standard output. Otherwise the start of the id with `.aura`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let run = resolve::run(&*opened.store, &args.run)?.run;
    if args.output.as_deref() == Some(Path::new("-")) {
        return export::print(&opened, &tree(&opened, run)?, &context.out).map(|()| Exit::Done);
    }
    let path = args.output.unwrap_or_else(|| PathBuf::from(format!("{}.aura", short(run))));
    let done = write(&opened, run, &path)?;
    if context.out.json {
        let mut document = json!(done);
        document["run_id"] = json!(run);
        document["file"] = json!(path);
        context.out.document(&document);
    } else {
        let said = context.out.paint(Tone::Good, "exported");
        let file = path.display();
        let runs = describe::count(done.runs, "run");
        let events = describe::count(done.events, "event");
        context.out.line(format_args!("{said} run {run} to {file}: {runs} with {events}"));
        let next = context.out.paint(Tone::Strong, "next:");
        context.out.line(format_args!("  {next} aura open {file}"));
    }
    Ok(Exit::Done)
}

/// The runs below one that is at the top of its tree, and that run as the last.
fn tree(opened: &Opened, run: RunId) -> Result<Vec<RunId>, Problem> {
    let query = RunQuery { root: Some(run), limit: usize::MAX >> 1, ..RunQuery::default() };
    let rows = opened.store.runs(&query).map_err(|e| resolve::unreadable(&e))?;
    Ok(rows.iter().map(|row| row.run).filter(|below| *below != run).chain([run]).collect())
}

/// Writes a run to a file, which is whole or as it was.
pub(crate) fn write(opened: &Opened, run: RunId, path: &Path) -> Result<Copied, Problem> {
    export::keep(opened, &tree(opened, run)?, path)
}
