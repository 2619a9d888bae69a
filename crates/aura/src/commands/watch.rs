//! `aura run --watch`: on each save of the flow, the last run is left where the new flow first does something else,
//! and the fork goes on from there with what was recorded.

use std::path::Path;
use std::time::Duration;

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::ports::Store;
use aura_engine::{At, Cut, compare, cut};
use aura_graph::backtest::Verdict;
use aura_graph::compare::Divergence;
use uuid::Uuid;

use super::{diff, fork};
use crate::backtesting::Tester;
use crate::context::Context;
use crate::diagnostics;
use crate::exit::Exit;
use crate::flowfiles::{self, FlowFiles, read_flow};
use crate::order::ForkOrder;
use crate::output::{Tone, short};
use crate::performing::Manner;
use crate::signals::{Hangup, Stop};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Goes on from `run`, whose flow was `source`, whenever the file says something else, until somebody asks to leave.
pub(super) fn watch(
    context: &Context,
    path: &Path,
    (mut run, mut source): (RunId, String),
    manner: Manner,
) -> Result<Exit, Problem> {
    let stop = Stop::listen(Hangup::Leaves)?;
    loop {
        if !context.out.json {
            let text = format!("watching {}; Ctrl-C leaves", path.display());
            context.out.note(context.out.paint(Tone::Faint, text));
        }
        let Some(new) = changed(path, &source, &stop) else { return Ok(Exit::Done) };
        source.clone_from(&new);
        let files = match diagnostics::opened(context, flowfiles::open(path)) {
            Ok(Some(files)) => files,
            // A file that can't be used is for the person to see, and to mend.
            Ok(None) => continue,
            Err(problem) => {
                context.out.problem(&problem);
                continue;
            }
        };
        let Some(order) = order(context, run, files)? else { continue };
        match fork::see(context, &order, manner) {
            Ok(_) => {
                told(context, run, order.run)?;
                run = order.run;
            }
            // Where the fork can't be made is for the person to see, and to mend in the file.
            Err(problem) if problem.code == Code::CannotFork => context.out.problem(&problem),
            Err(problem) => return Err(problem),
        }
        if stop.asked() {
            return Ok(Exit::Done);
        }
    }
}

/// The text of the file when it is another, and stays so for a moment; `None` if somebody asked to leave.
fn changed(path: &Path, source: &str, stop: &Stop) -> Option<String> {
    let mut seen: Option<String> = None;
    while !stop.asked() {
        std::thread::sleep(LOOK);
        // An editor may have the file away for a moment.
        let Ok(text) = read_flow(path) else { continue };
        if text != source && seen.as_deref() == Some(text.as_str()) {
            return Some(text);
        }
        seen = Some(text);
    }
    None
}

/// The fork that a changed flow asks for; `None` if it changes nothing.
fn order(context: &Context, run: RunId, flow: FlowFiles) -> Result<Option<ForkOrder>, Problem> {
    let opened = context.reader()?;
    let store: &dyn Store = &*opened.store;
    let verdict = Tester::new(&opened, flow.clone())?.test(run)?;
    let place = match &verdict {
        Verdict::Same => {
            let text = format!("saved; run {} would do the same", short(run));
            context.out.note(text);
            return Ok(None);
        }
        Verdict::Different(divergence) => Some(&**divergence),
        Verdict::Needs { divergence, .. } => divergence.as_deref(),
        Verdict::Untold(why) => {
            context.out.note(format_args!("{why}; starting anew"));
            None
        }
    };
    let cut = leave(store, run, place)?;
    let what = match cut.seq {
        0 => "saved; from the beginning, with what was recorded".to_owned(),
        seq => format!("saved; after event {seq} of {}, with what was recorded", short(run)),
    };
    context.out.note(what);
    let forked = fork::plain(context, run, &cut)?;
    let FlowFiles { source, files, .. } = flow;
    Ok(Some(ForkOrder { run: RunId(Uuid::now_v7()), forked, source: Some(source), files }))
}

/// Where to leave a run: where the new flow first does something else, or at its beginning.
fn leave(store: &dyn Store, run: RunId, place: Option<&Divergence>) -> Result<Cut, Problem> {
    let fact = place.and_then(|divergence| divergence.left.as_ref());
    let step = fact.and_then(|fact| fact.event.step.clone());
    // A step that failed or was passed over within a body is left with the node that holds the body.
    let step = step.and_then(|step| {
        let first = step.segments().next()?;
        let whole = first.key.is_none() && step.segments().count() == 1;
        whole.then_some(step)
    });
    match step.map(|step| cut(store, run, &At::Start(step))) {
        Some(Ok(cut)) => Ok(cut),
        _ => cut(store, run, &At::Beginning),
    }
}

/// What the fork did otherwise.
fn told(context: &Context, old: RunId, new: RunId) -> Result<(), Problem> {
    if context.out.json || context.quiet {
        return Ok(());
    }
    let opened = context.reader()?;
    let compared = compare(&*opened.store, old, new)?;
    let out = &context.out;
    match &compared.divergence {
        None => out.line(out.paint(Tone::Good, "the run did the same")),
        Some(divergence) => {
            out.line(out.paint(Tone::Strong, "what changed"));
            for line in diff::first(context, ["before", "now   "], divergence) {
                out.line(format_args!("  {line}"));
            }
            out.line(format_args!("  aura diff {} {}", short(old), short(new)));
        }
    }
    Ok(())
}
