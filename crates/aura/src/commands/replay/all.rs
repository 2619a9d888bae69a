//! `aura replay --all --verify`: every run of a store, one after the other.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_core::error::Problem;
use aura_core::ports::Store;
use aura_engine::Verifier;
use serde_json::{Value, json};

use crate::blobs::StoreBlobs;
use crate::commands::runs;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::{Tone, short};
use crate::queries;
use crate::resolve;

/// How often progress is told.
const TOLD: Duration = Duration::from_millis(250);

/// What was verified.
#[derive(Default)]
struct Counts {
    runs: u64,
    commits: u64,
    events: u64,
    steps: u64,
    wrong: Vec<Value>,
}

/// Verifies all runs that fit; goes on after one that does not hold.
pub(super) fn run(context: &Context, filters: &[String]) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let store: &dyn Store = &*opened.store;
    let query = queries::unlimited(runs::query(filters, store)?);
    let rows = store.runs(&query).map_err(|e| resolve::unreadable(&e))?;
    let blobs = Arc::new(StoreBlobs::new(&opened)?);
    let mut verifier = Verifier::new(store, Arc::clone(&blobs) as _);
    let (begun, mut told) = (Instant::now(), Instant::now());
    let mut counts = Counts::default();
    let shows = !context.quiet && !context.out.json && std::io::stderr().is_terminal();
    for (number, row) in rows.iter().enumerate() {
        match verifier.verify(row.run) {
            Ok(checked) => {
                counts.runs += 1;
                counts.commits += checked.commits;
                counts.events += checked.events;
                counts.steps += checked.steps;
            }
            Err(problem) => {
                let problem = blobs.explain(problem);
                if !context.out.json {
                    let bad = context.out.paint(Tone::Bad, problem.code);
                    let what = describe::one_line(&problem.what, 400);
                    context.out.line(format_args!("{}  {bad}  {what}", short(row.run)));
                }
                if counts.wrong.len() < 1_000 {
                    counts.wrong.push(json!({
                        "run_id": row.run, "code": problem.code, "what": problem.what,
                    }));
                }
            }
        }
        if shows && told.elapsed() > TOLD {
            told = Instant::now();
            let (done, all) = (number + 1, rows.len());
            context.out.progress(format_args!("{done} of {all} runs"));
        }
        if context.out.closed() {
            break;
        }
    }
    if shows && rows.len() > 1 {
        context.out.progress("");
    }
    Ok(tell(context, &counts, begun.elapsed()))
}

fn tell(context: &Context, counts: &Counts, took: Duration) -> Exit {
    let out = &context.out;
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let rate = |count: u64| u64::try_from(u128::from(count) * 1_000_000 / u128::from(micros));
    let (steps, events) = (rate(counts.steps).unwrap_or(0), rate(counts.events).unwrap_or(0));
    let wrong = counts.wrong.len() as u64;
    if out.json {
        out.document(&json!({
            "verified": counts.runs, "wrong": counts.wrong, "commits": counts.commits,
            "events": counts.events, "steps": counts.steps, "duration_ms": micros / 1_000,
            "steps_per_second": steps, "events_per_second": events,
        }));
    } else {
        let runs = describe::count(counts.runs, "run");
        let said = out.paint(Tone::Good, "verified");
        let millis = micros / 1_000;
        out.line(format_args!(
            "{said} {runs}: {}, {}, {}, in {}.{:03} s: {steps} steps/s, {events} events/s",
            describe::count(counts.commits, "commit"),
            describe::count(counts.events, "event"),
            describe::count(counts.steps, "step"),
            millis / 1_000,
            millis % 1_000,
        ));
        if wrong > 0 {
            let runs = describe::count(wrong, "run");
            let verb = if wrong == 1 { "does" } else { "do" };
            out.line(out.paint(Tone::Bad, format_args!("{runs} {verb} not hold")));
        }
    }
    if wrong == 0 { Exit::Done } else { Exit::Failed }
}
