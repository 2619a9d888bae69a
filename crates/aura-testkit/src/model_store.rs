//! A store that is a few maps in memory: what [`Store`] means, in its plainest form.
//!
//! It is the other side of the differential test of every real store, and the store of simulated worlds: its
//! [`Disk`] can be copied at any time and opened again, as after a crash, and appends can be made to fail. It is
//! not a cache and not a fast store; it has no locks between processes and no damage of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aura_core::commit::{BadCommit, FORMAT, StoredCommit};
use aura_core::data::blob_address;
use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::ports::{
    Appended, Group, Health, KeyRow, KeyState, Mark, Position, RunQuery, RunRow, Store, StoreError,
    StoreInfo,
};
use bytes::Bytes;

/// Rows that a query without a limit yields.
const DEFAULT_ROWS: usize = 1_000;

/// Everything that outlives a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// What the addresses of blobs are salted with.
    pub salt: Hash,
    /// The log, in order; the position of a commit is its index plus 1.
    pub log: Vec<StoredCommit>,
    /// Where the commits of each run stand in the log.
    pub streams: BTreeMap<RunId, Vec<usize>>,
    /// The rows.
    pub rows: BTreeMap<RunId, RunRow>,
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
            streams: BTreeMap::new(),
            rows: BTreeMap::new(),
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
    fn next_seq(&self, run: RunId) -> u64 {
        let last = self.streams.get(&run).and_then(|places| self.log.get(*places.last()?));
        last.map_or(1, |commit| commit.header.seq + u64::from(commit.header.count))
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
        for StoredCommit { header, .. } in &group.commits {
            let expected = next.entry(header.run).or_insert_with(|| self.next_seq(header.run));
            if header.count == 0 || header.seq != *expected {
                let bad = BadCommit::Gap { expected: *expected, found: header.seq };
                return Err(refused(Code::ChainBroken, format!("run {}: {bad}", header.run)));
            }
            *expected += u64::from(header.count);
        }
        Ok(())
    }

    fn apply(&mut self, group: &Group) {
        for commit in &group.commits {
            self.streams.entry(commit.header.run).or_default().push(self.log.len());
            self.log.push(commit.clone());
        }
        self.rows.extend(group.rows.iter().map(|row| (row.run, row.clone())));
        self.table.extend(group.blobs.iter().cloned());
        for row in &group.keys {
            match row.state {
                KeyState::Free => drop(self.keys.remove(&row.key)),
                _ => drop(self.keys.insert(row.key, row.clone())),
            }
        }
    }

    fn position(&self) -> Position {
        Position(self.log.len() as u64)
    }

    /// The row of a run; how far one is that goes on, its last commit tells.
    fn progressed(&self, row: &RunRow) -> RunRow {
        let mut row = row.clone();
        let last = self.streams.get(&row.run).and_then(|places| self.log.get(*places.last()?));
        if let Some(last) = last.filter(|_| row.mark != Mark::Closed) {
            row.events = self.next_seq(row.run) - 1;
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
        Ok(Appended { position: state.disk.position() })
    }

    fn read(
        &self,
        run: RunId,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredCommit>, StoreError> {
        let state = self.usable()?;
        let places = state.disk.streams.get(&run).into_iter().flatten();
        let commits = places.filter_map(|place| state.disk.log.get(*place));
        let ends = |commit: &StoredCommit| commit.header.seq + u64::from(commit.header.count);
        Ok(commits.filter(|commit| ends(commit) > from_seq).take(limit).cloned().collect())
    }

    fn tail(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, StoredCommit)>, StoreError> {
        let state = self.usable()?;
        let skip = usize::try_from(after.0).unwrap_or(usize::MAX);
        let places = (1..).map(Position).zip(&state.disk.log).skip(skip);
        Ok(places.take(limit).map(|(place, commit)| (place, commit.clone())).collect())
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

    fn key(&self, key: Hash) -> Result<Option<KeyRow>, StoreError> {
        Ok(self.usable()?.disk.keys.get(&key).cloned())
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
            events: disk.rows.values().map(|row| row.events).sum(),
            runs: disk.rows.len() as u64,
            bytes: bytes as u64,
            position: disk.position(),
            engine: BTreeMap::from([("name".to_owned(), "model".to_owned())]),
        })
    }

    fn check(&self) -> Result<Health, StoreError> {
        let state = self.usable()?;
        let disk = &state.disk;
        let mut health = Health::default();
        let mut heads: BTreeMap<RunId, (Hash, u64)> = BTreeMap::new();
        for commit in &disk.log {
            let run = commit.header.run;
            let head = heads.entry(run).or_insert((Hash::ZERO, 1));
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
        && query.labels.iter().all(|(key, value)| row.labels.get(key) == Some(value))
}
