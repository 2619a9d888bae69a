//! Runs that belong together: what they tell each other, and looking after the children of a run.
//!
//! A run that another one starts is begun right after the turn that asks for it, so that both are in one group. Any
//! other message may be late or come twice: what was not heard is told again when a run is performed anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::error::Code;
use aura_core::event::RunStarted;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::path::StepPath;
use aura_core::time::Millis;
use aura_graph::Run;
use aura_graph::decide::{child_started, end_message};
use aura_graph::state::{Child, Phase};

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
            if self.load(run).is_err_and(|problem| problem.code == Code::Busy) {
                self.messages.push_front((run, input));
                return self.pause(now);
            }
            self.decide_for(run, Job::own(input), now);
        }
    }

    /// Drops what runs told each other, because it may rest on what did not become durable: it is told again.
    pub(crate) fn drop_messages(&mut self) -> Vec<(RunId, Job)> {
        self.messages.clear();
        let mut blocked = Vec::new();
        for (run, stream) in &mut self.streams {
            stream.queue.retain(|job| !job.is_message());
            if stream.blocked.as_ref().is_some_and(|blocked| blocked.job.is_message()) {
                stream.blocked = None;
                blocked.push(*run);
            }
        }
        blocked.into_iter().flat_map(|run| self.forget_undurable(run)).collect()
    }

    /// Performs the children of runs that this process performs, and tells what was not heard.
    pub(crate) fn look_after_children(&mut self, now: Millis) {
        for run in std::mem::take(&mut self.parents) {
            if self.load(run).is_err() {
                continue;
            }
            let Some(stream) = self.streams.get(&run) else { continue };
            let open: Vec<_> = stream
                .run
                .children
                .iter()
                .map(|(step, child)| (step.clone(), Arc::clone(child)))
                .collect();
            for (step, child) in open {
                self.look_after(run, &step, &child, now);
            }
        }
    }

    fn look_after(&mut self, parent: RunId, step: &StepPath, child: &Child, now: Millis) {
        match self.load(child.run) {
            Ok(()) => {}
            Err(problem) if problem.code == Code::RunNotFound => {
                let started = self
                    .streams
                    .get(&parent)
                    .and_then(|stream| child_started(&stream.run, step, &child.spec));
                if let Some(started) = started {
                    self.begin(parent, child.run, Box::new(started), now);
                }
                return;
            }
            Err(_) => return,
        }
        let Some(stream) = self.streams.get(&child.run) else { return };
        if let Some(told) = end_message(&stream.run) {
            self.messages.push_back(told);
            return;
        }
        if let Some(reason) = &child.cancelling
            && stream.run.phase == Phase::Running
        {
            let (actor, reason) = (format!("run {parent}"), Some(reason.clone()));
            self.messages.push_back((child.run, Input::Cancel { actor, reason }));
        }
        self.perform(child.run, Box::new(|_| ()), now);
    }
}
