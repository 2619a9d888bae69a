//! Forks: where a run can be left, what a fork shares, and the outcomes of its parent that it may take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_core::StepPath;
use aura_core::commit::{Cause, StoredCommit};
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Problem};
use aura_core::event::{Doubt, Event, EventBody, FlowPin, Settlement, Work};
use aura_core::fork::{Change, ForkEffects, Origin, Withheld};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::ports::{RunQuery, Store, StoreError};
use aura_core::task::TaskSpec;
use aura_core::time::Millis;
use aura_graph::Run;
use aura_graph::compare::outcome_of;
use aura_graph::decide::{Reuse, Taken};
use aura_graph::state::{Fork, fold_commit};

use crate::history::{fold_problem, store_problem};
use crate::message::{ForkRun, Reply};
use crate::shard::Shard;
use crate::stream::{Job, Stream};

/// Commits read from the store at a time.
const PAGE: usize = 256;

/// A place in a run where a fork can leave it: between two commits.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The last event that both share; 0 where they share none.
    pub seq: u64,
    /// Hash of the commit that ends there; zero where they share none.
    pub hash: Hash,
    /// The facts of the input that the parent took next, as `run.forked` holds them.
    pub then: Vec<Event>,
    /// What the parent had changed when it was forked itself, in that commit.
    pub changes: Vec<Change>,
    /// The flow of the parent there.
    pub flow: FlowPin,
    /// The parent there; it has started unless nothing is shared.
    pub run: Run,
}

/// Where to leave a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// Before the commit in which this visit of a step started.
    Start(StepPath),
    /// Before the commit in which the outcome of this visit was stored.
    Outcome(StepPath),
    /// Before the first commit: nothing is shared.
    Beginning,
}

impl At {
    fn step(&self) -> Option<&StepPath> {
        match self {
            Self::Start(step) | Self::Outcome(step) => Some(step),
            Self::Beginning => None,
        }
    }

    fn is_in(&self, events: &[Event]) -> bool {
        let Some(step) = self.step() else { return true };
        events.iter().filter(|event| event.step.as_ref() == Some(step)).any(|event| {
            let ends = matches!(
                event.body,
                EventBody::StepCompleted(_) | EventBody::StepFailed(_) | EventBody::StepSkipped(_)
            );
            match self {
                // What was passed over, or failed before it opened anything, started as it ended.
                Self::Start(_) => ends || matches!(event.body, EventBody::StepStarted(_)),
                Self::Outcome(_) | Self::Beginning => ends,
            }
        })
    }
}

/// Finds the commit before which a fork leaves its parent.
///
/// # Errors
/// There is no such step (`NOT_FOUND`), or the history can't be read.
pub fn cut(store: &dyn Store, parent: RunId, at: &At) -> Result<Cut, Problem> {
    let (mut run, mut head) = (Run::new(parent), Hash::ZERO);
    let mut found = None;
    let mut visits = BTreeSet::new();
    walk(store, parent, 1, &mut |commit| {
        let events = commit.events().map_err(|e| fold_problem(parent, &e.into()))?;
        if at.is_in(&events) {
            let (then, changes) = facts(commit.header.cause, &events);
            let flow = match events.first().map(|event| &event.body) {
                Some(EventBody::RunStarted(data)) => Some(data.flow.clone()),
                Some(EventBody::RunForked(data)) => Some(data.flow.clone()),
                _ => run.started.as_ref().map(|started| started.flow.clone()),
            };
            let (seq, run) = (run.events, run.clone());
            found = flow.map(|flow| Cut { seq, hash: head, then, changes, flow, run });
            return Ok(false);
        }
        let last = at.step().and_then(StepPath::last).map(|last| last.id.to_owned());
        visits.extend(events.iter().filter_map(|event| {
            let step = event.step.as_ref()?;
            (step.last().map(|l| l.id.to_owned()) == last).then(|| step.to_string())
        }));
        fold_commit(&mut run, &mut head, commit).map_err(|e| fold_problem(parent, &e))?;
        Ok(true)
    })?;
    found.ok_or_else(|| no_place(parent, at, run.events, &visits))
}

