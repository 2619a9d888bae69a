//! `aura resume`: going on with runs that were interrupted or paused.

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::ports::{RunStatus, Store};
use aura_engine::open_history;
use serde_json::{Value, json};

use crate::archive::restored;
use crate::commands::why;
use crate::context::Context;
use crate::door::Door;
use crate::exit::Exit;
use crate::follow::End;
use crate::output::{Tone, local_time};
use crate::performing::{Manner, Session, Shown, unfinished};
use crate::socket::protocol::Ask;
use crate::{family, report, resolve};

/// Runs of a copy that are told about one by one.
const TOLD: usize = 100;

/// Arguments of `aura resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A paused run is let go on, which is recorded, and its children with it. A child that was paused by
itself is let go on by its own id. What was done is not done again. A call whose outcome was lost is
treated by its effect class: it is made again, or waits for a person ('aura effects --in-doubt'). Off a
terminal the command leaves with exit code 3 when only a person or a signal can make the run go on, as
'aura run' does; with --stay it stays.

Examples:
  aura resume 0198c2d1
  aura resume --all --yes
  aura resume --all --restored   # after 'aura store restore'")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN", required_unless_present = "all")]
    run: Option<String>,
    /// Every run that has not ended.
    #[arg(long, conflicts_with = "run")]
    all: bool,
    #[command(flatten)]
    manner: Manner,
    /// Go on with runs of a restored backup or an import, although what they did since is not known here.
    #[arg(long)]
    restored: bool,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    // Looked up first, so that a mistyped id neither makes a store nor takes its lock.
    let store = context.reader()?.store;
    let one = args.run.map(|prefix| asked(&*store, &prefix)).transpose()?;
    since_the_copy(context, &*store, one.as_ref().map(|one| one.tree), args.restored)?;
    drop(store);
    let session = Session::new(context, Door::open(context, true)?, args.manner)?;
    session.through(|session| match one {
        Some(one) => one_run(context, session, &one),
        None => all_runs(context, session),
    })
}

/// Lists what runs that come from a copy may have done since, unless somebody has seen it.
fn since_the_copy(
    context: &Context,
    store: &dyn Store,
    one: Option<RunId>,
    restored: bool,
) -> Result<(), Problem> {
    let mut marked = restored::all(&context.dir)?;
    marked.retain(|run, _| one.is_none_or(|one| one == *run));
    let runs: Vec<RunId> = marked.keys().copied().collect();
    if restored {
        return restored::clear(&context.dir, &runs);
    }
    let Some(first) = runs.first() else { return Ok(()) };
    for (run, taken) in marked.iter().take(TOLD) {
        let Some(history) = open_history(store, *run)? else { continue };
        let taken = local_time(*taken);
        context.out.note(format_args!("run {run}, as it was at {taken}:"));
        for line in why::lines(&history.run) {
            context.out.note(format_args!("  {line}"));
        }
        context.out.note("  everything after that may have happened since");
    }
    let what = format!("{} of a copy; what they did since is not known here", many(runs.len()));
    let target = one.map_or_else(|| "--all".to_owned(), |run| run.to_string());
    let problem = Problem::new(Code::RunRestored, what)
        .kept(format!("nothing was performed; the first is run {first}"));
    Err(problem.next(format!(
        "look whether it happened, and whether they still run where the copy was taken; then: aura resume {target} --restored"
    )))
}

fn many(count: usize) -> String {
    match count {
        1 => "the run is one".to_owned(),
        _ => format!("{count} runs are ones"),
    }
}

/// What is asked for.
struct One {
    /// The run that is let go on.
    run: RunId,
    /// The run at the top of its tree, which is performed.
    tree: RunId,
}

