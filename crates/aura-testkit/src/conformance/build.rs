//! Histories to append: chains of well-formed commits with payloads of any bytes.

use std::collections::BTreeMap;

use aura_core::commit::{Cause, Header, StoredCommit};
use aura_core::fork::ForkPoint;
use aura_core::hash::Hash;
use aura_core::id::{RunId, TenantId};
use aura_core::ports::{Group, Mark, RunRow, RunStatus};
use aura_core::time::Millis;
use uuid::Uuid;

/// A run under construction: what its next commit must follow.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The run.
    pub run: RunId,
    /// Hash of its last commit.
    pub head: Hash,
    /// The event that comes next.
    pub next: u64,
    /// When its last commit was decided.
    pub at: Millis,
    /// Where it left another run.
    pub forked: Option<ForkPoint>,
}

impl Chain {
    /// A run without events; the same number always names the same run.
    pub fn new(number: u64) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Hash::of(&number.to_be_bytes()).0[..16]);
        let (head, at) = (Hash::ZERO, Millis(0));
        Self { run: RunId(Uuid::new_v8(id)), head, next: 1, at, forked: None }
    }

    /// A run without events of its own that shares all that this one has so far.
    #[must_use]
    pub fn fork(&self, number: u64) -> Self {
        let forked = Some(ForkPoint { parent: self.run, seq: self.next - 1 });
        let (run, at) = (Self::new(number).run, self.at);
        Self { run, head: self.head, next: self.next, at, forked }
    }

    /// The next commit, of `count` events.
    pub fn commit(&mut self, count: u32, payload: impl Into<Vec<u8>>) -> StoredCommit {
        let commit = self.commit_at(self.next, count, payload);
        self.head = commit.hash;
        self.at = commit.header.at;
        self.next += u64::from(count);
        commit
    }

    /// A commit at any event; the chain stays where it is.
    pub fn commit_at(&self, seq: u64, count: u32, payload: impl Into<Vec<u8>>) -> StoredCommit {
        let payload = payload.into();
        let header = Header {
            tenant: TenantId::LOCAL,
            run: self.run,
            epoch: 1,
            seq,
            count,
            at: Millis(i64::try_from(seq).unwrap_or(i64::MAX)),
            cause: Cause::Events,
            more: false,
        };
        let parts = [&self.head.0[..], &header.encode(), &Hash::of(&payload).0];
        StoredCommit { header, hash: Hash::of_all(&parts), payload }
    }

    /// A row that agrees with the chain.
    pub fn row(&self) -> RunRow {
        RunRow {
            run: self.run,
            flow: "flow".to_owned(),
            flow_hash: Hash::of(b"flow"),
            status: RunStatus::Running,
            mark: Mark::Active,
            labels: BTreeMap::new(),
            started: Millis(0),
            updated: self.at,
            events: self.next - 1,
            in_doubt: 0,
            error: None,
            forked: self.forked,
            parent: None,
            root: None,
            next: None,
        }
    }

    /// A group of the next commit, of one event, and the row after it.
    pub fn step(&mut self, payload: impl Into<Vec<u8>>) -> Group {
        let commits = vec![self.commit(1, payload)];
        Group { commits, rows: vec![self.row()], ..Group::default() }
    }
}

/// A group of commits alone.
pub fn commits(commits: Vec<StoredCommit>) -> Group {
    Group { commits, ..Group::default() }
}

/// A group of rows alone.
pub fn rows(rows: Vec<RunRow>) -> Group {
    Group { rows, ..Group::default() }
}