fn no_place(parent: RunId, at: &At, events: u64, visits: &BTreeSet<String>) -> Problem {
    let next = format!("aura show {parent}");
    if events == 0 {
        return Problem::new(Code::RunNotFound, format!("no run {parent}")).next("aura runs");
    }
    let what = match at {
        At::Start(step) => format!("run {parent} has not started a step '{step}'"),
        At::Outcome(step) => format!("run {parent} has no outcome of a step '{step}'"),
        At::Beginning => format!("run {parent} has no beginning"),
    };
    let near: Vec<_> = visits.iter().take(5).cloned().collect();
    let near = if near.is_empty() { next } else { format!("{next}; it has {}", near.join(", ")) };
    Problem::new(Code::NotFound, what).kept("nothing was forked").next(near)
}

/// The facts of a commit's input, as far as a fork takes them over, and what that input changed in a fork.
fn facts(cause: Cause, events: &[Event]) -> (Vec<Event>, Vec<Change>) {
    let Some(first) = events.first().filter(|_| cause == Cause::Events) else {
        return (Vec::new(), Vec::new());
    };
    match &first.body {
        // Approvals are not inherited; they are asked for again.
        EventBody::ApprovalGranted(_)
        | EventBody::ApprovalDenied(_)
        // Whoever stopped the parent for a while did not stop the fork.
        | EventBody::RunPaused(_)
        | EventBody::RunResumed(_) => (Vec::new(), Vec::new()),
        EventBody::RunForked(data) => (data.then.clone(), data.changes.clone()),
        EventBody::EffectUnknown(data) if data.doubt == Doubt::Crash => {
            let doubted = events.iter().take_while(
                |event| matches!(&event.body, EventBody::EffectUnknown(d) if d.doubt == Doubt::Crash),
            );
            (doubted.cloned().collect(), Vec::new())
        }
        _ => (vec![first.clone()], Vec::new()),
    }
}

/// The state at the end of what a fork shares, with the hash of the last commit.
///
/// # Errors
/// The parent's history can't be read, or has no commit that ends there.
pub fn shared(
    store: &dyn Store,
    id: RunId,
    (parent, seq): (RunId, u64),
) -> Result<(Run, Hash), Problem> {
    let (mut run, mut head) = (Run::new(id), Hash::ZERO);
    if seq > 0 {
        walk(store, parent, 1, &mut |commit| {
            fold_commit(&mut run, &mut head, commit).map_err(|e| fold_problem(parent, &e))?;
            Ok(run.events < seq)
        })?;
    }
    if run.events != seq {
        let what = format!("run {parent} has no commit that ends at event {seq}");
        return Err(Problem::new(Code::CannotFork, what).next(format!("aura events {parent}")));
    }
    Ok((run, head))
}

