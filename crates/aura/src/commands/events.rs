//! `aura events`: the events of a run, page by page, so that a history of any length needs little memory.

use std::thread;
use std::time::Duration;

use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::event::{Event, EventBody};
use aura_core::id::RunId;
use aura_core::ports::Store;
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::{Tone, clock_time, plain};
use crate::{resolve, suggest};

/// Commits read at a time.
const PAGE: usize = 256;

/// How often a follower looks again.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `aura events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json each event is one line: {seq, type, at, stream, step, attempt, data}; 'at' is in
milliseconds since 1970 (UTC), 'stream' is the run. Types are dotted: run.started, step.completed,
tool.called, effect.unknown, approval.requested, artifact.created, …

Examples:
  aura events 0198c2d1
  aura events 0198c2d1 --follow --type step --type run
  aura events 0198c2d1 --from 500 --json | jq .data")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Go on printing until the run ends.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only events of this type, such as `step.failed`, or of all types that start with it, such as `tool`.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events from this number on; the first is 1.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) from: u64,
}

/// An event with its place.
#[derive(Serialize)]
struct Record<'a> {
    seq: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    at: i64,
    stream: RunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    data: Value,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    for wanted in &args.types {
        known(wanted)?;
    }
    let opened = context.reader()?;
    let row = resolve::run(&*opened.store, &args.run)?;
    let mut from = args.from.max(1);
    let mut told = false;
    // Whether the run had ended before the page was read: only then is an empty page the end.
    let mut closed = row.status.closed();
    loop {
        let page = opened.store.read(row.run, from, PAGE).map_err(|e| resolve::unreadable(&e))?;
        for commit in &page {
            closed |= print(context, &args, commit)?;
            from = commit.header.seq + u64::from(commit.header.count);
        }
        if context.out.closed() || (page.len() < PAGE && (closed || !args.follow)) {
            return Ok(Exit::Done);
        }
        if page.len() == PAGE {
            continue;
        }
        if !told && aura_store::owner(&context.dir).is_none() && !context.quiet {
            let next = format!("aura resume {}", args.run);
            context.out.note(format_args!("no process performs this run now; to go on: {next}"));
        }
        told = true;
        thread::sleep(LOOK);
        if page.is_empty() {
            closed = resolve::run(&*opened.store, &row.run.to_string())?.status.closed();
        }
    }
}

/// Prints what is wanted of a commit, and says whether the run ends with it.
fn print(context: &Context, args: &Args, commit: &StoredCommit) -> Result<bool, Problem> {
    let events = commit.events().map_err(|e| {
        Problem::new(Code::ChainBroken, format!("run {}: {e}", commit.header.run))
            .kept("the events printed so far")
            .next("aura store check")
    })?;
    let mut ends = false;
    for (seq, event) in (commit.header.seq..).zip(&events) {
        ends |= matches!(
            event.body,
            EventBody::RunCompleted(_) | EventBody::RunFailed(_) | EventBody::RunCancelled(_)
        );
        let kind = event.body.kind();
        let wanted = args.types.is_empty() || args.types.iter().any(|wanted| fits(kind, wanted));
        if seq < args.from || !wanted {
            continue;
        }
        if context.out.json {
            record(context, commit, seq, event);
        } else {
            context.out.line(line(context, commit, seq, event));
        }
    }
    Ok(ends)
}

fn record(context: &Context, commit: &StoredCommit, seq: u64, event: &Event) {
    // The stored form has `type` and `data` beside step and attempt.
    let mut stored = serde_json::to_value(&event.body).unwrap_or_default();
    context.out.record(&Record {
        seq,
        kind: event.body.kind(),
        at: commit.header.at.0,
        stream: commit.header.run,
        step: event.step.as_ref().map(aura_core::StepPath::as_str),
        attempt: event.attempt,
        data: stored["data"].take(),
    });
}

/// One event for a person.
fn line(context: &Context, commit: &StoredCommit, seq: u64, event: &Event) -> String {
    let out = &context.out;
    let time = out.paint(Tone::Faint, clock_time(commit.header.at));
    format!("{seq:>6}  {time}  {}", text(context, event)).trim_end().to_owned()
}

/// An event without its place.
pub(crate) fn text(context: &Context, event: &Event) -> String {
    let out = &context.out;
    let kind =
        out.paint(describe::event_tone(&event.body), format_args!("{:<22}", event.body.kind()));
    let step = event.step.as_ref().map_or_else(String::new, |step| plain(step.as_str()));
    let attempt = match event.attempt {
        Some(attempt) if attempt > 1 => format!(" (try {attempt})"),
        _ => String::new(),
    };
    let place = format!("{step}{attempt}");
    let gap = if place.is_empty() { "" } else { "  " };
    let place = out.paint(Tone::Strong, format_args!("{place}"));
    format!("{kind}  {place}{gap}{}", describe::event(&event.body)).trim_end().to_owned()
}

fn fits(kind: &str, wanted: &str) -> bool {
    let rest = kind.strip_prefix(wanted.trim_end_matches(".*"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn known(wanted: &str) -> Result<(), Problem> {
    if EventBody::TYPES.iter().any(|kind| fits(kind, wanted)) {
        return Ok(());
    }
    let near = suggest::nearest(wanted, EventBody::TYPES.iter().copied());
    let near = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    Err(Problem::new(Code::Usage, format!("no event has the type '{wanted}'{near}"))
        .next(format!("one of: {}", EventBody::TYPES.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_meant_whole_or_by_its_first_words() {
        assert!(fits("tool.called", "tool") && fits("tool.called", "tool.called"));
        assert!(fits("tool.called", "tool.*"));
        assert!(!fits("tool.called", "too") && !fits("tool.called", "tool.call"));
        assert!(known("step").is_ok() && known("stop").is_err());
    }
}
