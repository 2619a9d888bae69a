//! One input, one turn: asking for the decision, sealing its commit, and noting what it opens and drops.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use aura_core::StepPath;
use aura_core::commit::{Header, StoredCommit};
use aura_core::data::BlobRef;
use aura_core::effect::EffectClass;
use aura_core::error::Code;
use aura_core::event::EventBody;
use aura_core::hash::Hash;
use aura_core::id::{RunId, TenantId};
use aura_core::input::Input;
use aura_core::limits;
use aura_core::ports::KeyRow;
use aura_core::task::Task;
use aura_core::time::Millis;
use aura_graph::Run;
use aura_graph::decide::{Decision, Turn, World, decide};
use serde_json::Value;

use crate::cache::Pinned;
use crate::keys::changed;
use crate::message::Accepted;
use crate::shard::{Released, Shard, busy};
use crate::slots::{Recorded, TurnGate};
use crate::stream::{Blocked, Job};

/// Epoch of a shard whose owner holds a file lock instead of a lease.
const EPOCH: u64 = 1;

/// Whether an event may end or park tasks other than the one whose outcome it tells. Looking for those walks over all
/// that are in flight, which a wide map must not pay at every item.
fn unsettles(body: &EventBody) -> bool {
    !matches!(
        body,
        EventBody::StepStarted(_)
            | EventBody::StepCompleted(_)
            | EventBody::StepSkipped(_)
            | EventBody::ToolCalled(_)
            | EventBody::ToolCompleted(_)
            | EventBody::TimerSet(_)
            | EventBody::ArtifactCreated(_)
            | EventBody::VerificationCompleted(_)
            | EventBody::SignalReceived(_)
            | EventBody::JournalRecorded(_)
    )
}

/// For a function, the calls that it has made so far.
fn journal(run: &Run, step: &StepPath) -> Option<Vec<aura_core::journal::Recorded>> {
    let bodies = run.node(step)?.bodies()?;
    let calls = 1..=bodies.calls.size() as u64;
    Some(calls.filter_map(|number| bodies.recorded(number)).collect())
}

impl Shard {
    /// Presents an input to its run.
    pub(crate) fn decide_for(&mut self, run: RunId, job: Job, now: Millis) {
        self.stirred = true;
        if let Err(problem) = self.load_performing(run) {
            let outcome = matches!(job.input, Input::Outcome(_));
            if outcome && problem.code == Code::Busy {
                // What was done outside is not forgotten because the store can't be read now.
                self.keep_for_later(run, job, now);
            } else if let Some(reply) = job.reply {
                reply(Err(problem));
            }
            return;
        }
        if let Some(stream) = self.streams.get_mut(&run)
            && stream.blocked.is_some()
        {
            match job.reply {
                Some(reply) if stream.queue.len() >= limits::SHARD_QUEUE => reply(Err(busy())),
                // What nobody could send again is never dropped; slots and open children bound it.
                _ => stream.queue.push_back(job),
            }
            return;
        }
        self.turn(run, job, now, (BTreeMap::new(), 0));
    }

    /// The blobs that an input waited for are here.
    pub(crate) fn unblock(&mut self, run: RunId) {
        let Some(stream) = self.streams.get_mut(&run) else { return };
        let Some(blocked) = stream.blocked.take() else { return };
        let queue = std::mem::take(&mut stream.queue);
        let Blocked { job, now, pins, asked, .. } = blocked;
        self.turn(run, job, now, (pins, asked));
        let mut queue: VecDeque<_> = queue;
        while let Some(job) = queue.pop_front() {
            match self.streams.get_mut(&run) {
                Some(stream) if stream.blocked.is_some() => {
                    stream.queue.push_back(job);
                }
                _ => self.decide_for(run, job, now),
            }
        }
    }

