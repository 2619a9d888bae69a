//! Reading a run from the store: folding it, compiling its flow, checking it.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::event::{Event, FlowPin};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Bundle;
use aura_core::ports::{Snapshot, Store, StoreError};
use aura_graph::definition::Flows;
use aura_graph::expr::BlobLookup;
use aura_graph::replay::{Replay, ReplayError};
use aura_graph::state::{FoldError, fold_commit, from_snapshot};
use aura_graph::{Flow, Run};

/// Commits read from the store at a time.
const PAGE: usize = 256;
/// Compiled flows that a verifier keeps.
const FLOWS: usize = 64;

/// A run as its history adds up.
#[derive(Debug)]
pub struct History {
    /// The state.
    pub run: Run,
    /// Hash of its last commit.
    pub head: Hash,
    /// Bytes of the snapshot from which it was opened; 0 without one.
    pub snapshot: usize,
    /// Bytes of the events that were read after it.
    pub since: usize,
}

/// What a check of a run found to be right.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// The run.
    pub run: RunId,
    /// Commits whose chain and state hashes hold.
    pub commits: u64,
    /// Their events.
    pub events: u64,
    /// Steps of the run.
    pub steps: u64,
    /// Whether every commit was also decided again, with the same result.
    pub redecided: bool,
    /// Hash of the last commit.
    pub head: Hash,
    /// State hash after it.
    pub state: Hash,
}

/// What a store error means to the person at the edge.
pub(crate) fn store_problem(error: &StoreError) -> Problem {
    let problem = Problem::new(error.code(), error.to_string())
        .kept("everything that was acknowledged is in the store");
    match error {
        StoreError::Lost { .. } => problem.next("stop this process; another one owns the store"),
        StoreError::Busy { .. } => problem.next("make room, then try again"),
        StoreError::Broken { .. } => problem.next("aura store check"),
    }
}

/// Gives every commit of a run to `take`, in order.
///
/// # Errors
/// The store can't be read, or `take` fails.
pub fn read_all(
    store: &dyn Store,
    run: RunId,
    take: &mut dyn FnMut(StoredCommit) -> Result<(), Problem>,
) -> Result<(), Problem> {
    read_from(store, run, 1, take)
}

/// Gives the commits of a run to `take`, in order, from the one that holds event `from`.
fn read_from(
    store: &dyn Store,
    run: RunId,
    mut from: u64,
    take: &mut dyn FnMut(StoredCommit) -> Result<(), Problem>,
) -> Result<(), Problem> {
    loop {
        let page = store.read(run, from, PAGE).map_err(|e| store_problem(&e))?;
        let full = page.len() == PAGE;
        for commit in page {
            from = commit.header.next_seq();
            take(commit)?;
        }
        if !full {
            return Ok(());
        }
    }
}

/// Folds a run, from its snapshot on if it has one; `None` if the store has none of this id.
///
/// # Errors
/// The store can't be read, or the history is damaged.
pub fn open_history(store: &dyn Store, id: RunId) -> Result<Option<History>, Problem> {
    if let Some(snapshot) = store.snapshot(id).map_err(|e| store_problem(&e))? {
        match go_on(store, &snapshot) {
            Ok(history) => return Ok(Some(history)),
            Err(why) => tracing::info!(run = %id, %why, "the snapshot is of no use"),
        }
    }
    let mut history = History { run: Run::new(id), head: Hash::ZERO, snapshot: 0, since: 0 };
    read_from(store, id, 1, &mut |commit| history.fold(&commit))?;
    Ok((history.run.events > 0).then_some(history))
}

/// What the events after a snapshot make of it.
fn go_on(store: &dyn Store, snapshot: &Snapshot) -> Result<History, Problem> {
    let id = snapshot.run;
    let stale = |why: &str| Problem::new(Code::ChainBroken, why);
    let (run, head) = from_snapshot(&snapshot.bytes).map_err(|e| stale(&e.to_string()))?;
    if run.id != id || run.events != snapshot.seq {
        return Err(stale("it is of another run or event"));
    }
    let mut history = History { run, head, snapshot: snapshot.bytes.len(), since: 0 };
    let mut found = false;
    read_from(store, id, snapshot.seq, &mut |commit| {
        if found {
            return history.fold(&commit);
        }
        found = commit.hash == head && commit.header.next_seq() == snapshot.seq + 1;
        if found { Ok(()) } else { Err(stale("the log has another commit there")) }
    })?;
    if found { Ok(history) } else { Err(stale("the log ends before it")) }
}

