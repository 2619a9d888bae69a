//! Taking over what a process before this one left unfinished.

use std::collections::BTreeSet;

use aura_core::error::Problem;
use aura_core::event::Doubt;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::ports::{Mark, RunQuery, RunStatus};
use aura_core::time::Millis;

use crate::history::store_problem;
use crate::message::{Recovered, Reply};
use crate::shard::{Shard, busy};
use crate::stream::Job;

impl Shard {
    /// Performs a run from now on: what is open was lost with whoever performed it before.
    pub(crate) fn perform(&mut self, run: RunId, reply: Reply, now: Millis) {
        if let Err(problem) = self.load(run) {
            return reply(Err(problem));
        }
        let Some(stream) = self.streams.get(&run) else { return reply(Err(busy())) };
        let closed = stream.run.closed();
        let bundle = stream.run.started.as_ref().map(|started| started.flow.bundle.blob);
        let flows = bundle.and_then(|bundle| self.flows.get(&bundle)).filter(|_| !closed);
        if let Some(problem) = flows.and_then(|flows| self.lacks(run, flows)) {
            return reply(Err(problem));
        }
        if !self.performs.insert(run) {
            return self.reply_when_durable(run, reply);
        }
        let lost = self.ask_anew(run);
        self.note_timer(run);
        if lost.is_empty() {
            return self.reply_when_durable(run, reply);
        }
        let mut reply = Some(reply);
        let mut lost = lost.into_iter().peekable();
        while let Some(input) = lost.next() {
            let reply = if lost.peek().is_none() { reply.take() } else { None };
            self.decide_for(run, Job { input, reply }, now);
        }
    }

    /// Asks a run that is in memory what it waits for. Gives back what tells it of attempts that nobody works on.
    fn ask_anew(&mut self, run: RunId) -> Vec<Input> {
        let Some(stream) = self.streams.get(&run) else { return Vec::new() };
        for (step, _) in stream.run.ready() {
            self.slots.wait(run, step.clone());
        }
        if stream.run.more {
            self.again.push_back(run);
        }
        self.parents.push_back(run);
        // A parent that this process performs may not have heard of it, or it of its parent.
        let started = stream.run.started.as_ref();
        let parent = started.and_then(|started| started.parent.as_ref()).map(|parent| parent.run);
        self.parents.extend(parent.filter(|parent| self.performs.contains(parent)));
        let mut lost = stream.run.outstanding();
        lost.retain(|step| !self.in_flight.contains_key(&(run, step.clone())));
        let inputs = lost
            .chunks(limits::UNKNOWN_STEPS)
            .map(|steps| Input::Unknown { steps: steps.to_vec(), doubt: Doubt::Crash });
        inputs.collect()
    }

    /// Performs every run that has not ended.
    pub(crate) fn recover(&mut self, reply: Recovered) {
        reply(self.recover_open());
    }

    fn recover_open(&mut self) -> Result<usize, Problem> {
        let open = RunStatus::ALL.into_iter().filter(|status| !status.closed());
        let query = RunQuery {
            statuses: open.collect(),
            limit: limits::RECOVERED_RUNS,
            ..RunQuery::default()
        };
        let rows = self.ports.store.runs(&query).map_err(|e| store_problem(&e))?;
        let mut taken = 0;
        for row in rows {
            if self.performs.contains(&row.run) || self.taken.contains(&row.run) {
                continue;
            }
            taken += 1;
            match row.mark {
                // Nothing of it is open, so it need not be in memory before something comes for it. One that waits for
                // children may not have heard of them.
                Mark::Asleep(due)
                    if matches!(row.status, RunStatus::Waiting | RunStatus::InDoubt) =>
                {
                    self.performs.insert(row.run);
                    self.timers.extend(due.map(|due| (due, row.run)));
                }
                Mark::Active | Mark::Asleep(_) => {
                    self.taken.insert(row.run);
                }
                Mark::Closed => {}
            }
        }
        Ok(taken)
    }

    /// Performs runs that are to be taken over, as many as one step may.
    pub(crate) fn take_over(&mut self, now: Millis) {
        for _ in 0..limits::SHARD_TAKEN {
            let Some(run) = self.taken.pop_first() else { return };
            match self.load(run) {
                Ok(()) if self.performs.contains(&run) => {
                    for input in self.ask_anew(run) {
                        self.decide_for(run, Job::own(input), now);
                    }
                    self.note_timer(run);
                }
                Ok(()) => self.perform(run, Box::new(|_| {}), now),
                Err(problem) if self.passes(run, &problem) => {
                    self.taken.insert(run);
                    return self.pause(now);
                }
                Err(_) => {
                    self.performs.remove(&run);
                }
            }
        }
    }

    /// After a failed commit: inputs that nobody else tells are decided again, and runs that were dropped from memory or
    /// did not hear something are asked anew what they wait for.
    pub(crate) fn present_again(&mut self, held: Vec<(RunId, Job)>, runs: BTreeSet<RunId>) {
        self.held.extend(held);
        self.taken.extend(runs.into_iter().filter(|run| self.performs.contains(run)));
    }
}
