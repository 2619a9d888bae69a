//! `aura effects`: the ledger of effects, and settling those in doubt (`settle.rs`).

use std::collections::{BTreeMap, VecDeque};

use aura_core::effect::EffectClass;
use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::ports::{Clock, Mark, RunRow, Store};
use aura_core::time::{Millis, parse_duration};
use aura_engine::{open_history, read_all};
use aura_graph::state::Task;
use comfy_table::Cell;
use serde::Serialize;
use serde_json::{Value, json};

use super::{check, runs, settle};
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::ledger::{Cache, Entry, Ledger, Status};
use crate::output::{Tone, local_time, plain, short};
use crate::queries;
use crate::resolve;
use crate::wire::SystemClock;

/// Runs that are told about one by one.
const LOST: usize = 20;

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
  reused     not called: the same call had been made (idempotency: scope), or a fork took it over
  abandoned  a read that nobody needed any more

Examples:
  aura effects --in-doubt
  aura effects 0198c2d1
  aura effects --flow refund --tool http.request --status failed --since 7d
  aura effects --stats
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
    /// Tell whether the call of a shared key would be made.
    Check(check::Args),
}

/// Which effects to list.
#[derive(Debug, clap::Args)]
struct List {
    /// Only effects of this run (the start of its id).
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// The same.
    #[arg(long = "run", value_name = "RUN", conflicts_with = "run")]
    of_run: Option<String>,
    /// Only effects of runs of this flow.
    #[arg(long, value_name = "NAME")]
    flow: Option<String>,
    /// Only calls of this tool.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Only effects of this class.
    #[arg(long, value_name = "CLASS", value_parser = ["read", "idempotent", "reconcilable", "irreversible"])]
    class: Option<String>,
    /// Only effects that stand so.
    #[arg(long, value_name = "STATUS", value_enum, hide_possible_values = true)]
    status: Option<Status>,
    /// Only effects to which something happened within this time, such as 24h.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    since: Option<u64>,
    /// Only effects whose key starts so.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Numbers instead of a list: by status, class and tool, and how many calls were spared.
    #[arg(long)]
    stats: bool,
    /// Only effects of which a person must say what became of them.
    #[arg(long)]
    in_doubt: bool,
    /// Only effects of runs with this field, as in `aura runs --where`.
    #[arg(long = "where", value_name = "FIELD=VALUE", conflicts_with_all = ["run", "of_run"])]
    filters: Vec<String>,
    /// At most this many, the newest; those in doubt are always listed.
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    match args.command {
        Some(Command::Settle(settle)) => settle::run(context, settle),
        Some(Command::Check(check)) => check::run(context, check),
        None => list(context, &args.list),
    }
}

fn span(text: &str) -> Result<u64, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

impl List {
    fn rows(&self, store: &dyn Store) -> Result<Vec<RunRow>, Problem> {
        if let Some(prefix) = self.run.as_ref().or(self.of_run.as_ref()) {
            return Ok(vec![resolve::run(store, prefix)?]);
        }
        let mut query = queries::unlimited(runs::query(&self.filters, store)?);
        if let Some(flow) = &self.flow {
            query.flow = Some(flow.clone());
        }
        store.runs(&query).map_err(|e| resolve::unreadable(&e))
    }

    /// Whether a run can have an effect that is asked for, as far as its row tells.
    fn may_have(&self, row: &RunRow, now: Millis) -> bool {
        (!self.in_doubt || row.in_doubt > 0)
            && self.flow.as_ref().is_none_or(|flow| row.flow == *flow)
            && self.since.is_none_or(|span| now.since(row.updated) <= span)
    }

