//! What a shard hands to the world, kept until the world's seed says what becomes of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aura_core::data::BlobRef;
use aura_core::ports::{BlobError, Group, Store, StoreError};
use aura_core::task::Task;
use aura_core::{Data, RunId, StepPath};
use aura_engine::{Committer, Fetcher, Message, Performer, Snapshots, Unit, Wanted};
use aura_graph::Run;
use aura_graph::expr::BlobLookup;
use aura_graph::state::Phase;
use serde_json::{Value, json};

use super::calls::Calls;
use crate::model_store::ModelStore;

/// Groups, tasks and questions that a shard handed out.
#[derive(Debug, Clone, Default)]
pub(super) struct Handed(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) units: VecDeque<Unit>,
    /// Units whose fate the shard has not been told, in order.
    pub(super) untold: VecDeque<(u64, Result<(), StoreError>)>,
    pub(super) calls: Calls,
    pub(super) blobs: VecDeque<Vec<BlobRef>>,
    failed: Option<(u64, StoreError)>,
    /// Where a shard that is alone with its commits appends them itself, if it may in this step.
    pub(super) at_once: Option<Arc<ModelStore>>,
    /// What it appended so.
    pub(super) appended: Vec<Group>,
}

impl Handed {
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Appends up to `most` units as one group, as a writer does that finds so many waiting; a unit that builds on
    /// one that failed is refused. Gives back the group that was tried, and how that went.
    pub(super) fn append(
        &mut self,
        store: &ModelStore,
        most: usize,
    ) -> Option<(Group, Result<(), StoreError>)> {
        let mut group = Group::default();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(unit) = self.units.pop_front()
        {
            if let Some((generation, error)) = &self.failed
                && unit.generation <= *generation
            {
                self.untold.push_back((unit.number, Err(error.clone())));
                continue;
            }
            taken.push((unit.number, unit.generation));
            group.extend(unit.group);
        }
        let (_, generation) = *taken.last()?;
        let result = store.append(&group).map(|_| ());
        if let Err(error) = &result {
            self.failed = Some((generation, error.clone()));
        }
        self.untold.extend(taken.into_iter().map(|(number, _)| (number, result.clone())));
        Some((group, result))
    }
}

impl Committer for Handed {
    fn commit(&mut self, unit: Unit, alone: bool) -> Option<Result<(), StoreError>> {
        let mut inner = self.inner();
        let Some(store) = inner.at_once.clone().filter(|_| alone) else {
            inner.units.push_back(unit);
            return None;
        };
        let result = store.append(&unit.group).map(|_| ());
        inner.appended.extend(result.is_ok().then_some(unit.group));
        Some(result)
    }
}

impl Performer for Handed {
    fn perform(&mut self, task: Task) -> Option<Message> {
        self.inner().calls.fresh.push(task);
        None
    }

    fn abandon(&mut self, run: RunId, step: &StepPath, attempt: u32) -> Option<Message> {
        self.inner().calls.abandon(run, step, attempt);
        None
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
            let end = run.saga.as_ref().filter(|saga| saga.begun).map(|saga| {
                let mut end = json!(saga.end);
                // Which attempt it was depends on what was in doubt on the way.
                for step in end["uncompensated"].as_array_mut().into_iter().flatten() {
                    step["error"]["attempt"] = Value::Null;
                }
                end
            });
            json!({ "failed": error.code, "step": step, "saga": end })
        }
        Phase::Cancelled => json!("cancelled"),
        _ => json!("open"),
    }
}