impl History {
    fn fold(&mut self, commit: &StoredCommit) -> Result<(), Problem> {
        self.since += commit.payload.len();
        fold_commit(&mut self.run, &mut self.head, commit)
            .map_err(|e| fold_problem(commit.header.run, &e))
    }
}

pub(crate) fn fold_problem(run: RunId, error: &FoldError) -> Problem {
    Problem::new(Code::ChainBroken, format!("run {run}: {error}"))
        .kept("other runs are not touched by this")
        .next("aura store check")
}

/// Compiles a bundle.
///
/// # Errors
/// A flow of it has problems for this build.
pub fn compile(bundle: &Bundle) -> Result<Flows, Problem> {
    Flows::load(&bundle.source, &bundle.files, &bundle.tools).map_err(|error| {
        Problem::new(Code::FlowInvalid, format!("the pinned flow does not load: {error}"))
            .next("use the build that started the run")
    })
}

/// Loads and compiles the flow that a run pinned.
///
/// # Errors
/// Its bundle is missing or damaged, or does not load.
pub fn load_flow(store: &dyn Store, pin: &FlowPin) -> Result<Arc<Flow>, Problem> {
    let flows = load_flows(store, pin)?;
    flow_of(&flows, pin)
}

/// The flow of a pin among those of its bundle.
pub(crate) fn flow_of(flows: &Flows, pin: &FlowPin) -> Result<Arc<Flow>, Problem> {
    flows.get(pin.file.as_deref()).cloned().ok_or_else(|| {
        Problem::new(Code::BlobCorrupt, format!("the bundle of flow '{}' lacks it", pin.name))
            .next("aura store check")
    })
}

/// Loads and compiles the flows of the bundle that a run pinned.
///
/// # Errors
/// The bundle is missing or damaged, or does not load.
pub(crate) fn load_flows(store: &dyn Store, pin: &FlowPin) -> Result<Flows, Problem> {
    let address = pin.bundle.blob;
    let bytes = store.blob(address).map_err(|e| store_problem(&e))?.ok_or_else(|| {
        Problem::new(Code::BlobMissing, format!("the flow '{}' of the run is missing", pin.name))
            .next("aura store check")
    })?;
    let bundle: Bundle = serde_json::from_slice(&bytes).map_err(|e| {
        Problem::new(Code::BlobCorrupt, format!("the flow '{}' can't be read: {e}", pin.name))
            .next("aura store check")
    })?;
    compile(&bundle)
}

impl Verified {
    /// Checks a run: chain and state hashes, and with `redecide` also that this build decides as the log says.
    /// Calls `each` with every commit's events.
    ///
    /// # Errors
    /// The first thing that is wrong: `CHAIN_BROKEN` for damage, `REPLAY_DIFFERS` for changed behaviour.
    pub fn check(
        store: &dyn Store,
        id: RunId,
        blobs: Arc<dyn BlobLookup>,
        redecide: bool,
        each: &mut dyn FnMut(&StoredCommit, &[Event], &Run),
    ) -> Result<Self, Problem> {
        Verifier::new(store, blobs).check(id, redecide, each)
    }
}

/// Checks the runs of a store, one after the other; the flows that they pinned are compiled once.
pub struct Verifier<'a> {
    store: &'a dyn Store,
    blobs: Arc<dyn BlobLookup>,
    salt: Option<Hash>,
    flows: BTreeMap<Hash, Flows>,
}

impl std::fmt::Debug for Verifier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("flows", &self.flows.len()).finish_non_exhaustive()
    }
}

impl<'a> Verifier<'a> {
    /// A verifier of the runs of a store.
    pub fn new(store: &'a dyn Store, blobs: Arc<dyn BlobLookup>) -> Self {
        Self { store, blobs, salt: None, flows: BTreeMap::new() }
    }

