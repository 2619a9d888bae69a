//! Taking over what a process before this one left unfinished.

use aura_core::error::Problem;
use aura_core::limits;
use aura_core::ports::{Mark, RunQuery, RunStatus};
use aura_core::time::Millis;

use crate::history::store_problem;
use crate::message::Recovered;
use crate::shard::Shard;

impl Shard {
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
                // Nothing of it is open, so it need not be in memory before something comes for it.
                Mark::Asleep(due) => {
                    self.performs.insert(row.run);
                    self.timers.extend(due.map(|due| (due, row.run)));
                }
                Mark::Active => self.perform(row.run, Box::new(|_| {}), now),
                Mark::Closed => {}
            }
        }
        Ok(taken)
    }
}
