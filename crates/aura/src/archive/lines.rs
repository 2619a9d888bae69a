//! The lines of an export: one JSON object each, named by its one field.

use aura_core::commit::{Header, StoredCommit};
use aura_core::error::{Code, Problem};
use aura_core::event::Event;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::time::Millis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// The first line.
    Aura(Head),
    /// A blob; it stands before the first commit that names it.
    Blob(BlobLine),
    /// A commit; those of a run stand together and in order.
    Commit(CommitLine),
    /// The last line; without it the file was cut off.
    End(End),
}

/// What the file is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Stored format of the commits.
    pub(crate) format: u32,
    /// What the addresses of blobs are salted with.
    pub(crate) salt: Hash,
    /// When it was written.
    pub(crate) at: Millis,
}

/// A blob.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BlobLine {
    /// Its address.
    pub(crate) address: Hash,
    /// Whether it lay in the store's table rather than in a file.
    pub(crate) table: bool,
    /// Its plain bytes, in base64.
    data: String,
}

/// A commit: what it says, and its exact bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CommitLine {
    run: RunId,
    seq: u64,
    at: Millis,
    /// For those who read the file; an import reads the payload.
    #[serde(skip_deserializing)]
    events: Vec<Event>,
    /// In base64.
    header: String,
    /// In base64.
    payload: String,
    hash: Hash,
}

/// How much the file holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) runs: u64,
    pub(crate) commits: u64,
    pub(crate) blobs: u64,
}

impl BlobLine {
    pub(crate) fn new(address: Hash, table: bool, bytes: &[u8]) -> Self {
        Self { address, table, data: STANDARD.encode(bytes) }
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Problem> {
        STANDARD.decode(&self.data).map_err(|e| damaged(&format!("blob {}: {e}", self.address)))
    }
}

impl CommitLine {
    pub(crate) fn new(commit: &StoredCommit) -> Result<Self, Problem> {
        let Header { run, seq, at, .. } = commit.header;
        let events = commit.events().map_err(|e| {
            Problem::new(Code::ChainBroken, format!("run {run}: {e}")).next("aura store check")
        })?;
        let header = STANDARD.encode(commit.header.encode());
        let payload = STANDARD.encode(&commit.payload);
        Ok(Self { run, seq, at, events, header, payload, hash: commit.hash })
    }

    /// The commit and its events, which must be those that stand beside it to be read.
    pub(crate) fn commit(self) -> Result<(StoredCommit, Vec<Event>), Problem> {
        let wrong = |why: &str| damaged(&format!("run {}, event {}: {why}", self.run, self.seq));
        let header = STANDARD.decode(&self.header).map_err(|e| wrong(&e.to_string()))?;
        let header = Header::decode(&header).map_err(|e| wrong(&e.to_string()))?;
        let payload = STANDARD.decode(&self.payload).map_err(|e| wrong(&e.to_string()))?;
        let commit = StoredCommit { header, payload, hash: self.hash };
        let events = commit.events().map_err(|e| wrong(&e.to_string()))?;
        Ok((commit, events))
    }
}

/// A file that is not what an export wrote.
pub(crate) fn damaged(why: &str) -> Problem {
    Problem::new(Code::InvalidInput, format!("the file is not a whole export: {why}"))
        .next("export again: aura store export -o FILE")
}
