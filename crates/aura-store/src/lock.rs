//! The lock by which one process owns a store, and who that process is.
//!
//! The lock is the operating system's, on an open file, so it ends with its process however that ends; what is
//! written in the file is only for those who ask who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aura_core::error::{Code, Problem};
use serde::{Deserialize, Serialize};

use crate::fault;

const FILE: &str = "aura.lock";

/// Someone who asks whether a leftover lock is held holds it for an instant; an owner that comes then looks again.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(2);

/// Bytes of the lock file that are looked at.
const LINE_BYTES: u64 = 16 << 10;

/// The process that owns a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerInfo {
    /// Its process id; 0 if it can't be told.
    pub pid: u32,
    /// Where it listens, if it does.
    #[serde(default)]
    pub socket: Option<PathBuf>,
}

/// The owner of the store in `dir`; `None` if nobody owns it, or there is no store.
pub fn owner(dir: &Path) -> Option<OwnerInfo> {
    let mut file = File::open(dir.join(FILE)).ok()?;
    // An owner that leaves empties the file, so that the lock itself must be tried only after a crash.
    if file.metadata().ok()?.len() == 0 {
        return None;
    }
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(holder(&mut file)),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn holder(file: &mut File) -> OwnerInfo {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(LINE_BYTES).read_to_string(&mut text));
    // Only the first line counts: a shorter line may just have been written over a longer one.
    let line = text.lines().next().unwrap_or_default();
    let told = read.ok().and_then(|_| serde_json::from_str(line).ok());
    told.unwrap_or(OwnerInfo { pid: 0, socket: None })
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    file: File,
    path: PathBuf,
}

impl OwnerLock {
    /// Takes the lock of `dir`.
    pub(crate) fn take(dir: &Path) -> Result<Self, Problem> {
        let path = dir.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(|e| fault::of_io(&path, &e))?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(owned(dir, &holder(&mut file))),
                Err(TryLockError::Error(e)) => return Err(fault::of_io(&path, &e)),
            }
        }
        let lock = Self { file, path };
        lock.announce(None)?;
        Ok(lock)
    }

    /// Writes who holds it.
    pub(crate) fn announce(&self, socket: Option<&Path>) -> Result<(), Problem> {
        let info = OwnerInfo { pid: std::process::id(), socket: socket.map(Path::to_owned) };
        let line = serde_json::to_string(&info).map_err(|e| {
            Problem::new(Code::InvalidInput, format!("the socket's path can't be written: {e}"))
        })?;
        self.write(&format!("{line}\n")).map_err(|e| fault::of_io(&self.path, &e))
    }

    fn write(&self, line: &str) -> std::io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(line.as_bytes())?;
        self.file.set_len(line.len() as u64)
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // What stays in the file if this fails is told apart by trying the lock.
        let _ = self.file.set_len(0);
    }
}

fn owned(dir: &Path, holder: &OwnerInfo) -> Problem {
    let pid = holder.pid;
    let next = match &holder.socket {
        Some(socket) => format!("send the command to process {pid} at {}", socket.display()),
        None => format!("wait until process {pid} ends, or end it; reading goes on meanwhile"),
    };
    Problem::new(Code::StoreOwned, format!("process {pid} owns the store in {}", dir.display()))
        .kept("nothing was changed")
        .next(next)
}
