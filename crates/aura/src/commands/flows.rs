//! `aura flows`: deployed versions, and deploying one with a look at the runs that are open.

use std::path::PathBuf;
use std::sync::Arc;

use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::ports::{Clock, RunQuery, RunRow, Store};
use aura_graph::backtest::Verdict;
use clap::Subcommand;
use comfy_table::Cell;
use serde_json::{Value, json};

use crate::backtesting::{Tester, document, painted, reasons};
use crate::context::Context;
use crate::deployed::{self, Deployed, Done};
use crate::exit::Exit;
use crate::flowfiles::{self, FlowFiles};
use crate::output::{Tone, local_time, plain, short};
use crate::{describe, diagnostics, queries, resolve, wire};

/// Arguments of `aura flows`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a command: the versions that are deployed, in the order in which they came into force, and how
many runs of each are open. 'aura run NAME' starts the version in force, which is the one deployed last;
deploying an older one again puts it back in force. A run goes on by the version with which it started.

Examples:
  aura flows
  aura flows deploy refund.yaml
  aura flows deploy refund.yaml --gate --json")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a version of a flow the one that runs start from by its name.
    Deploy(Deploy),
}

/// Arguments of `aura flows deploy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The flow must say its version, and a version never changes: another text needs another version.
With --gate each open run of the flow is first decided again by the new version, up to where it
stands. Runs that would have done something else are named: they are pinned to the version with
which they started, as all open runs are, and could not be forked to the new one there. The version
is deployed all the same; with --strict it is not, and the exit code is 1.

Examples:
  aura flows deploy refund.yaml
  aura flows deploy refund.yaml --gate
  aura flows deploy refund.yaml --strict --json   # in CI")]
struct Deploy {
    /// The flow file.
    #[arg(value_name = "FLOW")]
    flow: PathBuf,
    /// Name the open runs that the new version would break.
    #[arg(long)]
    gate: bool,
    /// Deploy nothing, and fail, if there are such runs.
    #[arg(long)]
    strict: bool,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    match args.command {
        None => list(context),
        Some(Command::Deploy(deploy)) => put(context, &deploy),
    }
}

/// Runs that have not ended, of one flow or of all.
fn open_runs(context: &Context, flow: Option<&str>) -> Result<Vec<RunRow>, Problem> {
    let query = RunQuery { flow: flow.map(str::to_owned), ..queries::open() };
    match context.reader() {
        Ok(opened) => opened.store.runs(&query).map_err(|e| resolve::unreadable(&e)),
        // Nothing has run here yet.
        Err(problem) if problem.code == Code::NotFound => Ok(Vec::new()),
        Err(problem) => Err(problem),
    }
}

fn list(context: &Context) -> Result<Exit, Problem> {
    let versions = deployed::list(&context.dir)?;
    let rows = open_runs(context, None)?;
    let open = |hash: Hash| rows.iter().filter(|row| row.flow_hash == hash).count();
    let in_force =
        |place: usize| versions.get(place + 1).is_none_or(|next| next.flow != versions[place].flow);
    let out = &context.out;
    if out.json {
        let entry = |(place, version): (usize, &Deployed)| {
            json!({
                "flow": version.flow, "version": version.version, "hash": version.hash,
                "at": version.at, "actor": version.actor, "again": version.again,
                "in_force": in_force(place), "open_runs": open(version.hash),
            })
        };
        let flows: Vec<_> = versions.iter().enumerate().map(entry).collect();
        out.document(&json!({ "flows": flows }));
        return Ok(Exit::Done);
    }
    if versions.is_empty() {
        out.note(format_args!("no flow is deployed in {}", context.dir.display()));
        out.next("aura flows deploy FLOW");
        return Ok(Exit::Done);
    }
    let mut table = out.table(&["FLOW", "VERSION", "DEPLOYED", "BY", "OPEN RUNS", ""]);
    for (place, version) in versions.iter().enumerate() {
        table.add_row([
            out.cell(Tone::Strong, plain(&version.flow)),
            Cell::new(plain(&version.version)),
            Cell::new(local_time(version.at)),
            Cell::new(plain(&version.actor)),
            Cell::new(open(version.hash)),
            out.cell(Tone::Good, if in_force(place) { "in force" } else { "" }),
        ]);
    }
    out.line(table.trim_fmt());
    Ok(Exit::Done)
}