    fn wants(&self, entry: &Entry, now: Millis) -> bool {
        let key = self.key.as_ref().map(|key| key.to_ascii_lowercase());
        (!self.in_doubt || entry.status == Status::InDoubt)
            && self.tool.as_ref().is_none_or(|tool| entry.tool == *tool)
            && self.class.as_ref().is_none_or(|class| entry.class.as_str() == class)
            && self.status.is_none_or(|status| entry.status == status)
            && self.since.is_none_or(|span| now.since(entry.updated) <= span)
            && key.is_none_or(|key| entry.key.to_string().starts_with(&key))
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
    let now = SystemClock.now();
    let rows = args.rows(store)?;
    if args.stats {
        return stats(context, args, store, &rows, now);
    }
    let mut found = Vec::new();
    let mut omitted = 0;
    for row in rows.iter().filter(|row| args.may_have(row, now)) {
        // Runs come newest first: once the list is full, only doubts of older runs matter.
        let room = args.limit.saturating_sub(found.len());
        if room == 0 && row.in_doubt == 0 {
            omitted += 1;
            continue;
        }
        let mut kept =
            Kept { doubtful: Vec::new(), others: VecDeque::new(), limit: room, omitted: 0 };
        each(store, row, &mut |entry| {
            if args.wants(&entry, now) {
                kept.take(entry);
            }
        })?;
        let mut entries = kept.doubtful;
        entries.extend(kept.others);
        // The log has them oldest first, also those of one millisecond.
        entries.reverse();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.started));
        omitted += kept.omitted;
        found.extend(entries);
    }
    let lost = if args.in_doubt { lost(context, store, &rows)? } else { Vec::new() };
    print(context, args, (&found, omitted), &lost);
    Ok(Exit::Done)
}

/// Calls of a run that were under way when the process that made them ended.
#[derive(Debug, Serialize)]
struct Lost {
    run_id: RunId,
    calls: usize,
    next: String,
}

/// What nobody has asked about yet: it is in doubt, or made again, when the run is resumed.
fn lost(context: &Context, store: &dyn Store, rows: &[RunRow]) -> Result<Vec<Lost>, Problem> {
    let mut lost = Vec::new();
    if aura_store::owner(&context.dir).is_some() {
        return Ok(lost);
    }
    for row in rows.iter().filter(|row| row.mark == Mark::Active) {
        let Some(history) = open_history(store, row.run)? else { continue };
        let tasks = history.run.tasks.values();
        let marks = |task: &&Task| task.in_flight() && task.spec.class != EffectClass::Pure;
        let calls = tasks.map(AsRef::as_ref).filter(marks).count();
        if calls > 0 {
            let next = format!("aura resume {}", row.root.unwrap_or(row.run));
            lost.push(Lost { run_id: row.run, calls, next });
        }
    }
    Ok(lost)
}

/// Every effect of a run.
fn each(store: &dyn Store, row: &RunRow, see: &mut dyn FnMut(Entry)) -> Result<(), Problem> {
    let mut ledger = Ledger::new(row.run);
    read_all(store, row.run, &mut |commit| {
        let events = commit.events().map_err(|e| {
            Problem::new(Code::ChainBroken, format!("run {}: {e}", row.run))
                .next("aura store check")
        })?;
        for event in &events {
            // What a fork shares are its parent's effects.
            let own = commit.header.run == row.run;
            ledger.take(commit.header.at, event, &mut |entry| {
                if own {
                    see(entry);
                }
            });
        }
        Ok(())
    })?;
    ledger.rest().for_each(see);
    Ok(())
}

/// How many effects there are of each kind.
#[derive(Debug, Default, Serialize)]
struct Stats {
    runs: u64,
    effects: u64,
    cache: Cache,
    by_status: BTreeMap<Status, u64>,
    by_class: BTreeMap<&'static str, u64>,
    by_tool: BTreeMap<String, u64>,
}

