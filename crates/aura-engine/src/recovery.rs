//! Taking over what a process before this one left unfinished.

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
        if let Some(problem) = self.lacks(run, &stream.flow).filter(|_| !stream.run.closed()) {
            return reply(Err(problem));
        }
        if !self.performs.insert(run) {
            return self.reply_when_durable(run, reply);
        }
        let steps = stream.run.outstanding();
        let ready: Vec<_> = stream.run.ready().map(|(step, _)| step.clone()).collect();
        let more = stream.run.more;
        for step in ready {
            self.slots.wait(run, step);
        }
        if more {
            self.again.push_back(run);
        }
        self.parents.push_back(run);
        self.note_timer(run);
        if steps.is_empty() {
            return self.reply_when_durable(run, reply);
        }
        let mut reply = Some(reply);
        let mut chunks = steps.chunks(limits::UNKNOWN_STEPS).peekable();
        while let Some(steps) = chunks.next() {
            let input = Input::Unknown { steps: steps.to_vec(), doubt: Doubt::Crash };
            let reply = if chunks.peek().is_none() { reply.take() } else { None };
            self.decide_for(run, Job { input, reply }, now);
        }
    }

    /// Performs every run that has not ended.
    pub(crate) fn recover(&mut self, reply: Recovered, now: Millis) {
        reply(self.recover_open(now));
    }

    fn recover_open(&mut self, now: Millis) -> Result<usize, Problem> {
        let open = RunStatus::ALL.into_iter().filter(|status| !status.closed());
        let query = RunQuery {
            statuses: open.collect(),
            limit: limits::RECOVERED_RUNS,
            ..RunQuery::default()
        };
        let rows = self.ports.store.runs(&query).map_err(|e| store_problem(&e))?;
        let mut taken = 0;
        for row in rows {
            if self.performs.contains(&row.run) {
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
                Mark::Active | Mark::Asleep(_) => self.perform(row.run, Box::new(|_| {}), now),
                Mark::Closed => {}
            }
        }
        Ok(taken)
    }

    /// After a failed commit: what runs ask for is asked for anew, and what they had been told is told again.
    pub(crate) fn present_again(&mut self, held: Vec<(RunId, Job)>) {
        for run in self.performs.clone() {
            // Loaded again, so that its timers, grants and continuations are asked for anew.
            if self.load(run).is_err() {
                continue;
            }
            let Some(stream) = self.streams.get(&run) else { continue };
            let ready: Vec<_> = stream.run.ready().map(|(step, _)| step.clone()).collect();
            let (more, open) = (stream.run.more, stream.run.outstanding());
            if more {
                self.again.push_back(run);
            }
            self.parents.push_back(run);
            for step in ready {
                self.slots.wait(run, step);
            }
            let lost: Vec<_> = open
                .into_iter()
                .filter(|step| !self.in_flight.contains_key(&(run, step.clone())))
                .filter(|step| !held.iter().any(|(of, job)| *of == run && job.is_outcome_of(step)))
                .collect();
            for steps in lost.chunks(limits::UNKNOWN_STEPS) {
                let input = Input::Unknown { steps: steps.to_vec(), doubt: Doubt::Crash };
                self.held.push_back((run, Job::own(input)));
            }
        }
        self.held.extend(held);
    }
}
