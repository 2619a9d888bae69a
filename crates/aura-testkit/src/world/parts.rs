//! What a shard hands to the world, kept until the world's seed says what becomes of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aura_core::data::BlobRef;
use aura_core::ports::{BlobError, Store, StoreError};
use aura_core::task::Task;
use aura_core::{Data, RunId, StepPath};
use aura_engine::{Committer, Fetcher, Message, Performer, Snapshots, Unit, Wanted};
use aura_graph::Run;
use aura_graph::expr::BlobLookup;
use aura_graph::state::Phase;
use serde_json::{Value, json};

use crate::model_store::ModelStore;

/// Groups, tasks and questions that a shard handed out.
#[derive(Debug, Clone, Default)]
pub(super) struct Handed(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    units: VecDeque<Unit>,
    failed: Option<(u64, StoreError)>,
    tasks: Vec<Task>,
    acted: Vec<Task>,
    blobs: VecDeque<Vec<BlobRef>>,
}

impl Handed {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.units.is_empty()
            && inner.tasks.is_empty()
            && inner.acted.is_empty()
            && inner.blobs.is_empty()
    }

    pub(super) fn take_unit(&self) -> Option<Unit> {
        self.inner().units.pop_front()
    }

    /// Appends a group, unless it builds on one that failed.
    pub(super) fn append(&self, store: &ModelStore, unit: &Unit) -> Result<(), StoreError> {
        if let Some((generation, error)) = &self.inner().failed
            && unit.generation <= *generation
        {
            return Err(error.clone());
        }
        let result = store.append(&unit.group).map(|_| ());
        if let Err(error) = &result {
            self.inner().failed = Some((unit.generation, error.clone()));
        }
        result
    }

    pub(super) fn take_blobs(&self) -> Option<Vec<BlobRef>> {
        self.inner().blobs.pop_front()
    }

    pub(super) fn unacted(&self) -> Vec<Task> {
        self.inner().tasks.clone()
    }

    pub(super) fn acted(&self) -> Vec<Task> {
        self.inner().acted.clone()
    }

    pub(super) fn mark_acted(&self, index: usize) -> Task {
        let mut inner = self.inner();
        let task = inner.tasks.remove(index);
        inner.acted.push(task.clone());
        task
    }

    pub(super) fn take_acted(&self, index: usize) -> Task {
        self.inner().acted.remove(index)
    }
}

impl Committer for Handed {
    fn commit(&mut self, unit: Unit, _alone: bool) -> Option<Result<(), StoreError>> {
        self.inner().units.push_back(unit);
        None
    }
}

impl Performer for Handed {
    fn perform(&mut self, task: Task) -> Option<Message> {
        self.inner().tasks.push(task);
        None
    }

    fn abandon(&mut self, _run: RunId, _step: &StepPath, _attempt: u32) {
        // What was handed out goes on in the world: an answer that nobody waits for must do no harm.
    }
}

impl Fetcher for Handed {
    fn fetch(&mut self, blobs: Vec<BlobRef>) {
        self.inner().blobs.push_back(blobs);
    }
}

/// Snapshots that are written at once.
pub(super) struct StoreSnapshots(pub(super) Arc<ModelStore>);

impl Snapshots for StoreSnapshots {
    fn take(&mut self, wanted: Wanted) -> bool {
        // What the store does not take is only read again.
        let _ = wanted.keep(&*self.0);
        true
    }
}

/// The blobs of a model store, as expressions see them.
pub(super) struct StoreBlobs(pub(super) Arc<ModelStore>);

impl StoreBlobs {
    pub(super) fn fetch(
        store: &Arc<ModelStore>,
        blobs: Vec<BlobRef>,
    ) -> Vec<(BlobRef, Result<Arc<Value>, BlobError>)> {
        let own = Self(Arc::clone(store));
        let found = |blob: BlobRef| own.value(blob).ok_or(BlobError::Missing(blob.blob));
        blobs.into_iter().map(|blob| (blob, found(blob))).collect()
    }
}

impl BlobLookup for StoreBlobs {
    fn value(&self, blob: BlobRef) -> Option<Arc<Value>> {
        let bytes = self.0.blob(blob.blob).ok().flatten()?;
        serde_json::from_slice(&bytes).ok().map(Arc::new)
    }
}

/// What a run came to, without what may differ between a smooth and a rough way there.
pub(super) fn result(run: &Run, blobs: &StoreBlobs) -> Value {
    let value = |data: &Data| match data {
        Data::Json(value) => Value::clone(value),
        Data::Blob(blob) => blobs.value(*blob).map(|v| Value::clone(&v)).unwrap_or_default(),
    };
    match &run.phase {
        Phase::Completed(output) => json!({ "completed": value(output) }),
        Phase::Failed(error, step) => {
            let end = run.saga.as_ref().filter(|saga| saga.begun).map(|saga| json!(saga.end));
            json!({ "failed": error.code, "step": step, "saga": end })
        }
        Phase::Cancelled => json!("cancelled"),
        _ => json!("open"),
    }
}