fn stats(
    context: &Context,
    args: &List,
    store: &dyn Store,
    rows: &[RunRow],
    now: Millis,
) -> Result<Exit, Problem> {
    let mut stats = Stats::default();
    for row in rows.iter().filter(|row| args.may_have(row, now)) {
        let before = stats.effects;
        each(store, row, &mut |entry| {
            if args.wants(&entry, now) {
                stats.effects += 1;
                stats.cache.take(&entry);
                *stats.by_status.entry(entry.status).or_default() += 1;
                *stats.by_class.entry(entry.class.as_str()).or_default() += 1;
                *stats.by_tool.entry(entry.tool).or_default() += 1;
            }
        })?;
        stats.runs += u64::from(stats.effects > before);
    }
    let out = &context.out;
    if out.json {
        out.document(&json!(stats));
        return Ok(Exit::Done);
    }
    let effects = describe::count(stats.effects, "effect");
    out.line(format_args!("{effects} of {}", describe::count(stats.runs, "run")));
    let line = |name: &str, counts: Vec<String>| {
        if !counts.is_empty() {
            let name = out.paint(Tone::Faint, format_args!("{name:<7}"));
            out.line(format_args!("  {name} {}", counts.join(", ")));
        }
    };
    let told = |(name, count): (&str, &u64)| format!("{} {count}", plain(name));
    line("status", stats.by_status.iter().map(|(s, count)| told((s.as_str(), count))).collect());
    line("class", stats.by_class.iter().map(|(c, count)| told((c, count))).collect());
    line("tool", stats.by_tool.iter().map(|(t, count)| told((t, count))).collect());
    let Cache { hits, misses } = stats.cache;
    if let Some(rate) = (hits * 100).checked_div(hits + misses) {
        line("cache", vec![format!("{hits} hits"), format!("{misses} misses ({rate} % spared)")]);
    }
    Ok(Exit::Done)
}

fn print(context: &Context, args: &List, (found, omitted): (&[Entry], u64), lost: &[Lost]) {
    let out = &context.out;
    if out.json {
        let effects: Vec<_> = found.iter().map(document).collect();
        let mut document = json!({ "effects": effects, "omitted": omitted > 0 });
        if args.in_doubt {
            document["lost"] = json!(lost);
        }
        return out.document(&document);
    }
    if found.is_empty() {
        let what = match (args.in_doubt, lost.is_empty()) {
            (false, _) => "no effects",
            (true, true) => "no effect is in doubt",
            (true, false) => "no effect is in doubt yet",
        };
        out.note(what);
    } else {
        table(context, args, found, omitted);
    }
    for Lost { run_id, calls, next } in lost.iter().take(LOST) {
        let were = if *calls == 1 { "call was" } else { "calls were" };
        out.note(format_args!("{calls} {were} under way when the process of run {run_id} ended"));
        out.next(format_args!("{next} asks about what may have happened"));
    }
    if let Some(more) = lost.len().checked_sub(LOST).filter(|more| *more > 0) {
        out.note(format_args!("… and {more} more runs like that; --json lists all"));
    }
}

fn table(context: &Context, args: &List, found: &[Entry], omitted: u64) {
    let out = &context.out;
    let mut table =
        out.table(&["KEY", "RUN", "STEP", "TOOL", "CLASS", "TRIES", "STATUS", "UPDATED", "NOTE"]);
    for entry in found {
        table.add_row([
            Cell::new(entry.key.short()),
            Cell::new(short(entry.run_id)),
            Cell::new(plain(entry.step.as_str())),
            Cell::new(&entry.tool),
            Cell::new(entry.class),
            Cell::new(entry.attempts),
            out.cell(entry.status.tone(), entry.status.as_str()),
            Cell::new(local_time(entry.updated)),
            Cell::new(note(entry)),
        ]);
    }
    let spared = ["NOTE", "UPDATED", "CLASS", "TRIES", "TOOL"];
    out.line(out.fitted(table, &["KEY", "RUN", "TOOL", "STATUS"], &spared));
    for entry in found.iter().filter(|entry| entry.status == Status::InDoubt) {
        doubt(context, entry);
    }
    if omitted > 0 && !context.quiet {
        out.note(format_args!("only the newest {}; for more: --limit N", args.limit));
    }
}

/// How its status came about, where that is not plain.
fn note(entry: &Entry) -> String {
    let mut notes = Vec::new();
    if let Some(settled) = &entry.settled {
        notes.push(format!("settled as {} by {}", settled.outcome, plain(&settled.actor)));
    }
    if entry.reconciled {
        notes.push("reconciled".to_owned());
    }
    if let Some(from) = entry.from {
        notes.push(format!("from run {}", short(from.run)));
    }
    notes.join(", ")
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
