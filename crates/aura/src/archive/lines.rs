//! The lines of an export: one JSON object each, named by its one field.

use std::io::{BufRead, Read};

use aura_core::commit::{Header, StoredCommit};
use aura_core::error::{Code, Problem};
use aura_core::event::Event;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::time::Millis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// For those who read the file; they must be what the payload says.
    events: Value,
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

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, String> {
        STANDARD.decode(&self.data).map_err(|e| format!("blob {}: {e}", self.address))
    }
}

impl CommitLine {
    pub(crate) fn new(commit: &StoredCommit) -> Result<Self, Problem> {
        let Header { run, seq, at, .. } = commit.header;
        let broken = |e: String| {
            Problem::new(Code::ChainBroken, format!("run {run}: {e}")).next("aura store check")
        };
        let events = commit.events().map_err(|e| broken(e.to_string()))?;
        let events = serde_json::to_value(events).map_err(|e| broken(e.to_string()))?;
        let header = STANDARD.encode(commit.header.encode());
        let payload = STANDARD.encode(&commit.payload);
        Ok(Self { run, seq, at, events, header, payload, hash: commit.hash })
    }

    /// The commit and its events. What stands beside them to be read must say the same.
    pub(crate) fn commit(self) -> Result<(StoredCommit, Vec<Event>), String> {
        let Self { run, seq, at, hash, .. } = self;
        let wrong = |why: &dyn std::fmt::Display| format!("run {run}, event {seq}: {why}");
        let header = STANDARD.decode(&self.header).map_err(|e| wrong(&e))?;
        let header = Header::decode(&header).map_err(|e| wrong(&e))?;
        let payload = STANDARD.decode(&self.payload).map_err(|e| wrong(&e))?;
        if (header.run, header.seq, header.at) != (run, seq, at) {
            return Err(wrong(&"its run, number or time is not that of its header"));
        }
        let commit = StoredCommit { header, payload, hash };
        let events = commit.events().map_err(|e| wrong(&e))?;
        let told = serde_json::to_value(&events).map_err(|e| wrong(&e))?;
        if told != self.events && !newer(&commit, &events, self.events) {
            return Err(wrong(&"its events are not those of its payload"));
        }
        Ok((commit, events))
    }
}

/// Whether a later build wrote the events, with fields that this one does not know, and they agree in the others.
fn newer(commit: &StoredCommit, events: &[Event], told: Value) -> bool {
    let known = StoredCommit::seal(Hash::ZERO, commit.header, events);
    known.is_ok_and(|known| known.payload != commit.payload)
        && serde_json::from_value::<Vec<Event>>(told).is_ok_and(|told| told == events)
}

/// A file that is not what an export wrote, at a line of it.
pub(crate) fn damaged(line: u64, why: &str) -> Problem {
    Problem::new(Code::InvalidInput, format!("the file is not a whole export: line {line}: {why}"))
        .next("export again: aura store export -o FILE")
}

/// The lines of a file, one after the other.
pub(crate) struct Lines<'a> {
    file: Box<dyn BufRead + 'a>,
    /// The number of the last line that was read, from 1.
    pub(crate) number: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(file: impl BufRead + 'a) -> Self {
        Self { file: Box::new(file), number: 0 }
    }

    /// The first line.
    pub(crate) fn head(&mut self) -> Result<Head, Problem> {
        match self.next()? {
            Some(Line::Aura(head)) => Ok(head),
            _ => Err(self.damaged("it does not say what the file is")),
        }
    }

    /// The next line, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, Problem> {
        self.number += 1;
        let mut line = Vec::new();
        let read = (&mut self.file).take(limits::EXPORT_LINE_BYTES as u64);
        let read = { read }.read_until(b'\n', &mut line);
        match read.map_err(|e| self.damaged(&e.to_string()))? {
            0 => Ok(None),
            _ if !line.ends_with(b"\n") => Err(self.damaged("it is cut off, or too long")),
            _ => serde_json::from_slice(&line).map(Some).map_err(|e| self.damaged(&e.to_string())),
        }
    }

    /// What is wrong with the last line that was read.
    pub(crate) fn damaged(&self, why: &str) -> Problem {
        damaged(self.number, why)
    }
}

#[cfg(test)]
mod tests {
    use aura_core::commit::Cause;
    use aura_core::event::{Empty, EventBody};
    use aura_core::id::TenantId;
    use serde_json::json;

    use super::*;

    fn commit() -> StoredCommit {
        let header = Header {
            tenant: TenantId::LOCAL,
            run: RunId(uuid::Uuid::from_u128(7)),
            epoch: 1,
            seq: 3,
            count: 1,
            at: Millis(5),
            cause: Cause::Events,
            more: false,
        };
        let event = Event { step: None, attempt: None, body: EventBody::ApprovalExpired(Empty {}) };
        StoredCommit::seal(Hash::ZERO, header, &[event]).unwrap()
    }

    fn read(line: &Value) -> Result<(StoredCommit, Vec<Event>), String> {
        serde_json::from_value::<CommitLine>(line.clone()).unwrap().commit()
    }

    #[test]
    fn what_is_told_beside_a_commit_is_what_it_says() {
        let line = json!(CommitLine::new(&commit()).unwrap());
        assert_eq!(read(&line).unwrap().0, commit());
        let other = json!(uuid::Uuid::from_u128(8));
        for (field, value) in [("run", other), ("seq", json!(4)), ("at", json!(6))] {
            let mut line = line.clone();
            line[field] = value;
            assert!(read(&line).unwrap_err().contains("header"), "{field}");
        }
        for (name, value) in
            [("type", json!("approval.granted")), ("step", json!("a")), ("novel", json!(1))]
        {
            let mut line = line.clone();
            line["events"][0][name] = value;
            assert!(read(&line).unwrap_err().contains("payload"), "{name}");
        }
    }

    #[test]
    fn fields_of_a_later_build_are_no_damage() {
        let mut newer = commit();
        // A list of one event, which has a fourth field.
        let three = newer.payload.iter().skip(1).position(|byte| byte & 0xe0 == 0x80);
        newer.payload[1 + three.unwrap()] += 1;
        newer.payload.push(1);
        let mut line = json!(CommitLine::new(&newer).unwrap());
        line["events"][0]["novel"] = json!(1);
        assert_eq!(read(&line).unwrap().0, newer);
        line["events"][0]["step"] = json!("a");
        assert!(read(&line).is_err());
    }
}
