//! A store that is a few maps in memory: what [`Store`] means, in its plainest form.
//!
//! It is the other side of the differential test of every real store, and the store of simulated worlds: its
//! [`Disk`] can be copied at any time and opened again, as after a crash, and appends can be made to fail. It is
//! not a cache and not a fast store; it has no locks between processes and no damage of its own.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aura_core::cbor;
use aura_core::commit::{BadCommit, FORMAT, StoredCommit};
use aura_core::data::blob_address;
use aura_core::error::Code;
use aura_core::fork::ForkPoint;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{
    Appended, Compacted, Compaction, Ended, Group, Health, KeyRow, KeyState, Mark, Position,
    Retention, RunQuery, RunRow, Snapshot, Store, StoreError, StoreInfo,
};
use aura_core::time::Millis;
use bytes::Bytes;

/// Rows that a query without a limit yields.
const DEFAULT_ROWS: usize = 1_000;

/// Bytes of a commit beside its payload.
const ROW_BYTES: u64 = 98;

/// Everything that outlives a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// What the addresses of blobs are salted with.
    pub salt: Hash,
    /// The log, in order.
    pub log: Vec<StoredCommit>,
    /// The position of each of its commits.
    pub positions: Vec<Position>,
    /// The last position that was given out.
    pub position: Position,
    /// How often something was removed.
    pub removals: u64,
    /// Where the commits of each run stand in the log.
    pub streams: BTreeMap<RunId, Vec<usize>>,
    /// Where forks left their parents.
    pub forks: BTreeMap<RunId, ForkPoint>,
    /// The rows.
    pub rows: BTreeMap<RunId, RunRow>,
    /// The last snapshot of each run.
    pub snapshots: BTreeMap<RunId, Snapshot>,
    /// Blobs of the table that nothing names, and since when that is known.
    pub orphans: BTreeMap<Hash, Millis>,
    /// Where keys stand that several runs share.
    pub keys: BTreeMap<Hash, KeyRow>,
    /// Blobs of the store's own table, plain.
    pub table: BTreeMap<Hash, Bytes>,
    /// Blobs beside the store, plain.
    pub files: BTreeMap<Hash, Bytes>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            salt: Hash::of(b"salt of the model store"),
            log: Vec::new(),
            positions: Vec::new(),
            position: Position::default(),
            removals: 0,
            streams: BTreeMap::new(),
            forks: BTreeMap::new(),
            rows: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            orphans: BTreeMap::new(),
            keys: BTreeMap::new(),
            table: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }
}

/// When an append that is made to fail does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing became durable.
    Before,
    /// The whole group became durable, but the caller is not told.
    After,
}

/// A handle on a [`Disk`]. Dropping the handle keeps nothing; take [`ModelStore::disk`] first.
#[derive(Debug, Default)]
pub struct ModelStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    disk: Disk,
    failures: VecDeque<(When, StoreError)>,
    broken: Option<StoreError>,
}

impl ModelStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a copy of a disk; it has no failures ahead and is not broken.
    pub fn from_disk(disk: Disk) -> Self {
        Self { state: Mutex::new(State { disk, ..State::default() }) }
    }

    /// A copy of what is durable now.
    pub fn disk(&self) -> Disk {
        self.state().disk.clone()
    }

    /// Makes the next append fail that no earlier call already makes fail. After a [`StoreError::Broken`] the
    /// handle refuses everything, as a real one does.
    pub fn fail_next(&self, when: When, error: StoreError) {
        self.state().failures.push_back((when, error));
    }

    /// Calls `change` with the disk, to damage it.
    pub fn tamper(&self, change: impl FnOnce(&mut Disk)) {
        change(&mut self.state().disk);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        match &state.broken {
            Some(error) => Err(error.clone()),
            None => Ok(state),
        }
    }
}

/// A fault of the caller: nothing was changed, and the handle stays usable.
fn refused(code: Code, message: String) -> StoreError {
    StoreError::Broken { code, message }
}

impl Disk {
    /// The event that must come next in `run`.
    fn next_seq(&self, run: RunId, forked: Option<ForkPoint>) -> Result<u64, StoreError> {
        let last = self.streams.get(&run).and_then(|places| self.log.get(*places.last()?));
        match (last, forked) {
            (Some(last), _) => Ok(last.header.seq + u64::from(last.header.count)),
            (None, Some(point)) if self.streams.contains_key(&point.parent) => Ok(point.seq + 1),
            (None, Some(point)) => {
                let parent = point.parent;
                let message =
                    format!("run {run} shares the beginning of run {parent}, which is gone");
                Err(StoreError::Busy { code: Code::RunNotFound, message })
            }
            (None, None) => Ok(1),
        }
    }

