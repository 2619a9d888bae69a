//! Making groups of commits durable, in order, off the loop.

use std::sync::Arc;
use std::thread::JoinHandle;

use aura_core::limits;
use aura_core::ports::{Group, Store, StoreError};
use crossbeam_channel::{Receiver, Sender};

use crate::message::Message;

/// A group on its way to the store.
#[derive(Debug)]
pub struct Unit {
    /// Its number, ascending.
    pub number: u64,
    /// How often the shard began anew: after a failure, units of an earlier generation are refused, because what
    /// they build on did not become durable.
    pub generation: u64,
    /// The commits.
    pub group: Group,
}

/// Takes groups and makes them durable strictly in order.
pub trait Committer: Send {
    /// Takes a group. `alone` says that nothing else is on its way and nothing else to do: then the group may be made
    /// durable here and now, and what came of it is the answer. Otherwise the shard is told by [`Message::Durable`].
    fn commit(&mut self, unit: Unit, alone: bool) -> Option<Result<(), StoreError>>;
}

/// The writer: a thread that appends what has come together since its last append as one group. A shard that is alone
/// with its unit appends it itself: two hand-overs between threads would cost as much as the rest of a step.
pub struct Writer {
    store: Arc<dyn Store>,
    units: Option<Sender<Unit>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(store: Arc<dyn Store>, shard: Sender<Message>) -> std::io::Result<Self> {
        let (sender, units) = crossbeam_channel::bounded(limits::UNDURABLE_COMMITS);
        let thread = std::thread::Builder::new().name("aura-writer".to_owned()).spawn({
            let store = Arc::clone(&store);
            move || write(&*store, &units, &shard)
        })?;
        Ok(Self { store, units: Some(sender), thread: Some(thread) })
    }
}

impl Committer for Writer {
    fn commit(&mut self, unit: Unit, alone: bool) -> Option<Result<(), StoreError>> {
        if alone {
            return Some(self.store.append(&unit.group).map(|_| ()));
        }
        if let Some(units) = &self.units {
            // The shard holds back before the channel is full, and the thread ends only after this side is gone.
            let _ = units.send(unit);
        }
        None
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.units = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(store: &dyn Store, units: &Receiver<Unit>, shard: &Sender<Message>) {
    let mut failed: Option<(u64, StoreError)> = None;
    while let Ok(first) = units.recv() {
        let mut group = Group::default();
        let mut numbers = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(unit) = next {
            if let Some((generation, error)) = &failed
                && unit.generation <= *generation
            {
                tell(shard, &[unit.number], &Err(error.clone()));
            } else {
                bytes += unit.group.commits.iter().map(|c| c.payload.len()).sum::<usize>();
                bytes += unit.group.blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>();
                numbers.push((unit.number, unit.generation));
                group.extend(unit.group);
            }
            let room = group.commits.len() < limits::GROUP_COMMITS && bytes < limits::GROUP_BYTES;
            next = if room { units.try_recv().ok() } else { None };
        }
        let Some((_, generation)) = numbers.last().copied() else { continue };
        let result = store.append(&group).map(|_| ());
        if let Err(error) = &result {
            failed = Some((generation, error.clone()));
        }
        let numbers: Vec<_> = numbers.into_iter().map(|(number, _)| number).collect();
        tell(shard, &numbers, &result);
    }
}

fn tell(shard: &Sender<Message>, numbers: &[u64], result: &Result<(), StoreError>) {
    for number in numbers {
        // A shard that is gone needs no answer.
        let _ = shard.send(Message::Durable { group: *number, result: result.clone() });
    }
}