    /// Checks a run on both levels. Damage is told before a difference: after damage a difference means nothing.
    ///
    /// # Errors
    /// As [`Verified::check`].
    pub fn verify(&mut self, id: RunId) -> Result<Verified, Problem> {
        match self.check(id, true, &mut |_, _, _| {}) {
            Err(problem) if problem.code == Code::ReplayDiffers => {
                self.check(id, false, &mut |_, _, _| {})?;
                Err(problem)
            }
            other => other,
        }
    }

    fn check(
        &mut self,
        id: RunId,
        redecide: bool,
        each: &mut dyn FnMut(&StoredCommit, &[Event], &Run),
    ) -> Result<Verified, Problem> {
        let salt = match self.salt {
            Some(salt) => salt,
            None => self.store.info().map_err(|e| store_problem(&e))?.salt,
        };
        self.salt = Some(salt);
        let mut replay = Replay::new(Run::new(id), salt, Arc::clone(&self.blobs));
        let mut flow: Option<Arc<Flow>> = None;
        let (mut commits, mut head) = (0, Hash::ZERO);
        let store = self.store;
        read_all(store, id, &mut |commit| {
            if redecide && let Some(pin) = new_flow(&commit, flow.is_none())? {
                flow = Some(self.flow(&pin)?);
            }
            if let Some(flow) = &flow {
                replay.redecide(flow, &commit).map_err(|e| replay_problem(id, e))?;
            }
            let events = replay.integrity(&commit).map_err(|e| replay_problem(id, e))?;
            each(&commit, &events, &replay.run);
            commits += 1;
            head = commit.hash;
            Ok(())
        })?;
        if commits == 0 {
            return Err(Problem::new(Code::RunNotFound, format!("no run {id}")).next("aura runs"));
        }
        let (events, steps, state) = (replay.run.events, replay.run.steps, replay.run.hash);
        Ok(Verified { run: id, commits, events, steps, redecided: redecide, head, state })
    }

    fn flow(&mut self, pin: &FlowPin) -> Result<Arc<Flow>, Problem> {
        if let Some(flows) = self.flows.get(&pin.bundle.blob) {
            return flow_of(flows, pin);
        }
        let flows = load_flows(self.store, pin)?;
        let flow = flow_of(&flows, pin);
        if self.flows.len() >= FLOWS {
            self.flows.pop_first();
        }
        self.flows.insert(pin.bundle.blob, flows);
        flow
    }
}

/// The flow by which a commit and those after it were decided, if it is another than before.
fn new_flow(commit: &StoredCommit, first: bool) -> Result<Option<FlowPin>, Problem> {
    let id = commit.header.run;
    // Only the first commit of a run or of a fork says so.
    let events = commit.events().map_err(|e| fold_problem(id, &e.into()))?;
    match events.first().map(|event| &event.body) {
        Some(aura_core::EventBody::RunStarted(started)) => Ok(Some(started.flow.clone())),
        Some(aura_core::EventBody::RunForked(forked)) => Ok(Some(forked.flow.clone())),
        _ if !first => Ok(None),
        _ => {
            Err(Problem::new(Code::ChainBroken, format!("run {id} does not begin with its start"))
                .next("aura store check"))
        }
    }
}

fn replay_problem(run: RunId, error: ReplayError) -> Problem {
    match error {
        ReplayError::Fold(e) => fold_problem(run, &e),
        ReplayError::State { .. } => {
            Problem::new(Code::ChainBroken, format!("run {run}: {error}")).next("aura store check")
        }
        ReplayError::Blobs(blobs) => {
            let first = blobs.first().map(|b| b.blob.short()).unwrap_or_default();
            Problem::new(Code::BlobMissing, format!("run {run}: blob {first}… can't be read"))
                .next("aura store check")
        }
        ReplayError::NoInput { .. } => {
            Problem::new(Code::ReplayDiffers, format!("run {run}: {error}"))
                .kept("the history itself is intact")
        }
        ReplayError::Differs(ref difference) => {
            let show = |event: &Option<Event>| match event {
                Some(event) => serde_json::to_string(event).unwrap_or_default(),
                None => "nothing".to_owned(),
            };
            let what = format!(
                "run {run}: {error}\n  recorded: {}\n  decided:  {}",
                show(&difference.recorded),
                show(&difference.decided)
            );
            Problem::new(Code::ReplayDiffers, what)
                .kept("the history itself is intact: chain and state hashes hold")
                .next("use the build that wrote the run, or compare the two builds")
        }
    }
}
