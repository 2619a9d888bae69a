//! The world outside: an HTTP server that counts what was done to it, and serves the links of a document.
//!
//! It stands for a shop or a bank: what it did stays done whatever becomes of the caller. A small random delay before
//! and after each act lets kills land on both sides of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::dice::Dice;

/// The longest delay before an act, and again after it.
const DELAY_US: u64 = 4_000;

/// Bytes of a body; nothing here sends more.
const BODY_BYTES: usize = 1 << 20;

/// Bytes of a long text.
const LARGE_BYTES: usize = 200_000;

/// How long callers that are gone may keep it busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// What it does with a key that it has seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Gives the answer of the first time, and does nothing.
    Honoured,
    /// Does it again.
    Ignored,
}

/// What was done so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// How often each thing was done: path and body.
    pub(crate) acts: BTreeMap<String, u32>,
    /// What was answered to each key.
    pub(crate) answers: BTreeMap<String, Value>,
    /// Requests with a key that was known and honoured.
    pub(crate) repeats: u32,
}

impl Ledger {
    /// Does what is asked, as far as its key allows.
    fn enter(&mut self, request: &Request, keys: Keys) -> Value {
        let known = request.key.as_ref().and_then(|key| self.answers.get(key));
        if let Some(answer) = known.filter(|_| keys == Keys::Honoured) {
            self.repeats += 1;
            return answer.clone();
        }
        let act = format!("{} {}", request.path, request.body);
        // The same for the same act, so that runs can be compared.
        let answer = json!({ "receipt": format!("receipt for {act}") });
        *self.acts.entry(act).or_default() += 1;
        if let Some(key) = &request.key {
            self.answers.insert(key.clone(), answer.clone());
        }
        answer
    }

    /// How often something was done again.
    pub(crate) fn duplicates(&self) -> u32 {
        self.acts.values().map(|times| times.saturating_sub(1)).sum()
    }

    /// What another ledger has and this one lacks.
    pub(crate) fn lacks(&self, other: &Self) -> usize {
        other.acts.keys().filter(|act| !self.acts.contains_key(*act)).count()
    }
}

#[derive(Debug)]
struct Shared {
    keys: Keys,
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    dice: Dice,
    open: usize,
    stopping: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server.
#[derive(Debug)]
pub(crate) struct Counter {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Counter {
    /// Starts it on a free port of the loopback.
    pub(crate) fn start(keys: Keys, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port for the counter")?;
        let address = listener.local_addr()?;
        let state =
            State { ledger: Ledger::default(), dice: Dice::new(seed), open: 0, stopping: false };
        let shared = Arc::new(Shared { keys, state: Mutex::new(state), closed: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || accept(&listener, &own)));
        Ok(Self { address, shared, thread })
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Draws its delays from this seed on.
    pub(crate) fn throw(&self, seed: u64) {
        self.shared.state().dice = Dice::new(seed);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.shared.state().ledger = Ledger::default();
    }

    /// What was done, once all that callers have sent before they died is done.
    pub(crate) fn ledger(&self) -> anyhow::Result<Ledger> {
        // Connections are accepted in order: when this one is answered, all before it are known.
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        drop(stream);
        let state = self.shared.state();
        let waited = self.shared.closed.wait_timeout_while(state, PATIENCE, |state| state.open > 0);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            bail!("{} connections of callers that are gone stay open", state.open);
        }
        Ok(state.ledger.clone())
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let mut state = shared.state();
        if state.stopping {
            return;
        }
        let Ok(stream) = stream else { continue };
        state.open += 1;
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A caller that is killed breaks its connection; that is what this is for.
            let _ = serve(&stream, &shared);
            drop(stream);
            shared.state().open -= 1;
            shared.closed.notify_all();
        });
    }
}

#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    key: Option<String>,
    body: String,
    last: bool,
}

fn serve(stream: &TcpStream, shared: &Shared) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let (status, headers, body) = answer(&request, shared);
        let mut text = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n", body.len());
        text.push_str(headers);
        text.push_str("\r\n");
        if request.method != "HEAD" {
            text.push_str(&body);
        }
        (&mut &*stream).write_all(text.as_bytes())?;
        if request.last {
            break;
        }
    }
    Ok(())
}

