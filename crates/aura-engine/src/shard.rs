//! The shard loop, as steps: drain what came in, decide, hand a group to the committer, release what is durable.
//!
//! A shard runs ahead: while one group is being made durable it decides the next from memory. Only what is visible
//! outside (answers, tasks) waits for the commit that caused it. A shard never sleeps and never reads a clock;
//! whoever drives it tells the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use aura_core::StepPath;
use aura_core::data::BlobRef;
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::ports::{BlobError, Group, Store, StoreError};
use aura_core::task::Task;
use aura_core::time::Millis;
use aura_graph::definition::Flows;
use aura_graph::state::{TaskPhase, probe_path};
use serde_json::Value;

use crate::cache::BlobCache;
use crate::commit::{Committer, Unit};
use crate::fork::recording_for;
use crate::history::{open_history, store_problem};
use crate::journal::{Journals, Told};
use crate::keys::Keys;
use crate::message::{Accepted, Message, Reply, Submission, Submitted};
use crate::perform::{Fetcher, Performer};
use crate::slots::Slots;
use crate::snapshots::{Due, Snapshots, Wanted};
use crate::stream::{Job, Stream};

/// Milliseconds before a shard whose store had no room tries again; doubled up to the longest.
const FIRST_PAUSE_MS: u64 = 100;
const LONGEST_PAUSE_MS: u64 = 5_000;
/// Runs looked at in a step for those that may leave memory.
const SWEPT: usize = 64;

/// What a shard works with.
pub struct ShardPorts {
    /// Histories of runs that are not in memory.
    pub store: Arc<dyn Store>,
    /// Makes groups durable.
    pub committer: Box<dyn Committer>,
    /// Performs tasks.
    pub performer: Box<dyn Performer>,
    /// Writes snapshots.
    pub snapshots: Box<dyn Snapshots>,
    /// Fetches blobs.
    pub fetcher: Box<dyn Fetcher>,
    /// Values of blobs, shared with whoever else reads them.
    pub cache: Arc<BlobCache>,
    /// Effects in flight at once.
    pub slots: usize,
}

/// One shard: its runs, and what is on its way.
pub struct Shard {
    pub(crate) ports: ShardPorts,
    pub(crate) salt: Hash,
    pub(crate) streams: BTreeMap<RunId, Stream>,
    pub(crate) slots: Slots,
    pub(crate) keys: Keys,
    pub(crate) pending: Pending,
    pub(crate) performs: BTreeSet<RunId>,
    pub(crate) again: VecDeque<RunId>,
    pub(crate) in_flight: BTreeMap<(RunId, StepPath), u32>,
    pub(crate) inbox: VecDeque<Message>,
    /// Messages that wait until more is durable.
    waiting: VecDeque<Message>,
    /// What runs tell each other.
    pub(crate) messages: VecDeque<(RunId, Input)>,
    /// Runs whose children are to be looked after.
    pub(crate) parents: VecDeque<RunId>,
    /// Runs that are to be asked anew what they wait for.
    pub(crate) taken: BTreeSet<RunId>,
    /// Inputs whose commits failed, to be decided again.
    pub(crate) held: VecDeque<(RunId, Job)>,
    /// Functions that wait for an answer.
    pub(crate) journals: Journals,
    /// Who waits for the end of a run.
    awaited: BTreeMap<RunId, Vec<Reply>>,
    /// Runs that closed and may leave memory.
    pub(crate) closed: Vec<RunId>,
    pub(crate) flows: BTreeMap<Hash, Flows>,
    /// Bundles that are on their way to the store or in it, and since when.
    pub(crate) stored: BTreeMap<Hash, Millis>,
    pub(crate) timers: BTreeSet<(Millis, RunId)>,
    pub(crate) parked: BTreeMap<RunId, Problem>,
    undurable: VecDeque<(u64, Vec<Released>)>,
    undurable_commits: usize,
    undurable_bytes: usize,
    number: u64,
    generation: u64,
    paused: Option<Millis>,
    pause_ms: u64,
    stalled: Option<Problem>,
    broken: Option<Problem>,
    draining: bool,
    /// Whether something became durable in this step.
    told: bool,
    /// The last run that was looked at, where a round is made over the runs in memory for those at rest.
    sweep: Option<RunId>,
    /// Whether a run may have come to rest since the last round began.
    pub(crate) stirred: bool,
}