    /// The history of a run: what it shares, then its own commits.
    fn history(&self, run: RunId) -> Vec<StoredCommit> {
        let own = self.streams.get(&run).into_iter().flatten();
        let own = own.filter_map(|place| self.log.get(*place)).cloned();
        let mut commits = Vec::new();
        if let Some(point) = self.forks.get(&run) {
            commits = self.history(point.parent);
            commits.retain(|commit| commit.header.seq <= point.seq);
        }
        commits.extend(own);
        commits
    }

    /// Whether a group may be applied; it is applied only as a whole.
    fn accepts(&self, group: &Group) -> Result<(), StoreError> {
        for StoredCommit { header, payload, .. } in &group.commits {
            if payload.len() > limits::COMMIT_BYTES || header.count as usize > limits::COMMIT_EVENTS
            {
                let message = format!("run {}: the commit is too large", header.run);
                return Err(refused(Code::LimitExceeded, message));
            }
        }
        for (address, bytes) in &group.blobs {
            if bytes.len() > limits::BLOB_TABLE_BYTES {
                return Err(refused(Code::LimitExceeded, format!("blob {address} is too large")));
            }
            if blob_address(self.salt, bytes).blob != *address {
                let message = format!("blob {address} has other bytes than its address says");
                return Err(refused(Code::BlobCorrupt, message));
            }
        }
        let mut next: BTreeMap<RunId, u64> = BTreeMap::new();
        let forks: BTreeMap<RunId, ForkPoint> =
            group.rows.iter().filter_map(|row| Some((row.run, row.forked?))).collect();
        for StoredCommit { header, .. } in &group.commits {
            let expected = match next.entry(header.run) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    entry.insert(self.next_seq(header.run, forks.get(&header.run).copied())?)
                }
            };
            if header.count == 0 || header.seq != *expected {
                let bad = BadCommit::Gap { expected: *expected, found: header.seq };
                return Err(refused(Code::ChainBroken, format!("run {}: {bad}", header.run)));
            }
            *expected += u64::from(header.count);
        }
        Ok(())
    }

    fn apply(&mut self, group: &Group) {
        for row in &group.rows {
            if let Some(point) = row.forked
                && !self.streams.contains_key(&row.run)
            {
                self.forks.insert(row.run, point);
            }
        }
        for commit in &group.commits {
            self.streams.entry(commit.header.run).or_default().push(self.log.len());
            self.log.push(commit.clone());
            self.position.0 += 1;
            self.positions.push(self.position);
        }
        self.rows.extend(group.rows.iter().map(|row| (row.run, row.clone())));
        for (address, bytes) in &group.blobs {
            self.orphans.remove(address);
            self.table.insert(*address, bytes.clone());
        }
        for row in &group.keys {
            match row.state {
                KeyState::Free => drop(self.keys.remove(&row.key)),
                _ => drop(self.keys.insert(row.key, row.clone())),
            }
        }
    }

    /// The events of a run without those that it shares with its parent.
    fn own_events(&self, row: &RunRow) -> u64 {
        row.events.saturating_sub(self.forks.get(&row.run).map_or(0, |point| point.seq))
    }

    /// The runs that a compaction removes.
    fn going(&self, asked: &Compaction) -> Vec<Ended> {
        if asked.retention == Retention::default() {
            return Vec::new();
        }
        let bytes = |run: &RunId| -> u64 {
            let places = self.streams.get(run).into_iter().flatten();
            places.map(|place| self.log[*place].payload.len() as u64 + ROW_BYTES).sum()
        };
        let (closed, open): (Vec<_>, Vec<_>) =
            self.rows.values().partition(|row| row.status.closed());
        let mut ended: Vec<Ended> = closed
            .into_iter()
            .map(|row| Ended {
                run: row.run,
                at: row.updated,
                events: self.own_events(row),
                bytes: bytes(&row.run),
            })
            .collect();
        ended.sort_by_key(|run| std::cmp::Reverse((run.at, run.run)));
        let open = open.into_iter().map(|row| bytes(&row.run)).sum();
        let mut going = asked.retention.beyond(&ended, open);
        let open = |run: &RunId| self.rows.get(run).is_some_and(|row| !row.status.closed());
        let forked = |run: RunId| {
            let mut forks = self.forks.iter();
            forks.any(|(fork, point)| point.parent == run && self.streams.contains_key(fork))
        };
        going.retain(|run| {
            let above = self.rows.get(&run.run).and_then(|row| row.parent);
            !forked(run.run) && !above.is_some_and(|above| open(&above))
        });
        going
    }

    fn without(mut self, gone: &BTreeSet<RunId>) -> Self {
        let log = std::mem::take(&mut self.log).into_iter();
        let positions = std::mem::take(&mut self.positions);
        self.streams.clear();
        for (commit, position) in log.zip(positions) {
            let run = commit.header.run;
            if !gone.contains(&run) {
                self.streams.entry(run).or_default().push(self.log.len());
                self.log.push(commit);
                self.positions.push(position);
            }
        }
        self.rows.retain(|run, _| !gone.contains(run));
        self.snapshots.retain(|run, _| !gone.contains(run));
        self
    }

    /// Takes out blobs that nothing has named since `before`; how many, and their bytes. Nobody tells a model the
    /// time, so that files are as old as time itself.
    fn sweep(&mut self, before: Millis, at: Millis) -> (u64, u64) {
        let mut named = Vec::new();
        for commit in &self.log {
            cbor::blob_references(&commit.payload, &mut named);
        }
        let named: BTreeSet<Hash> = named.into_iter().map(|blob| blob.blob).collect();
        let (mut blobs, mut bytes) = (0, 0);
        let mut count = |blob: &Bytes| {
            blobs += 1;
            bytes += blob.len() as u64;
            false
        };
        let orphans = &mut self.orphans;
        orphans.retain(|address, _| !named.contains(address));
        self.table.retain(|address, blob| {
            let goes = orphans.get(address).is_some_and(|since| *since < before);
            !goes || count(blob)
        });
        for address in self.table.keys().filter(|address| !named.contains(address)) {
            orphans.entry(*address).or_insert(at);
        }
        if before > Millis(0) {
            self.files.retain(|address, blob| named.contains(address) || count(blob));
        }
        (blobs, bytes)
    }

    /// The row of a run; how far one is that goes on, its last commit tells.
    fn progressed(&self, row: &RunRow) -> RunRow {
        let mut row = row.clone();
        let last = self.streams.get(&row.run).and_then(|places| self.log.get(*places.last()?));
        if let Some(last) = last.filter(|_| row.mark != Mark::Closed) {
            row.events =
                self.next_seq(row.run, self.forks.get(&row.run).copied()).map_or(0, |n| n - 1);
            row.updated = last.header.at;
        }
        row
    }
}

