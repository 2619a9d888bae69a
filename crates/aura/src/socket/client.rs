//! The side that asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use aura_core::error::{Code, Problem};
use aura_core::limits;
use aura_core::ports::Compacted;
use aura_engine::Accepted;

use super::protocol::{Answer, Request, Taken};

/// How long an answer may take. An owner whose store has no room tells so at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a compaction may take: it reads and rewrites the store.
const LONG_PATIENCE: Duration = Duration::from_hours(1);

/// A connection to the owner.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Told {
    /// Here I am.
    Here,
    /// It is durable.
    Done(Taken),
    /// It is removed.
    Compacted(Compacted),
    /// It is refused.
    Refused(Problem),
    /// The owner is gone, or about to go. A request that was under way may have been taken.
    Gone,
}

impl Client {
    /// Connects to the owner at `path`; `None` if nobody is there.
    pub(crate) fn connect(path: &Path) -> Option<Self> {
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Told {
        let line = match serde_json::to_string(request) {
            Ok(line) if line.len() < limits::SOCKET_LINE_BYTES => line + "\n",
            _ => {
                let what = format!("the request has more than {} bytes", limits::SOCKET_LINE_BYTES);
                return Told::Refused(Problem::new(Code::LimitExceeded, what));
            }
        };
        let long = matches!(request, Request::Compact { .. });
        let patience = if long { LONG_PATIENCE } else { PATIENCE };
        if self.stream.get_mut().set_read_timeout(Some(patience)).is_err() {
            return Told::Gone;
        }
        if self.stream.get_mut().write_all(line.as_bytes()).is_err() {
            return Told::Gone;
        }
        let mut answer = String::new();
        let mut limited = (&mut self.stream).take(limits::SOCKET_LINE_BYTES as u64);
        match limited.read_line(&mut answer) {
            Ok(_) if answer.ends_with('\n') => read(&answer),
            Ok(_) | Err(_) => Told::Gone,
        }
    }
}

fn read(line: &str) -> Told {
    match serde_json::from_str(line) {
        Ok(Answer::Here) => Told::Here,
        Ok(Answer::Done { run, events, status, already, performed }) => {
            let accepted = Accepted { run, events, status, already };
            Told::Done(Taken { accepted, performed })
        }
        Ok(Answer::Compacted(done)) => Told::Compacted(done),
        Ok(Answer::Refused { code, what, kept, next }) => {
            Told::Refused(Problem { code, what, kept, next })
        }
        Ok(Answer::Leaving) => Told::Gone,
        Err(e) => Told::Refused(
            Problem::new(Code::Internal, format!("the owner's answer can't be read: {e}"))
                .next("aura version, here and for the process that owns the store"),
        ),
    }
}