/// The next request of a connection; `None` where it ends.
fn read(reader: &mut impl BufRead) -> anyhow::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, ..Request::default() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            bail!("the connection ended within the head of a request");
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => length = value.parse::<usize>()?,
            ("idempotency-key", value) => request.key = Some(value.to_owned()),
            ("connection", value) => request.last = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    if length > BODY_BYTES {
        bail!("a body of {length} bytes");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8(body)?;
    Ok(Some(request))
}

/// Status, headers and body.
fn answer(request: &Request, shared: &Shared) -> (u16, &'static str, String) {
    if request.method == "POST" {
        return act(request, shared);
    }
    let plain = "content-type: text/plain\r\n";
    if let Some(name) = request.path.strip_prefix("/large/") {
        return (200, plain, large(name));
    }
    match (request.path.as_str(), request.method.as_str()) {
        ("/missing", _) => (404, plain, "nothing here".to_owned()),
        ("/broken", _) => (500, plain, "out of order".to_owned()),
        ("/moved", _) => (301, "location: /fine\r\n", String::new()),
        ("/no-head", "HEAD") => (405, plain, String::new()),
        _ => (200, plain, "fine".to_owned()),
    }
}

/// A long text that hardly gets smaller when it is packed: another for each name, the same each time.
fn large(name: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut dice = Dice::new(name.bytes().fold(1, |seed, byte| seed * 31 + u64::from(byte)));
    let mut text = String::with_capacity(LARGE_BYTES);
    while text.len() < LARGE_BYTES {
        let bits = dice.next();
        text.extend(bits.to_le_bytes().map(|byte| char::from(LETTERS[usize::from(byte & 63)])));
    }
    text
}

/// Does what is asked, with a delay on both sides.
fn act(request: &Request, shared: &Shared) -> (u16, &'static str, String) {
    let (before, after) = {
        let dice = &mut shared.state().dice;
        (dice.below(DELAY_US), dice.below(DELAY_US))
    };
    thread::sleep(Duration::from_micros(before));
    let answer = shared.state().ledger.enter(request, shared.keys);
    thread::sleep(Duration::from_micros(after));
    (200, "content-type: application/json\r\n", answer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(counter: &Counter, key: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(counter.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST /rows HTTP/1.1\r\nIdempotency-Key: {key}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_key_counts_once_where_it_is_honoured() {
        for (keys, times) in [(Keys::Honoured, 1), (Keys::Ignored, 2)] {
            let counter = Counter::start(keys, 1).unwrap();
            let first = post(&counter, "k", "a");
            assert!(first.starts_with("HTTP/1.1 200"), "{first}");
            assert_eq!(post(&counter, "k", "a"), first);
            post(&counter, "other", "b");
            let ledger = counter.ledger().unwrap();
            assert_eq!(ledger.acts["/rows a"], times);
            assert_eq!((ledger.duplicates(), ledger.answers.len()), (times - 1, 2));
            assert_eq!(ledger.repeats, 2 - times);
        }
    }

    #[test]
    fn what_a_dead_caller_has_sent_is_waited_for() {
        let counter = Counter::start(Keys::Ignored, 2).unwrap();
        let mut stream = TcpStream::connect(counter.address).unwrap();
        stream.write_all(b"POST /rows HTTP/1.1\r\ncontent-length: 1\r\n\r\nx").unwrap();
        drop(stream);
        let whole = counter.ledger().unwrap();
        assert_eq!(whole.acts.get("/rows x"), Some(&1));
        counter.clear();
        assert_eq!(counter.ledger().unwrap().lacks(&whole), 1);
    }

    #[test]
    fn half_a_request_does_nothing() {
        let counter = Counter::start(Keys::Ignored, 3).unwrap();
        let mut stream = TcpStream::connect(counter.address).unwrap();
        stream.write_all(b"POST /rows HTTP/1.1\r\ncontent-length: 9\r\n\r\nx").unwrap();
        drop(stream);
        assert!(counter.ledger().unwrap().acts.is_empty());
    }
}