impl Store for ModelStore {
    fn append(&self, group: &Group) -> Result<Appended, StoreError> {
        let mut state = self.usable()?;
        let failure = state.failures.pop_front();
        if let Some((When::Before, error)) = failure {
            return Err(state.fail(error));
        }
        state.disk.accepts(group)?;
        state.disk.apply(group);
        if let Some((When::After, error)) = failure {
            return Err(state.fail(error));
        }
        Ok(Appended { position: state.disk.position })
    }

    fn read(
        &self,
        run: RunId,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredCommit>, StoreError> {
        let state = self.usable()?;
        let commits = state.disk.history(run).into_iter();
        let ends = |commit: &StoredCommit| commit.header.seq + u64::from(commit.header.count);
        Ok(commits.filter(|commit| ends(commit) > from_seq).take(limit).collect())
    }

    fn tail(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, StoredCommit)>, StoreError> {
        let state = self.usable()?;
        let places = state.disk.positions.iter().copied().zip(&state.disk.log);
        let later = places.skip_while(|(place, _)| *place <= after);
        Ok(later.take(limit).map(|(place, commit)| (place, commit.clone())).collect())
    }

    fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, StoreError> {
        let state = self.usable()?;
        let rows = state.disk.rows.values().filter(|row| matches(query, row));
        let mut rows: Vec<RunRow> = rows.map(|row| state.disk.progressed(row)).collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.started, row.run)));
        rows.truncate(if query.limit == 0 { DEFAULT_ROWS } else { query.limit });
        Ok(rows)
    }

    fn blob(&self, address: Hash) -> Result<Option<Bytes>, StoreError> {
        Ok(self.usable()?.disk.table.get(&address).cloned())
    }

    fn keep_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let mut state = self.usable()?;
        if snapshot.bytes.len() > limits::SNAPSHOT_BYTES {
            let message = format!("run {}: the snapshot is too large", snapshot.run);
            return Err(refused(Code::LimitExceeded, message));
        }
        let disk = &mut state.disk;
        let newer = disk.snapshots.get(&snapshot.run).is_none_or(|kept| kept.seq <= snapshot.seq);
        if newer && disk.streams.contains_key(&snapshot.run) {
            disk.snapshots.insert(snapshot.run, snapshot.clone());
        }
        Ok(())
    }

    fn snapshot(&self, run: RunId) -> Result<Option<Snapshot>, StoreError> {
        Ok(self.usable()?.disk.snapshots.get(&run).cloned())
    }

    fn key(&self, key: Hash) -> Result<Option<KeyRow>, StoreError> {
        Ok(self.usable()?.disk.keys.get(&key).cloned())
    }

    fn keys(&self, after: Option<Hash>, limit: usize) -> Result<Vec<KeyRow>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.usable()?;
        let rows = state.disk.keys.range((from, Bound::Unbounded));
        Ok(rows.take(limit).map(|(_, row)| row.clone()).collect())
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        let state = self.usable()?;
        let disk = &state.disk;
        let blobs = disk.table.values().chain(disk.files.values());
        let bytes = disk.log.iter().map(|commit| commit.payload.len()).sum::<usize>()
            + blobs.map(Bytes::len).sum::<usize>();
        Ok(StoreInfo {
            location: "memory".to_owned(),
            format: u32::from(FORMAT),
            schema: 0,
            salt: disk.salt,
            commits: disk.log.len() as u64,
            events: disk.rows.values().map(|row| disk.own_events(&disk.progressed(row))).sum(),
            runs: disk.rows.len() as u64,
            bytes: bytes as u64,
            position: disk.position,
            removals: disk.removals,
            engine: BTreeMap::from([("name".to_owned(), "model".to_owned())]),
        })
    }

    fn compact(&self, asked: &Compaction) -> Result<Compacted, StoreError> {
        let mut state = self.usable()?;
        let mut disk = state.disk.clone();
        let going = disk.going(asked);
        let mut done = Compacted {
            runs: going.len() as u64,
            events: going.iter().map(|run| run.events).sum(),
            blobs: 0,
            bytes: going.iter().map(|run| run.bytes).sum(),
        };
        disk = disk.without(&going.into_iter().map(|run| run.run).collect());
        if let Some(before) = asked.orphans_before {
            let (blobs, bytes) = disk.sweep(before, asked.at);
            done.blobs = blobs;
            done.bytes += bytes;
        }
        if !asked.dry_run {
            disk.removals += u64::from(done != Compacted::default());
            state.disk = disk;
        }
        Ok(done)
    }

    fn check(&self) -> Result<Health, StoreError> {
        let state = self.usable()?;
        let disk = &state.disk;
        let mut health = Health::default();
        let mut heads: BTreeMap<RunId, (Hash, u64)> = BTreeMap::new();
        for commit in &disk.log {
            let run = commit.header.run;
            let head = heads.entry(run).or_insert_with(|| {
                let shared = disk.forks.get(&run).filter(|point| point.seq > 0);
                shared.map_or((Hash::ZERO, 1), |point| {
                    let mut shared = disk.history(point.parent).into_iter();
                    let last = shared.rfind(|commit| commit.header.seq <= point.seq);
                    (last.map_or(Hash::ZERO, |commit| commit.hash), point.seq + 1)
                })
            });
            if let Err(bad) = commit.check(head.0, head.1) {
                health.faults.push((Some(run), Code::ChainBroken, bad.to_string()));
            }
            *head = (commit.hash, commit.header.seq + u64::from(commit.header.count));
            health.commits += 1;
        }
        for row in disk.rows.values() {
            let events = heads.get(&row.run).map_or(0, |(_, next)| next - 1);
            if row.events != events {
                let message = format!("the row says {} events, the log has {events}", row.events);
                health.faults.push((Some(row.run), Code::StoreCorrupt, message));
            }
        }
        for run in heads.keys().filter(|run| !disk.rows.contains_key(run)) {
            let message = "the log has events, but there is no row".to_owned();
            health.faults.push((Some(*run), Code::StoreCorrupt, message));
        }
        for (address, bytes) in disk.table.iter().chain(&disk.files) {
            if blob_address(disk.salt, bytes).blob != *address {
                let message = format!("blob {address} is damaged");
                health.faults.push((None, Code::BlobCorrupt, message));
            }
            health.blobs += 1;
        }
        Ok(health)
    }
}

impl State {
    fn fail(&mut self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::Broken { .. }) {
            self.broken = Some(error.clone());
        }
        error
    }
}

fn matches(query: &RunQuery, row: &RunRow) -> bool {
    let prefix = query.id_prefix.as_deref().unwrap_or_default().replace('-', "").to_lowercase();
    row.run.0.simple().to_string().starts_with(&prefix)
        && (query.statuses.is_empty() || query.statuses.contains(&row.status))
        && query.flow.as_ref().is_none_or(|flow| *flow == row.flow)
        && (query.parent.is_none() || query.parent == row.parent)
        && (query.root.is_none() || query.root == row.root)
        && (!query.top || row.root.is_none())
        && query.labels.iter().all(|(key, value)| row.labels.get(key) == Some(value))
}
