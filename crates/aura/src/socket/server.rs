//! The side that answers: listens beside the engine of the process that owns the store.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aura_core::error::{Code, Problem};
use aura_core::limits;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::protocol::{Answer, Request};
use crate::owner::Desk;

/// How long a client may be silent between two requests. Those who watch a run ask more often.
const SILENCE: Duration = Duration::from_mins(1);
/// How long an answer may take to be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an owner that leaves waits for the answers that it owes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Bytes of a socket's path that every platform takes.
const PATH_BYTES: usize = 100;

/// A socket that is being served; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    listening: JoinHandle<()>,
    at_work: AtWork,
}

/// Requests that are being answered: each holds a place.
#[derive(Debug, Clone)]
pub(crate) struct AtWork(Arc<Semaphore>);

impl AtWork {
    /// Waits until every request that was taken has its answer, but not for long.
    pub(crate) fn finish(&self, runtime: &Runtime) {
        let all = u32::try_from(limits::SOCKET_CLIENTS).unwrap_or(u32::MAX);
        let _ = runtime.block_on(async { timeout(LAST_WORDS, self.0.acquire_many(all)).await });
    }
}

impl Server {
    /// Serves the socket of a data directory.
    pub(crate) fn start(dir: &Path, desk: Arc<Desk>, runtime: &Runtime) -> Result<Self, Problem> {
        let path = path_for(dir);
        let failed = |e: std::io::Error| {
            let what = format!("the socket {} can't be made: {e}", path.display());
            Problem::new(Code::StoreUnavailable, what).kept("nothing was changed")
        };
        // Only the owner of the store is here, so that whatever lies there is a leftover.
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let _inside = runtime.enter();
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private).map_err(failed)?;
        let at_work = AtWork(Arc::new(Semaphore::new(limits::SOCKET_CLIENTS)));
        let listening = runtime.spawn(listen(listener, desk, at_work.clone()));
        Ok(Self { path, listening, at_work })
    }

    /// The requests that are being answered; they outlive the socket.
    pub(crate) fn at_work(&self) -> AtWork {
        self.at_work.clone()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The data directory, or a folder of this user where paths are short.
fn path_for(dir: &Path) -> PathBuf {
    let path = dir.join("aura.sock");
    if path.as_os_str().len() <= PATH_BYTES {
        return path;
    }
    // The same directory always has the same socket, so that a leftover is found and removed.
    let name = aura_core::Hash::of(dir.as_os_str().as_encoded_bytes()).short();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = runtime.filter(|folder| folder.is_dir()).unwrap_or_else(std::env::temp_dir);
    folder.join(format!("aura-{name}.sock"))
}

async fn listen(listener: UnixListener, desk: Arc<Desk>, at_work: AtWork) {
    let places = Arc::new(Semaphore::new(limits::SOCKET_CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (desk, at_work) = (Arc::clone(&desk), at_work.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, desk, at_work).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Too many open files, say: those who wait are accepted when there is room.
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, desk: Arc<Desk>, at_work: AtWork) -> std::io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut lines = BufReader::new(reading);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(limits::SOCKET_LINE_BYTES as u64);
        match timeout(SILENCE, limited.read_until(b'\n', &mut line)).await {
            Ok(Ok(1..)) if line.ends_with(b"\n") => {}
            _ => return Ok(()),
        }
        let Ok(_place) = at_work.0.acquire().await else { return Ok(()) };
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                let desk = Arc::clone(&desk);
                // The engine answers when it is durable; that wait must not hold up other clients.
                let asked = tokio::task::spawn_blocking(move || desk.answer(request)).await;
                asked.unwrap_or(Answer::Leaving)
            }
            Err(e) => Err(Problem::new(Code::Usage, format!("not a request: {e}"))).into(),
        };
        let mut text = serde_json::to_vec(&answer).unwrap_or_default();
        text.push(b'\n');
        match timeout(PATIENCE, writing.write_all(&text)).await {
            Ok(Ok(())) => {}
            _ => return Ok(()),
        }
    }
}
