//! Following a run to its end, or to where it needs somebody.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::ports::{Clock, Store};
use aura_graph::Run;

use crate::answering::Answering;
use crate::context::Context;
use crate::door::{Door, Look};
use crate::live::View;
use crate::live::model::Model;
use crate::live::streams::{News, Stream};
use crate::needs::needs;
use crate::signals::Stop;
use crate::wire::SystemClock;

/// How often something moves on the screen.
const FRAME: Duration = Duration::from_millis(80);
/// The shortest time between two looks at the store.
const PACE: Duration = Duration::from_millis(5);
/// How long nothing may happen before it is asked why.
const QUIET: Duration = Duration::from_secs(1);
/// How long a store may take nothing before it is given up.
const STALLED: Duration = Duration::from_secs(10);

/// Where following a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The run ended.
    Closed,
    /// Nothing can happen without a person or a signal.
    Waiting,
    /// Somebody asked to leave.
    Stopped,
}

/// How long a run is followed that waits for a person or a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all: nobody answers here.
    None,
    /// While something may happen by itself, be it that they are given up.
    Expiry,
    /// Until somebody answers elsewhere.
    Endless,
}

/// A run as it is read from the store, with those that it waits for.
pub(crate) struct Follower {
    patience: Patience,
    stream: Stream,
    model: Model,
    view: View,
    /// What was said to need somebody.
    told: BTreeSet<(RunId, &'static str, String)>,
}

impl Follower {
    /// Follows a run, showing what happens from now on.
    pub(crate) fn new(run: RunId, view: View, patience: Patience) -> Self {
        let (stream, model) = (Stream::new(run), Model::default());
        Self { patience, stream, model, view, told: BTreeSet::new() }
    }

    /// The run as its history adds up.
    pub(crate) fn run(&self) -> &Run {
        &self.stream.run
    }

    /// The same, when it is not followed any more.
    pub(crate) fn into_run(self) -> Run {
        self.stream.run
    }

    /// Follows another run instead, which goes on in the place of this one.
    pub(crate) fn go_on_with(&mut self, next: RunId) {
        self.stream = Stream::new(next);
        self.model = Model::default();
    }

    /// Reads what there is without showing it.
    pub(crate) fn skip_history(&mut self, store: &dyn Store) -> Result<(), Problem> {
        let model = &mut self.model;
        self.stream.read(store, false, &mut |news| {
            if let News::Fact(at, event) = news {
                model.apply(at, event);
            }
            model.finished.clear();
        })?;
        Ok(())
    }

    /// Reads up to this event, the end of a commit, without showing it.
    pub(crate) fn skip_to(&mut self, store: &dyn Store, seq: u64) -> Result<(), Problem> {
        let model = &mut self.model;
        self.stream.read_to(store, seq, &mut |news| {
            if let News::Fact(at, event) = news {
                model.apply(at, event);
            }
            model.finished.clear();
        })
    }

    /// Reads what is new, and shows it; gives back whether there was anything.
    fn catch_up(
        &mut self,
        context: &Context,
        store: &dyn Store,
        draws: bool,
    ) -> Result<bool, Problem> {
        let Self { stream, model, view, .. } = self;
        stream.read(store, true, &mut |news| match news {
            News::Fact(at, event) => {
                view.before(context, model, at, event);
                model.apply(at, event);
            }
            News::Commit if draws => view.draw(context, model, SystemClock.now()),
            News::Commit => {}
        })
    }

    /// Follows the run until it ends, needs somebody, or somebody asks to leave.
    pub(crate) fn follow(
        &mut self,
        context: &Context,
        door: &mut Door,
        answering: &mut Answering,
        stop: &Stop,
    ) -> Result<End, Problem> {
        let mut bell = 0;
        let mut quiet = Quiet::new();
        loop {
            let looked = Instant::now();
            // What is drawn would run into a question that is still open.
            if self.catch_up(context, &*door.store(), !answering.is_open())? {
                quiet = Quiet::new();
                answering.withdraw(context, &self.stream.runs());
            }
            if self.stream.run.closed() {
                self.finish(context);
                return Ok(End::Closed);
            }
            if stop.asked() {
                self.finish(context);
                return Ok(End::Stopped);
            }
            if answering.would_ask(&self.stream.runs()) {
                self.view.settle(context, &mut self.model, SystemClock.now());
            } else if !answering.is_open() {
                self.view.draw(context, &mut self.model, SystemClock.now());
            }
            let asking = answering.turn(context, &self.stream.runs(), door, &mut self.view)?;
            if !asking && self.may_end() {
                if !self.may_leave(context, door)? {
                    continue;
                }
                self.finish(context);
                return Ok(End::Waiting);
            }
            if !asking {
                self.tell_needs(context);
            }
            if quiet.too_long() && !self.check(context, door, &mut quiet)? {
                self.move_on(context, door, stop)?;
            }
            // A bell that rings for every commit of a quick run need not be answered each time.
            std::thread::sleep(PACE.saturating_sub(looked.elapsed()));
            bell = door.wait(bell, FRAME);
        }
    }