    pub(crate) fn turn(
        &mut self,
        run: RunId,
        job: Job,
        now: Millis,
        (pins, asked): (BTreeMap<BlobRef, Arc<Value>>, u32),
    ) {
        let Some(stream) = self.streams.get(&run) else { return };
        let forks = matches!(job.input, Input::Fork(_));
        let mut gate = TurnGate {
            run,
            in_flight: &self.in_flight,
            slots: &self.slots,
            performs: self.performs.contains(&run),
            first: matches!(job.input, Input::Granted { .. }),
            keys: (&self.keys, &*self.ports.store, now),
            taken: BTreeSet::new(),
            behind: Vec::new(),
            trouble: None,
            granted: Vec::new(),
            refused: Vec::new(),
            recorded: stream.recording.as_deref().map(|recording| Recorded {
                recording,
                store: &*self.ports.store,
                used: stream.run.fork.as_ref().map(|fork| &fork.used).filter(|_| !forks),
                taken: BTreeSet::new(),
            }),
        };
        let blobs = Arc::new(Pinned { cache: Arc::clone(&self.ports.cache), pins: pins.clone() });
        let mut world = World { now, salt: self.salt, gate: &mut gate, blobs };
        let decision = catch_unwind(AssertUnwindSafe(|| {
            decide(&stream.run, &stream.flow, &job.input, &mut world)
        }));
        let TurnGate { refused, behind, trouble, .. } = gate;
        if let Some(error) = trouble {
            tracing::warn!(%run, %error, "the store can't be asked now; trying again");
            return self.keep_for_later(run, job, now);
        }
        match decision {
            Ok(Decision::Turn(turn)) => {
                self.wait_for_slots(run, refused);
                self.apply(run, *turn, job);
                self.wait_for_keys(run, behind);
            }
            Ok(Decision::Nothing) => {
                self.wait_for_slots(run, refused);
                self.forget_unborn(run, forks);
                self.wait_for_keys(run, behind);
                if let Some(reply) = job.reply {
                    self.reply_when_durable(run, reply);
                }
            }
            Ok(Decision::Refused(problem)) if problem.code == Code::Internal && !forks => {
                let problem = self.park(run, &problem.what);
                if let Some(reply) = job.reply {
                    reply(Err(problem));
                }
            }
            Ok(Decision::Refused(problem)) => {
                self.forget_unborn(run, forks);
                self.refuse_journal(run, &job.input, &problem);
                if let Some(reply) = job.reply {
                    reply(Err(problem));
                }
            }
            Ok(Decision::Need(wanted)) => self.block(run, job, now, (wanted, pins, asked)),
            Err(_) => {
                let problem = self.park(run, "deciding about it panicked");
                if let Some(reply) = job.reply {
                    reply(Err(problem));
                }
            }
        }
        self.note_timer(run);
    }

    /// A run whose start was refused never was. What stands in memory under the id of a fork is its parent's.
    fn forget_unborn(&mut self, run: RunId, forks: bool) {
        if forks || self.streams.get(&run).is_some_and(|stream| stream.run.events == 0) {
            self.streams.remove(&run);
            self.performs.remove(&run);
        }
    }

    fn wait_for_slots(&mut self, run: RunId, steps: Vec<StepPath>) {
        if self.performs.contains(&run) {
            for step in steps {
                self.slots.wait(run, step);
            }
        }
    }

    fn wait_for_keys(&mut self, run: RunId, steps: Vec<(Hash, StepPath)>) {
        for (key, step) in steps {
            if !self.keys.wait(key, run, step.clone()) {
                self.slots.wait(run, step);
            }
        }
    }

    /// Keys shared with other runs that a turn takes or lets go.
    fn note_keys(&mut self, rows: Vec<KeyRow>) {
        for row in rows {
            for (run, step) in self.keys.note(self.next_unit(), &row) {
                self.slots.wait(run, step);
            }
            self.pending.group.keys.push(row);
        }
    }

    fn block(
        &mut self,
        run: RunId,
        job: Job,
        now: Millis,
        (wanted, pins, asked): (Vec<BlobRef>, BTreeMap<BlobRef, Arc<Value>>, u32),
    ) {
        if asked >= limits::BLOB_ASKS {
            let problem = self.park(run, "one decision asks for too many blobs");
            if let Some(reply) = job.reply {
                reply(Err(problem));
            }
            return;
        }
        let Some(stream) = self.streams.get_mut(&run) else { return };
        self.ports.fetcher.fetch(wanted.clone());
        stream.blocked = Some(Blocked { job, now, wanted, pins, asked: asked + 1 });
    }

