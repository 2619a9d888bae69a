//! Commits: the unit of the log, and the hash chain over them.
//!
//! `hash = SHA-256(previous ‖ header ‖ SHA-256(payload))`, over the bytes as they are stored. The header is binary
//! and of fixed length; the payload (codec 1) is the list of its events in CBOR, see [`crate::cbor`].

use uuid::Uuid;

use crate::event::Event;
use crate::hash::Hash;
use crate::id::{RunId, TenantId};
use crate::time::Millis;

/// The stored format that this build reads and writes. It is frozen: fields and events may be added, with a default for
/// histories that lack them; nothing is renamed, numbered anew or given another meaning.
pub const FORMAT: u8 = 1;

/// The payload codec that this build reads and writes: CBOR with numbered fields.
pub const CODEC_CBOR: u8 = 1;

/// Bytes that the payload of a common commit has; only what it begins to grow from.
const USUAL_BYTES: usize = 512;

/// What kind of stream a commit belongs to.
const KIND_RUN: u8 = 1;

/// Which input a commit has when no event of it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its first events are the input.
    Events,
    /// `Input::Granted`; the granted steps are those of its `tool.called` events.
    Granted,
    /// `Input::Continue`.
    Continue,
}

/// The header of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The owner.
    pub tenant: TenantId,
    /// The stream.
    pub run: RunId,
    /// Epoch of the shard's lease under which it was written (1 where a file lock stands for the lease).
    pub epoch: u64,
    /// Sequence number of its first event; the first of a stream is 1.
    pub seq: u64,
    /// Number of its events.
    pub count: u32,
    /// The `now` that the decision saw.
    pub at: Millis,
    /// Which input it has.
    pub cause: Cause,
    /// Whether the turn reached its limit and asks for `Continue`.
    pub more: bool,
}

/// Length of an encoded header in bytes.
pub const HEADER_BYTES: usize = 66;

/// The bytes are not a header of this build's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAHeader {
    /// Wrong length or an undefined value.
    #[error("the header is damaged")]
    Damaged,
    /// A format, codec or stream kind of another build.
    #[error("the commit has format {0}, which this build does not read")]
    Format(u8),
}

impl Header {
    /// The sequence number of the event that follows the commit.
    pub fn next_seq(&self) -> u64 {
        self.seq + u64::from(self.count)
    }

    /// The bytes that are stored and hashed: format, codec, kind, cause, more, tenant, run, then epoch, seq, at as
    /// 64-bit and count as 32-bit big-endian numbers, and one reserved zero.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let cause = match self.cause {
            Cause::Events => 0,
            Cause::Granted => 1,
            Cause::Continue => 2,
        };
        out[..5].copy_from_slice(&[FORMAT, CODEC_CBOR, KIND_RUN, cause, u8::from(self.more)]);
        out[5..21].copy_from_slice(self.tenant.0.as_bytes());
        out[21..37].copy_from_slice(self.run.0.as_bytes());
        out[37..45].copy_from_slice(&self.epoch.to_be_bytes());
        out[45..53].copy_from_slice(&self.seq.to_be_bytes());
        out[53..61].copy_from_slice(&self.at.0.to_be_bytes());
        out[61..65].copy_from_slice(&self.count.to_be_bytes());
        out
    }

    /// Reads what [`Header::encode`] wrote.
    ///
    /// # Errors
    /// Bytes of another length, format, codec or kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAHeader> {
        if bytes.len() != HEADER_BYTES {
            return Err(NotAHeader::Damaged);
        }
        if bytes[0] != FORMAT || bytes[1] != CODEC_CBOR || bytes[2] != KIND_RUN {
            return Err(NotAHeader::Format(bytes[0]));
        }
        let cause = match bytes[3] {
            0 => Cause::Events,
            1 => Cause::Granted,
            2 => Cause::Continue,
            _ => return Err(NotAHeader::Damaged),
        };
        let uuid = |at: usize| {
            let mut raw = [0; 16];
            raw.copy_from_slice(&bytes[at..at + 16]);
            Uuid::from_bytes(raw)
        };
        let long = |at: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&bytes[at..at + 8]);
            raw
        };
        let mut count = [0; 4];
        count.copy_from_slice(&bytes[61..65]);
        if bytes[4] > 1 || bytes[65] != 0 {
            return Err(NotAHeader::Damaged);
        }
        Ok(Self {
            tenant: TenantId(uuid(5)),
            run: RunId(uuid(21)),
            epoch: u64::from_be_bytes(long(37)),
            seq: u64::from_be_bytes(long(45)),
            at: Millis(i64::from_be_bytes(long(53))),
            count: u32::from_be_bytes(count),
            cause,
            more: bytes[4] == 1,
        })
    }
}

/// A commit as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCommit {
    /// The decoded header.
    pub header: Header,
    /// The payload's bytes, exactly as stored and hashed.
    pub payload: Vec<u8>,
    /// The chain's head after it.
    pub hash: Hash,
}

/// A commit that can't be what its chain says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCommit {
    /// Its hash does not follow from the previous one, its header and its payload.
    #[error("commit at event {seq} does not match its hash")]
    Hash {
        /// Its first event.
        seq: u64,
    },
    /// Its payload can't be read.
    #[error("the payload at event {seq} can't be read: {why}")]
    Payload {
        /// Its first event.
        seq: u64,
        /// Why.
        why: String,
    },
    /// Events are missing before it, or counted wrong.
    #[error("expected event {expected}, found {found}")]
    Gap {
        /// The event that should come.
        expected: u64,
        /// The event that came.
        found: u64,
    },
}

impl StoredCommit {
    /// Encodes events and links them to the chain.
    ///
    /// # Errors
    /// Never: writing to memory can't fail, and every event has a form.
    pub fn seal(previous: Hash, header: Header, events: &[Event]) -> Result<Self, BadCommit> {
        let mut payload = Vec::with_capacity(USUAL_BYTES);
        minicbor::encode(events, &mut payload)
            .map_err(|e| BadCommit::Payload { seq: header.seq, why: e.to_string() })?;
        let hash = link(previous, &header, &payload);
        Ok(Self { header, payload, hash })
    }

    /// Checks that this commit follows `previous` in its chain and starts at event `expected`.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, previous: Hash, expected: u64) -> Result<(), BadCommit> {
        if self.header.seq != expected {
            return Err(BadCommit::Gap { expected, found: self.header.seq });
        }
        if link(previous, &self.header, &self.payload) != self.hash {
            return Err(BadCommit::Hash { seq: self.header.seq });
        }
        Ok(())
    }

    /// The events.
    ///
    /// # Errors
    /// The payload is not one of codec 1, or its events are not as many as the header says.
    pub fn events(&self) -> Result<Vec<Event>, BadCommit> {
        let seq = self.header.seq;
        let mut decoder = minicbor::Decoder::new(&self.payload);
        let events: Vec<Event> =
            decoder.decode().map_err(|e| BadCommit::Payload { seq, why: e.to_string() })?;
        if events.len() as u64 != u64::from(self.header.count) {
            return Err(BadCommit::Payload { seq, why: "wrong number of events".to_owned() });
        }
        if decoder.position() != self.payload.len() {
            return Err(BadCommit::Payload { seq, why: "bytes after its events".to_owned() });
        }
        Ok(events)
    }
}

fn link(previous: Hash, header: &Header, payload: &[u8]) -> Hash {
    Hash::of_all(&[&previous.0, &header.encode(), &Hash::of(payload).0])
}