/// The group in the making.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) group: Group,
    pub(crate) released: Vec<Released>,
}

/// What waits for a commit to be durable.
pub(crate) struct Released {
    pub(crate) run: RunId,
    /// The input; it is presented again if the commit fails. `None` for an answer without a commit.
    pub(crate) input: Option<Input>,
    pub(crate) reply: Option<Reply>,
    pub(crate) accepted: Accepted,
    pub(crate) tasks: Vec<Task>,
    pub(crate) told: Vec<Told>,
    pub(crate) bytes: usize,
    /// A snapshot that is due after it.
    pub(crate) snapshot: Option<Box<Wanted>>,
}

impl Released {
    /// An answer without a commit of its own.
    pub(crate) fn answer(
        run: RunId,
        accepted: Accepted,
        reply: Option<Reply>,
        told: Vec<Told>,
    ) -> Self {
        let tasks = Vec::new();
        Self { run, input: None, reply, accepted, tasks, told, bytes: 0, snapshot: None }
    }
}

/// What a step left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// When something is due; `None` if only a message can bring more to do.
    pub next: Option<Millis>,
    /// Whether there is more to do right now.
    pub busy: bool,
    /// Whether a drained shard has nothing in flight and nothing undurable.
    pub drained: bool,
    /// Whether something became durable.
    pub durable: bool,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl Shard {
    /// A shard over a store, with nothing in memory.
    ///
    /// # Errors
    /// The store can't be asked for its salt.
    pub fn new(ports: ShardPorts) -> Result<Self, Problem> {
        let salt = ports.store.info().map_err(|e| store_problem(&e))?.salt;
        Ok(Self {
            salt,
            slots: Slots::new(ports.slots),
            keys: Keys::default(),
            ports,
            streams: BTreeMap::new(),
            pending: Pending::default(),
            performs: BTreeSet::new(),
            again: VecDeque::new(),
            in_flight: BTreeMap::new(),
            inbox: VecDeque::new(),
            waiting: VecDeque::new(),
            messages: VecDeque::new(),
            parents: VecDeque::new(),
            taken: BTreeSet::new(),
            held: VecDeque::new(),
            journals: Journals::new(),
            awaited: BTreeMap::new(),
            closed: Vec::new(),
            flows: BTreeMap::new(),
            stored: BTreeMap::new(),
            timers: BTreeSet::new(),
            parked: BTreeMap::new(),
            undurable: VecDeque::new(),
            undurable_commits: 0,
            undurable_bytes: 0,
            number: 0,
            generation: 0,
            paused: None,
            pause_ms: FIRST_PAUSE_MS,
            stalled: None,
            broken: None,
            draining: false,
            told: false,
            sweep: None,
            stirred: false,
        })
    }

    /// Takes a message; the next step works on it.
    pub fn deliver(&mut self, message: Message) {
        self.inbox.push_back(message);
    }

    /// Why the shard can't go on, if it can't: the store must be reopened.
    pub fn broken(&self) -> Option<&Problem> {
        self.broken.as_ref()
    }

    /// Why the store takes nothing at the moment, while that is so; the shard tries again by itself.
    pub fn stalled(&self) -> Option<&Problem> {
        self.stalled.as_ref()
    }

    /// Runs that are set aside because deciding them failed, with why.
    pub fn parked(&self) -> impl Iterator<Item = (RunId, &Problem)> {
        self.parked.iter().map(|(run, problem)| (*run, problem))
    }

    /// Runs in memory.
    pub fn runs_in_memory(&self) -> usize {
        self.streams.len()
    }

    /// Effects that hold a slot.
    pub fn effects_in_flight(&self) -> usize {
        self.slots.in_use()
    }

    /// One round of the loop.
    pub fn step(&mut self, now: Millis) -> Progress {
        self.told = false;
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
        }
        // Messages that must wait until more is durable stand aside, so that those which say so can pass.
        let mut drain = limits::SHARD_DRAIN;
        while drain > 0 && !self.holds_back() {
            let Some(message) = self.waiting.pop_front() else { break };
            self.take(message, now);
            drain -= 1;
        }
        for _ in 0..limits::SHARD_DRAIN {
            let Some(message) = self.inbox.pop_front() else { break };
            self.take(message, now);
        }
        if !self.holds_back() {
            for (run, job) in std::mem::take(&mut self.held) {
                self.decide_for(run, job, now);
            }
            self.take_over(now);
            self.look_after_children(now);
            self.fire_timers(now);
            for (run, steps) in self.slots.next() {
                self.decide_for(run, Job::own(Input::Granted { steps }), now);
            }
            for run in std::mem::take(&mut self.again) {
                self.decide_for(run, Job::own(Input::Continue), now);
            }
            self.pass_on_messages(now);
        }
        self.hand_over(now);
        self.forget_resting();
        self.progress()
    }

    fn progress(&self) -> Progress {
        let waits = self.holds_back();
        let more = !self.waiting.is_empty()
            || !self.again.is_empty()
            || !self.held.is_empty()
            || !self.messages.is_empty()
            || !self.parents.is_empty()
            || !self.taken.is_empty();
        let leaving =
            self.streams.len() > limits::HOT_RUNS && (self.stirred || self.sweep.is_some());
        let busy = !self.inbox.is_empty()
            || (!waits && (more || self.slots.can_grant()))
            || (leaving && self.undurable.is_empty());
        let timer = self.timers.first().map(|(due, _)| *due).filter(|_| !waits);
        // A function that waits for an answer goes on from its journal, here or elsewhere.
        let done = self.in_flight.keys().all(|key| self.journals.contains_key(key))
            && self.undurable.is_empty()
            && self.waiting.is_empty()
            && self.held.is_empty()
            && self.messages.is_empty();
        let drained = self.draining && (self.broken.is_some() || (done && self.inbox.is_empty()));
        Progress {
            next: self.paused.or(timer),
            busy,
            drained: drained && (self.broken.is_some() || !self.awaits_blobs()),
            durable: self.told,
        }
    }

    /// Whether an input waits for blobs: it may be an outcome, which nobody could tell again.
    fn awaits_blobs(&self) -> bool {
        self.streams.values().any(|stream| stream.blocked.is_some() || !stream.queue.is_empty())
    }

    /// Whether decisions must wait until more is durable, or until the store has room again.
    fn holds_back(&self) -> bool {
        self.paused.is_some()
            || self.undurable_commits >= limits::UNDURABLE_COMMITS
            || self.undurable_bytes >= limits::UNDURABLE_BYTES
    }

    /// Works on a message, or lays it aside if it must wait.
    fn take(&mut self, message: Message, now: Millis) {
        match message {
            Message::Durable { group, result } => self.durable(group, result, now),
            Message::Released { run, step, attempt } => self.release(run, &step, attempt),
            Message::Blobs(blobs) => self.blobs(&blobs),
            Message::Drain => {
                self.draining = true;
                self.slots.close();
            }
            Message::Submit(submission) if self.broken.is_some() || self.holds_back() => {
                let problem = self.broken.as_ref().or(self.stalled.as_ref()).cloned();
                let problem = problem.unwrap_or_else(busy);
                (submission.reply)(Err(problem));
            }
            held if self.holds_back() => self.waiting.push_back(held),
            Message::Outcome { run, outcome, value } => {
                if let Some((blob, value)) = value {
                    self.ports.cache.put(blob, value);
                }
                self.release(run, &outcome.step, outcome.attempt);
                self.decide_for(run, Job::own(Input::Outcome(outcome)), now);
            }
            Message::Heartbeat { run, beat } => {
                self.decide_for(run, Job::own(Input::Heartbeat(beat)), now);
            }
            Message::Submit(Submission { run, input, reply }) => match input {
                Submitted::Input(input) => {
                    self.decide_for(run, Job { input, reply: Some(reply) }, now);
                }
                Submitted::Start(start) => self.start(run, *start, reply, now),
                Submitted::Fork(fork) => self.fork(run, *fork, reply, now),
            },
            Message::Journal(asking) => self.journal(asking, now),
            Message::Perform { run, reply } => self.perform(run, reply, now),
            Message::Recover { reply } => self.recover(reply),
            Message::Await { run, reply } => self.await_end(run, reply),
        }
    }

    fn release(&mut self, run: RunId, step: &StepPath, attempt: u32) {
        self.slots.release(run, step, attempt);
        let key = (run, step.clone());
        if self.in_flight.get(&key) == Some(&attempt) {
            self.in_flight.remove(&key);
            self.let_probe_look(run, step);
        }
    }

    /// The probe of a step, if one waits for the end of the step's own call.
    fn let_probe_look(&mut self, run: RunId, step: &StepPath) {
        let task = self.streams.get(&run).and_then(|stream| stream.run.tasks.get(step));
        if let Some(task) = task.filter(|task| task.phase == TaskPhase::Probing) {
            let probe = probe_path(step, task.probes);
            self.slots.wait(run, probe);
        }
    }

    fn await_end(&mut self, run: RunId, reply: Reply) {
        if let Err(problem) = self.load(run) {
            return reply(Err(problem));
        }
        match self.streams.get(&run) {
            Some(stream) if stream.run.closed() && stream.undurable == 0 => {
                self.closed.push(run);
                self.reply_when_durable(run, reply);
            }
            _ => self.awaited.entry(run).or_default().push(reply),
        }
    }

    /// Brings a run into memory.
    pub(crate) fn load(&mut self, run: RunId) -> Result<(), Problem> {
        if let Some(problem) = self.parked.get(&run) {
            return Err(problem.clone());
        }
        if self.streams.contains_key(&run) {
            return Ok(());
        }
        let store = Arc::clone(&self.ports.store);
        let opened =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| open_history(&*store, run)));
        let history = match opened {
            Ok(history) => history?,
            Err(_) => return Err(self.park(run, "folding its history panicked")),
        };
        let history = history.ok_or_else(|| {
            Problem::new(Code::RunNotFound, format!("no run {run}")).next("aura runs")
        })?;
        let Some(started) = history.run.started.clone() else {
            return Err(self.park(run, "its history does not begin with its start"));
        };
        let flow = self.flow(&started.flow)?;
        let mut stream = Stream::new(history.run, history.head, flow);
        stream.snapshot = Due::after(history.snapshot, history.since);
        if !stream.run.closed() {
            stream.recording = recording_for(&*store, stream.run.fork.as_ref())?;
        }
        self.streams.insert(run, stream);
        self.note_timer(run);
        Ok(())
    }

    /// Sets a run aside; the shard goes on with the others.
    pub(crate) fn park(&mut self, run: RunId, why: &str) -> Problem {
        let problem = Problem::new(Code::RunParked, format!("run {run} is set aside: {why}"))
            .kept("its history up to here; other runs go on")
            .next(format!("aura replay {run} --verify"));
        tracing::error!(%run, why, "run set aside");
        self.set_aside(run, problem.clone());
        problem
    }

    pub(crate) fn set_aside(&mut self, run: RunId, problem: Problem) {
        if let Some(stream) = self.streams.remove(&run) {
            if let Some(due) = stream.timer {
                self.timers.remove(&(due, run));
            }
            let waiting = stream.queue.into_iter().chain(stream.blocked.map(|b| b.job));
            for reply in waiting.filter_map(|job| job.reply) {
                reply(Err(problem.clone()));
            }
        }
        for reply in self.awaited.remove(&run).unwrap_or_default() {
            reply(Err(problem.clone()));
        }
        self.refuse_journals(run, &problem);
        self.parked.insert(run, problem);
    }

    fn fire_timers(&mut self, now: Millis) {
        let mut fired = 0;
        while let Some((due, run)) = self.timers.first().copied() {
            if due > now || fired >= limits::SHARD_DRAIN {
                return;
            }
            fired += 1;
            self.timers.remove(&(due, run));
            if self.load_performing(run).is_err() {
                // A store that can't be read now may be read later; a run that is set aside stays so.
                if !self.parked.contains_key(&run) {
                    self.timers.insert((now.plus(LONGEST_PAUSE_MS), run));
                }
                continue;
            }
            let Some(stream) = self.streams.get_mut(&run) else { continue };
            stream.timer = None;
            let timer = stream.run.due().map(|(due, step, p)| (due, step.clone(), p));
            if let Some((due, step, purpose)) = timer.filter(|(due, ..)| *due <= now) {
                self.decide_for(run, Job::own(Input::Timer { step, purpose, due }), now);
            }
            self.note_timer(run);
        }
    }

    /// Decides an input in the next step.
    pub(crate) fn hold(&mut self, run: RunId, job: Job) {
        self.held.push_back((run, job));
    }

    /// Decides an input again after a pause.
    pub(crate) fn keep_for_later(&mut self, run: RunId, job: Job, now: Millis) {
        self.held.push_back((run, job));
        self.pause(now);
    }

    pub(crate) fn pause(&mut self, now: Millis) {
        self.paused.get_or_insert(now.plus(FIRST_PAUSE_MS));
    }

    /// Remembers the earliest timer of a run that this process performs.
    pub(crate) fn note_timer(&mut self, run: RunId) {
        let Some(stream) = self.streams.get_mut(&run) else { return };
        let performs = self.performs.contains(&run) && stream.blocked.is_none();
        let due = stream.run.due().map(|(due, ..)| due).filter(|_| performs);
        if due != stream.timer {
            if let Some(old) = stream.timer {
                self.timers.remove(&(old, run));
            }
            if let Some(due) = due {
                self.timers.insert((due, run));
            }
            stream.timer = due;
        }
    }

    /// Answers without a commit, but not before what the answer rests on is durable.
    pub(crate) fn reply_when_durable(&mut self, run: RunId, reply: Reply) {
        let Some(stream) = self.streams.get(&run) else { return reply(Err(busy())) };
        let accepted =
            Accepted { run, events: stream.run.events, status: stream.run.status(), already: true };
        if stream.undurable == 0 {
            return reply(Ok(accepted));
        }
        self.release_when_durable(Released::answer(run, accepted, Some(reply), Vec::new()));
    }

    /// Lets something go with the last commit that is on its way.
    pub(crate) fn release_when_durable(&mut self, answer: Released) {
        if self.pending.group.commits.is_empty()
            && let Some((_, released)) = self.undurable.back_mut()
        {
            released.push(answer);
        } else {
            self.pending.released.push(answer);
        }
    }

    /// The number of the unit in the making.
    pub(crate) fn next_unit(&self) -> u64 {
        self.number + 1
    }

    fn hand_over(&mut self, now: Millis) {
        if self.pending.group.commits.is_empty() {
            return;
        }
        let Pending { group, released } = std::mem::take(&mut self.pending);
        let alone = self.undurable.is_empty()
            && self.inbox.is_empty()
            && group.commits.len() <= limits::ALONE_COMMITS;
        self.number += 1;
        self.undurable_commits += group.commits.len();
        self.undurable_bytes += released.iter().map(|r| r.bytes).sum::<usize>();
        self.undurable.push_back((self.number, released));
        let (number, generation) = (self.number, self.generation);
        let unit = Unit { number, generation, group };
        if let Some(result) = self.ports.committer.commit(unit, alone) {
            self.durable(number, result, now);
        }
    }

    fn durable(&mut self, number: u64, result: Result<(), StoreError>, now: Millis) {
        if self.undurable.front().is_none_or(|(front, _)| *front != number) {
            // A group that was given up after an earlier one failed.
            return;
        }
        match result {
            Ok(()) => {
                self.pause_ms = FIRST_PAUSE_MS;
                self.stalled = None;
                self.told = true;
                self.keys.durable(number);
                let released = self.undurable.pop_front().map(|(_, r)| r).unwrap_or_default();
                for released in released {
                    self.let_go(released);
                }
            }
            Err(error) => self.begin_anew(&error, now),
        }
    }

    fn let_go(&mut self, released: Released) {
        let run = released.run;
        self.stirred = true;
        self.undurable_bytes = self.undurable_bytes.saturating_sub(released.bytes);
        if released.input.is_some() {
            self.undurable_commits = self.undurable_commits.saturating_sub(1);
            if let Some(stream) = self.streams.get_mut(&run) {
                stream.undurable = stream.undurable.saturating_sub(1);
                if stream.run.closed() {
                    self.closed.push(run);
                }
            }
        }
        if let Some(wanted) = released.snapshot {
            let bytes = wanted.bytes;
            if !self.ports.snapshots.take(*wanted)
                && let Some(stream) = self.streams.get_mut(&run)
            {
                stream.snapshot.since += bytes;
            }
        }
        if let Some(reply) = released.reply {
            reply(Ok(released.accepted));
        }
        released.told.into_iter().for_each(Told::tell);
        if released.accepted.status.closed() {
            for reply in self.awaited.remove(&run).unwrap_or_default() {
                reply(Ok(released.accepted));
            }
        }
        for task in released.tasks {
            let wanted = self.streams.get(&run).and_then(|s| s.run.tasks.get(&task.step));
            if wanted.is_some_and(|t| t.in_flight() && t.attempt == task.attempt) {
                self.inbox.extend(self.ports.performer.perform(task));
            } else {
                // Decided away while its intent was being made durable.
                self.release(run, &task.step, task.attempt);
            }
        }
    }

    /// A group did not become durable: what was decided on top of it is dropped, and its inputs are decided again
    /// from what the store has.
    fn begin_anew(&mut self, error: &StoreError, now: Millis) {
        let problem = store_problem(error);
        self.generation += 1;
        self.stored.clear();
        for (run, step) in self.keys.begin_anew() {
            self.slots.wait(run, step);
        }
        (self.undurable_commits, self.undurable_bytes) = (0, 0);
        let lost: Vec<Released> =
            std::mem::take(&mut self.undurable).into_iter().flat_map(|(_, r)| r).collect();
        let pending = std::mem::take(&mut self.pending).released;
        let (mut held, mut stirred) = self.drop_messages();
        let mut given_up = Vec::new();
        stirred.extend(held.iter().map(|(run, _)| *run));
        for released in lost.into_iter().chain(pending) {
            for task in &released.tasks {
                self.release(released.run, &task.step, task.attempt);
            }
            held.extend(self.forget_undurable(released.run));
            stirred.insert(released.run);
            given_up.extend(released.told);
            match (released.input, released.reply) {
                (Some(input @ Input::Outcome(_)), reply) => {
                    held.push((released.run, Job { input, reply }));
                }
                // Timers, grants and continuations follow from the state; clients are told and try again.
                (_, Some(reply)) => reply(Err(problem.clone())),
                _ => {}
            }
        }
        if matches!(error, StoreError::Busy { .. }) {
            self.paused = Some(now.plus(self.pause_ms));
            self.pause_ms = (self.pause_ms * 2).min(LONGEST_PAUSE_MS);
            tracing::warn!(%error, "the store takes nothing now; trying again");
            self.stalled = Some(problem);
            self.present_again(held, stirred);
            let asked = self.ask_again(given_up);
            self.held.extend(asked);
        } else {
            tracing::error!(%error, "the store can't be used any more");
            self.broken = Some(problem);
        }
    }

    /// Drops a run whose memory is ahead of the store; gives back what it had not decided yet.
    pub(crate) fn forget_undurable(&mut self, run: RunId) -> Vec<(RunId, Job)> {
        let Some(stream) = self.streams.remove(&run) else { return Vec::new() };
        if let Some(due) = stream.timer {
            self.timers.remove(&(due, run));
        }
        let blocked = stream.blocked.map(|b| b.job);
        blocked.into_iter().chain(stream.queue).map(|job| (run, job)).collect()
    }

    fn blobs(&mut self, blobs: &[(BlobRef, Result<Arc<Value>, BlobError>)]) {
        let mut ready = Vec::new();
        for (run, stream) in &mut self.streams {
            let Some(blocked) = &mut stream.blocked else { continue };
            let mut trouble = None;
            for (blob, result) in blobs {
                if !blocked.wanted.contains(blob) {
                    continue;
                }
                blocked.wanted.retain(|wanted| wanted != blob);
                match result {
                    Ok(value) => {
                        blocked.pins.insert(*blob, Arc::clone(value));
                    }
                    Err(error) => trouble = Some(error.clone()),
                }
            }
            if trouble.is_some() || blocked.wanted.is_empty() {
                ready.push((*run, trouble));
            }
        }
        for (run, trouble) in ready {
            match trouble {
                None => self.unblock(run),
                Some(error) => {
                    let code = match error {
                        BlobError::Missing(_) => Code::BlobMissing,
                        BlobError::Corrupt(_) => Code::BlobCorrupt,
                        BlobError::Unavailable(_) => Code::StoreUnavailable,
                        BlobError::Full(_) => Code::StoreFull,
                    };
                    let problem = Problem::new(code, format!("run {run} can't go on: {error}"))
                        .kept("its history up to here; other runs go on")
                        .next("aura store check");
                    self.set_aside(run, problem);
                }
            }
        }
    }

    /// Runs at rest leave memory: closed ones at once, others when there are too many. A timer stays noted; its run
    /// is loaded again when it is due.
    fn forget_resting(&mut self) {
        for run in std::mem::take(&mut self.closed) {
            if self.streams.get(&run).is_some_and(|s| s.run.closed() && s.at_rest()) {
                self.streams.remove(&run);
                self.performs.remove(&run);
            }
        }
        if self.streams.len() <= limits::HOT_RUNS || (self.sweep.is_none() && !self.stirred) {
            self.sweep = None;
            return;
        }
        // A few of them each time, so that many busy runs cost a step little.
        let after = self.sweep.map_or(Bound::Unbounded, Bound::Excluded);
        self.stirred &= self.sweep.is_some();
        let looked: Vec<_> = self.streams.range((after, Bound::Unbounded)).take(SWEPT).collect();
        self.sweep = looked.last().map(|(run, _)| **run).filter(|_| looked.len() == SWEPT);
        let rest = looked.into_iter().filter(|(_, stream)| stream.at_rest());
        for run in rest.map(|(run, _)| *run).collect::<Vec<_>>() {
            self.streams.remove(&run);
        }
    }
}

pub(crate) fn busy() -> Problem {
    Problem::new(Code::Busy, "too much is waiting to be made durable")
        .kept("everything that was acknowledged is in the store")
        .next("try again")
}
