//! A run and the children that it waits for, as they are read from the store, commit by commit.
//!
//! Steps of a child stand below the step that started it, as if the child were a body of that step.

use std::collections::BTreeMap;

use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::event::{Event, EventBody, Purpose, Work};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::Store;
use aura_core::time::Millis;
use aura_graph::Run;
use aura_graph::state::fold_commit;

use crate::resolve::unreadable;

/// Commits read at once.
const PAGE: usize = 512;
/// Digits of a run's id in the path of its steps.
const DIGITS: usize = 8;

/// What is read.
pub(crate) enum News<'a> {
    /// A fact, with its step as a person sees it.
    Fact(Millis, &'a Event),
    /// The end of a commit.
    Commit,
}

/// Whether a timer only ends what is waited for.
fn gives_up(purpose: Purpose) -> bool {
    match purpose {
        Purpose::Wait | Purpose::Approval | Purpose::Deadline | Purpose::Budget => true,
        Purpose::Sleep | Purpose::Retry | Purpose::Attempt | Purpose::Heartbeat => false,
    }
}

/// Takes what is read.
pub(crate) type Reader<'a> = &'a mut dyn FnMut(News<'_>);

/// A run with those that it waits for.
pub(crate) struct Stream {
    /// The run as its history adds up.
    pub(crate) run: Run,
    head: Hash,
    /// Where its steps stand: the body that names it, or the root.
    place: StepPath,
    /// By the step that waits for it.
    children: BTreeMap<StepPath, Self>,
}

impl Stream {
    /// A run of which nothing is read yet.
    pub(crate) fn new(run: RunId) -> Self {
        Self::at(run, StepPath::root())
    }

    fn at(run: RunId, place: StepPath) -> Self {
        Self { run: Run::new(run), head: Hash::ZERO, place, children: BTreeMap::new() }
    }

    /// The run and all open ones below it, itself first.
    pub(crate) fn runs(&self) -> Vec<&Run> {
        let mut runs = vec![&self.run];
        for child in self.children.values() {
            runs.extend(child.runs());
        }
        runs
    }

    /// Whether nothing can happen without a person or a signal.
    pub(crate) fn stuck(&self) -> bool {
        self.rests(|run| run.due().is_none())
    }

    /// Whether nothing can happen without a person or a signal but that they are given up.
    pub(crate) fn waits(&self) -> bool {
        let ends = |run: &Run| run.timers.iter().all(|(.., purpose)| gives_up(purpose));
        self.stuck() || self.rests(ends) && self.runs().iter().any(|run| run.waits_for_somebody())
    }

    fn rests(&self, and: impl Fn(&Run) -> bool) -> bool {
        let rests = |run: &Run| run.events > 0 && !run.closed() && run.idle() && and(run);
        self.runs().into_iter().all(rests)
    }

    /// Reads what is new; gives back whether there was anything. With `all`, also what children did that ended
    /// meanwhile. Children are nested only so deep.
    pub(crate) fn read(
        &mut self,
        store: &dyn Store,
        all: bool,
        take: Reader<'_>,
    ) -> Result<bool, Problem> {
        let mut any = false;
        loop {
            let from = self.run.events + 1;
            let page = store.read(self.run.id, from, PAGE).map_err(|e| unreadable(&e))?;
            let last = page.len() < PAGE;
            for commit in page {
                any = true;
                self.take(store, all, &commit, take)?;
            }
            if last {
                break;
            }
        }
        for child in self.children.values_mut() {
            any |= child.read(store, all, take)?;
        }
        Ok(any)
    }

    /// Reads the run alone up to this event, the end of a commit.
    pub(crate) fn read_to(
        &mut self,
        store: &dyn Store,
        seq: u64,
        take: Reader<'_>,
    ) -> Result<(), Problem> {
        while self.run.events < seq {
            let from = self.run.events + 1;
            let page = store.read(self.run.id, from, PAGE).map_err(|e| unreadable(&e))?;
            if page.is_empty() {
                return Ok(());
            }
            for commit in page.iter().take_while(|commit| commit.header.seq <= seq) {
                self.take(store, false, commit, take)?;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        store: &dyn Store,
        all: bool,
        commit: &StoredCommit,
        take: Reader<'_>,
    ) -> Result<(), Problem> {
        let damaged = |why: String| {
            Problem::new(Code::ChainBroken, format!("run {}: {why}", commit.header.run))
                .next("aura store check")
        };
        fold_commit(&mut self.run, &mut self.head, commit).map_err(|e| damaged(e.to_string()))?;
        let events = commit.events().map_err(|e| damaged(e.to_string()))?;
        for event in &events {
            self.family(store, all, event, take)?;
            take(News::Fact(commit.header.at, &self.placed(event)));
        }
        // A long history is drawn as it comes, so that what ended does not pile up.
        take(News::Commit);
        Ok(())
    }

    /// Notes children that come and go.
    fn family(
        &mut self,
        store: &dyn Store,
        all: bool,
        event: &Event,
        take: Reader<'_>,
    ) -> Result<(), Problem> {
        let Some(step) = &event.step else { return Ok(()) };
        let started = match &event.body {
            EventBody::StepStarted(data) => match &data.work {
                Work::Child(spec) if !spec.detached => Some(spec.run),
                _ => return Ok(()),
            },
            EventBody::ChildContinued(data) => Some(data.next),
            EventBody::ChildCompleted(_)
            | EventBody::ChildFailed(_)
            | EventBody::ChildCancelled(_) => None,
            _ => return Ok(()),
        };
        if let Some(mut ended) = self.children.remove(step).filter(|_| all) {
            ended.read(store, all, take)?;
        }
        if let Some(run) = started {
            let id: String = run.to_string().chars().take(DIGITS).collect();
            let place = self.below(step).body(id);
            self.children.insert(step.clone(), Self::at(run, place));
        }
        Ok(())
    }

    fn below(&self, step: &StepPath) -> StepPath {
        if self.place.is_root() {
            return step.clone();
        }
        StepPath::from(format!("{}/{step}", self.place).as_str())
    }

    fn placed(&self, event: &Event) -> Event {
        let mut event = event.clone();
        event.step = match &event.step {
            Some(step) => Some(self.below(step)),
            None => Some(self.place.clone()).filter(|place| !place.is_root()),
        };
        event
    }
}