fn put(context: &Context, deploy: &Deploy) -> Result<Exit, Problem> {
    let Some(opened) = diagnostics::opened(context, flowfiles::open(&deploy.flow))? else {
        return Ok(Exit::Usage);
    };
    let flow = Arc::clone(&opened.flows.main);
    let (source, files) = (opened.source.clone(), opened.files.clone());
    let Some(version) = flow.version.clone() else {
        let what = format!("flow '{}' does not say its version", flow.name);
        return Err(Problem::new(Code::Usage, what)
            .kept("nothing was deployed")
            .next("write version: '1.0.0' below its name"));
    };
    let gated = deploy.gate || deploy.strict;
    let broken = if gated { gate(context, &flow.name, opened)? } else { Vec::new() };
    let version = Deployed {
        flow: flow.name.clone(),
        version,
        hash: flow.hash,
        at: wire::SystemClock.now(),
        actor: context.actor.clone(),
        order: 0,
        again: None,
        source,
        files_hash: deployed::files_hash(&files),
        files,
    };
    let refused = deploy.strict && !broken.is_empty();
    let done = if refused { None } else { Some(deployed::deploy(&context.dir, &version)?) };
    tell(context, &version, done, (gated, &broken));
    Ok(if refused { Exit::Failed } else { Exit::Done })
}

/// Open runs that would have done something else by now.
fn gate(
    context: &Context,
    flow: &str,
    files: FlowFiles,
) -> Result<Vec<(RunRow, Verdict)>, Problem> {
    let rows = open_runs(context, Some(flow))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let opened = context.reader()?;
    let tester = Tester::new(&opened, files)?;
    let mut broken = Vec::new();
    for row in rows {
        let verdict = tester.test(row.run)?;
        if verdict != Verdict::Same {
            broken.push((row, verdict));
        }
    }
    Ok(broken)
}

fn tell(
    context: &Context,
    version: &Deployed,
    done: Option<Done>,
    (gated, broken): (bool, &[(RunRow, Verdict)]),
) {
    let out = &context.out;
    if out.json {
        let pinned: Vec<Value> = broken
            .iter()
            .map(|(row, verdict)| {
                let mut entry = document(row.run, verdict);
                entry["pinned_hash"] = json!(row.flow_hash);
                entry
            })
            .collect();
        return out.document(&json!({
            "flow": version.flow, "version": version.version, "hash": version.hash,
            "deployed": done.is_some(), "already": matches!(done, Some(Done::Already | Done::Again)),
            "again": done == Some(Done::Again), "gated": gated, "pinned": pinned,
        }));
    }
    let said = match done {
        Some(Done::New) => out.paint(Tone::Good, "deployed"),
        Some(Done::Already) => out.paint(Tone::Faint, "in force already:"),
        Some(Done::Again) => out.paint(Tone::Good, "in force again:"),
        None => out.paint(Tone::Bad, "not deployed:"),
    };
    let name = plain(&format!("{} {}", version.flow, version.version));
    out.line(format_args!("{said} {name}  ({}…)", version.hash.short()));
    if gated && broken.is_empty() {
        out.line("no open run would have done anything else");
    }
    for (row, verdict) in broken {
        let said = painted(out, verdict);
        let hash = row.flow_hash.short();
        out.line(format_args!("{said} {}  pinned to {hash}…", short(row.run)));
        for line in reasons(context, verdict) {
            out.line(format_args!("  {line}"));
        }
    }
    if !broken.is_empty() {
        let runs = describe::count(broken.len() as u64, "open run");
        let said = match (done, broken.len()) {
            (Some(_), 1) => "keeps its version",
            (Some(_), _) => "keep their version",
            (None, _) => "would break",
        };
        out.line(out.paint(Tone::Strong, format_args!("{runs} {said}")));
    }
}
