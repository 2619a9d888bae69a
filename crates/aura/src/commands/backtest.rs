//! `aura backtest`: recorded runs against a changed flow. Reads the store; changes nothing and calls nothing outside.

use std::fmt::Write as _;
use std::path::PathBuf;

use aura_core::error::{Code, Problem};
use aura_core::ports::{RunQuery, RunRow, Store};
use aura_graph::backtest::Verdict;
use serde_json::{Value, json};

use super::runs;
use crate::backtesting::{Tester, document, painted, reasons, word};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Tone, short};
use crate::{describe, diagnostics, flowfiles, resolve};

/// Runs that are tried unless somebody asks for more.
const DEFAULT: usize = 100;

/// Arguments of `aura backtest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each run is decided again by the flow, with the input, outcomes, signals and answers that were
recorded; what leaves no mark is computed. Nothing is called, and the store stays as it is.
  same       it does what it did
  different  it does something else; the first difference is shown
  needs      it comes to a call, signal or answer that was not recorded
  untold     it can't be tried; the reason is shown
The exit code is 0 if every run is the same, and 1 if not.

Examples:
  aura backtest flow.yaml
  aura backtest flow.yaml --runs status=completed --runs label.team=pay --limit 500
  aura backtest flow.yaml --run 0198c2d1 --json | jq '.runs[].divergence'")]
pub(crate) struct Args {
    /// The flow file.
    #[arg(value_name = "FLOW")]
    flow: PathBuf,
    /// Which runs, as `--where` of 'aura runs'; without `flow=NAME`, those of the flow's name.
    #[arg(long = "runs", value_name = "FIELD=VALUE", conflicts_with = "run")]
    filters: Vec<String>,
    /// This run, or the start of its id; may be given several times.
    #[arg(long, value_name = "RUN")]
    run: Vec<String>,
    /// At most this many, newest first.
    #[arg(long, value_name = "N", default_value_t = DEFAULT, value_parser = runs::parse_limit)]
    limit: usize,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let Some(flow) = diagnostics::opened(context, flowfiles::open(&args.flow))? else {
        return Ok(Exit::Usage);
    };
    let opened = context.reader()?;
    let rows = chosen(&*opened.store, &args, &flow.flows.main.name)?;
    let tester = Tester::new(&opened, flow)?;
    let mut told = Told { context, runs: Vec::new(), counts: [0; 4] };
    for row in &rows {
        told.take(row, &tester.test(row.run)?);
    }
    let pin = &tester.pinned.pin;
    Ok(told.end(json!({ "flow": pin.name, "version": pin.version, "flow_hash": pin.hash })))
}

fn chosen(store: &dyn Store, args: &Args, flow: &str) -> Result<Vec<RunRow>, Problem> {
    if !args.run.is_empty() {
        return args.run.iter().map(|prefix| resolve::run(store, prefix)).collect();
    }
    let mut query = RunQuery { limit: args.limit, ..runs::query(&args.filters, store)? };
    query.flow.get_or_insert_with(|| flow.to_owned());
    let rows = store.runs(&query).map_err(|e| resolve::unreadable(&e))?;
    if rows.is_empty() {
        let name = query.flow.unwrap_or_default();
        let what = format!("no recorded run of a flow '{name}' is like that");
        return Err(Problem::new(Code::RunNotFound, what).next("aura runs"));
    }
    Ok(rows)
}

/// Verdicts on their way to the screen.
struct Told<'a> {
    context: &'a Context,
    runs: Vec<Value>,
    /// Same, different, needs, untold.
    counts: [u64; 4],
}

impl Told<'_> {
    fn take(&mut self, row: &RunRow, verdict: &Verdict) {
        let place = ["same", "different", "needs", "untold"].iter();
        if let Some(count) = place.zip(&mut self.counts).find(|(name, _)| **name == word(verdict)) {
            *count.1 += 1;
        }
        let out = &self.context.out;
        if out.json {
            return self.runs.push(document(row.run, verdict));
        }
        // Of many runs those that are the same are counted only.
        if *verdict == Verdict::Same && self.context.quiet {
            return;
        }
        let said = painted(out, verdict);
        let status = out.paint(Tone::Faint, row.status.as_str());
        out.line(format_args!("{said} {}  {status}", short(row.run)));
        for line in reasons(self.context, verdict) {
            out.line(format_args!("  {line}"));
        }
    }

    fn end(self, mut flow: Value) -> Exit {
        let [same, different, needs, untold] = self.counts;
        let out = &self.context.out;
        if out.json {
            flow["runs"] = Value::Array(self.runs);
            flow["counts"] = json!({
                "same": same, "different": different, "needs": needs, "untold": untold,
            });
            out.document(&flow);
        } else {
            let named = [(different, "different"), (needs, "need the outside"), (untold, "untold")];
            let all = describe::count(self.counts.iter().sum(), "run");
            let mut text = format!("{all}: {same} the same");
            for (count, name) in named.into_iter().filter(|(count, _)| *count > 0) {
                let _ = write!(text, ", {count} {name}");
            }
            out.line(out.paint(Tone::Strong, text));
        }
        if different + needs + untold == 0 { Exit::Done } else { Exit::Failed }
    }
}
