//! `aura runs`: a list of runs.

use aura_core::error::{Code, Problem};
use aura_core::limits;
use aura_core::ports::{Clock, RunQuery, RunRow, RunStatus, Store};
use aura_core::time::Span;
use comfy_table::Cell;
use serde_json::{Value, json};

use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::{Tone, local_time, plain};
use crate::resolve;
use crate::wire::SystemClock;

/// Runs that are listed unless somebody asks for more.
const DEFAULT: usize = 50;

/// Arguments of `aura runs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Fields of --where:
  status=STATUS    running, waiting, in_doubt, cancelling, completed, failed or cancelled
  flow=NAME        the name of the flow
  label.KEY=VALUE  a label given with 'aura run --label KEY=VALUE'
  parent=RUN       the runs that this run started
  root=RUN         the whole tree below this run

Runs that a parent waits for are listed with --children only, or when 'parent' or 'root' is asked for.
Several --where must all hold, except that several statuses mean any of them.
A run is named by any start of its id that no other run has.

Examples:
  aura runs
  aura runs --where status=waiting --where status=in_doubt
  aura runs --where label.team=pay --limit 5 --json
  aura runs --where parent=0198c2d1")]
pub(crate) struct Args {
    /// Only runs with this field: `status=failed`, `flow=NAME`, `label.KEY=VALUE`.
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(crate) filters: Vec<String>,
    /// Also runs that a parent waits for.
    #[arg(long)]
    pub(crate) children: bool,
    /// At most this many, newest first.
    #[arg(long, value_name = "N", default_value_t = DEFAULT, value_parser = parse_limit)]
    pub(crate) limit: usize,
}

pub(crate) fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=100_000).contains(&number) => Ok(number),
        _ => Err("a whole number from 1 to 100000".to_owned()),
    }
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let mut rows = match context.reader() {
        Ok(opened) => {
            let asked = query(&args.filters, &*opened.store)?;
            let top = !args.children && asked.parent.is_none() && asked.root.is_none();
            // One more than is shown, to know whether there are more.
            let query = RunQuery { limit: args.limit + 1, top, ..asked };
            opened.store.runs(&query).map_err(|e| resolve::unreadable(&e))?
        }
        // Nothing has run here yet, which is an answer and not a mistake.
        Err(problem) if problem.code == Code::NotFound => {
            check(&args.filters)?;
            Vec::new()
        }
        Err(problem) => return Err(problem),
    };
    let more = rows.len() > args.limit;
    rows.truncate(args.limit);
    if context.out.json {
        let runs: Vec<_> = rows.iter().map(document).collect();
        context.out.document(&json!({ "runs": runs, "more": more }));
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        let filtered = if args.filters.is_empty() { "yet" } else { "like that" };
        context.out.note(format_args!("no runs {filtered} in {}", context.dir.display()));
        return Ok(Exit::Done);
    }
    print(context, &rows);
    if more && !context.quiet {
        let limit = args.limit;
        context.out.note(format_args!("the newest {limit}; for more: --limit {}", limit * 10));
    }
    Ok(Exit::Done)
}

fn print(context: &Context, rows: &[RunRow]) {
    let out = &context.out;
    let digits = distinct(rows);
    let now = SystemClock.now();
    let headings = ["RUN", "FLOW", "STATUS", "STARTED", "TOOK", "EVENTS", "ERROR", "LABELS"];
    let mut table = out.table(&headings);
    for row in rows {
        let end = if row.status.closed() { row.updated } else { now };
        let labels: Vec<_> = row.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let id = row.run.to_string()[..digits].to_owned();
        table.add_row([
            out.cell(Tone::Strong, id),
            Cell::new(plain(&row.flow)),
            out.cell(describe::tone(row.status), row.status.as_str()),
            Cell::new(local_time(row.started)),
            Cell::new(Span(end.since(row.started))),
            Cell::new(row.events),
            out.cell(Tone::Bad, row.error.map(|code| code.to_string()).unwrap_or_default()),
            out.cell(Tone::Faint, plain(&labels.join(" "))),
        ]);
    }
    let spared = ["LABELS", "EVENTS", "STARTED", "TOOK", "ERROR"];
    out.line(out.fitted(table, &["RUN", "STATUS"], &spared));
}

