//! Seeing a run through: following it, telling how it stands, and leaving the store in order.

use std::time::Duration;

use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{Mark, RunQuery};
use aura_graph::Run;

use crate::answering::Answering;
use crate::background;
use crate::context::Context;
use crate::door::Door;
use crate::exit::Exit;
use crate::family;
use crate::follow::{End, Follower, Patience};
use crate::live::View;
use crate::owner::Owner;
use crate::queries;
use crate::report;
use crate::resolve::unreadable;
use crate::signals::{Hangup, Stop};

/// How long effects in flight are awaited when somebody asks to leave.
const GRACE: Duration = Duration::from_secs(10);
/// How long effects of other runs are awaited when this process has nothing more to do: an attempt and its late outcome.
const OTHERS: Duration = Duration::from_millis(limits::ATTEMPT_MS + limits::LATE_OUTCOME_MS);

/// What of a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of it.
    FromTheStart,
    /// What happened after this event, and happens from now on.
    After(u64),
    /// What happens from now on.
    FromNow,
}

/// How a command sees a run through.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Manner {
    /// Grant every approval that is asked for, but no larger budget; that is recorded.
    #[arg(long)]
    yes: bool,
    /// Stay while a run waits for a person or a signal.
    #[arg(long)]
    stay: bool,
}

/// A process that sees runs through.
pub(crate) struct Session<'a> {
    context: &'a Context,
    /// The way to the store.
    pub(crate) door: Door,
    answering: Answering,
    patience: Patience,
    stop: Stop,
    seen: Vec<RunId>,
}

impl<'a> Session<'a> {
    /// A session over an open door.
    pub(crate) fn new(context: &'a Context, door: Door, manner: Manner) -> Result<Self, Problem> {
        let answering = Answering::fitting(context, manner.yes);
        let patience = if manner.stay { Patience::Endless } else { answering.patience() };
        let stop = Stop::listen(Hangup::Leaves)?;
        Ok(Self { context, door, answering, patience, stop, seen: Vec::new() })
    }

    /// Follows a run until it ends, needs somebody, or somebody asks to leave.
    pub(crate) fn see(&mut self, run: RunId, shown: Shown) -> Result<(End, Run), Problem> {
        if let Door::Own(owner) = &self.door {
            owner.reopen();
        }
        let mut follower = Follower::new(run, View::fitting(self.context), self.patience);
        match shown {
            Shown::FromTheStart => {}
            Shown::After(seq) => follower.skip_to(&*self.door.store(), seq)?,
            Shown::FromNow => follower.skip_history(&*self.door.store())?,
        }
        self.seen.push(run);
        loop {
            let end =
                follower.follow(self.context, &mut self.door, &mut self.answering, &self.stop)?;
            // A run that goes on anew is followed to its last.
            let next = follower.run().continued.as_ref().map(|continued| continued.next);
            match next.filter(|_| end == End::Closed) {
                Some(next) => {
                    self.seen.push(next);
                    follower.go_on_with(next);
                }
                None => return Ok((end, follower.into_run())),
            }
        }
    }

    /// Tells how a run stands, and gives the exit code for it.
    pub(crate) fn tell(&self, run: &Run) -> Result<Exit, Problem> {
        let needs = family::needs_of_tree(&*self.door.store(), run)?;
        let blobs = self.door.blobs();
        if self.context.out.json {
            self.context.out.document(&report::document(run, &needs, &blobs)?);
        } else {
            report::print(self.context, run, &needs, &blobs)?;
        }
        Ok(report::exit(run))
    }

    /// Does something with runs and gives up the store in order, also if it fails: effects of others may be in flight.
    pub(crate) fn through(
        mut self,
        work: impl FnOnce(&mut Self) -> Result<(Exit, Option<RunId>), Problem>,
    ) -> Result<Exit, Problem> {
        match work(&mut self) {
            Ok((exit, stopped)) => {
                self.leave(stopped)?;
                Ok(exit)
            }
            Err(problem) => {
                let _ = self.leave(None);
                Err(problem)
            }
        }
    }

    /// Says how many other runs are unfinished.
    pub(crate) fn tell_of_others(&self) -> Result<(), Problem> {
        if self.context.quiet || !self.door.owns() {
            return Ok(());
        }
        let others = unfinished(&self.door)?.iter().filter(|run| !self.seen.contains(run)).count();
        if others > 0 {
            let runs = if others == 1 { "run is" } else { "runs are" };
            let text = format!("{others} other {runs} unfinished: aura resume --all");
            self.context.out.note(text);
        }
        Ok(())
    }

    /// Gives up the store in order, if this process owns it; says how to go on with a run that was stopped.
    fn leave(self, stopped: Option<RunId>) -> Result<(), Problem> {
        let context = self.context;
        match self.door {
            Door::Own(owner) => leave(context, *owner, &self.seen, stopped.is_some())?,
            Door::Ask(_) => {
                if let Some(run) = stopped {
                    context.out.note("the process that owns the store goes on with the run");
                    context.out.next(format_args!("aura show {run}"));
                }
                return Ok(());
            }
        }
        if let Some(run) = stopped {
            context.out.note(format_args!("stopped; nothing that was recorded is lost"));
            context.out.next(format_args!("aura resume {run}"));
        }
        Ok(())
    }
}

fn leave(context: &Context, owner: Owner, seen: &[RunId], stopped: bool) -> Result<(), Problem> {
    let working = owner.desk().in_work(&*owner.opened().store)?;
    let others: Vec<_> = working.iter().filter(|(run, _)| !seen.contains(run)).collect();
    let grace = if stopped || others.is_empty() { GRACE } else { OTHERS };
    if stopped {
        let seconds = GRACE.as_secs();
        let text = format!("stopping: effects in flight have {seconds} s; Ctrl-C leaves at once");
        context.out.note(text);
    } else if !others.is_empty() {
        context.out.note("finishing what other runs have in flight; Ctrl-C leaves at once");
    }
    let alone: Vec<_> = others.iter().filter(|(_, alone)| *alone).map(|(run, _)| *run).collect();
    if !owner.leave(grace) {
        context.out.note("some effects had no outcome yet; resuming asks about them");
    }
    if !alone.is_empty() {
        // Nobody watches these, so that nobody would take the lock for them.
        background::spawn(context, &alone)?;
    }
    Ok(())
}

/// Runs that have not ended, the oldest first; those that a parent waits for go on with it.
pub(crate) fn unfinished(door: &Door) -> Result<Vec<RunId>, Problem> {
    let query = RunQuery { top: true, ..queries::open() };
    let rows = door.store().runs(&query).map_err(|e| unreadable(&e))?;
    let open = rows.iter().rev().filter(|row| row.mark != Mark::Closed);
    Ok(open.map(|row| row.run).collect())
}