/// The run that is asked for, or the one that goes on in its place. A child goes on with its tree, not alone, unless
/// it was paused by itself.
fn asked(store: &dyn Store, prefix: &str) -> Result<One, Problem> {
    let row = resolve::run(store, prefix)?;
    let run = family::last(store, row.run)?;
    let Some(row) = family::row(store, run)?.filter(|row| row.root.is_some()) else {
        return Ok(One { run, tree: run });
    };
    let root = row.root.unwrap_or(run);
    if row.status == RunStatus::Paused {
        return match family::paused_above(store, &row)? {
            None => Ok(One { run, tree: root }),
            Some(above) => {
                let what = format!("run {run} is a child of run {above}, which is paused, too");
                let next = format!("aura resume {above}");
                Err(Problem::new(Code::Conflict, what).kept("the run as it is").next(next))
            }
        };
    }
    let what = format!("run {run} is a child: it goes on when its tree is performed");
    Err(Problem::new(Code::Conflict, what)
        .kept("the run as it is")
        .next(format!("aura resume {root}")))
}

fn one_run(
    context: &Context,
    session: &mut Session<'_>,
    one: &One,
) -> Result<(Exit, Option<RunId>), Problem> {
    let run = one.tree;
    let_go_on(context, session, one.run)?;
    perform(context, session, run)?;
    let (end, seen) = session.see(run, Shown::FromNow)?;
    let exit = session.tell(&seen)?;
    session.tell_of_others()?;
    Ok((exit, (end == End::Stopped).then_some(run)))
}

fn all_runs(
    context: &Context,
    session: &mut Session<'_>,
) -> Result<(Exit, Option<RunId>), Problem> {
    let runs = unfinished(&session.door)?;
    match &session.door {
        Door::Own(owner) => owner.desk().perform_all(&runs)?,
        Door::Ask(_) => perform_all(context, session, &runs)?,
    }
    let (mut exits, mut documents, mut stopped) = (Vec::new(), Vec::new(), None);
    for run in &runs {
        let (end, exit, document) = one_of_all(context, session, *run)?;
        exits.push(exit);
        documents.push(document);
        if end == End::Stopped {
            stopped = Some(*run);
            break;
        }
    }
    if context.out.json {
        context.out.document(&json!({ "runs": documents }));
    } else if runs.is_empty() {
        context.out.line("every run has ended");
    }
    Ok((worst(&exits), stopped))
}

fn perform_all(
    context: &Context,
    session: &mut Session<'_>,
    runs: &[RunId],
) -> Result<(), Problem> {
    for run in runs {
        let_go_on(context, session, *run)?;
        perform(context, session, *run)?;
    }
    Ok(())
}

fn perform(context: &Context, session: &mut Session<'_>, run: RunId) -> Result<(), Problem> {
    while session.door.perform(run, false)?.is_none() {
        session.door = Door::open(context, true)?;
    }
    Ok(())
}

/// Lets a paused run go on.
fn let_go_on(context: &Context, session: &mut Session<'_>, run: RunId) -> Result<(), Problem> {
    let ask = Ask::Resume { actor: context.actor.clone(), reason: None };
    loop {
        match session.door.input(run, &ask) {
            Ok(Some(taken)) => {
                if !taken.accepted.already && !context.quiet {
                    context.out.note(format_args!("run {run} was paused; it goes on now"));
                }
                return Ok(());
            }
            Ok(None) => session.door = Door::open(context, true)?,
            // One that has ended is shown as it is.
            Err(problem) if problem.code == Code::RunClosed => return Ok(()),
            Err(problem) => return Err(problem),
        }
    }
}

/// They go on all at once; they are shown one after the other.
fn one_of_all(
    context: &Context,
    session: &mut Session<'_>,
    run: RunId,
) -> Result<(End, Exit, Value), Problem> {
    if !context.out.json && !context.quiet {
        context.out.line(context.out.paint(Tone::Strong, format_args!("run {run}")));
    }
    let (end, seen) = session.see(run, Shown::FromNow)?;
    let needs = family::needs_of_tree(&*session.door.store(), &seen)?;
    let blobs = session.door.blobs();
    let document = if context.out.json {
        report::document(&seen, &needs, &blobs)?
    } else {
        report::print(context, &seen, &needs, &blobs)?;
        Value::Null
    };
    Ok((end, report::exit(&seen), document))
}

/// A failure counts more than somebody's being waited for, and that more than success.
fn worst(exits: &[Exit]) -> Exit {
    let order = [Exit::Failed, Exit::Waiting];
    order.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Done)
}