/// How many characters tell these runs apart, at least as many as elsewhere.
fn distinct(rows: &[RunRow]) -> usize {
    let mut ids: Vec<_> = rows.iter().map(|row| row.run.to_string()).collect();
    ids.sort_unstable();
    let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let longest = ids.windows(2).map(|pair| common(&pair[0], &pair[1])).max().unwrap_or(0);
    // In whole groups, so that the list stays calm.
    [13, 18, 23].into_iter().find(|digits| longest < *digits).unwrap_or(36)
}

/// A row for programs.
pub(crate) fn document(row: &RunRow) -> Value {
    let took = row.status.closed().then(|| row.updated.since(row.started));
    json!({
        "run_id": row.run, "flow": row.flow, "flow_hash": row.flow_hash,
        "status": row.status.as_str(), "labels": row.labels,
        "started": row.started, "updated": row.updated, "duration_ms": took,
        "events": row.events, "in_doubt": row.in_doubt, "error": row.error,
        "parent": row.parent, "root": row.root, "continued_by": row.next,
    })
}

/// The query that `--where` asks for; runs that it names are looked up in the store.
pub(crate) fn query(filters: &[String], store: &dyn Store) -> Result<RunQuery, Problem> {
    let (mut query, parent, root) = check(filters)?;
    let named = |prefix: Option<String>| {
        prefix.map(|prefix| resolve::run(store, &prefix).map(|row| row.run)).transpose()
    };
    (query.parent, query.root) = (named(parent)?, named(root)?);
    Ok(query)
}

/// The query, and the starts of the ids of the runs that it names: parent and root.
fn check(filters: &[String]) -> Result<(RunQuery, Option<String>, Option<String>), Problem> {
    let mut query = RunQuery::default();
    let (mut parent, mut root) = (None, None);
    for filter in filters {
        let wrong = |why: String| {
            Problem::new(Code::Usage, format!("--where '{filter}': {why}")).next("aura runs --help")
        };
        let (field, value) =
            filter.split_once('=').ok_or_else(|| wrong("write FIELD=VALUE".to_owned()))?;
        match field.trim() {
            "status" => {
                let found = RunStatus::ALL.iter().find(|status| status.as_str() == value.trim());
                let status = found.ok_or_else(|| {
                    let all: Vec<_> = RunStatus::ALL.iter().map(|s| s.as_str()).collect();
                    wrong(format!("a status is one of {}", all.join(", ")))
                })?;
                query.statuses.push(*status);
            }
            "flow" if query.flow.is_some() => {
                return Err(wrong("a run has one flow only".to_owned()));
            }
            "flow" => query.flow = Some(value.to_owned()),
            "parent" => parent = Some(value.trim().to_owned()),
            "root" => root = Some(value.trim().to_owned()),
            field => {
                let key = field.strip_prefix("label.").filter(|key| !key.is_empty());
                let key = key.ok_or_else(|| {
                    wrong(format!(
                        "no field '{field}': use status, flow, label.KEY, parent or root"
                    ))
                })?;
                let before = query.labels.insert(key.to_owned(), value.to_owned());
                if before.is_some_and(|before| before != value)
                    || query.labels.len() > limits::LABELS
                {
                    return Err(wrong("no run has all of these labels".to_owned()));
                }
            }
        }
    }
    Ok((query, parent, root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(filters: &[&str]) -> Result<RunQuery, Problem> {
        let filters: Vec<_> = filters.iter().map(|&filter| filter.to_owned()).collect();
        check(&filters).map(|(query, ..)| query)
    }

    #[test]
    fn filters_become_a_query() {
        let query = of(&["status=failed", "status=waiting", "flow=a", "label.b.c=d=e"]).unwrap();
        assert_eq!(query.statuses, [RunStatus::Failed, RunStatus::Waiting]);
        assert_eq!(query.flow.as_deref(), Some("a"));
        assert_eq!(query.labels.get("b.c").map(String::as_str), Some("d=e"));
    }

    #[test]
    fn other_filters_are_refused_with_what_to_write() {
        for filters in
            [&["status"][..], &["status=done"], &["label.=x"], &["age=3"], &["flow=a", "flow=b"]]
        {
            assert_eq!(of(filters).unwrap_err().code, Code::Usage, "{filters:?}");
        }
    }
}