    /// Takes a turn into memory and into the group in the making.
    fn apply(&mut self, run: RunId, turn: Turn, job: Job) {
        let Some(stream) = self.streams.get_mut(&run) else { return };
        let (keys, held) =
            changed(stream.held_keys(&job.input), (&turn.run, &turn.events), turn.open.iter());
        let Turn { events, cause, more, run: state, open, blobs, messages } = turn;
        let header = Header {
            tenant: TenantId::LOCAL,
            run,
            epoch: EPOCH,
            seq: stream.run.events + 1,
            count: u32::try_from(events.len()).unwrap_or(u32::MAX),
            at: state.at,
            cause,
            more,
        };
        let sealed = StoredCommit::seal(stream.head, header, &events);
        let commit = match sealed {
            Ok(commit)
                if commit.payload.len() <= limits::COMMIT_BYTES
                    && commit.header.count as usize <= limits::COMMIT_EVENTS =>
            {
                commit
            }
            _ => {
                let problem = self.park(run, "a commit of it is larger than a commit may be");
                if let Some(reply) = job.reply {
                    reply(Err(problem));
                }
                return;
            }
        };
        stream.head = commit.hash;
        stream.run = state;
        stream.keys = held;
        stream.undurable += 1;
        let snapshot = stream.snapshot.count(commit.payload.len(), &stream.run, stream.head);
        if more {
            self.again.push_back(run);
        }
        let kept: usize = blobs.iter().map(|blob| blob.bytes.len()).sum();
        let bytes = commit.payload.len() + kept;
        let unsettled = events.iter().any(|event| unsettles(&event.body));
        self.pending.group.rows.extend(stream.new_row(unsettled));
        self.pending.group.commits.push(commit);
        for blob in blobs {
            self.ports.cache.put(blob.address, blob.value);
            self.pending.group.blobs.push((blob.address.blob, blob.bytes));
        }
        let accepted = Accepted {
            run,
            events: stream.run.events,
            status: stream.run.status(),
            already: false,
        };
        if unsettled {
            self.abandon_dropped(run);
        }
        self.note_keys(keys);
        let told = self.answered(run);
        let tasks = self.open_tasks(run, &open);
        self.pending.released.push(Released {
            run,
            input: Some(job.input),
            reply: job.reply,
            accepted,
            tasks,
            told,
            bytes,
            snapshot,
        });
        self.send(run, messages);
    }

    fn open_tasks(&mut self, run: RunId, open: &[StepPath]) -> Vec<Task> {
        if open.is_empty() || !self.performs.contains(&run) {
            return Vec::new();
        }
        let Some(stream) = self.streams.get_mut(&run) else { return Vec::new() };
        let Some(permissions) = stream.permissions() else { return Vec::new() };
        let mut tasks = Vec::new();
        for step in open {
            let Some(task) = stream.run.tasks.get(step) else { continue };
            if task.spec.class != EffectClass::Pure {
                self.slots.hold(run, step.clone(), task.attempt);
            }
            self.in_flight.insert((run, step.clone()), task.attempt);
            tasks.push(Task {
                run,
                step: step.clone(),
                attempt: task.attempt,
                recovery: task.recoveries,
                spec: Arc::clone(&task.spec),
                details: task.details.clone(),
                permissions: Arc::clone(&permissions),
                journal: journal(&stream.run, step),
            });
        }
        tasks
    }

    /// Attempts that the run no longer waits for are told to stop; what may have acted outside is let run, because
    /// its outcome still settles the ledger.
    fn abandon_dropped(&mut self, run: RunId) {
        let Some(stream) = self.streams.get(&run) else { return };
        let from = (run, StepPath::root());
        let dropped: Vec<_> = self
            .in_flight
            .range(from..)
            .take_while(|((of, _), _)| *of == run)
            .filter(|((_, step), attempt)| {
                let task = stream.run.tasks.get(step);
                task.is_none_or(|t| t.spec.class.abandonable() && t.attempt != **attempt)
            })
            .map(|((_, step), attempt)| (step.clone(), *attempt))
            .collect();
        for (step, attempt) in dropped {
            self.inbox.extend(self.ports.performer.abandon(run, &step, attempt));
        }
    }
}
