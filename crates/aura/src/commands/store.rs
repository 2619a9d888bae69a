//! `aura store`: a look at the store.

use aura_core::error::Problem;
use aura_core::ports::{Health, Store, StoreInfo};
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::Tone;
use crate::resolve::unreadable;

/// Arguments of `aura store`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What to look at.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print where the store lies, how large it is, and how it is kept.
    Info,
    /// Look at everything: pages, chains, blobs. Ends with 1 if something is damaged.
    Check,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    match args.what {
        What::Info => {
            let info = opened.store.info().map_err(|e| unreadable(&e))?;
            tell_info(context, &info);
            Ok(Exit::Done)
        }
        What::Check => {
            let health = opened.store.check().map_err(|e| unreadable(&e))?;
            tell_health(context, &health);
            Ok(if health.faults.is_empty() { Exit::Done } else { Exit::Failed })
        }
    }
}

fn tell_info(context: &Context, info: &StoreInfo) {
    let owner = aura_store::owner(&context.dir);
    if context.out.json {
        let mut document = json!(info);
        document["owner"] = json!(owner.map(|owner| owner.pid));
        return context.out.document(&document);
    }
    let row = |name: &str, value: String| {
        context.out.line(format_args!("{name:<12} {value}"));
    };
    row("location", info.location.clone());
    row("owner", owner.map_or_else(|| "nobody".to_owned(), |o| format!("process {}", o.pid)));
    row("format", format!("{} (tables of version {})", info.format, info.schema));
    row("runs", info.runs.to_string());
    row("commits", info.commits.to_string());
    row("events", info.events.to_string());
    row("size", bytes(info.bytes));
    for (name, value) in &info.engine {
        // The list is for `aura doctor`; here it would hide the rest.
        if name != "compile_options" {
            row(name, value.clone());
        }
    }
}

fn tell_health(context: &Context, health: &Health) {
    if context.out.json {
        let faults: Vec<_> = health
            .faults
            .iter()
            .map(|(run, code, what)| json!({ "run": run, "code": code, "what": what }))
            .collect();
        let sound = faults.is_empty();
        return context.out.document(&json!({
            "sound": sound, "commits": health.commits, "blobs": health.blobs, "faults": faults,
        }));
    }
    for (run, code, what) in &health.faults {
        let head = context.out.paint(Tone::Bad, format_args!("fault[{code}]:"));
        let run = run.map(|run| format!("run {run}: ")).unwrap_or_default();
        // A fault may already name its run.
        let run = if what.contains(run.trim_end_matches(": ")) { String::new() } else { run };
        context.out.line(format_args!("{head} {run}{what}"));
    }
    let (commits, blobs) = (health.commits, health.blobs);
    match health.faults.len() {
        0 => {
            let sound = context.out.paint(Tone::Good, "sound");
            context.out.line(format_args!("{sound}: {commits} commits, {blobs} blobs"));
        }
        faults => {
            let s = if faults == 1 { "" } else { "s" };
            context.out.line(format_args!("{faults} fault{s} in {commits} commits, {blobs} blobs"));
            context.out.line("  next: aura explain CODE");
        }
    }
}

/// A size as a person reads it.
pub(super) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let size = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", size / 1_024.0),
        _ => format!("{:.1} MiB", size / 1_048_576.0),
    }
}
