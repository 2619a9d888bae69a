//! `aura effects`: the ledger of effects, and settling those in doubt (`settle.rs`).

use std::collections::VecDeque;

use aura_core::error::{Code, Problem};
use aura_core::ports::{RunQuery, RunRow, Store};
use aura_engine::read_all;
use comfy_table::Cell;
use serde_json::{Value, json};

use super::{runs, settle};
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::ledger::{Entry, Ledger, Status};
use crate::output::{Tone, local_time, plain, short};
use crate::resolve;

/// Arguments of `aura effects`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
An effect is a call that may leave a mark outside: its intent is recorded before it is made.
  intended   called, no outcome yet        succeeded  it happened
  failed     it did not happen             retrying   it waits for its next try
  in doubt   a person must say             probing    a probe looks whether it happened
  unknown    not known, and nobody has to say
  abandoned  a read that nobody needed any more

Examples:
  aura effects --in-doubt
  aura effects 0198c2d1
  aura effects settle 9f0c41d2 --succeeded --output '{\"status\": 201}' --reason 'seen in their log'
  aura effects settle 9f0c41d2 --retry --reason 'they have no such order'"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

/// What to do with effects.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what became of an effect in doubt.
    Settle(settle::Args),
}

/// Which effects to list.
#[derive(Debug, clap::Args)]
struct List {
    /// Only effects of this run (the start of its id).
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Only effects of which a person must say what became of them.
    #[arg(long)]
    in_doubt: bool,
    /// Only effects of runs with this field, as in `aura runs --where`.
    #[arg(long = "where", value_name = "FIELD=VALUE", conflicts_with = "run")]
    filters: Vec<String>,
    /// At most this many, the newest; those in doubt are always listed.
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    match args.command {
        Some(Command::Settle(settle)) => settle::run(context, settle),
        None => list(context, &args.list),
    }
}

/// The newest entries, and all in doubt; of the others only how many there are.
struct Kept {
    doubtful: Vec<Entry>,
    others: VecDeque<Entry>,
    limit: usize,
    omitted: u64,
}

impl Kept {
    fn take(&mut self, entry: Entry) {
        if entry.status == Status::InDoubt {
            self.doubtful.push(entry);
            return;
        }
        self.others.push_back(entry);
        if self.others.len() > self.limit {
            self.others.pop_front();
            self.omitted += 1;
        }
    }
}

fn list(context: &Context, args: &List) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let store: &dyn Store = &*opened.store;
    let rows = if let Some(prefix) = &args.run {
        vec![resolve::run(store, prefix)?]
    } else {
        let query = RunQuery { limit: usize::MAX >> 1, ..runs::query(&args.filters)? };
        store.runs(&query).map_err(|e| resolve::unreadable(&e))?
    };
    let mut found = Vec::new();
    let mut omitted = 0;
    for row in rows.iter().filter(|row| !args.in_doubt || row.in_doubt > 0) {
        // Runs come newest first: once the list is full, only doubts of older runs matter.
        let room = args.limit.saturating_sub(found.len());
        if room == 0 && row.in_doubt == 0 {
            omitted += 1;
            continue;
        }
        let kept = of_run(store, row, if args.in_doubt { 0 } else { room })?;
        let mut entries = kept.doubtful;
        entries.extend(kept.others);
        // The log has them oldest first, also those of one millisecond.
        entries.reverse();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.started));
        omitted += if args.in_doubt { 0 } else { kept.omitted };
        found.extend(entries);
    }
    print(context, args, &found, omitted);
    Ok(Exit::Done)
}

fn of_run(store: &dyn Store, row: &RunRow, limit: usize) -> Result<Kept, Problem> {
    let mut kept = Kept { doubtful: Vec::new(), others: VecDeque::new(), limit, omitted: 0 };
    let mut ledger = Ledger::new(row.run);
    read_all(store, row.run, &mut |commit| {
        let events = commit.events().map_err(|e| {
            Problem::new(Code::ChainBroken, format!("run {}: {e}", row.run))
                .next("aura store check")
        })?;
        for event in &events {
            ledger.take(commit.header.at, event, &mut |entry| kept.take(entry));
        }
        Ok(())
    })?;
    ledger.rest().for_each(|entry| kept.take(entry));
    Ok(kept)
}

fn print(context: &Context, args: &List, found: &[Entry], omitted: u64) {
    let out = &context.out;
    if out.json {
        let effects: Vec<_> = found.iter().map(document).collect();
        out.document(&json!({ "effects": effects, "omitted": omitted > 0 }));
        return;
    }
    if found.is_empty() {
        let what = if args.in_doubt { "no effect is in doubt" } else { "no effects" };
        return out.note(what);
    }
    let mut table =
        out.table(&["KEY", "RUN", "STEP", "TOOL", "CLASS", "TRIES", "STATUS", "UPDATED"]);
    for entry in found {
        table.add_row([
            Cell::new(entry.key.short()),
            Cell::new(short(entry.run_id)),
            Cell::new(plain(entry.step.as_str())),
            Cell::new(&entry.tool),
            Cell::new(entry.class),
            Cell::new(entry.attempts),
            out.cell(entry.status.tone(), status(entry)),
            Cell::new(local_time(entry.updated)),
        ]);
    }
    out.line(table.trim_fmt());
    for entry in found.iter().filter(|entry| entry.status == Status::InDoubt) {
        doubt(context, entry);
    }
    if omitted > 0 && !context.quiet {
        out.note(format_args!("only the newest {}; for more: --limit N", args.limit));
    }
}

fn status(entry: &Entry) -> String {
    let mut text = entry.status.as_str().to_owned();
    if let Some(settled) = &entry.settled {
        let actor = plain(&settled.actor);
        text = format!("{text}, settled as {} by {actor}", settled.outcome);
    }
    if entry.reconciled {
        text.push_str(", reconciled");
    }
    text
}

fn commands(entry: &Entry) -> Vec<String> {
    let key = entry.key.short();
    ["--succeeded --output JSON", "--failed", "--retry"]
        .map(|how| format!("aura effects settle {key} {how} --reason TEXT"))
        .to_vec()
}

fn doubt(context: &Context, entry: &Entry) {
    let out = &context.out;
    let key = out.paint(Tone::Warn, entry.key.short());
    out.line(format_args!(
        "\n{key}: nobody knows whether {} at {} happened",
        entry.tool, entry.step
    ));
    let doubt = entry.doubt.map(describe::doubt).unwrap_or_default();
    let error = entry.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    out.line(format_args!("  why    {}", describe::one_line(&format!("{doubt}{error}"), 200)));
    out.line(format_args!("  key    {}", entry.key));
    for command in commands(entry) {
        out.line(format_args!("  type   {}", out.paint(Tone::Strong, command)));
    }
}

fn document(entry: &Entry) -> Value {
    let mut document = json!(entry);
    if entry.status == Status::InDoubt {
        document["commands"] = json!(commands(entry));
    }
    document
}
