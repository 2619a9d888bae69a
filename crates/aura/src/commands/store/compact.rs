//! `aura store compact` and `aura store sweep`: removing what is not wanted any more.

use std::time::Duration;

use aura_core::error::{Code, Problem};
use aura_core::limits;
use aura_core::ports::{Clock, Compacted, Compaction, Retention, Store};
use aura_core::time::{Millis, parse_duration};
use serde_json::json;

use crate::context::Context;
use crate::describe;
use crate::door::Door;
use crate::exit::Exit;
use crate::output::Tone;
use crate::resolve;
use crate::wire::SystemClock;

/// Arguments of `aura store compact`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A run goes if it has ended and is beyond any limit that is given. Runs that have not ended stay. A key
of a run that is gone can be used again, for a new run.

Examples:
  aura store compact --older-than 30d --dry-run
  aura store compact --keep-runs 1000 --max-bytes 2GiB
  aura store compact --keep-events")]
pub(crate) struct Args {
    /// Remove runs that ended longer ago than this: 12h, 30d.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<u64>,
    /// Keep this many runs, those that ended last.
    #[arg(long, value_name = "N")]
    keep_runs: Option<u64>,
    /// Keep the runs that ended last, up to this many events together.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = KEPT_EVENTS)]
    keep_events: Option<u64>,
    /// Keep the runs that ended last, as long as all commits take at most this: 500MiB, 2GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_bytes: Option<u64>,
    /// Tell what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Events that are kept unless somebody says another number.
const KEPT_EVENTS: &str = "10000";

/// Arguments of `aura store sweep`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A blob that no event names is left by a crash between storing it and recording it, or by runs that
were removed. 'aura store compact' sweeps too.

Examples:
  aura store sweep --dry-run
  aura store sweep")]
pub(crate) struct SweepArgs {
    /// Tell what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || "a whole number and a unit, such as 500MiB or 2GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let shift = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Removes runs.
pub(super) fn compact(context: &Context, args: &Args) -> Result<Exit, Problem> {
    let now = SystemClock.now();
    let retention = Retention {
        since: args.older_than.map(|age| earlier(now, age)),
        runs: args.keep_runs,
        events: args.keep_events,
        bytes: args.max_bytes,
    };
    if retention == Retention::default() {
        return Err(Problem::new(Code::Usage, "nothing says which runs may go")
            .kept("nothing was removed")
            .next("aura store compact --older-than 30d --dry-run"));
    }
    ask(context, retention, args.dry_run)
}

/// Removes blobs alone.
pub(super) fn sweep(context: &Context, args: &SweepArgs) -> Result<Exit, Problem> {
    ask(context, Retention::default(), args.dry_run)
}

fn earlier(now: Millis, span: u64) -> Millis {
    Millis(now.0.saturating_sub(i64::try_from(span).unwrap_or(i64::MAX)))
}

fn ask(context: &Context, retention: Retention, dry_run: bool) -> Result<Exit, Problem> {
    // Looked at first, so that a mistyped folder does not become a store.
    let store = context.reader()?.store;
    let at = SystemClock.now();
    let asked = Compaction {
        retention,
        orphans_before: Some(earlier(at, limits::ORPHAN_MS)),
        at,
        actor: context.actor.clone(),
        dry_run,
    };
    let before = store.info().map_err(|e| resolve::unreadable(&e))?.bytes;
    let done = loop {
        let mut door = Door::open(context, false)?;
        let done = door.compact(&asked);
        if let Door::Own(owner) = door {
            owner.leave(Duration::from_secs(10));
        }
        if let Some(done) = done? {
            break done;
        }
    };
    let after = store.info().map_err(|e| resolve::unreadable(&e))?.bytes;
    tell(context, dry_run, &done, (before, after));
    Ok(Exit::Done)
}

fn tell(context: &Context, dry_run: bool, done: &Compacted, (before, after): (u64, u64)) {
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "dry_run": dry_run, "runs": done.runs, "events": done.events, "blobs": done.blobs,
            "bytes": done.bytes, "store_bytes_before": before, "store_bytes": after,
        }));
    }
    if *done == Compacted::default() {
        return out.line("there is nothing to remove");
    }
    let what = [
        format!(
            "{} with {}",
            describe::count(done.runs, "run"),
            describe::count(done.events, "event")
        ),
        describe::count(done.blobs, "blob"),
    ];
    let (what, bytes) = (what.join(" and "), describe::bytes(done.bytes));
    if dry_run {
        return out.line(format_args!("would remove {what}, {bytes}"));
    }
    out.line(format_args!("{} {what}, {bytes}", out.paint(Tone::Good, "removed")));
    let (before, after) = (describe::bytes(before), describe::bytes(after));
    out.line(format_args!("the store has {after} now, {before} before"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("17"), Ok(17));
        assert_eq!(parse_bytes("2GiB"), Ok(2 << 30));
        assert_eq!(parse_bytes("500mb"), Ok(500 << 20));
        for wrong in ["", "GiB", "1.5G", "2X", "99999999999999T"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
