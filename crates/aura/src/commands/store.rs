//! `aura store`: a look at the store, and keeping it.

mod backup;
mod compact;
mod transfer;

use aura_core::error::Problem;
use aura_core::ports::{Health, Store};
use serde_json::json;

use crate::context::Context;
use crate::describe;
use crate::exit::{self, Exit};
use crate::output::Tone;
use crate::resolve;

/// Arguments of `aura store`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aura store info
  aura store check && echo whole
  aura store compact --older-than 30d --dry-run
  aura store backup /backup/aura-monday
  aura store export -o all.ndjson")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to look at.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show where the store lies and how large it is.
    Info,
    /// Look at everything: pages, hash chains, blobs. Nothing is changed.
    ///
    /// The exit code is 0 if all is well, 4 if the store itself is damaged, and 1 if single runs or blobs are.
    Check,
    /// Remove runs that ended long ago, and blobs that nothing names.
    ///
    /// Nothing is removed unless a limit says so, and nothing at all happens by itself.
    Compact(compact::Args),
    /// Remove blobs that nothing has named for 24 hours.
    Sweep(compact::SweepArgs),
    /// Copy the store into a new folder while it is in use.
    Backup(backup::BackupArgs),
    /// Make a store of a backup, in a new data directory.
    Restore(backup::RestoreArgs),
    /// Write histories to a file, one JSON object a line.
    Export(transfer::ExportArgs),
    /// Read histories that were exported.
    Import(transfer::ImportArgs),
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    match args.command {
        Command::Info => info(context),
        Command::Check => check(context),
        Command::Compact(args) => compact::compact(context, &args),
        Command::Sweep(args) => compact::sweep(context, &args),
        Command::Backup(args) => backup::backup(context, &args),
        Command::Restore(args) => backup::restore(context, &args),
        Command::Export(args) => transfer::export(context, &args),
        Command::Import(args) => transfer::import(context, &args),
    }
}

fn info(context: &Context) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let info = opened.store.info().map_err(|e| resolve::unreadable(&e))?;
    let owner = aura_store::owner(&context.dir);
    if context.out.json {
        let mut document = json!(info);
        document["owner"] = json!(owner);
        context.out.document(&document);
        return Ok(Exit::Done);
    }
    let row = |name: &str, value: String| {
        let name = context.out.paint(Tone::Faint, format_args!("{name:<16}"));
        context.out.line(format_args!("{name} {value}"));
    };
    row("location", info.location);
    row("size", describe::bytes(info.bytes));
    row("runs", info.runs.to_string());
    row("commits", info.commits.to_string());
    row("events", info.events.to_string());
    row("removals", info.removals.to_string());
    let format = info.format;
    row("format", format!("{format} (tables {})", info.schema));
    let owner = owner.map_or_else(|| "nobody".to_owned(), |owner| format!("process {}", owner.pid));
    row("owner", owner);
    // The list of compile options would hide the rest; `aura doctor` has it.
    for (name, value) in info.engine.iter().filter(|(name, _)| *name != "compile_options") {
        row(name, value.clone());
    }
    Ok(Exit::Done)
}

fn check(context: &Context) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let health = opened.store.check().map_err(|e| resolve::unreadable(&e))?;
    let exit = verdict(&health);
    let out = &context.out;
    if out.json {
        let faults: Vec<_> = health
            .faults
            .iter()
            .map(|(run, code, message)| json!({ "run_id": run, "code": code, "message": message }))
            .collect();
        out.document(&json!({
            "ok": faults.is_empty(), "commits": health.commits, "blobs": health.blobs, "faults": faults,
        }));
        return Ok(exit);
    }
    for (run, code, message) in &health.faults {
        let run = run.map(|run| format!("run {run}: ")).unwrap_or_default();
        out.line(format_args!("{} {run}{message}", out.paint(Tone::Bad, code)));
    }
    let seen = [describe::count(health.commits, "commit"), describe::count(health.blobs, "blob")];
    let seen = seen.join(" and ");
    if health.faults.is_empty() {
        out.line(format_args!("{}  {seen} are as they should be", out.paint(Tone::Good, "ok")));
        return Ok(exit);
    }
    let faults = describe::count(health.faults.len() as u64, "fault");
    out.line(format_args!("{} in {seen}", out.paint(Tone::Bad, faults)));
    let next = out.paint(Tone::Strong, "next:");
    let mut codes: Vec<_> = health.faults.iter().map(|(_, code, _)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    for code in codes {
        out.line(format_args!("  {next} aura explain {code}"));
    }
    Ok(exit)
}

/// A damaged store counts more than damaged runs.
fn verdict(health: &Health) -> Exit {
    let exits: Vec<_> = health.faults.iter().map(|(_, code, _)| exit::of(*code)).collect();
    if exits.is_empty() {
        Exit::Done
    } else if exits.contains(&Exit::Unavailable) {
        Exit::Unavailable
    } else {
        Exit::Failed
    }
}