    /// Whether nobody hands in what the run needs at this very moment.
    fn may_leave(&mut self, context: &Context, door: &Door) -> Result<bool, Problem> {
        let Door::Own(owner) = door else { return Ok(true) };
        let mut news = Ok(false);
        let leaves = owner.close(|| {
            news = self.catch_up(context, &*door.store(), false);
            !matches!(news, Ok(false)) && !self.may_end()
        });
        news.map(|_| leaves)
    }

    /// Whether the run waits for somebody for whom nobody waits here.
    fn may_end(&self) -> bool {
        match self.patience {
            Patience::None => self.stream.waits(),
            Patience::Expiry => self.stream.stuck(),
            Patience::Endless => false,
        }
    }

    /// Says, once, what somebody could do while only timers keep the run going.
    fn tell_needs(&mut self, context: &Context) {
        let runs = self.stream.runs();
        if !runs.iter().all(|run| run.idle()) {
            return;
        }
        let all = runs.into_iter().flat_map(|run| needs(run).into_iter().map(|n| (run.id, n)));
        for (run, need) in all {
            if self.told.insert((run, need.kind, need.step.clone())) {
                self.view.settle(context, &mut self.model, SystemClock.now());
                self.view.say(context, &format!("waiting for {}", need.what));
                self.view.say(context, &format!("  next: {}", need.command));
            }
        }
    }

    fn finish(&mut self, context: &Context) {
        self.view.settle(context, &mut self.model, SystemClock.now());
    }

    /// Asks why nothing happens; false if the owner left.
    fn check(
        &mut self,
        context: &Context,
        door: &mut Door,
        quiet: &mut Quiet,
    ) -> Result<bool, Problem> {
        quiet.asked = Instant::now();
        let problem = match door.look(self.stream.run.id) {
            Look::Gone => return Ok(false),
            Look::Well => {
                quiet.trouble = None;
                return Ok(true);
            }
            Look::Trouble(problem) => problem,
        };
        let passes = matches!(problem.code, Code::StoreFull | Code::Busy);
        let since = *quiet.trouble.get_or_insert_with(Instant::now);
        if !passes || since.elapsed() > STALLED {
            self.view.clear(context);
            return Err(problem);
        }
        if !quiet.warned {
            quiet.warned = true;
            self.view.warn(context, &problem);
        }
        Ok(true)
    }

    /// The owner left: takes its place or asks the next one, and goes on with the run.
    fn move_on(&mut self, context: &Context, door: &mut Door, stop: &Stop) -> Result<(), Problem> {
        loop {
            match Door::open(context, true) {
                Ok(open) => *door = open,
                // It drains what it has in flight, which may take a while.
                Err(problem) if problem.code == Code::StoreOwned && !stop.asked() => continue,
                Err(problem) => return Err(problem),
            }
            if stop.asked() || door.perform(self.stream.run.id, false)?.is_some() {
                break;
            }
        }
        if door.owns() && !context.quiet && !context.out.json {
            self.view.say(context, "the process that performed this run has left; going on here");
        }
        Ok(())
    }
}

/// How long nothing happened, and why.
struct Quiet {
    since: Instant,
    asked: Instant,
    trouble: Option<Instant>,
    warned: bool,
}

impl Quiet {
    fn new() -> Self {
        Self { since: Instant::now(), asked: Instant::now(), trouble: None, warned: false }
    }

    fn too_long(&self) -> bool {
        self.since.elapsed() > QUIET && self.asked.elapsed() > QUIET
    }
}

/// Reads a run once, as it stands.
pub(crate) fn read_once(store: &Arc<dyn Store>, run: RunId) -> Result<Run, Problem> {
    let mut follower = Follower::new(run, View::Nothing, Patience::None);
    follower.skip_history(&**store)?;
    Ok(follower.into_run())
}