/// Gives commits to `take`, in order, until it has enough.
fn walk(
    store: &dyn Store,
    run: RunId,
    from: u64,
    take: &mut dyn FnMut(&StoredCommit) -> Result<bool, Problem>,
) -> Result<(), Problem> {
    let mut from = from;
    loop {
        let page = store.read(run, from, PAGE).map_err(|e| store_problem(&e))?;
        for commit in &page {
            from = commit.header.seq + u64::from(commit.header.count);
            if !take(commit)? {
                return Ok(());
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// The effects of a parent after the place where a fork left it: where their outcomes are recorded. The outcomes
/// themselves stay in the store.
#[derive(Debug, Default)]
pub struct Recording {
    parent: Option<RunId>,
    by_step: BTreeMap<StepPath, Vec<Made>>,
    by_call: BTreeMap<Hash, Vec<Made>>,
}

/// One effect of the parent.
#[derive(Debug, Clone, Copy)]
struct Made {
    call: Hash,
    /// The event of its outcome, or of what was last heard of it.
    seq: u64,
    stand: Stand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Over,
    Open,
    Unknown,
}

impl Recording {
    /// What the parent did after the fork left it. A parent that goes on meanwhile is seen as it stands now.
    ///
    /// # Errors
    /// The parent's history can't be read.
    pub fn of(store: &dyn Store, parent: RunId, from: u64) -> Result<Self, Problem> {
        let mut recorder = Recorder::default();
        // Effects may have begun in what is shared.
        walk(store, parent, 1, &mut |commit| {
            let events = commit.events().map_err(|e| fold_problem(parent, &e.into()))?;
            for (seq, event) in (commit.header.seq..).zip(&events) {
                recorder.take(seq, event);
            }
            Ok(true)
        })?;
        Ok(recorder.finish(parent, from))
    }

    /// What a fork takes for an effect: the outcome at the same step with the same call, else the first with the same
    /// call that is not `used`.
    pub(crate) fn find(
        &self,
        store: &dyn Store,
        (step, spec): (&StepPath, &TaskSpec),
        used: &dyn Fn(u64) -> bool,
    ) -> Result<Reuse, StoreError> {
        let Some(parent) = self.parent else { return Ok(Reuse::Withhold(Withheld::NoRecord)) };
        let free = |made: &&Made| made.call == spec.call && !used(made.seq);
        let same = self.by_step.get(step).into_iter().flatten().find(free);
        let found = same.or_else(|| {
            let others = self.by_call.get(&spec.call).map(Vec::as_slice).unwrap_or_default();
            let over = others.iter().filter(free).find(|made| made.stand == Stand::Over);
            over.or_else(|| others.iter().find(free))
        });
        Ok(match found {
            None => Reuse::Withhold(Withheld::NoRecord),
            Some(Made { stand: Stand::Open, .. }) => Reuse::Withhold(Withheld::Open),
            Some(Made { stand: Stand::Unknown, .. }) => Reuse::Withhold(Withheld::Unknown),
            Some(Made { seq, .. }) => match outcome(store, parent, *seq)? {
                Some((outcome, truncated)) => Reuse::Take(Taken {
                    from: Origin { run: parent, seq: *seq },
                    outcome,
                    truncated,
                }),
                None => Reuse::Withhold(Withheld::Unreadable),
            },
        })
    }
}

fn outcome(
    store: &dyn Store,
    parent: RunId,
    seq: u64,
) -> Result<Option<(Settlement, bool)>, StoreError> {
    let Some(commit) = store.read(parent, seq, 1)?.pop() else { return Ok(None) };
    let Ok(events) = commit.events() else { return Ok(None) };
    let place = usize::try_from(seq.saturating_sub(commit.header.seq)).unwrap_or(usize::MAX);
    Ok(events.get(place).and_then(|event| outcome_of(&event.body)))
}

#[derive(Debug, Default)]
struct Recorder {
    open: BTreeMap<StepPath, Made>,
    over: Vec<(StepPath, Made)>,
}

impl Recorder {
    fn take(&mut self, seq: u64, event: &Event) {
        let Some(step) = &event.step else { return };
        match &event.body {
            EventBody::StepStarted(data) => {
                if let Work::Task(spec) = &data.work
                    && spec.class != EffectClass::Pure
                {
                    let made = Made { call: spec.call, seq, stand: Stand::Open };
                    self.open.insert(step.clone(), made);
                }
            }
            EventBody::EffectUnknown(data) => {
                self.heard(step, seq, if data.parked { Stand::Unknown } else { Stand::Open });
            }
            EventBody::EffectWithheld(_) | EventBody::StepRetrying(_) => {
                self.heard(step, seq, Stand::Open);
            }
            EventBody::EffectSettled(data) if data.outcome == Settlement::Retry => {
                self.heard(step, seq, Stand::Open);
            }
            body if outcome_of(body).is_some() => self.heard(step, seq, Stand::Over),
            EventBody::StepCompleted(_) | EventBody::StepFailed(_) => {
                if let Some(made) = self.open.remove(step) {
                    self.over.push((step.clone(), made));
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, step: &StepPath, seq: u64, stand: Stand) {
        if let Some(made) = self.open.get_mut(step) {
            (made.seq, made.stand) = (seq, stand);
        }
    }

    fn finish(self, parent: RunId, from: u64) -> Recording {
        let mut recording = Recording { parent: Some(parent), ..Recording::default() };
        for (step, made) in self.over.into_iter().chain(self.open) {
            if made.seq < from && made.stand == Stand::Over {
                continue;
            }
            recording.by_call.entry(made.call).or_default().push(made);
            recording.by_step.entry(step).or_default().push(made);
        }
        for made in recording.by_call.values_mut() {
            made.sort_by_key(|made| made.seq);
        }
        recording
    }
}

/// How many forks lie between a run and the one that shares nothing.
pub(crate) fn depth(store: &dyn Store, run: RunId) -> Result<usize, Problem> {
    let mut at = run;
    for depth in 0..=limits::FORK_DEPTH {
        match point(store, at)? {
            Some(parent) => at = parent,
            None => return Ok(depth),
        }
    }
    Ok(limits::FORK_DEPTH + 1)
}

fn point(store: &dyn Store, run: RunId) -> Result<Option<RunId>, Problem> {
    let query = RunQuery { id_prefix: Some(run.to_string()), ..RunQuery::default() };
    let rows = store.runs(&query).map_err(|e| store_problem(&e))?;
    Ok(rows.first().and_then(|row| row.forked).map(|point| point.parent))
}

/// The recording that a run takes outcomes from, if it is a fork that reuses them.
pub(crate) fn recording_for(
    store: &dyn Store,
    fork: Option<&Fork>,
) -> Result<Option<Arc<Recording>>, Problem> {
    let Some(fork) = fork.filter(|f| f.effects == ForkEffects::Reuse) else {
        return Ok(None);
    };
    Recording::of(store, fork.point.parent, fork.from).map(|recording| Some(Arc::new(recording)))
}

impl Shard {
    /// Begins a fork: what it shares becomes its state, and its first turn leaves the parent.
    pub(crate) fn fork(&mut self, run: RunId, fork: ForkRun, reply: Reply, now: Millis) {
        match self.load(run) {
            Ok(()) => return self.reply_when_durable(run, reply),
            Err(problem) if problem.code == Code::RunNotFound => {}
            Err(problem) => return reply(Err(problem)),
        }
        match self.unborn(run, fork) {
            Ok(input) => self.decide_for(run, Job { input, reply: Some(reply) }, now),
            Err(problem) => reply(Err(problem)),
        }
    }

    fn unborn(&mut self, run: RunId, fork: ForkRun) -> Result<Input, Problem> {
        let store = Arc::clone(&self.ports.store);
        let ForkRun { forked, flows, perform } = fork;
        if depth(&*store, forked.parent)? >= limits::FORK_DEPTH {
            let what = format!("forks of forks go at most {} deep", limits::FORK_DEPTH);
            return Err(Problem::new(Code::LimitExceeded, what).next("fork an earlier run"));
        }
        let (state, head) = shared(&*store, run, (forked.parent, forked.seq))?;
        if head != forked.hash {
            let what = format!("run {} has another history than was forked", forked.parent);
            return Err(Problem::new(Code::CannotFork, what).next("fork it again"));
        }
        let told = |step: &&StepPath| {
            let ends = |event: &Event| {
                event.step.as_ref() == Some(*step)
                    && matches!(
                        event.body,
                        EventBody::ChildCompleted(_)
                            | EventBody::ChildFailed(_)
                            | EventBody::ChildCancelled(_)
                    )
            };
            forked.then.iter().any(ends)
        };
        if let Some(step) = state.children.keys().find(|step| !told(step)) {
            let what = format!(
                "step '{step}' of run {} waits there for a run of its own, which a fork can't share",
                forked.parent
            );
            let next = format!("leave it before or after that step: --at '{step}', or --after");
            return Err(Problem::new(Code::CannotFork, what).kept("nothing was forked").next(next));
        }
        let bundle = forked.flow.bundle.blob;
        if let Some((bytes, flows)) = flows {
            self.pending.group.blobs.push((bundle, bytes));
            self.keep_flows(bundle, flows);
        }
        let flow = self.flow(&forked.flow)?;
        let mut stream = Stream::new(state, head, flow);
        if forked.effects == ForkEffects::Reuse {
            let from = forked.seq + 1 + forked.then.len() as u64;
            stream.recording = Some(Arc::new(Recording::of(&*store, forked.parent, from)?));
        }
        self.streams.insert(run, stream);
        if perform {
            self.performs.insert(run);
        }
        Ok(Input::Fork(Box::new(forked)))
    }
}
