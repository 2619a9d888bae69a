//! A place of its own for each test: a data directory, a working directory, the binary, and servers to call.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aura_core::id::{RunId, TenantId};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_mins(1);

/// Waits until something is so.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "never came about: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A place with its own store.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().expect("a folder");
        std::fs::create_dir(dir.path().join("work")).expect("a folder");
        Self { dir }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Writes a file into the working directory.
    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// The command, with nothing of the machine's own settings.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("aura"));
        command
            .args(args)
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("USER", "ada")
            .env("TZ", "UTC")
            .env("AURA_DATA_DIR", self.data())
            .stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn aura(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().expect("the binary"), args)
    }

    /// Starts the command; what it prints is collected in a file.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        self.start_with(self.command(args))
    }

    pub(crate) fn start_with(&self, mut command: Command) -> Started {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.path().join(format!("printed-{number}"));
        let file = File::create(&path).expect("a file");
        command.stdout(file.try_clone().expect("a handle")).stderr(file);
        Started { child: command.spawn().expect("the binary"), path }
    }
}

/// The id of a run that was started with `--key`.
pub(crate) fn id(flow: &str, key: &str) -> String {
    RunId::keyed(TenantId::LOCAL, flow, key).to_string()
}

/// A command that ran to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    what: String,
}

impl Ended {
    pub(crate) fn of(output: Output, args: &[&str]) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
            what: args.join(" "),
        }
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let Self { out, err, what, .. } = &self;
        assert_eq!(self.code, Some(code), "aura {what}\n{out}\n{err}");
        self
    }

    /// The one JSON document that was printed.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// A command that goes on; killed when the test ends before it.
pub(crate) struct Started {
    child: Child,
    path: PathBuf,
}

impl Started {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.path).expect("text")
    }

    /// Waits until it printed something.
    pub(crate) fn prints(&self, text: &str) {
        until(&format!("'{text}' in what was printed"), || self.printed().contains(text));
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits until it ends, and checks its exit code.
    #[track_caller]
    pub(crate) fn exits(&mut self, code: i32) -> String {
        let mut status: Option<ExitStatus> = None;
        until("the end of the process", || {
            status = self.child.try_wait().expect("a status");
            status.is_some()
        });
        let printed = self.printed();
        assert_eq!(status.and_then(|s| s.code()), Some(code), "{printed}");
        printed
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on loopback that counts requests, tells their headers back, and answers when it is let: with 200, or as
/// `/status/CODE` in the path says.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    holding: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let holding = Arc::new(AtomicBool::new(false));
        let (seen, hold) = (Arc::clone(&requests), Arc::clone(&holding));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, hold) = (Arc::clone(&seen), Arc::clone(&hold));
                std::thread::spawn(move || serve(&stream, &seen, &hold));
            }
        });
        Self { address, requests, holding }
    }

    /// Requests wait for their answer from now on, or no longer.
    pub(crate) fn hold(&self, holds: bool) {
        self.holding.store(holds, Ordering::SeqCst);
    }

    /// The heads of the requests that came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<String>>, hold: &AtomicBool) {
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let status = path.split_once("/status/").map_or("200", |(_, rest)| &rest[..3]);
    seen.lock().expect("no panic").push(head.clone());
    let begun = Instant::now();
    while hold.load(Ordering::SeqCst) && begun.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = serde_json::json!({ "head": head }).to_string();
    let answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{told}",
        told.len()
    );
    let mut stream = stream;
    let _ = stream.write_all(answer.as_bytes());
}

/// Every file below a folder, with its bytes.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry")) {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).expect("a file");
            found.push((path, bytes));
        }
    }
    found
}
