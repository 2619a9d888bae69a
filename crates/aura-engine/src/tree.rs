//! Runs that belong together: what they tell each other, and looking after the children of a run.
//!
//! A run that another one starts is begun right after the turn that asks for it, so that both are in one group. Any
//! other message may be late or come twice: what was not heard is told again when a run is performed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_core::error::{Code, Problem};
use aura_core::event::RunStarted;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::time::Millis;
use aura_graph::Run;
use aura_graph::decide::{child_started, end_message, next_started, pause_message, resume_message};
use aura_graph::state::{Child, speaks_for};

use crate::shard::Shard;
use crate::stream::{Job, Stream};

impl Shard {
    /// Passes on what a turn of `from` tells other runs.
    pub(crate) fn send(&mut self, from: RunId, messages: Vec<(RunId, Input)>) {
        let Some(now) = self.streams.get(&from).map(|stream| stream.run.at) else { return };
        for (to, input) in messages {
            match input {
                Input::Start(started) => self.begin(from, to, started, now),
                input => self.messages.push_back((to, input)),
            }
        }
    }

    /// Begins a run that another one starts.
    fn begin(&mut self, from: RunId, run: RunId, started: Box<RunStarted>, now: Millis) {
        if self.streams.contains_key(&run) {
            return;
        }
        let Ok(flow) = self.flow(&started.flow) else { return };
        self.streams.insert(run, Stream::new(Run::new(run), Hash::ZERO, flow));
        if self.performs.contains(&from) {
            self.performs.insert(run);
        }
        self.turn(run, Job::own(Input::Start(started)), now, (BTreeMap::new(), 0));
    }

    /// Decides about what runs told each other, as much of it as one step may.
    pub(crate) fn pass_on_messages(&mut self, now: Millis) {
        for _ in 0..limits::SHARD_MESSAGES {
            let Some((run, input)) = self.messages.pop_front() else { return };
            if self.load(run).is_err_and(|problem| self.passes(run, &problem)) {
                self.messages.push_front((run, input));
                return self.pause(now);
            }
            self.decide_for(run, Job::own(input), now);
        }
    }

    /// Drops what runs told each other, because it may rest on what did not become durable: it is told again. Gives
    /// back inputs that are not decided, and the runs that were to hear something.
    pub(crate) fn drop_messages(&mut self) -> (Vec<(RunId, Job)>, BTreeSet<RunId>) {
        let mut deaf: BTreeSet<_> = self.messages.drain(..).map(|(run, _)| run).collect();
        let mut blocked = Vec::new();
        for (run, stream) in &mut self.streams {
            let before = stream.queue.len();
            stream.queue.retain(|job| !job.is_message());
            if stream.queue.len() < before {
                deaf.insert(*run);
            }
            if stream.blocked.as_ref().is_some_and(|blocked| blocked.job.is_message()) {
                stream.blocked = None;
                blocked.push(*run);
            }
        }
        deaf.extend(&blocked);
        let jobs = blocked.into_iter().flat_map(|run| self.forget_undurable(run)).collect();
        (jobs, deaf)
    }

    /// Whether what keeps a run from being loaded may be over later: the store can't be read now.
    pub(crate) fn passes(&self, run: RunId, problem: &Problem) -> bool {
        problem.code != Code::RunNotFound && !self.parked.contains_key(&run)
    }

    /// Performs the children of runs that this process performs, and tells what was not heard.
    pub(crate) fn look_after_children(&mut self, now: Millis) {
        for run in std::mem::take(&mut self.parents) {
            let looked = self.load(run).and_then(|()| self.look_after_all(run, now));
            if looked.is_err_and(|problem| self.passes(run, &problem)) {
                self.parents.push_back(run);
                self.pause(now);
            }
        }
    }

    fn look_after_all(&mut self, run: RunId, now: Millis) -> Result<(), Problem> {
        let Some(stream) = self.streams.get(&run) else { return Ok(()) };
        let children = stream.run.children.iter();
        let open: Vec<_> =
            children.map(|(step, child)| (step.clone(), Arc::clone(child))).collect();
        open.iter().try_for_each(|(step, child)| self.look_after(run, step, child, now))
    }

    fn look_after(
        &mut self,
        parent: RunId,
        step: &StepPath,
        child: &Child,
        now: Millis,
    ) -> Result<(), Problem> {
        match self.load(child.run) {
            Ok(()) => {}
            Err(problem) if problem.code == Code::RunNotFound && child.run == child.spec.run => {
                let above = self.streams.get(&parent).map(|stream| &stream.run);
                if let Some(started) = above.and_then(|run| child_started(run, step, &child.spec)) {
                    self.begin(parent, child.run, Box::new(started), now);
                }
            }
            Err(problem) if self.passes(child.run, &problem) => return Err(problem),
            // It is set aside, and its parent waits until somebody has seen to it.
            Err(_) => return Ok(()),
        }
        if let Some(reason) = child.cancelling.clone() {
            let (actor, reason) = (speaks_for(parent), Some(reason));
            self.messages.push_back((child.run, Input::Cancel { actor, reason }));
        }
        self.pause_with(parent, child.run);
        self.follow(parent, child.run, now)
    }

    /// Tells a child to stand still, or to go on, as its parent does, if it did not hear that.
    fn pause_with(&mut self, parent: RunId, child: RunId) {
        let (Some(above), Some(below)) = (self.streams.get(&parent), self.streams.get(&child))
        else {
            return;
        };
        let (above, below) = (&above.run, &below.run);
        let told = match (&above.paused, &below.paused) {
            (Some(_), None) => pause_message(above),
            (None, Some(_)) if below.paused_by_parent() => resume_message(above),
            _ => None,
        };
        self.messages.extend(told.filter(|_| !below.closed()).map(|told| (child, told)));
    }

    /// Goes from a child to the one that goes on in its place, and from that to the next, and performs the last of
    /// them, if it has not ended. What ended is told to the parent, in order, since it may have heard of none.
    fn follow(&mut self, parent: RunId, child: RunId, now: Millis) -> Result<(), Problem> {
        let mut at = child;
        loop {
            let Some(run) = self.streams.get(&at).map(|stream| &stream.run) else { return Ok(()) };
            let Some(told) = end_message(run) else {
                self.perform(at, Box::new(|_| ()), now);
                return Ok(());
            };
            self.messages.push_back(told);
            self.closed.push(at);
            let Some((next, started)) = next_started(run) else { return Ok(()) };
            match self.load(next) {
                Ok(()) => {}
                Err(problem) if problem.code == Code::RunNotFound => {
                    self.begin(parent, next, Box::new(started), now);
                }
                Err(problem) if self.passes(next, &problem) => return Err(problem),
                Err(_) => return Ok(()),
            }
            at = next;
        }
    }
}
